package train

import (
	"math"

	"github.com/epsball/epsball/kernels"
	"github.com/epsball/epsball/model"
	"github.com/epsball/epsball/net"
	"github.com/epsball/epsball/verify"
)

// intervals bounds a network's margins over the boxes of a batch, forward and backward
// (Gowal et al. 2018, section 3): package verify's interval pass up to the last layer,
// which is merged with the margins.
type intervals struct {
	*verify.Intervals
	last marginLayer

	// Of the last layer's input and of v, an image a row; see marginLayer.
	lastC, lastR, v, dv []float32
}

// newIntervals returns the pass for batches of the given number of lane groups.
// Whoever packs the network anew must call Reload.
func newIntervals(n *net.Network, groups int) *intervals {
	bounds, err := verify.NewIntervals(n, groups)
	if err != nil {
		panic("train: " + err.Error()) // acceptsIntervals refuses the model
	}
	nodes := n.Nodes()
	l := nodes[len(nodes)-1].Op.(*net.Affine)
	k, classes, images := l.Shape.In(), l.Shape.OutC, groups*kernels.Lanes
	return &intervals{
		Intervals: bounds,
		last: marginLayer{
			k: k, classes: classes, w: l.Weights(), b: l.B, cols: l.Columns(),
			dw: make([]float32, l.Shape.Weights()), param: l.Index,
		},
		lastC: make([]float32, images*k), lastR: make([]float32, images*k),
		v: make([]float32, images*classes), dv: make([]float32, images*classes),
	}
}

// tasks is the number of parts of addGradient.
func (iv *intervals) tasks() int { return iv.GradientTasks() + iv.last.classes }

// addGradient computes part task of the gradient of the batch of labels and adds
// it to p, which is laid out as the model. Parts are independent.
func (iv *intervals) addGradient(sc *kernels.Scratch, p []model.Param, labels []int, groups, task int) {
	if row := task - iv.GradientTasks(); row >= 0 {
		iv.last.addTo(p[iv.last.param], iv.lastC, iv.lastR, iv.dv, labels, row)
		return
	}
	iv.AddGradient(sc, p, groups, task)
}

// boxed is a part's view of the intervals.
type boxed struct {
	*verify.IntervalView
	all  *intervals
	from int       // its first image in the batch
	t    []float32 // two inputs of the last layer
}

// view returns that of lane groups [from, to).
func (iv *intervals) view(from, to int) *boxed {
	return &boxed{iv.View(from, to), iv, from * kernels.Lanes, make([]float32, 2*iv.last.k)}
}

// forward writes v for the boxes in Box, one label an image, and keeps those in front of
// ReLUs, with gradients of zero, if something is to use them.
func (b *boxed) forward(labels []int, keep bool) {
	b.Keep(keep)
	c, r := b.Forward()
	if keep {
		for _, p := range b.PreActivations() {
			clear(p.DC)
			clear(p.DR)
		}
	}
	iv, m := b.all, &b.all.last
	for s, y := range labels {
		n := b.from + s
		ci, ri := iv.lastC[n*m.k:][:m.k], iv.lastR[n*m.k:][:m.k]
		net.LaneGroups.Gather(ci, c, s)
		net.LaneGroups.Gather(ri, r, s)
		m.forward(iv.v[n*m.classes:][:m.classes], ci, ri, y)
	}
}

// backward carries dv back through the pass that forward has just run.
func (b *boxed) backward(labels []int) {
	dc, dr := b.Gradient()
	if dc == nil {
		return
	}
	iv, m := b.all, &b.all.last
	tc, tr := b.t[:m.k], b.t[m.k:]
	for s := range len(dc) / m.k {
		clear(b.t) // lanes without an image get zeros
		if s < len(labels) {
			n := b.from + s
			m.backward(tc, tr, iv.dv[n*m.classes:][:m.classes], labels[s])
		}
		net.LaneGroups.Scatter(dc, tc, s)
		net.LaneGroups.Scatter(dr, tr, s)
	}
	b.Backward()
}

const signBit = 1 << 31

func abs32(v float32) float32 { return math.Float32frombits(math.Float32bits(v) &^ signBit) }

// timesSign returns v times the sign of s, that of 0 being 1.
func timesSign(v, s float32) float32 {
	return math.Float32frombits(math.Float32bits(v) ^ math.Float32bits(s)&signBit)
}
