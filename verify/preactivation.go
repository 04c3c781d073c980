package verify

import (
	"github.com/epsball/epsball/kernels"
	"github.com/epsball/epsball/model"
	"github.com/epsball/epsball/net"
)

// PreActivation is the box that a ReLU or LeakyReLU of an IntervalView reads, laid out as
// the view's activations.
type PreActivation struct {
	Node int // of net.Network.Nodes: the function's own or the one that it is fused with

	// Centre and radius, which Forward writes. They must not be changed.
	C, R []float32

	// Gradients to them, which Backward adds to those that come from the nodes behind:
	// to be written before it, zeros in lanes without an image.
	DC, DR []float32
}

// KeepPreActivations makes views have PreActivations. It is to be called before View.
func (t *Intervals) KeepPreActivations() { t.keeps = true }

// PreActivations returns those of the view in the order of nodes, nil without
// KeepPreActivations.
func (v *IntervalView) PreActivations() []PreActivation { return v.pre }

// Keep says whether passes from now on write and use PreActivations. At first they do
// not.
func (v *IntervalView) Keep(on bool) { v.keeping = on && v.pre != nil }

// makePreActivations makes room for them.
func (v *IntervalView) makePreActivations() {
	for i := range v.steps {
		n := v.steps[i].node
		own, bent := n.In[0], false
		if e, ok := n.Op.(*net.Elementwise); ok {
			bent = e.Kind == model.ReLU || e.Kind == model.LeakyReLU
		}
		if !bent && !n.ReLU {
			continue
		}
		p := PreActivation{Node: i}
		size := v.length(n.Shape.Size())
		p.DC, p.DR = kernels.Alloc(size), kernels.Alloc(size)
		if bent {
			p.C, p.R = v.c[own][:size], v.r[own][:size]
		} else {
			p.C, p.R = kernels.Alloc(size), kernels.Alloc(size)
		}
		v.pre = append(v.pre, p)
	}
	v.trace = v.keep
}

// keep takes what a node's forward gives, before the ReLU takes its place.
func (v *IntervalView) keep(node int, c, r []float32) {
	if p := v.preOf(node); p != nil && v.steps[node].node.ReLU {
		copy(p.C, c)
		copy(p.R, r)
	}
}

func (v *IntervalView) preOf(node int) *PreActivation {
	for k := range v.pre {
		if v.pre[k].Node == node {
			return &v.pre[k]
		}
	}
	return nil
}

// addGradient adds the gradients to what the function of a node read to dc and dr.
func (v *IntervalView) addGradient(node int, dc, dr []float32) {
	if p := v.preOf(node); p != nil {
		v.net.ISA().Add(dc, p.DC, kernels.None, nil)
		v.net.ISA().Add(dr, p.DR, kernels.None, nil)
	}
}
