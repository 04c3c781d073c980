package survey

import (
	"context"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/epsball/epsball/attack"
	"github.com/epsball/epsball/audit"
	"github.com/epsball/epsball/internal/input"
	"github.com/epsball/epsball/internal/show"
	"github.com/epsball/epsball/net"
	"github.com/epsball/epsball/report"
	"github.com/epsball/epsball/verify"
)

// look is what has been seen of one model.
type look struct {
	survey *survey
	s      *input.Subject
	m      *report.PageModel
	t      *report.PageTiming

	logits []float32 // of the images
	pred   []int
	right  []bool // classified correctly

	certified [][]bool // by radius; nil: not proved yet
	fooled    [][]int  // by attack, then image: place of the smallest radius at which it is fooled
	label     [][]int  // the class it is then taken for
	done      [][]bool // by attack, then radius: it ran there
	found     []attack.Result
	configs   []attack.Config // of found
}

// never is a place after all radii.
const never = math.MaxInt

func newLook(s *survey, sub *input.Subject, m *report.PageModel, t *report.PageTiming) *look {
	l := &look{
		survey: s, s: sub, m: m, t: t,
		found: make([]attack.Result, len(s.Attacks)), configs: make([]attack.Config, len(s.Attacks)),
	}
	for range s.Attacks {
		l.fooled = append(l.fooled, slices.Repeat([]int{never}, len(sub.Y)))
		l.label = append(l.label, slices.Clone(sub.Y))
		l.done = append(l.done, make([]bool, len(s.Radii)))
	}
	return l
}

// passes are those of one model after the first looks at all of them: proofs, which spare
// attacks work; attacks at Eps, which more than one figure shows; the other radii.
func (l *look) passes() []pass {
	s := l.survey
	list := []pass{{l, "proofs by " + s.How.Method.String(), l.prove}}
	attackAt := func(a, at int) {
		list = append(list, pass{l, fmt.Sprintf("%v at %s", s.Attacks[a], s.Radii[at]), func(ctx context.Context) error { return l.attack(ctx, a, at) }})
	}
	for a := range s.Attacks {
		attackAt(a, s.at())
	}
	list = append(list, pass{l, "gallery", l.gallery})
	for at := range s.Radii {
		for a := range s.Attacks {
			if at != s.at() {
				attackAt(a, at)
			}
		}
	}
	for a := range s.Attacks {
		if s.Checks != audit.LevelOff {
			list = append(list, pass{l, "checks of " + s.Attacks[a].String(), func(ctx context.Context) error { return l.check(ctx, a) }})
		}
	}
	return list
}

// timed adds up the time of a pass.
func (l *look) timed() func() {
	start := time.Now()
	return func() { l.t.Seconds += time.Since(start).Seconds() }
}

func (l *look) progress(pass string, images int) func(done int) {
	l.survey.Progress(l.s.Name, pass, 0, images)
	return func(done int) { l.survey.Progress(l.s.Name, pass, done, images) }
}

// image is one of the numbers of all images.
func (l *look) image(v []float32, i int) []float32 {
	size := l.s.Net.Input().Size()
	return v[i*size : (i+1)*size]
}

func (l *look) clean(ctx context.Context) error {
	defer l.timed()()
	n, c := len(l.s.Y), l.s.Net.Classes()
	l.progress("clean", n)
	l.logits = make([]float32, n*c)
	start := time.Now()
	if err := attack.Logits(ctx, l.s.Net, l.s.Pool, l.logits, attack.Batch{X: l.s.X, First: l.survey.First}); err != nil {
		return err
	}
	l.t.Forward = show.PerSecond(int64(n), time.Since(start).Seconds())
	l.pred, l.right = make([]int, n), make([]bool, n)
	for i, y := range l.s.Y {
		l.pred[i] = net.Argmax(l.logits[i*c : (i+1)*c])
		l.right[i] = l.pred[i] == y
	}
	l.m.Clean = l.fraction(func(i int) bool { return l.right[i] })
	return nil
}

