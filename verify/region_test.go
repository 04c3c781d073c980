package verify

import (
	"math"
	"math/big"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/epsball/epsball/kernels"
	"github.com/epsball/epsball/model"
	"github.com/epsball/epsball/net"
)

// evaluation is one of a network: what its nodes compute before their ReLUs, and its
// outputs, [H][W][C].
type evaluation struct {
	values [][]*big.Float
	out    []*big.Float
	how    string
}

// evaluations returns one in float32, in some order of summation, and the exact one.
func evaluations(n *net.Network, p []float32, r *rand.Rand) []evaluation {
	e := newEvaluator(n, r)
	exactly := func(list []float32) []*big.Float {
		out := make([]*big.Float, len(list))
		for k, v := range list {
			out[k] = number(float64(v))
		}
		return out
	}
	values, out := e.float32s(p)
	executed := evaluation{out: exactly(out), how: "float32"}
	for _, v := range values {
		executed.values = append(executed.values, exactly(v))
	}
	real, realOut := e.exacts(exactly(p))
	return []evaluation{executed, {real, realOut, "exact"}}
}

// row evaluates row k of a property.
func (e *evaluation) row(p *Property, k int, shape model.Shape) *big.Float {
	s := number(0)
	if p.D != nil {
		s = number(float64(p.D[k]))
	}
	n := len(e.out)
	for o, c := range p.C[k*n : (k+1)*n] {
		s.Add(s, number(0).Mul(number(float64(c)), e.out[atShape(o, shape)]))
	}
	return s
}

// point draws one of a region: a corner, on an edge, or inside; nil where that is not
// found.
func (r *Region) point(g *rand.Rand) []float32 {
	n := max(len(r.Lo), len(r.Centre))
	lo, hi := make([]float32, n), make([]float32, n)
	copy(lo, r.Lo)
	copy(hi, r.Hi)
	if r.Centre != nil {
		r.Ball.Box().Inner(lo, hi, r.Centre)
		for k, l := range r.Lo {
			lo[k], hi[k] = max(lo[k], l), min(hi[k], r.Hi[k])
		}
	}
	p, mode := make([]float32, n), g.IntN(4)
	for k := range p {
		switch {
		case mode == 0 || mode == 1 && g.IntN(2) == 0:
			p[k] = float32(float64(lo[k]) + (float64(hi[k])-float64(lo[k]))*g.Float64())
		case g.IntN(2) == 0:
			p[k] = lo[k]
		default:
			p[k] = hi[k]
		}
		p[k] = max(lo[k], min(hi[k], p[k]))
	}
	if r.Centre == nil {
		return p
	}
	shrinkInto(r.Ball, r.Centre, p)
	if !r.Ball.Contains(r.Centre, p) {
		return nil
	}
	for k, l := range r.Lo {
		if p[k] < l || p[k] > r.Hi[k] {
			return nil
		}
	}
	return p
}

// randomRegion draws a ball, a box or what both have in common.
func randomRegion(size int, r *rand.Rand) Region {
	var g Region
	kind := r.IntN(3)
	if kind > 0 {
		g = Around(net.Ball{Norm: net.Norm(r.IntN(3)), Eps: net.MustEpsilon(epsilons[r.IntN(len(epsilons))])}, randomImage(size, r))
	}
	if kind < 2 {
		g.Lo, g.Hi = make([]float32, size), make([]float32, size)
		wide := math.Pow(10, 3*r.Float64()-3)
		for k := range g.Lo {
			at, d := float32(r.NormFloat64()*2), float32(r.Float64()*wide)
			if kind == 1 {
				at, d = g.Centre[k], d/2
			}
			g.Lo[k], g.Hi[k] = at-d, at+d
		}
	}
	return g
}

// randomProperty draws one of some rows, in clauses or not.
func randomProperty(outputs int, r *rand.Rand) *Property {
	rows := 1 + r.IntN(4)
	p := &Property{C: make([]float32, rows*outputs)}
	for k := range p.C {
		p.C[k] = float32(r.NormFloat64())
	}
	if r.IntN(2) == 0 {
		p.D = make([]float32, rows)
		for k := range p.D {
			p.D[k] = float32(4 * r.NormFloat64())
		}
	}
	if r.IntN(2) == 0 {
		for left := rows; left > 0; left -= p.Clauses[len(p.Clauses)-1] {
			p.Clauses = append(p.Clauses, 1+r.IntN(left))
		}
	}
	return p
}

// brokenRows looks for a point of a region at which a row is below its bound.
func brokenRows(n *net.Network, g *Region, p *Property, rows []float32, r *rand.Rand, points int) string {
	for range points {
		x := g.point(r)
		if x == nil {
			continue
		}
		for _, e := range evaluations(n, x, r) {
			for k, low := range rows {
				if !math.IsInf(float64(low), 0) && e.row(p, k, n.Output()).Cmp(number(float64(low))) < 0 {
					return e.how
				}
			}
		}
	}
	return ""
}

