package audit

import (
	"context"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/epsball/epsball/attack"
	"github.com/epsball/epsball/internal/plain"
	"github.com/epsball/epsball/internal/redteam"
	"github.com/epsball/epsball/internal/testsize"
	"github.com/epsball/epsball/kernels"
	"github.com/epsball/epsball/model"
	"github.com/epsball/epsball/net"
	"github.com/epsball/epsball/verify"
)

func conv(out, k, s, p int) model.Layer {
	return model.Layer{Kind: model.Conv, Out: out, Kernel: [2]int{k, k}, Stride: [2]int{s, s}, Padding: [2]int{p, p}}
}

func fc(out int) model.Layer { return model.Layer{Kind: model.FC, Out: out} }

// randomArchitecture draws a small net of every layer kind.
func randomArchitecture(r *rand.Rand) *model.Architecture {
	a := &model.Architecture{Name: "random", Input: model.Shape{C: 1 + r.IntN(3), H: 2 + r.IntN(5), W: 2 + r.IntN(5)}}
	if r.IntN(3) == 0 {
		n := model.Layer{Kind: model.Normalize}
		for range a.Input.C {
			n.Mean, n.Std = append(n.Mean, r.Float32()), append(n.Std, 0.05+r.Float32())
		}
		a.Layers = append(a.Layers, n)
	}
	relu := func() {
		if r.IntN(8) > 0 {
			a.Layers = append(a.Layers, model.Layer{Kind: model.ReLU})
		}
	}
	for range r.IntN(3) {
		k := 1 + r.IntN(2)
		a.Layers = append(a.Layers, conv(1+r.IntN(6), k, 1+r.IntN(2), r.IntN(k)))
		relu()
	}
	for range r.IntN(3) {
		a.Layers = append(a.Layers, fc(1+r.IntN(9)))
		relu()
	}
	a.Layers = append(a.Layers, fc(2+r.IntN(5)))
	return a
}

// keystone attacks images right at, and just beyond, the radius certified for
// each: nothing may ever be both attacked and certified. It returns how many
// images were certified and how many attacked.
func keystone(t *testing.T, m *model.Model, norm net.Norm, x []float32, resolution string, seed uint64) (certified, attacked int) {
	t.Helper()
	n, err := net.Compile(m, net.Options{Backward: true, Batches: net.Batches(seed / 8 % 3)})
	require.NoError(t, err)
	pool := kernels.NewPool(1)
	defer pool.Close()
	size, c := n.Input().Size(), n.Classes()
	count := len(x) / size
	logits, y := make([]float32, count*c), make([]int, count)
	ctx := context.Background()
	require.NoError(t, n.NewRunner(pool).Logits(ctx, logits, x, count))
	for i := range y {
		y[i] = max(0, net.Argmax(logits[i*c:(i+1)*c]))
	}
	how := verify.Options{Method: verify.Method(seed % 4), Ladder: seed%8 < 4, Iterations: 2}
	prover, err := verify.New(n, pool)
	require.NoError(t, err)
	step := net.MustEpsilon(resolution)
	var radius verify.RadiusResult
	require.NoError(t, prover.Radius(ctx, how, norm, step, net.MustEpsilon("1"), verify.Batch{X: x, Y: y}, &radius))
	for i, k := range radius.Steps {
		img, label := x[i*size:(i+1)*size], y[i:i+1]
		for _, steps := range []int{k, k + 1, 2*k + 2, 20*k + 20} {
			ball := net.Ball{Norm: norm, Eps: step.Times(max(0, steps))}
			if ball.Validate() != nil {
				continue
			}
			var cert verify.Result
			require.NoError(t, prover.Certify(ctx, how, ball, verify.Batch{X: img, Y: label}, &cert))
			for _, how := range []attack.Method{
				attack.PGD{Steps: 12, Restarts: 2, Loss: net.Margin, Seed: seed},
				attack.PGD{Steps: 12, Restarts: 2, Seed: seed},
				attack.APGD{Steps: 12, Loss: net.Margin, Seed: seed},
			} {
				a, err := attack.New(n, attack.Config{Ball: ball, Method: how}, pool)
				require.NoError(t, err)
				var res attack.Result
				require.NoError(t, a.Run(ctx, attack.Batch{X: img, Y: label, First: i}, &res))
				require.NoError(t, Check(ball, img, &res, &cert, i), "model seed %d", seed)
				if cert.Certified[0] {
					require.GreaterOrEqual(t, res.Margin[0], cert.Margin[0], "the attack found a margin below the proved bound")
					certified++
				}
				if res.Success[0] {
					attacked++
				}
			}
		}
	}
	return certified, attacked
}

