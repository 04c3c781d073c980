package train

import (
	"github.com/epsball/epsball/kernels"
	"github.com/epsball/epsball/model"
)

// Method names a training objective.
type Method string

// objectives lists what can be trained for; each has a file of its own. All
// else about methods follows from it: Methods, what New accepts, the command
// line's flags and checkpoints.
var objectives = []*objective{
	&standard,
	&gaussian,
	&smoothAdv,
	&fgsm,
	&nfgsm,
	&free,
	&pgd,
	&trades,
	&mart,
	&inputGradient,
	&jacobian,
	&logitPairing,
	&ibp,
	&crownIBP,
	&sabr,
	&mtlibp,
}

// objective is what a training minimises: the mean over images of a loss of
// logits. It says what logits it needs; the stepper computes them, and carries
// the gradients that loss gives back to the weights, where they add up.
type objective struct {
	name     Method
	about    string                     // one line for a reader of the method's name
	defaults func(c *Config)            // writes what differs from the defaults of standard
	settings []*Setting                 // the numbers of Config, not of every method, that it uses
	accepts  func(m *model.Model) error // refuses models it cannot train; nil: takes all
	needs    needs
	loss     func(c *Config, e *example)
}

// needs says what of each image the loss is given.
type needs struct {
	clean  trace                          // of the image itself
	points trace                          // of its adversarial point
	attack *inner                         // how points are found; nil: none are
	boxes  boxes                          // what interval bounds are computed over; nil: none are
	boxed  func(c *Config, at point) bool // at which steps they are; nil: at all

	// linear is the share that linear bounds over the same boxes have in worst, the rest
	// being that of interval bounds; nil: none.
	linear func(c *Config, at point) float64
}

// trace says how far the passes over a batch go.
type trace int

const (
	untraced trace = iota
	logits         // forward alone
	gradient       // forward, and backward to the weights
)

// inner is the attack whose points are trained on: projected steps along the sign of a
// loss's gradient, in the ball of the training radius. Fields that are nil stand for what
// pgd does.
type inner struct {
	// start draws a pixel of the first point; x is the image's, and the box where points
	// must stay is [lo, hi].
	start func(c *Config, at point, s *kernels.Stream, x, lo, hi float32) float32
	// noise is the radius of the L2 ball that the first point is drawn from if points lie
	// in L2 balls, as a multiple of the training radius; nil: start draws it then too.
	noise   func(c *Config) float64
	carried bool // points start from the perturbation that the step before has left: no start

	// ascend writes the gradient to the point's logits z of the loss that the
	// attack ascends; clean are the image's, nil if it is untraced.
	ascend       func(dz, z, clean []float32, y int)
	crossEntropy bool // that loss is the label's cross-entropy
	// copies is the number of copies of each point that the network sees, each with noise of
	// its own, which blur draws for a pixel and which stays the same throughout a step; nil:
	// one, without. ascend and the loss are given the logits of all copies, one after the other.
	// It does not go with noise, carried or draw.
	copies func(c *Config) int
	blur   func(c *Config, s *kernels.Stream) float32
	// draw, if not nil, draws a vector v of one element a class for each image. The attack
	// then ascends v·z, and the loss is given v.
	draw func(v []float32, s *kernels.Stream)

	radius    func(c *Config, at point) float64 // of the ball; nil: the schedule's
	unclipped bool                              // points stay in the pixel range, but may leave the ball
	steps     func(c *Config) int               // nil: PGDSteps
	length    func(c *Config, at point) float64 // of a step; nil: PGDStepSize of TrainEps

	// move takes the points of the first groups of p one step along grad; nil: by the
	// norm, projected to the ball.
	move func(s *stepper, p *part, grad []float32, groups int)

	// probe: the points are the far ends of finite differences, not attacks. They do not
	// depend on the training radius, and whether they are classified right says nothing.
	probe bool
}

// boxes writes the ends of the boxes that interval bounds are computed over, for
// the images x and their adversarial points (nil without an attack), all of one
// length and layout.
type boxes func(c *Config, lo, hi, x, points []float32, at point)

// example is what a loss is given of one image, and what it gives. Slices have
// one element a class; those the objective does not need are nil, and so are
// worst and dWorst at steps without boxes.
type example struct {
	y     int
	at    point
	scale float32 // of gradients: the image's share of the mean over the batch

	clean, points []float32 // logits; points of all copies, one after the other
	worst         []float32 // worst-case logits over the box, less the label's
	drawn         []float32 // what the attack has drawn for the image

	// To be written: scale times the gradient of the loss to the logits of
	// traces with gradient, and to worst.
	dClean, dPoints, dWorst []float32

	spare []float32 // room for the loss's own use

	// To be written: the loss, not scaled; whether the image is classified
	// right, and whether also under the attack or by all bounds (false if the
	// objective has neither).
	loss                    float32
	cleanRight, robustRight bool
}

// objectiveOf returns m's objective, nil if there is none of that name.
func objectiveOf(m Method) *objective {
	for _, o := range objectives {
		if o.name == m {
			return o
		}
	}
	return nil
}

// radius reports whether the objective trains at a radius.
func (o *objective) radius() bool {
	attack := o.needs.attack
	return attack != nil && !attack.probe || o.needs.boxes != nil
}

// uses reports whether the objective has a use for a setting.
func (o *objective) uses(s *Setting) bool {
	for _, own := range o.settings {
		if own == s {
			return true
		}
	}
	return false
}

// boxesAt reports whether a step has interval bounds.
func (o *objective) boxesAt(c *Config, at point) bool {
	return o.needs.boxes != nil && (o.needs.boxed == nil || o.needs.boxed(c, at) || o.regularity(c, at) > 0)
}

// linearAt returns the share of linear bounds at a step.
func (o *objective) linearAt(c *Config, at point) float64 {
	if o.needs.linear == nil || !o.boxesAt(c, at) {
		return 0
	}
	return o.needs.linear(c, at)
}

// example returns room for what a loss of so many classes, and copies of points, is given.
func (n *needs) example(classes, copies int) (e example) {
	room := func(need bool, size int) []float32 {
		if !need {
			return nil
		}
		return make([]float32, size)
	}
	e.clean, e.dClean = room(n.clean != untraced, classes), room(n.clean == gradient, classes)
	e.points, e.dPoints = room(n.points != untraced, classes*copies), room(n.points == gradient, classes*copies)
	e.spare = room(true, classes)
	return e
}

// scaleBy multiplies a gradient by a weight.
func scaleBy(d []float32, a float32) {
	for i := range d {
		d[i] *= a
	}
}
