package bab_test

import (
	"bytes"
	"math"
	"math/big"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/epsball/epsball/internal/plain"
	"github.com/epsball/epsball/internal/reals"
	"github.com/epsball/epsball/kernels"
	"github.com/epsball/epsball/model"
	"github.com/epsball/epsball/net"
	"github.com/epsball/epsball/verify"
	"github.com/epsball/epsball/verify/branch"
	"github.com/epsball/epsball/verify/cert/bab"
	"github.com/epsball/epsball/verify/check"
)

func verifier(t testing.TB, m *model.Model, workers int) *verify.Verifier {
	t.Helper()
	n, err := net.Compile(m, net.Options{Batches: net.SmallBatches})
	require.NoError(t, err)
	pool := kernels.NewPool(workers)
	t.Cleanup(pool.Close)
	v, err := verify.New(n, pool)
	require.NoError(t, err)
	v.FirstPlanes()
	return v
}

func checker(t testing.TB, m *model.Model) *check.Checker {
	t.Helper()
	k, err := check.New(m)
	require.NoError(t, err)
	return k
}

// follow proves lines as a file has them.
func follow(t testing.TB, k *check.Checker, lines []byte, x []float32, y int) check.Verdict {
	t.Helper()
	in := check.NewLines(bytes.NewReader(lines))
	first, err := in.Next()
	require.NoError(t, err)
	c, err := check.Parse(first)
	require.NoError(t, err)
	require.True(t, c.HasSteps())
	p, err := k.Begin(c, x, y)
	if err != nil {
		return check.Verdict{Reason: err.Error()}
	}
	for !p.Ended() {
		line, err := in.Next()
		require.NoError(t, err)
		require.True(t, check.IsStep(line))
		s, err := check.ParseStep(line)
		require.NoError(t, err)
		if p.Step(t.Context(), s) != nil {
			break
		}
	}
	return p.Verdict()
}

// question is a property of a ball that holds with little room.
type question struct {
	m     *model.Model
	x     []float32
	ball  net.Ball
	p     *verify.Property
	claim *check.Certificate
}

// ask draws one: offsets are so that the property is as far above 0, where it is lowest
// among some points of the ball, as room says in units of the outputs.
func ask(m *model.Model, r *rand.Rand, eps string, norm net.Norm, room float64) *question {
	q := &question{m: m, ball: net.Ball{Norm: norm, Eps: net.MustEpsilon(eps)}}
	for range m.Arch.Input.Size() {
		q.x = append(q.x, r.Float32())
	}
	outputs := m.Arch.Classes()
	y := r.IntN(outputs)
	q.p = verify.LabelProperty(outputs, y)
	q.p.D = make([]float32, outputs-1)
	low, scale := q.lowest(r)
	for k := range low {
		q.p.D[k] = float32(room*scale - low[k])
	}
	q.claim = &check.Certificate{
		Model: m.Hash(), Level: check.Executed, Data: "test", Input: check.InputHash(q.x), Label: -1,
		Norm: norm.String(), Eps: eps, Run: "test",
	}
	for k, d := range q.p.D {
		row := make([]float64, outputs)
		for o := range row {
			row[o] = float64(q.p.C[k*outputs+o])
		}
		q.claim.Rows, q.claim.Offsets = append(q.claim.Rows, row), append(q.claim.Offsets, float64(d))
	}
	return q
}

// point is one of the ball, often a corner.
func (q *question) point(r *rand.Rand) []float32 {
	p, e := slices.Clone(q.x), q.ball.Eps.Float64()*(1-1e-6)
	one, corner := r.IntN(len(p)), r.IntN(2) == 0
	for k, v := range p {
		d := e * (2*r.Float64() - 1)
		if corner {
			d = math.Copysign(e, d)
		}
		switch {
		case q.ball.Norm == net.L2:
			d /= math.Sqrt(float64(len(p)))
		case q.ball.Norm == net.L1 && k != one:
			d = 0
		}
		p[k] = float32(min(1, max(0, float64(v)+d)))
	}
	return p
}

