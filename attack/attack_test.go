package attack

import (
	"cmp"
	"context"
	"maps"
	"math"
	"math/rand/v2"
	"slices"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/epsball/epsball/internal/testsize"
	"github.com/epsball/epsball/kernels"
	"github.com/epsball/epsball/model"
	"github.com/epsball/epsball/net"
)

func conv(out, k, s, p int) model.Layer {
	return model.Layer{Kind: model.Conv, Out: out, Kernel: [2]int{k, k}, Stride: [2]int{s, s}, Padding: [2]int{p, p}}
}

func fc(out int) model.Layer { return model.Layer{Kind: model.FC, Out: out} }

var (
	relu = model.Layer{Kind: model.ReLU}
	tiny = &model.Architecture{Name: "tiny", Input: model.Shape{C: 2, H: 6, W: 5}, Layers: []model.Layer{
		{Kind: model.Normalize, Mean: []float32{0.4, 0.6}, Std: []float32{0.3, 0.5}},
		conv(5, 3, 1, 1), relu, conv(6, 3, 2, 0), relu, fc(5),
	}}
	linear = &model.Architecture{Name: "linear", Input: model.Shape{C: 1, H: 4, W: 4}, Layers: []model.Layer{fc(4)}}
)

type setup struct {
	m    *model.Model
	n    *net.Network
	x    []float32
	y    []int
	size int
}

// newSetup labels random images as the network does, so that all are clean.
func newSetup(t testing.TB, a *model.Architecture, seed uint64, count int, isa string) *setup {
	t.Helper()
	m, err := model.Random(a, seed)
	require.NoError(t, err)
	n, err := net.Compile(m, net.Options{Backward: true, ISA: isa})
	require.NoError(t, err)
	s := &setup{m, n, make([]float32, count*a.Input.Size()), make([]int, count), a.Input.Size()}
	r := rand.New(rand.NewPCG(seed, 1))
	for i := range s.x {
		s.x[i] = float32(r.IntN(256)) / 255
	}
	logits := s.logits(t, s.x, count)
	for i := range s.y {
		s.y[i] = net.Argmax(logits[i*n.Classes() : (i+1)*n.Classes()])
	}
	return s
}

func (s *setup) logits(t testing.TB, x []float32, n int) []float32 {
	pool := kernels.NewPool(1)
	z := make([]float32, n*s.n.Classes())
	require.NoError(t, s.n.NewRunner(pool).Logits(context.Background(), z, x, n))
	return z
}

func (s *setup) image(x []float32, i int) []float32 { return x[i*s.size : (i+1)*s.size] }

func (s *setup) run(t testing.TB, c Config, b Batch, threads int) *Result {
	t.Helper()
	pool := kernels.NewPool(threads)
	defer pool.Close()
	a, err := New(s.n, c, pool)
	require.NoError(t, err)
	var r Result
	require.NoError(t, a.Run(context.Background(), b, &r))
	return &r
}

func ball(norm net.Norm, eps string) net.Ball { return net.Ball{Norm: norm, Eps: net.MustEpsilon(eps)} }

