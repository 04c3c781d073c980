package epsball

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"strconv"
	"sync"
	"sync/atomic"

	"github.com/epsball/epsball/attack"
	"github.com/epsball/epsball/internal/formats"
	"github.com/epsball/epsball/kernels"
	"github.com/epsball/epsball/model"
	"github.com/epsball/epsball/net"
)

// Batch is N images, one after the other: channels first, pixels in [0, 1].
type Batch struct {
	Data []float32
	N    int
}

// Model is a classifier ready to run. It is immutable and safe for concurrent
// use; concurrent calls take turns on its workers.
type Model struct {
	model *model.Model
	opts  net.Options
	pool  *kernels.Pool
	lent  bool // the pool is the caller's
	net   *net.Network

	mapped *model.Mapped // nil: the weights are in memory of our own

	mu     sync.Mutex // guards runner and bounds: buffers of one call at a time
	runner *net.Runner
	back   func() (*net.Network, error) // compiled for attacks, once
	bounds [AlphaCROWN + 1]verifier     // those asked for

	attacking atomic.Int64 // bytes of back's result
}

// Option changes how a Model runs.
type Option func(*Model)

// Threads sets the number of workers; the default is GOMAXPROCS. With one, no
// goroutine is ever started.
func Threads(n int) Option {
	return func(m *Model) { m.pool, m.lent = kernels.NewPool(max(1, n)), false }
}

// Pool runs the model on workers that the caller has made, which may serve other
// models too, in turns. It is closed by the caller, after the last model.
func Pool(p *kernels.Pool) Option { return func(m *Model) { m.pool, m.lent = p, true } }

// ISA forces a kernel set ("generic", "avx2", "avx512", "neon"); the default is the best one
// the machine has, or EPSBALL_ISA.
func ISA(name string) Option { return func(m *Model) { m.opts.ISA = name } }

// FewImages is for devices that see a few images at a time: it packs the weights
// for that alone, which takes half the memory. Larger batches are slow then.
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

// LoadBytes is Load for a model file in memory, one that go:embed put there for
// example; name stands for it in errors. Weights stay there, and with FewImages Classify
// uses them where they lie, if they are in the order for that (see Map): data must not
// change while the model is in use. It reads no ONNX.
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

// Close ends the model's workers, unless Pool lent them, and unmaps its file, if there
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
// Classify, and packed for Attack and Certify once these have been called. Those in a
// mapped file are not counted, see MappedBytes.
func (m *Model) Bytes() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	n := m.net.Bytes() + int(m.attacking.Load())
	if m.MappedBytes() == 0 {
		n += m.model.Bytes()
	}
	for _, v := range m.bounds {
		if v != nil {
			n += v.Bytes()
		}
	}
	return n
}

// Prediction is the outcome of Classify.
type Prediction struct {
	Label  []int     // class of each image, the first of equals; −1 if a logit is NaN
	Logits []float32 // N × classes
}

// Classify predicts the class of each image.
func (m *Model) Classify(ctx context.Context, x Batch) (*Prediction, error) {
	p := new(Prediction)
	return p, m.ClassifyInto(ctx, x, p)
}

// ClassifyInto is Classify into memory that is used again: with a p of the
// same size it allocates nothing.
func (m *Model) ClassifyInto(ctx context.Context, x Batch, p *Prediction) error {
	c := m.net.Classes()
	if x.N < 0 {
		return fmt.Errorf("images: N is %d, want ≥ 0", x.N)
	}
	if cap(p.Label) < x.N || cap(p.Logits) < x.N*c {
		p.Label, p.Logits = make([]int, x.N), make([]float32, x.N*c)
	}
	p.Label, p.Logits = p.Label[:x.N], p.Logits[:x.N*c]
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.runner.Logits(ctx, p.Logits, x.Data, x.N); err != nil {
		return err
	}
	for i := range p.Label {
		p.Label[i] = net.Argmax(p.Logits[i*c : (i+1)*c])
	}
	return nil
}

// Ball is a set of images around each image: all at most ε away in a norm,
// with pixels in [0, 1]. Linf and L2 make one.
type Ball struct {
	ball net.Ball
	err  error
}

// Linf is the ball in which every pixel may change by up to eps. A float64
// stands for its shortest decimal: Linf(0.1) has ε = 1/10 exactly.
func Linf(eps float64) Ball { return newBall(net.Linf, eps) }

// L2 is the ball in which the root of the summed squares of the changes is at
// most eps.
func L2(eps float64) Ball { return newBall(net.L2, eps) }

// ParseBall makes a ball of the given norm ("linf", "l2") from an exact
// decimal or fraction, such as "8/255".
func ParseBall(norm, eps string) (Ball, error) {
	var b Ball
	var err error
	if b.ball.Norm, err = net.ParseNorm(norm); err != nil {
		return Ball{}, err
	}
	if b.ball.Eps, err = net.ParseEpsilon(eps); err != nil {
		return Ball{}, err
	}
	return b, b.ball.Validate()
}

func newBall(norm net.Norm, eps float64) Ball {
	if math.IsNaN(eps) || math.IsInf(eps, 0) {
		return Ball{err: fmt.Errorf("epsilon %v: want a finite value ≥ 0", eps)}
	}
	e, err := net.ParseEpsilon(strconv.FormatFloat(eps, 'g', -1, 64))
	if err != nil {
		return Ball{err: err}
	}
	b := net.Ball{Norm: norm, Eps: e}
	return Ball{b, b.Validate()}
}

// Times returns the ball of k times the radius, exactly; k ≥ 0.
func (b Ball) Times(k int) Ball {
	if b.err != nil {
		return b
	}
	if k < 0 {
		return Ball{err: fmt.Errorf("epsilon: %d times %s, want at least 0 times", k, b.ball.Eps)}
	}
	b.ball.Eps = b.ball.Eps.Times(k)
	b.err = b.ball.Validate()
	return b
}

// Eps returns the radius as an exact decimal or fraction; "invalid" for a ball that
// every function refuses.
func (b Ball) Eps() string {
	if b.err != nil {
		return "invalid"
	}
	return b.ball.Eps.String()
}

// Method is an attack with its settings: FGSM, PGD, APGD, what ParseMethod reads, or
// any other attack.Method.
type Method = attack.Method

// The attacks; the zero value of each has the usual settings.
type (
	FGSM = attack.FGSM // one step of ε
	PGD  = attack.PGD  // steps of ε/4 from random starts
	APGD = attack.APGD // PGD with momentum that finds its own step size
)

// ParseMethod reads an attack's textual form, such as "pgd:steps=40,restarts=5,seed=1"
// (docs/attacks.md).
func ParseMethod(text string) (Method, error) { return attack.Parse(text) }

// Attack searches the ball around each image for one that the model does not
// classify as y says, one label an image.
func Attack(ctx context.Context, m *Model, x Batch, y []int, b Ball, how Method) (*attack.Result, error) {
	if err := check(x, y, b); err != nil {
		return nil, err
	}
	if how == nil {
		return nil, errors.New("attack: no method, want one such as PGD{}")
	}
	n, err := m.back()
	if err != nil {
		return nil, err
	}
	a, err := attack.New(n, attack.Config{Ball: b.ball, Method: how}, m.pool)
	if err != nil {
		return nil, err
	}
	r := new(attack.Result)
	return r, a.Run(ctx, attack.Batch{X: x.Data, Y: y}, r)
}

func check(x Batch, y []int, b Ball) error {
	if b.err != nil {
		return b.err
	}
	if len(y) != x.N {
		return fmt.Errorf("labels: %d, want one for each of %d images", len(y), x.N)
	}
	return nil
}
