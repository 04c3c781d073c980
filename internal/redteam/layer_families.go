package redteam

import (
	"github.com/epsball/epsball/model"
	"github.com/epsball/epsball/net"
)

// drawLayers draws networks of layers of all kinds with cruel weights.
func drawLayers(b *builder) {
	for {
		a := b.anyLayers()
		if a.Validate() == nil && a.Classes() > 1 {
			b.start(a)
			break
		}
	}
	b.twist()
	for i := range b.m.Params {
		p := &b.m.Params[i]
		for c := range p.Var {
			p.Mean[c], p.Var[c] = float32(b.NormFloat64()), float32(b.ExpFloat64()+1e-6)
			p.W[c], p.B[c] = max(-1e18, min(1e18, p.W[c])), max(-1e18, min(1e18, p.B[c]))
		}
	}
}

// anyLayers draws an architecture that may not be valid.
func (b *builder) anyLayers() *model.Architecture {
	a := &model.Architecture{Name: "redteam", Input: model.Shape{C: 1 + b.IntN(4), H: 1 + b.IntN(4), W: 1 + b.IntN(4)}}
	shapes := []model.Shape{a.Input}
	for len(a.Layers) < 2+b.IntN(9) {
		at := len(a.Layers)
		in := shapes[at]
		k := [2]int{1 + b.IntN(3), 1 + b.IntN(3)}
		window := model.Layer{Kernel: k, Stride: [2]int{1 + b.IntN(2), 1 + b.IntN(2)}, Padding: [2]int{b.IntN(k[0]), b.IntN(k[1])}}
		l := model.Layer{}
		switch b.IntN(13) {
		case 0, 1:
			l = window
			l.Kind, l.Out = model.Conv, 1+b.IntN(4)
			if b.IntN(2) == 0 && in.C > 1 {
				l.Groups, l.Out = in.C, in.C*(1+b.IntN(2))
			}
			if b.IntN(3) == 0 {
				l.Dilation = [2]int{1 + b.IntN(2), 2}
			}
		case 2:
			l = fc(1 + b.IntN(6))
		case 3:
			l.Kind, l.Eps = model.BatchNorm, []float32{1e-5, 0}[b.IntN(2)]
		case 4:
			l.Kind = model.ReLU
		case 5:
			l.Kind = model.LeakyReLU
			for range []int{1, in.C}[b.IntN(2)] {
				l.Slope = append(l.Slope, float32([]float64{0.1, 1, 0, -0.5, 3, b.NormFloat64(), 1 - 0x1p-24}[b.IntN(7)]))
			}
		case 6:
			l.Kind, l.Min = model.Clip, float32(b.IntN(3)-1)*b.Float32()
			l.Max = l.Min + []float32{6, 1, 0x1p-10, b.Float32() + 1e-3}[b.IntN(4)]
		case 7:
			l.Kind = model.Sigmoid
		case 8:
			l.Kind = model.Tanh
		case 9:
			l = window
			l.Kind = model.MaxPool
		case 10:
			l = window
			l.Kind, l.CountPadding = model.AvgPool, l.Padding != [2]int{} && b.IntN(2) == 0
		default:
			l.Kind = []model.Kind{model.Add, model.Concat}[b.IntN(2)]
			l.Inputs = []int{at - 1}
			for tries := 0; tries < 8 && len(l.Inputs) < 2; tries++ {
				s := b.IntN(at + 1)
				if o := shapes[s]; o == in || l.Kind == model.Concat && o.H == in.H && o.W == in.W {
					l.Inputs = append(l.Inputs, s-1)
				}
			}
		}
		a.Layers = append(a.Layers, l)
		s, err := a.Shapes()
		if err != nil { // another one
			a.Layers = a.Layers[:at]
			continue
		}
		shapes = s
	}
	if b.IntN(3) > 0 {
		a.Layers = append(a.Layers, fc(2+b.IntN(2)))
	}
	return a
}

// drawLayerEdge draws networks of which one layer's error is nearly all.
func drawLayerEdge(b *builder) {
	b.norm, b.eps = net.Norm(b.IntN(3)), "0"
	two := model.Shape{C: 2, H: 1, W: 1}
	number := func() float32 { return 0.5 + b.Float32()/2 }
	switch b.IntN(4) {
	case 0: // the average of a large pixel and small ones
		n := b.fan(1 << 8)
		b.layers(model.Shape{C: 2, H: 1, W: n}, model.Layer{Kind: model.AvgPool, Kernel: [2]int{1, n}, Stride: [2]int{1, 1}})
		b.x = fill(2*n, float32(b.tiny()*u))
		b.x[b.IntN(n)] = 1
		copy(b.x[n:], fill(n, 0))
	case 1: // a·x + b, nearly canceled
		b.layers(two, model.Layer{Kind: model.BatchNorm, Eps: 0})
		b.x = []float32{number(), number()}
		for c := range 2 {
			b.m.Params[0].W[c] = number()
			b.m.Params[0].B[c] = -b.m.Params[0].W[c] * b.x[c] * (1 + float32(b.IntN(3)-1)*0x1p-22)
		}
	case 2: // two slopes of one number: what that errs by cancels
		b.layers(model.Shape{C: 1, H: 1, W: 1}, fc(1),
			from(0, model.Layer{Kind: model.LeakyReLU, Slope: []float32{number()}}),
			from(0, model.Layer{Kind: model.LeakyReLU, Slope: []float32{0}}),
			model.Layer{Kind: model.Concat, Inputs: []int{1, 2}})
		slope := b.m.Arch.Layers[1].Slope[0]
		b.m.Arch.Layers[2].Slope[0] = slope * (1 + float32(1+b.IntN(6))*0x1p-23)
		b.x = []float32{number()}
		b.set(0, []float32{-number()}, []float32{0})
	default:
		b.layers(two, model.Layer{Kind: []model.Kind{model.Sigmoid, model.Tanh}[b.IntN(2)]})
		b.x = []float32{number(), number()}
	}
	if b.IntN(2) == 0 { // the other way round
		b.y = 1
	} else {
		b.y = 0
	}
	n := b.m.Arch.Classes()
	b.rows = [][]float32{make([]float32, n), make([]float32, n)}
	b.rows[0][b.y], b.rows[0][1-b.y], b.rows[1][b.IntN(n)] = 1, -1, 1
}
