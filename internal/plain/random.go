package plain

import (
	"math/rand/v2"

	"github.com/epsball/epsball/model"
)

// RandomGraph draws a small network: convolutions and fully connected layers with
// and without ReLU, residual blocks, projections, activations that several layers
// read, and any kind of layer at the end.
func RandomGraph(r *rand.Rand) *model.Architecture {
	g := &graph{Rand: r}
	g.a = &model.Architecture{Name: "graph", Input: model.Shape{C: 1 + r.IntN(3), H: 2 + r.IntN(4), W: 2 + r.IntN(4)}}
	g.shapes = []model.Shape{g.a.Input}
	if r.IntN(3) == 0 {
		n := model.Layer{Kind: model.Normalize}
		for range g.a.Input.C {
			n.Mean, n.Std = append(n.Mean, r.Float32()), append(n.Std, 0.05+r.Float32())
		}
		g.put(n, g.a.Input)
	}
	at := len(g.a.Layers) - 1
	for range 1 + r.IntN(4) {
		switch r.IntN(3) {
		case 0:
			at = g.relu(g.affine(at))
		default:
			at = g.block(at)
		}
	}
	if r.IntN(3) > 0 {
		out := model.Shape{C: 2 + r.IntN(4), H: 1, W: 1}
		g.put(model.Layer{Kind: model.FC, Out: out.C, Inputs: []int{at}}, out)
	}
	return g.a
}

type graph struct {
	*rand.Rand
	a      *model.Architecture
	shapes []model.Shape
}

func (g *graph) put(l model.Layer, out model.Shape) int {
	g.a.Layers, g.shapes = append(g.a.Layers, l), append(g.shapes, out)
	return len(g.a.Layers) - 1
}

func (g *graph) relu(at int) int {
	if g.IntN(6) == 0 {
		return at
	}
	return g.put(model.Layer{Kind: model.ReLU}, g.shapes[at+1])
}

// affine puts a layer of a random shape.
func (g *graph) affine(at int) int {
	in := g.shapes[at+1]
	if g.IntN(3) == 0 {
		out := model.Shape{C: 1 + g.IntN(7), H: 1, W: 1}
		return g.put(model.Layer{Kind: model.FC, Out: out.C, Inputs: []int{at}}, out)
	}
	k := 1 + g.IntN(min(3, in.H, in.W))
	return g.conv(at, 1+g.IntN(5), k, 1+g.IntN(2), g.IntN(k))
}

func (g *graph) conv(at, out, k, stride, pad int) int {
	in := g.shapes[at+1]
	side := func(n int) int { return (n+2*pad-k)/stride + 1 }
	return g.put(model.Layer{
		Kind: model.Conv, Inputs: []int{at}, Out: out,
		Kernel: [2]int{k, k}, Stride: [2]int{stride, stride}, Padding: [2]int{pad, pad},
	}, model.Shape{C: out, H: side(in.H), W: side(in.W)})
}

// fit puts a layer with an output of the given shape.
func (g *graph) fit(at int, out model.Shape) int {
	if in := g.shapes[at+1]; in.H == out.H && in.W == out.W && g.IntN(4) > 0 {
		if in.H < 2 || in.W < 2 || g.IntN(2) == 0 {
			return g.conv(at, out.C, 1, 1, 0)
		}
		return g.conv(at, out.C, 3, 1, 1)
	}
	if out.H == 1 && out.W == 1 {
		return g.put(model.Layer{Kind: model.FC, Out: out.C, Inputs: []int{at}}, out)
	}
	return -2
}

// block puts a residual block. Its shortcut is its input where the shapes allow,
// else a projection.
func (g *graph) block(at int) int {
	branch := at
	if g.IntN(3) > 0 {
		branch = g.relu(g.affine(at))
	}
	end := g.fit(branch, g.shapes[at+1])
	skip := at
	if end < 0 || g.IntN(3) == 0 { // two maps of the same geometry
		if end < 0 {
			end = g.affine(branch)
		}
		p := g.a.Layers[end]
		same := branch == at || g.shapes[branch+1] == g.shapes[at+1]
		switch {
		case same:
			p.Inputs = []int{at}
			skip = g.put(p, g.shapes[end+1])
		case p.Kind == model.FC || g.shapes[end+1].H == 1 && g.shapes[end+1].W == 1:
			skip = g.put(model.Layer{Kind: model.FC, Out: g.shapes[end+1].C, Inputs: []int{at}}, g.shapes[end+1])
		default:
			return g.relu(end) // no projection fits
		}
		if g.IntN(2) == 0 && skip == len(g.a.Layers)-1 {
			skip = g.relu(skip)
		}
	}
	p, q := end, skip
	if g.IntN(2) == 0 {
		p, q = q, p
	}
	sum := g.relu(g.put(model.Layer{Kind: model.Add, Inputs: []int{p, q}}, g.shapes[end+1]))
	if g.IntN(3) == 0 { // a third reader
		if p := g.fit(at, g.shapes[end+1]); p >= 0 {
			sum = g.relu(g.put(model.Layer{Kind: model.Add, Inputs: []int{sum, p}}, g.shapes[end+1]))
		}
	}
	return sum
}
