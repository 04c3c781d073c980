package train

import (
	"math"

	"github.com/epsball/epsball/kernels"
	"github.com/epsball/epsball/verify"
)

var tightness = Setting{
	Field: "tightness", Flag: "tightness", Usage: "weight of tight, balanced bounds while the radius rises", max: 1000, Quiet: true,
	Of: func(c *Config) any { return &c.Tightness },
}

// tolerance is τ of Shi et al. 2021, as in their experiments.
const tolerance = 0.5

// regulariser keeps interval bounds from exploding and ReLUs from dying early in training
// (Shi et al. 2021, section 4.2). With the box [c − r, c + r] that each of the m ReLUs and
// LeakyReLUs reads, means over the batch and all its neurons, and r₀ the radius at the
// input, after normalize, the loss grows by λ₀(1 − ε/TrainEps) times
//
//	1/(τm)·Σ [τ − E r₀/E r]₊                                    (tightness)
//	1/(τm)·Σ [τ − q(Σ⁺ c, −Σ⁻ c)]₊ + [τ − q(Σ⁺ (c − E c)², Σ⁻ (c − E c)²)]₊   (ReLU)
//
// where q is the smaller one over the larger one, Σ⁺ is over active neurons, c − r > 0, and
// Σ⁻ over inactive ones, c + r < 0. A term whose ratio is 0/0 is left out: that of
// tightness at ε = 0, and those of a ReLU without neurons of either kind.
//
// Sums are those of lane groups in float64, added in the groups' order, so that they do
// not depend on parts.
type regulariser struct {
	sums  []boxSums // [group][layer], the input's box first
	terms []boxTerms
	sizes []int // of each layer, and of the input
	loss  float32
}

// boxSums are sums over boxes.
type boxSums struct {
	r, c             float64
	active, inactive kindSums
}

// kindSums are those over the neurons of a kind: their number, Σ c and Σ c².
type kindSums struct{ n, c, c2 float64 }

func (s *kindSums) add(o *kindSums) {
	s.n += o.n
	s.c += o.c
	s.c2 += o.c2
}

// around returns Σ (c − mean)².
func (s *kindSums) around(mean float64) float64 {
	return max(0, s.c2-float64(2*mean*s.c)+float64(float64(mean*mean)*s.n))
}

// boxTerms give the gradient to a box: r to the radius, and to the centre rest +
// at[k] + by[k]·c, k being 1 for active neurons and 2 for inactive ones.
type boxTerms struct {
	r, rest float32
	at, by  [3]float32
}

// regularity is the weight of the regulariser at a step.
func (o *objective) regularity(c *Config, at point) float64 {
	if full := c.TrainEps.Float64(); o.uses(&tightness) && at.eps < full {
		return float64(c.Tightness * (1 - at.eps/full))
	}
	return 0
}

// newRegulariser prepares for views of iv yet to be made.
func newRegulariser(iv *intervals, groups int) *regulariser {
	iv.KeepPreActivations()
	g := &regulariser{}
	probe := iv.View(0, 1)
	lo, _ := probe.Box()
	g.sizes = append(g.sizes, len(lo)/kernels.Lanes)
	for _, p := range probe.PreActivations() {
		g.sizes = append(g.sizes, len(p.C)/kernels.Lanes)
	}
	g.sums = make([]boxSums, groups*len(g.sizes))
	g.terms = make([]boxTerms, len(g.sizes))
	return g
}

// observe takes the sums of the first images images of b, after forward.
func (g *regulariser) observe(b *boxed, images int) {
	layers := len(g.sizes)
	for first := 0; first < images; first += kernels.Lanes {
		lanes := min(kernels.Lanes, images-first)
		sums := g.sums[(b.from+first)/kernels.Lanes*layers:][:layers]
		c, r := b.Box() // by now centre and radius
		for k, size := range g.sizes {
			if k > 0 {
				p := &b.PreActivations()[k-1]
				c, r = p.C, p.R
			}
			at := first * size
			sums[k].take(c[at:at+size*kernels.Lanes], r[at:at+size*kernels.Lanes], lanes)
		}
	}
}

