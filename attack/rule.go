package attack

import (
	"github.com/epsball/epsball/kernels"
	"github.com/epsball/epsball/net"
)

// Method is an attack with its settings: PGD, DDN, Auto and others, or one of your own. It is a
// value that does not change; everything that changes is in the rules that it makes.
type Method interface {
	// Name is that of the registry, String the whole textual form, which Parse reads:
	// "pgd:steps=40,restarts=5".
	Name() string
	String() string

	// Validate names the first setting that makes no sense in the ball or for a
	// classifier of so many classes.
	Validate(b net.Ball, classes int) error

	Plan() Plan

	// NewRule returns the method at work on the slots of one worker. Its memory is made
	// here: Start, Judge and Move allocate nothing.
	NewRule(s *Space) Rule
}

// Plan is what a worker must know about a method.
type Plan struct {
	Goal     Goal
	Restarts int // runs an image gets, at least 1
	Seed     uint64

	// RandomStart begins each run where Rule.Start says. Else runs begin at the image,
	// and the first goes on from the logits that the image has anyway.
	RandomStart bool

	// Targeted runs climb towards a class instead of away from the label: the class that
	// the batch names or, in run r, the r-th most likely wrong class of the image.
	Targeted bool

	// Targets bounds the classes of targeted runs, if the batch names none: the most likely
	// ones get Restarts runs each. 0: Restarts counts the runs to all.
	Targets int

	// FixedLengths is set by a method that has settings that are lengths in pixel units.
	// A search of radii refuses it.
	FixedLengths bool

	// NoGradient promises that no verdict is Ascend. The method then attacks targets
	// that have no gradients, too.
	NoGradient bool

	// Roams says that points may lie outside the ball, in the pixel box. They do not
	// count there: not as fooling, nor as best. With goal SmallestDistance all rules may.
	Roams bool

	// Anywhere says that the ball has no meaning for the method: all points of the pixel
	// box count.
	Anywhere bool

	// EOT is the number of draws that a step averages if the target draws random numbers
	// (see Config.EOT, of which the larger one counts).
	EOT int
}

// roams reports whether points may lie outside the ball.
func (p *Plan) roams() bool { return p.Roams || p.Anywhere || p.Goal == SmallestDistance }

// Goal says which of the points an attack visits is the best one.
type Goal int

const (
	// LowestMargin prefers the point with the lowest margin of the label, and a
	// misclassified one to all others: the first one ends the attack on its image. If the
	// target draws random numbers and the batch names no targets, runs go on to their end.
	LowestMargin Goal = iota

	// SmallestDistance prefers the misclassified point nearest to the image, in the norm
	// of the ball. Points outside the ball do not count, so a rule may leave it. All runs
	// are run to their end.
	SmallestDistance
)

// Rule is a method at work on the slots of one worker, and belongs to the worker's
// goroutine. A round of the worker is a forward pass, Judge for each image in turn, a
// backward pass if any image asks for it, and one Move for all.
type Rule interface {
	// Start moves x, which holds the image, channels first, to where the run begins. The
	// worker then brings it into ball and pixel box, or into the pixel box alone if the
	// rule may leave the ball. It is called if Plan.RandomStart.
	Start(s *Slot, x []float32)

	// Judge is told the logits z of the point in the slot and says what comes next. For
	// Ascend it writes the gradient of what it climbs to dz. s.Step is 0 in the first call
	// of a run.
	Judge(s *Slot, z, dz []float32) Verdict

	// Move moves the points Space.X of those slots that have s.Moves; with
	// goal LowestMargin, to points in ball and pixel box. grad holds the gradients to the
	// pixels, zero where none was asked for; nil if nowhere. It may be changed.
	Move(slots []Slot, grad []float32)
}

// Multi is a Rule that wants several gradients at one point.
type Multi interface {
	Rule

	// Next is called after each backward pass of a round, before Move, with the
	// gradients to the pixels, which it may change. It reports whether another backward
	// pass at the same points is to follow; if so it has called seed, with the gradient to
	// the logits, for the slots that want one. Other slots get a gradient of zero.
	Next(slots []Slot, grad []float32, seed func(s *Slot, dz []float32)) bool
}

// Ranker is a Rule that says itself which point is the nearest, with goal
// SmallestDistance.
type Ranker interface {
	Rule

	// Rank takes the place of Slot.Distance where misclassified points in the ball are
	// compared: the lowest rank wins.
	Rank(s *Slot) float64
}

// Verdict is the answer of a Rule's Judge.
type Verdict int

const (
	RunOver Verdict = iota // go to the next run, if any
	Ascend                 // move, with a gradient
	Move                   // move, without
)

// Slot is the place of one image in a worker, and the image in it. Rules read it.
type Slot struct {
	Place  int    // in the tensors of Space: changes as images are moved together
	Seat   int    // numbers the slots too, but stays with the image: for a rule's own state
	Image  uint64 // index that picks the random numbers: Batch.First and its place in the batch, or Batch.Index
	Run    int    // 0 …
	Step   int    // moves made in this run
	Y      int
	Target int // of the run; net.Untargeted
	Moves  bool
	Climbs bool // its move asked for a gradient

	// Stream holds the random numbers of the run; they depend on Seed, Image and Run
	// alone.
	Stream kernels.Stream
	Seed   uint64

	// Draw numbers the draws of a randomised target at this point, of which Judge sees
	// the mean (Config.EOT).
	Draw int

	// The point at hand.
	Predicted int // −1: the logits hold NaN
	Margin    float32
	Fools     bool    // it is classified as the attack wants, wherever it lies
	Distance  float64 // from the image, in the norm of the ball; only with Plan.Roams or SmallestDistance

	// Nearest is the smallest Distance of points of all runs that fool, in the ball or
	// not; +Inf: none.
	Nearest float64

	image    int  // in the batch; −1: empty
	steps    int  // moves made in all runs
	judged   bool // the image itself has been evaluated
	clean    bool // the image itself is classified correctly
	counts   bool // the point at hand fools, and lies where it counts
	next     action
	best     float32 // margin of the best point so far
	label    int     // predicted there
	distance float64 // or rank of the best point, for SmallestDistance; +Inf: none
	order    []int   // wrong classes, most likely first (targeted without targets)
}
