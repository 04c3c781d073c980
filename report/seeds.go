package report

import (
	"math"

	"github.com/epsball/epsball/internal/show"
	"github.com/epsball/epsball/train"
)

// MaxSeeds is the largest number of models of TrainSeeds.
const MaxSeeds = 31

// TrainSeeds is the result of train with several seeds: models that differ by them alone.
type TrainSeeds struct {
	Envelope
	Arch      string       `json:"arch"`
	Method    train.Method `json:"method"`
	Norm      string       `json:"norm"`
	Eps       float64      `json:"eps"`
	EpsExact  string       `json:"eps_exact"`
	TestData  string       `json:"test_data,omitempty"`
	TestN     int          `json:"test_n"`
	TestSteps int          `json:"test_steps,omitempty"` // of PGD
	Models    []SeedModel  `json:"models"`
	Clean     *Estimate    `json:"clean"` // on the test data; null if not evaluated
	PGD       *Estimate    `json:"pgd"`
	Certified *Estimate    `json:"certified"`
	Seconds   float64      `json:"seconds"`
}

// SeedModel is one of the models.
type SeedModel struct {
	Seed      uint64   `json:"seed"`
	Out       string   `json:"out"`
	Hash      string   `json:"hash"`
	Clean     *float64 `json:"clean"`
	PGD       *float64 `json:"pgd"`
	Certified *float64 `json:"certified"`
	Found     bool     `json:"found,omitempty"` // trained by an earlier run
}

// Estimate is the mean of a figure over seeds, with half the width of its 95 % confidence
// interval by Student's t distribution: null for one model.
type Estimate struct {
	Mean      float64  `json:"mean"`
	HalfWidth *float64 `json:"half_width"`
	Deviation *float64 `json:"standard_deviation"` // of the sample
}

// student are the quantiles of Student's t at 0.975, from 1 degree of freedom up.
var student = [MaxSeeds - 1]float64{
	12.70620, 4.30265, 3.18245, 2.77645, 2.57058, 2.44691, 2.36462, 2.30600, 2.26216, 2.22814,
	2.20099, 2.17881, 2.16037, 2.14479, 2.13145, 2.11991, 2.10982, 2.10092, 2.09302, 2.08596,
	2.07961, 2.07387, 2.06866, 2.06390, 2.05954, 2.05553, 2.05183, 2.04841, 2.04523, 2.04227,
}

// NewEstimate returns that of at most MaxSeeds figures, nil if there are none, or one is
// missing.
func NewEstimate(figures []*float64) *Estimate {
	if len(figures) == 0 || len(figures) > MaxSeeds {
		return nil
	}
	n, sum := float64(len(figures)), 0.0
	for _, f := range figures {
		if f == nil {
			return nil
		}
		sum += *f
	}
	e := &Estimate{Mean: sum / n}
	if len(figures) == 1 {
		return e
	}
	squares := 0.0
	for _, f := range figures {
		squares += (*f - e.Mean) * (*f - e.Mean)
	}
	deviation := math.Sqrt(squares / (n - 1))
	half := student[len(figures)-2] * deviation / math.Sqrt(n)
	e.Deviation, e.HalfWidth = &deviation, &half
	return e
}

// Estimate fills in the means over the models.
func (r *TrainSeeds) Estimate() {
	of := func(figure func(m *SeedModel) *float64) *Estimate {
		var list []*float64
		for i := range r.Models {
			list = append(list, figure(&r.Models[i]))
		}
		return NewEstimate(list)
	}
	r.Clean = of(func(m *SeedModel) *float64 { return m.Clean })
	r.PGD = of(func(m *SeedModel) *float64 { return m.PGD })
	r.Certified = of(func(m *SeedModel) *float64 { return m.Certified })
}

func (*TrainSeeds) kind() Kind { return KindTrainSeeds }

// Text returns a line for each model and the means.
func (r *TrainSeeds) Text() string {
	if len(r.Models) == 0 {
		return ""
	}
	t := show.Table("seed", "clean", pgdHeading(r.TestSteps), "certified", "written")
	for _, m := range r.Models {
		t.AppendRow([]any{m.Seed, percentOr(m.Clean), percentOr(m.PGD), percentOr(m.Certified), m.Out})
	}
	if r.Clean != nil {
		t.AppendSeparator()
		t.AppendRow([]any{"mean ± 95 %", r.Clean.text(), r.PGD.text(), r.Certified.text(), ""})
	}
	out := show.Render(t)
	if r.Clean != nil {
		out += show.Count(r.TestN, "image") + " of " + r.TestData + ", " + r.Norm + " ε = " + r.EpsExact + "; confidence intervals of the mean by Student's t\n"
	}
	return out
}

func (e *Estimate) text() string {
	if e == nil {
		return show.Missing
	}
	if e.HalfWidth == nil {
		return show.Percent(e.Mean)
	}
	return show.Percent(e.Mean) + " ± " + show.Percent(*e.HalfWidth)
}
