package verify

import (
	"context"
	"errors"
	"math"

	"github.com/epsball/epsball/kernels"
	"github.com/epsball/epsball/net"
)

// Verifier proves properties of a network over regions of inputs, by any method, sound
// in float32 (rounding.go, relaxation.go). It packs what a method needs when that is
// first used, once for all of them. It must be used by one goroutine at a time.
type Verifier struct {
	net     *net.Network
	pool    *kernels.Pool
	outputs int

	intervals *intervalRung   // nil until labels are verified by intervals
	graph     *graph          // nil until linear bounds are needed
	workers   []*linearWorker // one for each of the pool, of linear bounds
	together  *team           // of them all; nil until they work for one region

	// What programs for devices need not carry: see KeepSlopes, JoinBalls and FirstPlanes.
	keeps  func(*linearWorker) keeper
	join   func(r *rows, g int, v []float32)
	planes func(g *graph) hull

	spare *call // for the next call
}

// New returns a verifier of n that works on pool. It refuses a network compiled with
// Winograd, whose rounding no certificate covers.
func New(n *net.Network, pool *kernels.Pool) (*Verifier, error) {
	if n.HasWinograd() {
		return nil, errors.New("network: compiled with Winograd, whose rounding no certificate covers")
	}
	if err := n.Only("verification", linearOps); err != nil {
		return nil, err
	}
	return &Verifier{net: n, pool: pool, outputs: n.Output().Size()}, nil
}

// Prepare packs now what calls with the options o need, which they would otherwise do
// when they come to it. It allocates no buffers of workers.
func (v *Verifier) Prepare(o Options) error {
	if err := o.Validate(v.outputs); err != nil {
		return err
	}
	if o.Property == nil {
		if err := v.ibp(); err != nil || o.Method == MethodIBP {
			return err
		}
	}
	if err := v.packGraph(); err != nil {
		return err
	}
	if o.Method == MethodAlphaCROWN {
		v.graph.packAhead()
	}
	return nil
}

// ibp makes the rung of intervals, once.
func (v *Verifier) ibp() (err error) {
	if v.intervals == nil {
		v.intervals, err = newIntervalRung(v.net, v.pool)
	}
	return err
}

// packGraph makes the graph, once.
func (v *Verifier) packGraph() (err error) {
	if v.graph == nil {
		if v.graph, err = newGraph(v.net); err == nil {
			v.graph.join, v.graph.planes = v.join, v.planes
		}
	}
	return err
}

// linear makes the graph and its workers, once.
func (v *Verifier) linear() error {
	if err := v.packGraph(); err != nil {
		return err
	}
	for len(v.workers) < v.pool.Workers() {
		v.workers = append(v.workers, newLinearWorker(v.graph))
	}
	return nil
}

// Certify tries to prove the label of each image, or the property, for all of the ball
// around it. It fills res, reusing its memory, and allocates nothing from the second call
// of a kind on. When ctx ends it returns the context's error; images with res.Done are
// then complete.
//
// Without a property margins are never below those of MethodIBP. Each is that of the
// method that res.Method names: the first that certified, or the last.
func (v *Verifier) Certify(ctx context.Context, o Options, ball net.Ball, b Batch, res *Result) error {
	if err := checkBall(ball); err != nil {
		return err
	}
	c, err := v.beginImages(ctx, &o, b)
	if err != nil {
		return err
	}
	defer c.end()
	c.ball = area{norm: ball.Norm, box: ball.Box()}
	return c.certify(res)
}

// CertifyRegions is Certify for regions and the label of each; y is not used with a
// property.
func (v *Verifier) CertifyRegions(ctx context.Context, o Options, regions []Region, y []int, res *Result) error {
	c, err := v.begin(ctx, &o)
	if err != nil {
		return err
	}
	defer c.end()
	if err := c.areas(regions, y); err != nil {
		return err
	}
	return c.certify(res)
}

