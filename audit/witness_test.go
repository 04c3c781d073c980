package audit

import (
	"context"
	"math"
	"math/big"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/epsball/epsball/attack"
	"github.com/epsball/epsball/kernels"
	"github.com/epsball/epsball/model"
	"github.com/epsball/epsball/net"
	"github.com/epsball/epsball/verify"
)

// affine is a network of one layer.
func affine(t *testing.T, w, b []float32, more ...model.Layer) *net.Network {
	m := &model.Model{
		Arch: model.Architecture{
			Name: "affine", Input: model.Shape{C: len(w) / len(b), H: 1, W: 1},
			Layers: append([]model.Layer{{Kind: model.FC, Out: len(b)}}, more...),
		},
		Params: make([]model.Param, 1+len(more)),
	}
	m.Params[0] = model.Param{W: w, B: b}
	n, err := net.Compile(m, net.Options{Backward: true})
	require.NoError(t, err)
	return n
}

func rats(t *testing.T, text ...string) (out []*big.Rat) {
	for _, s := range text {
		r, ok := new(big.Rat).SetString(s)
		require.True(t, ok, s)
		out = append(out, r)
	}
	return out
}

// TestWitnessLevels: exact arithmetic and execution are told apart. The chain of float32
// sums begins at the bias, so 1 + 2⁻³⁰ − 1 is 0 as executed.
func TestWitnessLevels(t *testing.T) {
	pool := kernels.NewPool(1)
	tiny := float32(0x1p-30)
	one := ExactBox{rats(t, "1"), rats(t, "1")}
	for name, c := range map[string]struct {
		w, b, row       float32
		exact, executed Answer
	}{
		"lost":  {tiny, 1, 1, Holds, Violated},
		"equal": {tiny, 1, -1, Violated, Violated},
		"zero":  {-1, 1, 1, Violated, Violated},
		"holds": {1, 1, 1, Holds, Holds},
	} {
		n := affine(t, []float32{c.w, -1}, []float32{c.b})
		if name == "zero" || name == "holds" {
			n = affine(t, []float32{c.w, 0}, []float32{c.b})
		}
		box := ExactBox{append(one.Lo, one.Lo...), append(one.Hi, one.Hi...)}
		p := &net.Property{C: []float32{c.row}}
		w, err := CheckWitness(t.Context(), n, &box, p, []float32{1, 1}, pool)
		require.NoError(t, err)
		require.Equal(t, []Answer{c.exact, c.executed}, []Answer{w.Exact, w.Executed}, name)
		require.Equal(t, name == "equal" || name == "zero", w.Violates())
		found, err := FindWitness(t.Context(), n, []ExactBox{box}, p, attack.Search{}, pool)
		require.NoError(t, err)
		require.Equal(t, name == "holds", found == nil, name)
		if found != nil {
			require.Equal(t, w, found, name)
		}
	}
	// x + (x − 2x) as executed leaves what exact arithmetic does not.
	n := affine(t, []float32{0x1p-30, -1}, []float32{1})
	w, err := CheckWitness(t.Context(), n, &ExactBox{rats(t, "-1", "1"), rats(t, "-1", "1")}, &net.Property{C: []float32{1}, D: []float32{0x1p-31}}, []float32{-1, 1}, pool)
	require.NoError(t, err)
	require.Equal(t, []Answer{Violated, Holds}, []Answer{w.Exact, w.Executed})
	require.Equal(t, "violated holds undecided", w.Exact.String()+" "+w.Executed.String()+" "+Undecided.String())
}

// TestWitnessOfDecimals: an input that is fixed to a decimal has no float32. The point has
// the decimal, what is executed the float32 nearest to it.
func TestWitnessOfDecimals(t *testing.T) {
	pool := kernels.NewPool(1)
	n := affine(t, []float32{1, 1}, []float32{0})
	box := ExactBox{rats(t, "-0.1", "-1/3"), rats(t, "-0.1", "1e30")}
	p := &net.Property{C: []float32{-1}, D: []float32{100}} // x₀ + x₁ ≥ 100
	w, err := FindWitness(t.Context(), n, []ExactBox{box}, p, attack.Search{}, pool)
	require.NoError(t, err)
	require.True(t, w.Violates())
	require.Equal(t, 1, w.Rounded)
	require.Equal(t, float32(-0.1), w.X[0])
	require.Zero(t, w.Point[0].Cmp(box.Lo[0]))
	require.Zero(t, w.Point[1].Cmp(new(big.Rat).SetFloat64(float64(w.X[1]))))

	// float32(0.1) is above 0.1: their difference is 0 as executed, where there is one.
	at := []float32{-0.1, 0}
	fixed := ExactBox{rats(t, "-0.1", "0"), rats(t, "-0.1", "0")}
	w, err = CheckWitness(t.Context(), affine(t, []float32{1, 0}, []float32{0.1}), &fixed, &net.Property{C: []float32{1}}, at, pool)
	require.NoError(t, err)
	require.Equal(t, 1, w.Rounded)
	require.Equal(t, []Answer{Holds, Violated}, []Answer{w.Exact, w.Executed})
}

