package net

import "github.com/epsball/epsball/kernels"

// Passes are a network's passes over blocks of images, in one layout: a Workspace. They
// belong to one goroutine.
type Passes interface {
	Layout() Layout
	Scratch() *kernels.Scratch

	// Forward computes the logits of blocks blocks of pixels in the layout; Logits
	// returns them again.
	Forward(x []float32, blocks int) []float32
	Logits() []float32

	// LogitGradient is where the gradient to the logits goes, for Backward to carry it
	// to the pixels of the last Forward. The caller may change what Backward returns.
	LogitGradient() []float32
	Backward(blocks int) []float32
}

// Passes returns the passes of one worker on batches of the given number of images.
// For few images (see Few) they hold MaxSmall of them and run on all workers of pool;
// else they hold ISA().TileGroups() lane groups and run on the caller's goroutine alone.
func (n *Network) Passes(images int, pool *kernels.Pool) Passes {
	if n.Few(images) {
		return n.NewSmallWorkspace(MaxSmall, pool)
	}
	return n.NewWorkspace(n.isa.TileGroups()*kernels.Lanes, false)
}