func configs() map[string]Config {
	linf, l2, l1 := ball(net.Linf, "0.05"), ball(net.L2, "0.4"), ball(net.L1, "2")
	all := map[string]Config{
		"fgsm":            {Ball: linf, Method: FGSM{Seed: 1}},
		"fgsm random":     {Ball: linf, Method: FGSM{RandomStart: true, Seed: 1}},
		"fgsm l2":         {Ball: l2, Method: FGSM{Seed: 1}},
		"pgd":             {Ball: linf, Method: PGD{Steps: 10, Seed: 2}},
		"pgd l2":          {Ball: l2, Method: PGD{Steps: 10, Seed: 2}},
		"margin restarts": {Ball: linf, Method: PGD{Steps: 7, Seed: 3, Loss: net.Margin, Restarts: 3}},
		"dlr l2":          {Ball: l2, Method: PGD{Steps: 5, Seed: 4, Loss: net.DLR}},
		"targeted":        {Ball: linf, Method: PGD{Steps: 6, Seed: 5, Targeted: true, FixedStart: true, Restarts: 4}},
		"apgd":            {Ball: linf, Method: APGD{Steps: 20, Seed: 6, Restarts: 2}},
		"apgd l2":         {Ball: l2, Method: APGD{Steps: 20, Seed: 7}},
		"apgd targeted":   {Ball: linf, Method: APGD{Steps: 12, Seed: 8, Loss: net.DLR, Targeted: true, Restarts: 3}},
		"nearest":         {Ball: linf, Method: shrink{steps: 12, seed: 9}},
		"nearest l2":      {Ball: l2, Method: shrink{steps: 12, seed: 9}},
		"cascade":         {Ball: linf, Method: relay{}},
		"fast":            {Ball: ball(net.Linf, "0.02"), Method: Fast{Seed: 4}},
		"fast l1":         {Ball: ball(net.L1, "1"), Method: Fast{Seed: 4}},
		"cascade l2":      {Ball: l2, Method: relay{}},
		"fgsm l1":         {Ball: l1, Method: FGSM{RandomStart: true, Seed: 1}},
		"pgd l1":          {Ball: l1, Method: PGD{Steps: 10, Seed: 2, L1Share: 0.05}},
		"apgd l1":         {Ball: l1, Method: APGD{Steps: 30, Seed: 3, Restarts: 2}},
		"apgd l1 stages":  {Ball: l1, Method: APGD{Steps: 20, Seed: 4, Stages: true, Loss: net.DLR, Targets: 2}},
		"apgd-t":          {Ball: linf, Method: APGD{Steps: 10, Seed: 5, Targets: 9, Restarts: 2}},
		"rfgsm":           {Ball: linf, Method: RFGSM{Seed: 6, Restarts: 2}},
		"bim":             {Ball: linf, Method: BIM{}},
		"mifgsm":          {Ball: linf, Method: MIFGSM{Decay: 0.9}},
		"mifgsm l2":       {Ball: l2, Method: MIFGSM{Targeted: true, Restarts: 3}},
		"nifgsm":          {Ball: linf, Method: NIFGSM{Steps: 8}},
		"pifgsm":          {Ball: linf, Method: PIFGSM{Steps: 6, Amplification: 2.5}},
		"noise":           {Ball: ball(net.Linf, "0.2"), Method: Noise{Draws: 8, Seed: 7}},
		"noise l2":        {Ball: ball(net.L2, "2"), Method: Noise{Kind: "gaussian", Draws: 8, Seed: 7}},
		"noise l0":        {Ball: ball(net.L0, "30"), Method: Noise{Draws: 8, Seed: 7}},

		"square":          {Ball: linf, Method: Square{Queries: 60, Seed: 10, Restarts: 2}},
		"square l2":       {Ball: l2, Method: Square{Queries: 60, Seed: 11}},
		"square l1":       {Ball: ball(net.L1, "4"), Method: Square{Queries: 60, Seed: 13}},
		"sparse-rs":       {Ball: ball(net.L0, "8"), Method: SparseRS{Queries: 60, Seed: 14, Restarts: 2}},
		"square targeted": {Ball: linf, Method: Square{Queries: 60, Seed: 12, Targeted: true, Restarts: 2}},
		"lattice":         {Ball: linf, Method: PGD{Steps: 10, Seed: 2}, Lattice: 8},
		"lattice l2":      {Ball: l2, Method: APGD{Steps: 20, Seed: 7}, Lattice: 8},
		"lattice l1":      {Ball: ball(net.L1, "3"), Method: PGD{Steps: 10, Seed: 2}, Lattice: 5},
		"lattice nearest": {Ball: l2, Method: shrink{steps: 12, seed: 9}, Lattice: 8},

		"fab":              {Ball: linf, Method: FAB{Steps: 10, Restarts: 2, Seed: 10}},
		"fab l2":           {Ball: l2, Method: FAB{Steps: 10, AlphaMax: 0.2, Eta: 1.1, Beta: 0.8}},
		"fab stop":         {Ball: linf, Method: FAB{Steps: 8, Stop: true}},
		"fab-t":            {Ball: linf, Method: FABT{Steps: 8, Targets: 3, Restarts: 2, Seed: 11}},
		"fab-t l1":         {Ball: ball(net.L1, "3"), Method: FABT{Steps: 8}},
		"fab-t stop l2":    {Ball: l2, Method: FABT{Steps: 8, Targets: 2, Stop: true}},
		"fab-t lattice":    {Ball: linf, Method: FABT{Steps: 8, Targets: 1}, Lattice: 8},
		"bisect":           {Ball: linf, Method: Bisect{Steps: 6, Probes: 6, Restarts: 2, Seed: 12}},
		"bisect l2":        {Ball: l2, Method: Bisect{Steps: 6, Probes: 6, Loss: net.Margin}},
		"bisect l1":        {Ball: ball(net.L1, "3"), Method: Bisect{Steps: 6, Probes: 6, First: 1}},
		"hopskipjump":      {Ball: ball(net.Linf, "0.3"), Method: HopSkipJump{Steps: 2, Evals: 12, Queries: 120, Seed: 13}},
		"hopskipjump l2":   {Ball: ball(net.L2, "2"), Method: HopSkipJump{Steps: 3, Evals: 8, MaxEvals: 10, Queries: 120, Restarts: 2}},
		"boundary":         {Ball: ball(net.L2, "2.5"), Method: Boundary{Steps: 90, Queries: 120, Seed: 14}},
		"boundary restart": {Ball: ball(net.L2, "2.5"), Method: Boundary{Steps: 40, Queries: 120, Spherical: 0.1, Source: 0.1, Restarts: 2}},
	}
	maps.Copy(all, smallest())
	return all
}

