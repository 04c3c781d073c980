package verify

import (
	"github.com/epsball/epsball/kernels"
	"github.com/epsball/epsball/net"
)

// linear is a linear map for the batches its network is compiled for: on lanes,
// on single images, or both.
type linear struct {
	lanes *kernels.Linear
	small *kernels.Small
	macs  int64
}

// newLinear returns a map with the weights w, or |w|, and the bias b.
func newLinear(n *net.Network, s kernels.Shape, w, b []float32, abs bool) linear {
	l := linear{macs: s.MACs()}
	if n.HasLanes() {
		l.lanes = kernels.NewForward(n.ISA(), s)
		l.lanes.Pack(w, abs)
	}
	if n.HasSmall() {
		l.small = kernels.NewSmall(n.ISA(), s)
		l.small.Pack(w, abs)
	}
	l.setBias(b)
	return l
}

func (l *linear) setBias(b []float32) {
	if l.lanes != nil {
		l.lanes.SetBias(b)
	}
	if l.small != nil {
		l.small.SetBias(b)
	}
}

// product is a linear map to be applied.
type product struct {
	m        *linear
	dst, src []float32
}

// apply computes some products; on single images each is split over the pool.
func (w *worker) apply(blocks int, list ...product) {
	if w.layout == net.LaneGroups {
		for _, p := range list {
			p.m.lanes.Apply(&w.sc[0], p.dst, p.src, blocks, kernels.None, nil)
		}
		return
	}
	w.products, w.blocks, w.parts = append(w.products[:0], list...), blocks, 1
	for _, p := range list {
		w.parts = max(w.parts, net.SmallParts(p.m.small, p.m.macs, blocks, len(w.sc)))
	}
	w.v.pool.Run(w.parts, w.part)
}

// applyPart is apply's task on single images.
func (w *worker) applyPart(worker, part int) {
	for _, p := range w.products {
		p.m.small.Apply(&w.sc[worker], p.dst, p.src, w.blocks, kernels.None, nil, part, w.parts)
	}
}
