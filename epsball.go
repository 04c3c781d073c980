package epsball

import (
	"fmt"
	"io/fs"
	"sync"
	"sync/atomic"

	"github.com/epsball/epsball/internal/formats"
	"github.com/epsball/epsball/kernels"
	"github.com/epsball/epsball/model"
	"github.com/epsball/epsball/net"
	"github.com/epsball/epsball/verify"
)

// Batch is images, one after the other, channels first, pixels in [0, 1], and for all
// but Classify their labels, one an image.
type Batch = verify.Batch

// Model is a classifier ready to run. It is immutable and safe for concurrent
// use; concurrent calls take turns on its workers.
type Model struct {
	model *model.Model
	opts  net.Options
	pool  *kernels.Pool
	lent  bool // the pool is the caller's
	net   *net.Network

	mapped *model.Mapped // nil: the weights are in memory of our own

	mu       sync.Mutex // guards what follows: buffers of one call at a time
	runner   *net.Runner
	back     func() (*net.Network, error) // compiled for attacks, once
	verifier *verify.Verifier             // once a proof is asked for
	attacker attacker

	attacking atomic.Int64 // bytes of back's result
}

// Option changes how a Model runs.
type Option func(*Model)

// Threads sets the number of workers; the default is GOMAXPROCS. With one, no goroutine
// is ever started.
func Threads(n int) Option {
	return func(m *Model) { m.pool, m.lent = kernels.NewPool(max(1, n)), false }
}

// Pool runs the model on workers that the caller has made. They may serve other models
// too, in turns. The caller closes the pool, after the last model.
func Pool(p *kernels.Pool) Option { return func(m *Model) { m.pool, m.lent = p, true } }

// ISA forces a kernel set ("generic", "avx2", "avx512", "neon"). The default is
// EPSBALL_ISA or, if that is not set, the best set that the machine has.
func ISA(name string) Option { return func(m *Model) { m.opts.ISA = name } }

// FewImages is for devices that see a few images at a time. It packs the weights only
// for that, which takes half the memory. Larger batches are then slow.
func FewImages() Option { return func(m *Model) { m.opts.Batches = net.SmallBatches } }

// Load reads a model file (see docs/model-format.md) or, from a name that ends in
// .onnx or .onnx.gz, an ONNX network (see docs/onnx.md) if the program imports package
// epsball/onnx. The error names the file and the field that is wrong.
func Load(path string, opts ...Option) (*Model, error) {
	m, err := formats.Load(path)
	if err != nil {
		return nil, err
	}
	return New(m, opts...)
}

// LoadFS is Load from a file system, an embed.FS for example.
func LoadFS(fsys fs.FS, name string, opts ...Option) (*Model, error) {
	m, err := formats.LoadFS(fsys, name)
	if err != nil {
		return nil, err
	}
	return New(m, opts...)
}

// LoadBytes is Load for a model file in memory, such as one that go:embed put there;
// name stands for it in errors. The weights stay in data. With FewImages, Classify uses
// them in place if they are in the order for that (see Map). data must not change while
// the model is in use. It does not read ONNX.
func LoadBytes(data []byte, name string, opts ...Option) (*Model, error) {
	if formats.IsONNX(name) {
		return nil, fmt.Errorf("model: %s: got the name of an ONNX network, expected a model file: LoadFS reads both", name)
	}
	m, err := model.View(data, name)
	if err != nil {
		return nil, err
	}
	return New(m, opts...)
}

// New compiles a model, which must not change afterwards.
func New(m *model.Model, opts ...Option) (*Model, error) {
	e := &Model{model: m}
	for _, o := range opts {
		o(e)
	}
	if e.pool == nil {
		e.pool = kernels.NewPool(0)
	}
	n, err := net.Compile(m, e.opts)
	if err != nil {
		return nil, err
	}
	e.net = n
	e.runner = n.NewRunner(e.pool)
	e.back = sync.OnceValues(func() (*net.Network, error) {
		b, err := net.Compile(m, net.Options{ISA: e.opts.ISA, Backward: true, Batches: e.opts.Batches})
		if err == nil {
			e.attacking.Store(int64(b.Bytes()))
		}
		return b, err
	})
	return e, nil
}

// Close ends the model's workers, unless Pool lent them, and unmaps its file if there
// is one. The model must not be used afterwards.
func (m *Model) Close() {
	if !m.lent {
		m.pool.Close()
	}
	if m.mapped != nil {
		_ = m.mapped.Close() // an address range of ours: cannot fail
	}
}

// Input returns the number of channels, rows and columns of an image.
func (m *Model) Input() (c, h, w int) {
	s := m.net.Input()
	return s.C, s.H, s.W
}

// Classes returns the number of classes.
func (m *Model) Classes() int { return m.net.Classes() }

// Hash identifies architecture and weights: hex SHA-256.
func (m *Model) Hash() string { return m.model.Hash() }

// Bytes returns the memory that the weights take: as they were read, packed for
// Classify, and packed for Attack and Certify once these have been called. It does not
// count weights in a mapped file; see MappedBytes.
func (m *Model) Bytes() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	n := m.net.Bytes() + int(m.attacking.Load())
	if m.MappedBytes() == 0 {
		n += m.model.Bytes()
	}
	if m.verifier != nil {
		n += m.verifier.Bytes()
	}
	return n
}
