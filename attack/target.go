package attack

import (
	"github.com/epsball/epsball/kernels"
	"github.com/epsball/epsball/model"
	"github.com/epsball/epsball/net"
)

// Passes are what an attack sees of a target at work.
type Passes = net.Passes

// Target is what can be attacked: *net.Network, or a type that embeds one and adds
// something before or after it in the passes that it makes. Its logits are those of the
// classifier as deployed. Its gradients are whatever leads an attack uphill; for a step
// without a derivative that may be the identity (BPDA: Athalye et al. 2018).
type Target interface {
	Input() model.Shape // of one image, channels first
	Classes() int
	ISA() *kernels.ISA // for the attack's own arithmetic
	HasBackward() bool // whether its passes have gradients

	// Few reports whether a batch is run image by image, on passes of layout
	// net.Singles with net.MaxSmall slots. Else its passes have net.LaneGroups and
	// ISA().TileGroups() lane groups of slots.
	Few(images int) bool
	Passes(images int, pool *kernels.Pool) Passes

	CheckImages(x []float32, n int) error
	CheckLabels(y []int, n int) error
}

// Randomised is implemented by passes that draw random numbers. Seat is called before
// each Forward with the slots of its blocks. Image, Run, Step and Seed of a slot select
// its numbers, so that they do not depend on the other images.
type Randomised interface {
	Seat(slots []Slot)
}

// NewPasses returns the passes on which one worker of an Attacker runs a batch of
// images.
func NewPasses(t Target, images int, pool *kernels.Pool) Passes { return t.Passes(images, pool) }
