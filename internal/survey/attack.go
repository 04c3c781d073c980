package survey

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/epsball/epsball/attack"
	"github.com/epsball/epsball/audit"
	"github.com/epsball/epsball/internal/show"
	"github.com/epsball/epsball/net"
	"github.com/epsball/epsball/report"
)

// attack runs attack a at a radius: on all images at Eps, for the figures that show what
// it finds there; elsewhere on those that it has not fooled at a smaller radius, for the
// point that it found there lies in this ball, too.
func (l *look) attack(ctx context.Context, a, at int) error {
	defer l.timed()()
	o := &l.survey.Options
	method := o.Attacks[a]
	var b attack.Batch
	var places []int
	for i := range l.s.Y {
		if at == o.at() || l.right[i] && l.fooled[a][i] > at {
			places = append(places, i)
			b.X, b.Y, b.Index = append(b.X, l.image(l.s.X, i)...), append(b.Y, l.s.Y[i]), append(b.Index, o.First+i)
		}
	}
	tell := l.progress(fmt.Sprintf("%s at %s", method.Name(), o.Radii[at]), len(places))
	res := new(attack.Result)
	if len(places) > 0 {
		cfg := attack.Config{Ball: o.ball(at), Method: method, Progress: tell}
		cfg, err := l.withProofs(cfg)
		if err != nil {
			return err
		}
		attacker, err := attack.New(l.s.Net, cfg, l.s.Pool)
		if err != nil {
			return err
		}
		start := time.Now()
		if err := attacker.Run(ctx, b, res); err != nil {
			return err
		}
		if at == o.at() {
			l.t.Steps[a] = show.PerSecond(res.ImageSteps, time.Since(start).Seconds())
			l.found[a], l.configs[a] = *res, cfg
		}
	}
	if err := l.take(res, places, a, at); err != nil {
		return err
	}
	l.done[a][at] = true
	l.report()
	if !slices.ContainsFunc(l.done, func(d []bool) bool { return !d[o.at()] }) {
		l.confuse()
	}
	return nil
}

// take notes what an attack found, which must not contradict what is proved.
func (l *look) take(res *attack.Result, places []int, a, at int) error {
	o := &l.survey.Options
	for k, i := range places {
		if res.Clean[k] != l.right[i] {
			return fmt.Errorf("image %d: correct in the forward pass: %t, in the attack: %t; please report this", o.First+i, l.right[i], res.Clean[k])
		}
		if !res.Success[k] {
			continue
		}
		if l.certified != nil && l.certified[at][i] && o.ball(at).Contains(l.image(l.s.X, i), l.image(res.Adv, k)) {
			return &audit.Contradiction{Image: o.First + i, Ball: o.ball(at)}
		}
		if at < l.fooled[a][i] {
			l.fooled[a][i], l.label[a][i] = at, res.Label[k]
		}
	}
	return nil
}

// withProofs is audit.WithProofs, for which what is proved already need not be proved
// again.
func (l *look) withProofs(c attack.Config) (attack.Config, error) {
	c, err := audit.WithProofs(l.s.Net, l.s.Pool, c)
	if err != nil || c.Prove == nil || l.certified == nil {
		return c, err
	}
	c.Prove = l.known
	return c, nil
}

// known marks images that are certified, in place of proofs.
func (l *look) known(_ context.Context, ball net.Ball, b attack.Batch, _ *attack.Result, images []int, proofs []attack.Proof) error {
	o := &l.survey.Options
	for k, i := range images {
		at := slices.IndexFunc(o.Radii, func(r net.Epsilon) bool { return r.Cmp(ball.Eps) >= 0 })
		image := b.ImageIndex(i) - o.First
		// Checks attack other points under the same index, and in other balls.
		if at >= 0 && ball.Norm == o.Norm && image >= 0 && image < len(l.s.Y) && b.Y[i] == l.s.Y[image] &&
			l.certified[at][image] && slices.Equal(l.image(b.X, i), l.image(l.s.X, image)) {
			proofs[k] = attack.Proved
		}
	}
	return nil
}

// confuse counts what images are taken for under attack.
func (l *look) confuse() {
	c, at := l.s.Net.Classes(), l.survey.at()
	l.m.Confusion = make([][]int, c)
	for y := range l.m.Confusion {
		l.m.Confusion[y] = make([]int, c+1)
	}
	for i, y := range l.s.Y {
		is := l.pred[i]
		if a := l.by(i, at); l.right[i] && a >= 0 {
			is = l.label[a][i]
		}
		if is < 0 {
			is = c
		}
		l.m.Confusion[y][is]++
	}
}

// check looks for signs that an attack at Eps is weaker than it looks.
func (l *look) check(ctx context.Context, a int) error {
	defer l.timed()()
	o := &l.survey.Options
	name := "checks of " + o.Attacks[a].Name()
	c := audit.Case{
		Target: l.s.Net, Pool: l.s.Pool, Level: o.Checks, Config: l.configs[a],
		Batch: attack.Batch{X: l.s.X, Y: l.s.Y, First: o.First}, Result: &l.found[a],
		Progress: func(check string, done, total int) { o.Progress(l.s.Name, name+": "+check, done, total) },
	}
	c.Config.Progress = nil
	if o.Surrogates != nil {
		var err error
		if c.Surrogates, err = o.Surrogates(l.s); err != nil {
			return err
		}
	}
	found := audit.Diagnose(ctx, c)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	l.m.Checks = append(l.m.Checks, report.PageChecks{Attack: o.Attacks[a].String(), Checks: found})
	return nil
}