// take sums over the first lanes of a lane group.
func (s *boxSums) take(c, r []float32, lanes int) {
	*s = boxSums{}
	r = r[:len(c)]
	for i := 0; i < len(c); i += kernels.Lanes {
		for k := i; k < i+lanes; k++ {
			m, w := float64(c[k]), float64(r[k])
			s.c += m
			s.r += w
			switch kindOf(c[k], r[k]) {
			case 1:
				s.active.add(&kindSums{1, m, float64(m * m)})
			case 2:
				s.inactive.add(&kindSums{1, m, float64(m * m)})
			}
		}
	}
}

// kindOf returns 1 for the box of an active neuron, 2 for that of an inactive one, else 0.
func kindOf(c, r float32) int {
	switch {
	case c-r > 0:
		return 1
	case c+r < 0:
		return 2
	}
	return 0
}

// reduce makes of the sums of a batch of so many images the loss and its gradient, times
// weight.
func (g *regulariser) reduce(images int, weight float64) {
	g.loss = 0
	layers := len(g.sizes)
	if weight == 0 || layers == 1 {
		return
	}
	total := func(k int) (s boxSums) {
		for group := range kernels.Groups(images) {
			o := &g.sums[group*layers+k]
			s.r += o.r
			s.c += o.c
			s.active.add(&o.active)
			s.inactive.add(&o.inactive)
		}
		return s
	}
	input := total(0)
	factor := weight / (tolerance * float64(layers-1))
	loss := 0.0
	for k := 1; k < layers; k++ {
		s := total(k)
		loss += g.terms[k].set(&s, input.r/float64(images*g.sizes[0]), float64(images*g.sizes[k]), factor)
	}
	g.loss = float32(loss)
}

// set makes of the sums over n neurons the terms of a layer, times factor, and returns its
// loss; input is the mean radius there.
func (t *boxTerms) set(s *boxSums, input, n, factor float64) (loss float64) {
	*t = boxTerms{}
	if r := s.r / n; input > 0 && r > 0 {
		if lack := tolerance - input/r; lack > 0 {
			loss += float64(factor * lack)
			t.r = float32(float64(factor*input) / (r * r) / n)
		}
	}
	mean := s.c / n
	a, i := &s.active, &s.inactive
	ofMean, dA, dI := balance(a.c, -i.c)
	ofSpread, dVA, dVI := balance(a.around(mean), i.around(mean))
	loss += float64(factor * (ofMean + ofSpread))
	dI = -dI
	// of the mean that the spread is taken around
	rest := -2 / n * (float64(dVA*(a.c-float64(a.n*mean))) + float64(dVI*(i.c-float64(i.n*mean))))
	t.rest = float32(factor * rest)
	t.at = [3]float32{0, float32(factor * (dA - float64(2*dVA*mean))), float32(factor * (dI - float64(2*dVI*mean)))}
	t.by = [3]float32{0, float32(factor * 2 * dVA), float32(factor * 2 * dVI)}
	return loss
}

// balance returns [τ − q]₊, q being the smaller one of x and y ≥ 0 over the larger one, and
// its derivatives. It is 0 if both are.
func balance(x, y float64) (v, dx, dy float64) {
	if x > y {
		v, dy, dx = balance(y, x)
		return v, dx, dy
	}
	if !(y > 0) || math.IsInf(y, 1) {
		return 0, 0, 0
	}
	q := x / y
	if q >= tolerance {
		return 0, 0, 0
	}
	return tolerance - q, -1 / y, q / y
}

// gradient adds the gradients of the loss to the boxes of the first images images of b.
func (g *regulariser) gradient(b *boxed, images int) {
	if g.loss == 0 {
		return
	}
	for k, p := range b.PreActivations() {
		g.terms[k+1].add(&p, images, g.sizes[k+1])
	}
}

func (t *boxTerms) add(p *verify.PreActivation, images, size int) {
	for first := 0; first < images; first += kernels.Lanes {
		at, lanes := first*size, min(kernels.Lanes, images-first)
		c, r := p.C[at:at+size*kernels.Lanes], p.R[at:at+size*kernels.Lanes]
		dc, dr := p.DC[at:at+size*kernels.Lanes], p.DR[at:at+size*kernels.Lanes]
		for i := 0; i < len(c); i += kernels.Lanes {
			for k := i; k < i+lanes; k++ {
				kind := kindOf(c[k], r[k])
				dc[k] += t.rest + (t.at[kind] + float32(t.by[kind]*c[k]))
				dr[k] += t.r
			}
		}
	}
}
