package survey

import (
	"bytes"
	"context"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/epsball/epsball/attack"
	"github.com/epsball/epsball/audit"
	"github.com/epsball/epsball/internal/countdown"
	"github.com/epsball/epsball/internal/input"
	"github.com/epsball/epsball/kernels"
	"github.com/epsball/epsball/model"
	"github.com/epsball/epsball/net"
	"github.com/epsball/epsball/report"
	"github.com/epsball/epsball/verify"
)

func arch(layers ...model.Layer) *model.Architecture {
	return &model.Architecture{Name: "tiny", Input: model.Shape{C: 1, H: 6, W: 6}, Layers: layers}
}

func convArch() *model.Architecture {
	return arch(model.Layer{Kind: model.Conv, Out: 4, Kernel: [2]int{3, 3}, Stride: [2]int{1, 1}}, model.Layer{Kind: model.ReLU}, model.Layer{Kind: model.FC, Out: 5})
}

const first = 7 // index of the first image

// subjects are two tiny models with the same n images, labelled by the first one but for
// a few.
func subjects(t *testing.T, threads, n int) []*input.Subject {
	var list []*input.Subject
	x := make([]float32, n*36)
	s := kernels.NewStream(7, 0, 0)
	for i := range x {
		x[i] = s.Float32()
	}
	var y []int
	for seed, a := range []*model.Architecture{convArch(), arch(model.Layer{Kind: model.FC, Out: 5})} {
		m, err := model.Random(a, uint64(seed+1))
		require.NoError(t, err)
		m.Card = map[string]string{"method": "standard", report.CardHistory: "[]"}
		c, err := net.Compile(m, net.Options{Backward: true})
		require.NoError(t, err)
		pool := kernels.NewPool(threads)
		t.Cleanup(pool.Close)
		if y == nil {
			y, err = attack.Predict(context.Background(), c, pool, attack.Batch{X: x})
			require.NoError(t, err)
			for i := 3; i < n; i += 10 {
				y[i] = (y[i] + 1) % 5
			}
		}
		list = append(list, &input.Subject{Name: []string{"conv", "fc"}[seed], Model: m, Net: c, Pool: pool, X: x, Y: y})
	}
	return list
}

func options() Options {
	var radii []net.Epsilon
	for _, r := range []string{"1/255", "0.01", "0.03", "0.1"} {
		radii = append(radii, net.MustEpsilon(r))
	}
	return Options{
		Eps: net.MustEpsilon("0.03"), Radii: radii,
		Attacks: []attack.Method{attack.FGSM{}, attack.PGD{Steps: 5, Seed: 1}, attack.Fast{Seed: 1}},
		How:     verify.Options{Method: verify.MethodCROWN, Ladder: true}, Resolution: net.MustEpsilon("0.002"),
		Checks: audit.LevelQuick, Gallery: 4, Shape: model.Shape{C: 1, H: 6, W: 6}, First: first,
	}
}

func newPage() *report.Page {
	return &report.Page{Envelope: report.Envelope{Epsball: report.Header{Command: "report"}}}
}

// document is a page without what differs from run to run.
func document(t *testing.T, p *report.Page) string {
	q := *p
	q.Timings = nil
	var b bytes.Buffer
	require.NoError(t, report.Write(&b, &q))
	return b.String()
}

