package main

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/epsball/epsball/internal/onnx"
	"github.com/epsball/epsball/model"
)

// TestImportNormalize: a network gets its normalize layer.
func TestImportNormalize(t *testing.T) {
	f := newFiles(t)
	path := func(name string) string { return filepath.Join(f.dir, name) }
	document(t, 0, "export", f.model, "--out", path("m.onnx"))
	in := document(t, 0, "import", path("m.onnx"), "--mean", "0.1307", "--std", "0.3081", "--out", path("n.safetensors"))
	assert.EqualValues(t, 4, in["layers"])
	m, err := model.Load(path("n.safetensors"))
	require.NoError(t, err)
	assert.Equal(t, model.Normalize, m.Arch.Layers[0].Kind)
	for _, c := range [][]string{
		{"--mean", "0.1"}, {"--mean", "0.1,0.2", "--std", "1,1"}, {"--mean", "0.1", "--std", "0"}, {"--mean", "x", "--std", "1"},
	} {
		r := run(append([]string{"import", path("m.onnx"), "--out", path("x.safetensors")}, c...)...)
		assert.Equal(t, 2, r.code, c)
		assert.NotEmpty(t, r.stderr)
	}
}

// TestExportImport: there and back is the same file, and a command says the same of
// either.
func TestExportImport(t *testing.T) {
	f := newFiles(t)
	path := func(name string) string { return filepath.Join(f.dir, name) }
	out := document(t, 0, "export", f.model, "--out", path("m.onnx"))
	in := document(t, 0, "import", path("m.onnx"), "--out", path("back.safetensors"))
	assert.Equal(t, readFile(t, f.model), readFile(t, path("back.safetensors")))
	assert.Equal(t, []string{"epsball", "hash", "input", "layers", "macs", "model", "name", "out", "outputs", "parameters"}, keys(in))
	for _, k := range []string{"hash", "input", "layers", "macs", "name", "outputs", "parameters"} {
		assert.Equal(t, out[k], in[k])
	}
	assert.EqualValues(t, 3, in["layers"])
	assert.EqualValues(t, 4*9+4+64*10+10, in["parameters"])

	line := "eval --data " + f.data + " --eps 0.01 --model "
	a := document(t, 0, args("%s", line+f.model)...)
	b := document(t, 0, args("%s", line+path("m.onnx"))...)
	assert.Equal(t, "m", b["results"].([]any)[0].(map[string]any)["model"])
	assert.Equal(t, stable(a), stable(b))

	require.Zero(t, run("export", "builtin:small", "--out", path("b.onnx")).code)
	assert.Equal(t, readFile(t, path("m.onnx")), readFile(t, path("b.onnx")))
	r := run("import", path("b.onnx"), "--out", path("b.safetensors"))
	assert.Contains(t, r.stdout, "parameters     690")
	// Training may start from it.
	train := args("train --arch %s --data %s --epochs 1 --batch 50 --out %s", path("m.onnx"), f.data, path("t.safetensors"))
	assert.Zero(t, run(train...).code, "%v", run(train...).stderr)
}

// TestImportBatchNorm: batch norms are folded on import, or kept, and then folded on
// export; reports and cards say so.
func TestImportBatchNorm(t *testing.T) {
	dir := t.TempDir()
	path := func(name string) string { return filepath.Join(dir, name) }
	net := filepath.Join("..", "..", "testdata", "golden", "layers", "conv_batch_norm.kept.onnx.gz")
	folded := document(t, 0, "import", net, "--out", path("folded.safetensors"))
	assert.Contains(t, folded["notes"], "after taking in BatchNormalization")
	kept := document(t, 0, "import", net, "--keep-batchnorm", "--out", path("kept.safetensors"))
	assert.EqualValues(t, 2, folded["layers"])
	assert.EqualValues(t, 3, kept["layers"])
	assert.NotContains(t, kept, "notes")
	out := document(t, 0, "export", path("kept.safetensors"), "--out", path("kept.onnx"))
	assert.Equal(t, kept["hash"], out["hash"])
	assert.NotContains(t, out, "folded")
	out = document(t, 0, "export", path("kept.safetensors"), "--fold", "--out", path("folded.onnx"))
	assert.Equal(t, folded["hash"], out["hash"])
	assert.Equal(t, []any{2.}, out["folded"])
	assert.Contains(t, run("export", path("kept.safetensors"), "--fold", "--out", path("f.onnx")).stdout, "batch norms of layers 2")
	m, err := onnx.Load(path("folded.onnx"))
	require.NoError(t, err)
	assert.Equal(t, kept["hash"], m.Card[cardRounded])

	soft := filepath.Join("..", "..", "testdata", "golden", "layers", "softmax.script.onnx.gz")
	in := document(t, 0, "import", soft, "--out", path("soft.safetensors"))
	assert.Contains(t, in["notes"], "dropped: the outputs are the logits before it")
	assert.Contains(t, run("import", soft, "--out", path("s.safetensors")).stdout, "the outputs are the logits before it")
	r := run("import", path("none.onnx"), "--keep-batchnorm", "--out", path("x.safetensors"))
	assert.Equal(t, exitBadInput, r.code)
	assert.Contains(t, r.stderr, "none.onnx")
}

