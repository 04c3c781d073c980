package check_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math"
	"math/big"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/epsball/epsball/model"
	"github.com/epsball/epsball/verify/check"
)

// TestParseEps: a radius is read exactly, and nothing but one is.
func TestParseEps(t *testing.T) {
	for text, want := range map[string]*big.Rat{
		"0": new(big.Rat), "0.1": big.NewRat(1, 10), "8/255": big.NewRat(8, 255), "010/0255": big.NewRat(10, 255),
		"1e-3": big.NewRat(1, 1000), "1.50E+1": big.NewRat(15, 1), "007": big.NewRat(7, 1),
	} {
		r, err := check.ParseEps(text)
		require.NoError(t, err, text)
		require.Zero(t, r.Cmp(want), text)
	}
	for _, text := range []string{"", ".5", "5.", "-1", "+1", "1/0", "1/00", "1/2/3", "0x1", "1_0", "1e1000", "e1", "Inf", "1 ", "1\n", "١"} {
		_, err := check.ParseEps(text)
		require.ErrorContains(t, err, "eps", text)
	}
}

// TestLimits: what a line could be long with is refused at its limit.
func TestLimits(t *testing.T) {
	m, err := model.Random(architectures()[0], 1)
	require.NoError(t, err)
	text := string(line(t, claim(m, make([]float32, 4), 0, "linf", "0", check.CROWN)))
	for member, want := range map[string]string{
		`"rows":[[` + strings.Repeat("0,", 1<<20) + `0]],"offsets":[0]`:                                      "rows: [0]: got more than 1048576 elements",
		`"rows":[` + strings.Repeat("[0],", 4096) + `[0]],"offsets":[0]`:                                     "rows: got more than 4096 elements",
		`"rows":[[0]],"offsets":[` + strings.Repeat("0,", 4096) + `0]`:                                       "offsets: got more than 4096 elements",
		`"label":0,"slopes":[` + strings.Repeat(`{"for":"all","relu":1,"alpha":"adaptive"},`, 1<<16) + `{}]`: "slopes: got more than 65536 elements",
		`"label":` + strings.Repeat("[", 1<<20) + strings.Repeat("]", 1<<20):                                 "malformed JSON",
		`"label":1.0`:              "label: got",
		`"label":1e0`:              "label: got",
		`"label":"1"`:              "label: got",
		`"label":4294967296`:       "label: got",
		`"rows":[0],"offsets":[0]`: "rows: [0]: expected a JSON array",
		`"rows":null,"offsets":[]`: "rows: expected a JSON array",
		`"rows":[],"offsets":[]`:   "rows: got none",
	} {
		_, err := check.Parse(sealed(strings.Replace(text, `"label":0`, member, 1)))
		require.ErrorContains(t, err, want)
		require.Less(t, len(err.Error()), 300)
	}
	_, err = check.Parse(make([]byte, check.MaxLine+1))
	require.ErrorContains(t, err, "at most 67108864")
}

// TestCheckRefusesWithoutParse: a certificate made by hand instead of parsed is
// checked just as well.
func TestCheckRefusesWithoutParse(t *testing.T) {
	m, err := model.Random(architectures()[0], 1)
	require.NoError(t, err)
	k := newChecker(t, m)
	x := []float32{0.1, 0.2, 0.3, 0.4}
	for want, edit := range map[string]func(c *check.Certificate){
		"eps":          func(c *check.Certificate) { c.Eps = "x" },
		"level":        func(c *check.Certificate) { c.Level = "" },
		"norm":         func(c *check.Certificate) { c.Norm = "L2" },
		"method":       func(c *check.Certificate) { c.Method = "" },
		"offsets":      func(c *check.Certificate) { c.Rows = [][]float64{{1, 2, 3}} },
		"margin":       func(c *check.Certificate) { c.Margin = -1 },
		"got NaN":      func(c *check.Certificate) { c.Rows, c.Offsets = [][]float64{{1, 2, float64(nan)}}, []float64{1} },
		"2^50":         func(c *check.Certificate) { c.Rows, c.Offsets = [][]float64{{1, 2, 3}}, []float64{-0x1p51} },
		"say nothing":  func(c *check.Certificate) { c.Rows, c.Offsets = [][]float64{{1, 2, 3}, {0, 0, 0}}, []float64{1, 1} },
		"label":        func(c *check.Certificate) { c.Label = -1 },
		"nothing to c": func(c *check.Certificate) { c.Certified = false },
	} {
		c := claim(m, x, 0, "linf", "0", check.CROWN)
		edit(c)
		v := verdict(t, k, c, x, check.Unknown)
		require.False(t, v.Valid, want)
		require.Contains(t, v.Reason, want)
	}
}

