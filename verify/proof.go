package verify

import (
	"context"

	"github.com/epsball/epsball/kernels"
	"github.com/epsball/epsball/net"
)

// Proof is what a checker needs to bound the statement for one image again by the
// same method: the lower slopes. It computes everything else, intervals and upper
// lines, itself.
type Proof struct {
	Method    Method // the first rung to certify, or the last
	Certified bool
	Margin    float32
	Rows      []float32 // lower bounds of the statement's rows
	Slopes    []Slopes  // of each ReLU, in order; none for MethodIBP
}

// Slopes are the slopes, in [0, 1] as certificates state them, of the relu, leakyrelu or
// clip with index Layer in the architecture, channels first. Those of neurons whose
// lines are not free mean nothing.
type Slopes struct {
	Layer int
	Alpha []float32   // for rows of neurons of later layers, and of the statement
	Rows  [][]float32 // instead of it, for each row of the statement; nil unless optimised

	node int
}

// Prove is Certify for one image, with what a certificate of it needs. It allocates
// its result. Intermediate bounds are those of MethodCROWN: a certificate has no room
// for slopes of every neuron's rows (Config.RowsOnly).
func (v *CROWN) Prove(ctx context.Context, ball net.Ball, x []float32, y int) (*Proof, error) {
	if err := ball.Validate(); err != nil {
		return nil, err
	}
	b := Batch{X: x, Y: []int{y}}
	if v.cfg.Spec != nil {
		b.Y = nil
	}
	if err := v.check(b); err != nil {
		return nil, err
	}
	proofs, err := v.proofs(ctx, b, 1, func(int) (net.Ball, bool) { return ball, true })
	if err != nil {
		return nil, err
	}
	return proofs[0], nil
}

// ProveAll is Prove for those images of b for which ball returns true, spread over
// the workers; the others' proofs are nil.
func (v *CROWN) ProveAll(ctx context.Context, b Batch, ball func(image int) (net.Ball, bool)) ([]*Proof, error) {
	if err := v.check(b); err != nil {
		return nil, err
	}
	n := len(b.X) / v.g.net.Input().Size()
	for i := range n {
		if c, ok := ball(i); ok {
			if err := c.Validate(); err != nil {
				return nil, err
			}
		}
	}
	return v.proofs(ctx, b, n, ball)
}

func (v *CROWN) proofs(ctx context.Context, b Batch, n int, ball func(image int) (net.Ball, bool)) ([]*Proof, error) {
	v.todo = v.todo[:0]
	for i := range n {
		if _, ok := ball(i); ok {
			v.todo = append(v.todo, i)
		}
	}
	out := make([]*Proof, n)
	err := v.run(ctx, b, func(w *climber, i int) {
		c, _ := ball(i)
		out[i] = v.climbProof(w, i, c)
	})
	return out, err
}

// climbProof is climb with a proof; nil if the context ends within a rung.
func (v *CROWN) climbProof(w *climber, i int, ball net.Ball) *Proof {
	rung := v.cfg.Method
	if v.cfg.Ladder {
		rung = MethodIBP
	}
	for ; ; rung++ {
		p := Proof{Method: rung}
		w.load(v.image(i), ball, ball.Box())
		w.proof, w.rowsOnly = &p, true
		w.attempt(rung, v.statement(i), w.low, v.cfg.Iterations)
		w.proof, w.rowsOnly = nil, v.cfg.RowsOnly
		if w.gaveUp {
			return nil
		}
		p.Rows = append(p.Rows, w.low...)
		p.Margin = worst(w.low)
		p.Certified = p.Margin > 0
		if p.Certified || rung == v.cfg.Method || v.ctx.Err() != nil {
			return &p
		}
	}
}

// stateSlopes adds the slopes of the rows to the proof that is wanted; of a, if they
// are optimised, those of the groups just bounded, which hold some rows.
func (w *relaxer) stateSlopes(a *ascent, some int) {
	p := w.proof
	if p.Slopes == nil {
		for i := range w.g.nodes {
			if d := &w.g.nodes[i]; d.layer >= 0 {
				s := Slopes{Layer: d.layer, Alpha: make([]float32, w.g.maps[i+1].size()), node: i}
				for o := range s.Alpha {
					k := at(o, w.g.maps[i+1])
					s.Alpha[o] = w.stated(i, k, w.params[i][k*kernels.RelaxParams+kernels.RelaxLower])
				}
				p.Slopes = append(p.Slopes, s)
			}
		}
	}
	if a == nil {
		return
	}
	for k := range p.Slopes {
		s := &p.Slopes[k]
		act := s.node + 1
		m := w.g.maps[act]
		hw := m.h * m.w
		for j := range some {
			row := append([]float32(nil), s.Alpha...)
			if a.used[act] && w.g.nodes[s.node].lines == kernelLines {
				g, l := j/kernels.Lanes, j%kernels.Lanes
				kept := w.group(a.kept[act], act, g)
				w.each(g, act, func(at, k int) {
					row[k%m.c*hw+k/m.c] = w.stated(s.node, k, kept[at*kernels.Lanes+l])
				})
			}
			s.Rows = append(s.Rows, row)
		}
	}
}

// stated is what certificates state of the slope alpha of neuron k of node i.
func (w *relaxer) stated(i, k int, alpha float32) float32 {
	if o, ok := w.g.nodes[i].op.(*relaxElementwise); ok {
		src := w.g.nodes[i].in[0]
		return o.stated(k, w.params[i][k*kernels.RelaxParams:], alpha, w.actLo[src][k], w.actHi[src][k])
	}
	return alpha
}
