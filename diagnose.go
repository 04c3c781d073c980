package epsball

import (
	"context"
	"errors"
	"fmt"

	"github.com/epsball/epsball/attack"
	"github.com/epsball/epsball/audit"
)

// Finding is what one check says of an attack: its name, a verdict (CheckOK, CheckWarn,
// CheckFail, CheckStopped, CheckSkipped), the images concerned and one sentence.
type Finding = audit.Finding

// The verdicts of a Finding.
const (
	CheckOK      = audit.OK
	CheckWarn    = audit.Warn    // the attack may be weaker than it looks
	CheckFail    = audit.Fail    // the result is wrong, or robustness is an illusion
	CheckStopped = audit.Stopped // the context ended first
	CheckSkipped = audit.Skipped // has no meaning here
)

// Checks says how much work Diagnose may do.
type Checks = audit.Level

const (
	QuickChecks  = audit.LevelQuick // on small samples: a fraction of the attack's own time
	FullChecks   = audit.LevelFull  // on samples eight times as large
	ResultChecks = audit.LevelOff   // those that need nothing but the result
)

// Diagnose looks for what may be wrong with what Attack found in x, with the same ball,
// method and options (docs/evaluation.md). Some checks verify the result: all points are
// compared with the ball, exactly, and classified again. The others look for signs that the
// attack is weaker than it looks, such as zero gradients, or noise that finds more. When ctx
// ends, the checks that had not failed by then are CheckStopped, and the error is the
// context's.
func (m *Model) Diagnose(ctx context.Context, x Batch, b Ball, how Method, found *Attacked, checks Checks, opts ...AttackOption) ([]Finding, error) {
	n, err := m.attackable(x, b, how)
	if err != nil {
		return nil, err
	}
	o := settings(opts)
	c := attack.Config{Ball: attack.LatticeBall(b.ball, o.lattice), Method: how, Lattice: o.lattice}
	switch {
	case found == nil:
		return nil, errors.New("attacked: nil, want the outcome of Attack")
	case len(found.Done) != len(x.Y) || len(found.Adv) != len(x.X):
		return nil, fmt.Errorf("attacked: %d images, want the outcome of Attack on the %d given", len(found.Done), len(x.Y))
	case checks < QuickChecks || checks > ResultChecks:
		return nil, fmt.Errorf("checks %d: want QuickChecks, FullChecks or ResultChecks", checks)
	}
	if err := c.Validate(n.Classes()); err != nil {
		return nil, err
	}
	if err := n.CheckImages(x.X, len(x.Y)); err != nil {
		return nil, err
	}
	if err := n.CheckLabels(x.Y, len(x.Y)); err != nil {
		return nil, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if c, err = audit.WithProofs(n, m.pool, c); err != nil {
		return nil, err
	}
	return audit.Diagnose(ctx, audit.Case{
		Target: n, Pool: m.pool, Config: c, Batch: attack.Batch{X: x.X, Y: x.Y, First: o.first}, Result: found, Level: checks,
	}), ctx.Err()
}
