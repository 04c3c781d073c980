package main

import (
	"context"
	"encoding/binary"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/epsball/epsball"
	"github.com/epsball/epsball/attack"
	"github.com/epsball/epsball/dataset/mnist"
	"github.com/epsball/epsball/model"
	"github.com/epsball/epsball/zoo"
)

// The sizes that testdata/check.h knows.
const images, slow = 100, 2

// TestLibrary builds the libraries and runs programs in C, C++ and Python against them,
// on real data: what they get is what the Go API gives, bit for bit.
func TestLibrary(t *testing.T) {
	cc := compiler(t)
	dir := t.TempDir()
	shared, static := filepath.Join(dir, "libepsball.so"), filepath.Join(dir, "libepsball.a")
	goBuild(t, "c-shared", shared)
	goBuild(t, "c-archive", static)

	standard, certified := writeExpected(t, "mnist-small-standard", false), writeExpected(t, "mnist-small-ibp-0.1", true)
	link := []string{"-L" + dir, "-lepsball", "-Wl,-rpath," + dir}
	c99 := func(program string, args ...string) string {
		args = append([]string{"-std=c99", "-pedantic-errors", "-o", program}, args...)
		return compile(t, cc, filepath.Join(dir, program), args)
	}
	with := func(args ...string) []string { return append(args, link...) }

	t.Run("results", func(t *testing.T) {
		run(t, c99("results", with("testdata/results.c")...), standard)
	})
	t.Run("errors", func(t *testing.T) { run(t, c99("errors", with("testdata/errors.c")...), standard) })
	t.Run("threads", func(t *testing.T) { run(t, c99("threads", with("testdata/threads.c", "-pthread")...), standard) })
	t.Run("static", func(t *testing.T) {
		run(t, c99("static", "-DCONTROL", "testdata/results.c", static, "-pthread"), certified)
	})

	// Loaded by a thread in a strange floating-point mode, which the threads that Go
	// makes would inherit. Exceptions that trap are for the shared library alone.
	t.Run("modes", func(t *testing.T) {
		host := c99("host", "-D_GNU_SOURCE", "testdata/host.c", "-ldl")
		plugin := c99("shared.so", with("-DPLUGIN", "-fPIC", "-shared", "testdata/results.c")...)
		inside := c99("static.so", "-DPLUGIN", "-DCONTROL", "-fPIC", "-shared", "testdata/results.c", static, "-pthread")
		run(t, host, "1", plugin, standard)
		run(t, host, "1", inside, standard)
		run(t, host, "4", plugin, standard)
	})
	t.Run("c++", func(t *testing.T) {
		if lacks("g++") {
			t.Skip("no g++")
		}
		args := append([]string{"-x", "c++", "-std=c++11", "-pedantic-errors", "-o", "cpp"}, with("testdata/results.c")...)
		compile(t, "g++", filepath.Join(dir, "cpp"), args) // links, so that the names are C's
	})
	t.Run("header", func(t *testing.T) { checkHeader(t, cc, shared) })
	t.Run("python", func(t *testing.T) {
		python := pythonWith(t, "ctypes")
		t.Setenv("EPSBALL_LIBRARY", shared)
		t.Setenv("PYTHONPATH", "python")
		testPython(t, python, "python", certified, false)
		t.Run("numpy", func(t *testing.T) {
			testPython(t, pythonWith(t, "numpy"), "python", certified, true)
		})
	})
}

// compiler returns the C compiler that cgo uses.
func compiler(t *testing.T) string {
	t.Helper()
	if runtime.GOOS != "linux" {
		t.Skip("these tests are written for Linux")
	}
	env, err := exec.Command("go", "env", "CGO_ENABLED", "CC").Output()
	require.NoError(t, err)
	enabled, cc, _ := strings.Cut(strings.TrimSpace(string(env)), "\n")
	if enabled != "1" || lacks(cc) {
		t.Skip("no C compiler for cgo")
	}
	return cc
}

func lacks(program string) bool { return exec.Command(program, "--version").Run() != nil }

func goBuild(t *testing.T, mode, output string) {
	t.Helper()
	out, err := exec.Command("go", "build", "-buildmode="+mode, "-o", output, ".").CombinedOutput()
	require.NoError(t, err, "%s", out)
}

func compile(t *testing.T, cc, program string, args []string) string {
	t.Helper()
	for i, a := range args {
		if a == "-o" {
			args[i+1] = program
		}
	}
	args = append([]string{"-O2", "-Wall", "-Wextra", "-Werror", "-I."}, args...)
	out, err := exec.Command(cc, args...).CombinedOutput()
	require.NoError(t, err, "%s", out)
	return program
}

func run(t *testing.T, program string, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	out, err := exec.CommandContext(ctx, program, args...).CombinedOutput()
	require.NoError(t, err, "%s %v: %s", filepath.Base(program), args, out)
	return string(out)
}

// writeExpected writes a model, its weights perhaps in tiles, images and what the Go API
// says of them, and returns the folder.
func writeExpected(t *testing.T, name string, tiles bool) string {
	t.Helper()
	dir := t.TempDir()
	data, err := zoo.Load(name)
	require.NoError(t, err)
	stored, err := data.Store(func(int) model.Storage { return model.Storage{Tiles: tiles} })
	require.NoError(t, err)
	require.NoError(t, stored.Save(filepath.Join(dir, "model.safetensors")))
	m, err := epsball.New(data, epsball.Threads(1))
	require.NoError(t, err)
	defer m.Close()
	test, err := mnist.Test()
	require.NoError(t, err)
	b := test.Slice(0, images)
	x, ctx := epsball.Batch{X: b.X}, context.Background()
	p, err := m.Classify(ctx, x)
	require.NoError(t, err)
	a, err := m.Attack(ctx, x.With(b.Y), epsball.Linf(0.1), epsball.PGD{Steps: 8, Restarts: 2, Seed: 7})
	require.NoError(t, err)
	proof, err := m.Certify(ctx, x.With(b.Y), epsball.Linf(0.1), epsball.IBP)
	require.NoError(t, err)
	ball, err := epsball.ParseBall("linf", "8/255")
	require.NoError(t, err)
	linear, err := m.Certify(ctx, epsball.Batch{X: b.X[:slow*784], Y: b.Y[:slow]}, ball, epsball.CROWN)
	require.NoError(t, err)
	outcomes, robust := make([]uint8, images), make([]uint8, images)
	for i := range outcomes {
		outcomes[i] = wantOutcome(a, i)
		if proof.Robust[i] {
			robust[i] = 1
		}
	}
	for file, v := range map[string]any{
		"images.f32": b.X, "labels.i32": int32s(b.Y), "logits.f32": p.Logits, "predicted.i32": int32s(p.Label),
		"adversarial.f32": a.Adv, "outcomes.u8": outcomes, "robust.u8": robust, "margins.f32": proof.Margin,
		"crown.f32": linear.Margin, "hash": []byte(m.Hash()),
	} {
		raw, err := binary.Append(nil, binary.NativeEndian, v)
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(filepath.Join(dir, file), raw, 0o600))
	}
	return dir
}

func wantOutcome(a *attack.Result, i int) uint8 {
	switch {
	case a.Success[i]:
		return 1
	case a.Clean[i]:
		return 0
	}
	return 2
}

func int32s(y []int) []int32 {
	v := make([]int32, len(y))
	for i, l := range y {
		v[i] = int32(l)
	}
	return v
}
