package check_test

import (
	"bytes"
	"context"
	"encoding/json"
	"math"
	"math/big"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/epsball/epsball/internal/testsize"
	"github.com/epsball/epsball/kernels"
	"github.com/epsball/epsball/model"
	"github.com/epsball/epsball/net"
	"github.com/epsball/epsball/verify"
	"github.com/epsball/epsball/verify/branch"
	"github.com/epsball/epsball/verify/cert/bab"
	"github.com/epsball/epsball/verify/check"
)

// planted is a certificate by branch and bound that is valid, and a claim that is false, by
// little, with what contradicts it.
type planted struct {
	m       *model.Model
	k       *check.Checker
	x       []float32
	claim   *check.Certificate
	steps   [][]byte
	falsely *check.Certificate
}

// plantedProof proves the first row of a random network over a ball, with splits; nil: it did
// not come to that.
func plantedProof(t testing.TB, a *model.Architecture, seed uint64, eps string, parts int) *planted {
	r := rand.New(rand.NewPCG(seed, 3))
	m, err := model.Random(a, seed)
	require.NoError(t, err)
	s := &planted{m: m, k: newChecker(t, m)}
	for range a.Input.Size() {
		s.x = append(s.x, r.Float32())
	}
	c := claim(m, s.x, -1, "linf", eps, check.BaB)
	outputs := a.Classes()
	c.Rows, c.Offsets = [][]float64{make([]float64, outputs)}, []float64{0}
	c.Rows[0][0], c.Rows[0][1] = 1, -1
	low, scale := math.Inf(1), 0.0
	for point := range 200 {
		exact := make([]*big.Rat, len(s.x))
		for i, v := range inBall(c, s.x, point, r) {
			exact[i] = rat(float64(v))
		}
		v, _ := valueOf(c, exactOutputs(m, exact)).Float64()
		low, scale = min(low, v), max(scale, math.Abs(v))
	}
	d := float32(0.01*scale - low)
	c.Offsets[0] = float64(d)
	compiled, err := net.Compile(m, net.Options{Batches: net.SmallBatches})
	require.NoError(t, err)
	pool := kernels.NewPool(1)
	defer pool.Close()
	v, err := verify.New(compiled, pool)
	require.NoError(t, err)
	if seed%2 == 0 {
		v.FirstPlanes()
	}
	p := &verify.Property{C: make([]float32, outputs), D: []float32{d}}
	p.C[0], p.C[1] = 1, -1
	rec := &branch.Record{}
	res, err := branch.Prove(context.Background(), v, verify.Around(net.Ball{Eps: net.MustEpsilon(eps)}, s.x), p, branch.Options{Record: rec, Parts: parts})
	require.NoError(t, err)
	if !res.Proved || res.Depth < 2 {
		return nil
	}
	lines, err := bab.Lines(context.Background(), s.k, c, s.x, rec, 1)
	require.NoError(t, err)
	all := bytes.Split(bytes.TrimSuffix(lines, []byte("\n")), []byte("\n"))
	s.claim, err = check.Parse(all[0])
	require.NoError(t, err)
	s.steps = all[1:]
	lie := *c
	lie.Offsets = []float64{-low - 1e-4*scale}
	s.falsely = byTrees(t, &lie)
	return s
}

// proofs returns some of several networks.
func proofs(t *testing.T) (all []*planted) {
	list := architectures()
	for seed := uint64(1); len(all) < 4; seed++ {
		require.Less(t, seed, uint64(80))
		if s := plantedProof(t, []*model.Architecture{list[0], list[2], list[4], list[5]}[seed%4], seed, "0.4", 2000); s != nil {
			all = append(all, s)
		}
	}
	for _, a := range splitting() {
		n := len(all)
		for seed := uint64(1); len(all) == n; seed++ {
			require.Less(t, seed, uint64(80), a.Name)
			if s := plantedProof(t, a, seed, "0.4", 60); s != nil {
				all = append(all, s)
			}
		}
	}
	return all
}

// splitting are networks whose trees have splits of other kinds than ReLUs'.
func splitting() []*model.Architecture {
	in := model.Shape{C: 1, H: 3, W: 3}
	return []*model.Architecture{
		{Name: "curves", Input: in, Layers: []model.Layer{fc(3), tanh, fc(3), sigmoid, fc(2)}},
		{Name: "maxima", Input: in, Layers: []model.Layer{conv(1, 2, 1, 0), maxPool(2, 1, 0), fc(3), leaky(0.125), fc(2)}},
	}
}

// again reads a step as an object.
func again(t testing.TB, line []byte) fields {
	f := fields{}
	require.NoError(t, json.Unmarshal(line, &f))
	for _, k := range []string{"format", "version", "of", "step", "sum"} {
		delete(f, k)
	}
	return f
}

