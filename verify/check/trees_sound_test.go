package check_test

import (
	"cmp"
	"math"
	"math/big"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/epsball/epsball/internal/testsize"
	"github.com/epsball/epsball/model"
	"github.com/epsball/epsball/verify/check"
)

// TestTreesSound: whatever trees, slopes and multipliers state, no point of the ball is below
// what the checker proves: exact outputs at either level, float32 outputs in any order at
// level executed. Ends of the network are cut off, so that each kind of layer is bounded itself.
func TestTreesSound(t *testing.T) {
	r := rand.New(rand.NewPCG(21, 2))
	s := trees{r: r, kinds: map[int]int{}}
	for seed := range uint64(testsize.Of(48, 24)) {
		m, err := model.Random(architectures()[seed%6], seed)
		require.NoError(t, err)
		twist(m, int(seed/6)%6, r)
		s.judge(t, m)
	}
	for n, a := range layered() {
		s.judge(t, drawModel(t, a, uint64(n), r))
	}
	t.Logf("%d points, %d splits, %d bounds tightened, planes in %d vectors; splits of so many numbers: %v", s.trials, s.splits, s.tightened, s.planes, s.kinds)
	require.Greater(t, min(s.kinds[3], s.kinds[4]), 100)
	require.Greater(t, s.trials, testsize.Of(800, 400))
	require.Greater(t, s.splits, 200)
	require.Greater(t, s.tightened, 100)
	require.Greater(t, s.planes, 100)
}

// trees counts what was judged.
type trees struct {
	r                         *rand.Rand
	trials, splits, tightened int
	planes                    int
	kinds                     map[int]int
}

func (s *trees) judge(t *testing.T, m *model.Model) {
	r, k := s.r, newChecker(t, m)
	x := make([]float32, m.Arch.Input.Size())
	for i := range x {
		x[i] = r.Float32()
	}
	for range 2 {
		c := claim(m, x, 0, []string{"linf", "l2", "l1"}[r.IntN(3)], []string{"0.01", "1/10", "0.4"}[r.IntN(3)], check.BaB)
		c.Level = []string{check.Real, check.Executed}[r.IntN(2)]
		c.Label, c.Rows, c.Offsets = -1, [][]float64{make([]float64, m.Arch.Classes())}, []float64{0}
		for j := range c.Rows[0] {
			c.Rows[0][j] = []float64{1, -1, 0, r.NormFloat64()}[r.IntN(4)]
		}
		c.Rows[0][0] = cmp.Or(c.Rows[0][0], 1)
		seed := r.Uint64()
		margin := func() float64 { // of the same steps for each offset
			g := &planter{m: m, r: rand.New(rand.NewPCG(seed, 1)), kinds: s.kinds}
			g.shapes, _ = m.Arch.Shapes()
			defer func() { s.planes += g.points }()
			return s.prove(t, k, g, byTrees(t, c), x)
		}
		c.Offsets[0] = 0x1p40
		first := margin()
		if math.IsInf(first, -1) || first > 0x1p49 { // an execution may overflow, or a bound is too large
			continue
		}
		c.Offsets[0] = 0x1p40 - first
		c.Offsets[0] += 1e-3 + 1e-9*math.Abs(c.Offsets[0]) + 0x1p-10 // what rounding took at 2⁴⁰
		low := margin()
		require.Positive(t, low)
		s.points(t, m, byTrees(t, c), x, low)
	}
}

// prove draws steps and returns the margin that they prove.
func (s *trees) prove(t *testing.T, k *check.Checker, g *planter, c *check.Certificate, x []float32) float64 {
	p, err := k.Begin(c, x, check.Unknown)
	require.NoError(t, err)
	n := 0
	step := func(f fields) {
		n++
		parsed, err := check.ParseStep(stepLine(t, c.Sum, n, f))
		require.NoError(t, err)
		if err := p.Step(t.Context(), parsed); err != nil {
			require.Regexp(t, "overflow|not finite|leaf . is not proved: its lower bound is -.*e", err.Error()) // or far below
		}
	}
	for round := range 2 {
		for _, layer := range reads(g.m) {
			if lo, hi, err := p.Known(layer); err == nil && g.r.IntN(3) > 0 {
				step(s.bounds(t, p, g, layer, lo, hi, round == 0))
			}
		}
	}
	last := len(g.m.Arch.Layers)
	slopes := g.slopes(p, last)
	step(fields{"row": 0, "slopes": slopes, "trees": []fields{g.tree(last, len(slopes))}})
	step(fields{"end": true})
	return p.Verdict().Margin
}

