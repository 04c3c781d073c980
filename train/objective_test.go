package train

import (
	"context"
	"encoding/json"
	"slices"
	"strconv"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/epsball/epsball/model"
	"github.com/epsball/epsball/net"
)

// register adds an objective for the time of a test.
func register(t testing.TB, o *objective) {
	old := objectives
	objectives = append(slices.Clone(objectives), o)
	t.Cleanup(func() { objectives = old })
}

// smallBoxes is the cross-entropy of bounds over boxes of half the radius around
// adversarial points, alone: no trace has a gradient.
func smallBoxes() *objective {
	return &objective{
		name:     "small-boxes",
		defaults: func(c *Config) { pgd.defaults(c); c.PGDSteps = 2 },
		settings: pgd.settings,
		accepts:  acceptsIntervals,
		needs: needs{
			clean: logits, attack: pgd.needs.attack,
			boxes: func(_ *Config, lo, hi, _, points []float32, at point) { box(lo, hi, points, at.eps/2) },
		},
		loss: func(_ *Config, e *example) {
			e.loss = net.CrossEntropy.Gradient(e.dWorst, e.worst, e.y, net.Untargeted)
			scaleBy(e.dWorst, e.scale)
			e.cleanRight, e.robustRight = net.Argmax(e.clean) == e.y, certified(e.worst, e.y)
		},
	}
}

// compared is half the cross-entropy of clean images, half that of bounds; points are
// only looked at.
func compared() *objective {
	o := smallBoxes()
	o.name = "compared"
	o.needs.clean, o.needs.points, o.needs.boxes = gradient, logits, wholeBall
	o.loss = func(_ *Config, e *example) {
		e.loss = float32(net.CrossEntropy.Gradient(e.dClean, e.clean, e.y, net.Untargeted) * 0.5)
		e.loss += float32(net.CrossEntropy.Gradient(e.dWorst, e.worst, e.y, net.Untargeted) * 0.5)
		scaleBy(e.dClean, e.scale*0.5)
		scaleBy(e.dWorst, e.scale*0.5)
		e.cleanRight, e.robustRight = net.Argmax(e.clean) == e.y, net.Argmax(e.points) == e.y
	}
	return o
}

// TestCombinedNeeds holds steps of objectives that combine traces, points and boxes
// against central differences of float64 references, the points being constants.
func TestCombinedNeeds(t *testing.T) {
	thorough(t)
	const eps, images = 0.08, 11
	ofPoints := func(_, g reference, _, adv []float32, y int) float64 {
		g.kappa = 1
		return g.loss(adv, y)
	}
	for _, c := range []struct {
		o      *objective
		change func(c *Config)                                       // nil: nothing
		reach  float64                                               // of the points
		loss   func(f, g reference, x, adv []float32, y int) float64 // f has the statistics of x, g those of adv
	}{
		{&mtlibp, func(c *Config) { c.Alpha, c.AttackScale = 0.3, 1.5 }, 1.5 * eps, func(f, g reference, x, adv []float32, y int) float64 {
			f.kappa, g.kappa = 0, 1
			return 0.7*g.loss(adv, y) + 0.3*f.loss(x, y)
		}},
		{&sabr, nil, 0.6 * eps, func(f, _ reference, x, adv []float32, y int) float64 {
			clean := f
			clean.kappa = 1
			f.eps, f.kappa = 0.4*eps, 0
			return 0.25*clean.loss(x, y) + 0.75*f.loss(adv, y)
		}},
		{smallBoxes(), nil, eps, func(f, _ reference, _, adv []float32, y int) float64 {
			f.eps, f.kappa = eps/2, 0
			return f.loss(adv, y)
		}},
		{&trades, nil, eps, func(f, g reference, x, adv []float32, y int) float64 {
			f.kappa = 1
			return f.loss(x, y) + 6*divergence64(f.logits(x), g.logits(adv))
		}},
		{&gaussian, func(c *Config) { c.Sigma = 0.05 }, 0.3, ofPoints},
		{&fgsm, nil, eps, ofPoints},
		{&nfgsm, nil, 3 * eps, ofPoints},
		{&free, nil, eps, ofPoints},
		{&pgd, func(c *Config) { c.Norm = "l2" }, eps, ofPoints},
		{compared(), nil, eps, func(f, g reference, x, adv []float32, y int) float64 {
			f.kappa = 0.5
			return f.loss(x, y)
		}},
	} {
		for name, m := range map[string]*model.Model{"tiny": tinyNet(t), "layers": allLayers(t)} {
			t.Run(string(c.o.name)+"/"+name, func(t *testing.T) {
				if objectiveOf(c.o.name) == nil {
					register(t, c.o)
				}
				d, conf := noise(m, images), DefaultConfig(c.o.name)
				conf.BatchSize, conf.TrainEps = images, net.MustEpsilon("0.08")
				if c.change != nil {
					c.change(&conf)
				}
				s := newTestStepper(t, m, d, &conf)
				s.each(func(delta []float32) {
					for i := range delta {
						delta[i] = eps / 2
					}
				})
				f := newReference(m, eps, 0)
				g := f.apart()
				require.NoError(t, s.losses(context.Background(), 0, point{lr: 1, eps: eps, kappa: 0.25}, inOrder(images)))
				require.NoError(t, s.update(context.Background()))
				points := s.unpack(images)
				for i := range points {
					assert.NotEqual(t, d.Image(i), points[i])
					for k, v := range d.Image(i) {
						require.InDelta(t, v, points[i][k], c.reach+1e-6)
					}
				}
				observe := func() {
					if c.o.needs.clean == gradient {
						f.observe(imagesOf(d))
					}
					if c.o.needs.points == gradient {
						g.observe(points)
					}
				}
				observe()
				if c.o.needs.clean == gradient {
					f = f.fix(f)
				} else {
					f = f.fix(g)
				}
				mean := func() (sum float64) {
					observe()
					for i, y := range d.Y {
						sum += c.loss(f, g, d.Image(i), points[i], y)
					}
					return sum / images
				}
				for i, y := range d.Y {
					require.InEpsilon(t, c.loss(f, g, d.Image(i), points[i], y), s.loss[i], 1e-4)
				}
				for l, grad := range s.grad.Params {
					checkDifferences(t, "weight", f.params[l].w, grad.W, mean)
					checkDifferences(t, "bias", f.params[l].b, grad.B, mean)
				}
			})
		}
	}
}