// lowest returns the lowest values of the rows, without offsets, among points, and what
// outputs reach.
func (q *question) lowest(r *rand.Rand) (low []float64, scale float64) {
	low = make([]float64, len(q.p.D))
	for k := range low {
		low[k] = math.Inf(1)
	}
	for range 300 {
		acts := plain.Float64(q.m, q.point(r))
		z := acts[len(acts)-1]
		for k := range low {
			sum := 0.0
			for o, v := range z {
				sum += float64(q.p.C[k*len(z)+o]) * v
				scale = max(scale, math.Abs(v))
			}
			low[k] = min(low[k], sum)
		}
	}
	return low, scale
}

// holds tries the claim at points of the ball, exactly.
func (q *question) holds(t *testing.T, r *rand.Rand) {
	for range 20 {
		p := q.point(r)
		x := make([]*big.Rat, len(p))
		for k, v := range p {
			x[k] = new(big.Rat).SetFloat64(float64(v))
		}
		signs, err := reals.Signs(t.Context(), q.m, x, q.p.C, q.p.D)
		require.NoError(t, err)
		for _, s := range signs {
			require.Equal(t, reals.Positive, s, q.m.Arch.CanonicalJSON())
		}
	}
}

// TestRoundTrip: what branch and bound proves of small networks becomes certificates that
// are valid, at level executed and so at level real, and no point contradicts them.
func TestRoundTrip(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 14))
	fc, relu := func(out int) model.Layer { return model.Layer{Kind: model.FC, Out: out} }, model.Layer{Kind: model.ReLU}
	proved, split, lemmas, several, points := 0, 0, 0, 0, 0
	for n := range 42 {
		a := &model.Architecture{Name: "dense", Input: model.Shape{C: 1, H: 1, W: 2 + r.IntN(4)}}
		for range 1 + r.IntN(3) {
			a.Layers = append(a.Layers, fc(4+r.IntN(8)), relu)
		}
		if n%6 == 0 {
			a.Layers = append(a.Layers, model.Layer{Kind: model.BatchNorm, Eps: 1e-3}, relu)
		}
		a.Layers = append(a.Layers, fc(3))
		if n%3 == 0 {
			a = plain.RandomGraph(r)
		}
		q := ask(plain.Random(a, r), r, []string{"0.1", "0.3", "1/2"}[n%3], net.Norm(n%4%3), 0.04)
		rec := &branch.Record{}
		res, err := branch.Prove(t.Context(), verifier(t, q.m, 1), verify.Around(q.ball, q.x), q.p, branch.Options{Record: rec, Parts: 4000})
		require.NoError(t, err)
		if !res.Proved {
			continue
		}
		proved++
		split += min(1, res.Depth)
		for _, s := range rec.Steps {
			for _, vector := range s.Slopes {
				if slices.ContainsFunc(vector, func(w branch.Slopes) bool { return w.Point != nil }) {
					points++
				}
			}
			if s.Layer >= 0 {
				lemmas += len(s.Trees)
				for _, tree := range s.Trees {
					several += min(1, len(tree.Leaves)-1)
				}
			}
		}
		k := checker(t, q.m)
		for _, level := range []string{check.Executed, check.Real} {
			q.claim.Level = level
			lines, err := bab.Lines(t.Context(), k, q.claim, q.x, rec, 2)
			require.NoError(t, err, "%v %s", q.ball, a.CanonicalJSON())
			v := follow(t, k, lines, q.x, check.Unknown)
			require.True(t, v.Valid, v.Reason)
			require.Positive(t, v.Margin)
			if n%9 != 0 || level != check.Executed {
				continue
			}
			again := &branch.Record{} // the same on any number of workers
			_, err = branch.Prove(t.Context(), verifier(t, q.m, 3), verify.Around(q.ball, q.x), q.p, branch.Options{Record: again, Parts: 4000})
			require.NoError(t, err)
			same, err := bab.Lines(t.Context(), k, q.claim, q.x, again, 1)
			require.NoError(t, err)
			require.Equal(t, lines, same)
		}
		q.holds(t, r)
	}
	t.Logf("%d proved, %d of them by splits; %d bounds of neurons, %d of them by splits; %d vectors with points", proved, split, lemmas, several, points)
	require.Greater(t, proved, 15)
	require.Greater(t, split, 6)
	require.Greater(t, several, 20)
	require.Greater(t, points, 30)
}

