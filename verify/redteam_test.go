package verify

import (
	"context"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/epsball/epsball/internal/redteam"
	"github.com/epsball/epsball/kernels"
	"github.com/epsball/epsball/net"
)

// claimsOf bounds a case by every method, as users would get at it: on any kernel set
// and batch size, by Bounds, Certify and Prove.
func claimsOf(t *testing.T, c *redteam.Case, pool *kernels.Pool) []redteam.Claim {
	t.Helper()
	r := rand.New(rand.NewPCG(c.Seed, 7))
	isas := kernels.Available()
	n, err := net.Compile(c.Model, net.Options{ISA: isas[r.IntN(len(isas))].Name(), Batches: net.Batches(r.IntN(3))})
	require.NoError(t, err, c)
	var claims []redteam.Claim
	claim := func(name string, layers []Interval, margins []float32) {
		k := redteam.Claim{Name: name + " on " + n.ISA().Name()}
		for i, l := range layers {
			k.Layers = append(k.Layers, redteam.Interval{Layer: layerOf(&n.Nodes()[i]), Lower: l.Lower, Upper: l.Upper})
		}
		k.Margins = wide(margins)
		claims = append(claims, k)
	}
	b := Batch{c.X, []int{c.Y}}
	worst := func(name string, m float32) {
		w := float64(m)
		claims = append(claims, redteam.Claim{Name: name + " on " + n.ISA().Name(), Worst: &w})
	}
	ibp, err := newIntervals(n, pool)
	require.NoError(t, err, c)
	layers, margins, err := ibp.Bounds(c.Ball, c.X, c.Y)
	require.NoError(t, err, c)
	claim("IBP", layers, margins)
	for m := MethodIBP; m <= MethodAlphaCROWN; m++ {
		v, err := newProver(n, pool, Options{Method: m, Iterations: 2, RowsOnly: r.IntN(2) == 0})
		require.NoError(t, err, c)
		v.JoinBalls()
		v.FirstPlanes()
		layers, margins, err := v.Bounds(c.Ball, c.X, c.Y)
		require.NoError(t, err, c)
		claim(m.String(), layers, margins)
		spec, err := newProver(n, pool, Options{Method: m, Iterations: 2, Property: &Property{C: slices.Concat(c.Rows...)}})
		require.NoError(t, err, c)
		spec.JoinBalls()
		spec.FirstPlanes()
		_, rows, err := spec.Bounds(c.Ball, c.X, 0)
		require.NoError(t, err, c)
		claims = append(claims, redteam.Claim{Name: m.String() + " of rows on " + n.ISA().Name(), Rows: wide(rows)})
		var res Result
		switch r.IntN(2) {
		case 0:
			require.NoError(t, v.Certify(context.Background(), c.Ball, b, &res), c)
			worst(m.String()+" Certify", res.Margin[0])
		default:
			p, err := v.Prove(context.Background(), c.Ball, c.X, c.Y)
			require.NoError(t, err, c)
			worst(m.String()+" Prove", p.Margin)
		}
	}
	// So is the property by the worse of two domains.
	o := Options{Method: Method(r.IntN(4)), Iterations: 2}
	v, err := New(n, pool)
	require.NoError(t, err, c)
	v.JoinBalls()
	v.FirstPlanes()
	root, err := v.Root(Around(c.Ball, c.X), &Property{C: slices.Concat(c.Rows...)})
	require.NoError(t, err, c)
	require.NoError(t, v.BoundDomains(context.Background(), o, 0, root), c)
	if leaves := grow(t, v, o, root, 2, r, false); len(leaves) == 2 {
		rows := wide(leaves[0].d.Rows())
		for k, low := range leaves[1].d.Rows() {
			rows[k] = min(rows[k], float64(low))
		}
		claims = append(claims, redteam.Claim{Name: o.Method.String() + " of two domains on " + n.ISA().Name(), Rows: rows})
	}
	return claims
}

// layerOf returns the layer whose output is a node's before its ReLU.
func layerOf(n *net.Node) int {
	if a, ok := n.Op.(*net.Affine); ok && a.Add >= 0 {
		return a.Add
	}
	return n.Index
}

func wide(v []float32) []float64 {
	w := make([]float64, len(v))
	for i, x := range v {
		w[i] = float64(x)
	}
	return w
}