// TestRegionsSound: every method's bounds of properties over balls, boxes beyond [0, 1] and
// what they have in common hold for exact and executed evaluations; those of a box that
// is a little smaller do not.
func TestRegionsSound(t *testing.T) {
	pool := kernels.NewPool(1)
	defer pool.Close()
	r := rand.New(rand.NewPCG(12, 4))
	finite, positive, planted := 0, 0, 0
	archs := append(layerArchitectures(), deeper()...)
	for round := range trials(t, 400) {
		a := archs[round%len(archs)]
		if round%2 == 1 {
			a = randomLayers(r)
		}
		m := newLayers(t, a, uint64(round), r)
		n, err := net.Compile(m, net.Options{Batches: net.Batches(r.IntN(3))})
		require.NoError(t, err)
		v, err := New(n, pool)
		require.NoError(t, err)
		g, p := randomRegion(a.Input.Size(), r), randomProperty(a.Classes(), r)
		if g.validate(n) != nil {
			continue // ball and box with nothing in common
		}
		for method := range Methods() {
			o := Options{Method: Method(method), Iterations: 2, Property: p, Ladder: r.IntN(2) == 0}
			proof, err := v.Prove(t.Context(), o, g, 0)
			require.NoError(t, err)
			require.Equal(t, p.Margin(proof.Rows), proof.Margin)
			var res Result
			require.NoError(t, v.CertifyRegions(t.Context(), o, []Region{g}, nil, &res))
			require.True(t, res.Done[0])
			require.Equal(t, res.Margin[0] > 0, res.Certified[0])
			for _, low := range proof.Rows {
				if !math.IsInf(float64(low), 0) {
					finite++
				}
			}
			if proof.Certified {
				positive++
			}
			require.Empty(t, brokenRows(n, &g, p, proof.Rows, r, 6), "%s %v", a.CanonicalJSON(), Method(method))
			if g.Centre != nil {
				continue
			}
			small := Region{Lo: make([]float32, len(g.Lo)), Hi: make([]float32, len(g.Hi))}
			for k, lo := range g.Lo {
				small.Lo[k], small.Hi[k] = lo+(g.Hi[k]-lo)*0.45, g.Hi[k]-(g.Hi[k]-lo)*0.45
			}
			proof, err = v.Prove(t.Context(), o, small, 0)
			require.NoError(t, err)
			if brokenRows(n, &g, p, proof.Rows, r, 4) != "" {
				planted++
			}
		}
	}
	t.Logf("%d finite bounds, %d properties proved, %d planted faults found", finite, positive, planted)
	require.Greater(t, finite, trials(t, 400))
	require.Positive(t, positive)
	require.Greater(t, planted, trials(t, 400)/20)
}

// TestRegionsAreBatches: regions of several norms at once have the bits of each ball by
// itself, and the box of an Linf ball those of the ball.
func TestRegionsAreBatches(t *testing.T) {
	pool := kernels.NewPool(2)
	defer pool.Close()
	r := rand.New(rand.NewPCG(3, 4))
	for _, a := range append(layerArchitectures()[:4:4], deeper()[1], deeper()[11]) {
		m := newLayers(t, a, 3, r)
		n, err := net.Compile(m, net.Options{})
		require.NoError(t, err)
		v, err := New(n, pool)
		require.NoError(t, err)
		for _, count := range []int{3, net.MaxSmall + 5} {
			var regions, boxes []Region
			var y []int
			for k := range count {
				x := randomImage(a.Input.Size(), r)
				ball := net.Ball{Norm: net.Norm(k / 2 % 3), Eps: net.MustEpsilon(epsilons[k%5])}
				lo, hi := make([]float32, len(x)), make([]float32, len(x))
				net.Ball{Eps: ball.Eps}.Box().Outer(lo, hi, x)
				regions, boxes, y = append(regions, Around(ball, x)), append(boxes, BoxOf(lo, hi)), append(y, r.IntN(a.Classes()))
			}
			for method := range Methods() {
				if method > 0 && count > 3 {
					continue
				}
				o := Options{Method: Method(method), Iterations: 2}
				var all, ofBoxes, one Result
				require.NoError(t, v.CertifyRegions(t.Context(), o, regions, y, &all))
				require.NoError(t, v.CertifyRegions(t.Context(), o, boxes, y, &ofBoxes))
				for k, g := range regions {
					require.NoError(t, v.Certify(t.Context(), o, g.Ball, Batch{g.Centre, y[k : k+1]}, &one))
					require.Equal(t, one.Margin[0], all.Margin[k], "%s %v region %d", a.Name, o.Method, k)
					if g.Ball.Norm == net.Linf && o.Method == MethodIBP {
						require.Equal(t, one.Margin[0], ofBoxes.Margin[k], "%s region %d", a.Name, k)
					}
				}
			}
		}
	}
}

