package verify

import (
	"context"
	"slices"

	"github.com/epsball/epsball/kernels"
	"github.com/epsball/epsball/net"
)

// Proof is what a checker needs to bound the goal for one region again by the
// same method: the lower slopes. It computes everything else, intervals and upper
// lines, itself.
type Proof struct {
	Method    Method // the first rung to certify, or the last
	Certified bool
	Margin    float32
	Rows      []float32 // lower bounds of the goal's rows: of each other label, or of the property
	Slopes    []Slopes  // of each ReLU, in order; none for MethodIBP
}

// Slopes are the slopes, in [0, 1] as certificates state them, of the relu, leakyrelu or
// clip with index Layer in the architecture, channels first. Those of neurons whose
// lines are not free mean nothing.
type Slopes struct {
	Layer int
	Alpha []float32   // for rows of neurons of later layers, and of the goal
	Rows  [][]float32 // instead of it, for each row of the goal; nil unless optimised

	node int
}

// Prove is CertifyRegions for one region, with what a certificate of it needs. It
// allocates its result. Intermediate bounds are those of MethodCROWN: a certificate has no
// room for slopes of every neuron's rows (Options.RowsOnly).
func (v *Verifier) Prove(ctx context.Context, o Options, r Region, y int) (*Proof, error) {
	c, err := v.begin(ctx, &o)
	if err != nil {
		return nil, err
	}
	defer c.end()
	if err := c.areas([]Region{r}, []int{y}); err != nil {
		return nil, err
	}
	c.all()
	proofs, err := c.prove()
	if err != nil {
		return nil, err
	}
	return proofs[0], nil
}

// ProveAll is Prove for the balls around those images of b for which ball returns true,
// spread over the workers; the others' proofs are nil.
func (v *Verifier) ProveAll(ctx context.Context, o Options, b Batch, ball func(image int) (net.Ball, bool)) ([]*Proof, error) {
	c, err := v.beginImages(ctx, &o, b)
	if err != nil {
		return nil, err
	}
	defer c.end()
	c.ballOf = ball
	for i := range c.n {
		if b, ok := ball(i); ok {
			if err := b.Validate(); err != nil {
				return nil, err
			}
			c.todo = append(c.todo, i)
		}
	}
	return c.prove()
}

func (c *call) prove() ([]*Proof, error) {
	c.o.RowsOnly = true
	out := make([]*Proof, c.n)
	c.proofs = out
	err := c.runTogether(proveOne)
	return out, err
}

// proveOne is certifyOne with a proof; none if the context ends within a rung.
func proveOne(c *call, w *linearWorker, i int) {
	m := c.o.Method
	if c.o.Ladder {
		m = MethodIBP
	}
	for a := c.area(i); ; m++ {
		t := newAttempt(c.ctx, &c.o, m, c.goal(i))
		p := &Proof{Method: m}
		t.proof = p
		p.Margin = w.try(&t, &a)
		if t.gaveUp {
			return
		}
		p.Rows, p.Certified = append(p.Rows, w.proved...), p.Margin > 0
		if p.Certified || m == c.o.Method || c.ctx.Err() != nil {
			c.proofs[i] = p
			return
		}
	}
}

// stateSlopes adds the slopes of the lines to the proof p and, if they are to be optimised,
// makes room for those of n rows.
func (w *linearWorker) stateSlopes(p *Proof, n int, optimised bool) {
	for i := range w.g.nodes {
		d := &w.g.nodes[i]
		if d.layer < 0 {
			continue
		}
		s := Slopes{Layer: d.layer, Alpha: make([]float32, w.g.maps[i+1].size()), node: i}
		for o := range s.Alpha {
			k := at(o, w.g.maps[i+1])
			s.Alpha[o] = w.stated(i, k, w.params[i][k*kernels.RelaxParams+kernels.RelaxLower])
		}
		if optimised {
			s.Rows = make([][]float32, n)
		}
		p.Slopes = append(p.Slopes, s)
	}
}

// stateRows adds the optimised slopes of some rows, from the given one on, which the worker
// has just bounded.
func (w *linearWorker) stateRows(p *Proof, from, some int) {
	a := w.ascent
	for k := range p.Slopes {
		s := &p.Slopes[k]
		act := s.node + 1
		m := w.g.maps[act]
		hw := m.h * m.w
		for j := range some {
			row := slices.Clone(s.Alpha)
			if a.used[act] && w.g.nodes[s.node].lines == kernelLines {
				g, l := j/kernels.Lanes, j%kernels.Lanes
				kept := w.group(a.kept[act], act, g)
				w.each(g, act, func(at, k int) {
					row[k%m.c*hw+k/m.c] = w.stated(s.node, k, kept[at*kernels.Lanes+l])
				})
			}
			s.Rows[from+j] = row
		}
	}
}

// stated is what certificates state of the slope alpha of neuron k of node i.
func (w *linearWorker) stated(i, k int, alpha float32) float32 {
	if o, ok := w.g.nodes[i].op.(*relaxElementwise); ok {
		src := w.g.nodes[i].in[0]
		return o.stated(k, w.params[i][k*kernels.RelaxParams:], alpha, w.actLo[src][k], w.actHi[src][k])
	}
	return alpha
}
