package train

import (
	"context"
	"math"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/epsball/epsball/kernels"
	"github.com/epsball/epsball/model"
	"github.com/epsball/epsball/net"
)

// cross64 is the cross-entropy with a share s of the target spread over all classes.
func cross64(z []float64, y int, s float64) (ce float64) {
	for j, p := range softmax64(z) {
		target := s / float64(len(z))
		if j == y {
			target += 1 - s
		}
		ce -= target * math.Log(p)
	}
	return ce
}

func boosted64(z []float64, y int) float64 {
	p := softmax64(z)
	k := (y + 1) % len(p)
	for j, v := range p {
		if j != y && v > p[k] {
			k = j
		}
	}
	rest := 0.0 // 1 − p_k
	for j, v := range p {
		if j != k {
			rest += v
		}
	}
	return -math.Log(p[y]) - math.Log(rest)
}

func squares64(a, b []float64) (sum float64) {
	for i, v := range a {
		sum += (v - b[i]) * (v - b[i])
	}
	return sum
}

// regular64 are losses in float64 of the logits z of an image and w of its point; v is what
// jacobian draws.
var regular64 = []struct {
	name   string
	method Method
	set    func(c *Config)
	loss   func(z, w, v []float64, y int) float64
}{
	{"label smoothing", Standard, func(c *Config) { c.LabelSmoothing = 0.3 }, func(z, _, _ []float64, y int) float64 { return cross64(z, y, 0.3) }},
	{"pgd, label smoothing", PGD, func(c *Config) { c.LabelSmoothing = 0.3 }, func(_, w, _ []float64, y int) float64 { return cross64(w, y, 0.3) }},
	{"trades, label smoothing", TRADES, func(c *Config) { c.LabelSmoothing = 0.3 }, func(z, w, _ []float64, y int) float64 {
		return cross64(z, y, 0.3) + 6*divergence64(z, w)
	}},
	{"mart", MART, func(*Config) {}, func(z, w, _ []float64, y int) float64 {
		return boosted64(w, y) + 5*divergence64(z, w)*(1-softmax64(z)[y])
	}},
	{"logit pairing", LogitPairing, func(*Config) {}, func(z, w, _ []float64, y int) float64 {
		return cross64(z, y, 0)/2 + cross64(w, y, 0)/2 + 0.5*squares64(z, w)
	}},
	// Weights of the differences are small: their float32 rounding is checked elsewhere.
	{"input gradient", InputGradient, func(c *Config) { c.Beta, c.Probe = 0.01, 0.05 }, func(z, w, _ []float64, y int) float64 {
		return cross64(z, y, 0) + 0.01*math.Pow((cross64(w, y, 0)-cross64(z, y, 0))/0.05, 2)
	}},
	{"jacobian", Jacobian, func(c *Config) { c.Beta, c.Probe = 0.01, 0.05 }, func(z, w, v []float64, y int) float64 {
		rise := 0.0
		for j := range v {
			rise += v[j] * (w[j] - z[j])
		}
		return cross64(z, y, 0) + 0.01/2*float64(len(z))*math.Pow(rise/0.05, 2)
	}},
}

// TestRegularGradients holds whole steps, batch norms included, against central differences
// of float64 references, the points being constants.
func TestRegularGradients(t *testing.T) {
	thorough(t)
	for _, r := range regular64 {
		for name, m := range map[string]*model.Model{"tiny": tinyNet(t), "layers": allLayers(t)} {
			t.Run(r.name+"/"+name, func(t *testing.T) {
				checkStep(t, m, r.method, r.set, r.loss, func(*stepper, *reference) {})
			})
		}
	}
}

