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
	"github.com/epsball/epsball/internal/onnx"
	"github.com/epsball/epsball/kernels"
	"github.com/epsball/epsball/model"
	"github.com/epsball/epsball/net"
	"github.com/epsball/epsball/verify"
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

// ISA forces a kernel set ("generic", "avx2", "avx512"); the default is the best one the
// machine has, or EPSBALL_ISA.
func ISA(name string) Option { return func(m *Model) { m.opts.ISA = name } }

// FewImages is for devices that see a few images at a time: it packs the weights
// for that alone, which takes half the memory. Larger batches are slow then.
func FewImages() Option { return func(m *Model) { m.opts.Batches = net.SmallBatches } }

// Load reads a model file (see docs/model-format.md) or, from a name that ends in
// .onnx or .onnx.gz, an ONNX network (see docs/onnx.md). The error names the file
// and the field that is wrong.
func Load(path string, opts ...Option) (*Model, error) {
	load := model.Load
	if onnx.IsFile(path) {
		load = onnx.Load
	}
	m, err := load(path)
	if err != nil {
		return nil, err
	}
	return New(m, opts...)
}

// LoadFS is Load from a file system, an embed.FS for example.
func LoadFS(fsys fs.FS, name string, opts ...Option) (*Model, error) {
	load := model.LoadFS
	if onnx.IsFile(name) {
		load = onnx.LoadFS
	}
	m, err := load(fsys, name)
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

// Close ends the model's workers, unless Pool lent them. The model must not be used
// afterwards.
func (m *Model) Close() {
	if !m.lent {
		m.pool.Close()
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
// Classify, and packed for Attack and Certify once these have been called.
func (m *Model) Bytes() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	n := 4*int(m.model.Arch.Parameters()) + m.net.Bytes() + int(m.attacking.Load())
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

// Method is an attack: FGSM or PGD.
type Method interface{ config(net.Ball) attack.Config }

// FGSM is the fast gradient sign method, one step of ε.
type FGSM struct {
	RandomStart bool // then the step is 1.25·ε
	Seed        uint64
}

// PGD is projected gradient descent from random starts.
type PGD struct {
	Steps    int     // 0 means 40
	StepSize float64 // 0 means ε/4
	Restarts int     // 0 means 1
	Seed     uint64
}

func (f FGSM) config(b net.Ball) attack.Config { return attack.FGSM(b, f.RandomStart, f.Seed) }

func (p PGD) config(b net.Ball) attack.Config {
	if p.Steps == 0 {
		p.Steps = 40
	}
	c := attack.PGD(b, p.Steps, p.Seed)
	c.StepSize, c.Restarts = p.StepSize, p.Restarts
	return c
}

// Attack searches the ball around each image for one that the model does not
// classify as y says, one label an image.
func Attack(ctx context.Context, m *Model, x Batch, y []int, b Ball, how Method) (*attack.Result, error) {
	if err := check(x, y, b); err != nil {
		return nil, err
	}
	if how == nil {
		return nil, errors.New("attack: no method, want FGSM{} or PGD{}")
	}
	n, err := m.back()
	if err != nil {
		return nil, err
	}
	a, err := attack.New(n, how.config(b.ball), m.pool)
	if err != nil {
		return nil, err
	}
	r := new(attack.Result)
	return r, a.Run(ctx, attack.Batch{X: x.Data, Y: y}, r)
}

// Bound is a way to prove robustness.
type Bound int

// The ways to prove, the cheaper and looser first; each includes those before it,
// which are tried first. All are sound in float32 (docs/verification.md).
const (
	IBP        Bound = iota // interval bound propagation
	CROWNIBP                // intervals, and linear bounds of the margins
	CROWN                   // linear bounds of every neuron that is not stable
	AlphaCROWN              // the same with optimised slopes
)

// Certificate is the outcome of Certify, one entry an image.
type Certificate struct {
	Robust []bool    // proved: no image of the ball is classified other than y
	Margin []float32 // proved lower bound of the label's lead in logits; −Inf if none
}

// Certify tries to prove that the model classifies every image of the ball
// around each image as y says, in exact arithmetic and as executed in float32.
func Certify(ctx context.Context, m *Model, x Batch, y []int, b Ball, how Bound) (*Certificate, error) {
	if err := check(x, y, b); err != nil {
		return nil, err
	}
	if how < IBP || how > AlphaCROWN {
		return nil, fmt.Errorf("bound %d: want IBP, CROWNIBP, CROWN or AlphaCROWN", how)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	v, err := m.verifier(how)
	if err != nil {
		return nil, err
	}
	var r verify.Result
	if err := v.Certify(ctx, b.ball, verify.Batch{X: x.Data, Y: y}, &r); err != nil {
		return nil, err
	}
	return &Certificate{r.Certified, r.Margin}, nil
}

// verifier makes the verifier of a bound when it is first asked for.
func (m *Model) verifier(how Bound) (v verifier, err error) {
	if m.bounds[how] == nil {
		if how == IBP {
			m.bounds[how], err = verify.NewIBP(m.net, m.pool)
		} else {
			m.bounds[how], err = verify.NewCROWN(m.net, m.pool, verify.Config{Method: verify.Method(how), Ladder: true})
		}
		if err != nil {
			m.bounds[how] = nil
			return nil, err
		}
	}
	return m.bounds[how], nil
}

// verifier is *verify.IBP or *verify.CROWN.
type verifier interface {
	Certify(ctx context.Context, ball net.Ball, b verify.Batch, res *verify.Result) error
	Bytes() int
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
