package check_test

import (
	"bytes"
	"errors"
	"math/big"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/epsball/epsball/internal/pieces"
	"github.com/epsball/epsball/internal/round"
	"github.com/epsball/epsball/kernels"
	"github.com/epsball/epsball/net"
	"github.com/epsball/epsball/verify"
	"github.com/epsball/epsball/verify/branch"
	"github.com/epsball/epsball/verify/cert/bab"
	"github.com/epsball/epsball/verify/check"
)

// boxed is a certificate of a region that is valid, and a claim that is false, by little.
type boxed struct {
	*pieces.Case
	k       *check.Checker
	claim   *check.Certificate
	steps   [][]byte
	falsely *check.Certificate
}

// regionClaim claims that a case's property holds with a constant added to all of its rows.
func regionClaim(c *pieces.Case, d float32) *check.Certificate {
	outputs := c.Model.Arch.Classes()
	out := &check.Certificate{
		Model: c.Model.Hash(), Level: check.Executed, Label: -1, Run: "test", Method: check.BaB, Certified: true,
		Region: &check.Region{Property: "p", Low: c.Lo, High: c.Hi, Clauses: c.Rows.Clauses},
	}
	for from := 0; from < len(c.Rows.C); from += outputs {
		row := make([]float64, outputs)
		for k := range row {
			row[k] = float64(c.Rows.C[from+k])
		}
		out.Rows, out.Offsets = append(out.Rows, row), append(out.Offsets, float64(d))
	}
	return out
}

// plantedRegion proves the property of a case, at inputs or at neurons; nil: it did not come
// to a proof with parts.
func plantedRegion(t testing.TB, seed uint64, byInputs bool) *boxed {
	c := pieces.Draw(rand.New(rand.NewPCG(77, seed)))
	m, err := pieces.Find(c.Model, pieces.Rats(c.Lo), pieces.Rats(c.Hi), c.Rows, 2000)
	if errors.Is(err, pieces.ErrLarge) {
		return nil
	}
	require.NoError(t, err)
	least := new(big.Rat).Neg(m.Value)
	d := round.Up(least.Add(least, new(big.Rat).SetFloat64(0.02*m.Scale)))
	n, err := net.Compile(c.Model, net.Options{Batches: net.SmallBatches})
	require.NoError(t, err)
	pool := kernels.NewPool(1)
	defer pool.Close()
	v, err := verify.New(n, pool)
	require.NoError(t, err)
	p := *c.Rows
	p.D = slices.Repeat([]float32{d}, len(p.C)/n.Classes())
	rec := &branch.Record{ByInputs: byInputs}
	res, err := branch.Prove(t.Context(), v, verify.Region{Lo: c.Lo, Hi: c.Hi}, &p, branch.Options{Record: rec, Parts: 1500})
	if err != nil {
		require.ErrorContains(t, err, "no certificates of branch and bound for its kind")
		return nil
	}
	if !res.Proved || res.Depth < 2 {
		return nil
	}
	s := &boxed{Case: c, k: newChecker(t, c.Model)}
	claim := regionClaim(c, d)
	lines, err := bab.RegionLines(t.Context(), s.k, claim, rec, 2)
	require.NoError(t, err)
	all := bytes.Split(bytes.TrimSuffix(lines, []byte("\n")), []byte("\n"))
	s.claim, err = check.Parse(all[0])
	require.NoError(t, err)
	claim.Sum = s.claim.Sum
	require.Equal(t, claim, s.claim)
	s.steps = all[1:]
	lie := new(big.Rat).Neg(m.Value)
	s.falsely = reread(t, regionClaim(c, round.Down(lie.Sub(lie, new(big.Rat).SetFloat64(1e-5*m.Scale)))))
	return s
}

// regions returns some certificates of each form.
func regions(t testing.TB, each int) (all []*boxed) {
	for _, byInputs := range []bool{true, false} {
		n := 0
		for seed := uint64(0); n < each; seed++ {
			require.Less(t, seed, uint64(400))
			if s := plantedRegion(t, seed, byInputs); s != nil {
				all, n = append(all, s), n+1
			}
		}
	}
	return all
}

