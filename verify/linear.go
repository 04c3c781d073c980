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
		l.lanes = newLanes(n, s, w, b, abs)
	}
	if n.HasSmall() {
		l.small = kernels.NewSmall(n.ISA(), s)
		l.small.Pack(w, abs)
		l.small.SetBias(b)
	}
	return l
}

func newLanes(n *net.Network, s kernels.Shape, w, b []float32, abs bool) *kernels.Linear {
	l := kernels.NewForward(n.ISA(), s)
	l.Pack(w, abs)
	l.SetBias(b)
	return l
}

// intervalMap is W from b, for centres, with |W| from e, for radii. On single
// images one pass over W does for both.
type intervalMap struct {
	linear
	abs *kernels.Linear // nil without lanes
	e   []float32       // padded; nil without single images
}

// newIntervalMap adds |w| from e to a map of shape s with the weights that weights
// returns, which it asks for only on lanes.
func newIntervalMap(n *net.Network, l linear, s kernels.Shape, weights func() []float32, e []float32) intervalMap {
	i := intervalMap{linear: l}
	if l.lanes != nil {
		i.abs = newLanes(n, s, weights(), e, true)
	}
	if l.small != nil {
		i.e = l.small.PadBias(e)
	}
	return i
}

// product is what a pass over single images is computing: one map, or both of an
// intervalMap.
type product struct {
	small                *kernels.Small
	dst, src, dstR, srcR []float32
	e                    []float32 // nil: one map
	parts                int
}

// apply computes a map.
func (p *pass) apply(l *linear, dst, src []float32) {
	if p.layout == net.LaneGroups {
		l.lanes.Apply(&p.sc[0], dst, src, p.blocks, kernels.None, nil)
		return
	}
	p.split(l.macs, product{small: l.small, dst: dst, src: src})
}

// applyBoth computes both maps of an intervalMap.
func (p *pass) applyBoth(l *intervalMap, dstC, srcC, dstR, srcR []float32) {
	if p.layout == net.LaneGroups {
		l.lanes.Apply(&p.sc[0], dstC, srcC, p.blocks, kernels.None, nil)
		l.abs.Apply(&p.sc[0], dstR, srcR, p.blocks, kernels.None, nil)
		return
	}
	p.split(2*l.macs, product{l.small, dstC, srcC, dstR, srcR, l.e, 0})
}

// split computes a product, of macs multiply-adds an image, on the pool.
func (p *pass) split(macs int64, m product) {
	m.parts = net.SmallParts(m.small, macs, p.blocks, len(p.sc))
	p.product = m
	p.pool.Run(m.parts, p.part)
}

// applyPart is a task of split.
func (p *pass) applyPart(worker, part int) {
	m := &p.product
	if m.e == nil {
		m.small.Apply(&p.sc[worker], m.dst, m.src, p.blocks, kernels.None, nil, part, m.parts)
		return
	}
	m.small.ApplyBoth(&p.sc[worker], m.dst, m.src, m.dstR, m.srcR, m.e, p.blocks, part, m.parts)
}