func TestRun(t *testing.T) {
	ctx, o, n := context.Background(), options(), 60
	subs := subjects(t, 2, n)
	p := newPage()
	require.NoError(t, Run(ctx, subs, o, p))
	require.NoError(t, p.Check())
	assert.Empty(t, p.Left)
	assert.Equal(t, 2, p.At())
	assert.Equal(t, 50, p.Tried)
	fooled := 0
	for i, s := range subs {
		m := &p.Models[i]
		assert.NotContains(t, m.Card, report.CardHistory)
		// At each radius, an attack on all images from scratch fools none but those that the
		// page counts, and proofs that do not know of a search agree with it.
		for at, r := range o.Radii {
			e, err := audit.Evaluate(ctx, s.Net, s.Pool, s.X, s.Y, audit.Options{Ball: net.Ball{Eps: r}, Attacks: o.Attacks, First: first})
			require.NoError(t, err)
			assert.Equal(t, e.Clean, *m.Clean)
			for a := range o.Attacks {
				got := *m.Points[at].NotFooled[a]
				assert.LessOrEqual(t, got, e.Attacks[a].Robust)
				assert.InDelta(t, e.Attacks[a].Robust, got, 2.5/float64(n))
				if at > 0 {
					assert.LessOrEqual(t, got, *m.Points[at-1].NotFooled[a])
				}
				assert.LessOrEqual(t, *m.Points[at].Standing, got)
				fooled += int((*m.Clean-got)*float64(n) + 0.5)
			}
			v, err := verify.New(s.Net, s.Pool)
			require.NoError(t, err)
			var res verify.Result
			require.NoError(t, v.Certify(ctx, o.How, net.Ball{Eps: r}, verify.Batch{X: s.X, Y: s.Y}, &res))
			_, certified := res.Count()
			assert.Equal(t, float64(certified)/float64(n), *m.Points[at].Certified, "%s at %s", m.Name, r)
			assert.LessOrEqual(t, *m.Points[at].Certified, *m.Points[at].Standing)
		}
		// What the matrix has beside its diagonal is what is wrong or fooled.
		right, all := 0, 0
		for y, row := range m.Confusion {
			right += row[y]
			for _, k := range row {
				all += k
			}
		}
		assert.Equal(t, n, all)
		assert.InDelta(t, *m.Points[p.At()].Standing, float64(right)/float64(n), 1e-12)

		require.Len(t, m.Gallery, 4)
		for k, g := range m.Gallery {
			assert.Equal(t, g.Fooled, g.Was == p.Images[k].Label && g.Is != g.Was)
			assert.LessOrEqual(t, g.Distance, 0.03+1e-9)
			assert.Greater(t, g.Before, 0.2)
		}
		require.Len(t, m.Checks, len(o.Attacks))
		for _, c := range m.Checks {
			for _, f := range c.Checks {
				assert.NotContains(t, []audit.Outcome{audit.Fail, audit.Stopped}, f.Verdict, "%s %s: %s", c.Attack, f.Name, f.Detail)
			}
		}
		assert.Positive(t, m.Gradients.Linear)
		assert.Empty(t, m.Filters.Why)
	}
	assert.Positive(t, fooled)
	assert.Equal(t, []int{5, 36}, p.Models[1].Filters.Shape)
	assert.Equal(t, 5*7-1, p.Models[1].Filters.Picture.Width, "filters of fc are images")

	again := newPage()
	require.NoError(t, Run(ctx, subjects(t, 1, n), o, again))
	assert.Equal(t, document(t, p), document(t, again), "threads do not matter")
}

// TestLinear: of a linear network, gradients say exactly from which radius on it is fooled.
func TestLinear(t *testing.T) {
	subs := subjects(t, 2, 40)[1:]
	o := options()
	o.Attacks, o.Checks = []attack.Method{attack.PGD{Steps: 20}}, audit.LevelOff
	p := newPage()
	require.NoError(t, Run(context.Background(), subs, o, p))
	at := net.MustEpsilon("0.001")
	linear := p.Models[0].Gradients.Linear
	steps := int(linear / 0.001)
	count := func(eps net.Epsilon) float64 {
		e, err := audit.Evaluate(context.Background(), subs[0].Net, subs[0].Pool, subs[0].X, subs[0].Y, audit.Options{Ball: net.Ball{Eps: eps}, Attacks: o.Attacks})
		require.NoError(t, err)
		return e.Attacks[0].Robust / e.Clean
	}
	assert.GreaterOrEqual(t, count(at.Times(steps-1)), 0.45)
	assert.LessOrEqual(t, count(at.Times(2*steps+1)), 0.5)
}

// TestCancel: whenever a run is interrupted, the page is one that can be drawn, and what is
// there is what a whole run finds.
func TestCancel(t *testing.T) {
	o := options()
	whole := newPage()
	require.NoError(t, Run(context.Background(), subjects(t, 1, 20), o, whole))
	seen := map[int]bool{}
	for looks := int64(0); ; looks += 1 + looks/10 {
		p := newPage()
		err := Run(countdown.New(looks), subjects(t, 1, 20), o, p)
		require.NoError(t, p.Check())
		if err == nil {
			break
		}
		require.ErrorIs(t, err, context.Canceled)
		require.NotEmpty(t, p.Left)
		seen[len(p.Left)] = true
		for i := range p.Models {
			got, want := &p.Models[i], &whole.Models[i]
			if got.Clean != nil {
				assert.Equal(t, *want.Clean, *got.Clean)
			}
			for at := range got.Points {
				for a, f := range got.Points[at].NotFooled {
					if f != nil {
						assert.GreaterOrEqual(t, *f, *want.Points[at].NotFooled[a])
					}
				}
				if f := got.Points[at].Certified; f != nil {
					assert.Equal(t, *want.Points[at].Certified, *f)
				}
			}
		}
	}
	assert.Greater(t, len(seen), 10)
}

