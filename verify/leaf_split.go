package verify

import (
	"math"

	"github.com/epsball/epsball/kernels"
	"github.com/epsball/epsball/model"
)

// place is a neuron of a node that splits of a lane are about.
type place struct {
	group, lane int
	at, k       int     // in the window, −1: beyond it, or not to be used; in the map
	coef        float32 // λ, behind the node's lines
	post        float32 // value there
}

// multiplier is that of a split: β ≥ 0.
type multiplier struct {
	split       int     // of the leaf
	beta, kept  float32 // now, and of the best bound
	m, s, scale float32 // of Adam
}

// climb moves it up its gradient.
func (b *multiplier) climb(grad, rate, scale float32) {
	b.m = float32(beta1*b.m) + float32((1-beta1)*grad)
	b.s = float32(beta2*b.s) + float32((1-beta2)*float32(grad*grad))
	step := float32(float32(rate*b.scale)*b.m) / (float32(math.Sqrt(float64(b.s*scale))) + 1e-12)
	if b.beta = max(b.beta+step, 0); b.beta-b.beta != 0 {
		b.beta = 0
	}
}

// nodeSplits are those of a node, in all lanes. One of the lists is in use: the node's kind
// says which.
type nodeSplits struct {
	signs  []signFix
	points []pointFix
	pairs  []pairFix
}

func (n *nodeSplits) clear() { n.signs, n.points, n.pairs = n.signs[:0], n.points[:0], n.pairs[:0] }

func (n *nodeSplits) empty() bool { return len(n.signs)+len(n.points)+len(n.pairs) == 0 }

// places calls f for each neuron.
func (n *nodeSplits) places(f func(p *place)) {
	for k := range n.signs {
		f(&n.signs[k].place)
	}
	for k := range n.points {
		f(&n.points[k].place)
	}
	for k := range n.pairs {
		f(&n.pairs[k].place)
	}
}

// each calls f for each multiplier, with its neuron.
func (n *nodeSplits) each(f func(p *place, b *multiplier)) {
	for k := range n.signs {
		f(&n.signs[k].place, &n.signs[k].multiplier)
	}
	for k := range n.points {
		for side := range n.points[k].by {
			if b := &n.points[k].by[side]; b.split >= 0 {
				f(&n.points[k].place, b)
			}
		}
	}
	for k := range n.pairs {
		for d := range n.pairs[k].duels {
			f(&n.pairs[k].place, &n.pairs[k].duels[d].multiplier)
		}
	}
}

// split gives a lane the split number `number` of a leaf.
func (t *leafRun) split(group, lane, number int, s Split, beta float32) {
	p := place{group: group, lane: lane, k: atShape(s.Neuron, t.w.g.net.Nodes()[s.Node].Shape)}
	b := multiplier{split: number, beta: beta}
	n := &t.splits[s.Node]
	switch o := t.w.g.nodes[s.Node].op.(type) {
	case *relaxMax:
		n.addPair(p, b, s, o)
	case *relaxElementwise:
		if o.op.Kind != model.ReLU {
			n.addPoint(p, b, s)
			return
		}
		n.addSign(p, b, s.Phase == Active)
	default: // it ends in a ReLU
		n.addSign(p, b, s.Phase == Active)
	}
}

// scales sets the lengths of first steps of multipliers of node i: the mean magnitude of its
// coefficients, of the first step that has any.
func (t *leafRun) scales(i int) {
	group, mean := -1, [kernels.Lanes]float32{}
	t.splits[i].each(func(p *place, b *multiplier) {
		if p.group != group {
			group, mean = p.group, [kernels.Lanes]float32{}
			v, count := t.w.group(t.w.v[i+1], i+1, group), [kernels.Lanes]float32{}
			for k := 0; k < len(v); k += kernels.Lanes {
				for l, x := range v[k : k+kernels.Lanes] {
					if x != 0 {
						mean[l] += float32(math.Abs(float64(x)))
						count[l]++
					}
				}
			}
			for l, c := range count {
				mean[l] /= max(1, c)
			}
		}
		if b.scale == 0 {
			b.scale = mean[p.lane]
		}
	})
}

// of returns the number of a split neuron among values of node i.
func (t *leafRun) of(values [][]float32, i int, p *place) *float32 {
	return &t.w.group(values[i+1], i+1, p.group)[p.at*kernels.Lanes+p.lane]
}

// multipliers reports whether there are any to be optimised.
func (t *leafRun) multipliers() bool {
	for i := range t.splits {
		if t.w.ascent.used[i+1] && !t.splits[i].empty() {
			return true
		}
	}
	return false
}

// lift takes the coefficients of split neurons of node i off the rows.
func (t *leafRun) lift(i, step int) {
	n := &t.splits[i]
	if n.empty() {
		return
	}
	again := step == 0
	n.each(func(_ *place, b *multiplier) { again = again || b.scale == 0 })
	if again {
		t.scales(i)
	}
	n.places(func(p *place) {
		if p.at >= 0 {
			v := t.of(t.w.v, i, p)
			p.coef, *v = *v, 0
		}
	})
}

// put gives split neurons of node i their coefficients before its lines.
func (t *leafRun) put(i int) {
	for k := range t.splits[i].signs {
		t.putSign(i, &t.splits[i].signs[k])
	}
	for k := range t.splits[i].points {
		t.putPoint(i, &t.splits[i].points[k])
	}
}

// hand adds coefficients of split neurons of node i to those of what it reads.
func (t *leafRun) hand(i int) {
	for k := range t.splits[i].pairs {
		t.handPair(i, &t.splits[i].pairs[k])
	}
}

// climb moves the multipliers of node i up their gradients, which are how far the minimising
// inputs are from what splits ask for.
func (t *leafRun) climb(i int, rate, scale float32) {
	n := &t.splits[i]
	for k := range n.signs {
		if f := &n.signs[k]; f.at >= 0 {
			grad := *t.of(t.w.ascent.z, i, &f.place)
			if f.post = 0; f.active {
				grad, f.post = -grad, grad
			}
			f.climb(grad, rate, scale)
		}
	}
	for k := range n.points {
		if f := &n.points[k]; f.at >= 0 {
			f.climb(*t.of(t.w.ascent.z, i, &f.place), rate, scale)
		}
	}
	for k := range n.pairs {
		if f := &n.pairs[k]; f.at >= 0 {
			t.climbPair(i, f, rate, scale)
		}
	}
}

// pass gives split neurons of node i their values behind its lines.
func (t *leafRun) pass(i int) {
	t.splits[i].places(func(p *place) {
		if p.at >= 0 {
			*t.of(t.w.ascent.z, i, p) = p.post
		}
	})
}

// keep keeps the multipliers of lanes that are better.
func (t *leafRun) keep(better *[maxGroups][kernels.Lanes]bool) {
	for i := range t.splits {
		t.splits[i].each(func(p *place, b *multiplier) {
			if better[p.group][p.lane] {
				b.kept = b.beta
			}
		})
	}
}
