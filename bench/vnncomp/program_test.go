package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/epsball/epsball/report"
)

// program builds epsball.
func program(t *testing.T) string {
	t.Helper()
	if testing.Short() {
		t.Skip("builds the program")
	}
	path := filepath.Join(t.TempDir(), "epsball")
	if runtime.GOOS == "windows" {
		path += ".exe"
	}
	out, err := exec.Command("go", "build", "-o", path, "../../cmd/epsball").CombinedOutput()
	require.NoError(t, err, "%s", out)
	return path
}

// TestExported: a folder of export --property is judged as it is. With EPSBALL_PYTHON,
// which must have onnxruntime and numpy, its witnesses are replayed.
func TestExported(t *testing.T) {
	epsball := program(t)
	for _, version := range []string{"1", "2"} {
		dir := filepath.Join(t.TempDir(), "exported")
		out, err := exec.Command(epsball, "export", "builtin:mnist-small-pgd-0.1", "--n", "2", "--eps", "0.01,8/20", "--timeout", "60", "--vnnlib", version, "--property", dir).CombinedOutput()
		require.NoError(t, err, "%s", out)
		args := []string{"-epsball", epsball, "-proofs"}
		python := os.Getenv("EPSBALL_PYTHON")
		if python != "" {
			args = append(args, "-replay", python)
		}
		var b bytes.Buffer
		bad, err := run(t.Context(), append(args, dir), &b)
		require.NoError(t, err)
		assert.Zero(t, bad)
		assert.Contains(t, b.String(), "exported: 4 instances: unsat 2, sat 2, unknown 0, timeout 0, error 0; wrong 0;", b.String())
		assert.Contains(t, b.String(), "of unsat 2 are proved by certificates that were checked")
		if python != "" {
			assert.Contains(t, b.String(), "witnesses replayed 2, valid 2")
		}
	}
	if os.Getenv("EPSBALL_PYTHON") == "" {
		t.Log("EPSBALL_PYTHON is not set: no witness was replayed")
	}
}

// TestReplay: the script tells a witness from what is none.
func TestReplay(t *testing.T) {
	python := os.Getenv("EPSBALL_PYTHON")
	if python == "" {
		t.Skip("EPSBALL_PYTHON is not set: it is to name a Python with onnxruntime and numpy")
	}
	epsball := program(t)
	dir := filepath.Join(t.TempDir(), "p")
	out, err := exec.Command(epsball, "export", "builtin:mnist-small-pgd-0.1", "--n", "1", "--eps", "0.4", "--property", dir).CombinedOutput()
	require.NoError(t, err, "%s", out)
	network, property := filepath.Join(dir, "onnx", "mnist-small-pgd-0.1.onnx"), filepath.Join(dir, "vnnlib", "image_0_eps_0.4.vnnlib")
	doc, err := exec.Command(epsball, "verify", "--json", network, property).Output()
	require.NoError(t, err)
	text, err := os.ReadFile(property)
	require.NoError(t, err)
	var v report.Verify
	require.NoError(t, json.Unmarshal(doc, &v))
	x := float64(v.Witness.Values[0])
	j := judge{python: python}
	for _, c := range []struct{ added, want string }{
		{"", "valid"},
		{fmt.Sprintf("(assert (<= X_0 %.8f))", x-5e-5), "tolerance: the property holds within 0.0001 alone"},
		{fmt.Sprintf("(assert (<= X_0 %.8f))", x-2e-4), "invalid: the property does not hold"},
		{fmt.Sprintf("(assert (or (> X_0 %.8f) (= X_1 -1.0)))", x+1), "invalid: the property does not hold"},
		// Words that export does not write.
		{"; a comment\n(assert (and (< (* 2.0 X_0) (+ 10.0 X_0)) (!= X_0 7.0) (> (- X_0) (/ -9.0 1e0)) (== X_0 X_0) (>= (- 9 X_0 1) 0)))", "valid"},
	} {
		other := filepath.Join(dir, "other.vnnlib")
		require.NoError(t, os.WriteFile(other, append(text, c.added...), 0o666))
		said, err := j.replay(t.Context(), doc, network, other)
		require.NoError(t, err)
		assert.True(t, strings.HasPrefix(said, c.want), "%q, want %q", said, c.want)
	}
	v.Witness.Values[790]++
	var b bytes.Buffer
	require.NoError(t, report.Write(&b, &v))
	said, err := j.replay(t.Context(), b.Bytes(), network, property)
	require.NoError(t, err)
	assert.Contains(t, said, "invalid: outputs differ by")
	v.Verdict = "unsat"
	b.Reset()
	require.NoError(t, report.Write(&b, &v))
	_, err = j.replay(t.Context(), b.Bytes(), network, property)
	require.ErrorContains(t, err, "got the verdict unsat, want sat")
}
