package vnnlib

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/epsball/epsball/internal/onnx"
)

// random writes formulas over 2 inputs and 3 outputs.
type random struct{ *rand.Rand }

func (r random) number() string {
	n := fmt.Sprint(float64(r.IntN(9)-4) / 2)
	switch r.IntN(8) {
	case 0:
		return "(- " + n + ")"
	case 1:
		return "(/ " + n + " 3)"
	case 2:
		return "(+ 0.5 (* 2 " + n + "))"
	case 3:
		return n + "e0"
	}
	return n
}

func (r random) sum(names []string, terms int) string {
	s := ""
	for range terms {
		v := names[r.IntN(len(names))]
		switch r.IntN(5) {
		case 0:
			v = "(* " + r.number() + " " + v + ")"
		case 1:
			v = "(* " + v + " 2 (- 1))"
		case 2:
			v = "(- " + v + " " + r.number() + ")"
		case 3:
			v = "(/ (- " + v + ") 4)"
		}
		s += " " + v
	}
	if terms == 1 {
		return s[1:]
	}
	return "(" + []string{"+", "-"}[r.IntN(2)] + s + ")"
}

func (r random) formula(depth int) string {
	if depth == 0 || r.IntN(4) == 0 {
		op := []string{"<=", ">=", "<", ">", "==", "!=", "="}[r.IntN(7)]
		names := []string{"Y_0", "Y_1", "Y_2"}
		terms := 1 + r.IntN(3)
		if r.IntN(2) == 0 {
			names, terms = []string{[]string{"X_0", "X_1"}[r.IntN(2)]}, 1+r.IntN(2)
		}
		left, right := r.sum(names, terms), r.number()
		if r.IntN(3) == 0 {
			right = r.sum(names, 1)
		}
		if r.IntN(2) == 0 {
			left, right = right, left
		}
		return fmt.Sprintf("(%s %s %s)", op, left, right)
	}
	s := "(" + []string{"and", "or"}[r.IntN(2)]
	for range 1 + r.IntN(3) {
		s += " " + r.formula(depth-1)
	}
	return s + ")"
}

// TestRandomNests: the normal form means what the text does, and what is written of it in
// either version too.
func TestRandomNests(t *testing.T) {
	r := random{rand.New(rand.NewPCG(1, 2))}
	in, several, empty := 0, 0, 0
	for range 300 {
		text := "(declare-const X_0 Real) (declare-const X_1 Real)\n"
		for i := range 3 {
			text += fmt.Sprintf("(declare-const Y_%d Real)\n", i)
		}
		bounds := "(>= X_0 -1.5) (<= 1 X_1) (< X_1 2) (<= (* 2 X_0) 4)"
		if r.IntN(2) == 0 { // in each disjunct instead
			text += fmt.Sprintf("(assert (or (and %s %s) (and %s %s)))\n", bounds, r.formula(1), bounds, r.formula(2))
		} else {
			text += "(assert (and " + bounds + "))\n"
		}
		for range r.IntN(3) {
			text += "(assert " + r.formula(3) + ") ; (a comment\n"
		}
		q, err := Read(strings.NewReader(text), "random")
		require.NoError(t, err, text)
		want := newNaive(t, text)
		q2 := *q
		q2.Version, q2.Network = Version{2, 0}, "f"
		requireRoundTrip(t, q)
		requireRoundTrip(t, &q2)
		for range 30 {
			x, y := r.grid(2), r.grid(3)
			have, err := q.Holds(x, y)
			require.NoError(t, err)
			require.Equal(t, want.holds(named(q, x, y)), have, "%s%v %v", text, x, y)
			if have {
				in++
			}
		}
		if len(q.Cases) > 1 {
			several++
		}
		if len(q.Cases) == 0 {
			empty++
		}
	}
	require.Greater(t, in, 300, "points that satisfy")
	require.Greater(t, several, 50, "queries of several boxes")
	require.Greater(t, empty, 5, "queries of none")
}

// grid returns numbers that comparisons are often equal at.
func (r random) grid(n int) []float64 {
	v := make([]float64, n)
	for i := range v {
		v[i] = float64(r.IntN(17)-8) / 4
	}
	return v
}