// of seals steps as those of a certificate.
func of(t testing.TB, c *check.Certificate, steps []fields) (lines [][]byte) {
	for i, f := range steps {
		if _, ok := f["version"]; !ok && c.Region != nil {
			f["version"] = check.Regions
		}
		lines = append(lines, stepLine(t, c.Sum, i+1, f))
	}
	return lines
}

func stepsOf(t testing.TB, lines [][]byte) (steps []fields) {
	for _, l := range lines {
		steps = append(steps, again(t, l))
	}
	return steps
}

// TestTreesProveNothingFalse: no change of the steps of a proof, be it of numbers or of what
// there is, makes them prove a claim that is false by little.
func TestTreesProveNothingFalse(t *testing.T) {
	r := rand.New(rand.NewPCG(8, 9))
	tried, refused := 0, map[string]int{}
	for n, s := range proofs(t) {
		tries := testsize.Of(70, 30)
		if n >= 4 {
			tries /= 3
		}
		require.True(t, follow(t, s.k, s.claim, s.x, check.Unknown, s.steps...).Valid)
		require.True(t, follow(t, s.k, s.claim, s.x, check.Unknown, of(t, s.claim, stepsOf(t, s.steps))...).Valid)
		for range tries {
			steps := stepsOf(t, s.steps)
			for range r.IntN(4) {
				steps = mutateSteps(steps, r)
			}
			v := follow(t, s.k, s.falsely, s.x, check.Unknown, of(t, s.falsely, steps)...)
			require.False(t, v.Valid)
			tried++
			for _, word := range []string{"not proved", "missing", "known", "expected", "got"} {
				if strings.Contains(v.Reason, word) {
					refused[word]++
					break
				}
			}
		}
	}
	t.Logf("%d tried, refused by %v", tried, refused)
	require.Greater(t, refused["not proved"], testsize.Of(60, 20))
}

// mutateSteps changes something somewhere.
func mutateSteps(steps []fields, r *rand.Rand) []fields {
	if len(steps) == 0 {
		return []fields{{"end": true}}
	}
	i := r.IntN(len(steps))
	switch r.IntN(6) {
	case 0:
		return slices.Delete(steps, i, i+1)
	case 1:
		j := r.IntN(len(steps))
		steps[i], steps[j] = steps[j], steps[i]
		return steps
	case 2:
		return slices.Insert(steps, r.IntN(len(steps)), steps[i])
	}
	steps[i] = mutateValue(map[string]any(steps[i]), r).(map[string]any)
	return steps
}

// mutateValue changes a part of a value.
func mutateValue(v any, r *rand.Rand) any {
	switch v := v.(type) {
	case map[string]any:
		keys := slices.Sorted(func(yield func(string) bool) {
			for k := range v {
				if !yield(k) {
					return
				}
			}
		})
		if len(keys) > 0 {
			k := keys[r.IntN(len(keys))]
			v[k] = mutateValue(v[k], r)
		}
		return v
	case []any:
		if len(v) == 0 {
			return v
		}
		i := r.IntN(len(v))
		switch r.IntN(5) {
		case 0:
			return slices.Delete(v, i, i+1)
		case 1:
			return slices.Insert(v, i, v[r.IntN(len(v))])
		case 2:
			j := r.IntN(len(v))
			v[i], v[j] = v[j], v[i]
			return v
		}
		v[i] = mutateValue(v[i], r)
		return v
	case float64:
		if v != math.Trunc(v) { // where a region is cut
			return float64(math.Nextafter32(float32(v*(1+0.1*float64(r.IntN(3)-1))), float32(r.IntN(3)-1)))
		}
		return max(0, v+float64(r.IntN(5)-2))
	case string:
		if text, ok := strings.CutPrefix(v, "f32:"); ok && len(text) >= 4 { // other bits of one character
			b := []byte(v)
			const digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
			if at := 4 + r.IntN(len(text)); b[at] != '=' {
				b[at] = digits[r.IntN(64)]
			}
			return string(b)
		}
	}
	return v
}

// FuzzSteps: whatever stands in the place of a step, nothing panics, and no claim that is
// false is proved.
func FuzzSteps(f *testing.F) {
	var s *planted
	for seed := uint64(1); s == nil; seed++ {
		s = plantedProof(f, architectures()[0], seed, "0.4", 2000)
	}
	steps := of(f, s.falsely, stepsOf(f, s.steps))
	for i, l := range steps {
		f.Add(l, i)
	}
	f.Fuzz(func(t *testing.T, body []byte, at int) {
		for _, b := range [][]byte{body, resealed(body)} {
			lines := slices.Clone(steps)
			lines[uint(at)%uint(len(lines))] = b
			require.False(t, follow(t, s.k, s.falsely, s.x, check.Unknown, lines...).Valid)
			require.False(t, follow(t, s.k, s.falsely, s.x, check.Unknown, b).Valid)
		}
	})
}
