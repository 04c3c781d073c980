package train

import (
	"slices"

	"github.com/epsball/epsball/model"
	"github.com/epsball/epsball/net"
)

// Config says how to train. Start from DefaultConfig; the zero value is not valid.
//
// Epochs count from 0, fractions included. The training radius is 0 for WarmupEpochs,
// then rises over RampEpochs to TrainEps. κ goes from KappaStart to KappaFinal while it
// rises. The learning rate follows Schedule: by default it is LR until the radius is
// TrainEps, and then falls smoothly to LRFinal at the end.
//
// Choices are by name; CommonSettings and Method.Settings list the names, and an empty
// string is the first of them. Unset numbers of the second half are off, or have the
// defaults they state.
type Config struct {
	Method    Method  `json:"method"`
	Epochs    int     `json:"epochs"`    // passes over the data, ≥ 1
	BatchSize int     `json:"batchSize"` // images a step; a last partial batch is left out
	LR        float64 `json:"lr"`        // learning rate, > 0
	LRFinal   float64 `json:"lrFinal"`   // 0 … LR (schedules smooth, cosine and one-cycle)
	Seed      uint64  `json:"seed"`      // of the order of images and all that is random

	// The radius trained at in Norm, pixels being in [0, 1] (methods with Method.Radius). It
	// may exceed the radius the model is meant for.
	TrainEps     net.Epsilon `json:"-"`
	WarmupEpochs float64     `json:"warmupEpochs"` // at radius 0
	RampEpochs   float64     `json:"rampEpochs"`   // from 0 to TrainEps
	RampShape    string      `json:"rampShape,omitempty"`

	PGDSteps    int     `json:"pgdSteps,omitempty"`    // ≥ 1 (smoothadv, pgd, trades, mart, logit-pairing, sabr, mtl-ibp)
	PGDStepSize float64 `json:"pgdStepSize,omitempty"` // α as a fraction of TrainEps, or of the attack's radius at the step (smoothadv, sabr, mtl-ibp)

	// The weight of the clean loss until the radius rises and at the end, 0 … 1 (ibp, crown-ibp, sabr).
	KappaStart float64 `json:"kappaStart,omitempty"`
	KappaFinal float64 `json:"kappaFinal"`

	Sigma float64 `json:"sigma,omitempty"` // standard deviation of the noise trained on, in pixel units, above 0, at most 4 (gaussian, smoothadv)
	Draws int     `json:"draws,omitempty"` // of that noise for each image and step, 1 … 64 (smoothadv)

	Norm        string  `json:"norm,omitempty"`        // of the balls trained on: linf, or l2 (methods with an attack and no bounds)
	Noise       float64 `json:"noise,omitempty"`       // radius of random starts as a multiple of the radius, 0 … 10 (fgsm, n-fgsm)
	Replays     int     `json:"replays,omitempty"`     // steps on each batch, ≥ 1; Epochs counts them all (free)
	Overfitting string  `json:"overfitting,omitempty"` // what catastrophic overfitting leads to: warn, stop, fallback or off (attacks of one step)

	Subbox      float64 `json:"subbox,omitempty"`      // λ: radius of the small boxes as a fraction of the radius, above 0, at most 1 (sabr)
	Alpha       float64 `json:"alpha,omitempty"`       // weight of the loss on interval bounds, 0 … 1 (mtl-ibp)
	AttackScale float64 `json:"attackScale,omitempty"` // radius of the attack in multiples of the radius (mtl-ibp)

	// Weight of the regulariser, 0 … 1000 (trades, mart, input-gradient, jacobian,
	// logit-pairing).
	Beta float64 `json:"beta,omitempty"`

	// L2 length of the finite differences that regularisers are taken by, in pixel units,
	// 0.001 … 10 (input-gradient, jacobian).
	Probe float64 `json:"probe,omitempty"`

	// Adversarial weight perturbation: its length in every layer as a fraction of that of
	// the layer's weights, 0 … 1, and the epochs before it sets in (fgsm, n-fgsm, pgd, trades,
	// mart).
	AWP       float64 `json:"awp,omitempty"`
	AWPWarmup float64 `json:"awpWarmup,omitempty"`

	// Share of the target that is spread evenly over all classes in the cross-entropy
	// trained on, not in that of attacks, 0 … 1 (standard, gaussian, smoothadv, fgsm, n-fgsm, free, pgd, trades).
	LabelSmoothing float64 `json:"labelSmoothing,omitempty"`

	BetaFinal float64 `json:"betaFinal,omitempty"` // share of linear bounds in the loss on bounds at the end, 0 … 1 (crown-ibp)

	// Weight λ₀ of the regularisers of Shi et al. 2021 at radius 0, 0 … 1000 (methods with
	// interval bounds). It falls linearly to 0 as the radius rises to TrainEps.
	Tightness float64 `json:"tightness,omitempty"`

	// Winograd runs the 3×3 convolutions of passes and attacks by Winograd's
	// algorithm (net.Options): faster, other roundings, hence other weights. Not for
	// methods on bounds, which have no proof for it.
	Winograd bool `json:"winograd,omitempty"`

	// The distribution of first weights (model.Init), for whoever draws them: New takes a
	// model that has weights.
	Init string `json:"init,omitempty"`

	// The optimiser. Decay and L1 act on the weights of convolutions and fully connected
	// layers, not on biases and batch norms. Losses are told without them.
	Optimizer   string  `json:"optimizer,omitempty"`
	Momentum    float64 `json:"momentum,omitempty"`    // of sgd, 0 … 0.9999
	Nesterov    bool    `json:"nesterov,omitempty"`    // of sgd with momentum
	WeightDecay float64 `json:"weightDecay,omitempty"` // λ of λ/2·Σw² (adam, sgd), or decoupled (adamw), 0 … 1
	L1          float64 `json:"l1,omitempty"`          // λ of λ·Σ|w|, 0 … 1
	Clip        float64 `json:"clip,omitempty"`        // largest norm of a step's gradient

	// The mean of the weights that is the model at the end, instead of the last ones: with
	// exponential decay (ema), or of the epochs' ends (swa).
	Average      string  `json:"average,omitempty"`
	AverageDecay float64 `json:"averageDecay,omitempty"` // of ema; 0: 0.999
	AverageStart float64 `json:"averageStart,omitempty"` // fraction of the epochs before it begins; 0: ema 0, swa 0.75

	// The course of the learning rate: smooth; constant; step, which multiplies it by
	// LRDecay at each of Milestones; cosine, which falls like smooth by half a cosine; or
	// one-cycle, which rises from 0 to LR and falls to LRFinal in straight lines (Wong et
	// al. 2020).
	Schedule   string    `json:"schedule,omitempty"`
	Milestones []float64 `json:"milestones,omitempty"` // fractions of the epochs, ascending; nil: 0.7, 0.85
	LRDecay    float64   `json:"lrDecay,omitempty"`    // 0: 0.2
	CyclePeak  float64   `json:"cyclePeak,omitempty"`  // where LR is reached, as a fraction of the epochs; 0: 0.4

	// Augmentation, anew for each image and epoch.
	Shift int  `json:"shift,omitempty"` // by up to so many pixels each way, filled with 0
	Flip  bool `json:"flip,omitempty"`  // left to right, half of the images

	// Validation holds back a fraction of the images, drawn by the seed. None is trained
	// on. The model is looked at on at most 1,000 of them after each epoch, in the ball
	// of ValidationEps (0: TrainEps).
	Validation    float64     `json:"validation,omitempty"`
	ValidationEps net.Epsilon `json:"-"`
	Keep          string      `json:"keep,omitempty"`     // the epoch whose weights are the model: last, or best by validation
	Patience      int         `json:"patience,omitempty"` // stop after so many epochs at TrainEps without a better one; 0: never

	Host `json:"-"`
}

