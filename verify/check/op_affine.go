package check

import (
	"math"
	"slices"

	"github.com/epsball/epsball/model"
)

// conv is a conv or an fc: a convolution whose kernel is its whole input.
type conv struct {
	window
	groups int
	fanIn  int       // products of an output
	w      []float64 // [out][kernel rows][kernel columns][in channels of a group]
	b      []float64 // [out]
}

func newConv(l *model.Layer, p *model.Param, in, out model.Shape) *conv {
	c := &conv{window: newWindow(l, in, out), groups: l.GroupCount(), b: wide(p.B)}
	kernel := model.Shape{C: in.C / c.groups, H: c.kernel[0], W: c.kernel[1]}
	c.fanIn = kernel.Size()
	c.w = make([]float64, l.Out*c.fanIn)
	rows := p.Rows()
	for k := range c.w {
		o, t := k/c.fanIn, k%c.fanIn
		c.w[k] = float64(rows[o*c.fanIn+channelsFirst(t, kernel)])
	}
	return c
}

// runs calls f for each output position in r, group and run of taps that is one in
// memory: with the group's outputs from out to out+n, the first of which has channel o,
// and the run's first element in the input and in the weights of one output channel.
func (c *conv) runs(r region, f func(out, o, n, in, w, length int)) {
	outs, ins := len(c.b)/c.groups, c.in.C/c.groups
	if c.groups == 1 && c.dilation[1] == 1 {
		c.columns(r, func(out, in, ky, from, to int) {
			f(out*outs, 0, outs, (in+from)*ins, (ky*c.kernel[1]+from)*ins, (to-from)*ins)
		})
		return
	}
	c.columns(r, func(out, in, ky, from, to int) {
		for kx := from; kx < to; kx++ {
			for g := range c.groups {
				f(out*len(c.b)+g*outs, g*outs, outs, (in+kx*c.dilation[1])*c.in.C+g*ins, (ky*c.kernel[1]+kx)*ins, ins)
			}
		}
	})
}

// interval computes C ± R.
func (c *conv) interval(s *state, i int, b *bounds) error {
	n := &s.nodes[i]
	p := &s.bounds[n.in[0]]
	mid, rad := make([]float64, len(p.lo)), make([]float64, len(p.lo))
	for k, lo := range p.lo {
		mid[k] = (lo + p.hi[k]) / 2 // any point will do
		rad[k] = up(max(p.hi[k]-mid[k], mid[k]-lo))
	}
	sum := b.m // S, until close
	for k := range b.lo {
		bias := c.b[k%n.shape.C]
		b.lo[k], sum[k] = bias, math.Abs(bias)
	}
	c.runs(whole(n.shape), func(out, o, n, in, w, length int) {
		mid, rad, m := mid[in:in+length], rad[in:in+length], p.m[in:in+length]
		for j := range n {
			wc, wr, wm := dot3(c.w[(o+j)*c.fanIn+w:][:length], mid, rad, m)
			b.lo[out+j] += wc
			b.hi[out+j] += wr
			sum[out+j] += wm
		}
	})
	if n.part {
		b.terms = slices.Clone(sum)
	}
	for k, centre := range b.lo {
		b.lo[k], b.hi[k] = centre-b.hi[k], centre+b.hi[k]
		if err := s.widen(b, k, sum[k], n.rounding(sum[k], sumError), sum[k]); err != nil {
			return err
		}
	}
	return nil
}

func (c *conv) backward(s *state, i int) (constant float64) {
	f := &s.forms[i]
	a := f.a
	s.each(i, func(from, to int) {
		for k := from; k < to; k += len(c.b) {
			for o, bias := range c.b {
				constant += float64(a[k+o] * bias)
			}
		}
	})
	to := s.grow(s.nodes[i].in[0], c.seen(f.region))
	c.runs(f.region, func(out, o, n, in, w, length int) {
		dst := to[in : in+length]
		for j, v := range a[out : out+n] {
			if v != 0 {
				addScaled(dst, c.w[(o+j)*c.fanIn+w:][:length], v)
			}
		}
	})
	return constant
}

