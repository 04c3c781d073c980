package check_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"math"
	"math/big"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/epsball/epsball/dataset"
	"github.com/epsball/epsball/model"
	"github.com/epsball/epsball/verify/check"
)

// vector is one of testdata/certificates/vectors.json, see docs/certificate.md.
type vector struct {
	File, Model, Data, Name, Verdict, Margin, Reason string
	Line                                             int
	Witness, Outputs                                 []float64
}

// TestVectors: this checker judges the test vectors as stated; its bounds are below
// those of exact arithmetic, by no more than rounding. What is called a false claim is
// one.
func TestVectors(t *testing.T) {
	const folder = "../../testdata/certificates"
	text, err := os.ReadFile(filepath.Join(folder, "vectors.json"))
	require.NoError(t, err)
	var vectors []vector
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	require.NoError(t, d.Decode(&vectors))
	counts, lines := map[string]int{}, map[string]int{}
	for _, v := range vectors {
		counts[v.Verdict]++
		lines[v.File]++
		t.Run(v.File+"/"+v.Name, func(t *testing.T) {
			m, err := model.Load(filepath.Join(folder, v.Model))
			require.NoError(t, err)
			set, err := dataset.Load(filepath.Join(folder, v.Data))
			require.NoError(t, err)
			line, steps := lineOf(t, filepath.Join(folder, v.File), v.Line)
			v.judge(t, m, set, line, steps)
		})
	}
	for file, n := range lines {
		text, err := os.ReadFile(filepath.Join(folder, file))
		require.NoError(t, err)
		all := bytes.Split(bytes.TrimSuffix(text, []byte("\n")), []byte("\n"))
		require.Len(t, slices.DeleteFunc(all, check.IsStep), n, "a line of %s has no verdict", file)
	}
	require.GreaterOrEqual(t, counts["valid"], 20)
	require.GreaterOrEqual(t, counts["invalid"], 40)
}

// lineOf returns a line of a file, or nil for one that is torn, and the steps after it.
func lineOf(t *testing.T, path string, number int) (line []byte, steps [][]byte) {
	f, err := os.Open(path)
	require.NoError(t, err)
	defer f.Close()
	for l := check.NewLines(f); ; {
		b, err := l.Next()
		switch {
		case errors.Is(err, io.EOF):
			require.NotNil(t, line)
			return line, steps
		case l.Number > number && (err != nil || !check.IsStep(b)):
			return line, steps
		case l.Number > number:
			steps = append(steps, b)
		case l.Number == number && err != nil:
			require.ErrorIs(t, err, check.ErrTorn)
			return nil, nil
		case l.Number == number:
			line = b
		}
		require.NoError(t, err)
	}
}

func (v *vector) judge(t *testing.T, m *model.Model, set *dataset.Set, line []byte, steps [][]byte) {
	got, reason, margin := "invalid", "no newline", math.Inf(-1)
	c, err := (*check.Certificate)(nil), error(nil)
	if line != nil {
		c, err = check.Parse(line)
	}
	switch {
	case line == nil:
	case err != nil:
		reason = err.Error()
	case !c.Certified:
		got, reason = "nothing", ""
	case c.Index >= set.Len():
		reason = "index"
	default:
		k, x, y := newChecker(t, m), set.Image(c.Index), set.Y[c.Index]
		r := check.Verdict{}
		if c.HasSteps() {
			r = follow(t, k, c, x, y, steps...)
		} else {
			r = verdict(t, k, c, x, y)
		}
		if reason, margin = r.Reason, r.Margin; r.Valid {
			got = "valid"
		}
	}
	want := v.Verdict
	if want == "unproved" {
		want = "invalid"
	}
	require.Equal(t, want, got, reason)
	require.Contains(t, reason, v.Reason)
	if v.Margin != "" {
		exact, ok := new(big.Rat).SetString(v.Margin)
		require.True(t, ok)
		low, _ := exact.Float64()
		slack := 1e-15 * math.Abs(low)
		if curved(m) { // whose tangents are not where exact arithmetic has them
			slack = 1e-10 * (1 + math.Abs(low))
		}
		require.LessOrEqual(t, margin, low+slack, "above the bound of exact arithmetic")
		require.InDelta(t, low, margin, 1e-9*(1+math.Abs(low)))
	}
	if v.Witness != nil {
		v.refute(t, m, set, c)
	}
}

// refute shows that the witness is in the ball and breaks the claim.
func (v *vector) refute(t *testing.T, m *model.Model, set *dataset.Set, c *check.Certificate) {
	eps, err := check.ParseEps(c.Eps)
	require.NoError(t, err)
	largest, square, sum := new(big.Rat), new(big.Rat), new(big.Rat)
	x := make([]*big.Rat, len(v.Witness))
	for i, p := range v.Witness {
		require.True(t, p >= 0 && p <= 1)
		x[i] = rat(p)
		d := new(big.Rat).Sub(x[i], rat(float64(set.Image(c.Index)[i])))
		if d.Abs(d); d.Cmp(largest) > 0 {
			largest = d
		}
		square.Add(square, new(big.Rat).Mul(d, d))
		sum.Add(sum, d)
	}
	switch c.Norm {
	case "linf":
		require.LessOrEqual(t, largest.Cmp(eps), 0)
	case "l2":
		require.LessOrEqual(t, square.Cmp(new(big.Rat).Mul(eps, eps)), 0)
	default:
		require.LessOrEqual(t, sum.Cmp(eps), 0)
	}
	z := exactOutputs(m, x)
	for k := range z {
		f, _ := z[k].Float64()
		require.Equal(t, v.Outputs[k], f)
	}
	if len(c.Rows) == 0 {
		for j := range z {
			if j != c.Label {
				row := make([]float64, len(z))
				row[c.Label], row[j] = 1, -1
				c.Rows, c.Offsets = append(c.Rows, row), append(c.Offsets, 0)
			}
		}
	}
	broken := false
	for i := range c.Rows {
		value := valueOf(&check.Certificate{Rows: c.Rows[i : i+1], Offsets: c.Offsets[i : i+1]}, z)
		broken = broken || value.Sign() <= 0 || value.Cmp(rat(c.Margin)) < 0
	}
	require.True(t, broken)
}