// FirstWeights is the distribution that Init names.
func (c *Config) FirstWeights() model.Init { return model.Init(initial.choice(c)) }

// Host says how a run is carried out. It does not influence the weights.
type Host struct {
	Threads    int            // workers; 0: GOMAXPROCS
	ISA        string         // kernel set, see net.Options
	Checkpoint string         // file written after each epoch; empty: none
	Progress   func(Progress) // called after each step by Run's goroutine; may be nil
	Alarm      func(Epoch)    // called when an epoch ends in catastrophic overfitting, before anything is done about it; may be nil
	EpochDone  func(Epoch)    // called after each epoch, once its checkpoint is written; may be nil
}

// Progress says how far training has got.
type Progress struct {
	Step, Steps int   // done, of all epochs together
	Now         Epoch // the epoch under way, so far
}

// Epoch sums up one epoch. Losses and accuracies are means over the training
// images as they were seen, each by the weights of its step.
type Epoch struct {
	Epoch          int     `json:"epoch"`          // from 1
	Loss           float64 `json:"loss"`           // the objective
	CleanAccuracy  float64 `json:"cleanAccuracy"`  // fraction of images classified right
	RobustAccuracy float64 `json:"robustAccuracy"` // … also under the attack, or with all interval margins positive (ibp); 0 without either
	Eps            float64 `json:"eps"`            // training radius at the last step
	Kappa          float64 `json:"kappa"`          // at the last step
	LR             float64 `json:"lr"`             // at the last step
	Seconds        float64 `json:"seconds"`        // wall-clock time of its steps

	Validation  *Validation  `json:"validation,omitempty"`  // after the epoch; nil without
	Overfitting *Overfitting `json:"overfitting,omitempty"` // nil if it was not looked for
}

