package redteam

import (
	"math"

	"github.com/epsball/epsball/model"
	"github.com/epsball/epsball/net"
)

// Networks for which one kind of rounding is nearly all that may go wrong: what covers
// it covers little else, so that a proof without it is caught.

// within fixes the norm and the radius.
func (b *builder) within(norm net.Norm, eps string) { b.norm, b.eps = norm, eps }

// still is a ball of one image, or nearly.
func (b *builder) still() { b.within(net.Norm(b.IntN(3)), []string{"0", "0", "1e-45"}[b.IntN(3)]) }

// outputs ends a network with layer i, fc of two outputs: the row, and zeros or, half of
// the time, its opposite share.
func (b *builder) outputs(i int, row []float32, bias float32) {
	rows, biases := append(row, fill(len(row), 0)...), []float32{bias, 0}
	b.y = 0
	if b.IntN(2) == 0 { // the same margin, from the other side
		for k, v := range row {
			rows[k], rows[len(row)+k] = 0, -v
		}
		biases[0], biases[1] = 0, -bias
	}
	b.set(i, rows, biases)
}

// swallowed is a row of a large number and n − 1 small ones, in units of 2⁻²⁴.
func swallowed(n int, large, small float64) []float32 {
	row := fill(n, float32(small*u))
	row[0] = float32(large)
	return row
}

// edgeRadius: activations around 0, so that radii bear all that sums may lose; small
// terms come first in a chain, and last where it hurts.
func (b *builder) edgeRadius() {
	n := 200 + b.IntN(400)
	b.layers(flat(n), model.Layer{Kind: model.Normalize, Mean: []float32{0.5}, Std: []float32{0.5}}, fc(1), relu, fc(2))
	b.x = fill(n, 0.5)
	b.within(net.Linf, "0.5")
	row := swallowed(n, 1, 1.01+0.1*b.Float64())
	row[0], row[n-1] = row[n-1], row[0]
	b.set(1, row, []float32{0})
	b.set(3, []float32{1, 0}, []float32{0, 0})
}

// edgeDualRadius: the same in an L2 ball, whose worst point is along the weights.
func (b *builder) edgeDualRadius() {
	n := 300 + b.IntN(300)
	b.layers(flat(n), model.Layer{Kind: model.Normalize, Mean: []float32{0.5}, Std: []float32{0.5}}, fc(1), relu, fc(2))
	b.x = fill(n, 0.5)
	b.within(net.L2, "0.5")
	row := fill(n, float32(math.Sqrt(1.03*u)))
	row[n-1] = 1
	b.set(1, row, []float32{0})
	b.set(3, []float32{1, 0}, []float32{0, 0})
}

// edgeProducts: products of denormal weights, lost one by one in the logits.
func (b *builder) edgeProducts() {
	n := 8 + b.IntN(56)
	b.layers(flat(n), fc(2))
	b.still()
	b.x = fill(n, float32(0.4+0.2*b.Float64()))
	row := make([]float32, n)
	for k := range row {
		row[k] = ldexp(float32(1+2*b.IntN(3)), -149)
		if b.IntN(4) == 0 {
			row[k] = -row[k]
		}
	}
	b.outputs(0, row, 0)
}

// edgeUnderError: the same, times a large number by the specification.
func (b *builder) edgeUnderError() {
	b.edgeProducts()
	b.rows = [][]float32{{0x1p60, -0x1p60}, {-0x1p60, 0}}
}

// edgeDenormal: denormal pixels and huge weights. What the radius should be of is less
// than the least float32.
func (b *builder) edgeDenormal() {
	n := 64 + b.IntN(200)
	b.layers(flat(n), fc(1), relu, fc(2))
	b.still()
	b.x = fill(n, 0x1p-149)
	row := swallowed(n, 0x1p127, 0.9*0x1p127)
	if b.IntN(2) == 0 {
		row = swallowed(n, 0x1p127, 1.1*0x1p127)
	}
	if b.IntN(2) == 0 {
		row[0], row[n-1] = row[n-1], row[0]
	}
	b.set(0, row, []float32{0})
	b.outputs(2, []float32{copysign(0x1p22, float32(b.IntN(2))-0.5)}, 0)
}

