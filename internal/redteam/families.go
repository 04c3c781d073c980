package redteam

import (
	"math"

	"github.com/epsball/epsball/model"
)

var families = []Family{
	{Name: "graph", draw: drawGraph},
	{Name: "chain", draw: drawChain},
	{Name: "normalize", draw: drawNormalize},
	{Name: "cancel", draw: drawCancel},
	{Name: "order", draw: drawOrder},
	{Name: "absorb-skip", draw: func(b *builder) { b.absorbSkip(1 << 10) }},
	{Name: "absorb-sum", draw: func(b *builder) { b.absorbSum(1 << 9) }},
	{Name: "absorb-fc", draw: func(b *builder) { b.absorbFC(1 << 9) }},
	{Name: "absorb-conv", draw: func(b *builder) { b.absorbConv(1 << 7) }},
	{Name: "absorb-logits", draw: func(b *builder) { b.absorbLogits(1 << 10) }},
	{Name: "absorb-wide", draw: func(b *builder) { b.absorbWide(1 << 9) }},
	{Name: "edge-radius", draw: (*builder).edgeRadius},
	{Name: "edge-dual", draw: (*builder).edgeDualRadius},
	{Name: "edge-products", draw: (*builder).edgeProducts},
	{Name: "edge-error", draw: (*builder).edgeUnderError},
	{Name: "edge-denormal", draw: (*builder).edgeDenormal},
	{Name: "edge-back", draw: (*builder).edgeBack},
	{Name: "edge-constants", draw: (*builder).edgeConstants},
	{Name: "edge-input", draw: (*builder).edgeInput},
	{Name: "edge-chains", draw: (*builder).edgeChains},
	{Name: "edge-underflow", draw: (*builder).edgeUnderflow},
	{Name: "edge-sum", draw: (*builder).edgeSum},
	{Name: "edge-normalize", draw: (*builder).edgeNormalize},
	{Name: "edge-skip", draw: (*builder).edgeSkip},
	{Name: "edge-bias", draw: (*builder).edgeBias},
	{Name: "edge-logits", draw: (*builder).edgeLogits},
	{Name: "edge-last", draw: (*builder).edgeLast},
	{Name: "edge-around", draw: (*builder).edgeAround},
	{Name: "edge-double", draw: (*builder).edgeDouble},
	{Name: "large", draw: (*builder).large, Large: true},
}

// layerFamilies have the kinds of layers that the others do not have.
var layerFamilies = []Family{
	{Name: "layers", draw: drawLayers},
	{Name: "layer-edge", draw: drawLayerEdge},
}

// drawGraph draws networks of any form with cruel weights.
func drawGraph(b *builder) {
	b.graph()
	b.twist()
}

// drawChain draws up to 50 layers in a row.
func drawChain(b *builder) {
	l := []model.Layer{}
	deep := 2 + b.IntN(10)
	if b.IntN(3) == 0 {
		deep = 10 + b.IntN(41)
	}
	for range deep {
		l = append(l, fc(1+b.IntN(5)))
		if b.IntN(5) > 0 {
			l = append(l, relu)
		}
	}
	b.layers(flat(1+b.IntN(4)), append(l, fc(2+b.IntN(3)))...)
	b.twist()
}

// drawNormalize draws networks behind a hostile normalize layer.
func drawNormalize(b *builder) {
	in := model.Shape{C: 1 + b.IntN(3), H: 1 + b.IntN(3), W: 1 + b.IntN(3)}
	n := model.Layer{Kind: model.Normalize}
	scale := 0.0
	for range in.C {
		std := math.Pow(10, -37+47*b.Float64())
		scale = max(scale, 1/std)
		mean := b.NormFloat64() * math.Pow(10, float64(b.IntN(8)-4))
		if b.IntN(3) == 0 {
			mean = float64(b.IntN(2))
		}
		n.Mean, n.Std = append(n.Mean, float32(mean)), append(n.Std, float32(std))
	}
	l := []model.Layer{n, fc(1 + b.IntN(4))}
	switch b.IntN(3) {
	case 0:
		l = []model.Layer{n, conv(in.C, 1, 1, 0), add(1, 0)}
	case 1:
		l[1] = conv(1+b.IntN(3), min(in.H, in.W), 1, 0)
	}
	if b.IntN(3) > 0 {
		l = append(l, relu)
	}
	b.layers(in, append(l, fc(2+b.IntN(2)))...)
	if b.IntN(3) > 0 {
		b.twist()
	}
	if b.IntN(2) == 0 { // back to where all is near 1
		for i := range b.m.Params[1].W {
			b.m.Params[1].W[i] *= float32(1 / scale)
		}
	}
}

// drawCancel draws networks whose sums nearly cancel at the image.
func drawCancel(b *builder) {
	if b.IntN(2) == 0 {
		b.graph()
	} else {
		b.layers(flat(1+b.IntN(6)), fc(1+b.IntN(6)), relu, fc(1+b.IntN(6)), relu, fc(2))
	}
	b.twist()
	b.x = Image(b.m.Arch.Input.Size(), b.Rand)
	b.balance()
}