// TestCheckStops: a check ends with its context.
func TestCheckStops(t *testing.T) {
	m, set := zooModel(t, "mnist-small-standard", 1)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	v, err := newChecker(t, m).Check(ctx, claim(m, set.X, set.Y[0], "linf", "0.02", check.CROWN), set.X, set.Y[0])
	require.ErrorIs(t, err, context.Canceled)
	require.False(t, v.Valid)
}

// TestOverflow: level executed is refused where float32 may overflow, exact
// arithmetic is not.
func TestOverflow(t *testing.T) {
	m := &model.Model{
		Arch:   model.Architecture{Input: model.Shape{C: 1, H: 1, W: 2}, Layers: []model.Layer{fc(2)}},
		Params: []model.Param{{W: []float32{3e38, 3e38, 0, 0}, B: []float32{1, 0}}},
	}
	x := []float32{0.9, 0.9}
	c := claim(m, x, 0, "linf", "0.1", check.IBP)
	v := verdict(t, newChecker(t, m), c, x, 0)
	require.Contains(t, v.Reason, "overflow")
	c.Level = check.Real
	require.True(t, verdict(t, newChecker(t, m), c, x, 0).Valid)

	// A sum over two layers, whose terms are together just below the largest float32:
	// roundings may bring it above.
	half := make([]float32, 64)
	for i := range half {
		half[i] = float32(math.MaxFloat32 / 128 * (1 - 0x1p-19))
	}
	m = &model.Model{
		Arch: model.Architecture{Input: model.Shape{C: 64, H: 1, W: 1}, Layers: []model.Layer{
			conv(1, 1, 1, 0), from(conv(1, 1, 1, 0), -1), add(0, 1),
		}},
		Params: []model.Param{{W: half, B: []float32{0}}, {W: half, B: []float32{0}}, {}},
	}
	x = slices.Repeat([]float32{1}, 64)
	c = claim(m, x, -1, "linf", "0", check.IBP)
	c.Rows, c.Offsets = [][]float64{{1}}, []float64{0}
	require.Contains(t, verdict(t, newChecker(t, m), c, x, 0).Reason, "overflow")
	x = slices.Repeat([]float32{0.99}, 64)
	c.Input = check.InputHash(x)
	v = verdict(t, newChecker(t, m), c, x, 0)
	require.True(t, v.Valid, v.Reason)
}

// TestTooLarge: bounds beyond 2^200 are refused at level real, too; below, the largest
// coefficients are not.
func TestTooLarge(t *testing.T) {
	m := &model.Model{
		Arch: model.Architecture{Input: model.Shape{C: 1, H: 1, W: 1}, Layers: []model.Layer{fc(1), fc(1)}},
		Params: []model.Param{
			{W: []float32{0x1p100}, B: []float32{0}},
			{W: []float32{0x1p101}, B: []float32{0}},
		},
	}
	x := []float32{1}
	c := claim(m, x, -1, "linf", "0.1", check.CROWN)
	c.Level, c.Rows, c.Offsets = check.Real, [][]float64{{1}}, []float64{0}
	require.Contains(t, verdict(t, newChecker(t, m), c, x, 0).Reason, "a bound is not finite")
	m.Params[1].W[0] = 0x1p27
	c.Level, c.Model, c.Rows, c.Offsets = check.Executed, m.Hash(), [][]float64{{0x1p50}}, []float64{-0x1p50}
	v := verdict(t, newChecker(t, m), c, x, 0)
	require.True(t, v.Valid, v.Reason)
	require.InEpsilon(t, 0.9*0x1p177, v.Margin, 1e-5)
}