// longest is the number of steps of a run.
func longest(m Method) int {
	switch m := m.(type) {
	case PGD:
		return m.Steps
	case APGD:
		if m.Stages {
			return (m.Steps + 2) * m.Targets // two moves from stage to stage
		}
		return m.Steps * max(1, min(m.Targets, 4))
	case BIM:
		return 15 // ε + 4 < 1.25·ε
	case MIFGSM, NIFGSM, PIFGSM:
		return 10
	case FAB:
		return 2*m.Steps + fabSearch + 1
	case FABT:
		return max(1, m.Targets) * (2*m.Steps + fabSearch + 1) * 4
	case Bisect:
		return m.Probes * (m.Steps + 1)
	case HopSkipJump:
		return m.Queries
	case Boundary:
		return m.Queries
	case shrink:
		return m.steps
	case Fast:
		return 10 + 5*104 + 4*104 + 4*(2*100+fabSearch+1)
	case relay:
		return 1 + 2*4 + 3*15
	case Square:
		return m.Queries
	case SparseRS:
		return m.Queries
	}
	return longestSmallest(m)
}

// TestResult checks every claim of a Result: inside ball and box, at least as
// bad as the image, predictions and margins as a fresh forward pass finds them.
func TestResult(t *testing.T) {
	s := newSetup(t, tiny, 1, 45, "")
	s.y[3] = (s.y[3] + 1) % 5 // wrong from the start
	clean := s.logits(t, s.x, 45)
	for name, c := range configs() {
		t.Run(name, func(t *testing.T) {
			r := s.run(t, c, Batch{X: s.x, Y: s.y}, 2)
			z := s.logits(t, r.Adv, 45)
			fooled := 0
			for i := range s.y {
				require.True(t, r.Done[i])
				require.True(t, c.Ball.Contains(s.image(s.x, i), s.image(r.Adv, i)), "image %d leaves the ball", i)
				zi, z0 := z[i*5:(i+1)*5], clean[i*5:(i+1)*5]
				require.Equal(t, net.Argmax(zi), r.Label[i])
				require.Equal(t, net.MarginOf(zi, s.y[i]), r.Margin[i])
				require.LessOrEqual(t, r.Margin[i], net.MarginOf(z0, s.y[i]))
				require.Equal(t, i != 3, r.Clean[i])
				require.Equal(t, i != 3 && r.Label[i] != s.y[i], r.Success[i])
				if r.Success[i] {
					fooled++
					require.Positive(t, r.Linf[i])
				}
			}
			require.Equal(t, s.image(s.x, 3), s.image(r.Adv, 3))
			require.Zero(t, r.L2[3])
			require.Greater(t, fooled, 5, "the attack finds nothing")
			done, cleanCount, robust := r.Count()
			require.Equal(t, []int{45, 44, 44 - fooled}, []int{done, cleanCount, robust})
			require.LessOrEqual(t, r.ImageSteps, int64(44*longest(c.Method)*c.Method.Plan().Restarts))
		})
	}
}

func TestZeroEpsilonIsIdentity(t *testing.T) {
	s := newSetup(t, tiny, 2, 11, "")
	for _, norm := range []net.Norm{net.Linf, net.L2, net.L1, net.L0} {
		for _, c := range []Method{
			FGSM{},
			FGSM{RandomStart: true},
			PGD{Steps: 5},
			APGD{Steps: 5},
			shrink{steps: 5},
			APGD{Steps: 9, Stages: true},
			RFGSM{},
			BIM{},
			MIFGSM{},
			NIFGSM{},
			PIFGSM{},
			Noise{},
			Noise{Kind: gaussian},
			FAB{Steps: 3, Restarts: 2},
			FABT{Steps: 3, Stop: true},
			Bisect{Steps: 3},
			HopSkipJump{Queries: 100},
			Boundary{Queries: 100},
			DeepFool{},
			CW{Steps: 5},
			DDN{Steps: 5},
			FMN{Steps: 5},
			EAD{Steps: 5},
		} {
			if c.Validate(ball(norm, "0"), 5) != nil {
				continue
			}
			r := s.run(t, Config{Ball: ball(norm, "0"), Method: c}, Batch{X: s.x, Y: s.y}, 1)
			require.Equal(t, s.x, r.Adv)
			_, clean, robust := r.Count()
			require.Equal(t, clean, robust)
		}
	}
}