func images(r *rand.Rand, n int) []float32 {
	x := make([]float32, n)
	for i := range x {
		x[i] = float32(r.IntN(256)) / 255
		if r.IntN(3) == 0 {
			x[i] = r.Float32()
		}
	}
	return x
}

func tryKeystone(t *testing.T, seed uint64) (certified, attacked int) {
	r := rand.New(rand.NewPCG(seed, 11))
	a := randomArchitecture(r)
	if seed%2 == 1 {
		a = plain.RandomGraph(r)
	}
	m, err := model.Random(a, seed)
	if err != nil || a.Classes() < 2 { // not every draw is an architecture
		return 0, 0
	}
	if r.IntN(3) == 0 { // weights that cancel, so that rounding matters
		for _, p := range m.Params {
			for i := range p.W {
				p.W[i] = p.W[i]*0x1p-12 + float32(1-2*(i%2))
			}
		}
	}
	if store := r.IntN(8); store < 5 { // another network, if weights are rounded
		if m, err = m.Store(func(i int) model.Storage {
			return model.Storage{Type: model.DType((store + i) % 3), Tiles: (store+i)%2 == 0}
		}); err != nil {
			return 0, 0 // weights out of range
		}
	}
	resolution := []string{"1/100", "1e-4", "1/3000"}[r.IntN(3)]
	return keystone(t, m, net.Norm(r.IntN(2)), images(r, 3*a.Input.Size()), resolution, seed)
}

func TestKeystone(t *testing.T) {
	rounds := uint64(testsize.Of(400, 40))
	certified, attacked := 0, 0
	for seed := range rounds {
		c, a := tryKeystone(t, seed)
		certified += c
		attacked += a
	}
	t.Logf("%d certified, %d attacked", certified, attacked)
	require.Greater(t, certified, int(rounds), "too few certificates for the test to mean anything")
	require.Greater(t, attacked, int(rounds), "too few attacks for the test to mean anything")
}

// TestKeystoneResidual is the keystone on a small residual net with trained-like
// weights: contracting, so that certificates and attacks both occur.
func TestKeystoneResidual(t *testing.T) {
	from := func(k int, l model.Layer) model.Layer {
		l.Inputs = []int{k}
		return l
	}
	relu := model.Layer{Kind: model.ReLU}
	add := func(p, q int) model.Layer { return model.Layer{Kind: model.Add, Inputs: []int{p, q}} }
	a := &model.Architecture{Name: "residual", Input: model.Shape{C: 2, H: 6, W: 6}, Layers: []model.Layer{
		{Kind: model.Normalize, Mean: []float32{0.4, 0.5}, Std: []float32{0.3, 0.2}},
		conv(4, 3, 1, 1), relu, conv(4, 3, 1, 1), add(3, 2), relu,
		conv(6, 3, 2, 1), relu, conv(6, 3, 1, 1), from(5, conv(6, 1, 2, 0)), add(8, 9), relu, fc(5),
	}}
	r := rand.New(rand.NewPCG(6, 11))
	certified, attacked := 0, 0
	for seed := range uint64(6) {
		m, err := model.Random(a, seed)
		require.NoError(t, err)
		c, at := keystone(t, m, net.Norm(seed%2), images(r, 3*a.Input.Size()), "1/5000", seed)
		certified += c
		attacked += at
	}
	require.Positive(t, certified)
	require.Positive(t, attacked)
}

// TestKeystoneLayers is the keystone on networks of every kind of layer.
func TestKeystoneLayers(t *testing.T) {
	rounds := uint64(testsize.Of(160, 24))
	r := rand.New(rand.NewPCG(7, 11))
	certified, attacked := 0, 0
	for seed := range rounds {
		a := plain.RandomLayers(r)
		if a.Classes() < 2 || a.Classes() > 40 {
			continue
		}
		m := plain.Random(a, r)
		resolution := []string{"1/100", "1e-4", "1/3000"}[r.IntN(3)]
		c, at := keystone(t, m, net.Norm(seed%2), images(r, 2*a.Input.Size()), resolution, seed)
		certified += c
		attacked += at
	}
	t.Logf("%d certified, %d attacked", certified, attacked)
	require.Greater(t, certified, int(rounds))
	require.Greater(t, attacked, int(rounds))
}

