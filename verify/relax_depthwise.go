package verify

import (
	"github.com/epsball/epsball/kernels"
	"github.com/epsball/epsball/net"
)

// relaxDepthwise is a convolution of each channel by itself, or batch normalization,
// which is one with a single tap.
//
// 10a. Steps 2, 8 and 10 hold for it as for any affine layer, with K = KH·KW: the kernels
// compute each of C, R and V as one chain of FMAs from the bias, and an element of the
// adjoint as one chain of at most n = ⌈KH/SH⌉·⌈KW/SW⌉ terms, with a dilation KH·KW.
type relaxDepthwise struct {
	sliding           kernels.Sliding
	bias              []float32
	interval          rounding
	centre, radius, v *kernels.Depthwise // W from b, |W| from e of step 2, |W| from |b|
	adjoint           *kernels.Depthwise // of the whole map
}

func newRelaxDepthwise(g *graph, d *net.Depthwise, terms int) (*relaxDepthwise, error) {
	o := &relaxDepthwise{sliding: d.Sliding, bias: d.Bias()}
	var err error
	if o.interval, err = newRounding(d.Sliding.Taps(), terms, extraLayer); err != nil {
		return nil, err
	}
	pack := func(abs bool, bias []float32) *kernels.Depthwise {
		l := kernels.NewDepthwise(g.net.ISA(), d.Sliding)
		l.Pack(d.Weights(), abs)
		l.SetBias(bias)
		return l
	}
	o.centre, o.radius, o.v = pack(false, o.bias), pack(true, o.interval.radiusBias(o.bias)), pack(true, absAll(o.bias))
	o.adjoint = kernels.NewDepthwiseAdjoint(g.net.ISA(), d.Sliding)
	o.adjoint.Pack(d.Weights(), false)
	return o, nil
}

func (o *relaxDepthwise) reads(_ int, w kernels.Window) kernels.Window { return o.sliding.Reads(w) }

func (o *relaxDepthwise) key(sig []int, w kernels.Window) []int {
	k := o.sliding.Same(w, o.sliding.Reads(w))
	return append(sig, k[:]...)
}

func (o *relaxDepthwise) forward(w *linearWorker, i int) {
	c, r, m, sumM, _ := w.split(w.g.nodes[i].in[0], o.interval)
	o.centre.Apply(&w.sc, w.cOut, c, 1, 1, kernels.None, nil)
	o.radius.Apply(&w.sc, w.rOut, r, 1, 1, kernels.None, nil)
	o.v.Apply(&w.sc, w.vOut, m, 1, 1, kernels.None, nil)
	w.sumsOf(i, o.bias, -1, sumM, false)
}

func (o *relaxDepthwise) back(r *rows, i int, v []float32, groups int) {
	src, w := r.g.nodes[i].in[0], r.placed[0][i+1]
	reads := o.sliding.Reads(w)
	dst, alone := r.room(src, reads)
	if w == r.g.maps[i+1].full() && reads == r.g.maps[src].full() {
		o.adjoint.Apply(&r.sc, dst, v, groups, kernels.Lanes, kernels.None, nil)
	} else {
		k := slideKey{shape: o.sliding, adjoint: true, windows: o.sliding.Same(w, reads)}
		r.depthwise = r.g.depthwiseOn(o.adjoint, k, w, reads)
		r.depthwise.Apply(&r.sc, dst, v, groups, kernels.Lanes, kernels.None, nil)
	}
	if !alone {
		r.add(src, reads, dst, groups)
	}
}

func (o *relaxDepthwise) values(r *rows, a *ascent, i, groups int) {
	src, out := r.g.nodes[i].in[0], r.placed[0][i+1]
	in := r.placed[0][src]
	k := slideKey{shape: o.sliding, windows: o.sliding.Same(out, in), reads: offsets(in, o.sliding.Reads(out))}
	r.depthwise = r.g.depthwiseOn(o.centre, k, out, in)
	r.depthwise.Apply(&r.sc, a.z[i+1], a.z[src], groups, kernels.Lanes, kernels.None, nil)
}

// depthwiseOn returns l.Windowed(out, in), whose plan is that of k.
func (g *graph) depthwiseOn(l *kernels.Depthwise, k slideKey, out, in kernels.Window) kernels.Depthwise {
	p := g.slides.get(&k)
	if p == nil {
		p = &slidePlan{depthwise: l.Windowed(out, in)}
		g.slides.put(&k, p)
	}
	return p.depthwise.With(l)
}