// fraction is that of the images for which holds is true.
func (l *look) fraction(holds func(i int) bool) *float64 {
	n := 0
	for i := range l.s.Y {
		if holds(i) {
			n++
		}
	}
	f := show.Fraction(n, len(l.s.Y))
	return &f
}

// prove finds certified radii, and from them what is certified at each radius.
func (l *look) prove(ctx context.Context) error {
	defer l.timed()()
	o := &l.survey.Options
	v, err := verify.New(l.s.Net, l.s.Pool)
	if err != nil {
		return err
	}
	v.KeepSlopes()
	v.JoinBalls()
	if err := v.Prepare(o.How); err != nil {
		return err
	}
	n := len(l.s.Y)
	tell := l.progress("proofs by "+o.How.Method.String(), n)
	steps := make([]int, 0, n)
	start := time.Now()
	block := max(8, 4*l.s.Pool.Workers())
	for at := 0; at < n; at += block {
		to := min(at+block, n)
		size := l.s.Net.Input().Size()
		var res verify.RadiusResult
		if err := v.Radius(ctx, o.How, o.Norm, o.Resolution, o.Radii[len(o.Radii)-1], verify.Batch{X: l.s.X[at*size : to*size], Y: l.s.Y[at:to]}, &res); err != nil {
			return err
		}
		steps = append(steps, res.Steps...)
		tell(to)
	}
	l.t.Proofs = show.PerSecond(int64(n), time.Since(start).Seconds())
	certified := make([][]bool, len(o.Radii))
	for at := len(o.Radii) - 1; at >= 0; at-- {
		if certified[at], err = l.certifiedAt(ctx, v, steps, at); err != nil {
			return err
		}
		for i := range steps { // a larger ball holds the smaller one
			certified[at][i] = certified[at][i] || at+1 < len(o.Radii) && certified[at+1][i]
		}
	}
	for i, k := range steps {
		if k >= 0 && !l.right[i] {
			return &audit.Contradiction{Image: o.First + i, Ball: net.Ball{Norm: o.Norm, Eps: o.Resolution.Times(k)}}
		}
	}
	l.m.Certified, l.certified = steps, certified
	l.report()
	return nil
}

// certifiedAt says which images are certified at a radius of the page. Where that lies
// between the radius found and the next one tried, it is tried itself.
func (l *look) certifiedAt(ctx context.Context, v *verify.Verifier, steps []int, at int) ([]bool, error) {
	o := &l.survey.Options
	below, whole := o.Radii[at].Steps(o.Resolution, math.MaxInt32)
	certified := make([]bool, len(steps))
	var between []int
	var b verify.Batch
	for i, k := range steps {
		switch {
		case k > below, k == below && whole:
			certified[i] = true
		case k == below:
			between = append(between, i)
			b.X, b.Y = append(b.X, l.image(l.s.X, i)...), append(b.Y, l.s.Y[i])
		}
	}
	if between == nil {
		return certified, nil
	}
	var res verify.Result
	err := v.Certify(ctx, o.How, o.ball(at), b, &res)
	for k, i := range between {
		certified[i] = err == nil && res.Certified[k]
	}
	return certified, err
}

// report fills in the curves as far as they are known.
func (l *look) report() {
	o := &l.survey.Options
	if l.right == nil {
		return
	}
	l.m.Points = make([]report.PagePoint, len(o.Radii))
	for at := range o.Radii {
		p := &l.m.Points[at]
		p.NotFooled = make([]*float64, len(o.Attacks))
		all := true
		for a := range o.Attacks {
			if !l.done[a][at] {
				all = false
				continue
			}
			p.NotFooled[a] = l.fraction(func(i int) bool { return l.right[i] && l.fooled[a][i] > at })
		}
		if all {
			p.Standing = l.fraction(func(i int) bool { return l.right[i] && l.by(i, at) < 0 })
		}
		if l.certified != nil {
			p.Certified = l.fraction(func(i int) bool { return l.certified[at][i] })
		}
	}
}

// by returns the last attack that fools image i at a radius or a smaller one, −1: none.
func (l *look) by(i, at int) int {
	for a := len(l.fooled) - 1; a >= 0; a-- {
		if l.fooled[a][i] <= at {
			return a
		}
	}
	return -1
}
