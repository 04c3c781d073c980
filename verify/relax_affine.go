package verify

import (
	"github.com/epsball/epsball/kernels"
	"github.com/epsball/epsball/net"
)

// relaxAffine is a conv or an fc that reads all its channels at once, with what it adds:
// steps 8 and 10 as they stand.
type relaxAffine struct {
	affine   *net.Affine
	shape    kernels.Shape
	whole    kernels.Window  // of the source
	flat     bool            // reads its source as one long pixel
	interval rounding        // of step 2
	small    *kernels.Small  // W from b
	both     []float32       // e of step 2, padded
	abs      *kernels.Small  // |W| from |b|
	adjoint  *kernels.Linear // of the whole map
	ahead    *kernels.Linear // W from b on lanes; nil until slopes are optimised
	rows     []float32       // W, [OutC][KH][KW][InC]
}

func newRelaxAffine(g *graph, a *net.Affine, terms int) (*relaxAffine, error) {
	s, src := a.Shape, g.maps[a.Src]
	o := &relaxAffine{affine: a, shape: s, whole: src.full(), flat: s.InH == 1 && s.InW == 1 && src.h*src.w > 1}
	var err error
	if o.interval, err = newRounding(s.FanIn(), terms, extraLayer); err != nil {
		return nil, err
	}
	n := g.net
	isa, w := n.ISA(), a.Weights()
	o.small, _ = a.Small(1, 1)
	if o.small == nil {
		o.small = kernels.NewSmall(isa, s)
		o.small.Pack(w, false)
		o.small.SetBias(a.B)
	}
	o.both = o.small.PadBias(o.interval.radiusBias(a.B))
	o.abs = kernels.NewSmall(isa, s)
	o.abs.Pack(w, true)
	o.abs.SetBias(absAll(a.B))
	o.adjoint = kernels.NewAdjoint(isa, s)
	o.adjoint.Pack(w, false)
	o.rows = make([]float32, len(w))
	for c := range s.OutC {
		isa.Transpose(o.rows[c*s.FanIn():][:s.FanIn()], w[c*s.FanIn():][:s.FanIn()], s.InC, s.KH*s.KW)
	}
	return o, nil
}

func (o *relaxAffine) packAhead(n *net.Network) {
	if o.ahead = o.affine.Lanes(); o.ahead == nil {
		o.ahead = newLanes(n, o.shape, o.affine.Weights(), o.affine.B, false)
	}
}

func (o *relaxAffine) reads(k int, w kernels.Window) kernels.Window {
	switch {
	case k > 0: // the skip
		return w
	case o.flat:
		return o.whole
	}
	return o.shape.Reads(w)
}

func (o *relaxAffine) key(sig []int, w kernels.Window) []int {
	k := o.shape.Same(w, o.shape.Reads(w))
	return append(sig, k[:]...)
}

func (o *relaxAffine) forward(w *linearWorker, i int) {
	c, r, m, sumM, positive := w.split(o.affine.Src, o.interval)
	o.small.ApplyBoth(&w.sc, w.cOut, c, w.rOut, r, o.both, 1, 0, 1)
	o.abs.Apply(&w.sc, w.vOut, m, 1, kernels.None, nil, 0, 1)
	bySign := positive && !w.plain
	if bySign {
		o.small.Apply(&w.sc, w.dOut, m, 1, kernels.None, nil, 0, 1)
	}
	w.sumsOf(i, o.affine.B, o.affine.Skip, sumM, bySign)
}

// back takes rows to the source by the adjoint and hands them on to the skip as they
// are.
func (o *relaxAffine) back(r *rows, i int, v []float32, groups int) {
	src, w := o.affine.Src, r.placed[0]
	reads := o.reads(0, w[i+1])
	dst, alone := r.room(src, reads)
	if s := r.sparseOf(i, o); s != nil && w[i+1] == r.g.maps[i+1].full() && reads == o.whole {
		s.Apply(&r.sc, dst, v, groups)
	} else {
		r.adjoint = r.g.adjoint(o.shape, o.adjoint, w[i+1])
		r.adjoint.Apply(&r.sc, dst, v, groups, kernels.None, nil)
	}
	if !alone {
		r.add(src, reads, dst, groups)
	}
	if o.affine.Skip >= 0 {
		r.add(o.affine.Skip, w[i+1], v, groups)
	}
}

