package jobs

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"strings"

	"github.com/epsball/epsball/attack"
	"github.com/epsball/epsball/audit"
	"github.com/epsball/epsball/internal/runlog"
	"github.com/epsball/epsball/net"
)

// KindAttack is the kind of Attack.
const KindAttack = "attack"

// Attack says which attack is run on each image, in which ball.
type Attack struct {
	Method string `json:"method"` // its textual form, such as pgd:steps=40,seed=1
	Norm   string `json:"norm"`
	Eps    string `json:"eps"`

	// Unlimited tells, for reports, that Eps is the radius of all images: a smallest distance
	// is looked for.
	Unlimited bool `json:"unlimited,omitempty"`
}

// Kind returns KindAttack.
func (a *Attack) Kind() string { return KindAttack }

// Repeatable is true: attacks have no time limit.
func (a *Attack) Repeatable() bool { return true }

// Validate checks the settings.
func (a *Attack) Validate() error {
	_, err := a.Config()
	return err
}

// Config returns the attack's.
func (a *Attack) Config() (c attack.Config, err error) {
	if c.Method, err = attack.Parse(a.Method); err != nil {
		return c, fmt.Errorf("method: got %.80q: %w", a.Method, err)
	}
	if _, all := c.Method.(attack.Universal); all {
		return c, errors.New("method: got universal, which looks for one perturbation of all images: want an attack that can be divided")
	}
	if c.Ball.Norm, err = net.ParseNorm(a.Norm); err != nil {
		return c, fmt.Errorf("norm: got %.80q, want one of %s", a.Norm, strings.Join(net.Norms(), ", "))
	}
	if c.Ball.Eps, err = net.ParseEpsilon(a.Eps); err == nil {
		err = c.Ball.Validate()
	}
	if err != nil {
		return c, fmt.Errorf("eps: got %.80q: %w", a.Eps, err)
	}
	if err := c.Method.Validate(c.Ball, math.MaxInt); err != nil {
		return c, fmt.Errorf("method: %w", err)
	}
	return c, nil
}

// RunText is what the outcome of an attack depends on besides model and data.
func RunText(c *attack.Config) string {
	run := fmt.Sprintf("%v, %v ε %v", c.Method, c.Ball.Norm, c.Ball.Eps)
	if c.Lattice > 0 {
		run += fmt.Sprintf(", %d bits", c.Lattice)
	}
	return run
}

// AttackWork attacks the images of a subject.
type AttackWork struct {
	Result *attack.Result // of the last Run or Read
	Config attack.Config

	of runlog.Of
	s  *Subject
	l  *runlog.Log
}

// Work prepares the attack.
func (a *Attack) Work(s *Subject) (Work, error) { return a.NewWork(s) }

// NewWork is Work.
func (a *Attack) NewWork(s *Subject) (*AttackWork, error) {
	w := &AttackWork{s: s}
	var err error
	if w.Config, err = a.Config(); err != nil {
		return nil, err
	}
	if w.Config, err = audit.WithProofs(s.Net, s.Pool, w.Config); err != nil {
		return nil, err
	}
	w.of = runlog.Of{Model: s.Model, Data: s.Data, Run: RunText(&w.Config), First: s.First}
	return w, nil
}

// Run attacks what the journal at path does not have.
func (w *AttackWork) Run(ctx context.Context, path string) error {
	known := 0
	c := w.Config
	if p := w.s.Progress; p != nil {
		c.Progress = func(done int) { p(c.Method.Name(), known+done, len(w.s.Y)) }
	}
	attacker, err := attack.New(w.s.Net, c, w.s.Pool)
	if err != nil {
		return err
	}
	w.l = runlog.NewLog(path, w.of, w.s.X, w.s.Y)
	if known, err = w.l.Resume(); err != nil {
		return err
	}
	w.Result, err = w.l.Run(ctx, attacker)
	return errors.Join(err, w.l.Keep())
}

// Read takes attacks that another run has written down.
func (w *AttackWork) Read(r io.Reader) (err error) {
	if w.l == nil {
		w.l = runlog.NewLog("", w.of, w.s.X, w.s.Y)
	}
	w.Result, err = w.l.Read(r)
	return err
}
