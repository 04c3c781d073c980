package jobs

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/epsball/epsball/attack"
	"github.com/epsball/epsball/audit"
	"github.com/epsball/epsball/internal/runlog"
	"github.com/epsball/epsball/net"
	"github.com/epsball/epsball/verify"
	"github.com/epsball/epsball/verify/branch"
	"github.com/epsball/epsball/verify/check"
)

// KindCertify is the kind of Certify.
const KindCertify = "certify"

// Certify says what is proved of each image, and how: that the ball of radius Eps holds no
// misclassified point or, if Resolution is given, the largest of its multiples up to
// MaxRadius for which that can be proved. Radii and settings are in their textual form, such
// as 8/255; "" is a radius that is not given.
type Certify struct {
	Method     string  `json:"method"` // one of audit.ProofMethods
	Ladder     bool    `json:"ladder"` // cheaper methods run first
	Iterations int     `json:"iterations,omitempty"`
	Timeout    float64 `json:"timeout,omitempty"` // seconds of an image, of bab; 0: none
	Norm       string  `json:"norm"`
	Eps        string  `json:"eps,omitempty"`

	Resolution  string `json:"resolution,omitempty"`
	MaxRadius   string `json:"max_radius,omitempty"`
	AttackSteps int    `json:"attack_steps,omitempty"` // of PGD, from above

	Seed         uint64 `json:"seed"` // of attacks
	Certificates bool   `json:"certificates"`
}

// Limits of settings.
const (
	MaxIterations = 100_000
	MaxTimeout    = 1e9 // seconds
	maxSteps      = 1_000_000
)

// Kind returns KindCertify.
func (c *Certify) Kind() string { return KindCertify }

// Repeatable reports whether no time limit cuts proofs short.
func (c *Certify) Repeatable() bool {
	return c.Method != verify.MethodBaB.String() || c.Timeout == 0
}

// Validate checks the settings.
func (c *Certify) Validate() error {
	method, err := audit.ParseProofMethod(c.Method)
	bab := method == verify.MethodBaB
	radius := c.Resolution != ""
	norm, badNorm := net.ParseNorm(c.Norm)
	switch {
	case err != nil:
		return fmt.Errorf("method: got %.80q, want one of %s", c.Method, strings.Join(audit.ProofMethods(), ", "))
	case badNorm != nil || norm == net.L0:
		return fmt.Errorf("norm: got %.80q, want one of %s", c.Norm, strings.Join(net.Norms()[:net.L0], ", "))
	case c.Iterations < 0 || c.Iterations > MaxIterations || c.Iterations != 0 && method != verify.MethodAlphaCROWN:
		return fmt.Errorf("iterations: got %d of %s, want 0, or 1 … %d of alpha-crown", c.Iterations, c.Method, MaxIterations)
	case !(c.Timeout >= 0 && c.Timeout <= MaxTimeout) || c.Timeout != 0 && !bab:
		return fmt.Errorf("timeout: got %v of %s, want 0, or seconds up to %g of bab", c.Timeout, c.Method, float64(MaxTimeout))
	case c.AttackSteps < 0 || c.AttackSteps > maxSteps || c.AttackSteps > 0 && (!radius || norm == net.L1):
		return fmt.Errorf("attack_steps: got %d, want 0, or 1 … %d of a search for radii in linf or l2", c.AttackSteps, maxSteps)
	case (c.Eps != "") == radius:
		return errors.New("eps: want that, or resolution and max_radius")
	case (c.MaxRadius != "") != radius:
		return errors.New("max_radius: want it with resolution, and only then")
	}
	if !radius {
		_, err := c.ball("eps", c.Eps, norm)
		return err
	}
	resolution, err := c.ball("resolution", c.Resolution, norm)
	if err != nil {
		return err
	}
	most, err := c.ball("max_radius", c.MaxRadius, norm)
	if err != nil {
		return err
	}
	if resolution.Cmp(net.Epsilon{}) == 0 || resolution.Cmp(most) > 0 {
		return fmt.Errorf("resolution: got %s, want more than 0 and at most max_radius", c.Resolution)
	}
	if _, err := net.RadiusSteps(resolution, most); err != nil {
		return fmt.Errorf("resolution: %w", err)
	}
	return nil
}

// ball reads a radius.
func (c *Certify) ball(key, text string, norm net.Norm) (net.Epsilon, error) {
	e, err := net.ParseEpsilon(text)
	if err == nil {
		err = (net.Ball{Norm: norm, Eps: e}).Validate()
	}
	if err != nil {
		return e, fmt.Errorf("%s: got %.80q: %w", key, text, err)
	}
	return e, nil
}

// method is Method, which is valid.
func (c *Certify) method() verify.Method {
	return verify.Method(slices.Index(audit.ProofMethods(), c.Method))
}