// TestWitnessClauses: the clause is named that is violated.
func TestWitnessClauses(t *testing.T) {
	pool := kernels.NewPool(2)
	n := affine(t, []float32{1, 0, 0, 1}, []float32{0, 0})
	p := &net.Property{C: []float32{1, 0, 0, 1, -1, 0, 0, 1}, D: []float32{5, 5, 1, -1}, Clauses: []int{2, 2}}
	box := ExactBox{rats(t, "-3", "-3"), rats(t, "3", "3")}
	other := ExactBox{rats(t, "-3", "2"), rats(t, "-2", "3")} // neither clause
	w, err := FindWitness(t.Context(), n, []ExactBox{other, box}, p, attack.Search{}, pool)
	require.NoError(t, err)
	require.True(t, w.Violates())
	require.Equal(t, []int{1, 1}, []int{w.Box, w.Clause})
	require.True(t, w.X[0] >= 1 && w.X[1] <= 1)
	w, err = FindWitness(t.Context(), n, []ExactBox{other}, p, attack.Search{}, pool)
	require.NoError(t, err)
	require.Nil(t, w)
}

func TestWitnessRefusals(t *testing.T) {
	pool := kernels.NewPool(1)
	n := affine(t, []float32{1, 1}, []float32{0})
	p := &net.Property{C: []float32{1}}
	box := ExactBox{rats(t, "0", "0.1"), rats(t, "1", "0.1")}
	for want, x := range map[string][]float32{
		"input 0 is -1": {-1, 0.1}, "input 1 is 0.2": {0, 0.2}, "input 0 is NaN": {float32(math.NaN()), 0.1},
		"2 numbers": nil, "input 1": {0, math.Nextafter32(0.1, 0)},
	} {
		if x == nil {
			want = "want 2"
		}
		_, err := CheckWitness(t.Context(), n, &box, p, x, pool)
		require.ErrorContains(t, err, want)
	}
	for want, b := range map[string]ExactBox{
		"lo has 1": {box.Lo[:1], box.Hi},
		"in order": {box.Hi, box.Lo},
		"[<nil>":   {make([]*big.Rat, 2), box.Hi},
		"reaches":  {rats(t, "0", "0"), rats(t, "1", "1e39")},
	} {
		_, err := CheckWitness(t.Context(), n, &b, p, []float32{0, 0.1}, pool)
		require.ErrorContains(t, err, want)
		_, err = FindWitness(t.Context(), n, []ExactBox{b}, p, attack.Search{}, pool)
		require.ErrorContains(t, err, want)
	}
	_, err := CheckWitness(t.Context(), n, &box, nil, []float32{0, 0.1}, pool)
	require.ErrorContains(t, err, "property")
	_, err = CheckWitness(t.Context(), n, &box, &net.Property{C: []float32{1, 2, float32(math.Inf(1))}}, []float32{0, 0.1}, pool)
	require.ErrorContains(t, err, "C[2]")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	w, err := FindWitness(ctx, n, []ExactBox{box}, p, attack.Search{}, pool)
	require.ErrorIs(t, err, context.Canceled)
	require.Nil(t, w)

	// A tanh at 0 is known to be near 0, not to be 0; an output that is not finite is none.
	w, err = CheckWitness(t.Context(), affine(t, []float32{1, 0}, []float32{0}, model.Layer{Kind: model.Tanh}), &ExactBox{rats(t, "0", "0"), rats(t, "1", "1")}, p, []float32{0, 0}, pool)
	require.NoError(t, err)
	require.Equal(t, []Answer{Undecided, Violated}, []Answer{w.Exact, w.Executed})
	w, err = CheckWitness(t.Context(), affine(t, []float32{-3e38, 0}, []float32{0}), &ExactBox{rats(t, "0", "0"), rats(t, "10", "0")}, p, []float32{10, 0}, pool)
	require.NoError(t, err)
	require.Equal(t, []Answer{Violated, Holds}, []Answer{w.Exact, w.Executed})
}