// edgeBack: coefficients lose small terms on their way back, while the same terms of an
// execution, at another place between two powers of two, are rounded up.
func (b *builder) edgeBack() {
	n := 1000 + b.IntN(1000)
	b.layers(flat(1), fc(n), relu, fc(2))
	b.still()
	b.x = []float32{0.52 + 0.1*b.Float32()}
	b.set(0, fill(n, 2), fill(n, 0))
	b.outputs(2, swallowed(n, 1.01, -0.99), 0)
}

// edgeConstants: two layers' biases cancel, each in a chain of its own: one loses small
// terms, the other rounds them up.
func (b *builder) edgeConstants() {
	const n = 128
	b.layers(flat(n), conv(1, 1, 1, 0), conv(1, 1, 1, 0), fc(2))
	b.still()
	b.x = fill(n, 0)
	b.set(0, []float32{b.Float32()}, []float32{2.02})
	b.set(1, []float32{1}, []float32{-1.98})
	b.outputs(2, swallowed(n, 1, -0.98), 0)
}

// edgeInput: differences of pixels, of which one row stands behind the other in memory:
// its chain loses small terms that no layer sees next to the large one.
func (b *builder) edgeInput() {
	const n = 128
	in := model.Shape{C: 1, H: 2, W: n}
	pair := model.Layer{Kind: model.Conv, Out: 1, Kernel: [2]int{2, 1}, Stride: [2]int{1, 1}}
	b.layers(in, pair, fc(2))
	b.still()
	b.x = append(fill(n, 1), fill(n, 0)...)
	b.x[n] = 1
	b.set(0, []float32{1, -1}, []float32{0})
	b.outputs(1, swallowed(n, 1.01, -0.98+0.1*b.Float64()), 0)
}

// edgeChains: outputs right behind a ReLU that may have either sign: their intercepts
// and radii, times the numbers of a specification, make chains of their own.
func (b *builder) edgeChains() {
	const n = 128
	b.layers(flat(n), model.Layer{Kind: model.Normalize, Mean: []float32{0.5}, Std: []float32{0.5}}, conv(1, 1, 1, 0), relu)
	b.within(net.Linf, "0.5")
	b.x = fill(n, 0.5)
	b.set(1, []float32{1}, []float32{0})
	b.rows = [][]float32{swallowed(n, -1, -0.98+0.1*b.Float64())}
}

// edgeUnderflow: coefficients that underflow on huge activations.
func (b *builder) edgeUnderflow() {
	n := 1 + b.IntN(4)
	b.layers(flat(1), fc(n), relu, fc(1), fc(2))
	b.still()
	b.x = []float32{0.5 + 0.5*b.Float32()}
	b.set(0, fill(n, 0x1p100), fill(n, 0))
	b.set(2, fill(n, ldexp(float32(1+2*b.IntN(4)), -149)), []float32{0})
	b.outputs(3, []float32{copysign(float32(0.5+b.Float64()), float32(b.IntN(2))-0.5)}, 0)
}

// edgeSum: a layer of one product in a sum that another one makes long.
func (b *builder) edgeSum() {
	n := 64 << b.IntN(4)
	b.layers(flat(1), fc(n), relu, fc(1), from(-1, fc(1)), add(2, 3), relu, fc(2))
	b.still()
	b.x = []float32{1}
	b.set(0, fill(n, 1), fill(n, 0))
	c := float32((0.6 + 0.3*b.Float64()) * u)
	b.set(2, fill(n, c), []float32{0})
	b.set(3, []float32{1}, []float32{0})
	gain := float32(1 / (float64(n) * u))
	b.set(6, []float32{gain, 0}, []float32{-gain * (1 + c*float32(n)/2), 0})
}