// TestLines: lines come as they are; torn and long ones are named, and the next
// one is read.
func TestLines(t *testing.T) {
	long := strings.Repeat("x", check.MaxLine+1)
	l := check.NewLines(io.MultiReader(strings.NewReader("a\n\n"), strings.NewReader(long+"\n"), strings.NewReader(long[:1<<17]+"\nend")))
	next := func(want string, wantErr error) {
		t.Helper()
		line, err := l.Next()
		require.ErrorIs(t, err, wantErr)
		require.Equal(t, want, string(line))
	}
	next("a", nil)
	next("", nil)
	next("", check.ErrLong)
	next(long[:1<<17], nil)
	require.Equal(t, 4, l.Number)
	next("end", check.ErrTorn)
	require.Equal(t, int64(3+check.MaxLine+2+1<<17+1+3), l.Offset)
	next("", io.EOF)
	broken := errors.New("broken")
	_, err := check.NewLines(io.MultiReader(strings.NewReader("x"), failing{broken})).Next()
	require.ErrorIs(t, err, broken)
}

type failing struct{ error }

func (f failing) Read([]byte) (int, error) { return 0, f.error }

// FuzzCertificate: whatever the line, reading and checking it ends, without a
// panic, and what is accepted holds at the centre and is written back the same.
func FuzzCertificate(f *testing.F) {
	r := rand.New(rand.NewPCG(1, 1))
	m, err := model.Random(architectures()[4], 11)
	require.NoError(f, err)
	k := newChecker(f, m)
	x := make([]float32, m.Arch.Input.Size())
	for i := range x {
		x[i] = r.Float32()
	}
	for i, method := range methods {
		c := claim(m, x, i%3, "linf", "0.001", method)
		f.Add(line(f, c))
		if c.Slopes = randomSlopes(m, method, 2, i%3, r); method == check.IBP {
			c.Slopes = nil
		}
		f.Add(line(f, c))
		c.Label, c.Rows, c.Offsets, c.Norm = -1, [][]float64{{1, 0, -1}, {0, 0, 1e15}}, []float64{3, 1}, "l2"
		f.Add(line(f, c))
	}
	centre := make([]*big.Rat, len(x))
	for i := range x {
		centre[i] = rat(float64(x[i]))
	}
	z := exactOutputs(m, centre)
	f.Fuzz(func(t *testing.T, body []byte) {
		for _, b := range [][]byte{body, resealed(body)} {
			c, err := check.Parse(b)
			if err != nil {
				continue
			}
			v := verdict(t, k, c, x, check.Unknown)
			if !v.Valid {
				continue
			}
			back := reread(t, c)
			require.Equal(t, c, back)
			rows, offsets := c.Rows, c.Offsets
			for j := range z {
				if rows = rows[:len(rows):len(rows)]; len(c.Rows) == 0 && j != c.Label {
					row := make([]float64, len(z))
					row[c.Label], row[j] = 1, -1
					rows, offsets = append(rows, row), append(offsets, 0)
				}
			}
			for i := range rows {
				one := &check.Certificate{Rows: rows[i : i+1], Offsets: offsets[i : i+1]}
				require.Positive(t, valueOf(one, z).Sign(), "the claim does not hold at the centre")
			}
		}
	})
}

// resealed gives what a fuzzer made of a line a right seal.
func resealed(line []byte) []byte {
	at := bytes.LastIndex(line, []byte(`,"sum":"`))
	if at < 0 {
		return line
	}
	return sealed(string(line))
}