// TestRegions: proofs of properties are followed, with any number of workers, and no change of
// their steps proves a claim that is false by little.
func TestRegions(t *testing.T) {
	r := rand.New(rand.NewPCG(8, 10))
	cuts, trees, clauses, refused := 0, 0, 0, map[string]int{}
	for _, s := range regions(t, 8) {
		require.Equal(t, check.Verdict{Valid: true, Margin: follow(t, s.k, s.claim, nil, 0, s.steps...).Margin}, follow(t, s.k, s.claim, nil, 0, s.steps...))
		text := string(bytes.Join(s.steps, nil))
		cuts, trees = cuts+strings.Count(text, `"parts":`), trees+strings.Count(text, `"clause":`)
		if s.Rows.Clauses != nil {
			clauses++
		}
		for n := range 40 {
			steps := stepsOf(t, s.steps)
			for range n % 4 {
				steps = mutateSteps(steps, r)
			}
			v := follow(t, s.k, s.falsely, nil, 0, of(t, s.falsely, steps)...)
			require.False(t, v.Valid)
			for _, word := range []string{"not proved", "missing", "expected", "got"} {
				if strings.Contains(v.Reason, word) {
					refused[word]++
					break
				}
			}
		}
	}
	t.Logf("%d by inputs, %d clauses by neurons, %d with clauses of several rows; refused: %v", cuts, trees, clauses, refused)
	require.GreaterOrEqual(t, cuts, 8)
	require.GreaterOrEqual(t, trees, 8)
	require.Positive(t, clauses)
	require.Greater(t, refused["not proved"], 100)
}

// TestRegionMutants: a changed claim with the same steps is refused, or true: what is claimed
// is then compared with the exact minimum.
func TestRegionMutants(t *testing.T) {
	r := rand.New(rand.NewPCG(8, 11))
	accepted, refused := 0, 0
	for _, s := range regions(t, 3) {
		for range 25 {
			c := *s.claim
			region := *s.claim.Region
			c.Region, c.Offsets = &region, slices.Clone(c.Offsets)
			region.Low, region.High = slices.Clone(region.Low), slices.Clone(region.High)
			k, amount := r.IntN(len(region.Low)), float32(r.NormFloat64())*0.05
			switch r.IntN(4) {
			case 0:
				region.Low[k] += amount
			case 1:
				region.High[k] += amount
			case 2:
				c.Offsets[r.IntN(len(c.Offsets))] += float64(amount)
			default:
				region.Clauses = nil
			}
			if !(region.Low[k] <= region.High[k]) {
				continue
			}
			again := reread(t, &c)
			if !follow(t, s.k, again, nil, 0, of(t, again, stepsOf(t, s.steps))...).Valid {
				refused++
				continue
			}
			accepted++
			m, err := pieces.Find(s.Model, pieces.Rats(region.Low), pieces.Rats(region.High), &net.Property{C: s.Rows.C, Clauses: region.Clauses}, 4000)
			if errors.Is(err, pieces.ErrLarge) {
				continue
			}
			require.NoError(t, err)
			// Constants may differ: that is a weaker claim than all of them at the largest one.
			most := new(big.Rat).SetFloat64(slices.Max(c.Offsets))
			require.Positive(t, most.Add(most, m.Value).Sign(), "a claim that is not true was accepted")
		}
	}
	t.Logf("%d accepted, %d refused", accepted, refused)
	require.Greater(t, accepted, 20)
	require.Greater(t, refused, 10)
}