// everyAttack attacks three images of a random network with an attack of the registry, and
// asks every bound that has the norm what it certifies in the same ball.
func everyAttack(t *testing.T, k attack.Kind, seed uint64) (norm net.Norm, certified, attacked int) {
	t.Helper()
	r := rand.New(rand.NewPCG(seed, 12))
	a := plain.RandomLayers(r)
	if seed%2 == 0 {
		a = randomArchitecture(r)
	}
	m, err := model.Random(a, seed)
	if err != nil || a.Classes() < 2 || a.Classes() > 12 {
		return net.L0, 0, 0
	}
	n, err := net.Compile(m, net.Options{Backward: true})
	require.NoError(t, err)
	var options []string
	for _, f := range k.New().Fields() {
		options = append(options, f.Name)
	}
	var how attack.Method
	var ball net.Ball
	for how == nil || how.Validate(ball, n.Classes()) != nil { // settings that go together
		how, err = attack.Parse(redteam.Attack(k.Name, options, r))
		require.NoError(t, err)
		ball = net.Ball{Norm: net.Norm(r.IntN(4)), Eps: net.MustEpsilon([]string{"1e-4", "1/100", "0.1", "1"}[r.IntN(4)])}
	}
	x := images(r, 3*a.Input.Size())
	pool := kernels.NewPool(1)
	defer pool.Close()
	ctx := context.Background()
	logits, y := make([]float32, 3*n.Classes()), make([]int, 3)
	require.NoError(t, n.NewRunner(pool).Logits(ctx, logits, x, 3))
	for i := range y {
		y[i] = max(0, net.Argmax(logits[i*n.Classes():(i+1)*n.Classes()]))
	}
	c := attack.Config{Ball: ball, Method: how}
	if r.IntN(2) == 0 && k.Name != "universal" {
		c.Lattice = 8
	}
	if r.IntN(2) == 0 {
		c, err = WithProofs(n, pool, c)
		require.NoError(t, err)
	}
	at, err := attack.New(n, c, pool)
	require.NoError(t, err)
	var res attack.Result
	require.NoError(t, at.Run(ctx, attack.Batch{X: x, Y: y}, &res))
	for i := range y {
		if res.Success[i] && ball.Contains(x[i*n.Input().Size():(i+1)*n.Input().Size()], res.Adv[i*n.Input().Size():(i+1)*n.Input().Size()]) {
			attacked++
		}
	}
	if ball.Norm == net.L0 { // has no bounds
		return ball.Norm, 0, attacked
	}
	prover, err := verify.New(n, pool)
	require.NoError(t, err)
	for method := range verify.Method(4) {
		var cert verify.Result
		require.NoError(t, prover.Certify(ctx, verify.Options{Method: method, Iterations: 2}, ball, verify.Batch{X: x, Y: y}, &cert))
		require.NoError(t, Check(ball, x, &res, &cert, 0), "seed %d: %v, %v, %v", seed, how, method, ball)
		for i, ok := range cert.Certified {
			require.False(t, ok && i < len(res.Proved) && res.Proved[i] && res.Success[i])
			if ok {
				certified++
			}
		}
	}
	return ball.Norm, certified, attacked
}

// TestKeystoneOfAllAttacks: no attack of the registry fools an image that any bound
// certifies.
func TestKeystoneOfAllAttacks(t *testing.T) {
	type tally struct{ drawn, certified, attacked int }
	of, norms := map[string]*tally{}, map[net.Norm]*tally{}
	for i, k := range attack.Builtin() {
		of[k.Name] = new(tally)
		rounds := 20 * redteam.Size(t)
		if k.Name == "auto" {
			rounds = redteam.Size(t)
		}
		for seed, tries := uint64(i*1_000_000), 0; of[k.Name].drawn < rounds && tries < 200*rounds; seed, tries = seed+1, tries+1 {
			norm, certified, attacked := everyAttack(t, k, seed)
			if certified+attacked == 0 {
				continue // not every draw says something
			}
			if norms[norm] == nil {
				norms[norm] = new(tally)
			}
			for _, to := range []*tally{of[k.Name], norms[norm]} {
				to.drawn++
				to.certified += certified
				to.attacked += attacked
			}
		}
		require.Equal(t, rounds, of[k.Name].drawn, "%s was drawn too seldom", k.Name)
	}
	for norm, have := range norms {
		t.Logf("%v: %+v", norm, *have)
		require.Positive(t, have.attacked, norm)
		require.True(t, norm == net.L0 || have.certified > 0, norm)
	}
	require.Len(t, norms, 4)
}

