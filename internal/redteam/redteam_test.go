package redteam

import (
	"math"
	"math/big"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/epsball/epsball/model"
	"github.com/epsball/epsball/net"
)

// TestFamilies: cases are what their seeds say, and differ by seed.
func TestFamilies(t *testing.T) {
	for _, f := range slices.Concat(Families(), LayerFamilies()) {
		if f.Large {
			continue
		}
		hashes := map[string]bool{}
		for seed := range uint64(20) {
			c, again := f.Draw(seed), f.Draw(seed)
			require.Equal(t, c.Model.Hash(), again.Model.Hash(), f.Name)
			require.Equal(t, c.X, again.X)
			require.Equal(t, c.Ball.String(), again.Ball.String())
			require.NoError(t, c.Ball.Validate())
			require.True(t, Inside(c.Ball, c.X, c.X))
			hashes[c.Model.Hash()] = true
		}
		if f.Name != "edge-chains" { // which differ in their specifications
			require.Greater(t, len(hashes), 2, f.Name)
		}
	}
}

// TestFMA compares with rationals.
func TestFMA(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	number := func() float32 { return ldexp(1+float32(r.IntN(1<<23))*0x1p-23, r.IntN(60)-30) }
	for i := range 20000 {
		a, b, c := number(), number(), -number()
		if i%2 == 0 { // near cancellation and ties
			c = -float32(a*b) * (1 + float32(r.IntN(3)-1)*0x1p-23)
		}
		if i%5 == 0 {
			a, c = ldexp(a, -120), ldexp(c, -120)
		}
		exact := new(big.Rat).Mul(rat(a), rat(b))
		want, _ := exact.Add(exact, rat(c)).Float32()
		require.Equal(t, want, fma(a, b, c), "%b·%b + %b", a, b, c)
	}
}

func rat(v float32) *big.Rat { return new(big.Rat).SetFloat64(float64(v)) }

// TestExecutions: whatever order a sum takes, it errs by no more than Higham's bound;
// in some it errs by nearly as much.
func TestExecutions(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	e := executor{Rand: r}
	worst := 0.0
	for range 3000 {
		n := 2 + r.IntN(200)
		var list []term
		exact, all := exactly(0), 0.0
		for k := range n {
			w, x := float32(r.NormFloat64()), float32(r.NormFloat64())
			if n%2 == 0 {
				w, x = float32(0.9*u), 1
				if k == 0 {
					w = 1
				}
			}
			list = append(list, newTerm(w, x))
			exact.Add(exact, exactly(float64(w)*float64(x)))
			all += math.Abs(float64(w) * float64(x))
		}
		for _, dir := range []float64{-1, 0, 1} {
			have := e.extreme(append([]term(nil), list...), dir)
			err, _ := exactly(float64(have)).Sub(exactly(float64(have)), exact).Float64()
			share := math.Abs(err) / (float64(n) * u / (1 - float64(n)*u) * all)
			require.LessOrEqual(t, share, 1.0)
			if n > 50 {
				worst = max(worst, share)
			}
		}
	}
	require.Greater(t, worst, 0.85)
}

// TestExecuteIsExactWithoutRounding: on small whole numbers executions in any order and
// real numbers agree, and gradients are those of differences.
func TestExecuteIsExactWithoutRounding(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 3))
	for range 200 {
		b := &builder{Rand: r}
		b.graph()
		for i := range b.m.Arch.Layers {
			l := &b.m.Arch.Layers[i]
			for c := range l.Mean {
				l.Mean[c], l.Std[c] = float32(r.IntN(2)), 1
			}
			for _, list := range [][]float32{b.m.Params[i].W, b.m.Params[i].B} {
				for k := range list {
					list[k] = float32(r.IntN(3) - 1)
				}
			}
		}
		n := newNetwork(b.m)
		e := executor{network: n, Rand: r}
		x, wide, real := make([]float32, n.sizes[0]), make([]float64, n.sizes[0]), make([]*big.Float, n.sizes[0])
		for k := range x {
			x[k] = float32(r.IntN(64)) / 64
			wide[k], real[k] = float64(x[k]), exactly(float64(x[k]))
		}
		z, exact := n.wide(wide), n.exact(real)
		push := n.gradients(z, n.last, map[int]float64{0: 1}, false)
		for _, p := range [][][]float64{nil, push} {
			acts, ok := e.execute(x, p)
			require.True(t, ok)
			for o, v := range acts[n.last] {
				f, _ := exact[n.last][o].Float64()
				require.Equal(t, f, float64(v))
				require.Equal(t, f, z[n.last][o])
			}
		}
		kink := false
		for _, s := range n.steps {
			kink = kink || s.kind == model.ReLU && slices.Contains(z[s.in], 0)
		}
		for k := range wide {
			const h = 0x1p-30
			wide[k] += h
			f := (n.wide(wide)[n.last][0] - z[n.last][0]) / h
			wide[k] -= h
			require.True(t, kink || f == push[0][k])
		}
	}
}

// TestPointsAreInside, for every norm and radius.
func TestPointsAreInside(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 4))
	moved := 0
	for range 2000 {
		c := &Case{X: Image(1+r.IntN(8), r)}
		c.Ball = Ball(net.Norm(r.IntN(3)), r)
		for _, p := range c.along(anywhere(len(c.X), r), []float64{1, r.Float64()}[r.IntN(2)]) {
			sum, d := exactly(0), exactly(0)
			for k, v := range p.real {
				require.True(t, v.Sign() >= 0 && v.Cmp(exactly(1)) <= 0)
				d.Sub(v, exactly(float64(c.X[k]))).Abs(d)
				switch c.Ball.Norm {
				case net.L2:
					sum.Add(sum, d.Mul(d, d))
				case net.L1:
					sum.Add(sum, d)
				default:
					if d.Cmp(sum) > 0 {
						sum.Set(d)
					}
				}
			}
			moved += sum.Sign()
			eps := c.Ball.Eps.Rat()
			if c.Ball.Norm == net.L2 {
				eps.Mul(eps, eps)
			}
			distance, _ := sum.Rat(nil)
			require.LessOrEqual(t, distance.Cmp(eps), 0, "%v", c.Ball)
		}
	}
	require.Greater(t, moved, 1000)
}

// TestJudge: claims a last bit too good are broken, those that hold are not.
func TestJudge(t *testing.T) {
	c := Families()[0].Draw(1)
	c.Ball = net.Ball{}
	n := newNetwork(c.Model)
	z := n.exact(c.point32(c.X).real)[n.last]
	other := (c.Y + 1) % len(z)
	margin := exactly(0).Sub(z[c.Y], z[other])
	low, _ := new(big.Float).SetMode(big.ToNegativeInf).Set(margin).Float64()
	claim := func(v float64) Claim {
		m := make([]float64, len(z))
		for o := range m {
			m[o] = math.NaN()
		}
		m[other] = v
		return Claim{Name: "test", Margins: m, Real: true}
	}
	require.Empty(t, c.Judge([]Claim{claim(low - 1e-9)}, 3).Violations)
	require.NotEmpty(t, c.Judge([]Claim{claim(math.Nextafter(math.Nextafter(low, 1e300), 1e300))}, 3).Violations)
	r := c.Judge([]Claim{claim(math.NaN()), claim(math.Inf(-1))}, 3)
	require.Zero(t, r.Comparisons)
	require.Equal(t, "1 networks, 12 executions (0 overflow), 0 comparisons, 0 violations", r.String())
}
