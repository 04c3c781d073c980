package vnnlib

import (
	"errors"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// ball is the query of an image's box and label, as a program makes it.
func ball(version Version) *Query {
	q := &Query{
		Version: version, Network: "net",
		Input: Tensor{"X", "float32", []int{1, 2}}, Output: Tensor{"Y", "float32", []int{3}},
		Cases: []Case{{Box: make([]Interval, 2)}},
	}
	for i, c := range []float32{0.1, 0.75} {
		lo := new(big.Rat).SetFloat64(float64(c))
		q.Cases[0].Box[i] = Interval{Lo: lo, Hi: new(big.Rat).Add(lo, big.NewRat(1, 8))}
	}
	for j := range 2 { // of the label 2
		q.Cases[0].Disjuncts = append(q.Cases[0].Disjuncts, Conjunction{{
			Terms: []Term{{j, big.NewRat(-1, 1)}, {2, big.NewRat(1, 1)}}, Bound: new(big.Rat),
		}})
	}
	return q
}

func TestWrite(t *testing.T) {
	var b strings.Builder
	require.NoError(t, Write(&b, ball(Version{2, 0})))
	require.Equal(t, `(vnnlib-version <2.0>)

(declare-network net
	(declare-input X float32 [1,2])
	(declare-output Y float32 [3])
)

(assert (>= X[0,0] 0.100000001490116119384765625))
(assert (<= X[0,0] 0.225000001490116119384765625))
(assert (>= X[0,1] 0.75))
(assert (<= X[0,1] 0.875))

(assert (or
	(and (<= Y[2] Y[0]))
	(and (<= Y[2] Y[1]))
))
`, b.String())
	b.Reset()
	require.NoError(t, Write(&b, ball(Version{1, 0})))
	require.True(t, strings.HasPrefix(b.String(), "(declare-const X_0 Real)\n(declare-const X_1 Real)\n\n(declare-const Y_0 Real)\n"), b.String())
	require.Contains(t, b.String(), "\t(and (<= Y_2 Y_1))\n))\n")
	requireRoundTrip(t, ball(Version{2, 0}))
}

func TestValidate(t *testing.T) {
	for want, spoil := range map[string]func(q *Query){
		"version: got 2.7":                           func(q *Query) { q.Version.Minor = 7 },
		"got names or types":                         func(q *Query) { q.Network = "a(declare-input X float32 [1,2])(declare-output Y float32 [3]));" },
		`got the name "X" again`:                     func(q *Query) { q.Output.Name = "X" },
		`expected a name of the network`:             func(q *Query) { q.Network = "" },
		`the type "int8"`:                            func(q *Query) { q.Input.Type = "int8" },
		"expected a dimension":                       func(q *Query) { q.Input.Shape = []int{-1, -2} },
		"cases[0].box: got 2 intervals, expected 3":  func(q *Query) { q.Input.Shape = []int{3} },
		"cases[0].box[1]: got an empty interval":     func(q *Query) { q.Cases[0].Box[1].Hi = new(big.Rat) },
		"or one without an end":                      func(q *Query) { q.Cases[0].Box[0].Lo = nil },
		"cases[0].disjuncts: got none":               func(q *Query) { q.Cases[0].Disjuncts = nil },
		"cases[1].box: got a box of an earlier case": func(q *Query) { q.Cases = append(q.Cases, q.Cases[0]) },
		"cases[0].disjuncts[1][0]: got a term of output 2, expected ascending outputs below 3": func(q *Query) {
			q.Cases[0].Disjuncts[1][0].Terms[0].Output = 2
		},
		"disjuncts[0][0]: got no terms or no bound": func(q *Query) { q.Cases[0].Disjuncts[0][0].Bound = nil },
	} {
		q := ball(Version{2, 0})
		spoil(q)
		require.ErrorContains(t, Write(new(strings.Builder), q), want)
	}
	q := ball(Version{1, 0})
	q.Input.Shape = []int{0}
	require.ErrorContains(t, q.Validate(), "got 0 inputs and 3 outputs")
}

type full struct{}

func (full) Write([]byte) (int, error) { return 0, errors.New("the disk is full") }

func TestWriteFails(t *testing.T) {
	require.ErrorContains(t, Write(full{}, ball(Version{2, 0})), "vnnlib: the disk is full")
}

// FuzzRead: no file makes the reader panic, errors name the file on one line, and what is
// read is valid, stays what it is when written in either version, and means in Holds what
// the text says.
func FuzzRead(f *testing.F) {
	files, err := filepath.Glob("testdata/*.vnnlib")
	require.NoError(f, err)
	for _, path := range files {
		b, err := os.ReadFile(path)
		require.NoError(f, err)
		f.Add(string(b))
	}
	for _, s := range []string{
		boxed + "(assert (or (and (= X_0 (/ 1 3)) (< Y_0 (- 1))) (!= (* 2 Y_1) (+ Y_0 1e2 (- Y_1 -1)))))",
		boxed + "(assert (> Y_0 Y_0))", small, small2, "(vnnlib-version <1.0>)" + boxed,
		"(vnnlib-version <2.0>)(declare-network f (declare-input X Real []) (declare-output Y Real []))(assert (== X 1.0))(assert (> Y X))",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if len(text) > 1<<14 {
			return
		}
		q, err := Read(strings.NewReader(text), "fuzz")
		if err != nil {
			var e *Error
			require.ErrorAs(t, err, &e)
			require.True(t, strings.HasPrefix(err.Error(), "vnnlib: fuzz:"), err.Error())
			require.NotContains(t, err.Error(), "\n")
			return
		}
		size := q.Input.Size() + q.Output.Size()
		for _, c := range q.Cases {
			size += len(c.Box) + len(c.Disjuncts)
		}
		if size > 1000 {
			return // slow, not different
		}
		require.NoError(t, q.Validate())
		requireRoundTrip(t, q)
		other := *q
		if other.Version.Major == 1 {
			other.Version, other.Network = Version{2, 0}, "f"
		} else {
			other.Version = Version{1, 0}
		}
		var b strings.Builder
		require.NoError(t, Write(&b, &other))
		if _, err := Read(strings.NewReader(b.String()), "other"); err != nil {
			t.Fatal(err)
		}
	})
}
