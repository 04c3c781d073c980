package verify

import (
	"github.com/epsball/epsball/kernels"
	"github.com/epsball/epsball/net"
)

// relaxGrouped is a convolution whose channels fall into groups (10a): each group is an affine
// layer of its own channels, of which steps 2, 8 and 10 hold with the fan-in K and the
// chains n of one group.
type relaxGrouped struct {
	op       *net.Grouped
	shape    kernels.Shape // of one group
	bias     []float32     // of all
	interval rounding
	groups   []relaxGroup
}

type relaxGroup struct {
	small   *kernels.Small  // W from b
	both    []float32       // e of step 2, padded
	abs     *kernels.Small  // |W| from |b|
	adjoint *kernels.Linear // of the whole map
	ahead   *kernels.Linear // nil until slopes are optimised
}

func newRelaxGrouped(g *graph, c *net.Grouped, terms int) (*relaxGrouped, error) {
	o := &relaxGrouped{op: c, shape: c.Shape}
	var err error
	if o.interval, err = newRounding(c.Shape.FanIn(), terms, extraLayer); err != nil {
		return nil, err
	}
	isa := g.net.ISA()
	for k := range c.Groups {
		w, b := c.Weights(k), c.Bias(k)
		small := func(abs bool, bias []float32) *kernels.Small {
			l := kernels.NewSmall(isa, c.Shape)
			l.Pack(w, abs)
			l.SetBias(bias)
			return l
		}
		p := relaxGroup{small: small(false, b), abs: small(true, absAll(b)), adjoint: kernels.NewAdjoint(isa, c.Shape)}
		p.both = p.small.PadBias(o.interval.radiusBias(b))
		p.adjoint.Pack(w, false)
		o.bias = append(o.bias, b...)
		o.groups = append(o.groups, p)
	}
	return o, nil
}

func (o *relaxGrouped) packAhead(n *net.Network) {
	for k := range o.groups {
		o.groups[k].ahead = newLanes(n, o.shape, o.op.Weights(k), o.op.Bias(k), false)
	}
}

func (o *relaxGrouped) reads(_ int, w kernels.Window) kernels.Window { return o.shape.Reads(w) }

func (o *relaxGrouped) key(sig []int, w kernels.Window) []int {
	k := o.shape.Same(w, o.shape.Reads(w))
	return append(sig, k[:]...)
}

// channels is the way of some channels of each pixel to a map of their own and back.
type channels struct{ all, from, n, pixels, lanes int }

func (c channels) take(dst, src []float32) {
	kernels.SelectChannels(dst, src, c.pixels, c.all, c.from, c.n, c.lanes)
}

func (c channels) put(dst, src []float32) {
	kernels.PlaceChannels(dst, src, c.pixels, c.all, c.from, c.n, c.lanes)
}

// in and out are the channels of group k, of so many pixels.
func (o *relaxGrouped) in(k, pixels, lanes int) channels {
	n := o.shape.InC
	return channels{n * len(o.groups), k * n, n, pixels, lanes}
}

func (o *relaxGrouped) out(k, pixels, lanes int) channels {
	n := o.shape.OutC
	return channels{n * len(o.groups), k * n, n, pixels, lanes}
}

func (o *relaxGrouped) forward(w *linearWorker, i int) {
	c, r, m, sumM, _ := w.split(w.g.nodes[i].in[0], o.interval)
	from, to := w.spare(0), w.spare(1)
	half, halfOut := len(from)/2, len(to)/2
	for k := range o.groups {
		g := &o.groups[k]
		in, out := o.in(k, o.shape.InH*o.shape.InW, 1), o.out(k, o.shape.OutH()*o.shape.OutW(), 1)
		in.take(from, c)
		in.take(from[half:], r)
		g.small.ApplyBoth(&w.sc, to, from, to[halfOut:], from[half:], g.both, 1, 0, 1)
		out.put(w.cOut, to)
		out.put(w.rOut, to[halfOut:])
		in.take(from, m)
		g.abs.Apply(&w.sc, to, from, 1, kernels.None, nil, 0, 1)
		out.put(w.vOut, to)
	}
	w.sumsOf(i, o.bias, -1, sumM, false)
}

func (o *relaxGrouped) back(r *rows, i int, v []float32, groups int) {
	src, w := r.g.nodes[i].in[0], r.placed[0][i+1]
	reads := o.shape.Reads(w)
	dst, alone := r.room(src, reads)
	from, to := r.spare(0), r.spare(1)
	for k := range o.groups {
		o.out(k, groups*w.H()*w.W(), kernels.Lanes).take(from, v)
		r.adjoint = r.g.adjoint(o.shape, o.groups[k].adjoint, w)
		r.adjoint.Apply(&r.sc, to, from, groups, kernels.None, nil)
		o.in(k, groups*reads.H()*reads.W(), kernels.Lanes).put(dst, to)
	}
	if !alone {
		r.add(src, reads, dst, groups)
	}
}

func (o *relaxGrouped) values(r *rows, a *ascent, i, groups int) {
	src, out := r.g.nodes[i].in[0], r.placed[0][i+1]
	in := r.placed[0][src]
	from, to := r.spare(0), r.spare(1)
	for k := range o.groups {
		o.in(k, groups*in.H()*in.W(), kernels.Lanes).take(from, a.z[src])
		a.forward = r.g.forwardOn(o.shape, o.groups[k].ahead, out, in)
		a.forward.Apply(&r.sc, to, from, groups, kernels.None, nil)
		o.out(k, groups*out.H()*out.W(), kernels.Lanes).put(a.z[i+1], to)
	}
}
