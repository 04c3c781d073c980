package attack

import (
	"context"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/epsball/epsball/internal/redteam"
	"github.com/epsball/epsball/internal/testsize"
	"github.com/epsball/epsball/kernels"
	"github.com/epsball/epsball/net"
)

// everyKind draws attacks of the registry, one kind after the other, with any of their
// settings, and balls that they have.
type everyKind struct {
	turn  int
	drawn map[string]int // images, by name
}

func (e *everyKind) draw(t *testing.T, classes, images int, r *rand.Rand) (Method, net.Ball) {
	t.Helper()
	all := Builtin()
	k := all[e.turn%len(all)]
	if e.turn/len(all)%8 > 0 && (k.Name == "auto" || k.Name == "fast") { // whose number of steps is fixed
		e.turn += 2
		k = all[e.turn%len(all)]
	}
	e.turn++
	var options []string
	for _, f := range k.New().Fields() {
		options = append(options, f.Name)
	}
	for {
		m, err := Parse(redteam.Attack(k.Name, options, r))
		require.NoError(t, err)
		if b := redteam.Ball(net.Norm(r.IntN(4)), r); m.Validate(b, classes) == nil {
			e.drawn[k.Name] += images
			return m, b
		}
	}
}

// hostile draws an attack with whatever settings there are.
func hostile(classes int, r *rand.Rand) Method {
	targeted, restarts, seed := r.IntN(3) == 0, 1+r.IntN(3), r.Uint64()
	loss := net.Loss(r.IntN(len(net.Losses())))
	size := []float64{0, 1e-45, 1e-9, 0.1, 3, 1e30, 1e300}[r.IntN(7)]
	random := r.IntN(2) == 0
	if !random && !targeted {
		restarts = 1
	}
	if r.IntN(4) == 0 {
		return hostileSmallest(net.Norm(r.IntN(4)), r)
	}
	switch r.IntN(5) {
	case 0:
		return hostileClimb(targeted, restarts, loss, seed, r)
	case 1:
		return hostileSearch(targeted, restarts, seed, r)
	case 2:
		return hostileNearest(random, restarts, size, loss, seed, r)
	}
	switch r.IntN(4) {
	case 0:
		return FGSM{RandomStart: random, StepSize: size, Restarts: restarts, Targeted: targeted, Loss: loss, Seed: seed}
	case 1:
		return APGD{Steps: 1 + r.IntN(12), Restarts: restarts, Rho: r.Float64(), Targeted: targeted, Loss: loss, Seed: seed}
	case 2:
		return shrink{1 + r.IntN(5), seed}
	}
	return PGD{Steps: 1 + r.IntN(5), StepSize: size, FixedStart: !random, Restarts: restarts, Targeted: targeted, Loss: loss, Seed: seed}
}

// hostileNearest is hostile for FAB, bisected PGD and the attacks on labels alone.
func hostileNearest(random bool, restarts int, size float64, loss net.Loss, seed uint64, r *rand.Rand) Method {
	switch r.IntN(5) {
	case 0:
		return FAB{Steps: 1 + r.IntN(5), Restarts: restarts, AlphaMax: r.Float64(), Eta: 1 + r.Float64(), Beta: r.Float64(), Stop: random, Seed: seed}
	case 1:
		return FABT{Steps: 1 + r.IntN(5), Targets: r.IntN(4), Restarts: restarts, Stop: random, Seed: seed}
	case 2:
		return Bisect{Steps: 1 + r.IntN(4), Probes: 1 + r.IntN(5), First: size, Restarts: restarts, Loss: loss, Seed: seed}
	case 3:
		return HopSkipJump{Steps: 1 + r.IntN(3), Evals: 1 + r.IntN(9), Queries: 150, Restarts: restarts, Seed: seed}
	}
	return Boundary{Steps: 1 + r.IntN(60), Queries: 150, Spherical: r.Float64(), Source: r.Float64(), Restarts: restarts, Seed: seed}
}

