package report

import (
	"fmt"
	"math"
	"slices"

	"github.com/epsball/epsball/internal/show"
	"github.com/epsball/epsball/net"
	"github.com/epsball/epsball/smooth"
)

// Smooth is the result of smooth.
type Smooth struct {
	Envelope
	SmoothRun
}

// SmoothRun is what is known of a smoothed classifier but for an error of known probability.
// Proofs are in CertifyRun, under other keys.
type SmoothRun struct {
	Model       string  `json:"model"`
	Offset      int     `json:"offset"`
	Mode        string  `json:"mode"` // certify, decide or predict
	Norm        string  `json:"norm"` // of radii: l2
	Sigma       float64 `json:"sigma"`
	SigmaExact  string  `json:"sigma_exact"`
	Alpha       float64 `json:"alpha"`       // probability that what is said of one image is wrong
	AlphaAll    float64 `json:"alpha_all"`   // that anything said of the n images is (Bonferroni)
	Select      int     `json:"select"`      // samples that pick the class; 0: predict
	Samples     int     `json:"max_samples"` // of an image that are counted, at most
	Radius      float64 `json:"radius"`      // the one decided; 0: the largest is found, or none
	RadiusExact string  `json:"radius_exact"`
	Largest     float64 `json:"largest_radius"` // that max_samples can certify; 0: none is found
	Defence     string  `json:"defence,omitempty"`
	Winograd    bool    `json:"winograd,omitempty"` // 3×3 convolutions were run by Winograd's algorithm
	N           int     `json:"n"`

	// Fractions of n; null if n is 0.
	Smoothed  *float64 `json:"smoothed"`  // images with their label and, but from predict, a radius above 0
	Abstained *float64 `json:"abstained"` // nothing is said
	Wrong     *float64 `json:"wrong"`     // another class than the label

	MeanRadius *float64      `json:"mean_radius"` // of mode certify, as the next; images without their label count as 0
	Curve      []SmoothPoint `json:"smoothed_at"`
	Drawn      *float64      `json:"mean_samples"` // drawn for an image, those that pick the class among them
	Images     []SmoothImage `json:"images"`       // those done, in the order of the data set

	Seconds     float64         `json:"seconds"`
	PerSecond   float64         `json:"samples_per_s"` // of this run, not of one that it resumed
	Out         string          `json:"out,omitempty"`
	Interrupted *SmoothProgress `json:"interrupted,omitempty"` // after ^C: what precedes is of the n images done
}

// SmoothPoint is the fraction of images with their label and a radius of at least Radius.
type SmoothPoint struct {
	Radius   float64 `json:"radius"`
	Fraction float64 `json:"fraction"`
}

// SmoothImage is what is known of one image; class −1: nothing.
type SmoothImage struct {
	Index   int     `json:"index"`
	Label   int     `json:"label"`
	Class   int     `json:"class"`
	Radius  float64 `json:"radius"`
	Samples int     `json:"samples"` // drawn
}

// SmoothProgress says how many images a run was to look at.
type SmoothProgress struct {
	N int `json:"n"`
}

// The modes of SmoothRun.
const (
	SmoothCertify = "certify"
	SmoothDecide  = "decide"
	SmoothPredict = "predict"
)

// NewSmoothRun describes what a smoother does of images from offset on, before it is done.
func NewSmoothRun(model string, offset int, predict bool, defence string, winograd bool, s *smooth.Smoother) SmoothRun {
	o := s.Options()
	r := SmoothRun{
		Model: model, Offset: offset, Mode: SmoothCertify, Norm: net.L2.String(), Sigma: o.Sigma.Float64(), SigmaExact: o.Sigma.String(),
		Alpha: o.Alpha, Select: o.Select, Samples: o.Samples, Defence: defence, Winograd: winograd,
	}
	switch {
	case predict:
		r.Mode, r.Select = SmoothPredict, 0
	case !o.Radius.IsZero():
		r.Mode, r.Radius, r.RadiusExact = SmoothDecide, o.Radius.Float64(), o.Radius.String()
	default:
		r.Largest = s.Largest()
	}
	return r
}

