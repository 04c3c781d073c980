package report

import (
	"github.com/epsball/epsball/audit"
	"github.com/epsball/epsball/internal/show"
)

// Level is what a proof of package verify claims.
const Level = "exact and float32 execution"

// Certify is the result of certify on one model, at one radius or with a search for
// radii.
type Certify struct {
	Envelope
	CertifyRun
	Hints []string `json:"hints"` // what else to try
}

// CertifyTable is the result of certify on several models, or at several radii.
type CertifyTable struct {
	Envelope
	Results []CertifyRun `json:"results"` // by model, then by radius
	Seconds float64      `json:"seconds"`
	Plot    string       `json:"plot,omitempty"`
	Hints   []string     `json:"hints"`
}

// CertifyRun is what was proved of the images of a data set. It has eps at a fixed
// radius; resolution, max_radius, mean_radius and what follows from the radii where
// those were searched for. The others are null.
type CertifyRun struct {
	Model           string             `json:"model"`
	Offset          int                `json:"offset"`
	Method          string             `json:"method"`
	Ladder          bool               `json:"ladder"` // cheaper methods were tried first
	Level           string             `json:"level"`
	Norm            string             `json:"norm"`
	Eps             *float64           `json:"eps"`
	EpsExact        string             `json:"eps_exact"` // as it was written: 0.1 or 8/255
	Resolution      *float64           `json:"resolution"`
	ResolutionExact string             `json:"resolution_exact"`
	MaxRadius       *float64           `json:"max_radius"`
	MaxRadiusExact  string             `json:"max_radius_exact"`
	AttackSteps     int                `json:"attack_steps"`      // of PGD, from above
	Timeout         *float64           `json:"timeout,omitempty"` // of an image, in seconds; 0: none. Of bab alone, as the next three
	N               int                `json:"n"`
	Clean           *float64           `json:"clean"`
	Certified       *float64           `json:"certified"`
	Attacked        *float64           `json:"attacked,omitempty"` // at a radius, images that are misclassified as they are among them
	Open            *float64           `json:"open,omitempty"`     // at a radius: neither
	Outcomes        []string           `json:"outcomes,omitempty"` // at a radius, one an image: certified, attacked or open
	Gap             *BracketGap        `json:"gap,omitempty"`      // of bab with radii
	MeanRadius      *float64           `json:"mean_radius"`
	Quantiles       []audit.Quantile   `json:"quantiles"`
	Curve           []audit.CurvePoint `json:"certified_at"`
	Brackets        []Bracket          `json:"brackets"`   // with radii: one an image, from offset on
	DecidedBy       map[string]int     `json:"decided_by"` // at a radius: images that each method has certified
	Seconds         float64            `json:"seconds"`
	Timings         CertifyTimings     `json:"timings"`
	Out             string             `json:"out,omitempty"` // the files written
	Plot            string             `json:"plot,omitempty"`

	// Interrupted is set after ^C: what precedes is then of the first n images, null
	// if n is 0.
	Interrupted *CertifyProgress `json:"interrupted,omitempty"`
}

// CertifyProgress is what is known of all images of an interrupted run.
type CertifyProgress struct {
	N         int        `json:"n"`
	Done      int        `json:"done"`            // also of a block that is not whole, and with --out in the file
	Certified [2]float64 `json:"certified_range"` // the fraction lies in it
}

// Bracket holds the ends of what is known of an image's robust radius: null where
// it is not proved at all, or not fooled up to the largest radius.
type Bracket struct {
	Certified *float64 `json:"certified"`
	Attacked  *float64 `json:"attacked"`
}

// BracketGap is how far apart the ends of brackets that are attacked are, on average, before
// and after branch and bound; a radius that is not proved at all counts as 0.
type BracketGap struct {
	Images int     `json:"images"` // correct as they are, and attacked at some radius in the end
	Before float64 `json:"before"` // of those of them attacked before
	After  float64 `json:"after"`
}

// CertifyTimings are in seconds. Proof includes the attack of --radius.
type CertifyTimings struct {
	Forward float64 `json:"forward"`
	Proof   float64 `json:"proof"`
	Proved  int     `json:"proved"` // images of this run, not of one it resumed
}

