package verify

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strings"

	"github.com/epsball/epsball/kernels"
	"github.com/epsball/epsball/net"
)

// Method is a way to bound a network, the cheaper and looser first.
type Method int

const (
	MethodIBP        Method = iota // intervals alone (Gowal et al. 2018)
	MethodCROWNIBP                 // intervals, and linear bounds of the specification (Zhang et al. 2020)
	MethodCROWN                    // linear bounds of every unstable neuron (Zhang et al. 2018; DeepPoly, Singh et al. 2019)
	MethodAlphaCROWN               // the same with optimised slopes (Xu et al. 2021)
)

// Methods lists the names ParseMethod knows.
func Methods() []string { return []string{"ibp", "crown-ibp", "crown", "alpha-crown"} }

func (m Method) String() string { return Methods()[m] }

// ParseMethod returns the method of the given name.
func ParseMethod(name string) (Method, error) {
	for i, s := range Methods() {
		if s == name {
			return Method(i), nil
		}
	}
	return 0, fmt.Errorf("method %q: want one of %s", name, strings.Join(Methods(), ", "))
}

// Config says how to verify.
type Config struct {
	Method Method

	// Ladder tries the cheaper methods first and takes the next one for those images
	// alone that are not certified yet.
	Ladder bool

	// Spec is what to prove of the outputs; nil: that the label's logit is larger
	// than every other. Labels are not used with it.
	Spec *Spec

	// Iterations is the number of gradient steps of MethodAlphaCROWN; 0 means 20.
	Iterations int

	// RowsOnly makes MethodAlphaCROWN optimise the slopes for the rows of the
	// specification alone, intermediate bounds being those of MethodCROWN. It is
	// faster, less tight, and what a certificate can state.
	RowsOnly bool
}

// Validate names the first field that makes no sense for a network of the given
// number of outputs.
func (c *Config) Validate(outputs int) error {
	if c.Method < MethodIBP || c.Method > MethodAlphaCROWN {
		return fmt.Errorf("method %d: want one of %s", int(c.Method), strings.Join(Methods(), ", "))
	}
	if c.Iterations < 0 || c.Iterations > 1e6 {
		return fmt.Errorf("iterations: got %d, want 0 … 1000000", c.Iterations)
	}
	if c.Spec != nil {
		return c.Spec.validate(outputs)
	}
	if outputs < 2 {
		return fmt.Errorf("network: %d outputs, want at least 2 classes or a specification", outputs)
	}
	return nil
}

// CROWN verifies by linear bounds, sound in float32 (relaxation.go). Each worker of
// its pool takes an image at a time. It must be used by one goroutine at a time.
type CROWN struct {
	g       *graph
	cfg     Config
	pool    *kernels.Pool
	ibp     *IBP // nil with a specification
	workers []*climber
	f       func(worker, task int)
	one     func(w *climber, image int) // certify
	only    func(w *climber, image int) // certifyRung

	// The batch being verified.
	ctx  context.Context
	b    Batch
	todo []int
	do   func(w *climber, image int)

	ball net.Ball
	box  net.Box
	res  *Result
	rung Method
}

// climber is a worker on the rungs of the ladder.
type climber struct {
	*relaxer
	low []float32 // of the statement's rows
}

// NewCROWN prepares a network for verification. It packs what the network was not
// compiled with: |W| and the adjoint of every layer.
func NewCROWN(n *net.Network, pool *kernels.Pool, c Config) (*CROWN, error) {
	if n.HasWinograd() {
		return nil, errors.New("network: compiled with Winograd, whose rounding no certificate covers")
	}
	if err := n.Only("linear bounds", linearOps); err != nil {
		return nil, err
	}
	g, err := newGraph(n, c.Method == MethodAlphaCROWN)
	if err != nil {
		return nil, err
	}
	if err := c.Validate(g.outputs()); err != nil {
		return nil, err
	}
	if c.Iterations == 0 {
		c.Iterations = 20
	}
	v := &CROWN{g: g, cfg: c, pool: pool}
	if c.Spec == nil {
		if v.ibp, err = NewIBP(n, pool); err != nil {
			return nil, err
		}
	}
	v.one, v.only = v.certify, v.certifyRung
	v.f = func(worker, task int) {
		if v.ctx.Err() == nil {
			w := v.workers[worker]
			w.ctx = v.ctx
			v.do(w, v.todo[task])
			w.ctx = nil
		}
	}
	return v, nil
}

func (g *graph) outputs() int { return g.maps[len(g.maps)-1].size() }

