package main

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/epsball/epsball/model"
)

// residualArch ends in a map of 10 elements and a ReLU.
func residualArch() *model.Architecture {
	conv := func(out, k, s, p int, in ...int) model.Layer {
		return model.Layer{Kind: model.Conv, Inputs: in, Out: out, Kernel: [2]int{k, k}, Stride: [2]int{s, s}, Padding: [2]int{p, p}}
	}
	relu := model.Layer{Kind: model.ReLU}
	return &model.Architecture{Name: "residual", Input: model.Shape{C: 1, H: 6, W: 6}, Layers: []model.Layer{
		conv(4, 3, 2, 1), relu, conv(4, 3, 1, 1),
		{Kind: model.Add, Inputs: []int{2, 1}},
		relu,
		{Kind: model.Conv, Out: 5, Kernel: [2]int{3, 2}, Stride: [2]int{1, 1}},
		relu,
	}}
}

// TestGraphs: every command takes a model that is not a list ending in fc.
func TestGraphs(t *testing.T) {
	f := newFiles(t)
	arch, path := filepath.Join(f.dir, "a.json"), filepath.Join(f.dir, "residual.safetensors")
	require.NoError(t, os.WriteFile(arch, residualArch().CanonicalJSON(), 0o644))
	doc := document(t, 0, args("train --arch %s --method pgd --data %s --epochs 2 --batch 16 --eps 0.01 --test-data none --out %s", arch, f.data, path)...)
	m, err := model.Load(path)
	require.NoError(t, err)
	require.Equal(t, *residualArch(), m.Arch)
	require.Equal(t, m.Hash(), doc["hash"])

	r := run(args("train --arch %s --method ibp --data %s --test-data none --out %s", path, f.data, filepath.Join(f.dir, "ibp.safetensors"))...)
	assert.Equal(t, 2, r.code)
	assert.Contains(t, r.stderr, "as the last layer")

	for _, line := range []string{
		"attack --eps 0.05 --steps 5 --restarts 2", "attack --eps 0.3 --norm l2 --steps 5", "certify --eps 0.001",
		"certify --eps 0.001 --norm l2", "certify --radius --resolution 0.001", "eval --eps 0.01 --steps 3",
	} {
		r := run(args("%s --model %s --data %s", line, path, f.data)...)
		assert.Zero(t, r.code, "%s: %s", line, r.stderr)
	}
	r = run(args("bench --model %s --layers --time 1ms --filter /b(1|16)/", path)...)
	require.Zero(t, r.code, r.stderr)
	assert.Contains(t, r.stdout, "layer/backward-input/residual/conv2/b16")

	one := &model.Architecture{Name: "one", Input: model.Shape{C: 1, H: 6, W: 6}, Layers: []model.Layer{{Kind: model.FC, Out: 1}}}
	m, err = model.Random(one, 1)
	require.NoError(t, err)
	require.NoError(t, m.Save(path))
	for _, line := range []string{"attack --eps 0.1", "certify --eps 0.1", "eval --eps 0.1"} {
		r := run(args("%s --model %s --data %s", line, path, f.data)...)
		assert.Equal(t, 2, r.code, line)
	}
	r = run("bench", "--model", path, "--time", "1ms", "--filter", "/b16/")
	assert.Equal(t, 2, r.code)
	assert.Contains(t, r.stderr, "at least 2 classes")
}
