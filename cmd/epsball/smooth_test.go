package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/epsball/epsball/dataset"
	"github.com/epsball/epsball/report"
)

// eightBits writes the images of f rounded to 8 bits, and returns the file's name.
func eightBits(t *testing.T, f files) string {
	s, err := dataset.Load(f.data)
	require.NoError(t, err)
	y := make([]int64, len(s.Y))
	for i, v := range s.Y {
		y[i] = int64(v)
	}
	for i, v := range s.X {
		s.X[i] = float32(int(v*255)) / 255
	}
	path := filepath.Join(f.dir, "eight.npz")
	writeNPZ(t, path, s.X, y, []int{len(y), 1, 6, 6})
	return path
}

// TestSmooth: the three modes, and that nothing of them looks like a proof.
func TestSmooth(t *testing.T) {
	f := newFiles(t)
	line := args("smooth --model %s --data %s --sigma 0.02", f.model, eightBits(t, f))
	smooth := func(more string) *report.Smooth {
		r := run(append(append([]string{}, line...), strings.Fields(more+" --json")...)...)
		require.Equal(t, 0, r.code, r.stderr)
		assert.NotContains(t, r.stdout, `certified`)
		v, err := report.Read(strings.NewReader(r.stdout))
		require.NoError(t, err)
		return v.(*report.Smooth)
	}
	all := smooth("--samples 200")
	require.Equal(t, 100, all.N)
	assert.InDelta(t, 1, *all.Smoothed+*all.Wrong+*all.Abstained, 1e-12)
	assert.Greater(t, *all.Smoothed, 0.4)
	assert.Greater(t, *all.Wrong, 0.0, "labels that are wrong")
	assert.InDelta(t, 0.1, all.AlphaAll, 1e-12)
	assert.Equal(t, 300., *all.Drawn)
	assert.Equal(t, *all.Smoothed, all.Curve[0].Fraction)
	assert.LessOrEqual(t, *all.MeanRadius, all.Largest)
	for i, m := range all.Images {
		require.Equal(t, i, m.Index)
		require.Equal(t, m.Class < 0, m.Radius == 0)
	}

	one := smooth("--samples 4000 --radius 1/100")
	assert.Equal(t, "1/100", one.RadiusExact)
	assert.Less(t, *one.Drawn, 2000.)
	assert.Nil(t, one.MeanRadius)
	class := smooth("--predict")
	assert.Equal(t, 1000, class.Samples)
	assert.Greater(t, *class.Smoothed, *one.Smoothed-0.1)

	part := smooth("--samples 200 --offset 30 --n 5 --threads 1")
	assert.Equal(t, all.Images[30:35], part.Images, "an image has the same samples in any part of the data")

	text := run(append(append([]string{}, line...), "--predict")...)
	assert.Contains(t, text.stdout, "no proof")
	assert.Contains(t, text.stdout, "n = 100")
}

// TestSmoothResume: cut anywhere, a file goes on to the same lines; what does not belong is
// named.
func TestSmoothResume(t *testing.T) {
	f := newFiles(t)
	out := filepath.Join(f.dir, "s.jsonl")
	line := args("smooth --model %s --data %s --sigma 0.02 --n 20 --samples 100 --json --out %s", f.model, eightBits(t, f), out)
	first := run(line...)
	require.Equal(t, 0, first.code, first.stderr)
	whole, err := os.ReadFile(out)
	require.NoError(t, err)
	require.Equal(t, 20, bytes.Count(whole, []byte("\n")))
	want := images(t, first)
	r := run(line...)
	require.Equal(t, 2, r.code)
	require.Contains(t, r.stderr, "--resume")
	for _, cut := range []int{0, 1, len(whole) / 3, len(whole) - 1, len(whole)} {
		require.NoError(t, os.WriteFile(out, whole[:cut], 0o666))
		r := run(append(line[:len(line):len(line)], "--resume")...)
		require.Equal(t, 0, r.code, r.stderr)
		require.JSONEq(t, want, images(t, r))
		require.Equal(t, whole, readFile(t, out))
	}
	for change, want := range map[string]string{
		"--alpha 0.01":       `line 1: run: got "certify, sigma 0.02, samples 100, alpha 0.001, seed 1, select 100"`,
		"--seed 2":           `line 1: run: got`,
		"--radius 0.1":       `line 1: run: got`,
		"--model " + f.other: `line 1: model: got`,
		"--defence bits":     `line 1: run: got`,
	} {
		changed := line
		if strings.HasPrefix(change, "--model") {
			changed = args("smooth --data %s --sigma 0.02 --n 20 --samples 100 --out %s", filepath.Join(f.dir, "eight.npz"), out)
		}
		r := run(append(append(changed[:len(changed):len(changed)], "--resume"), strings.Fields(change)...)...)
		require.Equal(t, 2, r.code)
		require.Contains(t, r.stderr, want)
		kept, err := os.ReadFile(out)
		require.NoError(t, err)
		require.Len(t, kept, len(whole))
	}
	stream := run(args("smooth --model %s --data %s --sigma 0.02 --n 3 --samples 100 --out -", f.model, filepath.Join(f.dir, "eight.npz"))...)
	require.Equal(t, 0, stream.code, stream.stderr)
	require.Equal(t, 3, strings.Count(stream.stdout, `{"format":"epsball-smooth"`))
	require.Contains(t, stream.stderr, "no proof")
}

// images are those of a document.
func images(t *testing.T, r result) string {
	var d struct {
		Images json.RawMessage `json:"images"`
	}
	require.NoError(t, json.Unmarshal([]byte(r.stdout), &d))
	return string(d.Images)
}

func TestSmoothErrors(t *testing.T) {
	f := newFiles(t)
	base := "smooth --model " + f.model + " --data " + f.data
	for more, want := range map[string]string{
		"":                                 "--sigma: required",
		"--sigma 0":                        "--sigma",
		"--sigma 5":                        "sigma: got 5",
		"--sigma 0.1":                      "images: image 0: pixel 0 is",
		"--sigma 0.1 --alpha 2":            "--alpha: got 2",
		"--sigma 0.1 --alpha nan":          "--alpha: got NaN",
		"--sigma 0.1 --samples 0":          "--samples: got 0",
		"--sigma 0.1 --select -1":          "--select: got -1",
		"--sigma 0.1 --predict --radius 1": "--predict and --radius",
		"--sigma 0.1 --predict --select 5": "--select: has no meaning",
		"--sigma 0.1 --resume":             "--resume: has no meaning without --out",
		"--sigma 0.1 --radius 3":           "radius: got 3, which no number of samples",
		"--sigma 0.1 --defence noise":      "--defence: draws random numbers",
	} {
		r := run(strings.Fields(base + " " + more)...)
		require.Equal(t, 2, r.code, more)
		require.Contains(t, r.stderr, want, more)
	}
	require.Contains(t, run("smooth", "--sigma", "1").stderr, "--model: required")
	r := run(args("smooth --model %s --data %s --sigma 0.1 --winograd", f.model, eightBits(t, f))...)
	require.Equal(t, 2, r.code)
	require.Contains(t, r.stderr, "winograd: the network has no layer for it")
}
