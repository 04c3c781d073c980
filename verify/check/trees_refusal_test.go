package check_test

import (
	"bytes"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/epsball/epsball/verify/check"
)

// TestStepsRefused: what docs/certificate.md does not allow is refused, with the reason.
func TestStepsRefused(t *testing.T) {
	var s *planted
	for seed := uint64(1); s == nil; seed++ {
		s = plantedProof(t, architectures()[0], seed, "0.4", 2000)
	}
	row := len(s.steps) - 2
	bounds := 0
	for n, f := range stepsOf(t, s.steps) {
		if f["trees"] != nil && f["slopes"] != nil && n < row {
			bounds = n
		}
	}
	require.Positive(t, bounds)
	tree := func(f fields) map[string]any { return f["trees"].([]any)[0].(map[string]any) }
	nodes := func(f fields) []any { return tree(f)["nodes"].([]any) }
	slopes := func(f fields) map[string]any { return f["slopes"].([]any)[0].([]any)[0].(map[string]any) }
	split := func(f fields, relu, element int) { nodes(f)[0] = []int{relu, element} }
	for _, c := range []struct {
		name, reason string
		step         int
		edit         func(f fields)
	}{
		{"a part is missing", "a part of a split is missing", row, func(f fields) { tree(f)["nodes"] = nodes(f)[:len(nodes(f))-1] }},
		{"no nodes", "a part of a split is missing", row, func(f fields) { tree(f)["nodes"] = []any{} }},
		{"a node too many", "more after the whole tree", row, func(f fields) { tree(f)["nodes"] = append(nodes(f), 0) }},
		{"split of an fc", "expected a relu", row, func(f fields) { split(f, 0, 0) }},
		{"split of no layer", "expected one before", row, func(f fields) { split(f, 1<<30, 0) }},
		{"split of no element", "but layer 1 has 5", row, func(f fields) { split(f, 1, 5) }},
		{"the same split below", "above already", row, func(f fields) { tree(f)["nodes"] = []any{[]int{1, 0}, []int{1, 0}, 0, 0, 0} }},
		{"split of three", "got a split of 3 numbers at layer 1, expected 2", row, func(f fields) { nodes(f)[0] = []int{1, 0, 0} }},
		{"split of five", "more than 4", row, func(f fields) { nodes(f)[0] = []int{1, 0, 0, 0, 0} }},
		{"split of one", "got a split of 1 numbers", row, func(f fields) { nodes(f)[0] = []int{1} }},
		{"a negative leaf", "expected an integer", row, func(f fields) { nodes(f)[len(nodes(f))-1] = -1 }},
		{"no such slopes", "got slopes 9999", row, func(f fields) { nodes(f)[len(nodes(f))-1] = 9999 }},
		{"β too few", "beta: got too few", row, func(f fields) { tree(f)["beta"] = floatText() }},
		{"β too many", "beta: got too many", row, func(f fields) { tree(f)["beta"] = floatText(make([]float32, 999)...) }},
		{"β below 0", "expected at least 0", row, func(f fields) { tree(f)["beta"] = floatText(-1, 0, 0, 0, 0, 0, 0, 0, 0) }},
		{"β NaN", "finite", row, func(f fields) { tree(f)["beta"] = floatText(nan) }},
		{"β infinite", "finite", row, func(f fields) { tree(f)["beta"] = floatText(inf) }},
		{"β in bytes", "f32:", row, func(f fields) { tree(f)["beta"] = "u8:AAAA" }},
		{"β of three bytes", "4 for each", row, func(f fields) { tree(f)["beta"] = "f32:AAAA" }},
		{"β without", "beta: missing", row, func(f fields) { delete(tree(f), "beta") }},
		{"nodes without", "nodes: missing", row, func(f fields) { delete(tree(f), "nodes") }},
		{"no tree", "expected one", row, func(f fields) { f["trees"] = []any{} }},
		{"two trees", "expected one", row, func(f fields) { f["trees"] = []any{tree(f), tree(f)} }},
		{"an element of a row", "without element", row, func(f fields) { tree(f)["element"], tree(f)["end"] = 0, "low" }},
		{"no such row", "row: got 1", row, func(f fields) { f["row"] = 1 }},
		{"a row with bounds", "without a layer", row, func(f fields) { f["low"] = floatText(1) }},
		{"two kinds", "one of end, layer and row", row, func(f fields) { f["end"] = true }},
		{"no kind", "one of end, layer and row", row, func(f fields) { delete(f, "row") }},
		{"an unknown key", "unknown key", row, func(f fields) { f["trust"] = true }},
		{"end: false", "expected true", row + 1, func(f fields) { f["end"] = false }},
		{"end with trees", "with it", row + 1, func(f fields) { f["trees"] = []any{} }},
		{"linear to linear", "expected one that a layer reads", bounds, func(f fields) { f["layer"] = 4 }},
		{"no such layer", "expected one that a layer reads", bounds, func(f fields) { f["layer"] = 99 }},
		{"no such element", "elements: got 99", bounds, func(f fields) {
			f["elements"], f["low"], f["high"], f["trees"] = []int{99}, floatText(-1), floatText(1), []any{}
		}},
		{"elements twice", "to ascend", bounds, func(f fields) {
			f["elements"], f["low"], f["high"], f["trees"] = []int{0, 0}, floatText(-99, -99), floatText(99, 99), []any{}
		}},
		{"no elements", "at least one", bounds, func(f fields) {
			f["elements"], f["low"], f["high"], f["trees"] = []int{}, floatText(), floatText(), []any{}
		}},
		{"ends that cross", "low[0]: got 2 above 1", bounds, func(f fields) {
			f["elements"], f["low"], f["high"], f["trees"] = []int{0}, floatText(2), floatText(1), []any{}
		}},
		{"lows too few", "as many of each", bounds, func(f fields) { f["low"] = floatText(0) }},
		{"not known", "is known", bounds, func(f fields) { f["trees"] = []any{} }},
		{"a tree of another element", "expected one of elements", bounds, func(f fields) { tree(f)["element"] = 99 }},
		{"an end of no name", "expected one of", bounds, func(f fields) { tree(f)["end"] = "top" }},
		{"an element without an end", "expected it with end", bounds, func(f fields) { delete(tree(f), "end") }},
		{"slopes of an fc", "expected a relu or leakyrelu", bounds, func(f fields) { slopes(f)["relu"] = 0 }},
		{"slopes of a later relu", "expected a relu or leakyrelu", bounds, func(f fields) { slopes(f)["relu"] = 3 }},
		{"a window of nothing", "window", bounds, func(f fields) { slopes(f)["window"] = []int{0, 0, 0, 1} }},
		{"a window beyond", "window", bounds, func(f fields) { slopes(f)["window"] = []int{0, 2, 0, 1} }},
		{"a window of three", "expected 4", bounds, func(f fields) { slopes(f)["window"] = []int{0, 1, 0} }},
		{"slopes too many", "characters, expected", bounds, func(f fields) { slopes(f)["alpha"] = "u8:AAAAAAAAAAAA" }},
		{"adaptive slopes of a relu", "alpha: got", bounds, func(f fields) { slopes(f)["alpha"] = "adaptive" }},
		{"slopes above 1", "alpha", bounds, func(f fields) {
			slopes(f)["alpha"] = floatText(2, 2, 2, 2, 2)[:len(floatText(make([]float32, 5)...))]
		}},
		{"slopes and a point", "expected one of alpha and point", bounds, func(f fields) { slopes(f)["point"] = "u8:AAAAAA==" }},
		{"neither", "expected one of alpha and point", bounds, func(f fields) { delete(slopes(f), "alpha") }},
		{"a point of fewer inputs", "characters, expected", bounds, func(f fields) { pointOf(slopes(f), "u8:AAAA", 2) }},
		{"a point beyond the inputs", "within 2 rows", bounds, func(f fields) { pointOf(slopes(f), "u8:AAAAAA==", 3) }},
		{"a point above 1", "in [0, 1]", bounds, func(f fields) { pointOf(slopes(f), floatText(2, 0, 0, 0), 2) }},
		{"a relu twice", "layer 1 twice", bounds, func(f fields) {
			f["slopes"].([]any)[0] = []any{slopes(f), slopes(f)}
		}},
	} {
		steps := stepsOf(t, s.steps)
		c.edit(steps[c.step])
		v := follow(t, s.k, s.claim, s.x, check.Unknown, of(t, s.claim, steps)...)
		require.False(t, v.Valid, c.name)
		require.Contains(t, v.Reason, c.reason, c.name)
		require.True(t, strings.HasPrefix(v.Reason, "step "), v.Reason)
	}
	lines := of(t, s.claim, stepsOf(t, s.steps))
	n := len(lines)
	refused := func(reason string, lines ...[]byte) {
		t.Helper()
		v := follow(t, s.k, s.claim, s.x, check.Unknown, lines...)
		require.False(t, v.Valid)
		require.Contains(t, v.Reason, reason)
	}
	refused("step 1: missing")
	refused("missing", lines[:n-1]...)
	refused("row 0 of the specification is not proved", append(of(t, s.claim, stepsOf(t, lines[:row])), stepLine(t, s.claim.Sum, row+1, fields{"end": true}))...)
	refused("after the end", append(lines[:n:n], stepLine(t, s.claim.Sum, n+1, fields{"end": true}))...)
	refused("step: got 1, expected 2", lines[0], lines[0])
	refused("step: got 2, expected 1", lines[1:]...)
	refused("of: got", of(t, s.falsely, stepsOf(t, s.steps))...)
	refused("the line is not what was written", append([][]byte{bytes.Replace(lines[0], []byte(`"step":1`), []byte(`"step":2`), 1)}, lines[1:]...)...)
	_, err := s.k.Begin(s.claim, s.x[1:], check.Unknown)
	require.ErrorContains(t, err, "input")
	v, err := s.k.Check(t.Context(), s.claim, s.x, check.Unknown)
	require.NoError(t, err)
	require.Contains(t, v.Reason, "on the lines after")
	_, err = s.k.Begin(claim(s.m, s.x, 0, "linf", "0.1", check.CROWN), s.x, check.Unknown)
	require.ErrorContains(t, err, "has no steps")
}