// TestLayers is TestRoundTrip on networks of all kinds of layers. Lines of maxima and curves
// are not the prover's to the last bit, so a few proofs may be lost.
func TestLayers(t *testing.T) {
	r := rand.New(rand.NewPCG(15, 92))
	proved, lost, refused := 0, 0, 0
	for n := range 40 {
		a := plain.RandomLayers(r)
		if a.Classes() < 2 {
			continue
		}
		q := ask(plain.Random(a, r), r, []string{"0.01", "0.05"}[n%2], net.Norm(n%3), 0.04)
		rec := &branch.Record{}
		res, err := branch.Prove(t.Context(), verifier(t, q.m, 1), verify.Around(q.ball, q.x), q.p, branch.Options{Record: rec, Parts: 1500})
		if err != nil {
			require.ErrorContains(t, err, "no certificates of branch and bound")
			refused++
			continue
		}
		if !res.Proved {
			continue
		}
		proved++
		k := checker(t, q.m)
		lines, err := bab.Lines(t.Context(), k, q.claim, q.x, rec, 1)
		if err != nil {
			t.Logf("%s: %v", q.m.Arch.CanonicalJSON(), err)
			lost++
			continue
		}
		require.True(t, follow(t, k, lines, q.x, check.Unknown).Valid)
		q.holds(t, r)
	}
	t.Logf("%d proved, %d of them without a certificate; %d refused", proved, lost, refused)
}

// TestLinesRefuses: records and certificates that do not belong together.
func TestLinesRefuses(t *testing.T) {
	r := rand.New(rand.NewPCG(2, 71))
	fc, relu := func(out int) model.Layer { return model.Layer{Kind: model.FC, Out: out} }, model.Layer{Kind: model.ReLU}
	m := plain.Random(&model.Architecture{Input: model.Shape{C: 1, H: 1, W: 2}, Layers: []model.Layer{fc(6), relu, fc(5), relu, fc(3)}}, r)
	q := ask(m, r, "0.3", net.Linf, 0.02)
	rec := &branch.Record{}
	prove := func(p *verify.Property) {
		res, err := branch.Prove(t.Context(), verifier(t, m, 1), verify.Around(q.ball, q.x), p, branch.Options{Record: rec})
		require.NoError(t, err)
		require.True(t, res.Proved)
	}
	prove(q.p)
	k := checker(t, m)
	refused := func(reason string, edit func(c *check.Certificate)) {
		t.Helper()
		c := *q.claim
		edit(&c)
		_, err := bab.Lines(t.Context(), k, &c, q.x, rec, 1)
		require.ErrorContains(t, err, reason)
	}
	refused("is not proved: its lower bound is", func(c *check.Certificate) { c.Offsets = []float64{c.Offsets[0] - 5, c.Offsets[1]} })
	refused("without a tree", func(c *check.Certificate) { c.Eps = "0.9" })
	refused("the model's hash is", func(c *check.Certificate) { c.Model = c.Input })
	refused("level", func(c *check.Certificate) { c.Level = "exact" })
	refused("row 2 of the specification is not proved", func(c *check.Certificate) {
		c.Rows, c.Offsets = append(slices.Clone(c.Rows), c.Rows[0]), append(slices.Clone(c.Offsets), c.Offsets[0])
	})
	p := *q.p
	p.Clauses = []int{2}
	prove(&p)
	if rec.Steps[len(rec.Steps)-1].Trees[0].Leaves[0].Row == 0 {
		rec.Steps[len(rec.Steps)-1].Trees[0].Leaves[0].Row = 1
	}
	refused("each row to be a clause of its own", func(*check.Certificate) {})
}
