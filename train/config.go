package train

import (
	"math"

	"github.com/epsball/epsball/net"
)

// Config says how to train. Start from DefaultConfig; the zero value is not valid.
//
// Epochs count from 0, fractions included. The learning rate is LR until WarmupEpochs +
// RampEpochs and then falls smoothly to LRFinal at the end. The training radius is 0
// for WarmupEpochs, then rises linearly over RampEpochs to TrainEps. κ falls from 1 to
// KappaFinal while it rises.
type Config struct {
	Method    Method  `json:"method"`
	Epochs    int     `json:"epochs"`    // passes over the data, ≥ 1
	BatchSize int     `json:"batchSize"` // images a step; a last partial batch is left out
	LR        float64 `json:"lr"`        // of Adam, > 0
	LRFinal   float64 `json:"lrFinal"`   // 0 … LR
	Seed      uint64  `json:"seed"`      // of the order of images and of random starts

	// The radius trained at in Norm, pixels being in [0, 1] (all but standard). It
	// may exceed the radius the model is meant for.
	TrainEps     net.Epsilon `json:"-"`
	WarmupEpochs float64     `json:"warmupEpochs"` // at radius 0
	RampEpochs   float64     `json:"rampEpochs"`   // from 0 to TrainEps

	PGDSteps    int     `json:"pgdSteps,omitempty"`    // ≥ 1 (pgd, trades)
	PGDStepSize float64 `json:"pgdStepSize,omitempty"` // α as a fraction of TrainEps (pgd, trades)

	KappaFinal float64 `json:"kappaFinal"` // weight of the clean loss at the end, 0 … 1 (ibp)

	Norm        string  `json:"norm,omitempty"`        // of the balls trained on: linf (also ""), or l2 (all with an attack and no bounds)
	Noise       float64 `json:"noise,omitempty"`       // radius of random starts as a multiple of the radius, 0 … 10 (fgsm, n-fgsm)
	Replays     int     `json:"replays,omitempty"`     // steps on each batch, ≥ 1; Epochs counts them all (free)
	Overfitting string  `json:"overfitting,omitempty"` // what catastrophic overfitting leads to: warn (also ""), stop, fallback or off (attacks of one step)

	Beta float64 `json:"beta,omitempty"` // weight of the loss on adversarial examples, 0 … 1000 (trades)

	// Winograd runs the 3×3 convolutions of passes and attacks by Winograd's
	// algorithm (net.Options): faster, other roundings, hence other weights. Not for
	// ibp, whose bounds it has no proof for.
	Winograd bool `json:"winograd,omitempty"`

	Host `json:"-"`
}

// Host says how a run is carried out. It does not influence the weights.
type Host struct {
	Threads    int            // workers; 0: GOMAXPROCS
	ISA        string         // kernel set, see net.Options
	Checkpoint string         // file written after each epoch; empty: none
	Progress   func(Progress) // called after each step by Run's goroutine; may be nil
	Alarm      func(Epoch)    // called when an epoch ends in catastrophic overfitting, before anything is done about it; may be nil
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
	RobustAccuracy float64 `json:"robustAccuracy"` // … also under the attack (pgd, trades), or with all interval margins positive (ibp); 0 for standard
	Eps            float64 `json:"eps"`            // training radius at the last step
	Kappa          float64 `json:"kappa"`          // at the last step
	LR             float64 `json:"lr"`             // at the last step
	Seconds        float64 `json:"seconds"`        // wall-clock time

	Overfitting *Overfitting `json:"overfitting,omitempty"` // nil if nobody looked
}

// DefaultConfig returns a configuration for MNIST at ε = 0.1. For standard, pgd and ibp
// it is that of the built-in models. For an unknown method it returns one that New
// refuses.
func DefaultConfig(m Method) Config {
	c := Config{Method: m, Epochs: 10, BatchSize: 128, LR: 1e-3, LRFinal: 1e-5, Seed: 1}
	if o := objectiveOf(m); o != nil {
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
	for _, s := range c.Method.Settings() {
		if err := s.check(c); err != nil {
			return err
		}
	}
	return nil
}

// point is where the schedules stand at one step.
type point struct{ lr, eps, kappa float64 }

// at returns the schedules' values for step number step (from 0) of perEpoch
// steps an epoch. Every operation rounds once, so all machines agree.
func (c *Config) at(step, perEpoch int) point {
	epoch := float64(step) / float64(perEpoch)
	p := point{lr: c.LR, kappa: 1}
	hold := 0.0
	if o := objectiveOf(c.Method); o.radius() {
		hold = c.WarmupEpochs + c.RampEpochs
		ramp := 0.0
		switch {
		case epoch >= hold:
			ramp = 1
		case epoch > c.WarmupEpochs:
			ramp = (epoch - c.WarmupEpochs) / c.RampEpochs
		}
		p.eps = float64(ramp * c.TrainEps.Float64())
		if o.uses(&kappaFinal) {
			p.kappa = 1 - float64(ramp*float64(1-c.KappaFinal))
		}
	}
	if rest := float64(c.Epochs) - hold; epoch > hold && rest > 0 {
		t := math.Min(1, (epoch-hold)/rest)
		// 1 − 3t² + 2t³ is within 0.01 of half a cosine, without a library's
		// last bits.
		fall := float64(float64(t*t) * (3 - float64(2*t)))
		p.lr = c.LR - float64(fall*float64(c.LR-c.LRFinal))
	}
	return p
}