// drawOrder draws networks that tell orders of summation and fused products apart, and choose
// their class by it (Szász et al. 2025): relu((ω + x) − ω), or a product less its
// rounding, times a large number.
func drawOrder(b *builder) {
	n := 2 + b.IntN(6)
	b.layers(flat(n), fc(2), relu, fc(2))
	b.x = fill(n, 1)
	b.quiet()
	omega := ldexp(1, b.IntN(40)-10)
	rows := append(fill(n, 0), fill(n, 0)...)
	var bias [2]float32
	for r := range 2 {
		row := rows[r*n : (r+1)*n]
		if b.IntN(3) == 0 { // w·x − fl(w·x)
			b.x[0] = b.Float32()
			row[0] = omega * (1 + b.Float32())
			bias[r] = -float32(row[0] * b.x[0])
			continue
		}
		for k := range row {
			row[k] = omega * float32(b.tiny()*u)
		}
		row[b.IntN(n)] = omega
		if b.IntN(2) == 0 {
			bias[r] = -omega
		} else {
			row[0], row[n-1] = omega, -omega
		}
	}
	b.set(0, rows, bias[:])
	gain := 1 / (omega * u)
	b.set(2, []float32{gain, -gain * float32(b.IntN(2)), 0, gain}, []float32{b.Float32() - 0.5, float32(n) * b.Float32()})
}

// twist makes weights hard on rounding, by layer or throughout.
func (b *builder) twist() {
	kind := b.IntN(10)
	mixed := b.IntN(3) == 0
	scale := float64(b.IntN(120) - 60)
	for i := range b.m.Params {
		p := &b.m.Params[i]
		if len(p.W) == 0 {
			continue
		}
		if mixed {
			kind = b.IntN(10)
		}
		cols := len(p.W) / len(p.B)
		for k := range p.W {
			w := &p.W[k]
			switch kind {
			case 1: // large and small side by side
				*w = ldexp(*w, b.IntN(24)-12)
			case 2: // nearly equal
				*w = 1 + *w*0x1p-20
			case 3: // denormal
				*w = ldexp(*w, -120-b.IntN(29))
			case 4:
				if k%2 == 1 {
					*w = -p.W[k-1]
				}
			case 5: // one large, the rest absorbed
				if k%cols != 0 {
					*w = copysign(float32(0.4+0.7*b.Float64())*0x1p-24, *w)
				} else {
					*w = copysign(1, *w)
				}
			case 6: // apart by last bits
				*w = copysign(ldexp(1+float32(b.IntN(4))*0x1p-23, b.IntN(3)), *w)
			case 7: // up and down
				*w = ldexp(*w, int(scale))
			case 8: // zeros
				if b.IntN(2) == 0 {
					*w = 0
				}
			case 9: // the ends of float32
				if b.IntN(8) == 0 {
					*w = copysign(1e38, *w)
				} else if b.IntN(4) == 0 {
					*w = copysign(1e-38, *w)
				}
			}
		}
		if kind == 7 {
			scale = -scale
		}
		for k := range p.B {
			switch b.IntN(6) {
			case 0:
				p.B[k] = 0
			case 1:
				p.B[k] = ldexp(p.B[k], b.IntN(40)-20)
			case 2:
				if kind == 3 {
					p.B[k] = ldexp(p.B[k], -140)
				}
			}
		}
	}
}

// balance sets biases such that sums at the image nearly cancel.
func (b *builder) balance() {
	n := newNetwork(b.m)
	x := make([]float64, len(b.x))
	for k, v := range b.x {
		x[k] = float64(v)
	}
	shapes, _ := b.m.Arch.Shapes()
	for i := range b.m.Params {
		p := &b.m.Params[i]
		if len(p.B) == 0 || b.IntN(4) == 0 {
			continue
		}
		acts := n.wide(x)
		at := i + 1
		if acts[at] == nil { // an add's branch
			for k := range n.steps {
				if s := &n.steps[k]; s.skip >= 0 && s.out > i && n.branchOf(b.m, s) == i {
					at = s.out
				}
			}
		}
		hw := shapes[i+1].H * shapes[i+1].W
		for c := range p.B {
			v := float32(float64(p.B[c]) - acts[at][c*hw+b.IntN(hw)]*(1+float64(b.IntN(3)-1)*0x1p-10))
			if v-v == 0 {
				p.B[c] = v
			}
		}
		n = newNetwork(b.m)
	}
}

func ldexp(v float32, e int) float32 { return float32(ldexp64(float64(v), e)) }

func ldexp64(v float64, e int) float64 { return math.Ldexp(v, e) }

func copysign(v, s float32) float32 { return float32(math.Copysign(float64(v), float64(s))) }

// branchOf returns the layer in whose sums a step adds.
func (n *network) branchOf(m *model.Model, s *step) int {
	b, _, _ := m.Arch.Residual(s.out - 1)
	return b
}
