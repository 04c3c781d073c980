package verify

import (
	"math"

	"github.com/epsball/epsball/net"
)

// Interval bounds the outputs of a node, with what it adds, before the ReLU that it ends
// in, exact and as executed, channels first.
type Interval struct{ Lower, Upper []float32 }

// Bounds returns the intervals of the nodes, in the order of net.Network.Nodes, for the
// ball around one image x, and a lower bound of z_y − z_j for every j (+Inf at y). The
// last node's interval is missing where it is merged with the margins: in networks that
// end in conv or fc with one pixel. It allocates its results.
func (v *IBP) Bounds(ball net.Ball, x []float32, y int) ([]Interval, []float32, error) {
	if err := ball.Validate(); err != nil {
		return nil, nil, err
	}
	b := Batch{X: x, Y: []int{y}}
	if err := v.check(b); err != nil {
		return nil, nil, err
	}
	var w *worker
	if v.net.Few(1) {
		w = v.singles()
	} else {
		w = v.lanes()[0]
	}
	var out []Interval
	w.trace = func(i int, c, r []float32) { out = append(out, v.interval(i, c, r, int(w.layout))) }
	v.b = b
	w.load(0, 0, ball.Norm, ball.Box())
	w.bound(ball.Norm, 1)
	w.trace, v.b = nil, Batch{}
	w.prepare(0)
	margins := make([]float32, v.spec.outputs.Size())
	for j := range margins {
		margins[j] = float32(math.Inf(1))
		if j != y {
			margins[j] = w.low(0, y, j)
		}
	}
	return out, margins, nil
}

// interval turns what forward gives of node i for slot 0, whose elements lie stride
// apart, into bounds.
func (v *IBP) interval(i int, c, r []float32, stride int) Interval {
	s := &v.steps[i]
	m := s.node.Shape
	hw, form := m.H*m.W, s.form()
	iv := Interval{make([]float32, m.Size()), make([]float32, m.Size())}
	for p := range hw {
		for ch := range m.C {
			k := (p*m.C + ch) * stride
			lo, hi := c[k], r[k]
			if form != ends {
				lo, hi = endsOf(lo, hi)
			}
			iv.Lower[ch*hw+p], iv.Upper[ch*hw+p] = lo, hi
		}
	}
	return iv
}
