package plain

import (
	"math/rand/v2"

	"github.com/epsball/epsball/model"
)

// RandomLayers draws a small valid network of any kinds of layers: pools, activations,
// batch norms, grouped and dilated convolutions, concatenations and adds besides what
// RandomGraph draws.
func RandomLayers(r *rand.Rand) *model.Architecture {
	for {
		g := &graph{Rand: r}
		g.a = &model.Architecture{Name: "layers", Input: model.Shape{C: 1 + r.IntN(4), H: 2 + r.IntN(5), W: 2 + r.IntN(5)}}
		g.shapes = []model.Shape{g.a.Input}
		if r.IntN(3) == 0 {
			n := model.Layer{Kind: model.Normalize}
			for range g.a.Input.C {
				n.Mean, n.Std = append(n.Mean, r.Float32()), append(n.Std, 0.05+r.Float32())
			}
			g.put(n, g.a.Input)
		}
		at := len(g.a.Layers) - 1
		for range 2 + r.IntN(6) {
			at = g.any(at)
		}
		if r.IntN(3) > 0 {
			out := model.Shape{C: 2 + r.IntN(4), H: 1, W: 1}
			g.put(model.Layer{Kind: model.FC, Out: out.C, Inputs: []int{at}}, out)
		}
		if g.a.Validate() == nil {
			return g.a
		}
	}
}

// any puts a layer of any kind, or two whose outputs meet.
func (g *graph) any(at int) int {
	in := g.shapes[at+1]
	l := model.Layer{Inputs: []int{at}}
	switch g.IntN(13) {
	case 0:
		return g.affine(at)
	case 1, 2:
		return g.grouped(at)
	case 3:
		l.Kind, l.Eps = model.BatchNorm, 1e-5*float32(g.IntN(3))
	case 4:
		l.Kind = model.ReLU
	case 5:
		l.Kind, l.Slope = model.LeakyReLU, []float32{g.Float32()}
		for g.IntN(2) == 0 && len(l.Slope) < in.C { // all channels, or not valid
			l.Slope = append(l.Slope, 1.5*g.Float32()-0.5)
		}
		if len(l.Slope) != in.C {
			l.Slope = l.Slope[:1]
		}
	case 6:
		l.Kind = model.Sigmoid
	case 7:
		l.Kind = model.Tanh
	case 8:
		l.Kind, l.Min = model.Clip, -g.Float32()
		l.Max = l.Min + 0.1 + g.Float32()
	case 9, 10:
		return g.pool(at)
	case 11:
		p := g.any(at)
		if g.shapes[p+1] != in {
			return p
		}
		l.Kind, l.Inputs = model.Add, []int{p, at}
	case 12:
		p := g.any(at)
		s := g.shapes[p+1]
		if s.H != in.H || s.W != in.W || s.C+in.C > 12 {
			return p
		}
		l.Kind, l.Inputs = model.Concat, []int{p, at}
		in.C += s.C
	}
	return g.put(l, in)
}

// grouped puts a convolution of several groups, often depthwise, or with dilation.
func (g *graph) grouped(at int) int {
	in := g.shapes[at+1]
	k, d := 1+g.IntN(3), 1+g.IntN(2)
	e := (k-1)*d + 1
	pad := g.IntN(e)
	if in.H+2*pad < e || in.W+2*pad < e {
		return g.affine(at)
	}
	at = g.conv(at, in.C*(1+g.IntN(2)), k, 1+g.IntN(2), pad)
	l := &g.a.Layers[at]
	if in.C > 1 {
		l.Groups = in.C
		if in.C%2 == 0 && g.IntN(3) == 0 {
			l.Groups = 2
		}
	}
	if d > 1 && k > 1 {
		l.Dilation = [2]int{d, d}
		side := func(n int) int { return (n+2*pad-e)/l.Stride[0] + 1 }
		g.shapes[at+1].H, g.shapes[at+1].W = side(in.H), side(in.W)
	}
	return at
}

func (g *graph) pool(at int) int {
	in := g.shapes[at+1]
	l := model.Layer{Kind: model.MaxPool, Inputs: []int{at}}
	out := model.Shape{C: in.C}
	sides := [2]*int{&out.H, &out.W}
	for d, n := range [2]int{in.H, in.W} {
		l.Kernel[d], l.Stride[d] = 1+g.IntN(min(3, n)), 1+g.IntN(3)
		l.Padding[d] = g.IntN(l.Kernel[d])
		if g.IntN(8) == 0 { // global
			l.Kernel[d], l.Padding[d] = n, 0
		}
		*sides[d] = (n+2*l.Padding[d]-l.Kernel[d])/l.Stride[d] + 1
	}
	if g.IntN(2) == 0 {
		l.Kind, l.CountPadding = model.AvgPool, l.Padding != [2]int{} && g.IntN(2) == 0
	}
	return g.put(l, out)
}

// Random returns a model of a valid architecture with random parameters and, in
// batchnorms, random statistics.
func Random(a *model.Architecture, r *rand.Rand) *model.Model {
	m, err := model.Random(a, r.Uint64())
	if err != nil {
		panic(err)
	}
	for i := range m.Params {
		p := &m.Params[i]
		for c := range p.Var {
			p.W[c], p.B[c] = float32(r.NormFloat64()), float32(r.NormFloat64())
			p.Mean[c], p.Var[c] = float32(r.NormFloat64()), 0.1+r.Float32()
		}
	}
	return m
}