// folder holds benchmarks of VNN-COMP, which are not part of this repository.
const folder = "../../../shared/data/vnncomp"

func benchmarks(t *testing.T) []string {
	files, err := filepath.Glob(filepath.Join(folder, "*", "vnnlib", "*"))
	require.NoError(t, err)
	if len(files) == 0 {
		t.Skip("no properties in ../shared/data/vnncomp")
	}
	return files
}

// TestBenchmarks: every file of VNN-COMP at hand is read; for some, random points in the
// box, at its corners and just outside satisfy what the text says.
func TestBenchmarks(t *testing.T) {
	files := benchmarks(t)
	r := random{rand.New(rand.NewPCG(3, 4))}
	for i, path := range files {
		sampled := i%31 == 0
		if !sampled && testing.Short() {
			continue
		}
		q, err := Load(path)
		require.NoError(t, err)
		require.Len(t, q.Cases, 1, path)
		require.Equal(t, Version{1, 0}, q.Version)
		if !sampled {
			continue
		}
		f, err := os.Open(path)
		require.NoError(t, err)
		text, err := unpack(f)
		require.NoError(t, err)
		require.NoError(t, f.Close())
		want, seen := newNaive(t, text), map[bool]int{}
		for k := range 9 {
			x, y := make([]float64, q.Input.Size()), r.grid(q.Output.Size())
			for i, iv := range q.Cases[0].Box {
				lo, hi, ok := iv.Inward()
				if !ok { // a number that is no float32
					lo, hi = iv.Outward()
				}
				x[i] = float64([]float32{lo, hi, lo + (hi-lo)*r.Float32()}[r.IntN(3)])
			}
			if k%3 == 2 {
				x[r.IntN(len(x))] += 10
			}
			if q.Output.Size() == 1 { // a range of large numbers
				y[0] *= 100
			}
			have, err := q.Holds(x, y)
			require.NoError(t, err)
			require.Equal(t, want.holds(named(q, x, y)), have, path)
			seen[have]++
		}
		t.Logf("%s: %v, %s", filepath.Base(path), seen, q.Logic())
		requireRoundTrip(t, q)
	}
}

// TestSizes: properties have the inputs and outputs of the networks they are for.
func TestSizes(t *testing.T) {
	benchmarks(t)
	lists, err := filepath.Glob(filepath.Join(folder, "*", "instances.csv"))
	require.NoError(t, err)
	for _, list := range lists {
		b, err := os.ReadFile(list)
		require.NoError(t, err)
		sizes := map[string][2]int{}
		for _, line := range strings.Split(strings.TrimSpace(string(b)), "\n") {
			fields := strings.Split(line, ",")
			dir := filepath.Dir(list)
			network, property := filepath.Join(dir, fields[0]+".gz"), filepath.Join(dir, fields[1]+".gz")
			if _, ok := sizes[network]; ok {
				continue // one property for each network: reading them takes a while
			}
			m, err := onnx.Load(network)
			require.NoError(t, err)
			sizes[network] = [2]int{m.Arch.Input.Size(), m.Arch.Classes()}
			q, err := Load(property)
			require.NoError(t, err)
			require.Equal(t, sizes[network], [2]int{q.Input.Size(), q.Output.Size()}, property)
		}
	}
}

// TestReferenceParser: what the standard's own parser makes of files of VNN-LIB 2
// (testdata/golden/make_vnnlib.py) holds at the same points.
func TestReferenceParser(t *testing.T) {
	b, err := os.ReadFile("../../testdata/golden/vnnlib.json")
	require.NoError(t, err)
	var files map[string][]struct {
		X, Y  []float64
		Holds bool
	}
	require.NoError(t, json.Unmarshal(b, &files))
	require.Len(t, files, 6)
	for name, points := range files {
		q, err := Load(filepath.Join("testdata", name))
		require.NoError(t, err)
		for _, p := range points {
			have, err := q.Holds(p.X, p.Y)
			require.NoError(t, err)
			require.Equal(t, p.Holds, have, "%s: %v %v", name, p.X, p.Y)
		}
	}
}
