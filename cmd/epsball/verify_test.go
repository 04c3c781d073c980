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
		"want a network and a property file":       args("verify %s", model),
		"and --network, want one, a property file": args("verify %s %s --network f=%[1]s", model, write(small)),
		"VNN-LIB 1, which gives networks no name":  args("verify %s --network f=%s", write(small), model),
		"1 elements, but the network has 784":      args("verify %s %s", model, write(small)),
		"--timeout: got -1":                        args("verify %s x.vnnlib --timeout -1", model),
		"no such file":                             args("verify %s %s", model, filepath.Join(dir, "none.vnnlib")),
	} {
		r := run(line...)
		assert.Equal(t, 2, r.code, line)
		assert.Contains(t, r.stderr, want)
	}
	r := run(args("verify %s %s", model, write("(assert (<= X_0 1)"))...)
	assert.Equal(t, 2, r.code)
	assert.Contains(t, r.stderr, "p.vnnlib:1:")
}

// TestVerifyStandard: the form of VNN-LIB 2.0, its verdicts and its witnesses.
func TestVerifyStandard(t *testing.T) {
	f := newFiles(t)
	write := func(low string) string {
		path := filepath.Join(t.TempDir(), "q.vnnlib")
		text := "(vnnlib-version <2.0>)(declare-network f (declare-input A float32 [1,1,6,6])(declare-output B float32 [1,10]))\n"
		for i := range 36 {
			text += fmt.Sprintf("(assert (>= A[0,0,%d,%d] 0.0))(assert (<= A[0,0,%[1]d,%[2]d] 1.0))\n", i/6, i%6)
		}
		require.NoError(t, os.WriteFile(path, []byte(text+"(assert (>= B[0,3] "+low+"))"), 0o666))
		return path
	}
	r := run(args("verify %s --network f=%s", write("-1000.0"), f.model)...)
	require.Zero(t, r.code, r.stderr)
	lines := strings.Split(strings.TrimSpace(r.stdout), "\n")
	require.Len(t, lines, 1+1+36+1+10)
	assert.Equal(t, []string{"sat", "A float32 [1,1,6,6]", "B float32 [1,10]"}, []string{lines[0], lines[1], lines[38]})
	x, z := make([]float32, 36), make([]float32, 10)
	for i, line := range lines[2:38] {
		_, err := fmt.Sscan(line, &x[i])
		require.NoError(t, err)
	}
	for i, line := range lines[39:] {
		_, err := fmt.Sscan(line, &z[i])
		require.NoError(t, err)
	}
	n, err := net.Compile(smallModel(t, 1), net.Options{})
	require.NoError(t, err)
	got := make([]float32, 10)
	require.NoError(t, n.NewRunner(kernels.NewPool(1)).Logits(t.Context(), got, x, 1))
	assert.Equal(t, got, z)

	r = run(args("verify %s --network f=%s", write("1000.0"), f.model)...)
	assert.Equal(t, "unsat\n", r.stdout, r.stderr)
	doc := document(t, 0, args("verify %s --network f=%s", write("1000.0"), f.model)...)
	assert.Equal(t, []any{
		map[string]any{"name": "A", "type": "float32", "shape": []any{1., 1., 6., 6.}}, map[string]any{"name": "B", "type": "float32", "shape": []any{1., 10.}},
	}, doc["tensors"])
	model := filepath.Join(t.TempDir(), "m.safetensors")
	require.NoError(t, os.WriteFile(model, zoo.MNISTSmallPGD(), 0o666))

	for want, networks := range map[string]string{
		`got the name "g", but`:       "--network g=" + f.model,
		"got f twice":                 "--network f=" + f.model + " --network f=" + f.model,
		`got "f", want NAME=NET`:      "--network f",
		`got "f=", want NAME=NET`:     "--network f=",
		"but the network has 784":     "--network f=" + model,
		"declares f alone":            "--network f=" + f.model + " --network g=" + f.model,
		"got 1 arguments, want a net": "",
	} {
		r := run(args("verify %s %s", write("1.0"), networks)...)
		assert.Equal(t, 2, r.code)
		assert.Contains(t, r.stderr, want)
		assert.Empty(t, r.stdout)
	}
	two := filepath.Join(t.TempDir(), "two.vnnlib")
	require.NoError(t, os.WriteFile(two, []byte(`(vnnlib-version <2.0>)
(declare-network f (declare-input A float32 [1])(declare-output B float32 [1]))
(declare-network g (declare-input C float32 [1])(declare-output D float32 [1]))`), 0o666))
	r = run(args("verify %s --network f=%s --network g=%[2]s", two, f.model)...)
	assert.Equal(t, 2, r.code)
	assert.Contains(t, r.stderr, "a second network is not supported (theory MNET)")
}

// TestVerifyTimeout: the word of each form for it.
func TestVerifyTimeout(t *testing.T) {
	model, dir := filepath.Join(t.TempDir(), "m.safetensors"), filepath.Join(t.TempDir(), "p")
	require.NoError(t, os.WriteFile(model, zoo.MNISTSmallPGD(), 0o666))
	document(t, 0, args("export %s --property %s --n 1 --eps 0.12 --vnnlib 2", model, dir)...)
	q := filepath.Join(dir, "vnnlib", "image_0_eps_0.12.vnnlib")
	for line, want := range map[string]string{
		"verify " + q + " --network mnist_small=" + model: "timed-out\n", "verify " + model + " " + q: "timeout\n",
	} {
		r := run(args("%s --timeout 0.000001", line)...)
		assert.Equal(t, 1, r.code, r.stderr)
		assert.Equal(t, want, r.stdout)
	}
}

// TestSupports: what the standard lets tools ask.
func TestSupports(t *testing.T) {
	all := run("supports")
	require.Zero(t, all.code, all.stderr)
	for _, c := range capabilities {
		r := run("supports", "--"+c.flag)
		require.Zero(t, r.code, r.stderr)
		assert.NotEmpty(t, r.stdout)
		assert.Contains(t, all.stdout, c.flag+":\n"+r.stdout)
	}
	assert.Equal(t, "7\n28\n", run("supports", "--onnx-opset-versions").stdout)
	assert.Equal(t, "float32\nreal\n", run("supports", "--onnx-element-types").stdout)
	assert.Equal(t, "1.0\n2.0\n", run("supports", "--vnnlib-versions").stdout)
	assert.Contains(t, run("supports", "--onnx-operators").stdout, "\nConv\n")
	assert.Contains(t, run("supports", "--onnx-operators").stdout, "\nSoftmax real\n")
	assert.Equal(t, "SIO\n", run("supports", "--multiple-inputs-output-theories").stdout, "as an example of the standard has it")
	assert.Equal(t, "BND\nOUTC\n", run("supports", "--arithmetic-complexity-theories").stdout)
	assert.Len(t, document(t, 0, "supports")["capabilities"], len(capabilities))
	r := run("supports", "--vnnlib-versions", "--onnx-operators")
	assert.Equal(t, 2, r.code)
	assert.Contains(t, r.stderr, "want one, or none for all")
	assert.Equal(t, "epsball\n", run("--name").stdout)
	assert.Equal(t, version()+"\n", run("--version").stdout)
}
