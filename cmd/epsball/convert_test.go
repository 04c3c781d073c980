package main

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/epsball/epsball/model"
)

// TestConvert: the file holds what was asked for, the report says so, and commands
// say the same of each storage of one network.
func TestConvert(t *testing.T) {
	f := newFiles(t)
	path := func(name string) string { return filepath.Join(f.dir, name+".safetensors") }
	old, err := model.Load(f.model)
	require.NoError(t, err)

	doc := document(t, 0, "convert", f.model, "--weights", "bf16", "--out", path("bf16"))
	assert.Equal(t, []string{"bytes_after", "bytes_before", "epsball", "hash", "model", "out", "same_network", "weights"}, keys(doc))
	assert.Equal(t, false, doc["same_network"])
	weights := doc["weights"].([]any)
	require.Len(t, weights, 2)
	conv, fc := weights[0].(map[string]any), weights[1].(map[string]any)
	assert.Equal(t, []any{"F32", "rows"}, []any{conv["type"], conv["layout"]}, "only fc")
	assert.Equal(t, []any{"BF16", "rows", "layers.2.weight"}, []any{fc["type"], fc["layout"], fc["tensor"]})
	assert.Positive(t, fc["largest_change"])
	assert.Less(t, fc["relative_change"], 1.0/256)
	size := func(name string) int64 {
		info, err := os.Stat(path(name))
		require.NoError(t, err)
		return info.Size()
	}
	assert.EqualValues(t, size("bf16"), doc["bytes_after"])
	m, err := model.Load(path("bf16"))
	require.NoError(t, err)
	assert.Equal(t, doc["hash"], m.Hash())
	assert.Equal(t, old.Hash(), m.Card[cardRounded])
	require.NoError(t, m.Validate())

	// The same network again, stored in other ways.
	tiles := document(t, 0, "convert", path("bf16"), "--layout", "tiles", "--out", path("tiles"))
	assert.Equal(t, true, tiles["same_network"])
	wide := document(t, 0, "convert", path("tiles"), "--weights", "f32", "--layout", "rows", "--layers", "all", "--out", path("wide"))
	assert.Equal(t, true, wide["same_network"])
	assert.Contains(t, string(readFile(t, path("wide")))[:200], `"version":"1"`)
	assert.Equal(t, doc["hash"], wide["hash"])
	line := "eval --data " + f.data + " --eps 0.01 --model "
	want := stable(document(t, 0, args("%s", line+path("wide"))...)["results"].([]any)[0].(map[string]any)["clean"])
	for _, name := range []string{"bf16", "tiles"} {
		have := document(t, 0, args("%s", line+path(name))...)["results"].([]any)[0].(map[string]any)["clean"]
		assert.Equal(t, want, stable(have), name)
	}

	// A certificate for one storage is one for the others, and not for the network
	// before rounding.
	certs := filepath.Join(f.dir, "c.jsonl")
	require.Zero(t, run(args("certify --model %s --data %s --eps 0.001 --method crown --out %s --n 10", path("tiles"), f.data, certs)...).code)
	for _, name := range []string{"bf16", "tiles", "wide"} {
		r := run(args("check %s --model %s --data %s", certs, path(name), f.data)...)
		assert.Zero(t, r.code, "%s: %s %s", name, r.stdout, r.stderr)
	}
	assert.NotZero(t, run(args("check %s --model %s --data %s", certs, f.model, f.data)...).code)

	info := document(t, 0, "info", path("tiles"))
	assert.Equal(t, doc["hash"], info["hash"])
	assert.Equal(t, "BF16", info["weights"].([]any)[1].(map[string]any)["type"])
	r := run("info", path("tiles"))
	assert.Zero(t, r.code)
	assert.Contains(t, r.stdout, "layers.2.tiles")
	assert.Contains(t, run("convert", f.model, "--weights", "f16", "--out", path("f16")).stdout, "of the largest weight")
	// Training goes on from any storage.
	r = run(args("train --arch %s --data %s --epochs 1 --batch 50 --out %s", path("tiles"), f.data, path("t"))...)
	assert.Zero(t, r.code, r.stderr)
}

func TestConvertErrors(t *testing.T) {
	f := newFiles(t)
	m, err := model.Load(f.model)
	require.NoError(t, err)
	m.Params[2].W[3] = 1e5
	large := filepath.Join(f.dir, "large.safetensors")
	require.NoError(t, m.Save(large))
	out := filepath.Join(f.dir, "x.safetensors")
	for _, c := range []struct {
		want string
		args []string
	}{
		{"MODEL", []string{"--out", out}},
		{"--out", []string{f.model}},
		{"safetensors", []string{f.model, "--out", f.dir + "/x.onnx"}},
		{"--weights", []string{f.model, "--out", out, "--weights", "int8"}},
		{"--weights", []string{f.model, "--out", out, "--weights", "BF16"}},
		{"--layers", []string{f.model, "--out", out, "--layers", "conv"}},
		{"--layout", []string{f.model, "--out", out, "--layout", "columns"}},
		{"layers.2.weight[3]: got 100000, too large for F16", []string{large, "--out", out, "--weights", "f16"}},
		{"none.safetensors", []string{"none.safetensors", "--out", out}},
	} {
		r := run(append([]string{"convert"}, c.args...)...)
		assert.Equal(t, 2, r.code, c.args)
		assert.Contains(t, r.stderr, c.want)
	}
	_, err = os.Stat(out)
	assert.ErrorIs(t, err, os.ErrNotExist)
	assert.Equal(t, 2, run("info", "none.safetensors").code)
	assert.Equal(t, 2, run("info", "a", "b").code)
}
