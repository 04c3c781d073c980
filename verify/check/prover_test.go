package check_test

import (
	"context"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/epsball/epsball/kernels"
	"github.com/epsball/epsball/model"
	"github.com/epsball/epsball/net"
	"github.com/epsball/epsball/verify"
	"github.com/epsball/epsball/verify/cert"
	"github.com/epsball/epsball/verify/check"
)

// TestIBPAgreesWithProver: on the built-in models, for several radii and norms,
// the checker accepts exactly what package verify proves, but for margins within
// rounding of zero; its bounds are no looser and, on a network trained for
// intervals, barely tighter (another multiplies what rounding costs).
func TestIBPAgreesWithProver(t *testing.T) {
	const n = 12
	proved := 0
	var trained *check.Checker
	for _, name := range []string{"mnist-small-ibp-0.1", "mnist-small-standard"} {
		m, set := zooModel(t, name, n)
		compiled, err := net.Compile(m, net.Options{})
		require.NoError(t, err)
		ibp, err := verify.New(compiled, kernels.NewPool(1))
		require.NoError(t, err)
		k := newChecker(t, m)
		if trained == nil {
			trained = k
		}
		for _, ball := range []net.Ball{
			{Norm: net.Linf, Eps: net.MustEpsilon("0.1")},
			{Norm: net.Linf, Eps: net.MustEpsilon("1/255")},
			{Norm: net.L2, Eps: net.MustEpsilon("0.3")},
			{Norm: net.Linf},
		} {
			var res verify.Result
			require.NoError(t, ibp.Certify(context.Background(), verify.Options{}, ball, verify.Batch{X: set.X, Y: set.Y}, &res))
			for i := range n {
				margin := float64(res.Margin[i])
				c := claim(m, set.Image(i), set.Y[i], ball.Norm.String(), cert.Eps(ball.Eps.String(), ball.Eps.Rat()), check.IBP)
				if res.Certified[i] {
					proved++
					c.Margin = cert.Margin(margin)
					require.Positive(t, c.Margin)
				}
				v := verdict(t, k, reread(t, c), set.Image(i), set.Y[i])
				require.GreaterOrEqual(t, v.Margin, margin, "looser than the prover's")
				near := 1e-2 * (1 + math.Abs(margin))
				if ball.Norm == net.Linf && k == trained {
					require.InDelta(t, margin, v.Margin, near)
				}
				if res.Certified[i] {
					require.True(t, v.Valid, v.Reason)
				}
				if v.Margin <= 0 {
					require.False(t, v.Valid)
				}
			}
		}
	}
	require.Greater(t, proved, n)
}

// TestMethodsInOrder: on real images CROWN is tighter than CROWN-IBP and that
// than IBP; a ball is worse than its centre, and executed worse than exact.
func TestMethodsInOrder(t *testing.T) {
	const n = 3
	m, set := zooModel(t, "mnist-small-standard", n)
	k := newChecker(t, m)
	for i := range n {
		x, y := set.Image(i), set.Y[i]
		margin := map[string]float64{}
		for _, method := range methods {
			v := verdict(t, k, reread(t, claim(m, x, y, "linf", "0.02", method)), x, y)
			margin[method] = v.Margin
			centre := verdict(t, k, reread(t, claim(m, x, y, "linf", "0", method)), x, y)
			require.Less(t, v.Margin, centre.Margin)
		}
		require.Equal(t, margin[check.CROWN], margin[check.AlphaCROWN])
		require.Greater(t, margin[check.CROWN], margin[check.CROWNIBP])
		require.Greater(t, margin[check.CROWNIBP], margin[check.IBP])
		real := claim(m, x, y, "linf", "0.02", check.CROWN)
		real.Level = check.Real
		require.Greater(t, verdict(t, k, real, x, y).Margin, margin[check.CROWN], "execution errs")
	}
}

// TestRefusesNetworks: what cannot be checked is refused when the checker is
// made.
func TestRefusesNetworks(t *testing.T) {
	_, err := check.New(&model.Model{})
	require.Error(t, err)
	m, err := model.Random(architectures()[0], 1)
	require.NoError(t, err)
	m.Params[0].W[3] = float32(math.NaN())
	_, err = check.New(m)
	require.ErrorContains(t, err, "NaN")
}

