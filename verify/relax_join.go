package verify

import (
	"math"

	"github.com/epsball/epsball/kernels"
	"github.com/epsball/epsball/net"
)

// relaxSum is an add of two activations that is a node of its own.
//
// 10c. It is an affine layer without products and with two skips: by 8, ẑ is within γ_T(M +
// M′) of a + a′, T being the terms of its whole sum. Backward a row goes on to both as
// it is; rows that meet at an activation with R readers are added, so 10 gives
//
//	E ≥ (γ_T + γ_R)(M + M′).
type relaxSum struct{}

func (*relaxSum) reads(_ int, w kernels.Window) kernels.Window { return w }
func (*relaxSum) key(sig []int, w kernels.Window) []int        { return append(sig, w.H(), w.W()) }

func (*relaxSum) forward(w *relaxer, i int) {
	d := &w.g.nodes[i]
	p, q := d.in[0], d.in[1]
	ofE, ofLate := keep(termSkip, (d.relax.exec+d.relax.back)*(1+slack)), keep(termSkipBox, d.relax.exec*(1+slack))
	lo, hi, par := w.lo[i], w.hi[i], w.params[i]
	sumM, sumZ := 0.0, 0.0
	for k := range lo {
		l, h := float64(w.actLo[p][k]), float64(w.actHi[p][k])
		l2, h2 := float64(w.actLo[q][k]), float64(w.actHi[q][k])
		m := max(math.Abs(l), math.Abs(h)) + max(math.Abs(l2), math.Abs(h2))
		late := float64(ofLate * m)
		lo[k], hi[k] = widenOut(l+l2-late, h+h2+late)
		setParams(par[k*kernels.RelaxParams:], 1, 1, 0, 0, over(float64(ofE*m)))
		sumM += m
		sumZ += max(-float64(lo[k]), float64(hi[k]))
	}
	w.less += d.relax.underflow(sumM, sumZ, len(lo))
}

func (*relaxSum) back(r *rows, i int, v []float32, groups int) {
	for _, a := range r.g.nodes[i].in {
		r.add(a, r.placed[0][i+1], v, groups)
	}
}

func (*relaxSum) values(r *rows, a *ascent, i, groups int) {
	in := r.g.nodes[i].in
	clear(a.z[i+1][:groups*r.size(i+1)*kernels.Lanes])
	r.addValues(a, i, in[0], groups)
	r.addValues(a, i, in[1], groups)
}

// relaxConcat puts the channels of its inputs one after another. Its values are those
// that it reads, exactly; backward rows that meet are added, E = γ_R·M (10c).
type relaxConcat struct {
	parts []channels // of each input, of one pixel of one value
}

func newRelaxConcat(g *graph, p *net.Node) *relaxConcat {
	o, at := &relaxConcat{}, 0
	for _, a := range p.In {
		n := g.maps[a].c
		o.parts = append(o.parts, channels{p.Shape.C, at, n, 1, 1})
		at += n
	}
	return o
}

func (o *relaxConcat) of(k, pixels, lanes int) channels {
	c := o.parts[k]
	c.pixels, c.lanes = pixels, lanes
	return c
}

func (*relaxConcat) reads(_ int, w kernels.Window) kernels.Window { return w }
func (*relaxConcat) key(sig []int, w kernels.Window) []int        { return append(sig, w.H(), w.W()) }

func (o *relaxConcat) forward(w *relaxer, i int) {
	d, m := &w.g.nodes[i], w.g.maps[i+1]
	for k, a := range d.in {
		c := o.of(k, m.h*m.w, 1)
		c.put(w.lo[i], w.actLo[a])
		c.put(w.hi[i], w.actHi[a])
	}
	ofE := keep(termBack, d.relax.back)
	sumM := 0.0
	for k, l := range w.lo[i] {
		m := max(math.Abs(float64(l)), math.Abs(float64(w.hi[i][k])))
		setParams(w.params[i][k*kernels.RelaxParams:], 1, 1, 0, 0, over(float64(ofE*m)))
		sumM += m
	}
	w.less += d.relax.underflow(sumM, sumM, len(w.lo[i]))
}

func (o *relaxConcat) back(r *rows, i int, v []float32, groups int) {
	w := r.placed[0][i+1]
	for k, a := range r.g.nodes[i].in {
		dst, alone := r.room(a, w)
		o.of(k, groups*w.H()*w.W(), kernels.Lanes).take(dst, v)
		if !alone {
			r.add(a, w, dst, groups)
		}
	}
}

func (o *relaxConcat) values(r *rows, a *ascent, i, groups int) {
	w := r.placed[0][i+1]
	for k, act := range r.g.nodes[i].in {
		r.window(r.tmp, act, w, a.z[act], groups)
		o.of(k, groups*w.H()*w.W(), kernels.Lanes).put(a.z[i+1], r.tmp)
	}
}