// pointOf puts a point in the place of slopes: of so many rows of two inputs.
func pointOf(w map[string]any, point string, rows int) {
	delete(w, "alpha")
	w["point"], w["window"] = point, []int{0, rows, 0, 2}
}

// TestTreeClaims: a certificate of branch and bound is of version 2, and has neither slopes
// nor a margin.
func TestTreeClaims(t *testing.T) {
	s := &planted{}
	for seed := uint64(1); s == nil || s.m == nil; seed++ {
		s = plantedProof(t, architectures()[0], seed, "0.4", 2000)
	}
	text := string(line(t, s.claim))
	require.Contains(t, text, `"version":2`)
	for _, c := range []struct{ old, new, reason string }{
		{`"version":2`, `"version":1`, "got bab in version 1"},
		{`"version":2`, `"version":4`, "expected 1, 2 or 3"},
		{`"version":2`, `"version":3`, "property: missing"},
		{`"method":"bab"`, `"method":"crown"`, "got crown in version 2"},
		{`"certified":true`, `"certified":true,"margin":1`, "margin: got one"},
		{`"certified":true`, `"certified":true,"slopes":[]`, "slopes: got some"},
	} {
		_, err := check.Parse(sealed(strings.Replace(text, c.old, c.new, 1)))
		require.ErrorContains(t, err, c.reason)
	}
	_, err := check.ParseStep([]byte(text))
	require.Error(t, err)
	_, err = check.Parse(s.steps[0])
	require.Error(t, err)
	for _, l := range s.steps {
		require.True(t, check.IsStep(l))
	}
	require.False(t, check.IsStep([]byte(text)))
}
