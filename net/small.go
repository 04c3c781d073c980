package net

import (
	"context"

	"github.com/epsball/epsball/kernels"
)

// maxSmall is the largest batch that is run image by image: beyond, lanes are
// faster although some of them idle.
const maxSmall = 6

// splitMACs is the work from which a layer of a small batch is shared among
// workers: below, waking them costs more than they save.
const splitMACs = 500_000

// smallRun is the path of a Runner for one to maxSmall images: activations are
// [image][height][width][channel], and the layers' work is split over workers.
type smallRun struct {
	net  *Network
	pool *kernels.Pool
	sc   []kernels.Scratch
	act  [2][]float32
	f    func(worker, task int)

	// The layer being run.
	layer *Affine
	n     int
	cur   int
	parts int
	relu  kernels.Epilogue
}

func newSmallRun(n *Network, pool *kernels.Pool) *smallRun {
	s := &smallRun{net: n, pool: pool, sc: make([]kernels.Scratch, pool.Workers())}
	largest := n.input.Size()
	for _, l := range n.layers {
		largest = max(largest, l.Shape.Out())
	}
	for i := range s.act {
		s.act[i] = kernels.Alloc(maxSmall * largest)
	}
	s.f = func(worker, part int) {
		s.layer.small.Apply(&s.sc[worker], s.act[1-s.cur], s.act[s.cur], s.n, s.relu, part, s.parts)
	}
	return s
}

// logits writes the logits of n ≤ maxSmall images to dst.
func (s *smallRun) logits(ctx context.Context, dst, x []float32, n int) error {
	s.load(x, n)
	s.n, s.cur = n, 0
	for i := range s.net.layers {
		if err := ctx.Err(); err != nil {
			return err
		}
		s.layer = &s.net.layers[i]
		s.relu = kernels.None
		if s.layer.ReLU {
			s.relu = kernels.ReLU
		}
		s.parts = 1
		if s.layer.macs*int64(n) >= splitMACs {
			s.parts = s.layer.small.Parts(len(s.sc))
		}
		s.pool.Run(s.parts, s.f)
		s.cur = 1 - s.cur
	}
	copy(dst, s.act[s.cur][:n*s.net.classes])
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
