package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/epsball/epsball/internal/formats"
	"github.com/epsball/epsball/kernels"
)

// What PyTorch writes by default: most weights are in another file.
const (
	externalNet  = "torch_dynamo_mlp.onnx"
	externalData = externalNet + ".data"
)

// external is a folder with such a network, and data that it classifies.
type external struct{ dir, model, data string }

func newExternal(t *testing.T) external {
	t.Helper()
	dir := t.TempDir()
	e := external{dir: dir, model: filepath.Join(dir, externalNet), data: filepath.Join(dir, "d.npz")}
	for _, name := range []string{externalNet, externalData} {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), goldenONNX(t, name), 0o600))
	}
	m, err := formats.Load(e.model)
	require.NoError(t, err)
	const n = 8
	x := make([]float32, n*m.Arch.Input.Size())
	s := kernels.NewStream(7, 0, 0)
	for i := range x {
		x[i] = s.Float32()
	}
	y := make([]int64, n)
	for i, p := range predicted(t, m, x, n) {
		y[i] = int64(p)
	}
	writeNPZ(t, e.data, x, y, []int{n, 2, 3, 3})
	return e
}

func goldenONNX(t *testing.T, name string) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("..", "..", "testdata", "golden", "onnx", name))
	require.NoError(t, err)
	return data
}

// TestExternalData: every command takes a network whose weights are beside it, and says
// of it what it says of the imported one.
func TestExternalData(t *testing.T) {
	e := newExternal(t)
	path := func(name string) string { return filepath.Join(e.dir, name) }
	in := document(t, 0, "import", e.model, "--out", path("m.safetensors"))
	assert.EqualValues(t, 18*16+16+16*3+3, in["parameters"])
	assert.Contains(t, in["source"], "pytorch")
	for _, line := range []string{"eval --eps 0.01", "attack --eps 0.1", "certify --eps 0.01", "certify --eps 0.01 --method crown"} {
		a := document(t, 0, args("%s --data %s --model %s", line, e.data, e.model)...)
		b := document(t, 0, args("%s --data %s --model %s", line, e.data, path("m.safetensors"))...)
		for _, doc := range []map[string]any{a, b} {
			delete(doc, "model")
			delete(doc["epsball"].(map[string]any)["models"].([]any)[0].(map[string]any), "name")
			if list, ok := doc["results"].([]any); ok {
				delete(list[0].(map[string]any), "model")
			}
		}
		assert.Equal(t, stable(b), stable(a), line)
	}
	certs := path("c.jsonl")
	require.Zero(t, run(args("certify --eps 0.01 --data %s --model %s --out %s", e.data, e.model, certs)...).code)
	for _, m := range []string{e.model, path("m.safetensors")} {
		r := run(args("check %s --data %s --model %s", certs, e.data, m)...)
		assert.Zero(t, r.code, r.stderr)
	}
	out := document(t, 0, "export", e.model, "--out", path("one.onnx"))
	assert.Equal(t, in["hash"], out["hash"])
	require.NoError(t, os.Remove(path(externalData)))
	assert.Equal(t, in["hash"], document(t, 0, "import", path("one.onnx"), "--out", path("again.safetensors"))["hash"])
}

// TestBadExternalData: whatever is wrong with the other file, or with where the network
// says that it is, is one line that names file, tensor and what was expected.
func TestBadExternalData(t *testing.T) {
	const oneFile = "torch.onnx.export(..., external_data=False)"
	named := func(location string) func(*testing.T, external) {
		return func(t *testing.T, e external) {
			require.Len(t, location, len(externalData)) // as long, since a length stands before it
			data := bytes.ReplaceAll(goldenONNX(t, externalNet), []byte(externalData), []byte(location))
			require.NoError(t, os.WriteFile(e.model, data, 0o600))
		}
	}
	for name, c := range map[string]struct {
		damage func(t *testing.T, e external)
		want   []string
	}{
		"missing": {
			func(t *testing.T, e external) { require.NoError(t, os.Remove(filepath.Join(e.dir, externalData))) },
			[]string{externalData, "no such file beside the model", oneFile},
		},
		"cut": {
			func(t *testing.T, e external) {
				require.NoError(t, os.Truncate(filepath.Join(e.dir, externalData), 1000))
			},
			[]string{externalData, "got a file of 1000 bytes", "expected 1152 from byte 0 on"},
		},
		"empty": {
			func(t *testing.T, e external) { require.NoError(t, os.Truncate(filepath.Join(e.dir, externalData), 0)) },
			[]string{externalData, "got a file of 0 bytes"},
		},
		"above":    {named("../torch_dynamo_mlp.onnx.d"), []string{`location: got "../torch`, "expected the name of a file in the model's folder"}},
		"absolute": {named("/etc/../etc/../etc//passwd"), []string{`location: got "/etc`, "expected the name"}},
		"below":    {named("folder/ch_dynamo_mlp.onnx."), []string{`location: got "folder`, "expected the name"}},
		"windows":  {named(`..\torch_dynamo_mlp.onnx.d`), []string{"location: got", "expected the name"}},
		"link": {
			func(t *testing.T, e external) {
				file := filepath.Join(e.dir, externalData)
				outside := filepath.Join(t.TempDir(), "data")
				require.NoError(t, os.Rename(file, outside))
				if err := os.Symlink(outside, file); err != nil {
					t.Skip("no symbolic links here")
				}
			},
			[]string{externalData, "got a file that cannot be opened", oneFile},
		},
		"folder": {
			func(t *testing.T, e external) {
				require.NoError(t, os.Remove(filepath.Join(e.dir, externalData)))
				require.NoError(t, os.Mkdir(filepath.Join(e.dir, externalData), 0o700))
			},
			[]string{externalData, "expected a regular file"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			e := newExternal(t)
			c.damage(t, e)
			out := filepath.Join(e.dir, "x.safetensors")
			for _, line := range []string{
				"import " + e.model + " --out " + out, "convert " + e.model + " --out " + out, "info " + e.model,
				"eval --data " + e.data + " --model " + e.model, "attack --eps 0.1 --data " + e.data + " --model " + e.model,
				"certify --eps 0.1 --data " + e.data + " --model " + e.model, "train --arch " + e.model + " --data " + e.data + " --out " + out,
			} {
				r := run(args("%s", line)...)
				assert.Equal(t, exitBadInput, r.code, line)
				assert.Empty(t, r.stdout, line)
				assert.Equal(t, 1, strings.Count(r.stderr, "\n"), r.stderr)
				for _, w := range append(c.want, e.model, `tensor "1.weight": external data`) {
					assert.Contains(t, r.stderr, w, line)
				}
				assert.NoFileExists(t, out)
			}
		})
	}
}