// TestWeightAscentGradients: with weight perturbation the losses are those of the weights,
// and the gradient is that at the perturbed weights, which are perturbed by the gradient of
// a step without.
func TestWeightAscentGradients(t *testing.T) {
	thorough(t)
	const gamma = 0.1
	for _, r := range []struct {
		method Method
		loss   func(z, w, v []float64, y int) float64
	}{
		{PGD, func(_, w, _ []float64, y int) float64 { return cross64(w, y, 0) }},
		{TRADES, func(z, w, _ []float64, y int) float64 { return cross64(z, y, 0) + 6*divergence64(z, w) }},
	} {
		for name, m := range map[string]*model.Model{"tiny": tinyNet(t), "layers": allLayers(t)} {
			t.Run(string(r.method)+"/"+name, func(t *testing.T) {
				checkStep(t, m, r.method, func(c *Config) { c.AWP = gamma }, r.loss, func(s *stepper, f *reference) {
					c := *s.c
					c.AWP = 0
					plain := newTestStepper(t, m, noise(m, len(s.labels)), &c)
					require.NoError(t, plain.losses(context.Background(), 0, s.at, s.images))
					require.NoError(t, plain.update(context.Background()))
					for l, layer := range m.Arch.Layers {
						g := plain.grad.Params[l].W
						if layer.Kind != model.Conv && layer.Kind != model.FC {
							continue
						}
						zero := make([]float64, len(g))
						rate := gamma * math.Sqrt(squares64(f.params[l].w, zero)/squares64(widen(g), zero))
						require.Greater(t, rate, 0.0)
						for i, v := range g {
							f.params[l].w[i] += rate * float64(v)
						}
					}
				})
			})
		}
	}
}

// checkStep holds the losses of a step against a float64 reference, and its gradient against
// central differences of the reference where move has taken it.
func checkStep(t *testing.T, m *model.Model, method Method, set func(*Config), loss func(z, w, v []float64, y int) float64, move func(*stepper, *reference)) {
	const images = 9 // a lane group and a partial one
	d, c := noise(m, images), DefaultConfig(method)
	set(&c)
	c.BatchSize, c.TrainEps = images, net.MustEpsilon("0.08")
	s := newTestStepper(t, m, d, &c)
	at := point{lr: 1, eps: 0.08, kappa: 1, awp: c.AWP}
	f := newReference(m, 0, 1)
	g := f.apart()
	require.NoError(t, s.losses(context.Background(), 0, at, inOrder(images)))
	require.NoError(t, s.update(context.Background()))
	points := imagesOf(d)
	if s.o.needs.attack != nil {
		points = s.unpack(images)
	}
	drawn := make([][]float64, images)
	for i := range drawn {
		if attack := s.o.needs.attack; attack != nil && attack.draw != nil {
			v, stream := make([]float32, m.Arch.Classes()), kernels.NewStream(c.Seed, uint64(i), streamStart)
			attack.draw(v, &stream)
			drawn[i] = widen(v)
			assert.InDelta(t, 1, squares64(drawn[i], make([]float64, len(v))), 1e-6)
		}
	}
	each := func(i int) float64 { return loss(f.logits(d.Image(i)), g.logits(points[i]), drawn[i], d.Y[i]) }
	observe := func() {
		f.observe(imagesOf(d))
		g.observe(points)
	}
	observe()
	for i := range images {
		require.InEpsilon(t, each(i), s.loss[i], 1e-4)
	}
	move(s, &f) // and g: they share weights
	mean := func() (sum float64) {
		observe()
		for i := range images {
			sum += each(i)
		}
		return sum / images
	}
	for l, grad := range s.grad.Params {
		checkDifferences(t, "weight", f.params[l].w, grad.W, mean)
		checkDifferences(t, "bias", f.params[l].b, grad.B, mean)
	}
}