// How is the method of the bounds, or what comes before branch and bound: α-CROWN is what
// that begins with. Certificates can state slopes of the margins' rows alone.
func (c *Certify) How() verify.Options {
	method, dearest := c.method(), verify.MethodAlphaCROWN
	if method == verify.MethodBaB {
		dearest = verify.MethodCROWN
	}
	return verify.Options{Method: min(method, dearest), Ladder: c.Ladder, Iterations: c.Iterations, RowsOnly: c.Certificates}
}

// Options say what is proved of a subject by v, which has been prepared for How.
func (c *Certify) Options(s *Subject, v *verify.Verifier) (o audit.ProveOptions, err error) {
	method := c.method()
	o = audit.ProveOptions{First: s.First, How: c.How(), Slopes: c.Certificates, Progress: s.Progress}
	o.Norm, _ = net.ParseNorm(c.Norm)
	switch {
	case method == verify.MethodIBP && c.AttackSteps == 0:
		o.Block = 512
	case method <= verify.MethodCROWNIBP:
		o.Block = 64
	case method == verify.MethodBaB:
		o.Block = 16
	default:
		o.Block = 4 * s.Pool.Workers()
	}
	if method == verify.MethodBaB {
		v.FirstPlanes()
		o.Complete, err = audit.NewCompletion(s.Net, v, s.Pool, audit.CompleteOptions{
			Attack: attack.Fast{Seed: c.Seed}, Timeout: time.Duration(c.Timeout * float64(time.Second)),
			Branch: branch.Options{Progress: s.Search},
		})
		if err != nil {
			return o, err
		}
	}
	if c.Resolution == "" {
		o.Eps, err = net.ParseEpsilon(c.Eps)
		return o, err
	}
	o.Resolution, err = net.ParseEpsilon(c.Resolution)
	if err == nil {
		o.Max, err = net.ParseEpsilon(c.MaxRadius)
	}
	if err == nil && c.AttackSteps > 0 {
		o.AttackSteps = c.AttackSteps
		o.Search, err = attack.NewRadiusSearch(s.Net, attack.Config{Ball: net.Ball{Norm: o.Norm}, Method: attack.PGD{Steps: c.AttackSteps, Seed: c.Seed}}, o.Resolution, o.Max, s.Pool)
	}
	return o, err
}

// RunText names what was asked for, in certificates: only such can be resumed.
func (c *Certify) RunText() string {
	how := c.Method
	if c.Ladder {
		how += ", ladder"
	}
	if c.Iterations != 0 {
		how += fmt.Sprintf(", iterations %d", c.Iterations)
	}
	if c.Resolution != "" {
		return fmt.Sprintf("%s, radius, resolution %s, max-radius %s", how, c.Resolution, c.MaxRadius)
	}
	return fmt.Sprintf("%s, eps %s", how, c.Eps)
}

// NewCertificates prepares the certificates of p, which proves s.
func (c *Certify) NewCertificates(p *audit.Proving, s *Subject) *runlog.Certificates {
	return runlog.NewCertificates(p, s.Net, check.Certificate{Model: s.Model, Data: s.Data, Run: c.RunText(), Method: c.Method}, s.X, s.Y, s.Pool.Workers())
}

// CertifyWork proves the images of a subject.
type CertifyWork struct {
	Proving *audit.Proving
	Options audit.ProveOptions
	Log     *runlog.Proofs

	s *Subject
}

// Work prepares the proofs.
func (c *Certify) Work(s *Subject) (Work, error) { return c.NewWork(s) }

// NewWork is Work.
func (c *Certify) NewWork(s *Subject) (*CertifyWork, error) {
	v, err := verify.New(s.Net, s.Pool)
	if err != nil {
		return nil, err
	}
	v.KeepSlopes()
	v.JoinBalls()
	if err := v.Prepare(c.How()); err != nil {
		return nil, err
	}
	w := &CertifyWork{s: s}
	if w.Options, err = c.Options(s, v); err != nil {
		return nil, err
	}
	if w.Proving, err = audit.NewProving(v, s.X, s.Y, w.Options); err != nil {
		return nil, err
	}
	var certs *runlog.Certificates
	if c.Certificates {
		certs = c.NewCertificates(w.Proving, s)
	}
	w.Log = runlog.NewProofs(w.Proving, runlog.Of{Model: s.Model, Data: s.Data, Run: c.RunText(), First: s.First}, s.X, s.Y, certs)
	w.Proving.Save = w.Log.Save
	return w, nil
}

// Run proves what the journal at path does not have.
func (w *CertifyWork) Run(ctx context.Context, path string) error {
	pred, err := audit.Predict(ctx, w.s.Net, w.s.Pool, w.s.X, len(w.s.Y))
	if err != nil {
		return err
	}
	if err := w.Log.Open(path); err != nil {
		return err
	}
	copy(w.Log.Pred, pred)
	err = w.Proving.Run(ctx)
	if err == nil {
		err = w.Proving.Check(pred)
	}
	return errors.Join(err, w.Log.Close())
}

// Read takes proofs that another run has written.
func (w *CertifyWork) Read(r io.Reader) error { return w.Log.Read(r) }