// hostileClimb is hostile for the attacks in L1 and the relatives of FGSM.
func hostileClimb(targeted bool, restarts int, loss net.Loss, seed uint64, r *rand.Rand) Method {
	steps, size := 1+r.IntN(7), []float64{0, 1e-45, 0.1, 1e300}[r.IntN(4)]
	again := 1
	if targeted {
		again = restarts
	}
	switch r.IntN(8) {
	case 0:
		return PGD{Steps: steps, StepSize: size, L1Share: 1 - r.Float64(), Loss: loss, Seed: seed}
	case 1:
		return APGD{Steps: 1 + r.IntN(40), Restarts: restarts, Targets: r.IntN(3), Stages: r.IntN(2) == 0, Loss: loss, Seed: seed}
	case 2:
		return RFGSM{Alpha: size, Restarts: restarts, Targeted: targeted, Loss: loss, Seed: seed}
	case 3:
		return BIM{Steps: r.IntN(7), StepSize: []float64{0, 0.01, 1e300}[r.IntN(3)], Restarts: again, Targeted: targeted, Loss: loss}
	case 4:
		return MIFGSM{Steps: steps, StepSize: size, Decay: 1 - r.Float64(), Restarts: again, Targeted: targeted, Loss: loss}
	case 5:
		return NIFGSM{Steps: steps, StepSize: size, Decay: 1 - r.Float64(), Restarts: again, Targeted: targeted, Loss: loss}
	case 6:
		return PIFGSM{Steps: steps, Amplification: []float64{0, 1e-300, 3, 1e300}[r.IntN(4)], Restarts: again, Targeted: targeted, Loss: loss}
	}
	return Noise{Kind: []string{"", gaussian}[r.IntN(2)], Draws: restarts, Seed: seed}
}

// hostileSearch is hostile for attacks without gradients.
func hostileSearch(targeted bool, restarts int, seed uint64, r *rand.Rand) Method {
	if r.IntN(2) == 0 {
		return SparseRS{Queries: 1 + r.IntN(30), Restarts: restarts, AlphaInit: r.Float64(), Targeted: targeted, Seed: seed}
	}
	return Square{Queries: 1 + r.IntN(30), Restarts: restarts, PInit: r.Float64(), Targeted: targeted, Seed: seed}
}

// TestRedTeam attacks hostile networks, whose gradients are huge, zero, infinite or NaN,
// in hostile balls. No point may leave the ball or the pixel box, in rational
// arithmetic.
func TestRedTeam(t *testing.T) { attackFamilies(t, redteam.Families(), 4000) }

// TestRedTeamOfLayers is TestRedTeam on networks of all kinds of layers.
func TestRedTeamOfLayers(t *testing.T) { attackFamilies(t, redteam.LayerFamilies(), 2000) }