// TestHugeStep: a step whose length no float32 holds ends in the ball.
func TestHugeStep(t *testing.T) {
	s := newSetup(t, tiny, 2, 11, "")
	for _, norm := range []net.Norm{net.Linf, net.L2, net.L1} {
		c := Config{Ball: ball(norm, "0.1"), Method: PGD{Steps: 2, StepSize: 1e300, FixedStart: true, Loss: net.Margin}}
		r := s.run(t, c, Batch{X: s.x, Y: s.y}, 1)
		for i := range s.y {
			require.True(t, c.Ball.Contains(s.image(s.x, i), s.image(r.Adv, i)))
			require.Positive(t, r.L2[i])
		}
	}
}

// TestSameBits: an image's result is the same bits whatever the batch around
// it, the threads and the kernel set.
func TestSameBits(t *testing.T) {
	const n = 58
	s := newSetup(t, tiny, 3, n, "")
	for name, c := range configs() {
		t.Run(name, func(t *testing.T) {
			want := s.run(t, c, Batch{X: s.x, Y: s.y}, 1)
			compare := func(have *Result, from int) {
				t.Helper()
				k := len(have.Done)
				require.Equal(t, want.Adv[from*s.size:(from+k)*s.size], have.Adv)
				require.Equal(t, want.Label[from:from+k], have.Label)
				require.Equal(t, want.Margin[from:from+k], have.Margin)
				require.Equal(t, want.Success[from:from+k], have.Success)
				require.Equal(t, want.L2[from:from+k], have.L2)
			}
			for threads := 2; threads <= 3; threads++ {
				have := s.run(t, c, Batch{X: s.x, Y: s.y}, threads)
				compare(have, 0)
				require.Equal(t, want.ImageSteps, have.ImageSteps)
			}
			few := s.compiled(t, net.Options{Backward: true, Batches: net.SmallBatches})
			many := s.compiled(t, net.Options{Backward: true, Batches: net.LargeBatches})
			for _, part := range [][2]int{{0, 1}, {1, 3}, {3, 6}, {6, 10}, {10, 15}, {15, 21}, {0, 7}, {5, 13}, {13, 40}, {17, 58}, {57, 58}} {
				if part[1]-part[0] > testsize.Of(n, 8) {
					continue
				}
				b := Batch{X: s.x[part[0]*s.size : part[1]*s.size], Y: s.y[part[0]:part[1]], First: part[0]}
				compare(s.run(t, c, b, 2), part[0])
				compare(few.run(t, c, b, 2), part[0])
				compare(many.run(t, c, b, 2), part[0])
			}
			for _, isa := range kernels.Available()[1:] {
				compare(newSetup(t, tiny, 3, n, isa.Name()).run(t, c, Batch{X: s.x[:9*s.size], Y: s.y[:9]}, 1), 0)
			}
		})
	}
}

// compiled returns the setup with its model compiled otherwise.
func (s *setup) compiled(t testing.TB, o net.Options) *setup {
	n, err := net.Compile(s.m, o)
	require.NoError(t, err)
	return &setup{s.m, n, s.x, s.y, s.size}
}

// TestSmallSameBits: a few images go image by image, with the bits of a large
// batch, on every kernel set, to given targets, in both norms.
func TestSmallSameBits(t *testing.T) {
	const n = 12
	for _, isa := range kernels.Available() {
		s := newSetup(t, tiny, 10, n, isa.Name())
		targets := make([]int, n)
		for i, y := range s.y {
			targets[i] = (y + 1 + i%4) % 5
		}
		for _, norm := range []net.Norm{net.Linf, net.L2} {
			c := Config{Ball: ball(norm, "0.2"), Method: PGD{Steps: 6, Seed: 3, Targeted: true, Restarts: 2}}
			want := s.run(t, c, Batch{X: s.x, Y: s.y, Targets: targets}, 1)
			for k := 1; k <= net.MaxSmall+1; k++ {
				have := s.run(t, c, Batch{X: s.x[:k*s.size], Y: s.y[:k], Targets: targets[:k]}, 1)
				require.Equal(t, want.Adv[:k*s.size], have.Adv)
				require.Equal(t, want.Label[:k], have.Label)
				require.Equal(t, want.Margin[:k], have.Margin)
				require.Equal(t, want.Success[:k], have.Success)
			}
		}
	}
}