// TestIntervalsLoseNothing: in L2 and L1 balls, and where the last layer ends in a ReLU, an add or
// a map, intervals of package verify prove what the checker's prove, but where the pixel box cuts a ball: the
// checker takes both at once.
func TestIntervalsLoseNothing(t *testing.T) {
	r := rand.New(rand.NewPCG(8, 15))
	same := 0
	for _, a := range []*model.Architecture{
		{Name: "box", Input: model.Shape{C: 1, H: 6, W: 6}, Layers: []model.Layer{conv(4, 3, 1, 0), relu, fc(6), relu, fc(3)}},
		{Name: "only", Input: model.Shape{C: 2, H: 3, W: 3}, Layers: []model.Layer{fc(4)}},
		{Name: "last", Input: model.Shape{C: 1, H: 4, W: 4}, Layers: []model.Layer{conv(3, 3, 1, 0), relu, fc(4), relu}},
		{Name: "last-map", Input: model.Shape{C: 1, H: 5, W: 4}, Layers: []model.Layer{conv(3, 3, 1, 0), relu, conv(2, 2, 1, 0), relu}},
		{Name: "last-add", Input: model.Shape{C: 6, H: 1, W: 1}, Layers: []model.Layer{
			fc(6), relu, fc(6), {Kind: model.Add, Inputs: []int{1, 2}}, relu,
		}},
		{Name: "add", Input: model.Shape{C: 6, H: 1, W: 1}, Layers: []model.Layer{
			fc(6), relu, fc(6), {Kind: model.Add, Inputs: []int{1, 2}},
		}},
		{Name: "map", Input: model.Shape{C: 1, H: 5, W: 4}, Layers: []model.Layer{conv(3, 3, 1, 0), relu, conv(2, 2, 1, 0)}},
	} {
		for round := range 40 {
			m, err := model.Random(a, r.Uint64())
			require.NoError(t, err)
			compiled, err := net.Compile(m, net.Options{})
			require.NoError(t, err)
			ibp, err := verify.New(compiled, kernels.NewPool(1))
			require.NoError(t, err)
			x, cut := make([]float32, a.Input.Size()), round%3 > 0
			for k := range x {
				if x[k] = 0.5; cut {
					x[k] = float32(r.IntN(3)) / 2 // at the ends of the pixel box, often
				}
			}
			y := r.IntN(a.Classes())
			eps := []string{"0.01", "0.1", "1/2", "3"}[round%4]
			for _, norm := range []net.Norm{net.L2, net.L1} {
				var res verify.Result
				ball := net.Ball{Norm: norm, Eps: net.MustEpsilon(eps)}
				require.NoError(t, ibp.Certify(t.Context(), verify.Options{}, ball, verify.Batch{X: x, Y: []int{y}}, &res))
				v := verdict(t, newChecker(t, m), claim(m, x, y, norm.String(), eps, check.IBP), x, y)
				require.GreaterOrEqual(t, v.Margin, float64(res.Margin[0])-1e-4*(1+math.Abs(v.Margin)), "%s %v %s", a.Name, norm, eps)
				if !cut && eps != "3" { // no part of the ball is cut off
					require.InDelta(t, v.Margin, res.Margin[0], 1e-3*(1+math.Abs(v.Margin)), "%s %v %s", a.Name, norm, eps)
					same++
				}
			}
		}
	}
	require.Greater(t, same, 100)
}

// TestIntervalsOfLayers: on networks of all kinds of layers the checker's intervals prove
// what package verify's prove.
func TestIntervalsOfLayers(t *testing.T) {
	r := rand.New(rand.NewPCG(11, 12))
	compared := 0
	for n, a := range layered() {
		m := drawModel(t, a, uint64(n), r)
		compiled, err := net.Compile(m, net.Options{Batches: net.SmallBatches})
		require.NoError(t, err, a.Name)
		ibp, err := verify.New(compiled, kernels.NewPool(1))
		require.NoError(t, err, a.Name)
		k := newChecker(t, m)
		x := make([]float32, a.Input.Size())
		for i := range x {
			x[i] = r.Float32()
		}
		for _, eps := range []string{"0", "0.01", "0.1"} {
			for _, norm := range []net.Norm{net.Linf, net.L2, net.L1} {
				var res verify.Result
				ball := net.Ball{Norm: norm, Eps: net.MustEpsilon(eps)}
				require.NoError(t, ibp.Certify(t.Context(), verify.Options{}, ball, verify.Batch{X: x, Y: []int{0}}, &res))
				v := verdict(t, k, claim(m, x, 0, norm.String(), eps, check.IBP), x, 0)
				require.GreaterOrEqual(t, v.Margin, float64(res.Margin[0])-1e-4*(1+math.Abs(v.Margin)), "%s %v %s: looser than the prover", a.Name, norm, eps)
				compared++
			}
		}
	}
	require.Equal(t, 9*len(layered()), compared)
}
