package main

import (
	"encoding/csv"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/epsball/epsball/internal/onnx"
	"github.com/epsball/epsball/model"
)

// instancesOf reads the list of a folder of property files.
func instancesOf(t *testing.T, folder string) [][]string {
	file, err := os.Open(filepath.Join(folder, "instances.csv"))
	require.NoError(t, err)
	defer file.Close()
	rows, err := csv.NewReader(file).ReadAll()
	require.NoError(t, err)
	return rows
}

// TestExportProperties: verify says unsat of each question that certify proves, sat where
// an attack fools the network, and the folder has all that it needs.
func TestExportProperties(t *testing.T) {
	f := newFiles(t)
	const n, offset = 12, 3
	radii := []string{"0.004", "8/255", "0.3"}
	seen := map[string]int{}
	for _, version := range []string{"1", "2"} {
		folder := filepath.Join(f.dir, "v"+version)
		doc := document(t, 0, args("export %s --data %s --n %d --offset %d --eps %s --vnnlib %s --timeout 7 --property %s",
			f.model, f.data, n, offset, strings.Join(radii, ","), version, folder)...)
		rows := instancesOf(t, folder)
		assert.EqualValues(t, len(rows), doc["written"])
		assert.EqualValues(t, len(rows), len(radii)*(n-int(doc["misclassified"].(float64))))
		assert.Positive(t, doc["misclassified"], "of the labels some are wrong")
		assert.Equal(t, version+".0", doc["version"])
		for _, row := range rows {
			network, property := filepath.Join(folder, row[0]), filepath.Join(folder, row[1])
			assert.Equal(t, "7", row[2])
			var image int
			var eps string
			_, err := fmt.Sscanf(strings.TrimSuffix(filepath.Base(row[1]), ".vnnlib"), "image_%d_eps_%s", &image, &eps)
			require.NoError(t, err)
			eps = strings.ReplaceAll(eps, "_", "/")
			line := []string{"verify", network, property}
			if version == "2" {
				line = []string{"verify", property, "--network", "small=" + network}
			}
			r := run(append(line, "--timeout", "20")...)
			on := fmt.Sprintf("--model %s --data %s --n 1 --offset %d --eps %s", f.model, f.data, image, eps)
			certified := document(t, 0, args("certify --method crown %s", on)...)
			attacked := document(t, 0, args("attack --steps 40 --restarts 3 --checks off %s", on)...)
			verdict, _, _ := strings.Cut(r.stdout, "\n")
			seen[verdict]++
			if certified["certified"].(float64) == 1 {
				assert.Equal(t, "unsat", verdict, "%s: %s", property, r.stderr)
				seen["certified"]++
			}
			if attacked["success"].(float64) == 1 {
				assert.Equal(t, "sat", verdict, "%s: %s", property, r.stderr)
				seen["fooled"]++
			}
		}
	}
	assert.Positive(t, seen["certified"], "%v", seen)
	assert.Positive(t, seen["fooled"], "%v", seen)
}

// TestExportPropertiesNetwork: the folder has the file that was given where reading it
// changed nothing, and one of the model's where it did.
func TestExportPropertiesNetwork(t *testing.T) {
	f := newFiles(t)
	given := filepath.Join(f.dir, "given.onnx")
	require.Zero(t, run("export", f.model, "--out", given).code)
	for i, c := range []struct {
		model, version string
		copied         bool
	}{{given, "1", true}, {given, "2", false}, {f.model, "1", false}} {
		folder := filepath.Join(f.dir, fmt.Sprint(i))
		doc := document(t, 0, args("export %s --data %s --n 2 --eps 0.1 --vnnlib %s --property %s", c.model, f.data, c.version, folder)...)
		assert.Equal(t, c.copied, doc["copied"])
		network := filepath.Join(folder, doc["network"].(string))
		m, err := onnx.Load(network)
		require.NoError(t, err)
		assert.Equal(t, smallModel(t, 1).Hash(), m.Hash())
		if c.copied {
			assert.Equal(t, readFile(t, given), readFile(t, network))
		}
	}

	// The elements of a network whose channels come last are in the order of the file that
	// goes with them.
	last := filepath.Join("..", "..", "testdata", "golden", "onnx", "normalize_channels_last.onnx")
	m, err := onnx.Load(last)
	require.NoError(t, err)
	x := make([]float32, m.Arch.Input.Size())
	for i := range x {
		x[i] = float32(i) / 64
	}
	label := predicted(t, m, x, 1)[0]
	data := filepath.Join(f.dir, "last.npz")
	writeNPZ(t, data, x, []int64{int64(label)}, []int{1, m.Arch.Input.C, m.Arch.Input.H, m.Arch.Input.W})
	folder := filepath.Join(f.dir, "last")
	doc := document(t, 0, args("export %s --data %s --channels first --eps 0 --property %s", last, data, folder)...)
	assert.Equal(t, false, doc["copied"])
	text := string(readFile(t, filepath.Join(folder, "vnnlib", "image_0_eps_0.vnnlib")))
	assert.Contains(t, text, "(assert (>= X_1 0.015625))\n(assert (<= X_1 0.015625))")
	m, err = onnx.Load(filepath.Join(folder, doc["network"].(string)))
	require.NoError(t, err)
	assert.NotContains(t, m.Card, onnx.CardOrder)
	r := run("verify", filepath.Join(folder, doc["network"].(string)), filepath.Join(folder, "vnnlib", "image_0_eps_0.vnnlib"))
	assert.Equal(t, "unsat\n", r.stdout, r.stderr)
}

