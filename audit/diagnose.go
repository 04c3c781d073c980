package audit

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/epsball/epsball/attack"
	"github.com/epsball/epsball/kernels"
	"github.com/epsball/epsball/net"
)

// Case is an attack and what it found, for Diagnose to look at.
type Case struct {
	Target attack.Target
	Pool   *kernels.Pool
	Config attack.Config
	Batch  attack.Batch
	Result *attack.Result

	// Attacked, if not nil, is what the attack ran on, of whose result attack.Judge then
	// said what Target makes of it.
	Attacked attack.Target

	// Surrogates are other classifiers of the same images, for the check of transfer.
	Surrogates []Surrogate

	Level       Level
	Diagnostics []Diagnostic // nil: Diagnostics()

	// Progress, if not nil, is called from any goroutine with the name of the check.
	Progress func(check string, done, total int)

	sets
	trace *recording // of the sample; nil until a check needs it
}

// Surrogate is a classifier whose gradients stand in for the target's.
type Surrogate struct {
	Name   string
	Target attack.Target
}

// Diagnostic looks for one thing that may be wrong with an attack, its target or its result.
type Diagnostic struct {
	Name string
	// Reruns is true of a check that needs more than the result: it runs an attack, or the
	// network on other points, and is left out at LevelOff.
	Reruns bool
	// Attacks is true of a check that attacks single images. It has no meaning for an
	// attack that looks for one perturbation for all.
	Attacks bool
	Run     func(context.Context, *Case) Finding
}

// Finding is what a check says.
type Finding struct {
	Name    string  `json:"name"`
	Verdict Outcome `json:"verdict"`
	Count   int     `json:"count"`  // of images concerned
	Images  []int   `json:"images"` // the first of these, by their index in the data
	Detail  string  `json:"detail"` // one sentence
}

// Outcome is the short form of a finding.
type Outcome string

const (
	OK      Outcome = "ok"
	Warn    Outcome = "warn"    // the attack may be weaker than it looks
	Fail    Outcome = "fail"    // the result is wrong, or robustness is an illusion
	Stopped Outcome = "stopped" // the context ended first
	Skipped Outcome = "skipped" // has no meaning here; Detail says why
)

// Level says how much work the checks may be.
type Level int

const (
	LevelQuick Level = iota // small samples: a fraction of the attack's own time
	LevelFull               // samples eight times as large
	LevelOff                // only checks that need nothing but the result
)

// Levels lists the names ParseLevel knows.
func Levels() []string { return []string{"quick", "full", "off"} }

func (l Level) String() string { return Levels()[l] }

// ParseLevel returns the level of the given name.
func ParseLevel(name string) (Level, error) {
	if i := slices.Index(Levels(), name); i >= 0 {
		return Level(i), nil
	}
	return 0, fmt.Errorf("checks %q: want one of %s", name, strings.Join(Levels(), ", "))
}

// Diagnostics returns the checks of Diagnose, in order. docs/evaluation.md says what each does,
// where it comes from and what it costs.
func Diagnostics() []Diagnostic {
	return []Diagnostic{
		{"finite", false, false, checkFinite},
		{"inside", false, false, checkInside},
		{"predictions", false, false, checkPredictions},
		{"lattice", false, false, checkLattice},
		{"random-forward", true, false, checkRandomForward},
		{"probabilities", true, false, checkProbabilities},
		{"identity", true, true, checkIdentity},
		{"repeatable", true, true, checkRepeatable},
		{"silent-success", true, true, checkSilentSuccess},
		{"zero-gradients", true, true, checkZeroGradients},
		{"finite-differences", true, false, checkFiniteDifferences},
		{"rising-loss", true, true, checkRisingLoss},
		{"noise", true, true, checkNoise},
		{"one-step", true, true, checkOneStep},
		{"more-effort", true, true, checkMoreEffort},
		{"radius", true, true, checkRadius},
		{"large-radius", true, true, checkLargeRadius},
		{"black-box", true, true, checkBlackBox},
		{"transfer", true, true, checkTransfer},
		{"certified", true, false, checkCertified},
	}
}

// Diagnose looks for what may be wrong with the result of an attack. Some checks verify
// the result: every point must be finite and lie in the ball and in [0, 1], compared
// exactly, and a fresh forward pass must give the classes that the result names. The others
// look for signs that the attack is weaker than it looks (Carlini et al. 2019, On
// Evaluating Adversarial Robustness; Pintor et al. 2022, Indicators of Attack Failure). They
// run on samples, the same each time.
//
// Images that are not begun are left out: what is said of the others must hold even if the
// attack was interrupted. If there are none, there are no findings. Diagnose ends early with
// ctx; checks that had not failed by then are Stopped.
func Diagnose(ctx context.Context, c Case) []Finding {
	c.sets = newSets(&c)
	if c.Progress == nil {
		c.Progress = func(string, int, int) {}
	}
	found := []Finding{}
	if len(c.begun) == 0 {
		return found
	}
	checks := c.Diagnostics
	if checks == nil {
		checks = Diagnostics()
	}
	for _, check := range checks {
		if check.Reruns && c.Level == LevelOff {
			continue
		}
		f := Finding{Verdict: Stopped, Detail: "stopped before it began"}
		switch {
		case check.Attacks && c.shared():
			f = oneForAll
		case ctx.Err() == nil || !check.Reruns:
			c.Progress(check.Name, 0, 1)
			f = check.Run(ctx, &c)
		}
		f.Name = check.Name
		if f.Images == nil {
			f.Images = []int{}
		}
		found = append(found, f)
	}
	return found
}

// maxListed is the number of images that a finding names.
const maxListed = 16

// NewFinding returns a finding that names the first of the images concerned.
func NewFinding(name string, v Outcome, concerned []int, detail string) Finding {
	return Finding{name, v, len(concerned), append([]int{}, concerned[:min(len(concerned), maxListed)]...), detail}
}

// say returns a finding about the images at the given places of the batch.
func (c *Case) say(v Outcome, concerned []int, format string, args ...any) Finding {
	images := make([]int, len(concerned))
	for k, i := range concerned {
		images[k] = c.index(i)
	}
	return NewFinding("", v, images, fmt.Sprintf(format, args...))
}

func fine(format string, args ...any) Finding {
	return Finding{Verdict: OK, Detail: fmt.Sprintf(format, args...)}
}

func skip(format string, args ...any) Finding {
	return Finding{Verdict: Skipped, Detail: fmt.Sprintf(format, args...)}
}

// broken is the finding of a check that could not be carried out.
func broken(ctx context.Context, err error) Finding {
	if ctx.Err() != nil {
		return Finding{Verdict: Stopped, Detail: "stopped before it was done"}
	}
	return Finding{Verdict: Fail, Detail: err.Error()}
}

// index is that of an image in the data.
func (c *Case) index(i int) int {
	if c.Batch.Index != nil {
		return c.Batch.Index[i]
	}
	return c.Batch.First + i
}

// fools reports whether class predicted is a success for image i.
func (c *Case) fools(i, predicted int) bool {
	if c.Batch.Targets != nil {
		return predicted == c.Batch.Targets[i]
	}
	return predicted != c.Batch.Y[i]
}

// network returns the target if it is nothing but a network.
func (c *Case) network() (*net.Network, bool) {
	n, ok := c.Target.(*net.Network)
	return n, ok
}