// TestBoxOfRegion: ball and box have in common what their definitions say, to the last bit.
func TestBoxOfRegion(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 8))
	for range 300 {
		g := verify.Region{Centre: []float32{r.Float32(), r.Float32()}, Ball: net.Ball{Eps: net.MustEpsilon("0.1")}}
		if r.IntN(2) == 0 {
			g.Lo, g.Hi = []float32{g.Centre[0] - 0.05, -1}, []float32{g.Centre[0] + 0.2, 2}
		}
		b, err := BoxOfRegion(g)
		require.NoError(t, err)
		in := b.inner()
		for _, x := range [][]float32{
			in.Lo, in.Hi, {math.Nextafter32(in.Lo[0], -9), in.Lo[1]}, {in.Lo[0], math.Nextafter32(in.Hi[1], 9)},
		} {
			inside := g.Ball.Contains(g.Centre, x)
			for k := range g.Lo {
				inside = inside && x[k] >= g.Lo[k] && x[k] <= g.Hi[k]
			}
			require.Equal(t, inside, (&Witness{X: x}).place(&b) == nil, "%v in %v", x, g)
		}
	}
	half := net.Ball{Eps: net.MustEpsilon("0.5")}
	for want, g := range map[string]verify.Region{
		"no input 0 in common": {Lo: []float32{0}, Hi: []float32{0}, Centre: []float32{1}, Ball: half},
		"want finite":          {Centre: []float32{float32(math.NaN())}, Ball: half},
		"norm l2":              {Centre: []float32{1}, Ball: net.Ball{Norm: net.L2, Eps: half.Eps}},
		"hi 1":                 {Lo: []float32{0, 1}, Hi: []float32{0}},
		"centre has 1":         {Lo: []float32{0, 1}, Hi: []float32{0, 1}, Centre: []float32{1}, Ball: half},
	} {
		_, err := BoxOfRegion(g)
		require.ErrorContains(t, err, want)
	}
}

// TestWitnessesAndProofs never contradict each other, where the property is hardly true or
// hardly false.
func TestWitnessesAndProofs(t *testing.T) {
	pool := kernels.NewPool(1)
	r := rand.New(rand.NewPCG(9, 9))
	proved, violated := 0, 0
	for seed := range uint64(40) {
		a := &model.Architecture{Name: "fc", Input: model.Shape{C: 1, H: 1, W: 2}, Layers: []model.Layer{
			{Kind: model.FC, Out: 4}, {Kind: model.ReLU}, {Kind: model.FC, Out: 2},
		}}
		m, err := model.Random(a, seed)
		require.NoError(t, err)
		n, err := net.Compile(m, net.Options{Backward: true})
		require.NoError(t, err)
		v, err := verify.New(n, pool)
		require.NoError(t, err)
		g := verify.BoxOf([]float32{-1, -1}, []float32{-0.9, -0.9 + r.Float32()})
		p := &net.Property{C: []float32{1, -1}, D: []float32{0}}
		root, err := v.Root(g, p)
		require.NoError(t, err)
		require.NoError(t, v.BoundDomains(t.Context(), verify.Options{Method: verify.MethodCROWN}, 0, root))
		low := root.Rows()[0]
		for _, above := range []float32{-0x1p-10, -0x1p-20, 0, 0x1p-20} { // D below which it is proved, about
			p := &net.Property{C: p.C, D: []float32{-low + above*max(1, float32(math.Abs(float64(low))))}}
			root, err := v.Root(g, p)
			require.NoError(t, err)
			require.NoError(t, v.BoundDomains(t.Context(), verify.Options{Method: verify.MethodCROWN}, 0, root))
			box, err := BoxOfRegion(g)
			require.NoError(t, err)
			w, err := FindWitness(t.Context(), n, []ExactBox{box}, p, attack.Search{Steps: 20, Restarts: 3}, pool)
			require.NoError(t, err)
			switch {
			case root.Margin() > 0:
				proved++
				require.Nil(t, w)
			case w != nil && w.Violates():
				violated++
			}
		}
	}
	require.Greater(t, proved, 30)
	require.Greater(t, violated, 10)
}
