package report

import (
	"fmt"

	"github.com/epsball/epsball/internal/show"
	"github.com/epsball/epsball/train"
)

// Train is the result of train.
type Train struct {
	Envelope
	Out       string            `json:"out"`
	Hash      string            `json:"hash,omitempty"` // of the model; empty if training was interrupted
	Command   string            `json:"command"`        // the command line that trains the same model
	Arch      string            `json:"arch"`
	Method    train.Method      `json:"method"`
	Norm      string            `json:"norm"` // of the balls trained on and tested in
	Eps       float64           `json:"eps"`
	EpsExact  string            `json:"eps_exact"` // as it was written: 0.1 or 8/255
	N         int               `json:"n"`
	Epochs    []Epoch           `json:"epochs"`
	TestData  string            `json:"test_data,omitempty"`
	TestN     int               `json:"test_n"`
	TestSteps int               `json:"test_steps,omitempty"` // of PGD
	Clean     *float64          `json:"clean"`                // on the test data; null if not evaluated
	PGD       *float64          `json:"pgd"`
	Certified *float64          `json:"certified"`
	Seconds   float64           `json:"seconds"`
	BestEpoch int               `json:"best_epoch,omitempty"` // whose weights the model has, if the best are kept
	Stopped   bool              `json:"stopped_early,omitempty"`
	Alarm     *OverfittingAlarm `json:"overfitting,omitempty"` // the catastrophic overfitting that --overfitting has acted on
	Folded    []int             `json:"folded,omitempty"`      // the batch norms that --fold took in, as the architecture numbers its layers
	Written   bool              `json:"written,omitempty"`     // Out is
}

// Epoch is a train.Epoch in the spelling of this package's JSON.
type Epoch struct {
	Epoch   int     `json:"epoch"`
	Loss    float64 `json:"loss"`
	Clean   float64 `json:"clean"`
	Robust  float64 `json:"robust"`
	Eps     float64 `json:"eps"`
	Kappa   float64 `json:"kappa"`
	LR      float64 `json:"lr"`
	Seconds float64 `json:"seconds"`

	Validation  *train.Validation `json:"validation,omitempty"` // on images held back
	Overfitting *Overfitting      `json:"overfitting,omitempty"`
}

// Epochs spells a history of training.
func Epochs(history []train.Epoch) []Epoch {
	list := make([]Epoch, len(history))
	for i, e := range history {
		list[i] = Epoch{e.Epoch, e.Loss, e.CleanAccuracy, e.RobustAccuracy, e.Eps, e.Kappa, e.LR, e.Seconds, e.Validation, newOverfitting(e.Overfitting)}
	}
	return list
}

func (*Train) kind() Kind { return KindTrain }

// Text returns what was trained and what it shows on the test data.
func (r *Train) Text() string {
	if len(r.Epochs) == 0 {
		return ""
	}
	pairs := []string{
		"trained", fmt.Sprintf("%s, %s, on %s of %s", r.Arch, r.Method, show.Count(r.N, "image"), r.Data),
		"epochs", fmt.Sprintf("%d in %s", len(r.Epochs), show.Seconds(r.Seconds)),
	}
	switch text := r.OverfittingText(); {
	case text != "":
		pairs = append(pairs, "overfitting", text)
	case r.Stopped:
		pairs = append(pairs, "stopped", "epochs got no better")
	}
	if r.BestEpoch > 0 {
		v := r.Epochs[r.BestEpoch-1].Validation
		pairs = append(pairs, "kept", fmt.Sprintf("epoch %d: %s of %s held back", r.BestEpoch, ValidationText(v), show.Count(v.Images, "image")))
	}
	if r.Folded != nil {
		pairs = append(pairs, "folded", foldedText(r.Folded))
	}
	if r.Clean != nil {
		pairs = append(pairs,
			"test", fmt.Sprintf("%s of %s, %s ε = %s", show.Count(r.TestN, "image"), r.TestData, r.Norm, r.EpsExact),
			"clean", show.Percent(*r.Clean),
			pgdHeading(r.TestSteps), show.Percent(*r.PGD),
			"certified", show.Percent(*r.Certified))
	}
	if r.Written {
		pairs = append(pairs, "written", shownFile(r.Out), "hash", r.Hash)
	}
	return show.Facts(pairs...)
}

func pgdHeading(steps int) string {
	if steps == 0 {
		return "PGD"
	}
	return fmt.Sprintf("PGD-%d", steps)
}

// ValidationText lists the figures of an epoch's validation.
func ValidationText(v *train.Validation) string {
	s := fmt.Sprintf("clean %s  PGD %s  certified %s", show.Percent(v.Clean), show.Percent(v.PGD), show.Percent(v.Certified))
	if v.Noisy > 0 {
		s += "  noisy " + show.Percent(v.Noisy)
	}
	return s
}
