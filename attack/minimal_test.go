package attack

import (
	"context"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/epsball/epsball/internal/golden"
	"github.com/epsball/epsball/kernels"
	"github.com/epsball/epsball/net"
)

// TestMinimalGolden follows the runs of make_minimal.py point by point.
func TestMinimalGolden(t *testing.T) {
	list, err := golden.File("minimal.npz")
	require.NoError(t, err)
	arrays, runs := map[string]any{}, []string{}
	for _, a := range list {
		arrays[a.Name] = a.Data
		if run, ok := strings.CutSuffix(a.Name, ".path"); ok {
			runs = append(runs, run)
		}
	}
	require.Len(t, runs, 12)
	for _, run := range runs {
		t.Run(run, func(t *testing.T) {
			part := strings.Split(run, ".") // method, network, norm, kind
			g, err := golden.Load(part[1])
			require.NoError(t, err)
			norm, err := net.ParseNorm(part[2])
			require.NoError(t, err)
			method, err := Parse(string(arrays[run+".text"].([]uint8)))
			require.NoError(t, err)
			x, points := arrays[run+".x"].([]float32), arrays[run+".path"].([]float32)
			length := arrays[run+".length"].([]int32)
			b := Batch{X: x}
			for i := range length {
				b.Y = append(b.Y, int(arrays[run+".y"].([]int32)[i]))
				if part[3] == "targeted" {
					b.Targets = append(b.Targets, int(arrays[run+".target"].([]int32)[i]))
				}
			}
			size := len(x) / len(length)
			for _, isa := range kernels.Available() {
				n, err := net.Compile(g.Model, net.Options{ISA: isa.Name(), Backward: true})
				require.NoError(t, err)
				m := &recorder{method, g.Model.Arch.Input, map[uint64][]visit{}}
				a, err := New(n, Config{Ball: norm.Largest(size), Method: m}, kernels.NewPool(1))
				require.NoError(t, err)
				var res Result
				require.NoError(t, a.Run(context.Background(), b, &res))
				want, worst := points, 0.0
				for i, k := range length {
					seen := m.seen[uint64(i)]
					require.EqualValues(t, k, len(seen), "image %d", i)
					require.True(t, res.Success[i], "image %d", i)
					for p, v := range seen {
						for j := range v.x {
							require.InDelta(t, want[j], v.x[j], 1e-5, "image %d, point %d", i, p)
							worst = max(worst, math.Abs(float64(want[j])-float64(v.x[j])))
						}
						want = want[size:]
					}
				}
				t.Logf("%s: at most %.1e apart", isa.Name(), worst)
			}
		})
	}
}

func TestAnnealed(t *testing.T) {
	for _, n := range []int{1, 2, 3, 7, 100, 1000} {
		for i := range n + 1 {
			require.InDelta(t, (1+math.Cos(math.Pi*float64(i)/float64(n)))/2, annealed(i, n), 3e-16, "%d/%d", i, n)
		}
		require.EqualValues(t, 1, annealed(0, n))
		require.EqualValues(t, 0, annealed(n, n))
	}
}

// TestShrink: the projections of FMN are those of sorting.
func TestShrink(t *testing.T) {
	s := kernels.NewStream(1, 2, 3)
	for range 200 {
		d := make([]float64, 1+s.Intn(30))
		for k := range d {
			d[k] = float64(s.Norm()) * float64(s.Intn(3))
		}
		down := slices.Clone(d)
		for k, v := range down {
			down[k] = math.Abs(v)
		}
		slices.Sort(down)
		slices.Reverse(down)

		radius := 3 * float64(s.Float32())
		l1, theta, sum := slices.Clone(d), 0.0, 0.0
		for k, v := range down {
			sum += v
			theta = max(theta, (sum-radius)/float64(k+1))
		}
		shrinkL1(l1, radius)
		for k, v := range d {
			require.InDelta(t, math.Copysign(max(0, math.Abs(v)-theta), v), l1[k], 1e-12)
		}
		require.LessOrEqual(t, length(l1, net.L1), radius*(1+1e-12))

		n := s.Intn(len(d) + 3)
		l0 := slices.Clone(d)
		shrinkL0(l0, n)
		least := down[min(max(1, n), len(d))-1]
		for k, v := range d {
			if math.Abs(v) < least {
				v = 0
			}
			require.Equal(t, v, l0[k])
		}
	}
	zero := []float64{0, 0}
	shrinkL1(zero, 0)
	shrinkL0(zero, 1)
	require.Equal(t, []float64{0, 0}, zero)
	d := []float64{3, -1}
	shrinkL1(d, 0)
	require.Zero(t, length(d, net.L2))
}