// TestRegionsRefused: what docs/certificate.md does not allow is refused, with the reason.
func TestRegionsRefused(t *testing.T) {
	all := regions(t, 1)
	s, tree := all[0], all[1]
	at := slices.IndexFunc(stepsOf(t, tree.steps), func(f fields) bool { return f["clause"] != nil })
	var input int
	for k := range s.Lo {
		if s.Lo[k] < s.Hi[k] {
			input = k
		}
	}
	lo, hi := float64(s.Lo[input]), float64(s.Hi[input])
	half := float64(float32((lo + hi) / 2))
	for _, c := range []struct {
		reason string
		parts  []any
	}{
		{"parts: a part of a cut is missing", []any{[]any{input, half}, "crown"}},
		{"parts: a part of a cut is missing", []any{}},
		{"parts[1]: got more after the whole region", []any{"crown", "crown"}},
		{"expected one within", []any{[]any{input, lo}, "crown", "crown"}},
		{"expected one within", []any{[]any{input, hi}, "crown", "crown"}},
		{"parts[1]: got a cut at", []any{[]any{input, half}, []any{input, half}, "crown", "crown", "crown"}},
		{"parts[2]: got a cut at", []any{[]any{input, half}, "crown", []any{input, half}, "crown", "crown"}},
		{"but there are", []any{[]any{9999, half}, "crown", "crown"}},
		{"spelled in full", []any{[]any{input, 0.1}, "crown", "crown"}},
		{"expected an input and where to cut", []any{[]any{input}, "crown", "crown"}},
		{"more than 2", []any{[]any{input, half, 1}, "crown", "crown"}},
		{"expected an integer", []any{[]any{-1, half}, "crown", "crown"}},
		{"expected one of", []any{"alpha-crown"}},
		{"expected a string", []any{7}},
		{"leaf 0 is not proved: the lower bound of clause", []any{"ibp"}},
	} {
		v := follow(t, s.k, s.claim, nil, 0, of(t, s.claim, []fields{{"parts": c.parts}, {"end": true}})...)
		require.False(t, v.Valid, c.reason)
		require.Contains(t, v.Reason, c.reason)
	}
	one := func(f fields) map[string]any { return f["trees"].([]any)[0].(map[string]any) }
	for _, c := range []struct {
		reason string
		edit   func(f fields)
	}{
		{"rows: expected them of a clause", func(f fields) { delete(one(f), "rows") }},
		{"rows: got 1, expected one for each of", func(f fields) { one(f)["rows"] = one(f)["rows"].([]any)[:1] }},
		{"but clause 0 has rows 0 to", func(f fields) { one(f)["rows"].([]any)[0] = 99 }},
		{"clause: got 99, but the specification has", func(f fields) { f["clause"] = 99 }},
		{"expected one of end, layer, clause and parts", func(f fields) { f["row"] = 0; delete(f, "clause") }},
		{"got what version 3 does not have", func(f fields) { f["row"] = 0 }},
		{"expected one of end, layer, clause and parts", func(f fields) { f["parts"] = []any{"crown"} }},
		{"got a step of version 2", func(f fields) { f["version"] = 2; f["row"] = 0; delete(f, "clause"); delete(one(f), "rows") }},
	} {
		steps := stepsOf(t, tree.steps)
		c.edit(steps[at])
		v := follow(t, tree.k, tree.claim, nil, 0, of(t, tree.claim, steps)...)
		require.False(t, v.Valid, c.reason)
		require.Contains(t, v.Reason, c.reason)
	}
	end := stepLine(t, s.claim.Sum, 1, fields{"end": true, "version": 3})
	require.Contains(t, follow(t, s.k, s.claim, nil, 0, end).Reason, "end: clause 0 of the specification is not proved")
	require.True(t, check.IsStep(s.steps[0]))

	text := string(line(t, s.claim))
	for _, c := range []struct{ old, new, reason string }{
		{`"version":3`, `"version":2`, "got 2 for a region"},
		{`"index":0`, `"index":0,"label":1`, "label: got it in version 3"},
		{`"index":0`, `"index":0,"eps":"0.1"`, "eps: got it in version 3"},
		{`"method":"bab"`, `"method":"crown"`, "got crown in version 3"},
		{`"property":"p",`, ``, "property: missing"},
		{`"low":"f32:`, `"low":"f32:AAAAAAAAAAAAAAAA`, "high: got"},
		{`"low":"f32:`, `"low":"u8:`, "expected f32:"},
		{`"run":"test"`, `"run":"test","clauses":[0]`, "clauses"},
	} {
		_, err := check.Parse(sealed(strings.Replace(text, c.old, c.new, 1)))
		require.ErrorContains(t, err, c.reason)
	}
	cross := *s.claim
	region := *s.claim.Region
	cross.Region = &region
	region.Low, region.High = region.High, region.Low
	_, err := s.k.Begin(&cross, nil, 0)
	require.ErrorContains(t, err, "expected finite numbers in order")
	region.Low, region.High = region.High[1:], region.Low[1:]
	_, err = s.k.Begin(&cross, nil, 0)
	require.ErrorContains(t, err, "inputs")
	cross = *s.claim
	cross.Model = strings.Repeat("0", 64)
	_, err = s.k.Begin(&cross, nil, 0)
	require.ErrorContains(t, err, "model")
}

// FuzzRegion: whatever stands in the place of a step of a region's proof, nothing panics, and
// no claim that is false is proved.
func FuzzRegion(f *testing.F) {
	all := regions(f, 1)
	for i, s := range all {
		for _, l := range of(f, s.falsely, stepsOf(f, s.steps)) {
			f.Add(l, i == 0)
		}
		f.Add(line(f, s.claim), i == 0)
	}
	f.Fuzz(func(t *testing.T, body []byte, first bool) {
		s := all[1]
		if first {
			s = all[0]
		}
		steps := of(t, s.falsely, stepsOf(t, s.steps))
		for _, b := range [][]byte{body, resealed(body)} {
			for at := range steps {
				lines := slices.Clone(steps)
				lines[at] = b
				require.False(t, follow(t, s.k, s.falsely, nil, 0, lines...).Valid)
			}
			if c, err := check.Parse(b); err == nil && c.Region != nil {
				_, _ = s.k.Begin(c, nil, 0)
			}
		}
	})
}
