package verify

import (
	"github.com/epsball/epsball/net"
)

// 7b. A maximum is exact, and monotone in each pixel of its window: its ends are
// the maxima of the ends of 7a. NaN in a window gives NaN. Padding has no part in it.
//
// 7c. A mean is a layer of step 2 with weights 1/m, m the pixels of the window or, if
// padding counts, its taps, and no bias; K is the number of taps. It is executed with at
// most K − 1 sums, and a division by m or a product with 1/m, rounded before or after
// the sums: each pixel takes part in at most K + 1 roundings, and
//
//	|executed − mean x| ≤ γ_{K+1} mean|x| + Kη,
//
// as in 1; in a longer sum (6) γ_T, for its T counts K + 1 for the mean. Our own chain,
// K − 1 sums and a division, errs by γ_K mean|c| + η. R is the same mean of r′. Without a
// bias there is no e to cover 3Kη (1 + 2δ) < 2⁻¹²⁶: Add of the r′ does, for the mean of
// some r′ ≥ Add/2 is at least 2⁻¹⁰¹/K ≥ 2⁻¹²¹.

// maxInterval is that of max pooling.
type maxInterval struct{ op *net.Pool }

func (*maxInterval) form() form { return ends }
func (*maxInterval) bytes() int { return 0 }

func (m *maxInterval) room() (tensors, size int) {
	s := m.op.Sliding
	return 4, max(s.In(), s.Out())
}

func (m *maxInterval) forward(p *pass, n *net.Node, c, r []float32) {
	in := m.op.Sliding.In()
	lo, hi := p.temp(0, in), p.temp(1, in)
	p.ends(lo, hi, n.In[0])
	m.op.Kernel().Apply(&p.sc[0], c, lo, p.blocks, int(p.layout))
	m.op.Kernel().Apply(&p.sc[0], r, hi, p.blocks, int(p.layout))
}

// backward hands the gradient to either end to the first pixel that attains it.
func (m *maxInterval) backward(v *IntervalView, i int, dc, dr []float32) {
	s, k, sc, lanes := m.op.Sliding, v.steps[i].node.In[0], &v.sc[0], int(v.layout)
	x, y, dy := v.temp(0, s.In()), v.temp(1, s.Out()), v.temp(2, s.Out())
	v.hand(k, func(c, r []float32) {
		for _, sign := range []float32{-1, 1} {
			to := r
			if sign < 0 {
				to = c
			}
			for j, e := range v.c[k][:len(x)] {
				x[j] = e + float32(sign*v.r[k][j])
			}
			m.op.Kernel().Apply(sc, y, x, v.blocks, lanes)
			for j, d := range dc {
				dy[j] = (d + float32(sign*dr[j])) * 0.5
			}
			m.op.Kernel().Gradient(sc, to, dy, x, y, v.blocks, lanes)
		}
		for j, lo := range c { // so far gradients to the ends
			c[j], r[j] = lo+r[j], r[j]-lo
		}
	})
}

// meanInterval is that of average pooling.
type meanInterval struct{ op *net.Pool }

func (*meanInterval) form() form                { return centred }
func (*meanInterval) bytes() int                { return 0 }
func (*meanInterval) room() (tensors, size int) { return 0, 0 }

func (m *meanInterval) forward(p *pass, n *net.Node, c, r []float32) {
	m.op.Kernel().Apply(&p.sc[0], c, p.c[n.In[0]], p.blocks, int(p.layout))
	m.op.Kernel().Apply(&p.sc[0], r, p.r[n.In[0]], p.blocks, int(p.layout))
}

func (m *meanInterval) backward(v *IntervalView, i int, dc, dr []float32) {
	v.hand(v.steps[i].node.In[0], func(c, r []float32) {
		m.op.Kernel().Gradient(&v.sc[0], c, dc, nil, nil, v.blocks, int(v.layout))
		m.op.Kernel().Gradient(&v.sc[0], r, dr, nil, nil, v.blocks, int(v.layout))
	})
}
