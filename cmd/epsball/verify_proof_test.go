package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/epsball/epsball/model"
)

// boxProperty writes a property of a box of the small model's inputs, few of which vary: that
// there is no input with one of the disjuncts.
func boxProperty(t *testing.T, path string, varying int, width float64, disjuncts ...string) string {
	var b strings.Builder
	for k := range 36 {
		lo, hi := 0.5, 0.5
		if k < varying {
			lo, hi = 0.5-width, 0.5+width
		}
		fmt.Fprintf(&b, "(declare-const X_%d Real)(assert (>= X_%[1]d %[2]v))(assert (<= X_%[1]d %[3]v))\n", k, lo, hi)
	}
	for k := range classes {
		fmt.Fprintf(&b, "(declare-const Y_%d Real)", k)
	}
	fmt.Fprintf(&b, "(assert (or %s))\n", strings.Join(disjuncts, " "))
	require.NoError(t, os.WriteFile(path, []byte(b.String()), 0o666))
	return path
}

// deepModel is a network of the small model's inputs whose neurons want splits.
func deepModel(t *testing.T) *model.Model {
	relu, fc := model.Layer{Kind: model.ReLU}, func(n int) model.Layer { return model.Layer{Kind: model.FC, Out: n} }
	m, err := model.Random(&model.Architecture{
		Name: "deep", Input: model.Shape{C: 1, H: 6, W: 6}, Layers: []model.Layer{fc(16), relu, fc(12), relu, fc(12), relu, fc(classes)},
	}, 3)
	require.NoError(t, err)
	return m
}

// TestVerifyOut: certificates of what verify proves, by bounds, at inputs and at neurons, are
// valid, of this property and no other, and a leaf that proves nothing is named.
func TestVerifyOut(t *testing.T) {
	f := newFiles(t)
	m := deepModel(t)
	require.NoError(t, m.Save(f.other))
	shallow, err := model.Load(f.model)
	require.NoError(t, err)
	x := make([]float32, 36)
	for k := range x {
		x[k] = 0.5
	}
	path := func(name string) string { return filepath.Join(f.dir, name) }
	seen := map[string]int{}
	var cuts string
	for varying, m := range map[int]*model.Model{4: shallow, 36: m} {
		require.NoError(t, m.Save(f.model))
		label := predicted(t, m, x, 1)[0]
		beaten := func(j int) string { return fmt.Sprintf("(and (>= Y_%d Y_%d))", (label+j)%classes, label) }
		disjuncts := []string{ // a clause of two rows, and one of one
			fmt.Sprintf("(and (>= Y_%d Y_%d)(>= Y_%d Y_%[2]d))", (label+1)%classes, label, (label+2)%classes), beaten(3),
		}
		step, last := 2.0, 0.05
		for width := last; width < 0.5; width *= step {
			prop, out := boxProperty(t, path("p.vnnlib"), varying, width, disjuncts...), path("proof.jsonl")
			r := run(args("verify %s %s --out %s --force --timeout 5 --threads 1", f.model, prop, out)...)
			if !strings.HasPrefix(r.stdout, "unsat\n") {
				assert.Contains(t, r.stderr, "is not written, for nothing is proved")
				if step < 1.1 {
					break
				}
				step, width = 1.04, last // in smaller steps, for what bounds do not prove
				continue
			}
			last = width
			require.Zero(t, r.code, r.stderr)
			for _, threads := range []string{"1", "3"} {
				doc := document(t, 0, args("check %s --model %s --property %s --threads %s", out, f.model, prop, threads)...)
				assert.Equal(t, []any{1., 1., 0., 1., 1.}, []any{doc["checked"], doc["valid"], doc["invalid"], doc["regions"], doc["of"]})
			}
			text := string(readFile(t, out))
			switch {
			case strings.Contains(text, `"parts":["crown`):
				seen["bounds"]++
			case strings.Contains(text, `"parts":[[`):
				seen["inputs"]++
				cuts = text
				require.NoError(t, m.Save(f.other))
				boxProperty(t, path("cuts.vnnlib"), varying, width, disjuncts...)
			default:
				seen["neurons"]++
			}
			// A larger box, or one more disjunct, is another property.
			wide := boxProperty(t, path("w.vnnlib"), varying, width+0.001, disjuncts...)
			doc := document(t, 1, args("check %s --model %s --property %s", out, f.model, wide)...)
			assert.Contains(t, doc["failures"].([]any)[0].(map[string]any)["reason"], "does not contain the property's")
			more := boxProperty(t, path("w.vnnlib"), varying, width, append([]string{beaten(4)}, disjuncts...)...)
			document(t, 1, args("check %s --model %s --property %s", out, f.model, more)...)
			// A part of it is implied.
			small := boxProperty(t, path("w.vnnlib"), varying, width/2, disjuncts...)
			r = run(args("check %s --model %s --property %s", out, f.model, small)...)
			require.Zero(t, r.code, "%d inputs, width %v: %s", varying, width, r.stdout)
		}
	}
	t.Log(seen)
	for _, by := range []string{"bounds", "inputs", "neurons"} {
		assert.Positive(t, seen[by], by)
	}
	require.NotEmpty(t, cuts)
	lines := bytes.SplitAfter([]byte(cuts), []byte("\n"))
	require.NoError(t, os.WriteFile(path("short.jsonl"), bytes.Join(lines[:2], nil), 0o666))
	refused := func(name string, want ...string) {
		t.Helper()
		r := run(args("check %s --model %s --property %s", path(name), f.other, path("cuts.vnnlib"))...)
		assert.Equal(t, 1, r.code)
		for _, w := range want {
			assert.Contains(t, r.stdout+r.stderr, w)
		}
	}
	refused("short.jsonl", "missing")
}

func TestVerifyOutRefuses(t *testing.T) {
	f := newFiles(t)
	prop := boxProperty(t, filepath.Join(f.dir, "p.vnnlib"), 2, 0.01, "(and (>= Y_0 1000.0))")
	out := filepath.Join(f.dir, "proof.jsonl")
	require.Zero(t, run(args("verify %s %s --out %s", f.model, prop, out)...).code)
	refused(t, fmt.Sprintf("verify %s %s --out %s", f.model, prop, out), "--out", "--force")
	refused(t, fmt.Sprintf("check %s --model %s --property %s --require-eps 0.1", out, f.model, prop), "--require-eps", "no meaning")
	refused(t, fmt.Sprintf("check %s --model %s --property %s", out, f.model, out), "proof.jsonl:1", "")
	r := run(args("check %s --model %s --data %s", out, f.model, f.data)...)
	assert.Equal(t, 1, r.code)
	assert.Contains(t, r.stdout, "which --property is to name")
	images := certified(t, f, "--eps 0.01")
	r = run(args("check %s --model %s --property %s", images, f.model, prop)...)
	assert.Equal(t, 1, r.code)
	assert.Contains(t, r.stdout, "the certificate is of an image")
	assert.Contains(t, r.stderr, "not valid")
}