func attackFamilies(t *testing.T, families []redteam.Family, images int) {
	images = testsize.Of(images, images/8) * redteam.Size(t)
	r := rand.New(rand.NewPCG(5, 1))
	pool := kernels.NewPool(1)
	defer pool.Close()
	isas := kernels.Available()
	cases, moved, fooled := 0, 0, 0
	every, perNorm := everyKind{drawn: map[string]int{}}, map[net.Norm]int{}
	for seed := uint64(0); cases < images; seed++ {
		f := families[seed%uint64(len(families))]
		if f.Large {
			continue
		}
		m := f.Draw(seed).Model
		n, err := net.Compile(m, net.Options{ISA: isas[r.IntN(len(isas))].Name(), Backward: true, Batches: net.Batches(r.IntN(3))})
		require.NoError(t, err)
		size := n.Input().Size()
		for range 8 {
			count := 1 + r.IntN(max(1, 400/(20+size)))
			b := Batch{Y: make([]int, count), First: r.IntN(1000)}
			for i := range b.Y {
				b.X = append(b.X, redteam.Image(size, r)...)
				b.Y[i] = r.IntN(n.Classes())
			}
			ball := redteam.Ball(net.Norm(r.IntN(7)%4), r) // least often L0
			c := Config{Ball: ball, Method: hostile(n.Classes(), r)}
			for c.Method.Validate(ball, n.Classes()) != nil { // it does not have the norm
				c.Method = hostile(n.Classes(), r)
			}
			if r.IntN(2) == 0 {
				c.Method, ball = every.draw(t, n.Classes(), count, r)
				c.Ball = ball
			}
			_, universal := c.Method.(Universal)
			if seed%4 == 3 && !universal {
				c.Lattice = 1 + int(seed/4%8)
			}
			perNorm[ball.Norm] += count
			if r.IntN(4) == 0 && !universal {
				b.Start = redteam.Image(size*count, r)
			}
			if r.IntN(3) > 0 { // mostly, images are right, and there is something to climb
				logits := make([]float32, count*n.Classes())
				require.NoError(t, n.NewRunner(pool).Logits(context.Background(), logits, b.X, count))
				for i := range b.Y {
					b.Y[i] = net.Argmax(logits[i*n.Classes() : (i+1)*n.Classes()])
					b.Y[i] = max(0, b.Y[i])
				}
			}
			if c.Method.Plan().Targeted && r.IntN(2) == 0 {
				for _, y := range b.Y {
					b.Targets = append(b.Targets, (y+1+r.IntN(n.Classes()-1))%n.Classes())
				}
			}
			a, err := New(n, c, pool)
			require.NoError(t, err)
			var res Result
			require.NoError(t, a.Run(context.Background(), b, &res))
			within := ball
			if c.Method.Plan().Anywhere { // in the pixel box
				within = net.Ball{Norm: net.Linf, Eps: net.MustEpsilon("1")}
			}
			for i := range b.Y {
				x, adv := b.X[i*size:(i+1)*size], res.Adv[i*size:(i+1)*size]
				require.True(t, redteam.Inside(within, x, adv), "%s/%d, %v, %+v: %v is not around %v", f.Name, seed, ball, c, adv, x)
				require.True(t, res.Done[i])
				require.True(t, c.Lattice == 0 || !res.Success[i] || onLattice(adv, c.Lattice), "%s/%d, %+v: %v", f.Name, seed, c, adv)
				require.False(t, math.IsNaN(res.Linf[i]) || math.IsNaN(res.L2[i]))
				cases++
				if !slices.Equal(x, adv) {
					moved++
				}
				if res.Success[i] {
					fooled++
				}
			}
		}
	}
	t.Logf("%d images (%v), %d moved, %d fooled, 0 outside", cases, perNorm, moved, fooled)
	t.Log(every.drawn)
	if !testsize.Small() { // a few images draw most attacks, not all
		for _, k := range Builtin() {
			require.Positive(t, every.drawn[k.Name], "%s was never drawn", k.Name)
		}
	}
	require.Greater(t, moved, cases/20)
	require.Positive(t, fooled)
}