func (v *CROWN) check(b Batch) error {
	n := v.g.net
	if v.cfg.Spec != nil {
		return n.CheckImages(b.X, len(b.X)/max(1, n.Input().Size()))
	}
	if err := n.CheckImages(b.X, len(b.Y)); err != nil {
		return err
	}
	return n.CheckLabels(b.Y, len(b.Y))
}

// run calls do for the images in v.todo, spread over the workers.
func (v *CROWN) run(ctx context.Context, b Batch, do func(w *climber, image int)) error {
	for len(v.workers) < v.pool.Workers() {
		rows := statement{spec: v.cfg.Spec}.rows(v.g.outputs())
		w := &climber{newRelaxer(v.g), make([]float32, rows)}
		w.early, w.rowsOnly = v.cfg.Ladder, v.cfg.RowsOnly
		v.workers = append(v.workers, w)
	}
	v.ctx, v.b, v.do = ctx, b, do
	v.pool.Run(len(v.todo), v.f)
	v.ctx, v.b, v.do = nil, Batch{}, nil
	return ctx.Err()
}

// Certify tries to prove the statement for all images of the ball around each of b.
// It fills res, reusing its memory. When ctx ends it returns the context's error;
// images with res.Done are then complete.
//
// Margins are never below those of IBP. Each is that of the rung that res.Method
// names: the first that certified, or the last.
func (v *CROWN) Certify(ctx context.Context, ball net.Ball, b Batch, res *Result) error {
	if err := ball.Validate(); err != nil {
		return err
	}
	if err := v.check(b); err != nil {
		return err
	}
	n := len(b.X) / v.g.net.Input().Size()
	if v.ibp != nil {
		if err := v.ibp.Certify(ctx, ball, b, res); err != nil {
			for i, done := range res.Done { // the others have rungs left
				res.Done[i] = done && (res.Certified[i] && v.cfg.Ladder || v.cfg.Method == MethodIBP)
			}
			return err
		}
		if v.cfg.Method == MethodIBP {
			return nil
		}
	} else {
		res.resize(n)
	}
	v.todo = v.todo[:0]
	for i := range n {
		res.Done[i] = v.cfg.Ladder && res.Certified[i]
		if !res.Done[i] {
			v.todo = append(v.todo, i)
		}
	}
	v.ball, v.box, v.res = ball, ball.Box(), res
	err := v.run(ctx, b, v.one)
	v.res = nil
	return err
}

// all puts n images on the list.
func (v *CROWN) all(n int) {
	v.todo = v.todo[:0]
	for i := range n {
		v.todo = append(v.todo, i)
	}
}

func (v *CROWN) statement(i int) statement {
	if v.cfg.Spec != nil {
		return statement{spec: v.cfg.Spec}
	}
	return statement{y: v.b.Y[i]}
}

func (v *CROWN) image(i int) []float32 {
	size := v.g.net.Input().Size()
	return v.b.X[i*size : (i+1)*size]
}

// Bounds returns the intervals of all nodes of net.Network.Nodes but the last, before the
// ReLUs that are part of them, for the ball around one image, and lower bounds: of z_y − z_j for every j
// (+Inf at y), or of the rows of the specification. It allocates its results.
func (v *CROWN) Bounds(ball net.Ball, x []float32, y int) ([]Interval, []float32, error) {
	if err := ball.Validate(); err != nil {
		return nil, nil, err
	}
	b := Batch{X: x, Y: []int{y}}
	if v.cfg.Spec != nil {
		b.Y = nil
	}
	if err := v.check(b); err != nil {
		return nil, nil, err
	}
	var out []Interval
	var low []float32
	v.todo = append(v.todo[:0], 0)
	err := v.run(context.Background(), b, func(w *climber, _ int) {
		w.load(x, ball, ball.Box())
		w.bothSides = true
		w.attempt(v.cfg.Method, v.statement(0), w.low, v.cfg.Iterations)
		w.bothSides = false
		for i := range v.g.nodes[:len(v.g.nodes)-1] {
			out = append(out, w.intervalOf(i))
		}
		low = append(low, w.low...)
	})
	if err != nil {
		return nil, nil, err
	}
	if v.cfg.Spec == nil {
		low = append(low[:y], append([]float32{float32(math.Inf(1))}, low[y:]...)...)
	}
	return out, low, nil
}

// intervalOf returns the bounds of node i, channels first.
func (w *relaxer) intervalOf(i int) Interval {
	m := w.g.maps[i+1]
	iv := Interval{make([]float32, m.size()), make([]float32, m.size())}
	for o := range m.size() {
		k := at(o, m)
		iv.Lower[o], iv.Upper[o] = w.lo[i][k], w.hi[i][k]
	}
	return iv
}