// TestSearch: weights grow tenfold, then close in on the smallest one that fools.
func TestBisection(t *testing.T) {
	b := newBisection(9, 0.001)
	var tried []float64
	for more := true; more; more = b.next() {
		tried = append(tried, b.weight)
		b.found = b.weight >= 0.3
	}
	require.InDeltaSlice(t, []float64{0.001, 0.01, 0.1, 1, 0.55, 0.325, 0.2125, 0.26875, 0.296875}, tried, 1e-12)
	b = newBisection(12, 1) // never
	for b.next() {
		require.LessOrEqual(t, b.weight, boundless)
	}
	require.EqualValues(t, boundless, b.weight)
}

// smallest are the attacks of this kind for configs.
func smallest() map[string]Config {
	linf, l2, l1 := ball(net.Linf, "0.05"), ball(net.L2, "0.4"), ball(net.L1, "2")
	return map[string]Config{
		"deepfool":      {Ball: l2, Method: DeepFool{Steps: 9}},
		"deepfool linf": {Ball: linf, Method: DeepFool{Steps: 9, Candidates: 3}},
		"cw":            {Ball: l2, Method: CW{Steps: 12, Searches: 3, Weight: 0.1, Rate: 0.03}},
		"cw targeted":   {Ball: l2, Method: CW{Steps: 12, Searches: 2, Weight: 0.5, Rate: 0.03, Targeted: true, Restarts: 2, AllSteps: true}},
		"ddn":           {Ball: l2, Method: DDN{Steps: 12, InitNorm: 0.3, Seed: 1}},
		"ddn targeted":  {Ball: l2, Method: DDN{Steps: 8, InitNorm: 0.5, Gamma: 0.1, Targeted: true, Restarts: 4}},
		"fmn":           {Ball: linf, Method: FMN{Steps: 12}},
		"fmn l2":        {Ball: l2, Method: FMN{Steps: 12, Targeted: true, Restarts: 3}},
		"fmn l1":        {Ball: l1, Method: FMN{Steps: 12, Alpha: 0.5}},
		"fmn l0":        {Ball: ball(net.L0, "4"), Method: FMN{Steps: 12}},
		"ead":           {Ball: l1, Method: EAD{Steps: 12, Searches: 3, Weight: 0.2, Rate: 0.05}},
		"ead net":       {Ball: l1, Method: EAD{Steps: 10, Searches: 2, Weight: 1, Rate: 0.05, ElasticNet: true, Targeted: true, Restarts: 2}},
		"ddn lattice":   {Ball: l2, Method: DDN{Steps: 12, InitNorm: 0.3, Seed: 1}, Lattice: 8},
	}
}

// longestSmallest is longest for them.
func longestSmallest(m Method) int {
	switch m := m.(type) {
	case DeepFool:
		return m.Steps
	case CW:
		return m.Steps * m.Searches
	case DDN:
		return m.Steps
	case FMN:
		return m.Steps
	case EAD:
		return 2 * m.Steps * m.Searches
	}
	return 1
}

// longerSmallest is longer for them.
func longerSmallest(m Method) Method {
	switch v := m.(type) {
	case DeepFool:
		v.Steps *= 5
		return v
	case CW:
		v.Steps *= 5
		return v
	case DDN:
		v.Steps *= 5
		return v
	case FMN:
		v.Steps *= 5
		return v
	case EAD:
		v.Steps *= 5
		return v
	}
	return m
}

// hostileSmallest draws one of them, for a norm that it has.
func hostileSmallest(norm net.Norm, r *rand.Rand) Method {
	targeted, restarts := r.IntN(3) == 0, 1
	if targeted {
		restarts += r.IntN(3)
	}
	steps, size := 1+r.IntN(7), []float64{0, 1e-300, 1e-9, 0.1, 3, 1e30, 1e300}[r.IntN(7)]
	share := r.Float64()
	all := []Method{FMN{Steps: steps, Alpha: size, Gamma: share, Targeted: targeted, Restarts: restarts, Seed: r.Uint64()}}
	switch norm {
	case net.Linf:
		all = append(all, DeepFool{Steps: steps, Candidates: r.IntN(2) * 3, Overshoot: size})
	case net.L2:
		all = append(all,
			DeepFool{Steps: steps, Overshoot: size},
			DDN{Steps: steps, Gamma: share, InitNorm: size, Targeted: targeted, Restarts: restarts, Seed: r.Uint64()},
			CW{Steps: steps, Searches: 1 + r.IntN(12), Rate: size, Weight: []float64{0, size}[r.IntN(2)], AllSteps: r.IntN(2) == 0, Targeted: targeted, Restarts: restarts},
		)
	case net.L1:
		all = append(all, EAD{Steps: steps, Searches: 1 + r.IntN(12), Rate: size, Beta: []float64{0, size}[r.IntN(2)], Weight: []float64{0, size}[r.IntN(2)], ElasticNet: r.IntN(2) == 0, Targeted: targeted, Restarts: restarts})
	}
	return all[r.IntN(len(all))]
}