// dot3 returns w·c, |w|·r and |w|·m, each in two sums that need not wait for each
// other.
func dot3(w, c, r, m []float64) (wc, wr, wm float64) {
	var wc1, wr1, wm1 float64
	for len(w) >= 2 && len(c) >= 2 && len(r) >= 2 && len(m) >= 2 {
		v, v1 := w[0], w[1]
		a, a1 := math.Abs(v), math.Abs(v1)
		wc += float64(v * c[0])
		wr += float64(a * r[0])
		wm += float64(a * m[0])
		wc1 += float64(v1 * c[1])
		wr1 += float64(a1 * r[1])
		wm1 += float64(a1 * m[1])
		w, c, r, m = w[2:], c[2:], r[2:], m[2:]
	}
	for i, v := range w { // at most one
		a := math.Abs(v)
		wc += float64(v * c[i])
		wr += float64(a * r[i])
		wm += float64(a * m[i])
	}
	return wc + wc1, wr + wr1, wm + wm1
}

// addScaled adds a·w to dst.
func addScaled(dst, w []float64, a float64) {
	for len(dst) >= 4 && len(w) >= 4 {
		d, v := dst[:4], w[:4]
		d[0] += float64(a * v[0])
		d[1] += float64(a * v[1])
		d[2] += float64(a * v[2])
		d[3] += float64(a * v[3])
		dst, w = dst[4:], w[4:]
	}
	for i, v := range w {
		dst[i] += float64(a * v)
	}
}

// batchNorm is scale·x + shift for each channel, the two being float32.
type batchNorm struct{ scale, shift []float64 }

func newBatchNorm(l *model.Layer, p *model.Param) *batchNorm {
	scale, shift := p.Affine(l.Eps)
	return &batchNorm{wide(scale), wide(shift)}
}

func (o *batchNorm) interval(s *state, i int, b *bounds) error {
	n := &s.nodes[i]
	p := &s.bounds[n.in[0]]
	for k := range b.lo {
		a, t := o.scale[k%n.shape.C], o.shift[k%n.shape.C]
		v, w := float64(a*p.lo[k]), float64(a*p.hi[k])
		b.lo[k], b.hi[k] = min(v, w)+t, max(v, w)+t
		sum := float64(math.Abs(a)*p.m[k]) + math.Abs(t)
		if err := s.widen(b, k, sum, n.rounding(sum, normError), sum); err != nil {
			return err
		}
	}
	return nil
}

func (o *batchNorm) backward(s *state, i int) (constant float64) {
	n := &s.nodes[i]
	a := s.forms[i].a
	in := s.grow(n.in[0], s.forms[i].region)
	s.each(i, func(from, to int) {
		for k := from; k < to; k++ {
			in[k] += float64(a[k] * o.scale[k%n.shape.C])
			constant += float64(a[k] * o.shift[k%n.shape.C])
		}
	})
	return constant
}

// normalize is (x − mean)/std for each channel.
type normalize struct{ mean, std []float64 }

func (o *normalize) interval(s *state, i int, b *bounds) error {
	n := &s.nodes[i]
	p := &s.bounds[n.in[0]]
	for k := range b.lo {
		mean, std := o.mean[k%n.shape.C], o.std[k%n.shape.C]
		b.lo[k], b.hi[k] = (p.lo[k]-mean)/std, (p.hi[k]-mean)/std
		sum := (p.m[k] + math.Abs(mean)) / std
		e := keep(normalizeError, float64(3*u32*max(math.Abs(b.lo[k]), math.Abs(b.hi[k]))*room)+eta)
		if err := s.widen(b, k, sum, rounded{e, e}, sum); err != nil {
			return err
		}
	}
	return nil
}

func (o *normalize) backward(s *state, i int) (constant float64) {
	n := &s.nodes[i]
	a := s.forms[i].a
	in := s.grow(n.in[0], s.forms[i].region)
	s.each(i, func(from, to int) {
		for k := from; k < to; k++ {
			v := a[k] / o.std[k%n.shape.C]
			in[k] += v
			constant -= float64(v * o.mean[k%n.shape.C])
		}
	})
	return constant
}
