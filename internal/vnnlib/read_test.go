package vnnlib

import (
	"bytes"
	"compress/gzip"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func load(t *testing.T, name string) *Query {
	q, err := Load(filepath.Join("testdata", name+".vnnlib"))
	require.NoError(t, err)
	return q
}

// TestFiles: what the files of testdata say, in full.
func TestFiles(t *testing.T) {
	for name, want := range map[string]string{
		"simple": `2.0 myNetwork {X real [1 2]} {Y real [1 2]}
  box 0 0 1 false false
  box 1 1/2 1/2 false false
  or
    and 1*1 ≤ 1/2 false
`,
		"acc": `2.0 acc {X real [3]} {Y real []}
  box 0 0 50 false false
  box 1 -50 50 false false
  box 2 0 150 false false
  or
    and 1*0 ≤ -3 false
  or
    and -1*0 ≤ 0 false
`,
		"mnist": `2.0 mnist {X float32 [2 2]} {Y float32 [3]}
  box 0 0 1 false false
  box 1 0 1 false false
  box 2 0 1 false false
  box 3 0 1 false false
  or
    and 1*0 -1*2 ≤ 0 false
    and 1*1 -1*2 ≤ 0 false
`,
		"linearise": `2.1 test {X float64 [3]} {Y float64 [2]}
  box 0 0 2 false false
  box 1 -1/2 5/2 false false
  box 2 -1 1 false false
  or
    and -1*0 -1*1 ≤ -5 false
    and 1*0 2*1 ≤ -4 true
  or
    and -1*0 -1*1 ≤ -5 false
    and -1*0 -2*1 ≤ 4 true
`,
		"disjuncts": `1.0  {X real [2]} {Y real [2]}
  box 0 0 1 false false
  box 1 -1/4 1/4 false false
  or
    and -1*0 ≤ -10 true
  or
    and -1*1 ≤ -3 false
    and 1*1 ≤ 4 false
  box 0 2 3 false false
  box 1 -1/4 1/4 false false
  or
    and 1*0 -1*1 ≤ 0 false
  box 0 7 7 false false
  box 1 -1/4 0 false false
  or
    and 3*0 ≤ 1 false
`,
	} {
		q := load(t, name)
		require.Equal(t, want, dump(q), name)
		requireRoundTrip(t, q)
	}
	q := load(t, "nest")
	require.Len(t, q.Cases, 2)
	require.Len(t, q.Cases[0].Disjuncts, 6, "of eight, two of which repeat")
	require.True(t, q.Cases[1].Box[2].LoOpen)
	requireRoundTrip(t, q)
}

func TestLogic(t *testing.T) {
	for name, want := range map[string]string{
		"acc": "BND-REAL", "mnist": "OUTC-FLOAT32", "linearise": "LIN-FLOAT64", "disjuncts": "LIN-REAL",
	} {
		require.Equal(t, "NH-SNET-SIO-SNC-"+want, load(t, name).Logic())
	}
	require.Equal(t, []string{"BND", "OUTC"}, Supported().Arithmetic)
}

// small is VNN-LIB 1 up to what a test adds, small2 VNN-LIB 2.
const (
	small  = "(declare-const X_0 Real)(declare-const Y_0 Real)(declare-const Y_1 Real)\n"
	boxed  = small + "(assert (and (>= X_0 0) (<= X_0 1)))\n"
	small2 = "(vnnlib-version <2.0>)(declare-network f (declare-input X float32 [1,2]) (declare-output Y float32 [2]))\n"
)

// TestMeaning: small formulas whose normal form is easily got wrong.
func TestMeaning(t *testing.T) {
	for formula, want := range map[string]string{
		"(<= Y_0 Y_0)":                     "or\n",
		"(< Y_0 Y_0)":                      "",
		"(or (<= Y_0 1) (<= Y_1 Y_1))":     "or\n",
		"(and (<= Y_0 1) (> Y_1 Y_1))":     "",
		"(or (<= Y_0 1) (<= X_0 -1))":      "or\n    and 1*0 ≤ 1 false\n",
		"(and (<= Y_0 1) (<= Y_0 1))":      "or\n    and 1*0 ≤ 1 false\n",
		"(or (<= Y_0 1) (>= 1.0 Y_0))":     "or\n    and 1*0 ≤ 1 false\n",
		"(<= (* 2 (- Y_0 3) 0.5) (/ 1 4))": "or\n    and 1*0 ≤ 13/4 false\n",
		"(<= Y_0 1e-3)":                    "or\n    and 1*0 ≤ 1/1000 false\n",
		"(<= Y_0 (- 1.5E+2))":              "or\n    and 1*0 ≤ -150 false\n",
		"(<= Y_0 +.5)":                     "or\n    and 1*0 ≤ 1/2 false\n",
		"(<= Y_0 0.1)":                     "or\n    and 1*0 ≤ 1/10 false\n",
		"(< X_0 0)":                        "",
		"(!= X_0 X_0)":                     "",
	} {
		q, err := parse(boxed+"(assert "+formula+")", "t")
		require.NoError(t, err, formula)
		have := dump(q)
		_, have, _ = strings.Cut(have, "\n")
		have = strings.TrimPrefix(have, "  box 0 0 1 false false\n  ")
		require.Equal(t, want, have, formula)
		requireRoundTrip(t, q)
	}
	q, err := parse(boxed+"(assert (!= X_0 0.5))", "t")
	require.NoError(t, err)
	require.Len(t, q.Cases, 2)
	require.True(t, q.Cases[0].Box[0].HiOpen && q.Cases[1].Box[0].LoOpen)
	requireRoundTrip(t, q)
}

// TestErrors: each says where, and what was expected.
func TestErrors(t *testing.T) {
	deep := strings.Repeat("(and ", 250)
	for text, want := range map[string]string{
		"":                          "1:1: got an empty file",
		"; nothing\n":               "2:1: got an empty file",
		"x":                         `1:1: got "x", expected a declaration`,
		"(":                         "1:2: got the end of the file, expected a declaration",
		"(declare-const X_0 Real":   "1:24: got the end of the file, expected the ) of \"declare-const\" in line 1",
		"(declare-const X_0 Int)":   `1:20: got the type "Int", expected Real`,
		"(declare-const Z_0 Real)":  `1:16: got the name "Z_0", expected a variable X_i or Y_i`,
		"(declare-const X_01 Real)": `1:16: got the name "X_01"`,
		"(declare-const X_-1 Real)": `1:16: got the name "X_-1"`,
		"(declare-const X_99999999999999999999 Real)":                      `1:16: got the name`,
		"(declare-const X_600000 Real)":                                    "1:16: got the variable X_600000, expected at most 524288 inputs",
		"(declare-const X_0 Real)(declare-const X_0 Real)":                 "1:40: got a second X_0",
		"(declare-fun X_0 () Real)":                                        `1:2: "declare-fun" is not supported, expected declare-const or assert`,
		"(declare-const X_1 Real)(declare-const Y_0 Real)":                 "1:49: got no X_0, expected all up to X_1 to be declared",
		"(declare-const X_0 Real)":                                         "1:25: got no Y_0, expected it to be declared",
		"(declare-network f)":                                              "expected (vnnlib-version <2.0>) before it",
		small:                                                              "2:1: got no lower bound of X_0",
		small + "(assert (<= X_0 1))":                                      "2:20: got no lower bound of X_0",
		small + "(assert (>= X_0 1))":                                      "2:20: got no upper bound of X_0",
		small + "(assert (or (>= X_0 1) (<= Y_0 0)))(assert (<= X_0 2))":   "got no lower bound of X_0, expected one in every disjunct",
		boxed + "(assert (<= X_1 1))":                                      "3:13: got X_1, expected (declare-const X_1 Real) before it",
		boxed + "(assert (<= X_0 Y_0))":                                    "3:10: a constraint on inputs and outputs at once (X_0 and Y_0) is not supported (theory MNC)",
		boxed + "(assert (<= (* Y_0 Y_1) 1))":                              "3:14: a product of variables is not supported (theory POLY)",
		boxed + "(assert (<= (/ 1 Y_1) 1))":                                "3:14: got a division by a variable",
		boxed + "(assert (<= (/ Y_1 0) 1))":                                "3:14: got a division by 0",
		boxed + "(assert (<= (/ Y_1) 1))":                                  "expected an operand",
		boxed + "(assert (<= (+) 1))":                                      "expected an operand",
		boxed + "(assert (<= 0 1))":                                        "3:10: got a comparison of two numbers, expected a variable in it",
		boxed + "(assert (<= Y_0 1 2))":                                    `3:19: got "2", expected the ) of "<=" in line 3`,
		boxed + "(assert (<= Y_0))":                                        `3:16: got ")", expected a number, a variable or (`,
		boxed + "(assert ((<= Y_0 1)))":                                    `3:10: got "(", expected a formula`,
		boxed + "(assert (<= Y_0 1)":                                       `3:19: got the end of the file, expected the ) of "assert"`,
		boxed + "(assert (<= Y_0 1)))":                                     `3:20: got ")", expected (declare-const …) or (assert …)`,
		boxed + "(assert (not (<= Y_0 1)))":                                "3:10: not is not supported",
		boxed + "(assert (maybe Y_0 1))":                                   `3:10: got "maybe", expected and, or`,
		boxed + "(assert (or))":                                            "3:12: got the ) of or, expected a formula",
		boxed + "(assert true)":                                            `3:9: got "true", expected a formula`,
		boxed + "(assert (<= Y_0 #x3f))":                                   `3:17: got the hexadecimal or binary number "#x3f"`,
		boxed + "(assert (<= Y_0 0x1p-2))":                                 "hexadecimal",
		boxed + "(assert (<= Y_0 #b01))":                                   "hexadecimal or binary",
		boxed + "(assert (<= Y_0 nan))":                                    `3:17: got the name "nan"`,
		boxed + "(assert (<= Y_0 1e999))":                                  "3:17: got \"1e999\", expected a number whose exponent is within ±400",
		boxed + "(assert (<= Y_0 1e))":                                     "expected a number whose exponent is an integer",
		boxed + "(assert (<= Y_0 1.2.3))":                                  "expected a number such as",
		boxed + "(assert (<= Y_0 1_000))":                                  "expected a number such as",
		boxed + "(assert (<= Y_0 --1))":                                    "expected a number such as",
		boxed + "(assert (<= Y_0 .))":                                      "expected a number such as",
		boxed + "(assert (<= Y_0 " + strings.Repeat("1", 6000) + "))":      "3:17: got a number of 6000 characters",
		boxed + "(assert (<= Y_0 (*" + strings.Repeat(" 1e400", 4) + ")))": "more than 4096 bits",
		boxed + "(assert (<= Y_0 (+ (/ 1 7e400) (/ 1 11e400) (/ 1 " + strings.Repeat("13", 600) + "))))": "more than 4096 bits",
		boxed + "(assert " + deep:                                         "3:1009: got a nest of more than 200 parentheses",
		boxed + "(assert (<= Y_0 " + strings.Repeat("(- ", 250):           "got a nest of more than 200 parentheses",
		boxed + "(assert \"x":                                             "3:9: got a string without an end",
		boxed + "(assert (and" + strings.Repeat(" (!= Y_0 1)", 18) + "))": "3:10: got a formula of more than 131072 disjuncts",
		boxed + strings.Repeat("(assert (!= Y_0 1))", 18):                 "got a formula of more than 131072 disjuncts",

		"(vnnlib-version <3.0>)":                  `1:17: got the version "<3.0>", expected <1.0>, <2.0> or <2.1>`,
		"(vnnlib-version 2.0)":                    `1:17: got the version "2.0"`,
		"(vnnlib-version <2.0>)":                  "1:23: got the end of the file, expected a declaration",
		"(vnnlib-version <2.0>)(assert (<= X 1))": `1:24: got "assert", expected declare-network`,
		"(vnnlib-version <2.0>)(declare-network f (declare-output Y real [1]))":                                  "expected declare-input before it",
		"(vnnlib-version <2.0>)(declare-network f (declare-input X real [1]))":                                   "expected declare-input and declare-output",
		"(vnnlib-version <2.0>)(declare-network f-copy)":                                                         `1:40: got the name "f-copy"`,
		"(vnnlib-version <2.0>)(declare-network f (declare-input f real [1]))":                                   `got the name "f" again`,
		"(vnnlib-version <2.0>)(declare-network f (declare-input X real [1]) (declare-input Z real [1]))":        "1:70: a second input is not supported (theory MIO)",
		"(vnnlib-version <2.0>)(declare-network f (declare-input X real [1]) (declare-hidden H real [1] \"h\"))": "declare-hidden is not supported (theory H)",
		"(vnnlib-version <2.0>)(declare-network f (equal-to g)":                                                  "equal-to is not supported (theory MENET)",
		"(vnnlib-version <2.0>)(declare-network f (isomorphic-to g)":                                             "isomorphic-to is not supported (theory MINET)",
		"(vnnlib-version <2.0>)(declare-network f (declare-input X int32 [1])":                                   `the type "int32", which is none of real, float16, bfloat16, float32, float64, is not supported (theory INT32)`,
		"(vnnlib-version <2.0>)(declare-network f (declare-input X real [1])(declare-output Y float32 [1])":      "got the type float32 beside real",
		"(vnnlib-version <2.1>)(declare-network f (declare-input X real [1] initialized)":                        `1:68: "initialized" is not supported`,
		"(vnnlib-version <2.0>)(declare-network f (declare-input X real [0])":                                    `got "0", expected a dimension from 1 to 524288`,
		"(vnnlib-version <2.0>)(declare-network f (declare-input X real [524288,524288])":                        "more than 524288 elements",
		"(vnnlib-version <2.0>)(declare-network f (declare-input X real [1 2])":                                  `got "2", expected ] or ,`,
		small2 + "(declare-network g (declare-input A real [1])(declare-output B real [1]))":                     "2:2: a second network is not supported (theory MNET)",
		small2 + "(assert (<= Z 1.0))":                                                                           `2:13: got "Z", expected a number, X or Y`,
		small2 + "(assert (<= X 1.0))":                                                                           "2:13: got 0 indices of X, expected 2",
		small2 + "(assert (<= X[0,2] 1.0))":                                                                      "2:13: got the index 2 of X, expected at most 1",
		small2 + "(assert (<= X[0,-1] 1.0))":                                                                     `2:17: got "-1", expected an index from 0`,
		small2 + "(assert (<= (+ X[0,0] X[0,1]) 1.0))":                                                           "2:10: a constraint on several inputs (X[0,0] and X[0,1]) is not supported (theory LIN)",
		small2 + "(assert (and (<= X[0,0] 1.0) (>= X[0,0] 0.0)))":                                                "got no lower bound of X[0,1]",
	} {
		q, err := Read(strings.NewReader(text), "p.vnnlib")
		require.Nil(t, q)
		var e *Error
		require.ErrorAs(t, err, &e)
		require.Contains(t, err.Error(), want)
		require.True(t, strings.HasPrefix(err.Error(), "vnnlib: p.vnnlib:"), err.Error())
		require.NotContains(t, err.Error(), "\n")
		require.Equal(t, strings.Contains(want, "(theory "), e.Theory != "", err)
	}
}

// TestArithmeticIsLimited: a file that would take minutes is refused before.
func TestArithmeticIsLimited(t *testing.T) {
	p := &parser{lexer: lexer{file: "t", text: boxed + "(assert (<= Y_0 1e400))", line: 1}, total: always(), cost: maxCost - 100}
	require.ErrorContains(t, p.try(p.query), "t:3:17: got too much arithmetic on long numbers")
}

func packed(t *testing.T, text string) []byte {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	_, err := z.Write([]byte(text))
	require.NoError(t, err)
	require.NoError(t, z.Close())
	return b.Bytes()
}

func TestPacked(t *testing.T) {
	want, err := parse(boxed, "t")
	require.NoError(t, err)
	whole := packed(t, boxed)
	have, err := Read(bytes.NewReader(whole), "p.gz")
	require.NoError(t, err)
	require.Equal(t, dump(want), dump(have))
	for cut, msg := range map[int]string{5: "gzip header", len(whole) / 2: "and then an error", len(whole) - 3: "complete compressed file"} {
		_, err := Read(bytes.NewReader(whole[:cut]), "p.gz")
		require.ErrorContains(t, err, "vnnlib: p.gz: got ")
		require.ErrorContains(t, err, msg)
	}
	_, err = Read(bytes.NewReader(packed(t, strings.Repeat(" ", maxSize+1))), "p.gz")
	require.ErrorContains(t, err, "p.gz: got more than 67108864 bytes")
}

func TestLoadErrors(t *testing.T) {
	_, err := Load(filepath.Join(t.TempDir(), "none.vnnlib"))
	require.ErrorIs(t, err, fs.ErrNotExist)
	require.ErrorContains(t, err, "vnnlib: open ")
	dir := t.TempDir()
	_, err = Load(dir)
	require.ErrorContains(t, err, dir)
	path := filepath.Join(dir, "p.vnnlib")
	require.NoError(t, os.WriteFile(path, []byte("(x)"), 0o666))
	_, err = Load(path)
	var e *Error
	require.True(t, errors.As(err, &e) && e.File == path && e.Line == 1 && e.Col == 2)
}

func TestHoldsErrors(t *testing.T) {
	q := load(t, "acc")
	for _, c := range []struct {
		x, y []float64
		want string
	}{
		{[]float64{1, 2}, []float64{1}, "X: got 2 elements, expected 3"},
		{[]float64{1, 2, 3}, nil, "Y: got 0 elements, expected 1"},
		{[]float64{1, 2, 3}, []float64{zero / zero}, "element 0 of Y: got NaN"},
		{[]float64{1, 1 / zero, 3}, []float64{1}, "element 1 of X: got +Inf"},
	} {
		_, err := q.Holds(c.x, c.y)
		require.ErrorContains(t, err, c.want)
	}
}

var zero float64
