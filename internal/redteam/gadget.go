package redteam

import "math"

// gadget is a neuron that computes with constants: Σ w·x + bias, whose value in real
// arithmetic and as executed in some order are not the same. All x are ≥ 0, as ReLUs give
// them.
type gadget struct {
	x, w []float32
	bias float32
	skip int     // a term with w = 1, which may be the summand of a residual add; −1: none
	pass float32 // factor of the next layer, for what is too small to be told in one
}

// gadgetKind draws gadgets for some layouts.
type gadgetKind struct {
	name    string
	layouts []string
	draw    func(b *builder) gadget
}

// Layouts that a gadget fits: any, if an add may take one of its terms.
var (
	sums    = []string{"fc", "conv", "fc-add", "conv-add"}
	plainly = []string{"fc", "conv"}
)

// gadgets are what an order of sums or a fused product may do to a neuron.
var gadgets = []gadgetKind{
	{"absorbed", sums, func(b *builder) gadget { return b.swallow(2+b.IntN(10), b.tiny) }},
	{"chain", []string{"fc", "fc-add"}, func(b *builder) gadget { return b.swallow(64+b.IntN(200), b.tiny) }},
	{"ties", sums, func(b *builder) gadget { return b.swallow(1+b.IntN(8), func() float64 { return 1 }) }},
	{"double", sums, func(b *builder) gadget { // in float64, too
		return b.swallow(1+b.IntN(4), func() float64 { return ldexp64(1+b.Float64(), -31-b.IntN(20)) })
	}},
	{"fused", []string{"fc", "conv", "batchnorm"}, (*builder).fused},
	{"products", plainly, (*builder).products},
	{"magnitudes", sums, (*builder).magnitudes},
	{"denormal", plainly, (*builder).denormals},
}

// error bounds what any execution of the gadget errs by, where it is told.
func (g *gadget) error() float64 {
	all := math.Abs(float64(g.bias))
	for k, w := range g.w {
		all += math.Abs(float64(w) * float64(g.x[k]))
	}
	return float64(len(g.w)+1) * (u*all + 0x1p-149) * 1.01 * float64(g.pass)
}

// swallow is (ω + Σ c) − ω, terms in any order: float32 keeps nothing, all or more of the c,
// given in units of ω·2⁻²⁴.
func (b *builder) swallow(n int, c func() float64) gadget {
	omega := ldexp(1, b.IntN(100)-50)
	g := gadget{x: []float32{omega}, w: []float32{1}, pass: 1}
	for range n {
		g.x, g.w = append(g.x, 1), append(g.w, float32(c()*u)*omega)
	}
	if b.IntN(3) == 0 {
		g.bias = -omega
	} else {
		g.x, g.w = append(g.x, 1), append(g.w, -omega)
	}
	g.shuffle(b)
	return g
}

// fused is w·x − fl(w·x): the rounding of a product, which a fused one does not have.
func (b *builder) fused() gadget {
	x, w := ldexp(1+b.Float32(), b.IntN(60)-30), ldexp(1+b.Float32(), b.IntN(60)-30)
	return gadget{x: []float32{x}, w: []float32{w}, bias: -float32(w * x), skip: -1, pass: 1}
}

// products is w·x − w·x, which is 0 unless one of the two is fused.
func (b *builder) products() gadget {
	x, w := ldexp(1+b.Float32(), b.IntN(60)-30), ldexp(1+b.Float32(), b.IntN(60)-30)
	if b.IntN(2) == 0 {
		w = -w
	}
	return gadget{x: []float32{x, x}, w: []float32{w, -w}, skip: -1, pass: 1}
}

// magnitudes is a sum of pairs ±2ᵏ, far apart, in which a small number is lost at any of them.
func (b *builder) magnitudes() gadget {
	k := b.IntN(40) - 60
	g := gadget{x: []float32{1}, w: []float32{ldexp(1+b.Float32(), k)}, pass: 1}
	for range 2 + b.IntN(5) {
		k += 12 + b.IntN(12)
		v := ldexp(1+float32(b.IntN(8))/8, k)
		g.x, g.w = append(g.x, v, 1), append(g.w, 1, -v)
	}
	g.shuffle(b)
	return g
}

// denormals is a sum of products below the least float32, each rounded to it or to 0.
func (b *builder) denormals() gadget {
	share := 0.2 + 0.25*b.Float64()
	if b.IntN(2) == 0 {
		share += 0.4
	}
	g := gadget{skip: -1, pass: 0x1p100}
	for range 4 + b.IntN(12) {
		k := b.IntN(40) + 40
		g.x, g.w = append(g.x, ldexp(1, -k)), append(g.w, ldexp(float32(share*(1+0.1*b.Float64())), k-149))
	}
	return g
}

// shuffle brings the terms into any order, and finds one that an add may take.
func (g *gadget) shuffle(b *builder) {
	b.Shuffle(len(g.x), func(i, j int) {
		g.x[i], g.x[j], g.w[i], g.w[j] = g.x[j], g.x[i], g.w[j], g.w[i]
	})
	g.skip = -1
	for k, w := range g.w {
		if w == 1 && g.x[k] != 1 {
			g.skip = k
		}
	}
}