func TestBadRegions(t *testing.T) {
	m, err := model.Random(deeper()[3], 1) // 40 inputs, 3 outputs
	require.NoError(t, err)
	v := newIBP(t, m, 1).Verifier
	zeros, ones := make([]float32, 40), make([]float32, 40)
	for k := range ones {
		ones[k] = 1
	}
	with := func(k int, x float32) []float32 {
		list := append([]float32(nil), zeros...)
		list[k] = x
		return list
	}
	ball := net.Ball{Eps: net.MustEpsilon("0.1")}
	for want, g := range map[string]Region{
		"neither a box nor a centre": {},
		"lo has 39":                  {Lo: zeros[:39], Hi: ones},
		"hi 0, want 40":              {Lo: zeros},
		"input 7 is in [2, 1]":       {Lo: with(7, 2), Hi: ones},
		"input 3 is in [NaN, 1]":     {Lo: with(3, float32(math.NaN())), Hi: ones},
		"input 4 is in [0, +Inf]":    {Lo: zeros, Hi: with(4, float32(math.Inf(1)))},
		"centre: ":                   Around(ball, zeros[:39]),
		"epsilon":                    Around(net.Ball{Eps: net.MustEpsilon("2")}, zeros),
		"no input 9 in common":       {Centre: zeros, Ball: ball, Lo: with(9, 0.5), Hi: ones},
	} {
		_, err := v.Prove(t.Context(), Options{}, g, 0)
		require.ErrorContains(t, err, want)
		err = v.CertifyRegions(t.Context(), Options{}, []Region{{Lo: zeros, Hi: ones}, g}, []int{0, 0}, new(Result))
		require.ErrorContains(t, err, "region 1: ")
		require.ErrorContains(t, err, want)
	}
	err = v.CertifyRegions(t.Context(), Options{}, []Region{{Lo: zeros, Hi: ones}}, []int{3}, new(Result))
	require.ErrorContains(t, err, "label")
}

// TestPropertyClauses: a clause is as good as its best row, the property as its worst
// clause.
func TestPropertyClauses(t *testing.T) {
	p := &Property{C: make([]float32, 5*2), Clauses: []int{2, 1, 2}}
	require.NoError(t, p.Validate(2))
	require.Equal(t, float32(1), p.Margin([]float32{-3, 2, 1, 5, -1}))
	require.Equal(t, []float32{2, 1, 5}, p.ClauseMargins([]float32{-3, 2, 1, 5, -1}))
	require.Equal(t, float32(-3), p.Margin([]float32{-3, -4, 1, 5, -1}))
	require.Equal(t, float32(-4), (&Property{}).Margin([]float32{-3, -4, 1}))
	require.Equal(t, &Property{C: []float32{-1, 1, 0, 0, 1, -1}}, LabelProperty(3, 1))
	for want, bad := range map[string]Property{
		"C has 3":         {C: make([]float32, 3)},
		"D has 1":         {C: make([]float32, 4), D: []float32{1}},
		"C[1] is NaN":     {C: []float32{1, float32(math.NaN())}},
		"D[0] is +Inf":    {C: []float32{1, 1}, D: []float32{float32(math.Inf(1))}},
		"clause 1 has 0":  {C: make([]float32, 4), Clauses: []int{1, 0}},
		"clause 0 has 3":  {C: make([]float32, 4), Clauses: []int{3}},
		"clauses of 1":    {C: make([]float32, 4), Clauses: []int{1}},
		"clause 0 has -9": {C: make([]float32, 4), Clauses: []int{-9}},
	} {
		require.ErrorContains(t, bad.Validate(2), want)
	}
}

// TestRungsAreShared: packed weights come with the first method that needs them, once.
func TestRungsAreShared(t *testing.T) {
	a := deeper()[11]
	m, err := model.Random(a, 1)
	require.NoError(t, err)
	n, err := net.Compile(m, net.Options{Batches: net.SmallBatches})
	require.NoError(t, err)
	pool := kernels.NewPool(1)
	defer pool.Close()
	x := randomImage(a.Input.Size(), rand.New(rand.NewPCG(1, 1)))
	b, ball := Batch{x, []int{1}}, net.Ball{Eps: net.MustEpsilon("0.03")}
	v, err := New(n, pool)
	require.NoError(t, err)
	require.Zero(t, v.Bytes())
	var held []int
	var res Result
	for method := range Methods() {
		require.NoError(t, v.Certify(t.Context(), Options{Method: Method(method), Iterations: 1}, ball, b, &res))
		held = append(held, v.Bytes())
	}
	t.Log(held)
	require.Positive(t, held[0])
	require.Greater(t, held[1], held[0])
	require.Equal(t, held[1], held[2])
	require.Greater(t, held[3], held[2], "forward maps")
	last, err := New(n, pool)
	require.NoError(t, err)
	require.NoError(t, last.Prepare(Options{Method: MethodAlphaCROWN}))
	require.Equal(t, held[3], last.Bytes())
	require.NoError(t, last.Certify(t.Context(), Options{Method: MethodAlphaCROWN, Ladder: true}, ball, b, &res))
	require.Equal(t, held[3], last.Bytes())
}
