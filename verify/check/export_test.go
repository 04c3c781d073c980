package check

import (
	"context"
	"math"

	"github.com/epsball/epsball/model"
)

// ErrorTerms lists what WithoutTerm takes out of the proof.
var ErrorTerms = []errorTerm{sumError, underflow, normalizeError, addError, wholeSum, ownRounding}

// LayerTerms are those of layers that ErrorTerms' networks do not have.
var LayerTerms = []errorTerm{normError, poolError, leakyError, curveError}

// Decay is decay.
var Decay = decay

// LinesOf are the low and the high line, slope and intercept, of a layer that reads one
// element, on [l, u], and its interval, at level real; with alpha ≥ 0, the free line of
// that slope.
func LinesOf(layer model.Layer, l, u, alpha float64) (low, high, interval [2]float64) {
	one := model.Shape{C: 1, H: 1, W: 1}
	o, _, _ := newOp(&layer, nil, one, one)
	s := &state{network: &network{nodes: []node{{shape: one}, {op: o, in: []int{0}, shape: one}}}, g: 0x1p-40}
	p, b := newBounds(1), newBounds(1)
	p.lo[0], p.hi[0] = l, u
	if err := p.close(); err != nil {
		panic(err)
	}
	s.bounds = []bounds{p}
	if err := o.interval(s, 1, &b); err != nil {
		panic(err)
	}
	s.bounds = append(s.bounds, b)
	n := b.lines
	low, high = [2]float64{n.low[0], n.lowAt[0]}, [2]float64{n.high[0], n.highAt[0]}
	if alpha >= 0 && n.free[0] != neither {
		slope, intercept := o.(stated).line(s, 1, 0, alpha)
		if n.free[0] == lower {
			low = [2]float64{slope, intercept}
		} else {
			high = [2]float64{slope, intercept}
		}
	}
	return low, high, [2]float64{b.lo[0], b.hi[0]}
}

// WithoutTerm calls f with checks that miss a term, and are unsound.
func WithoutTerm(t errorTerm, f func()) {
	removed = t
	defer func() { removed = "" }()
	f()
}

// PlanesOf are the planes of a maxpool of one window of elements within lo and hi: of
// element j, and slope·xᵢ + intercept.
func PlanesOf(lo, hi []float64) (j, i int, slope, intercept float64) {
	in, one := model.Shape{C: 1, H: 1, W: len(lo)}, model.Shape{C: 1, H: 1, W: 1}
	layer := model.Layer{Kind: model.MaxPool, Kernel: [2]int{1, len(lo)}, Stride: [2]int{1, 1}}
	o, _, _ := newOp(&layer, nil, in, one)
	s := &state{network: &network{nodes: []node{{shape: in}, {op: o, in: []int{0}, shape: one}}}, bounds: []bounds{newBounds(len(lo))}}
	copy(s.bounds[0].lo, lo)
	copy(s.bounds[0].hi, hi)
	b := newBounds(1)
	if err := o.interval(s, 1, &b); err != nil {
		panic(err)
	}
	return b.planes.low[0], b.planes.high[0], b.planes.slope[0], b.planes.intercept[0]
}

// Above is the intercept of a line of slope a over sigmoid or tanh on [l, u], from the
// point t.
func Above(kind model.Kind, a, t, l, u float64) float64 {
	one := model.Shape{C: 1, H: 1, W: 1}
	o, _, _ := newOp(&model.Layer{Kind: kind}, nil, one, one)
	return o.(*curve).above(a, t, l, u)
}

// Lows are the bounds that a step's trees reach over its layer, whatever the step claims.
func (p *Proof) Lows(s *Step) ([]float64, error) {
	n := s.Layer + 1
	if err := p.frameTo(context.Background(), n); err != nil {
		return nil, err
	}
	shape := p.frame.nodes[n].shape
	return p.prove(context.Background(), s, n, func(l *leaf, w *state) {
		sign := 1.0
		if s.Trees[l.tree].High {
			sign = -1
		}
		w.seed(n, channelsLast(s.Trees[l.tree].Element, shape), sign)
	}, func(_ *leaf, low float64) (float64, float64) { return low, math.Inf(-1) })
}

// Known are the bounds of a layer's output, channels first, as they are in force.
func (p *Proof) Known(layer int) (lo, hi []float64, err error) {
	if err := p.frameTo(context.Background(), layer+1); err != nil {
		return nil, nil, err
	}
	b, shape := &p.frame.bounds[layer+1], p.frame.nodes[layer+1].shape
	for i := range b.lo {
		lo, hi = append(lo, b.lo[channelsLast(i, shape)]), append(hi, b.hi[channelsLast(i, shape)])
	}
	return lo, hi, nil
}

// Open reports whether an element of a layer, channels first, is stated to be of open sign.
func (p *Proof) Open(layer, k int) bool {
	s := p.stated[layer+1]
	k = channelsLast(k, p.frame.nodes[layer+1].shape)
	return s != nil && s.set[k] && s.lo[k] < 0 && s.hi[k] > 0
}

// BallLower is the lower bound of a·x′ over a ball around x, a vector of one channel.
func BallLower(norm, eps string, x []float32, a []float64) float64 {
	e, err := ParseEps(eps)
	if err != nil {
		panic(err)
	}
	return newBall(norm, e, x, model.Shape{C: 1, H: 1, W: len(x)}, 1e-13).lower(a)
}