func FuzzKeystone(f *testing.F) {
	for seed := range uint64(8) {
		f.Add(1000 + seed)
	}
	f.Fuzz(func(t *testing.T, seed uint64) {
		tryKeystone(t, seed)
		all := attack.Builtin()
		everyAttack(t, all[seed%uint64(len(all))], seed)
	})
}

// TestCheckFindsContradictions: Check is what the keystone rests on.
func TestCheckFindsContradictions(t *testing.T) {
	x := []float32{0.5, 0.5}
	a := &attack.Result{Adv: []float32{0.6, 0.5}, Clean: []bool{true}, Success: []bool{true}, Done: []bool{true}}
	v := &verify.Result{Certified: []bool{true}, Done: []bool{true}}
	ball := net.Ball{Eps: net.MustEpsilon("0.2")}
	var c *Contradiction
	require.ErrorAs(t, Check(ball, x, a, v, 4), &c)
	require.Equal(t, 4, c.Image)
	require.NoError(t, Check(net.Ball{Eps: net.MustEpsilon("0.05")}, x, a, v, 0), "the point is not in the ball")
	v.Certified[0] = false
	require.NoError(t, Check(ball, x, a, v, 0))
	v.Certified[0], a.Success[0], a.Clean[0] = true, false, false
	require.Error(t, Check(ball, x, a, v, 0), "a certificate for an image that is wrong itself")
}

func TestEvaluate(t *testing.T) {
	a := randomArchitecture(rand.New(rand.NewPCG(3, 11)))
	m, err := model.Random(a, 3)
	require.NoError(t, err)
	n, err := net.Compile(m, net.Options{Backward: true})
	require.NoError(t, err)
	const count = 90
	x := images(rand.New(rand.NewPCG(1, 2)), count*a.Input.Size())
	y := make([]int, count)
	o := Options{
		Ball:    net.Ball{Eps: net.MustEpsilon("0.02")},
		Attacks: []attack.Method{attack.FGSM{}, attack.PGD{Steps: 10, Seed: 1}, attack.APGD{Steps: 20, Restarts: 2}},
	}
	require.Equal(t, []string{"clean", "fgsm", "pgd:steps=10,seed=1", "apgd:steps=20,restarts=2", "certify"}, o.Passes())
	require.Equal(t, []string{"clean", "fgsm", "pgd:steps=40", "certify"}, new(Options).Passes())
	var want *Evaluation
	for threads := 1; threads <= 3; threads++ {
		pool := kernels.NewPool(threads)
		defer pool.Close()
		e, err := Evaluate(context.Background(), n, pool, x, y, o)
		require.NoError(t, err)
		require.Len(t, e.Attacks, 3)
		for i := range e.Attacks {
			require.GreaterOrEqual(t, e.Clean, e.Attacks[i].Robust)
			require.GreaterOrEqual(t, e.Attacks[i].Robust, e.Certified)
			require.Positive(t, e.Speed.Steps[i])
		}
		require.Less(t, e.Attacks[2].Robust, e.Clean)
		require.Positive(t, e.Speed.Forward*e.Speed.IBP)
		e.Speed, e.Seconds = Throughput{}, 0
		if want == nil {
			want = e
		}
		require.Equal(t, want, e)
	}
	pool := kernels.NewPool(1)
	for i, stop := range o.Passes() { // at the start of each pass
		cancelled, cancel := context.WithCancel(context.Background())
		o.Progress = func(pass string, _, _ int) {
			if pass == stop {
				cancel()
			}
		}
		e, err := Evaluate(cancelled, n, pool, x, y, o)
		require.ErrorIs(t, err, context.Canceled)
		require.Equal(t, o.Passes()[i:], e.NotRun)
		fractions := func(e *Evaluation) []float64 {
			return []float64{e.Clean, e.Attacks[0].Robust, e.Attacks[1].Robust, e.Attacks[2].Robust, e.Certified}
		}
		require.Equal(t, fractions(want)[:i], fractions(e)[:i])
		require.Equal(t, make([]float64, 5-i), fractions(e)[i:])
	}
	_, err = Evaluate(context.Background(), n, pool, nil, nil, Options{})
	require.ErrorContains(t, err, "images")
}