// bounds draws a step that states bounds of some elements of a layer, with trees.
func (s *trees) bounds(t *testing.T, p *check.Proof, g *planter, layer int, lo, hi []float64, all bool) fields {
	f := fields{"layer": layer}
	slopes := g.slopes(p, layer)
	drawn := []fields{}
	var elements []int
	for e := range lo {
		if all || g.r.IntN(2) == 0 {
			elements = append(elements, e)
			for _, end := range []string{"low", "high"} {
				tree := g.tree(layer, len(slopes))
				tree["element"], tree["end"] = e, end
				drawn = append(drawn, tree)
			}
		}
	}
	if len(elements) == 0 {
		elements = []int{0}
	}
	var low, high []float32
	for _, e := range elements {
		low, high = append(low, below(lo[e])), append(high, -below(-hi[e]))
	}
	f["elements"], f["slopes"], f["trees"] = elements, slopes, drawn
	f["low"], f["high"] = floatText(low...), floatText(high...)
	parsed, err := check.ParseStep(stepLine(t, "0000000000000000000000000000000000000000000000000000000000000000", 1, f))
	require.NoError(t, err)
	lows, err := p.Lows(parsed)
	if err != nil {
		require.Regexp(t, "overflow|not finite", err.Error())
		delete(f, "trees")
		return f
	}
	kept := []fields{}
	for i, v := range lows { // state what trees prove, where that is better
		at, high := slices.Index(elements, parsed.Trees[i].Element), parsed.Trees[i].High
		s.splits += len(parsed.Trees[i].Nodes) / 2
		b := below(v)
		switch {
		case b-b != 0:
			continue
		case !high && b > low[at]:
			low[at] = b
		case high && -b < parsed.High[at]:
			parsed.High[at] = -b
		default:
			continue
		}
		s.tightened++
		kept = append(kept, drawn[i])
	}
	for i := range low { // trees of one element are independent: their ends may cross by rounding
		if low[i] > parsed.High[i] {
			low[i], parsed.High[i] = below(lo[elements[i]]), -below(-hi[elements[i]])
		}
	}
	f["trees"], f["low"], f["high"] = kept, floatText(low...), floatText(parsed.High...)
	return f
}

// below is a float32 not above v.
func below(v float64) float32 {
	f := float32(v)
	for float64(f) > v {
		f = math.Nextafter32(f, float32(math.Inf(-1)))
	}
	return f
}

// points compares a margin with what a claim's row is at points of its ball.
func (s *trees) points(t *testing.T, m *model.Model, c *check.Certificate, x []float32, margin float64) {
	low := rat(margin)
	for point := range 6 {
		p := inBall(c, x, point, s.r)
		exact := make([]*big.Rat, len(p))
		for i := range p {
			exact[i] = rat(float64(p[i]))
		}
		value := valueOf(c, exactOutputs(m, exact))
		if curved(m) {
			value.Add(value, rat(0x1p-190))
		}
		require.LessOrEqual(t, low.Cmp(value), 0, "%s %s ε=%s at level %s: exact below %v", m.Arch.Name, c.Norm, c.Eps, c.Level, margin)
		s.trials++
		if c.Level == check.Executed {
			z := executedOutputs(m, p, s.r)
			wide := make([]*big.Rat, len(z))
			for j := range z {
				wide[j] = rat(float64(z[j]))
			}
			require.LessOrEqual(t, low.Cmp(valueOf(c, wide)), 0, "%s %s ε=%s: executed below %v", m.Arch.Name, c.Norm, c.Eps, margin)
		}
	}
}