// TestLinearSmallest: on a linear network the smallest distance is known.
func TestLinearSmallest(t *testing.T) {
	const n = 80
	s := newSetup(t, linear, 4, n, "")
	for i, v := range s.x {
		s.x[i] = 0.4 + 0.2*v // far from the ends of the pixel box
	}
	z := s.logits(t, s.x, n)
	for i := range s.y {
		s.y[i] = net.Argmax(z[i*4 : (i+1)*4])
	}
	w := s.m.Params[0].W
	for _, c := range []struct {
		norm, dual net.Norm
		method     Method
		factor     float64
	}{
		{net.L2, net.L2, DeepFool{}, 1.025},
		{net.Linf, net.L1, DeepFool{}, 1.025},
		{net.L2, net.L2, DDN{Steps: 200, InitNorm: 0.1}, 1.4}, // the cross-entropy leads to all classes
		{net.L2, net.L2, FMN{Steps: 200}, 1.05},
		{net.Linf, net.L1, FMN{Steps: 200}, 1.05},
		{net.L1, net.Linf, FMN{Steps: 200}, 1.05},
		{net.L2, net.L2, CW{Steps: 300, Searches: 12, AllSteps: true}, 1.02},
		{net.L1, net.Linf, EAD{Steps: 300, Searches: 12, AllSteps: true}, 1.02},
	} {
		r := s.run(t, Config{Ball: c.norm.Largest(s.size), Method: c.method}, Batch{X: s.x, Y: s.y}, 1)
		compared := 0
		for i, y := range s.y {
			least := math.Inf(1)
			for k := range 4 {
				if k == y {
					continue
				}
				d := make([]float64, s.size)
				for j := range d {
					d[j] = float64(w[k*s.size+j]) - float64(w[y*s.size+j])
				}
				least = min(least, float64(z[i*4+y]-z[i*4+k])/length(d, c.dual))
			}
			if least > 0.3 { // the pixel box may matter
				continue
			}
			compared++
			have := []float64{r.Linf[i], r.L2[i], r.L1[i]}[c.norm]
			require.True(t, r.Success[i])
			require.GreaterOrEqual(t, have, least*(1-1e-4), "%v in %v, image %d", c.method, c.norm, i)
			require.LessOrEqual(t, have, least*c.factor+2e-4, "%v in %v, image %d", c.method, c.norm, i)
		}
		require.Greater(t, compared, 3, "%v in %v", c.method, c.norm)
	}
}

// TestElasticNet: both rules of EAD see the same points, and each takes the one that it
// prefers.
func TestElasticNet(t *testing.T) {
	const n, beta = 45, 0.05
	s := newSetup(t, tiny, 1, n, "")
	run := func(net bool) *Result {
		a := EAD{Steps: 40, Searches: 6, Beta: beta, Weight: 0.1, Rate: 0.05, ElasticNet: net}
		return s.run(t, Config{Ball: l1(s), Method: a, Recheck: true}, Batch{X: s.x, Y: s.y}, 1)
	}
	byL1, byNet := run(false), run(true)
	elastic := func(r *Result, i int) float64 { return beta*r.L1[i] + r.L2[i]*r.L2[i] }
	differ := 0
	for i := range s.y {
		require.Equal(t, byL1.Success[i], byNet.Success[i])
		require.LessOrEqual(t, byL1.L1[i], byNet.L1[i])
		require.LessOrEqual(t, elastic(byNet, i), elastic(byL1, i)+1e-9)
		if byL1.L1[i] < byNet.L1[i] {
			differ++
		}
	}
	require.Positive(t, differ)
}

func l1(s *setup) net.Ball { return net.L1.Largest(s.size) }

// TestTargetedSmallest: with a target, points of other classes do not count.
func TestTargetedSmallest(t *testing.T) {
	const n = 20
	s := newSetup(t, tiny, 5, n, "")
	targets := make([]int, n)
	for i, y := range s.y {
		targets[i] = (y + 1 + i%4) % 5
	}
	for _, c := range []struct {
		norm   net.Norm
		method Method
	}{
		{net.L2, DDN{Steps: 60, Targeted: true}},
		{net.L2, CW{Steps: 60, Rate: 0.1, Searches: 5, Weight: 0.1, Targeted: true}},
		{net.L2, FMN{Steps: 60, Targeted: true}},
		{net.Linf, FMN{Steps: 60, Targeted: true}},
		{net.L1, FMN{Steps: 60, Targeted: true}},
		{net.L0, FMN{Steps: 60, Targeted: true}},
		{net.L1, EAD{Steps: 60, Rate: 0.1, Searches: 5, Weight: 0.1, Targeted: true}},
	} {
		r := s.run(t, Config{Ball: c.norm.Largest(s.size), Method: c.method}, Batch{X: s.x, Y: s.y, Targets: targets}, 1)
		hits := 0
		for i := range targets {
			require.Equal(t, r.Label[i] == targets[i], r.Success[i])
			if r.Success[i] {
				hits++
			}
		}
		require.Greater(t, hits, n/2, "%v in %v", c.method, c.norm)
	}
}