func (c *call) certify(res *Result) error {
	c.res = res
	res.resize(c.n)
	if c.o.Property == nil {
		if err := c.v.ibp(); err != nil {
			return err
		}
		if err := c.v.intervals.run(c, certifyChunk); err != nil {
			for i, done := range res.Done { // the others have rungs left
				res.Done[i] = done && (res.Certified[i] && c.o.Ladder || c.o.Method == MethodIBP)
			}
			return err
		}
		if c.o.Method == MethodIBP {
			return nil
		}
	}
	for i := range c.n {
		if res.Done[i] = c.o.Ladder && res.Certified[i]; !res.Done[i] {
			c.todo = append(c.todo, i)
		}
	}
	if err := c.certifyLanes(); err != nil {
		return err
	}
	return c.runTogether(certifyOne)
}

// CertifyRung is Certify by o.Method alone, whatever cheaper ones prove: for callers that
// climb the ladder themselves. Margins are those of the method. Ladder says whether slopes
// are optimised only until the image is proved.
func (v *Verifier) CertifyRung(ctx context.Context, o Options, ball net.Ball, b Batch, res *Result) error {
	return v.rung(ctx, o, ball, b, res, nil)
}

// CertifyRungs is CertifyRung for many images: they share lanes, as those of Certify do, with
// the same bits. (What audit.Guard calls does without: programs for devices have no room for it.)
func (v *Verifier) CertifyRungs(ctx context.Context, o Options, ball net.Ball, b Batch, res *Result) error {
	return v.rung(ctx, o, ball, b, res, (*call).certifyLanes)
}

// rung is CertifyRung; before it, lanes may certify some.
func (v *Verifier) rung(ctx context.Context, o Options, ball net.Ball, b Batch, res *Result, lanes func(*call) error) error {
	if o.Method == MethodIBP && o.Property == nil {
		return v.Certify(ctx, o, ball, b, res)
	}
	if err := checkBall(ball); err != nil {
		return err
	}
	c, err := v.beginImages(ctx, &o, b)
	if err != nil {
		return err
	}
	defer c.end()
	c.ball, c.res = area{norm: ball.Norm, box: ball.Box()}, res
	res.resize(c.n)
	c.all()
	if lanes != nil && o.Method == MethodCROWNIBP {
		if err := lanes(c); err != nil {
			return err
		}
	}
	return c.run(certifyRung)
}

// Bounds returns the intervals of the nodes of net.Network.Nodes, in their order, for a
// region, and lower bounds: of z_y − z_j for every j (+Inf at y), or of the rows of the
// property. The last node's interval is missing, but where intervals alone are asked for
// in a network whose last layer is not merged with the margins: one that does not end in
// conv or fc with one pixel. It allocates its results.
func (v *Verifier) Bounds(ctx context.Context, o Options, r Region, y int) ([]Interval, []float32, error) {
	c, err := v.begin(ctx, &o)
	if err != nil {
		return nil, nil, err
	}
	defer c.end()
	if err := c.areas([]Region{r}, []int{y}); err != nil {
		return nil, nil, err
	}
	if o.Method > MethodIBP || o.Property != nil {
		return c.linearBounds()
	}
	if err := v.ibp(); err != nil {
		return nil, nil, err
	}
	a := r.area()
	out, low := v.intervals.nodes(&a, y)
	return out, low, nil
}

// linearBounds is Bounds as linear bounds have them.
func (c *call) linearBounds() (out []Interval, low []float32, err error) {
	c.all()
	err = c.runTogether(func(c *call, w *linearWorker, _ int) {
		a, t := c.area(0), newAttempt(c.ctx, &c.o, c.o.Method, c.goal(0))
		t.bothSides, t.early = true, false
		w.try(&t, &a)
		for i := range w.g.nodes[:len(w.g.nodes)-1] {
			out = append(out, channelsFirst(w.g.maps[i+1], w.lo[i], w.hi[i]))
		}
		low = append(low, w.proved...)
	})
	if err != nil {
		return nil, nil, err
	}
	if y := c.y; y != nil {
		low = append(low[:y[0]], append([]float32{float32(math.Inf(1))}, low[y[0]:]...)...)
	}
	return out, low, nil
}

// channelsFirst returns bounds in that order.
func channelsFirst(m extent, lo, hi []float32) Interval {
	iv := Interval{make([]float32, m.size()), make([]float32, m.size())}
	for o := range m.size() {
		k := at(o, m)
		iv.Lower[o], iv.Upper[o] = lo[k], hi[k]
	}
	return iv
}
