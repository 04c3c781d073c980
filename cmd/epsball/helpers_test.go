package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/epsball/epsball/dataset"
	"github.com/epsball/epsball/internal/atomicfile"
	"github.com/epsball/epsball/internal/input"
	"github.com/epsball/epsball/kernels"
	"github.com/epsball/epsball/model"
	"github.com/epsball/epsball/net"
)

// classes of the test models.
const classes = 10

func smallArch() *model.Architecture {
	return &model.Architecture{Name: "small", Input: model.Shape{C: 1, H: 6, W: 6}, Layers: []model.Layer{
		{Kind: model.Conv, Out: 4, Kernel: [2]int{3, 3}, Stride: [2]int{1, 1}},
		{Kind: model.ReLU},
		{Kind: model.FC, Out: classes},
	}}
}

func smallModel(t *testing.T, seed uint64) *model.Model {
	m, err := model.Random(smallArch(), seed)
	require.NoError(t, err)
	return m
}

// files are what most tests read.
type files struct {
	dir   string
	model string // a small model
	other string // another one, which says class 9 whatever it sees
	data  string // images with the labels the model predicts, a few of them wrong
	wrong int    // number of wrong labels
	n     int
}

func newFiles(t *testing.T) files {
	dir := t.TempDir()
	f := files{dir: dir, model: filepath.Join(dir, "m.safetensors"), other: filepath.Join(dir, "nine.safetensors"), data: filepath.Join(dir, "d.npz"), n: 100}
	m := smallModel(t, 1)
	require.NoError(t, m.Save(f.model))
	nine := smallModel(t, 2)
	nine.Params[2].B[9] = 100
	require.NoError(t, nine.Save(f.other))

	x := make([]float32, f.n*m.Arch.Input.Size())
	s := kernels.NewStream(7, 0, 0)
	for i := range x {
		x[i] = s.Float32()
	}
	y := make([]int64, f.n)
	for i, p := range predicted(t, m, x, f.n) {
		y[i] = int64(p)
		if i%10 == 3 {
			y[i] = int64((p + 1) % 9)
			f.wrong++
		}
		if y[i] == 9 { // never what the other model says
			y[i] = 0
			if p != 0 && i%10 != 3 {
				f.wrong++
			}
		}
	}
	writeNPZ(t, f.data, x, y, []int{f.n, 1, 6, 6})
	return f
}

func predicted(t *testing.T, m *model.Model, x []float32, n int) []int {
	c, err := net.Compile(m, net.Options{})
	require.NoError(t, err)
	s := input.Subject{Net: c, Pool: kernels.NewPool(1)}
	p, err := s.Predict(context.Background(), x, n)
	require.NoError(t, err)
	return p
}

func writeNPZ(t *testing.T, path string, x []float32, y []int64, shape []int) {
	require.NoError(t, atomicfile.Write(path, func(w io.Writer) error {
		return dataset.WriteNPZ(w, []dataset.NamedArray{
			{Name: "x", Shape: shape, Data: x}, {Name: "y", Shape: []int{len(y)}, Data: y},
		})
	}))
}

// result is what a command line left behind.
type result struct {
	code           int
	stdout, stderr string
}

// runWith runs a command line in this process, with one built-in model.
func runWith(ctx context.Context, args ...string) result {
	var out, errs bytes.Buffer
	code := newTestApp(&out, &errs).run(ctx, args)
	return result{code, out.String(), errs.String()}
}

func newTestApp(stdout, stderr io.Writer) *app {
	a := newApp(stdout, stderr)
	names := func() []string { return []string{"small"} }
	a.models = input.Library{
		Names: names, Overview: names,
		Read: func(string) (*model.Model, error) { return model.Random(smallArch(), 1) },
	}
	return a
}

func run(args ...string) result { return runWith(context.Background(), args...) }

// document runs a command line with --json and returns the one document.
func document(t *testing.T, code int, args ...string) map[string]any {
	r := run(append(args, "--json")...)
	require.Equal(t, code, r.code, "%v\n%s", args, r.stderr)
	return r.document(t)
}

func (r result) document(t *testing.T) map[string]any {
	d := json.NewDecoder(strings.NewReader(r.stdout))
	var doc map[string]any
	require.NoError(t, d.Decode(&doc), r.stderr)
	_, err := d.Token()
	require.ErrorIs(t, err, io.EOF, "more than one document")
	return doc
}

func keys(doc any) []string { return slices.Sorted(maps.Keys(doc.(map[string]any))) }

// stable removes what may differ from run to run.
func stable(doc any) any {
	switch v := doc.(type) {
	case map[string]any:
		for _, k := range []string{"seconds", "timings", "images_per_s", "threads", "isa"} {
			delete(v, k)
		}
		for _, e := range v {
			stable(e)
		}
	case []any:
		for _, e := range v {
			stable(e)
		}
	}
	return doc
}

func readFile(t *testing.T, path string) []byte {
	b, err := os.ReadFile(path)
	require.NoError(t, err)
	return b
}

// override splits a line, of whose single-valued flags only the last may be given:
// tables of tests append to a base line.
func override(line string) []string {
	var out []string
	fields := strings.Fields(line)
	lists := slices.Contains([]string{"eval", "bench", "report"}, fields[0]) // which take several models
	for i := 0; i < len(fields); i++ {
		f := fields[i]
		pair := strings.HasPrefix(f, "--") && !strings.Contains(f, "=") && i+1 < len(fields) && !strings.HasPrefix(fields[i+1], "--")
		name, _, _ := strings.Cut(f, "=")
		again := slices.ContainsFunc(fields[i+1:], func(s string) bool { return s == name || strings.HasPrefix(s, name+"=") })
		if strings.HasPrefix(f, "--") && !(lists && (f == "--model" || fields[0] == "report" && f == "--attack")) && again {
			if pair {
				i++
			}
			continue
		}
		out = append(out, f)
	}
	return out
}

func args(format string, a ...any) []string { return strings.Fields(fmt.Sprintf(format, a...)) }

func or(s, empty string) string {
	if s == "" {
		return empty
	}
	return s
}