// TestLinearOptimum: on a linear net the worst point of a ball is known.
func TestLinearOptimum(t *testing.T) {
	s := newSetup(t, linear, 4, 20, "")
	w := s.m.Params[0].W
	for _, c := range []Config{
		{Ball: ball(net.Linf, "0.02"), Method: FGSM{Loss: net.Margin}},
		{Ball: ball(net.Linf, "0.02"), Method: PGD{Steps: 10, FixedStart: true, Loss: net.Margin}},
		{Ball: ball(net.L2, "0.05"), Method: PGD{Steps: 40, FixedStart: true, Loss: net.Margin}},
		{Ball: ball(net.Linf, "0.02"), Method: APGD{Steps: 20, Loss: net.Margin}},
		{Ball: ball(net.L2, "0.05"), Method: APGD{Steps: 60, Loss: net.Margin}},
	} {
		r := s.run(t, c, Batch{X: s.x, Y: s.y}, 1)
		eps := c.Ball.Eps.Float64()
		z := s.logits(t, s.x, 20)
		lo, hi := make([]float32, s.size), make([]float32, s.size)
		for i, y := range s.y {
			if r.Success[i] {
				continue // stopped on the way
			}
			c.Ball.Box().Inner(lo, hi, s.image(s.x, i))
			j := -1 // the runner-up, which the margin's gradient is about
			for k := range 4 {
				if k != y && (j < 0 || z[i*4+k] > z[i*4+j]) {
					j = k
				}
			}
			want, norm2, clipped := float64(z[i*4+y]-z[i*4+j]), 0.0, false
			for k, x := range s.image(s.x, i) {
				d := float64(w[j*s.size+k]) - float64(w[y*s.size+k])
				norm2 += d * d
				edge := hi[k]
				if d < 0 {
					edge = lo[k]
				}
				clipped = clipped || math.Abs(float64(edge-x)) < eps*0.99
				if c.Ball.Norm == net.Linf {
					want -= d * float64(edge-x)
				}
			}
			if c.Ball.Norm == net.L2 {
				if clipped {
					continue
				}
				want -= eps * math.Sqrt(norm2)
			}
			require.LessOrEqual(t, float64(r.Margin[i]), want+1e-3, "%v image %d", c.Ball, i)
		}
	}
}

// TestLinearOptimumL1: in L1, FGSM finds the worst point, and PGD hardly misses it.
func TestLinearOptimumL1(t *testing.T) {
	s := newSetup(t, linear, 4, 20, "")
	w, z := s.m.Params[0].W, s.logits(t, s.x, 20)
	b := ball(net.L1, "0.6")
	for m, miss := range map[Method]float64{
		FGSM{Loss: net.Margin}: 1e-5, PGD{Steps: 60, StepSize: 0.05, FixedStart: true, Loss: net.Margin}: 0.01,
	} {
		r := s.run(t, Config{Ball: b, Method: m}, Batch{X: s.x, Y: s.y}, 1)
		checked := 0
		for i, y := range s.y {
			if r.Success[i] {
				continue // stopped on the way
			}
			checked++
			j := -1 // the runner-up, which the margin's gradient is about
			for k := range 4 {
				if k != y && (j < 0 || z[i*4+k] > z[i*4+j]) {
					j = k
				}
			}
			var order []int
			slope := func(k int) float64 { return float64(w[j*s.size+k]) - float64(w[y*s.size+k]) }
			for k := range s.size {
				order = append(order, k)
			}
			slices.SortFunc(order, func(a, b int) int { return cmp.Compare(math.Abs(slope(b)), math.Abs(slope(a))) })
			want, budget := float64(z[i*4+y]-z[i*4+j]), 0.6
			for _, k := range order {
				room := float64(s.image(s.x, i)[k])
				if slope(k) > 0 {
					room = 1 - room
				}
				want -= math.Abs(slope(k)) * min(room, budget)
				budget -= min(room, budget)
			}
			require.LessOrEqual(t, float64(r.Margin[i]), want+miss, "%v image %d", m, i)
			require.InDelta(t, 0.6, r.L1[i], 1e-5)
		}
		require.Greater(t, checked, 5)
	}
}

func TestTargets(t *testing.T) {
	s := newSetup(t, tiny, 5, 20, "")
	targets := make([]int, 20)
	for i, y := range s.y {
		targets[i] = (y + 1 + i%4) % 5
	}
	c := Config{Ball: ball(net.Linf, "0.9"), Method: PGD{Steps: 40, Seed: 1, Targeted: true}}
	r := s.run(t, c, Batch{X: s.x, Y: s.y, Targets: targets}, 1)
	hits := 0
	for i := range targets {
		require.Equal(t, r.Label[i] == targets[i], r.Success[i])
		if r.Success[i] {
			hits++
		}
	}
	require.Greater(t, hits, 10)
}

func TestMoreRestartsFindMore(t *testing.T) {
	s := newSetup(t, tiny, 6, 60, "")
	c := Config{Ball: ball(net.Linf, "0.03"), Method: PGD{Steps: 4, Seed: 9}}
	one := s.run(t, c, Batch{X: s.x, Y: s.y}, 1)
	c.Method = PGD{Steps: 4, Seed: 9, Restarts: 8}
	many := s.run(t, c, Batch{X: s.x, Y: s.y}, 1)
	for i := range s.y {
		require.LessOrEqual(t, many.Margin[i], max(one.Margin[i], 0))
		if one.Success[i] {
			require.True(t, many.Success[i])
			require.Equal(t, s.image(one.Adv, i), s.image(many.Adv, i))
		}
	}
	require.Greater(t, many.ImageSteps, one.ImageSteps)
}

