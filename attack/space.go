package attack

import (
	"math"

	"github.com/epsball/epsball/kernels"
	"github.com/epsball/epsball/model"
	"github.com/epsball/epsball/net"
)

// Space is what a worker lends its rule: the ball, and tensors with all slots in the
// layout of the passes. Slot s is read by Layout.Slot, or as element s.Place%Layout of
// its block.
type Space struct {
	Ball    net.Ball // of the batch at hand: a search of radii changes it
	Layout  net.Layout
	ISA     *kernels.ISA
	Slots   int
	Input   model.Shape // of an image; in the tensors, its channels come last
	Size    int         // elements of an image
	Classes int

	X      []float32 // the points
	Lo, Hi []float32 // smallest and largest pixels: ball and [0, 1] for Linf; else a box around the ball
	Centre []float32 // the images

	eps     float64      // rounded down, for norms but Linf
	sparse  *sparse      // for L1 and L0
	tensors []*[]float32 // that follow an image to another place
}

func newSpace(t Target, p Passes, b net.Ball) *Space {
	s := &Space{Layout: p.Layout(), ISA: t.ISA(), Input: t.Input(), Size: t.Input().Size(), Classes: t.Classes()}
	s.aim(b)
	if b.Norm == net.L1 || b.Norm == net.L0 {
		s.sparse = newSparse(s.Size)
	}
	return s
}

func (s *Space) aim(b net.Ball) {
	s.Ball = b
	s.eps, _ = b.Eps.Bounds()
}

// fill makes the tensors for so many slots.
func (s *Space) fill(slots int) {
	s.Slots = slots
	for _, t := range []*[]float32{&s.X, &s.Lo, &s.Hi, &s.Centre} {
		s.add(t)
	}
}

// Tensor returns a tensor for a rule's own use. The contents of an image's slot follow
// the image when it moves to another slot.
func (s *Space) Tensor() []float32 {
	t := new([]float32)
	s.add(t)
	return *t
}

func (s *Space) add(t *[]float32) {
	*t = kernels.Alloc(s.Layout.Len(s.Layout.Blocks(s.Slots), s.Size))
	s.tensors = append(s.tensors, t)
}

// move copies what is in one slot to another.
func (s *Space) move(to, from int) {
	for _, t := range s.tensors {
		s.Layout.Move(*t, s.Size, to, from)
	}
}

// Block returns block b of a tensor.
func (s *Space) Block(t []float32, b int) []float32 { return s.Layout.Block(t, s.Size, b) }

// each64 holds a number for each image of a block.
type each64 = [net.LaneGroups]float64

// Climb moves each point by alpha along its gradient and into the ball and the pixel
// box: for Linf, each pixel by alpha along the sign; for L2, the image by a vector of length
// alpha; for L1, one in a hundred values, those with the largest gradients, by equal
// lengths with the sum alpha. There are no steps in L0. Points whose gradient is zero or
// not finite stay. It may change grad.
func (s *Space) Climb(grad []float32, alpha float32, blocks int) {
	s.climb(s.X, grad, s.Lo, s.Hi, s.Centre, alpha, blocks)
}

func (s *Space) climb(x, grad, lo, hi, centre []float32, alpha float32, blocks int) {
	if s.Ball.Norm == net.Linf {
		n := s.Layout.Len(blocks, s.Size)
		s.ISA.PGDStep(x[:n], grad[:n], lo[:n], hi[:n], alpha)
		return
	}
	if s.Ball.Norm == net.L1 {
		s.climbL1(x, grad, lo, hi, centre, float64(alpha), slideShare, blocks)
		return
	}
	var each each64
	for l := range each {
		each[l] = float64(alpha)
	}
	for b := range blocks {
		xb := s.Block(x, b)
		s.stepL2(xb, s.Block(grad, b), &each)
		s.projectL2(xb, s.Block(lo, b), s.Block(hi, b), s.Block(centre, b))
	}
}

// Project brings a block of finite points into ball and pixel box; lo, hi and centre
// are the same block of Lo, Hi and Centre. Points that lie there stay, but for some that
// are as good as on the rim of an L2 or L1 ball. What it finds is the nearest point for
// Linf, L1 and, in the box, L0.
func (s *Space) Project(x, lo, hi, centre []float32) {
	switch s.Ball.Norm {
	case net.L2:
		s.projectL2(x, lo, hi, centre)
	case net.L1:
		s.projectL1(x, lo, hi, centre)
	case net.L0:
		s.projectL0(x, lo, hi, centre)
	default:
		for k, v := range x {
			x[k] = min(max(v, lo[k]), hi[k])
		}
	}
}

// RandomPoint moves x, channels first, to a random point of the ball, up to rounding
// and the pixel box: uniform for Linf and L1; for L2 a random direction and a radius
// ε·u^(1/d); for L0 random values in ⌊ε⌋ places. The L2 direction is a vector of sums of
// four uniform numbers, close to normal.
func (s *Space) RandomPoint(x []float32, r *kernels.Stream) { randomPoint(x, r, s.Ball) }

func randomPoint(x []float32, s *kernels.Stream, b net.Ball) {
	eps := b.Eps.Float64()
	switch b.Norm {
	case net.Linf:
		e := float32(eps)
		for k := range x {
			x[k] += float32(e * (2*s.Float32() - 1))
		}
		return
	case net.L1:
		randomL1(x, s, eps)
		return
	case net.L0:
		lo, _ := b.Eps.Bounds()
		randomL0(x, s, lo)
		return
	}
	// 1 − u is never zero; u^(1/d) = exp(log(u)/d).
	radius := eps * float64(kernels.Exp(kernels.Log(1-s.Float32())/float32(len(x))))
	norm2 := 0.0
	first := *s
	for range x {
		d := float64(direction(s))
		norm2 += float64(d * d)
	}
	if norm2 == 0 {
		return
	}
	scale := radius / math.Sqrt(norm2)
	*s = first
	for k := range x {
		x[k] += float32(scale * float64(direction(s)))
	}
}

func direction(s *kernels.Stream) float32 {
	return s.Float32() + s.Float32() + s.Float32() + s.Float32() - 2
}