// DefaultConfig returns a configuration for MNIST at ε = 0.1. For standard, pgd and ibp
// it is that of the built-in models. For an unknown method it returns one that New
// refuses.
func DefaultConfig(m Method) Config {
	c := Config{Method: m, Epochs: 10, BatchSize: 128, LR: 1e-3, LRFinal: 1e-5, Seed: 1}
	if o := objectiveOf(m); o != nil {
		if o.uses(&kappaFinal) {
			c.KappaStart = 1
		}
		o.defaults(&c)
	}
	return c
}

const (
	maxEpochs  = 1 << 20
	maxBatch   = 1 << 16
	maxThreads = 1 << 12
)

func (c *Config) validate() error {
	o := objectiveOf(c.Method)
	if o == nil {
		return fieldErr("method", "\""+string(c.Method)+"\"", "one of %v", Methods())
	}
	if err := inRange("epochs", float64(c.Epochs), 1, maxEpochs); err != nil {
		return err
	}
	if err := inRange("batchSize", float64(c.BatchSize), 1, maxBatch); err != nil {
		return err
	}
	if !(c.LR > 0 && c.LR <= 1) {
		return fieldErr("lr", c.LR, "above 0, at most 1")
	}
	if err := inRange("lrFinal", c.LRFinal, 0, c.LR); err != nil {
		return err
	}
	if c.Winograd && o.needs.boxes != nil {
		return fieldErr("winograd", true, "false: bounds do not cover its rounding")
	}
	if err := inRange("threads", float64(c.Threads), 0, maxThreads); err != nil {
		return err
	}
	if o.radius() {
		if err := (net.Ball{Norm: c.NormTrained(), Eps: c.TrainEps}).Validate(); err != nil {
			return &Error{Field: "trainEps", Got: c.TrainEps.String(), Want: "0 … 1", Err: err}
		}
	}
	for _, s := range slices.Concat(c.Method.Settings(), CommonSettings()) {
		if err := s.check(c); err != nil {
			return err
		}
	}
	return c.validateCommon()
}

// validateCommon looks at what settings mean to each other.
func (c *Config) validateCommon() error {
	if c.Nesterov && c.Momentum == 0 {
		return fieldErr("nesterov", true, "a momentum with it")
	}
	if !slices.IsSorted(c.Milestones) {
		return fieldErr("milestones", milestones.Text(c), "them in ascending order")
	}
	if err := (net.Ball{Norm: c.NormTrained(), Eps: c.ValidationEps}).Validate(); err != nil {
		return &Error{Field: "validationEps", Got: c.ValidationEps.String(), Want: "0 … 1", Err: err}
	}
	if c.Validation > 0 {
		return nil
	}
	if keep.choice(c) != "last" {
		return fieldErr("keep", keep.choice(c), "validation with it")
	}
	if c.Patience > 0 {
		return fieldErr("patience", c.Patience, "validation with it")
	}
	return nil
}