// TestVectorInput: a network of vectors takes images of as many pixels.
func TestVectorInput(t *testing.T) {
	f := newFiles(t)
	m, err := model.Load(f.model)
	require.NoError(t, err)
	size := m.Arch.Input.Size()
	arch := &model.Architecture{Input: model.Shape{C: size, H: 1, W: 1}, Layers: []model.Layer{{Kind: model.FC, Out: classes}}}
	m, err = model.Random(arch, 1)
	require.NoError(t, err)
	data, err := onnx.Encode(m)
	require.NoError(t, err)
	path := filepath.Join(f.dir, "vector.onnx")
	require.NoError(t, os.WriteFile(path, data, 0o666))
	adv := filepath.Join(f.dir, "adv.npz")
	document(t, 0, args("attack --model %s --data %s --eps 0.1 --out %s", path, f.data, adv)...)
	// The adversarial images fit the same network.
	document(t, 0, args("attack --model %s --data %s --eps 0.1", path, adv)...)
}

func TestBadONNX(t *testing.T) {
	f := newFiles(t)
	path := func(name string) string { return filepath.Join(f.dir, name) }
	pool := filepath.Join("..", "..", "testdata", "golden", "onnx", "refused", "uneven_pool.onnx")
	require.Zero(t, run("export", f.model, "--out", path("m.onnx")).code)
	whole := readFile(t, path("m.onnx"))
	require.NoError(t, os.WriteFile(path("cut.onnx"), whole[:len(whole)-9], 0o666))
	require.NoError(t, os.WriteFile(path("plain.onnx.gz"), whole, 0o666))
	single := filepath.Join("..", "..", "testdata", "golden", "onnx", "conv_valid.onnx")
	for _, c := range []struct {
		line string
		want []string
	}{
		{"import", []string{"import", "NET.onnx", "required"}},
		{"import a.onnx b.onnx --out x.safetensors", []string{"unexpected argument", "b.onnx"}},
		{"import " + f.model + " --out " + path("x.safetensors"), []string{f.model, ".onnx"}},
		{"import " + path("m.onnx"), []string{"--out", "required"}},
		{"import " + path("m.onnx") + " --out " + path("x.onnx"), []string{"--out", "x.onnx", ".safetensors"}},
		{"import " + path("m.onnx") + " --out " + path("no/x.safetensors"), []string{"--out", "no/x.safetensors", "no folder"}},
		{"import " + path("none.onnx") + " --out " + path("x.safetensors"), []string{"none.onnx", "no such file"}},
		{"import " + path("cut.onnx") + " --out " + path("x.safetensors"), []string{"cut.onnx", "cut short"}},
		{"import " + path("plain.onnx.gz") + " --out " + path("x.safetensors"), []string{"plain.onnx.gz", "gzip"}},
		{"import " + pool + " --out " + path("x.safetensors"), []string{"uneven_pool.onnx", "MaxPool_1", "may be negative"}},
		{"eval --data " + f.data + " --model " + pool, []string{"uneven_pool.onnx", "MaxPool_1"}},
		{"attack --eps 0.1 --data " + f.data + " --model " + single, []string{"conv_valid.onnx", "2x7x6", "1x6x6"}},
		{"export --out " + path("x.onnx"), []string{"export", "MODEL", "required"}},
		{"export builtin:nonesuch --out " + path("x.onnx"), []string{"builtin:nonesuch"}},
		{"export " + f.model + " --out " + path("x.gz"), []string{"--out", "x.gz", ".onnx"}},
		{"train --arch " + path("cut.onnx") + " --data " + f.data + " --out " + path("o.safetensors"), []string{"cut.onnx"}},
	} {
		r := run(args("%s", c.line)...)
		assert.Equal(t, exitBadInput, r.code, c.line)
		assert.Empty(t, r.stdout, c.line)
		for _, w := range c.want {
			assert.Contains(t, r.stderr, w, c.line)
		}
		assert.NoFileExists(t, path("x.safetensors"))
		assert.NoFileExists(t, path("x.onnx"))
	}
}
