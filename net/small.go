package net

import (
	"context"

	"github.com/epsball/epsball/kernels"
)

// MaxSmall is the largest batch that passes take image by image: beyond, lanes
// are faster although some of them idle.
const MaxSmall = 6

// Few tells whether passes take a batch of images image by image, at most
// MaxSmall at a time: it is small, or the network has nothing for larger ones.
func (n *Network) Few(images int) bool {
	return n.HasSmall() && (images <= MaxSmall || !n.HasLanes())
}

// splitMACs is the work from which a layer of a small batch is shared among
// workers: below, waking them costs more than they save.
const splitMACs = 100_000

// SmallParts returns the number of parts into which passes split l, of macs
// multiply-adds an image, for n ≤ MaxSmall images.
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

// smallRun is the path of a Runner for one to MaxSmall images: activations are
// [image][height][width][channel], and the layers' work is split over workers.
type smallRun struct {
	net  *Network
	pool *kernels.Pool
	sc   []kernels.Scratch
	act  [][]float32 // two buffers in a plain list
	f    func(worker, task int)

	// The layer being run.
	layer    *Affine
	dst, src []float32
	n, parts int
	epilogue kernels.Epilogue
}

func newSmallRun(n *Network, pool *kernels.Pool) *smallRun {
	s := &smallRun{net: n, pool: pool, sc: make([]kernels.Scratch, pool.Workers())}
	s.act = n.tensors(n.acts, func(size int) int { return Singles.Len(MaxSmall, size) })
	s.f = func(worker, part int) {
		s.layer.small.Apply(&s.sc[worker], s.dst, s.src, s.n, s.epilogue, nil, part, s.parts)
	}
	return s
}

// logits writes the logits of n ≤ MaxSmall images to dst.
func (s *smallRun) logits(ctx context.Context, dst, x []float32, n int) error {
	s.load(x, n)
	s.n = n
	for i := range s.net.layers {
		if err := ctx.Err(); err != nil {
			return err
		}
		l := &s.net.layers[i]
		s.layer, s.dst, s.src, s.epilogue = l, s.act[i+1], s.act[l.Src], l.epilogue()
		if l.Skip >= 0 {
			s.epilogue = kernels.None
		}
		s.parts = l.split(l.small, n, len(s.sc))
		s.pool.Run(s.parts, s.f)
		if l.Skip >= 0 {
			size := Singles.Len(n, l.Shape.Out())
			s.net.isa.Add(s.dst[:size], s.act[l.Skip][:size], l.epilogue(), nil)
		}
	}
	out := s.act[len(s.act)-1]
	if s.net.mapped() {
		Singles.orderOutputs(dst, out, s.net.output, n)
	} else {
		copy(dst, out[:len(dst)])
	}
	return ctx.Err()
}

// load brings the images from channels first to channels last, normalized.
func (s *smallRun) load(x []float32, n int) {
	in := s.net.input
	size, hw := in.Size(), in.H*in.W
	mean, std := s.net.Normalization()
	for i := range n {
		img, d := x[i*size:(i+1)*size], s.act[0][i*size:(i+1)*size]
		for c := range in.C {
			for p, v := range img[c*hw : (c+1)*hw] {
				if mean != nil {
					v = (v - mean[c]) / std[c]
				}
				d[p*in.C+c] = v
			}
		}
	}
}
