package net

import "github.com/epsball/epsball/kernels"

// MaxSmall is the largest batch that passes take image by image. For larger ones lanes
// are faster, although some of them idle.
const MaxSmall = 6

// Few reports whether passes take a batch of images one by one, at most MaxSmall at a
// time: because the batch is small, or because the network is compiled for nothing
// else.
func (n *Network) Few(images int) bool {
	return n.HasSmall() && (images <= MaxSmall || !n.HasLanes())
}

// splitMACs is the work from which a layer of a small batch is shared among
// workers: below, waking them costs more than they save.
const splitMACs = 100_000

// SmallParts returns the number of parts into which passes split l for n ≤ MaxSmall
// images; macs are its multiply-adds for one image.
func SmallParts(l *kernels.Small, macs int64, n, workers int) int {
	if macs*int64(n) < splitMACs {
		return 1
	}
	return l.Parts(workers)
}

// split is SmallParts for l, a map of the layer.
func (a *Affine) split(l *kernels.Small, n, workers int) int {
	return SmallParts(l, a.macs, n, workers)
}

// Small returns the layer's map for batches of up to MaxSmall images and the
// number of parts a Runner splits it into; nil if the network has none.
func (a *Affine) Small(n, workers int) (small *kernels.Small, parts int) {
	if a.small == nil {
		return nil, 0
	}
	return a.small, a.split(a.small, n, workers)
}

// SmallAdjoint is Small for the way back.
func (a *Affine) SmallAdjoint(n, workers int) (small *kernels.Small, parts int) {
	if a.smallBack == nil {
		return nil, 0
	}
	return a.smallBack, a.split(a.smallBack, n, workers)
}