// TestRedTeamOthers attacks hostile networks with what no other test here can take: one
// perturbation for all images, and points outside the ball.
func TestRedTeamOthers(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 4))
	families := slices.Concat(redteam.Families(), redteam.LayerFamilies())
	moved := 0
	for seed := range uint64(60 * redteam.Size(t)) {
		f := families[seed%uint64(len(families))]
		if f.Large {
			continue
		}
		n, err := net.Compile(f.Draw(seed).Model, net.Options{Backward: true})
		require.NoError(t, err)
		size, count := n.Input().Size(), 1+r.IntN(20)
		b := Batch{X: redteam.Image(size*count, r), Y: make([]int, count)}
		for i := range b.Y {
			b.Y[i] = r.IntN(n.Classes())
		}
		everywhere := net.Ball{Norm: net.Linf, Eps: net.MustEpsilon("1")}
		for _, c := range []Config{
			{Ball: redteam.Ball(net.Norm(r.IntN(2)), r), Method: Universal{
				Epochs: 1 + r.IntN(3), Batch: r.IntN(30), StepSize: []float64{0, 1e-45, 0.1, 1e300}[r.IntN(4)],
				Height: []float64{0, 1e-9, 1e30}[r.IntN(3)], Loss: net.Loss(r.IntN(3)), Seed: seed,
			}},
			{Ball: everywhere, Method: Spatial{
				Rotation: []float64{0, 1e-300, 180}[r.IntN(3)], Translation: []float64{0, 1e-300, 1, 1e300}[r.IntN(4)],
				Rotations: r.IntN(4), Translations: 1 + r.IntN(3), Random: r.IntN(9), Seed: seed,
			}},
		} {
			a, err := New(n, c, kernels.NewPool(1))
			require.NoError(t, err)
			var res Result
			require.NoError(t, a.Run(context.Background(), b, &res))
			for i := range b.Y {
				x, adv := b.X[i*size:(i+1)*size], res.Adv[i*size:(i+1)*size]
				require.True(t, redteam.Inside(c.Ball, x, adv), "%s/%d, %+v: %v is not around %v", f.Name, seed, c, adv, x)
				if !slices.Equal(x, adv) {
					moved++
				}
			}
		}
	}
	require.Positive(t, moved)
}

// TestRedTeamRadius: each radius that a search returns holds its point.
func TestRedTeamRadius(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 3))
	pool := kernels.NewPool(1)
	defer pool.Close()
	families := slices.Concat(redteam.Families(), redteam.LayerFamilies())
	found := 0
	for seed := range uint64(40 * redteam.Size(t)) {
		f := families[seed%uint64(len(families))]
		if f.Large {
			continue
		}
		m := f.Draw(seed).Model
		n, err := net.Compile(m, net.Options{Backward: true})
		require.NoError(t, err)
		size, step := n.Input().Size(), net.MustEpsilon([]string{"1/255", "0.001", "1/3", "1e-9"}[r.IntN(4)])
		c := Config{Ball: net.Ball{Norm: net.Norm(r.IntN(3))}, Method: []Method{PGD{Steps: 2, Seed: seed}, APGD{Steps: 4, Seed: seed}}[seed%2]}
		s, err := NewRadiusSearch(n, c, step, step.Times(1+r.IntN(3)), pool)
		require.NoError(t, err)
		b := Batch{X: redteam.Image(4*size, r), Y: make([]int, 4)}
		for i := range b.Y {
			b.Y[i] = r.IntN(n.Classes())
		}
		var res RadiusResult
		require.NoError(t, s.Run(context.Background(), b, nil, &res))
		for i, k := range res.Steps {
			ball := net.Ball{Norm: c.Ball.Norm, Eps: step.Times(max(0, k))}
			require.True(t, redteam.Inside(ball, b.X[i*size:(i+1)*size], res.Adv[i*size:(i+1)*size]), "%s/%d", f.Name, seed)
			if k > 0 {
				found++
			}
		}
	}
	require.Positive(t, found)
}

// TestRedTeamFindsFaults: an attack in a ball a little larger is noticed.
func TestRedTeamFindsFaults(t *testing.T) {
	s := newSetup(t, tiny, 1, 8, "")
	for _, norm := range []net.Norm{net.Linf, net.L2} {
		r := s.run(t, Config{Ball: ball(norm, "0.12501"), Method: PGD{Steps: 5, Seed: 1}}, Batch{X: s.x, Y: s.y}, 1)
		outside := 0
		for i := range s.y {
			require.True(t, redteam.Inside(ball(norm, "0.12501"), s.image(s.x, i), s.image(r.Adv, i)))
			if !redteam.Inside(ball(norm, "0.125"), s.image(s.x, i), s.image(r.Adv, i)) {
				outside++
			}
		}
		require.Positive(t, outside)
	}
}
