package check

import (
	"fmt"

	"github.com/epsball/epsball/model"
)

// node is the input (node 0) or the output of layer i (node i+1). Activations
// lie channels last: the taps of a kernel row are then one run in memory.
type node struct {
	kind  model.Kind // empty for the input
	in    []int      // nodes it reads
	shape model.Shape

	// conv and fc, which is a convolution whose kernel is its whole input.
	w              []float64 // [out][kernel rows][kernel columns][in channels]
	b              []float64 // [out]
	kernel, stride [2]int
	padding        [2]int
	fanIn          int

	part  bool // of the sum of an add, which alone reads it
	terms int  // of its sum (rounding.go)

	mean, std []float64 // normalize, by channel

	bounded bool // read by a ReLU: a linear method bounds it backward
}

// network is a model as nodes in the order of its layers.
type network struct {
	nodes []node
	chain int64 // N of rounding.go
}

// channelsFirst turns an index of a tensor that lies channels last into that of
// the same element channels first.
func channelsFirst(i int, s model.Shape) int { return i%s.C*(s.H*s.W) + i/s.C }

// newNetwork lays out a valid model. A layer it does not know is an error.
func newNetwork(m *model.Model) (*network, error) {
	shapes, err := m.Arch.Shapes()
	if err != nil {
		return nil, err
	}
	n := &network{nodes: []node{{shape: m.Arch.Input}}, chain: 64 + int64(m.Arch.Input.Size())}
	for i := range m.Arch.Layers {
		l := &m.Arch.Layers[i]
		d := node{kind: l.Kind, shape: shapes[i+1]}
		for _, k := range m.Arch.InputsOf(i) {
			d.in = append(d.in, k+1)
		}
		in := &n.nodes[d.in[0]]
		switch l.Kind {
		case model.Conv, model.FC:
			d.kernel, d.stride, d.padding = l.Kernel, l.Stride, l.Padding
			if l.Kind == model.FC {
				d.kernel, d.stride = [2]int{in.shape.H, in.shape.W}, [2]int{1, 1}
			}
			d.b = wide(m.Params[i].B)
			d.fanIn = in.shape.C * d.kernel[0] * d.kernel[1]
			d.w = make([]float64, l.Out*d.fanIn)
			rows := m.Params[i].Rows()
			kernel := model.Shape{C: in.shape.C, H: d.kernel[0], W: d.kernel[1]}
			for k := range d.w {
				o, t := k/d.fanIn, k%d.fanIn
				d.w[k] = float64(rows[o*d.fanIn+channelsFirst(t, kernel)])
			}
		case model.Normalize:
			d.mean, d.std = wide(l.Mean), wide(l.Std)
		case model.Add:
		case model.ReLU:
			in.bounded = true
		default:
			return nil, fmt.Errorf("layer %d: got %q, which has no checker", i, l.Kind)
		}
		n.nodes = append(n.nodes, d)
		n.chain += int64(d.shape.Size()) + int64(d.fanIn) + int64(l.Out)*int64(d.kernel[0]*d.kernel[1]) + 4
	}
	n.sums()
	return n, nil
}

// sums finds the parts of the adds' sums and the number of terms of each sum.
func (n *network) sums() {
	readers := make([]int, len(n.nodes))
	for i := range n.nodes {
		for _, p := range n.nodes[i].in {
			readers[p]++
		}
	}
	for i := range n.nodes { // what i reads comes before it
		d := &n.nodes[i]
		d.terms = d.fanIn + 1
		if d.kind != model.Add {
			continue
		}
		d.terms = 0
		for _, k := range d.in {
			switch p := &n.nodes[k]; p.kind {
			case model.Conv, model.FC, model.Add:
				p.part = readers[k] == 1
			}
			if n.nodes[k].part {
				d.terms += n.nodes[k].terms
			} else {
				d.terms++
			}
		}
	}
	for i := len(n.nodes) - 1; i >= 0; i-- { // parts have the terms of the whole
		for _, k := range n.nodes[i].in {
			if n.nodes[k].part {
				n.nodes[k].terms += int(keep(wholeSum, float64(n.nodes[i].terms-n.nodes[k].terms)))
			}
		}
	}
}

func wide(v []float32) []float64 {
	w := make([]float64, len(v))
	for i, x := range v {
		w[i] = float64(x)
	}
	return w
}

// first tells whether node i is the first affine layer, seen from the input.
func (n *network) first(i int) bool {
	d := &n.nodes[i]
	if d.kind != model.Conv && d.kind != model.FC {
		return false
	}
	return d.in[0] == 0 || n.nodes[d.in[0]].kind == model.Normalize
}

// taps calls f for each output position y, x and kernel row of node i with the
// run of kernel columns that lies on its input: the output's first element, the
// first element of the run in the input and in the weights of one output
// channel, and its length.
func (n *network) taps(i int, box region, f func(out, in, w, length int)) {
	d := &n.nodes[i]
	s := n.nodes[d.in[0]].shape
	for y := box.y0; y < box.y1; y++ {
		for x := box.x0; x < box.x1; x++ {
			x0 := x*d.stride[1] - d.padding[1]
			from, to := max(0, -x0), min(d.kernel[1], s.W-x0)
			for ky := range d.kernel[0] {
				iy := y*d.stride[0] - d.padding[0] + ky
				if iy < 0 || iy >= s.H || from >= to {
					continue
				}
				f((y*d.shape.W+x)*d.shape.C, (iy*s.W+x0+from)*s.C, (ky*d.kernel[1]+from)*s.C, (to-from)*s.C)
			}
		}
	}
}

// region is a rectangle of rows and columns of an activation.
type region struct{ y0, y1, x0, x1 int }

func whole(s model.Shape) region { return region{0, s.H, 0, s.W} }

func (r region) empty() bool { return r.y0 >= r.y1 || r.x0 >= r.x1 }

// with returns the smallest region that contains both.
func (r region) with(o region) region {
	switch {
	case r.empty():
		return o
	case o.empty():
		return r
	}
	return region{min(r.y0, o.y0), max(r.y1, o.y1), min(r.x0, o.x0), max(r.x1, o.x1)}
}

// seen returns the part of node i's input that its outputs in r read.
func (n *network) seen(i int, r region) region {
	d := &n.nodes[i]
	s := n.nodes[d.in[0]].shape
	return region{
		max(0, r.y0*d.stride[0]-d.padding[0]), min(s.H, (r.y1-1)*d.stride[0]-d.padding[0]+d.kernel[0]),
		max(0, r.x0*d.stride[1]-d.padding[1]), min(s.W, (r.x1-1)*d.stride[1]-d.padding[1]+d.kernel[1]),
	}
}