// TestRedTeam looks for points that break what any method claims of hostile networks.
func TestRedTeam(t *testing.T) {
	pool := kernels.NewPool(1)
	defer pool.Close()
	redteam.Run(t, 6, func(t *testing.T, c *redteam.Case) []redteam.Claim { return claimsOf(t, c, pool) })
}

// TestRedTeamOfLayers is TestRedTeam on networks of all kinds of layers.
func TestRedTeamOfLayers(t *testing.T) {
	pool := kernels.NewPool(1)
	defer pool.Close()
	redteam.RunOn(t, redteam.LayerFamilies(), 100, func(t *testing.T, c *redteam.Case) []redteam.Claim { return claimsOf(t, c, pool) })
}

// TestRedTeamTraps: nothing is claimed of networks built to fool verifiers that their
// executions or real numbers refute. What is not so is claimed of most of them once they are
// disarmed: it is not for the company of the hidden neuron that they are refused.
func TestRedTeamTraps(t *testing.T) {
	pool := kernels.NewPool(1)
	defer pool.Close()
	proved, traps := 0, 0
	redteam.RunTraps(t, 1, func(t *testing.T, c *redteam.Trap) []redteam.Claim {
		claims := claimsOf(t, c.Case, pool)
		c.Disarm()
		n, err := net.Compile(c.Model, net.Options{})
		require.NoError(t, err, c)
		v, err := New(n, pool)
		require.NoError(t, err, c)
		var res Result
		require.NoError(t, v.Certify(t.Context(), Options{Method: MethodCROWN}, c.Ball, Batch{c.X, []int{c.Y}}, &res), c)
		if traps++; res.Certified[0] {
			proved++
		}
		return claims
	})
	t.Logf("%d of %d are certified once they are disarmed", proved, traps)
	require.Greater(t, 2*proved, traps)

	// Bounds that leave out a term are caught by one of them.
	defer func() { removed = noTerm }()
	removed = termCentre
	for _, kind := range redteam.TrapKinds() {
		c := redteam.DrawTrap(kind, 0)
		if v := c.Refute(claimsOf(t, c.Case, pool)).Violations; v != nil {
			t.Logf("without %s: %v", errorTermNames[removed], v[0])
			return
		}
	}
	t.Errorf("nothing is found without %s", errorTermNames[removed])
}

// TestRedTeamRadius: in the largest ball that a search certifies the label wins.
func TestRedTeamRadius(t *testing.T) {
	pool := kernels.NewPool(1)
	defer pool.Close()
	least := math.SmallestNonzeroFloat64
	redteam.RunOn(t, slices.Concat(redteam.Families(), redteam.LayerFamilies()), 1, func(t *testing.T, c *redteam.Case) []redteam.Claim {
		r := rand.New(rand.NewPCG(c.Seed, 9))
		n, err := net.Compile(c.Model, net.Options{})
		require.NoError(t, err, c)
		v, err := newProver(n, pool, Options{Method: Method(r.IntN(4)), Ladder: true, Iterations: 2})
		require.NoError(t, err, c)
		var res RadiusResult
		step := net.MustEpsilon([]string{"1e-45", "1e-9", "1e-4", "1/255", "1/30"}[r.IntN(5)])
		require.NoError(t, v.Radius(context.Background(), c.Ball.Norm, step, step.Times(20), Batch{c.X, []int{c.Y}}, &res), c)
		if res.Steps[0] < 0 {
			return nil
		}
		c.Ball.Eps = step.Times(res.Steps[0])
		return []redteam.Claim{{Name: "radius by " + v.o.Method.String(), Worst: &least}}
	})
}

// TestRedTeamFindsFaults: without any one of the proofs' error terms some network's
// bounds are broken, or the test above would show nothing about it.
func TestRedTeamFindsFaults(t *testing.T) {
	if testing.Short() {
		t.Skip("short")
	}
	pool := kernels.NewPool(1)
	defer pool.Close()
	defer func() { removed = noTerm }()
	for removed = noTerm + 1; removed < errorTerms; removed++ {
		v, ok := redteam.Find(t, 4, func(t *testing.T, c *redteam.Case) []redteam.Claim { return claimsOf(t, c, pool) })
		require.True(t, ok, "nothing is found without %s", errorTermNames[removed])
		t.Logf("%s: %v", errorTermNames[removed], v)
	}
}