// NewCertifyRun describes what p proves, before anything is proved.
func NewCertifyRun(model, method string, ladder bool, p *audit.ProveOptions) CertifyRun {
	r := CertifyRun{Model: model, Offset: p.First, Method: method, Ladder: ladder, Level: Level, Norm: p.Norm.String()}
	if p.Complete != nil {
		t := p.Complete.Timeout().Seconds()
		r.Timeout = &t
	}
	if !p.Radius() {
		eps := p.Eps.Float64()
		r.Eps, r.EpsExact, r.DecidedBy = &eps, p.Eps.String(), map[string]int{}
		return r
	}
	resolution, most := p.Resolution.Float64(), p.Max.Float64()
	r.Resolution, r.ResolutionExact, r.MaxRadius, r.MaxRadiusExact = &resolution, p.Resolution.String(), &most, p.Max.String()
	if p.Search != nil {
		r.AttackSteps = p.AttackSteps
	}
	return r
}

// Fill sums up the first images, as far as all of them are done: within a block, those
// that are easy to prove are done first. pred are the classes predicted for the images,
// y their labels. Without pred, the run was interrupted before the proofs.
func (r *CertifyRun) Fill(p *audit.Proving, pred, y []int) {
	r.N = p.Whole
	if r.N < len(y) {
		r.interrupt(p, pred, y)
	}
	if r.N == 0 || pred == nil {
		r.N = 0
		return
	}
	clean, certified, sum := 0, 0, 0.0
	for i := range r.N {
		if pred[i] == y[i] {
			clean++
		}
		if p.Certified(i) {
			certified++
		}
		switch {
		case p.Radius():
			sum += p.RadiusOf(i)
			r.Brackets = append(r.Brackets, bracketOf(p, i))
		case p.Proved[i]:
			r.DecidedBy[p.Method[i].String()]++
		}
	}
	if p.Complete != nil {
		r.complete(p)
	}
	c, k := show.Fraction(clean, r.N), show.Fraction(certified, r.N)
	r.Clean, r.Certified = &c, &k
	if p.Radius() {
		mean := sum / float64(r.N)
		r.MeanRadius = &mean
		r.Quantiles, r.Curve = audit.Radii(p.Steps[:r.N], p.Resolution)
	}
}

// complete sums up what branch and bound has decided.
func (r *CertifyRun) complete(p *audit.Proving) {
	if p.Radius() {
		r.Gap = gapOf(p, r.N)
		return
	}
	names := [...]string{audit.Holds: "certified", audit.Violated: "attacked", audit.Undecided: "open"}
	var count [len(names)]int
	for i := range r.N {
		a := p.AnswerOf(i)
		count[a]++
		r.Outcomes = append(r.Outcomes, names[a])
	}
	attacked, open := show.Fraction(count[audit.Violated], r.N), show.Fraction(count[audit.Undecided], r.N)
	r.Attacked, r.Open = &attacked, &open
}

// gapOf measures the brackets of the first n images.
func gapOf(p *audit.Proving, n int) *BracketGap {
	g, before := &BracketGap{}, 0
	step := p.Resolution.Float64()
	for i := range n {
		if p.Attacked[i] <= 0 {
			continue
		}
		g.Images++
		g.After += float64(p.Attacked[i]-max(p.Steps[i], 0)) * step
		if old := p.Before.Attacked[i]; old > 0 {
			before++
			g.Before += float64(old-max(p.Before.Steps[i], 0)) * step
		}
	}
	g.After /= float64(max(g.Images, 1))
	g.Before /= float64(max(before, 1))
	return g
}

// interrupt notes what is known of all images. A proof for one is as good as in a
// whole run; one that is not done, and that the model gets right, may be proved.
func (r *CertifyRun) interrupt(p *audit.Proving, pred, y []int) {
	least, open, done := 0, 0, 0
	for i, d := range p.Done {
		if d {
			done++
		}
		switch {
		case p.Certified(i):
			least++
		case !d && (pred == nil || pred[i] == y[i]):
			open++
		}
	}
	r.Interrupted = &CertifyProgress{N: len(y), Done: done, Certified: [2]float64{show.Fraction(least, len(y)), show.Fraction(least+open, len(y))}}
}

func bracketOf(p *audit.Proving, i int) (b Bracket) {
	if p.Proved[i] {
		r := p.RadiusOf(i)
		b.Certified = &r
	}
	if p.Attacks() && p.Attacked[i] >= 0 {
		r := p.Resolution.Times(p.Attacked[i]).Float64()
		b.Attacked = &r
	}
	return b
}

func (*Certify) kind() Kind      { return KindCertify }
func (*CertifyTable) kind() Kind { return KindCertifyTable }