// edgeNormalize: one product of a normalized pixel, all three roundings of which go the
// same way.
func (b *builder) edgeNormalize() {
	for {
		mean, std, w, x := 0.2+0.5*b.Float32(), 0.1+b.Float32(), 0.5+b.Float32(), b.Float32()
		z := float32(w * (float32(x-mean) / std))
		exact := float64(w) * ((float64(x) - float64(mean)) / float64(std))
		if err := (float64(z) - exact) / math.Abs(exact); math.Abs(err) > 2.3*u {
			b.layers(flat(1), model.Layer{Kind: model.Normalize, Mean: []float32{mean}, Std: []float32{std}}, fc(2))
			b.x = []float32{x}
			b.still()
			b.set(1, []float32{w, 0}, []float32{0, 0})
			b.rows = [][]float32{{copysign(1, float32(-err)), 0}}
			return
		}
	}
}

// edgeDouble: sums of exact numbers that lose small terms in float64, too.
func (b *builder) edgeDouble() {
	n := 64 + b.IntN(64)
	b.layers(flat(n), fc(1), relu, fc(2))
	b.still()
	b.x = fill(n, 1)
	row := fill(n, float32((0.6+0.3*b.Float64())*0x1p-53))
	row[0] = 1
	b.set(0, row, []float32{0})
	b.outputs(2, []float32{1}, 0)
	b.rows = [][]float32{{1, 0}, {-1, 0}}
}

// edgeSkip: small products next to a large summand.
func (b *builder) edgeSkip() {
	n := 256 << b.IntN(2)
	b.layers(flat(1), fc(n), relu, fc(1), add(2, model.NetInput), fc(2))
	b.still()
	b.x = []float32{0.75}
	b.set(0, fill(n, 1), fill(n, 0))
	c := float32((0.5 + 0.15*b.Float64()) * u)
	b.set(2, fill(n, copysign(c, float32(b.IntN(2))-0.5)), []float32{0})
	b.outputs(4, []float32{1}, 0)
	b.rows = [][]float32{{1, -1}, {-1, 1}}
}

// edgeBias: small products next to a bias of 1.
func (b *builder) edgeBias() {
	n := 256 << b.IntN(2)
	b.layers(flat(1), fc(n), relu, fc(1), relu, fc(2))
	b.still()
	b.x = []float32{1}
	b.set(0, fill(n, 1), fill(n, 0))
	b.set(2, fill(n, float32((0.6+0.3*b.Float64())*u)), []float32{1})
	b.outputs(4, []float32{1}, 0)
	b.rows = [][]float32{{1, -1}, {-1, 1}}
}

// edgeLogits: two logits that differ by small products, each next to a 1.
func (b *builder) edgeLogits() {
	n := 256 << b.IntN(2)
	b.layers(flat(1), fc(n), relu, fc(2))
	b.still()
	b.x = []float32{1}
	b.set(0, fill(n, 1), fill(n, 0))
	row := swallowed(n, 1, 0.6+0.3*b.Float64())
	b.set(2, append(row, swallowed(n, 1, 0)...), []float32{0, 0})
	b.y = 0
}

// edgeLast: small products next to a bias of 1 in a last layer that ends in a ReLU, or in an add
// of what it reads.
func (b *builder) edgeLast() {
	n := 256 << b.IntN(2)
	l := []model.Layer{fc(n), relu, fc(2), relu}
	if b.IntN(2) == 0 {
		n = 64
		l = []model.Layer{fc(n), relu, fc(n), add(1, 2)}
	}
	b.layers(flat(1), l...)
	b.still()
	b.x = []float32{1}
	b.set(0, fill(n, 1), fill(n, 0))
	outs := len(b.m.Params[2].B)
	small := 0.6 + 0.3*b.Float64()
	row, bias := swallowed(n, small*u, small), fill(outs, 0)
	bias[0] = 1
	b.set(2, append(row, fill(n*(outs-1), 0)...), bias)
	b.y = b.IntN(2)
}

// edgeAround: logits of activations around 0, which cancel but for small products.
func (b *builder) edgeAround() {
	n := 300 + b.IntN(300)
	b.layers(flat(n), model.Layer{Kind: model.Normalize, Mean: []float32{0.5}, Std: []float32{0.5}}, fc(2))
	b.x = fill(n, 0.5)
	b.within(net.Linf, "0.5")
	row := swallowed(n, 1, 1.01+0.1*b.Float64())
	b.set(1, append(row, swallowed(n, 1-0x1p-20, 0)...), []float32{0, 0})
	b.y = b.IntN(2)
}
