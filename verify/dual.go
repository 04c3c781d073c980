package verify

import (
	"math"

	"github.com/epsball/epsball/kernels"
	"github.com/epsball/epsball/net"
)

// dual holds the norms of rows W_i S⁻¹ that are dual to L2 and L1, rounded up.
type dual struct{ l2, max []float32 }

func (d *dual) of(n net.Norm) []float32 {
	if n == net.L1 {
		return d.max
	}
	return d.l2
}

// dualNorms returns the norms of each output channel over its full kernel (a
// pixel at the border has fewer taps, hence a smaller norm).
func dualNorms(n *net.Network, w []float32, s kernels.Shape) dual {
	d := newDual(s.OutC)
	fan := s.FanIn()
	channels, taps := s.InC, s.KH*s.KW
	if taps == 1 { // perhaps fully connected on [H][W][C]: the channel is fastest
		channels = n.Input().C
	}
	for o := range s.OutC {
		d.set(n, o, w[o*fan:(o+1)*fan], func(k int) int { return k / taps % channels })
	}
	return d
}

func newDual(channels int) dual { return dual{make([]float32, channels), make([]float32, channels)} }

// set writes the norms of the row w of output channel o, whose weight k is for a pixel
// of the given channel.
func (d *dual) set(n *net.Network, o int, w []float32, channel func(k int) int) {
	scaling := newNormalizer(n)
	sum, most := 0.0, 0.0
	for k, v := range w {
		a := float64(v) / scaling.scale(channel(k))
		sum += float64(a * a)
		most = max(most, math.Abs(a))
	}
	d.l2[o], d.max[o] = up32(math.Sqrt(sum)*(1+slack)), up32(most*(1+slack))
}

// matrix is an interval of sums of products: what an L1 or L2 ball around the input
// allows follows from the dual norms of its rows.
type matrix interface {
	// both computes W·c + b, and |W|·r + e.
	both(p *pass, dstC, srcC, dstR, srcR []float32)

	// norms returns those of the rows, if the node reads the input.
	norms() *dual
}

// rows bounds what a matrix gives of activation src, size elements an image.
func (p *pass) rows(m matrix, src, size int, c, r []float32) {
	m.both(p, c, p.c[src], r, p.r[src])
	if src == 0 && p.norm != net.Linf {
		p.narrow(m, size, c, r)
	}
}

// dualInput is the L1 or L2 ball around the loaded images, without the pixel box
// (step 5), and room for what follows from it for a layer that reads the input.
type dualInput struct{ c, r, outC, outR []float32 }

func newDualInput(p *pass, slots, out int) *dualInput {
	alloc := func(size int) []float32 { return kernels.Alloc(p.layout.Len(p.layout.Blocks(slots), size)) }
	in := p.size(0)
	return &dualInput{alloc(in), alloc(in), alloc(out), alloc(out)}
}

// dualRows returns the elements of the largest output of a matrix that reads the input.
func (p *program) dualRows() int {
	most := 0
	for i := range p.steps {
		if m, ok := p.steps[i].interval.(matrix); ok && p.steps[i].node.In[0] == 0 && len(m.norms().l2) > 0 {
			most = max(most, p.size(i+1))
		}
	}
	return most
}

// dualRadii fills the radii from the centres.
func (p *pass) dualRadii() {
	b, l := &p.feeds[0], int(p.layout)
	size, ch := p.net.Input().Size(), p.net.Input().C
	for k := range p.used(size) {
		eps := p.eps[p.slotOf(k, size)] / p.scaling.scale(k/l%ch)
		p.dual.r[k] = b.dualRadius(float64(p.dual.c[k]), eps)
	}
}

// slotOf returns the slot of element k of a tensor with size elements an image.
func (p *pass) slotOf(k, size int) int {
	l := int(p.layout)
	return k/(size*l)*l + k%l
}

// narrow takes c and r, the bounds of a node that reads the input by the box of that,
// to what they have in common with those by the dual norms of the rows.
func (p *pass) narrow(m matrix, size int, c, r []float32) {
	d, l, norms := p.dual, int(p.layout), m.norms().of(p.norm)
	m.both(p, d.outC, d.c, d.outR, d.r)
	for k, r1 := range r[:p.used(size)] {
		extra := p.eps[p.slotOf(k, size)] * float64(norms[k/l%len(norms)])
		r2 := addUp(d.outR[k], up32(extra*(1+slack)))
		c[k], r[k] = within(c[k], r1, d.outC[k], r2)
	}
}