func TestRandomStartFillsTheBall(t *testing.T) {
	const d = 400
	centre := make([]float32, d)
	for i := range centre {
		centre[i] = 0.5
	}
	for _, b := range []net.Ball{ball(net.Linf, "0.1"), ball(net.L2, "0.3")} {
		mean, sumR := 0.0, 0.0
		const draws = 200
		for n := range draws {
			x := append([]float32(nil), centre...)
			s := kernels.NewStream(1, uint64(n), 0)
			randomPoint(x, &s, b)
			r2, linf := 0.0, 0.0
			for i, v := range x {
				e := float64(v) - float64(centre[i])
				mean += e / d / draws
				r2 += e * e
				linf = math.Max(linf, math.Abs(e))
			}
			if b.Norm == net.Linf {
				require.LessOrEqual(t, linf, 0.1+1e-6)
				require.Greater(t, linf, 0.09)
			} else {
				require.LessOrEqual(t, math.Sqrt(r2), 0.3+1e-6)
			}
			sumR += math.Sqrt(r2) / draws
		}
		require.InDelta(t, 0, mean, 1e-3)
		if b.Norm == net.L2 { // E r = ε·d/(d+1)
			require.InDelta(t, 0.3*d/(d+1), sumR, 2e-3)
		}
	}
}

// TestCancel: what is done when the context ends is what a full run gives.
func TestCancel(t *testing.T) {
	s := newSetup(t, tiny, 7, 200, "")
	c := Config{Ball: ball(net.Linf, "0.02"), Method: PGD{Steps: 20, Seed: 1}}
	want := s.run(t, c, Batch{X: s.x, Y: s.y}, 1)
	ctx, cancel := context.WithCancel(context.Background())
	var calls atomic.Int64
	c.Progress = func(done int) {
		if calls.Add(1) == 50 {
			cancel()
		}
	}
	pool := kernels.NewPool(2)
	defer pool.Close()
	a, err := New(s.n, c, pool)
	require.NoError(t, err)
	var r Result
	require.ErrorIs(t, a.Run(ctx, Batch{X: s.x, Y: s.y}, &r), context.Canceled)
	done, _, _ := r.Count()
	require.GreaterOrEqual(t, done, 50)
	require.Less(t, done, 200)
	for i, d := range r.Done {
		if d {
			require.Equal(t, s.image(want.Adv, i), s.image(r.Adv, i))
			require.Equal(t, want.Margin[i], r.Margin[i])
		}
	}
}

// longer is the method with five times the steps.
func longer(m Method) Method {
	switch v := m.(type) {
	case PGD:
		v.Steps *= 5
		return v
	case APGD:
		v.Steps *= 5
		return v
	case shrink:
		v.steps *= 5
		return v
	case Square:
		v.Queries *= 5
		return v
	case SparseRS:
		v.Queries *= 5
		return v
	}
	return longerSmallest(m)
}

// TestCancelledTally: what a cancelled run says of the images it did not finish is
// true, and its ranges hold the figures of a whole run, wherever it stops.
func TestCancelledTally(t *testing.T) {
	n := 300
	if testing.Short() {
		n = 100
	}
	s := newSetup(t, tiny, 7, n, "")
	s.y[3] = (s.y[3] + 1) % 5
	clean := s.logits(t, s.x, n)
	pool := kernels.NewPool(2)
	defer pool.Close()
	var states Tally
	for name, c := range configs() {
		c.Method = longer(c.Method)
		_, wantClean, wantRobust := s.run(t, c, Batch{X: s.x, Y: s.y}, 2).Count()
		for _, stop := range []int{1, 30, 200} {
			ctx, cancel := context.WithCancel(context.Background())
			c.Progress = func(done int) {
				if done == stop {
					cancel()
				}
			}
			a, err := New(s.n, c, pool)
			require.NoError(t, err)
			var r Result
			if a.Run(ctx, Batch{X: s.x, Y: s.y}, &r) == nil {
				continue
			}
			got := r.Tally()
			require.Equal(t, n, got.Wrong+got.Fooled+got.Robust+got.Resisting+got.NotBegun)
			least, most := got.CleanRange()
			require.True(t, least <= wantClean && wantClean <= most, "%s: clean %d … %d, want %d", name, least, most, wantClean)
			least, most = got.RobustRange()
			require.True(t, least <= wantRobust && wantRobust <= most, "%s: robust %d … %d, want %d", name, least, most, wantRobust)
			states.Resisting += got.Resisting
			states.NotBegun += got.NotBegun

			z := s.logits(t, r.Adv, n)
			for i := range s.y {
				require.True(t, r.Begun[i] || !r.Done[i])
				if !r.Begun[i] {
					require.Equal(t, s.image(s.x, i), s.image(r.Adv, i))
					require.Equal(t, -1, r.Label[i])
					continue
				}
				require.True(t, c.Ball.Contains(s.image(s.x, i), s.image(r.Adv, i)), "image %d leaves the ball", i)
				zi := z[i*5 : (i+1)*5]
				require.Equal(t, net.Argmax(zi), r.Label[i])
				require.Equal(t, net.MarginOf(zi, s.y[i]), r.Margin[i])
				require.LessOrEqual(t, r.Margin[i], net.MarginOf(clean[i*5:(i+1)*5], s.y[i]))
				require.Equal(t, i != 3, r.Clean[i])
				require.Equal(t, r.Clean[i] && r.Label[i] != s.y[i], r.Success[i])
			}
		}
	}
	require.Positive(t, states.Resisting)
	require.Positive(t, states.NotBegun)
}

