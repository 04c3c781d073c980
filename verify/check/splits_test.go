package check_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/epsball/epsball/model"
	"github.com/epsball/epsball/verify/check"
)

// TestSplitsRefused: splits of sigmoids and maxpools that docs/certificate.md does not allow.
func TestSplitsRefused(t *testing.T) {
	m, err := model.Random(&model.Architecture{Input: model.Shape{C: 1, H: 1, W: 4}, Layers: []model.Layer{fc(4), sigmoid, fc(2)}}, 1)
	require.NoError(t, err)
	m2, err := model.Random(&model.Architecture{Input: model.Shape{C: 1, H: 2, W: 3}, Layers: []model.Layer{conv(1, 1, 1, 0), maxPool(2, 1, 0), fc(2)}}, 1)
	require.NoError(t, err)
	for _, c := range []struct {
		m      *model.Model
		reason string
		nodes  []any
	}{
		{m, "got a split of 2 numbers at layer 1, expected 3", []any{[]any{1, 0}, 0, 0}},
		{m, "expected a float32, spelled in full", []any{[]any{1, 0, 0.1}, 0, 0}},
		{m, "expected a float32, spelled in full", []any{[]any{1, 0, 1e300}, 0, 0}},
		{m, "but layer 1 has 4", []any{[]any{1, 4, 0.5}, 0, 0}},
		{m, "which is not within", []any{[]any{1, 0, 0.5}, []any{1, 0, 0.25}, 0, 0, 0}},
		{m, "which is not within", []any{[]any{1, 0, 0.5}, []any{1, 0, 0.5}, 0, 0, 0}},
		{m, "which is not within", []any{[]any{1, 0, 0.5}, 0, []any{1, 0, 0.75}, 0, 0}},
		{m2, "got a split of 3 numbers at layer 1, expected 4", []any{[]any{1, 0, 0}, 0, 0}},
		{m2, "not in the window of element 0", []any{[]any{1, 0, 0, 2}, 0, 0}},
		{m2, "not in the window of element 1", []any{[]any{1, 1, 99, 1}, 0, 0}},
		{m2, "with itself", []any{[]any{1, 0, 3, 3}, 0, 0}},
		{m2, "not the largest by one above", []any{[]any{1, 0, 0, 1}, []any{1, 0, 1, 3}, 0, 0, 0}},
		{m2, "not the largest by one above", []any{[]any{1, 0, 0, 1}, 0, []any{1, 0, 3, 0}, 0, 0}},
		{m, "", []any{[]any{1, 0, 0.5}, 0, []any{1, 0, 0.25}, 0, 0}},
		{m2, "", []any{[]any{1, 0, 0, 1}, []any{1, 0, 3, 0}, 0, 0, []any{1, 0, 3, 1}, 0, 0}},
	} {
		x := make([]float32, c.m.Arch.Input.Size())
		cert := claim(c.m, x, -1, "linf", "0.1", check.BaB)
		cert.Rows, cert.Offsets = [][]float64{{1, -1}}, []float64{1000}
		cert = byTrees(t, cert)
		beta := 0
		var depth []bool // splits above: their second part is the one
		for _, n := range c.nodes {
			if _, split := n.([]any); split {
				depth = append(depth, false)
				continue
			}
			beta += len(depth)
			for len(depth) > 0 && depth[len(depth)-1] {
				depth = depth[:len(depth)-1]
			}
			if len(depth) > 0 {
				depth[len(depth)-1] = true
			}
		}
		steps := []fields{{"row": 0, "trees": []fields{{"nodes": c.nodes, "beta": floatText(make([]float32, beta)...)}}}, {"end": true}}
		v := follow(t, newChecker(t, c.m), cert, x, check.Unknown, of(t, cert, steps)...)
		require.Equal(t, c.reason == "", v.Valid, "%v: %s", c.nodes, v.Reason)
		require.Contains(t, v.Reason, c.reason)
	}
}