// TestExportFold: batch norms are folded in the network, and in what is asked of it.
func TestExportFold(t *testing.T) {
	f := newFiles(t)
	net := filepath.Join("..", "..", "testdata", "golden", "layers", "conv_batch_norm.kept.onnx.gz")
	kept := filepath.Join(f.dir, "kept.safetensors")
	require.Zero(t, run("import", net, "--keep-batchnorm", "--out", kept).code)
	m, err := model.Load(kept)
	require.NoError(t, err)
	in := m.Arch.Input
	x := make([]float32, in.Size())
	data := filepath.Join(f.dir, "zero.npz")
	writeNPZ(t, data, x, []int64{int64(predicted(t, m, x, 1)[0])}, []int{1, in.C, in.H, in.W})
	folder := filepath.Join(f.dir, "folded")
	document(t, 0, args("export %s --fold --data %s --eps 0.1 --property %s", kept, data, folder)...)
	require.Zero(t, run("export", kept, "--fold", "--out", filepath.Join(f.dir, "folded.onnx")).code)
	assert.Equal(t, readFile(t, filepath.Join(f.dir, "folded.onnx")), readFile(t, filepath.Join(folder, "onnx", "kept.onnx")))
}

func TestExportPropertiesRefuses(t *testing.T) {
	f := newFiles(t)
	folder := filepath.Join(f.dir, "p")
	on := "export " + f.model + " --data " + f.data
	for line, want := range map[string]string{
		on + " --out " + folder + ".onnx --property " + folder:      "--out: has no meaning with --property",
		on + " --property " + folder:                                "--eps: required",
		on + " --eps 0.1 --property=":                               "--property: got nothing, want a folder",
		on + " --eps 0.1 --norm l2 --property " + folder:            "--norm: got l2, want linf",
		on + " --eps 2 --property " + folder:                        "--eps: got 2, want at most 1",
		on + " --eps 0.1 --vnnlib 3 --property " + folder:           "--vnnlib: got \"3\", want one of 1, 2",
		on + " --eps 0.1 --timeout 0 --property " + folder:          "--timeout: got 0, want seconds from 1",
		on + " --eps 0.1 --offset 1000 --property " + folder:        "--offset: got 1000",
		on + " --eps 0.1 --property " + f.data:                      "is a file, want a folder",
		on + " --eps 0.1 --property " + f.dir:                       "has what",
		"export " + f.model + " --eps 0.1 --out " + folder:          "--eps: has no meaning without --property",
		"export " + f.model + " --timeout 9 --out " + folder:        "--timeout: has no meaning without --property",
		"export none.onnx --eps 0.1 --property " + folder:           "none.onnx",
		"export " + f.model + " --data none --eps 0.1 --property x": "none",
	} {
		refused(t, line, want)
	}
	line := on + " --n 2 --eps 0.1 --property " + folder
	require.Zero(t, run(strings.Fields(line)...).code)
	refused(t, line, folder+" exists; name another folder, or replace what is in it by --force")
	require.Zero(t, run(strings.Fields(line+" --force --offset 5")...).code)
	assert.Contains(t, instancesOf(t, folder)[0][1], "image_5_eps_0.1")

	// Nothing is written if there is nothing to ask.
	empty := filepath.Join(f.dir, "empty")
	r := run(args("export %s --data %s --n 1 --offset 3 --eps 0.1 --property %s", f.model, f.data, empty)...)
	assert.Equal(t, exitUndecided, r.code)
	assert.Contains(t, r.stderr, "no image is classified as its label")
	assert.NoDirExists(t, empty)
}