// TestProbes: they lie h from their image along the gradient, outside of [0, 1] perhaps, and
// at the image where there is no gradient.
func TestProbes(t *testing.T) {
	m := tinyNet(t)
	d, c := noise(m, 11), DefaultConfig(InputGradient)
	c.BatchSize = d.Len()
	clear(d.Image(3))
	s := newTestStepper(t, m, d, &c)
	require.NoError(t, s.losses(context.Background(), 0, point{}, inOrder(d.Len())))
	f := newReference(m, 0, 1)
	for i, probe := range s.unpack(d.Len()) {
		x := d.Image(i)
		var along, moved, all float64
		for k, v := range x {
			const h = 1.0 / (1 << 14)
			at := func(pixel float32) float64 {
				y := slices.Clone(x)
				y[k] = pixel
				return cross64(f.logits(y), d.Y[i], 0)
			}
			up, down := v+h, v-h
			slope, step := (at(up)-at(down))/float64(up-down), float64(probe[k])-float64(v)
			along += slope * step
			moved += step * step
			all += slope * slope
		}
		require.InDelta(t, 0.1, math.Sqrt(moved), 1e-6)
		require.Greater(t, along/math.Sqrt(moved*all), 0.999)
	}
	assert.Negative(t, slices.Min(s.unpack(d.Len())[3]))

	for i := range m.Params {
		clear(m.Params[i].W)
	}
	s = newTestStepper(t, m, d, &c)
	require.NoError(t, s.losses(context.Background(), 0, point{}, inOrder(d.Len())))
	assert.Equal(t, imagesOf(d), s.unpack(d.Len()))
	require.NoError(t, s.update(context.Background()))
}

// TestBoosted: certain and tied logits.
func TestBoosted(t *testing.T) {
	stream := kernels.NewStream(4, 0, 0)
	for range 200 {
		z, d := make([]float32, 2+stream.Intn(4)), make([]float32, 6)
		scale := 1 + 7*stream.Float32()
		for j := range z {
			z[j] = scale * stream.Norm()
		}
		y := stream.Intn(len(z))
		d = d[:len(z)]
		loss, z64 := boosted(d, z, y), widen(z)
		want := boosted64(z64, y)
		require.InDelta(t, want, loss, 2e-5*(1+want))
		for j := range z {
			const h = 1e-5
			z64[j] += h
			up := boosted64(z64, y)
			z64[j] -= 2 * h
			slope := (up - boosted64(z64, y)) / (2 * h)
			z64[j] += h
			require.InDelta(t, slope, d[j], 2e-5)
		}
	}
	d := make([]float32, 3)
	assert.Equal(t, float32(4e4), boosted(d, []float32{-2e4, 0, -3e4}, 0), "finite where 1 − p_k is 0")
	assert.Equal(t, []float32{-2, 2, 0}, d)
	assert.Zero(t, boosted(d, []float32{2e4, 0, -3e4}, 0))
	assert.Equal(t, []float32{0, 0, 0}, d)
	assert.InDelta(t, boosted64([]float64{1, 1, 1}, 2), boosted(d, []float32{1, 1, 1}, 2), 1e-6)
}

// TestRegularisersResist: on real digits, each withstands PGD better than standard training.
func TestRegularisersResist(t *testing.T) {
	thorough(t)
	all := digits(t, 2400)
	robust := func(m Method, set func(c *Config)) float64 {
		c := DefaultConfig(m)
		c.Epochs, c.BatchSize, c.LR = 8, 20, 3e-3
		if m.Radius() {
			c.TrainEps, c.RampEpochs, c.PGDSteps, c.PGDStepSize = net.MustEpsilon("0.1"), 4, 3, 0.6
		}
		set(&c)
		trained, _ := train(t, digitNet(t), all.Slice(0, 2000), c)
		return underPGD(t, trained, all.Slice(2000, 2400))
	}
	plain := robust(Standard, func(*Config) {})
	for _, w := range []struct {
		method Method
		set    func(c *Config)
		gain   float64
	}{
		{MART, func(*Config) {}, 0.4},
		{PGD, func(c *Config) { c.AWP = 0.01 }, 0.4},
		{InputGradient, func(c *Config) { c.Beta = 0.3 }, 0.1},
		{Jacobian, func(*Config) {}, 0.1},
		{LogitPairing, func(*Config) {}, 0.4},
	} {
		hardened := robust(w.method, w.set)
		t.Logf("under PGD-20 at 0.1: standard %.3f, %s %.3f", plain, w.method, hardened)
		assert.Greater(t, hardened, plain+w.gain, w.method)
	}
}