// fill starts rows of neurons of the position pos in group g: with their weights, that
// is, in one step.
func (o *relaxAffine) fill(r *rows, pos kernels.Window, g int, lanes *[kernels.Lanes]kernels.Row) {
	src, skip := o.affine.Src, o.affine.Skip
	r.started[src] = true
	o.fillSource(r, pos, g, lanes)
	if skip < 0 {
		return
	}
	w := r.placed[g][skip]
	v := r.group(r.v[skip], skip, g)
	if skip != src {
		clear(v)
		r.started[skip] = true
	}
	seed(v[((pos.Y0-w.Y0)*w.W()+pos.X0-w.X0)*o.shape.OutC*kernels.Lanes:], lanes)
}

func (o *relaxAffine) fillSource(r *rows, pos kernels.Window, g int, lanes *[kernels.Lanes]kernels.Row) {
	src := o.affine.Src
	isa, s, w := r.g.net.ISA(), o.shape, r.placed[g][src]
	dst := r.group(r.v[src], src, g)
	if o.flat {
		isa.GatherLanes(&r.sc, dst, o.rows, s.InC, 0, s.InC, lanes)
		return
	}
	reads := s.Reads(pos)
	if reads != w {
		clear(dst)
	}
	ky, kx := reads.Y0-(pos.Y0*s.StrideH-s.PadH), reads.X0-(pos.X0*s.StrideW-s.PadW)
	for y := range reads.H() {
		to := ((reads.Y0+y-w.Y0)*w.W() + reads.X0 - w.X0) * s.InC * kernels.Lanes
		isa.GatherLanes(&r.sc, dst[to:], o.rows, s.FanIn(), ((ky+y)*s.KW+kx)*s.InC, reads.W()*s.InC, lanes)
	}
}

func (o *relaxAffine) values(r *rows, a *ascent, i, groups int) {
	src, w := o.affine.Src, r.placed[0]
	out, in := w[i+1], w[src]
	if o.flat {
		out, in = kernels.Window{Y1: 1, X1: 1}, kernels.Window{Y1: 1, X1: 1}
	}
	a.forward = r.g.forwardOn(o.shape, o.ahead, out, in)
	a.forward.Apply(&r.sc, a.z[i+1], a.z[src], groups, kernels.None, nil)
	if o.affine.Skip >= 0 {
		r.addValues(a, i, o.affine.Skip, groups)
	}
}

// point computes node i at the ball's centre, before its ReLU.
func (o *relaxAffine) point(w *linearWorker, i int) {
	out := w.mid[i+1]
	o.small.Apply(&w.sc, out, w.mid[o.affine.Src], 1, kernels.None, nil, 0, 1)
	if o.affine.Skip >= 0 {
		for k, v := range w.mid[o.affine.Skip][:w.g.maps[i+1].size()] {
			out[k] += v
		}
	}
}

// adjoint returns the adjoint l of a map of shape s for rows that are zero outside of
// the window w of its output, on the window that it reads then.
func (g *graph) adjoint(s kernels.Shape, l *kernels.Linear, w kernels.Window) kernels.Linear {
	reads := s.Reads(w) // of whole maps perhaps not all, with a stride
	if w == (kernels.Window{Y1: s.OutH(), X1: s.OutW()}) && reads.H() == s.InH && reads.W() == s.InW {
		return *l
	}
	return g.windowed(l, planKey{shape: s, adjoint: true, windows: s.Same(w, reads)}, w, reads)
}

// forwardOn returns the forward map l to the outputs in out from what in holds of its
// source.
func (g *graph) forwardOn(s kernels.Shape, l *kernels.Linear, out, in kernels.Window) kernels.Linear {
	reads := s.Reads(out)
	return g.windowed(l, planKey{
		shape: s, windows: s.Same(out, in),
		reads: [4]int{reads.Y0 - in.Y0, reads.X0 - in.X0, reads.H(), reads.W()},
	}, out, in)
}

// windowed returns l.Windowed(out, in), whose plan is that of k.
func (g *graph) windowed(l *kernels.Linear, k planKey, out, in kernels.Window) kernels.Linear {
	p := g.plans.get(&k)
	if p == nil {
		p = l.Windowed(out, in)
		g.plans.put(&k, p)
	}
	return p.With(l)
}