// Fill sums up the images that are done. y are the labels.
func (r *SmoothRun) Fill(results []smooth.Result, done []bool, y []int) {
	var radii []float64
	right, abstained, wrong, sum, drawn := 0, 0, 0, 0.0, 0
	r.Images = []SmoothImage{}
	for i, v := range results {
		if !done[i] {
			continue
		}
		r.Images = append(r.Images, SmoothImage{Index: r.Offset + i, Label: y[i], Class: v.Class, Radius: v.Radius, Samples: v.Drawn})
		drawn += v.Drawn
		switch v.Class {
		case y[i]:
			right++
			sum += v.Radius
			radii = append(radii, v.Radius)
		case smooth.Abstain:
			abstained++
		default:
			wrong++
		}
	}
	r.N = len(r.Images)
	r.AlphaAll = min(1, float64(r.N)*r.Alpha)
	if r.N < len(y) {
		r.Interrupted = &SmoothProgress{len(y)}
	}
	if r.N == 0 {
		return
	}
	fraction := func(n int) *float64 { f := show.Fraction(n, r.N); return &f }
	mean := float64(drawn) / float64(r.N)
	r.Smoothed, r.Abstained, r.Wrong, r.Drawn = fraction(right), fraction(abstained), fraction(wrong), &mean
	if r.Mode != SmoothCertify {
		return
	}
	radius := sum / float64(r.N)
	r.MeanRadius = &radius
	slices.Sort(radii)
	const points = 12
	step := niceStep(r.Largest, points)
	for k := 0; float64(k)*step <= r.Largest && k <= 2*points; k++ {
		at := float64(k) * step
		from, _ := slices.BinarySearch(radii, at)
		r.Curve = append(r.Curve, SmoothPoint{Radius: at, Fraction: show.Fraction(len(radii)-from, r.N)})
	}
}

// niceStep is a step of 1, 2 or 5 times a power of ten, of which there are up to so many.
func niceStep(most float64, points int) float64 {
	if !(most > 0) {
		return 1
	}
	unit := math.Pow(10, math.Floor(math.Log10(most/float64(points))))
	for _, k := range []float64{1, 2, 5} {
		if k*unit*float64(points) >= most {
			return k * unit
		}
	}
	return 10 * unit
}

// Text says what is known, and how sure.
func (r *Smooth) Text() string {
	pairs := []string{
		"model", r.Model,
		"data", fmt.Sprintf("%s, n = %d", r.Data, r.total()),
		"smoothing", fmt.Sprintf("by normal noise, σ = %s on images of 8 bits; votes of up to %s", r.SigmaExact, show.Count(r.Samples, "sample")),
	}
	if r.Defence != "" {
		pairs = append(pairs, "defence", r.Defence)
	}
	if r.Winograd {
		pairs = append(pairs, "convolutions", "3×3 by Winograd's algorithm")
	}
	if r.Interrupted != nil {
		pairs = append(pairs, "interrupted", fmt.Sprintf("%d of %s done; what follows is of those", r.N, show.Count(r.Interrupted.N, "image")))
	}
	if r.N > 0 {
		pairs = append(pairs, "smoothed", show.Percent(*r.Smoothed)+r.at(),
			"wrong", show.Percent(*r.Wrong), "abstained", show.Percent(*r.Abstained),
			"sure", fmt.Sprintf("no proof: of one image wrong with probability at most %g, of any of the %d at most %.3g", r.Alpha, r.N, r.AlphaAll))
		if r.MeanRadius != nil {
			pairs = append(pairs, "mean radius", fmt.Sprintf("%.4g", *r.MeanRadius))
		}
		pairs = append(pairs, "samples", fmt.Sprintf("%.0f an image on average", *r.Drawn))
	}
	pairs = append(pairs, "time", fmt.Sprintf("%s (%s samples/s)", show.Seconds(r.Seconds), show.Rate(r.PerSecond)))
	if r.Out != "" {
		pairs = append(pairs, "written", shownFile(r.Out))
	}
	out := show.Facts(pairs...)
	if len(r.Curve) > 0 {
		t := show.Table("l2 radius", "smoothed")
		for _, p := range r.Curve {
			t.AppendRow([]any{fmt.Sprintf("%.4g", p.Radius), show.Percent(p.Fraction)})
		}
		out += "\n" + show.Render(t)
	}
	return out
}

func (r *SmoothRun) at() string {
	switch r.Mode {
	case SmoothDecide:
		return fmt.Sprintf(" keep their label inside l2 radius %s", r.RadiusExact)
	case SmoothCertify:
		return fmt.Sprintf(" keep their label inside some l2 radius (at most %.4g)", r.Largest)
	}
	return " are given their label"
}

func (r *SmoothRun) total() int {
	if r.Interrupted != nil {
		return r.Interrupted.N
	}
	return r.N
}

func (*Smooth) kind() Kind { return KindSmooth }
