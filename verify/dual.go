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
	_, std := n.Normalization()
	d := dual{make([]float32, s.OutC), make([]float32, s.OutC)}
	fan := s.FanIn()
	channels, taps := s.InC, s.KH*s.KW
	if taps == 1 { // perhaps fully connected on [H][W][C]: the channel is fastest
		channels = n.Input().C
	}
	for o := range s.OutC {
		sum, most := 0.0, 0.0
		for k, v := range w[o*fan : (o+1)*fan] {
			a := float64(v)
			if std != nil {
				a /= float64(std[k/taps%channels])
			}
			sum += float64(a * a)
			most = max(most, math.Abs(a))
		}
		d.l2[o], d.max[o] = up32(math.Sqrt(sum)*(1+slack)), up32(most*(1+slack))
	}
	return d
}

// dualInput is the L1 or L2 ball around the loaded images, without the pixel box
// (step 5), and room for what follows from it for a layer that reads the input.
type dualInput struct{ c, r, outC, outR []float32 }

func newDualInput(w *worker) *dualInput {
	in, out := w.v.net.Input().Size(), 0
	for i := range w.v.layers {
		if a := w.v.layers[i].affine; a.Src == 0 {
			out = max(out, a.Shape.Out())
		}
	}
	if s := &w.v.spec; s.merged && s.affine.Src == 0 {
		out = max(out, s.rowCount())
	}
	alloc := func(size int) []float32 { return kernels.Alloc(w.layout.Len(w.layout.Blocks(w.slots), size)) }
	return &dualInput{alloc(in), alloc(in), alloc(out), alloc(out)}
}

// dualRadii fills the radii from the centres.
func (w *worker) dualRadii(blocks int) {
	n, l := w.v.net, int(w.layout)
	_, std := n.Normalization()
	b := &w.v.feeds[0]
	size, ch := n.Input().Size(), n.Input().C
	for k := range blocks * size * l {
		eps := w.eps[w.slotOf(k, size)]
		if std != nil {
			eps /= float64(std[k/l%ch])
		}
		w.dual.r[k] = b.dualRadius(float64(w.dual.c[k]), eps)
	}
}

// narrow takes c and r, the bounds of a layer that reads the input, size an image, by
// the box of that, to what they have in common with those by the dual norms of the
// layer's rows.
func (w *worker) narrow(m *intervalMap, dual, c, r []float32, blocks, size int) {
	d, l := w.dual, int(w.layout)
	w.applyBoth(m, d.outC, d.c, d.outR, d.r, blocks)
	for k, r1 := range r[:blocks*size*l] {
		extra := w.eps[w.slotOf(k, size)] * float64(dual[k/l%len(dual)])
		r2 := addUp(d.outR[k], up32(extra*(1+slack)))
		c[k], r[k] = within(c[k], r1, d.outC[k], r2)
	}
}
