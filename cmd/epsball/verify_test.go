package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/epsball/epsball/dataset/mnist"
	"github.com/epsball/epsball/kernels"
	"github.com/epsball/epsball/net"
	"github.com/epsball/epsball/zoo"
)

// labelProperty writes a VNN-LIB 1 file that asks for another label in the ball around an image.
func labelProperty(t *testing.T, x []float32, label int, eps float32) string {
	t.Helper()
	var b strings.Builder
	for k := range x {
		fmt.Fprintf(&b, "(declare-const X_%d Real)\n", k)
	}
	for k := range 10 {
		fmt.Fprintf(&b, "(declare-const Y_%d Real)\n", k)
	}
	for k, v := range x {
		fmt.Fprintf(&b, "(assert (>= X_%d %.8f)) (assert (<= X_%d %.8f))\n", k, max(0, v-eps), k, min(1, v+eps))
	}
	b.WriteString("(assert (or")
	for k := range 10 {
		if k != label {
			fmt.Fprintf(&b, " (and (>= Y_%d Y_%d))", k, label)
		}
	}
	b.WriteString("))\n")
	path := filepath.Join(t.TempDir(), "prop.vnnlib")
	require.NoError(t, os.WriteFile(path, []byte(b.String()), 0o666))
	return path
}

// TestVerify: a property is proved by bounds where certify proves it, by branch and bound
// where bounds fail, and a witness against another one is one.
func TestVerify(t *testing.T) {
	m, err := zoo.Load("mnist-small-pgd-0.1")
	require.NoError(t, err)
	n, err := net.Compile(m, net.Options{})
	require.NoError(t, err)
	set, err := mnist.Test()
	require.NoError(t, err)
	x, y := set.X[:784], set.Y[0]
	model := filepath.Join(t.TempDir(), "m.safetensors")
	require.NoError(t, os.WriteFile(model, zoo.MNISTSmallPGD(), 0o666))
	for _, c := range []struct {
		eps     float32
		verdict string
		by      string
	}{{0.01, "unsat", "bounds"}, {0.1, "unsat", "branch and bound"}, {0.4, "sat", "attack"}} {
		prop := labelProperty(t, x, y, c.eps)
		doc := document(t, 0, args("verify %s %s --timeout 100", model, prop)...)
		assert.Equal(t, []string{"by", "epsball", "isa", "low", "open", "parts", "property", "seconds", "seed", "threads", "verdict", "witness"}, keys(doc))
		assert.Equal(t, c.verdict, doc["verdict"], "%v", doc)
		assert.Equal(t, c.by, doc["by"])
		r := run(args("verify %s %s", model, prop)...)
		require.Zero(t, r.code, r.stderr)
		assert.Equal(t, c.verdict, strings.SplitN(r.stdout, "\n", 2)[0])
		if c.verdict == "unsat" {
			assert.Nil(t, doc["witness"])
			continue
		}
		w := doc["witness"].(map[string]any)
		assert.Equal(t, []any{"violated", "violated"}, []any{w["exact"], w["executed"]})
		values := w["values"].([]any)
		require.Len(t, values, 794)
		point, z := make([]float32, 784), make([]float32, 10)
		for k, v := range values {
			if k < 784 {
				point[k] = float32(v.(float64))
				assert.InDelta(t, x[k], point[k], float64(c.eps)+1e-7)
			} else {
				z[k-784] = float32(v.(float64))
			}
		}
		got := make([]float32, 10)
		require.NoError(t, n.NewRunner(kernels.NewPool(1)).Logits(t.Context(), got, point, 1))
		assert.Equal(t, got, z)
		assert.Contains(t, r.stdout, "((X_0 ")
	}
	r := run(args("verify %s %s --timeout 0.000001", model, labelProperty(t, x, y, 0.12))...)
	assert.Equal(t, 1, r.code)
	assert.Equal(t, "timeout\n", r.stdout)
}

func TestVerifyRefuses(t *testing.T) {
	dir := t.TempDir()
	write := func(text string) string {
		path := filepath.Join(dir, "p.vnnlib")
		require.NoError(t, os.WriteFile(path, []byte(text), 0o666))
		return path
	}
	model := filepath.Join(dir, "m.safetensors")
	require.NoError(t, os.WriteFile(model, zoo.MNISTSmallPGD(), 0o666))
	small := "(declare-const X_0 Real)(declare-const Y_0 Real)(assert (<= X_0 1))(assert (>= X_0 0))(assert (<= Y_0 0))"
	for want, line := range map[string][]string{
		"want a network and a property file":  args("verify %s", model),
		"1 elements, but the network has 784": args("verify %s %s", model, write(small)),
		"--timeout: got -1":                   args("verify %s x.vnnlib --timeout -1", model),
		"no such file":                        args("verify %s %s", model, filepath.Join(dir, "none.vnnlib")),
	} {
		r := run(line...)
		assert.Equal(t, 2, r.code, line)
		assert.Contains(t, r.stderr, want)
	}
	r := run(args("verify %s %s", model, write("(assert (<= X_0 1)"))...)
	assert.Equal(t, 2, r.code)
	assert.Contains(t, r.stderr, "p.vnnlib:1:")
}