// TestNewObjectiveTrains: what is in the list has all that the built-in ones have.
func TestNewObjectiveTrains(t *testing.T) {
	for _, o := range []*objective{smallBoxes(), compared()} {
		register(t, o)
		assert.Contains(t, Methods(), o.name)
		want := ""
		for threads := 1; threads <= 3; threads++ {
			c := quick(o.name)
			c.Threads, c.BatchSize = threads, 37
			r, _ := train(t, tinyNet(t), noise(tinyNet(t), 120), c)
			if want == "" {
				want = r.Hash()
			}
			require.Equal(t, want, r.Hash())
		}
		c := quick(o.name)
		c.Winograd = true
		_, err := New(tinyNet(t), noise(tinyNet(t), 64), c)
		wantField(t, err, "winograd")
		m := random(t, model.Architecture{Input: model.Shape{C: 1, H: 2, W: 2}, Layers: []model.Layer{{Kind: model.FC, Out: 3}, {Kind: model.ReLU}}})
		_, err = New(m, noise(m, 64), quick(o.name))
		wantField(t, err, "model")
	}
}

// TestSettings: each is reached by its name, and its value can be copied.
func TestSettings(t *testing.T) {
	for _, m := range Methods() {
		assert.NotEmpty(t, m.About())
		from := DefaultConfig(m)
		to := Config{Method: m}
		for _, s := range slices.Concat(m.Settings(), CommonSettings()) {
			s.Copy(&to, &from)
			assert.Equal(t, s.Value(&from), s.Value(&to), s.Field)
			want := one(s, &to)
			file, err := json.Marshal(to)
			require.NoError(t, err)
			assert.Contains(t, string(file), `"`+s.Field+`":`+want, "errors name the field as checkpoints do")
			assert.NotEmpty(t, s.Flag)
			assert.NotEmpty(t, s.Usage)
		}
		assert.Equal(t, !slices.Contains([]Method{Standard, Gaussian, InputGradient, Jacobian}, m), m.Radius())
		assert.Equal(t, slices.Contains([]Method{IBP, CROWNIBP, SABR, MTLIBP}, m), m.Bounds())
	}
	assert.Nil(t, Method("none").Settings())
	all := map[*Setting]bool{}
	for _, s := range Settings() {
		assert.False(t, all[s], "%s is there twice", s.Field)
		all[s] = true
	}
	for _, m := range Methods() {
		for _, s := range m.Settings() {
			assert.True(t, all[s], s.Field)
		}
		parsed, err := ParseMethod(string(m))
		assert.NoError(t, err)
		assert.Equal(t, m, parsed)
	}
	_, err := ParseMethod("none")
	assert.ErrorContains(t, err, `method: got "none", want one of [standard`)
	assert.Empty(t, Method("none").About())
}

func inOrder(n int) []int32 {
	order := make([]int32, n)
	for i := range order {
		order[i] = int32(i)
	}
	return order
}

// one sets a setting to 1, true, or the last of its choices, and returns that as JSON.
func one(s *Setting, c *Config) string {
	switch p := s.Of(c).(type) {
	case *int:
		*p = 1
	case *float64:
		*p = 1
	case *[]float64:
		*p = []float64{1}
		return "[1]"
	case *bool:
		*p = true
		return "true"
	case *string:
		*p = s.Choices[len(s.Choices)-1]
		return strconv.Quote(*p)
	}
	return "1"
}