func TestRunDoesNotAllocate(t *testing.T) {
	s := newSetup(t, tiny, 8, 70, "")
	for threads := 1; threads <= 2; threads++ {
		pool := kernels.NewPool(threads)
		defer pool.Close()
		for name, c := range configs() {
			a, err := New(s.n, c, pool)
			require.NoError(t, err)
			ctx := context.Background()
			for _, n := range []int{testsize.Of(70, 9), 3} {
				var r Result
				b := Batch{X: s.x[:n*s.size], Y: s.y[:n]}
				require.NoError(t, a.Run(ctx, b, &r))
				// Three runs, of which AllocsPerRun takes the mean, rounded down: the runtime
				// allocates now and then itself, where goroutines wait.
				require.Zero(t, testing.AllocsPerRun(3, func() { _ = a.Run(ctx, b, &r) }), name)
			}
		}
	}
}

func TestBadInput(t *testing.T) {
	s := newSetup(t, tiny, 9, 2, "")
	pool := kernels.NewPool(1)
	linf := ball(net.Linf, "0.1")
	ok := Config{Ball: linf, Method: PGD{Steps: 3, Seed: 1}}
	for want, c := range map[string]Config{
		"epsilon":                     {Ball: ball(net.Linf, "1.01"), Method: ok.Method},
		"norm 7":                      {Ball: net.Ball{Norm: 7, Eps: linf.Eps}, Method: ok.Method},
		"apgd: norm l0: want linf":    {Ball: ball(net.L0, "3"), Method: APGD{}},
		"apgd: stages: norm linf":     {Ball: linf, Method: APGD{Stages: true}},
		"apgd: targets: got -1":       {Ball: linf, Method: APGD{Targets: -1}},
		"pgd: l1-share: got 2":        {Ball: linf, Method: PGD{L1Share: 2}},
		"rfgsm: norm l2: want linf":   {Ball: ball(net.L2, "0.1"), Method: RFGSM{}},
		"bim: norm l1: want linf":     {Ball: ball(net.L1, "0.1"), Method: BIM{}},
		"bim: restarts: 2 of":         {Ball: linf, Method: BIM{Restarts: 2}},
		"mifgsm: decay: got 1.1":      {Ball: linf, Method: MIFGSM{Decay: 1.1}},
		"mifgsm: norm l1":             {Ball: ball(net.L1, "0.1"), Method: MIFGSM{}},
		"nifgsm: norm l2":             {Ball: ball(net.L2, "0.1"), Method: NIFGSM{}},
		"pifgsm: amplification: got":  {Ball: linf, Method: PIFGSM{Amplification: math.Inf(1)}},
		`noise: kind: got "grain"`:    {Ball: linf, Method: Noise{Kind: "grain"}},
		"noise: norm l0":              {Ball: ball(net.L0, "3"), Method: Noise{Kind: "gaussian"}},
		"method: none":                {Ball: linf},
		"pgd: steps: got -1":          {Ball: linf, Method: PGD{Steps: -1}},
		"pgd: step-size: got NaN":     {Ball: linf, Method: PGD{StepSize: math.NaN()}},
		"fgsm: step-size: got -1":     {Ball: linf, Method: FGSM{StepSize: -1}},
		"pgd: restarts: 3 of":         {Ball: linf, Method: PGD{Restarts: 3, FixedStart: true}},
		"pgd: restarts: got -1":       {Ball: linf, Method: PGD{Restarts: -1}},
		"apgd: restarts: got 2000000": {Ball: linf, Method: APGD{Restarts: 2000000}},
		"apgd: rho: got 1.5":          {Ball: linf, Method: APGD{Rho: 1.5}},
		"pgd: loss: got 12":           {Ball: linf, Method: PGD{Loss: 12}},

		"fab: norm l0: want":                     {Ball: ball(net.L0, "3"), Method: FAB{}},
		"fab: eta: got 3":                        {Ball: linf, Method: FAB{Eta: 3}},
		"fab: alpha-max: got -1":                 {Ball: linf, Method: FAB{AlphaMax: -1}},
		"fab-t: targets: got -2":                 {Ball: linf, Method: FABT{Targets: -2}},
		"fab-t: beta: got NaN":                   {Ball: linf, Method: FABT{Beta: math.NaN()}},
		"bisect: norm l0: want":                  {Ball: ball(net.L0, "3"), Method: Bisect{}},
		"bisect: first: got -0.1":                {Ball: linf, Method: Bisect{First: -0.1}},
		"bisect: probes: got 2000000":            {Ball: linf, Method: Bisect{Probes: 2000000}},
		"hopskipjump: norm l1: want":             {Ball: ball(net.L1, "3"), Method: HopSkipJump{}},
		"hopskipjump: evals: got -1":             {Ball: linf, Method: HopSkipJump{Evals: -1}},
		"boundary: norm linf: want l2":           {Ball: linf, Method: Boundary{}},
		"boundary: source-step: got 1.5":         {Ball: ball(net.L2, "1"), Method: Boundary{Source: 1.5}},
		"cw: norm linf: want l2":                 {Ball: linf, Method: CW{}},
		"ead: norm linf: want l1":                {Ball: linf, Method: EAD{}},
		"ddn: norm l1: want l2":                  {Ball: ball(net.L1, "0.1"), Method: DDN{}},
		"deepfool: norm l0: want linf or l2":     {Ball: ball(net.L0, "2"), Method: DeepFool{}},
		"deepfool: candidates: got 1":            {Ball: linf, Method: DeepFool{Candidates: 1}},
		"fmn: restarts: all untarget":            {Ball: linf, Method: FMN{Restarts: 2}},
		"fmn: alpha: got +Inf":                   {Ball: linf, Method: FMN{Alpha: math.Inf(1)}},
		"fmn: gamma: got 2":                      {Ball: linf, Method: FMN{Gamma: 2}},
		"ddn: init-norm: got NaN":                {Ball: ball(net.L2, "1"), Method: DDN{InitNorm: math.NaN()}},
		"cw: rate: got -1":                       {Ball: ball(net.L2, "1"), Method: CW{Rate: -1}},
		"ead: searches: got -1":                  {Ball: ball(net.L1, "1"), Method: EAD{Searches: -1}},
		"square: norm l0: want linf or l2 or l1": {Ball: ball(net.L0, "3"), Method: Square{}},
		"square: p-init: got 2":                  {Ball: linf, Method: Square{PInit: 2}},
		"sparse-rs: norm linf: want l0":          {Ball: linf, Method: SparseRS{}},
		"sparse-rs: queries: got -1":             {Ball: ball(net.L0, "3"), Method: SparseRS{Queries: -1}},
		"spatial: rotation: got 181":             {Ball: linf, Method: Spatial{Rotation: 181}},
		"spatial: rotations: the grid has":       {Ball: linf, Method: Spatial{Rotations: 1 << 20, Translations: 1 << 20}},
		"universal: epochs: got -1":              {Ball: linf, Method: Universal{Epochs: -1}},
	} {
		_, err := New(s.n, c, pool)
		require.ErrorContains(t, err, want)
	}
	forwardOnly, err := net.Compile(s.m, net.Options{})
	require.NoError(t, err)
	_, err = New(forwardOnly, ok, pool)
	require.ErrorContains(t, err, "backward")
	one, err := model.Random(&model.Architecture{Input: model.Shape{C: 1, H: 1, W: 1}, Layers: []model.Layer{fc(1)}}, 1)
	require.NoError(t, err)
	small, err := net.Compile(one, net.Options{Backward: true})
	require.NoError(t, err)
	_, err = New(small, ok, pool)
	require.ErrorContains(t, err, "at least 2 classes")

	a, err := New(s.n, ok, pool)
	require.NoError(t, err)
	bad := append([]float32(nil), s.x...)
	bad[61] = float32(math.NaN())
	var r Result
	for want, b := range map[string]Batch{
		"image 1":     {X: bad, Y: s.y},
		"images: 60 ": {X: s.x[:60], Y: s.y},
		"label":       {X: s.x, Y: []int{0, 5}},
		"untargeted":  {X: s.x, Y: s.y, Targets: []int{0, 0}},
		"first":       {X: s.x, Y: s.y, First: -1},
	} {
		require.ErrorContains(t, a.Run(context.Background(), b, &r), want)
	}
}