// TestContradiction: what is fooled is not certified, or nothing can be trusted.
func TestContradiction(t *testing.T) {
	o, subs := options(), subjects(t, 1, 20)
	s := &survey{Options: o, page: newPage()}
	s.Progress = func(string, string, int, int) {}
	s.describe(subs)
	l := s.looks[0]
	ctx := context.Background()
	require.NoError(t, l.clean(ctx))
	require.NoError(t, l.prove(ctx))
	for i := range l.certified[3] {
		l.certified[3][i] = true
	}
	var bad *audit.Contradiction
	require.ErrorAs(t, l.attack(ctx, 1, 3), &bad)
	assert.GreaterOrEqual(t, bad.Image, first)
}

// TestKnown: a proof is of one image in one ball.
func TestKnown(t *testing.T) {
	o, subs := options(), subjects(t, 1, 20)
	s := &survey{Options: o, page: newPage()}
	s.Progress = func(string, string, int, int) {}
	s.describe(subs)
	l := s.looks[0]
	require.NoError(t, l.clean(context.Background()))
	require.NoError(t, l.prove(context.Background()))
	at := -1
	for i, ok := range l.certified[1] {
		if ok {
			at = i
		}
	}
	require.GreaterOrEqual(t, at, 0)
	ask := func(eps string, norm net.Norm, b attack.Batch) attack.Proof {
		proofs := make([]attack.Proof, 1)
		require.NoError(t, l.known(context.Background(), net.Ball{Norm: norm, Eps: net.MustEpsilon(eps)}, b, nil, []int{0}, proofs))
		return proofs[0]
	}
	x := append([]float32{}, l.image(l.s.X, at)...)
	b := attack.Batch{X: x, Y: []int{l.s.Y[at]}, First: first + at}
	assert.Equal(t, attack.Proved, ask("0.01", net.Linf, b))
	assert.Equal(t, attack.Proved, ask("0.005", net.Linf, b), "a smaller ball")
	assert.NotEqual(t, attack.Proved, ask("0.2", net.Linf, b))
	assert.NotEqual(t, attack.Proved, ask("0.01", net.L2, b))
	other := b
	other.First++
	assert.NotEqual(t, attack.Proved, ask("0.01", net.Linf, other))
	other = b
	other.Y = []int{(b.Y[0] + 1) % 5}
	assert.NotEqual(t, attack.Proved, ask("0.01", net.Linf, other))
	x[0] /= 2
	assert.NotEqual(t, attack.Proved, ask("0.01", net.Linf, b))
}

func TestValidate(t *testing.T) {
	for want, change := range map[string]func(o *Options){
		"attacks: none":      func(o *Options) { o.Attacks = nil },
		"resolution: got 0":  func(o *Options) { o.Resolution = net.Epsilon{} },
		"gallery: got -1":    func(o *Options) { o.Gallery = -1 },
		"radii: want 0.02 ":  func(o *Options) { o.Eps = net.MustEpsilon("0.02") },
		"radii: want them a": func(o *Options) { o.Radii[0], o.Radii[1] = o.Radii[1], o.Radii[0] },
		"radii: ":            func(o *Options) { o.Radii[3] = net.MustEpsilon("2") },
	} {
		o := options()
		change(&o)
		err := Run(context.Background(), subjects(t, 1, 5), o, newPage())
		require.Error(t, err)
		assert.True(t, strings.HasPrefix(err.Error(), want), "%v", err)
	}
	require.Error(t, Run(context.Background(), nil, options(), newPage()))
}

// TestNoPictures: images of other numbers of channels are looked at without pictures.
func TestNoPictures(t *testing.T) {
	subs := subjects(t, 1, 10)
	o := options()
	o.Shape, o.Checks = model.Shape{C: 36, H: 1, W: 1}, audit.LevelOff
	p := newPage()
	require.NoError(t, Run(context.Background(), subs, o, p))
	require.NoError(t, p.Check())
	assert.Contains(t, p.NoPictures, "36")
	assert.Empty(t, p.Images)
	assert.NotNil(t, p.Models[0].Filters.Picture.PNG, "filters of one channel are pictures all the same")
}
