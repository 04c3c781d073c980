package main

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/epsball/epsball/kernels"
	"github.com/epsball/epsball/model"
	"github.com/epsball/epsball/report"
)

// TestMain lets bench --edge start this program as its worker, as it starts the
// real one.
func TestMain(m *testing.M) {
	if len(os.Args) == 2 && os.Args[1] == edgeWorker {
		os.Exit(newApp(os.Stdout, os.Stderr).run(context.Background(), os.Args[1:]))
	}
	if os.Getenv(testCommand) != "" {
		if every, err := time.ParseDuration(os.Getenv(testSaveEvery)); err == nil {
			saveEvery = every
		}
		main()
	}
	os.Exit(m.Run())
}

// edgeRows returns the rows of a document of --edge by name, checked.
func edgeRows(t *testing.T, doc map[string]any) map[string]map[string]any {
	rows := map[string]map[string]any{}
	for _, row := range doc["rows"].([]any) {
		r := row.(map[string]any)
		number := func(key string) float64 { require.Contains(t, r, key); return r[key].(float64) }
		assert.Equal(t, string(report.RowEdge), r["kind"])
		assert.NotEmpty(t, r["version"], r["name"])
		for _, k := range []string{"seconds", "fastest", "images_per_s", "load", "first", "startup", "calls", "repeats", "peak_gflops"} {
			assert.Positive(t, number(k), "%s of %s", k, r["name"])
		}
		assert.LessOrEqual(t, number("fastest"), number("seconds"))
		assert.LessOrEqual(t, number("seconds"), number("p95"))
		assert.LessOrEqual(t, number("p95"), number("p99"))
		assert.LessOrEqual(t, number("p99"), number("slowest"))
		if runtime.GOOS == "linux" {
			assert.Positive(t, number("base_rss"))
			assert.Positive(t, number("rss"))
			assert.GreaterOrEqual(t, number("max_rss"), number("base_rss"))
			assert.Positive(t, number("library_bytes"))
		}
		if r["runtime"] == "epsball" {
			assert.Zero(t, number("allocs"), r["name"])
			assert.Equal(t, number("threads")-1, number("goroutines"), r["name"]) // the caller works, too
			assert.Positive(t, number("weight_bytes"))
		}
		rows[r["name"].(string)+" "+r["isa"].(string)] = r
	}
	return rows
}

func TestEdge(t *testing.T) {
	stored := []string{"tiles", "bf16"} // files used where they lie
	f := newFiles(t)
	doc := document(t, 0, args("bench --edge --model %s --time 10ms --threads 2 --isa all", f.model)...)
	rows := edgeRows(t, doc)
	require.Len(t, rows, 2*(len(kernels.Available())+len(stored)))
	isa := " " + doc["isa"].(string)
	for _, variant := range stored { // holds no more than the biases and plans
		assert.Less(t, rows["edge/m/b1/t1/"+variant+isa]["weight_bytes"], rows["edge/m/b1/t1"+isa]["weight_bytes"])
	}
	assert.Positive(t, rows["edge/m/b1/t2"+isa]["speedup"])
	assert.NotContains(t, rows["edge/m/b1/t1"+isa], "ratio")
	for _, i := range kernels.Available() {
		if i.Name() != doc["isa"] {
			assert.Positive(t, rows["edge/m/b1/t1 "+i.Name()]["ratio"])
		}
	}
	assert.NotContains(t, doc, "python")
	assert.NotContains(t, doc, "absent")
	assert.Empty(t, doc["skipped"])
}

// Without --model the three presets, without --threads one thread.
func TestEdgePresets(t *testing.T) {
	r := run(args("bench --edge --time 2ms --filter (small|medium)/ --no-pin")...)
	require.Zero(t, r.code, r.stderr)
	for _, want := range []string{
		"edge/mnist-small/b1/t1 ", "p99", "start-up", "RSS", "allocs", "goroutines", "start of the process to its first answer\n",
	} {
		assert.Contains(t, r.stdout, want)
	}
	assert.NotContains(t, r.stdout, "/t2")
	assert.NotContains(t, r.stdout, "call-overhead")
	assert.NotContains(t, r.stdout, "Python")
}

func TestEdgeFormats(t *testing.T) {
	f := newFiles(t)
	plot := filepath.Join(f.dir, "r.svg")
	r := run(args("bench --edge --model %s --time 2ms --benchstat --plot %s", f.model, plot)...)
	require.Zero(t, r.code, r.stderr)
	assert.Regexp(t, `(?m)^BenchmarkEdge/m/b1/t1\t\d+\t[0-9.]+ ns/op\t`, r.stdout)
	classes, texts := elements(t, string(readFile(t, plot)))
	assert.Equal(t, 1, classes["point"])
	assert.Contains(t, texts, "edge/m/b1/t1:")
}

func TestEdgeFlags(t *testing.T) {
	f := newFiles(t)
	missing := filepath.Join(f.dir, "python")
	for want, line := range map[string]string{
		"--peers: only with --edge":        "bench --peers python3",
		"--batch: not with --edge":         "bench --edge --batch 1",
		"--layers: not with --edge":        "bench --edge --layers",
		"--winograd: not with --edge":      "bench --edge --winograd",
		"--kernels: not with --edge":       "bench --edge --kernels",
		"--peers: ":                        "bench --edge --peers " + missing,
		"is called edge/m/b1/t1":           "bench --edge --filter nothing --model " + f.model,
		"--model: two models are called m": "bench --edge --model " + f.model + " --model " + f.model,
	} {
		r := run(strings.Fields(line)...)
		assert.Equal(t, exitBadInput, r.code, line)
		assert.Contains(t, r.stderr, want, line)
	}
	// A program that is no Python.
	r := run(args("bench --edge --time 1ms --model %s --peers go", f.model)...)
	assert.Equal(t, exitBadInput, r.code)
	assert.Contains(t, r.stderr, "--peers: ")
}

// Stopped in the middle, it says so and leaves no process behind that is waited for.
func TestEdgeInterrupted(t *testing.T) {
	f := newFiles(t)
	ctx, cancel := context.WithTimeout(context.Background(), 300*time.Millisecond)
	defer cancel()
	r := runWith(ctx, args("bench --edge --time 1m --model %s", f.model)...)
	assert.Equal(t, exitUndecided, r.code, r.stderr)
	assert.Contains(t, r.stderr, "interrupted: 0 of 3 rows done")
}

// peersOf returns a Python interpreter with numpy and onnx, and the runtimes it has.
func peersOf(t *testing.T) (python string, have map[string]bool) {
	python = or(os.Getenv("EPSBALL_PYTHON"), "python3")
	imports := func(modules string) bool { return exec.Command(python, "-c", "import "+modules).Run() == nil }
	if !imports("numpy, onnx") {
		t.Skip("no Python with numpy and onnx (EPSBALL_PYTHON)")
	}
	have = map[string]bool{"onnxruntime": imports("onnxruntime"), "ncnn": imports("ncnn"), "litert": imports("ai_edge_litert, flatbuffers")}
	if !have["onnxruntime"] && !have["ncnn"] && !have["litert"] {
		t.Skip("no other runtime is installed")
	}
	return python, have
}

// Real runtimes get every kind of layer right, or are told to be absent.
func TestEdgePeers(t *testing.T) {
	python, have := peersOf(t)
	conv := func(out, kernel, stride, pad int) model.Layer {
		return model.Layer{Kind: model.Conv, Out: out, Kernel: [2]int{kernel, kernel}, Stride: [2]int{stride, stride}, Padding: [2]int{pad, pad}}
	}
	relu := model.Layer{Kind: model.ReLU}
	line := "bench --edge --time 2ms --peers " + python
	for name, arch := range map[string]*model.Architecture{
		"pads": {Name: "x", Input: model.Shape{C: 3, H: 9, W: 8}, Layers: []model.Layer{
			{Kind: model.Normalize, Mean: []float32{0.5, 0.4, 0.3}, Std: []float32{0.2, 0.3, 0.4}},
			conv(8, 3, 1, 1), relu, conv(8, 3, 2, 1), relu, conv(6, 2, 1, 1),
			{Kind: model.FC, Out: 7},
			relu,
			{Kind: model.FC, Out: 3},
		}},
		"residual": {Name: "x", Input: model.Shape{C: 2, H: 6, W: 6}, Layers: []model.Layer{
			conv(5, 3, 1, 1), relu, conv(5, 3, 1, 1), relu, conv(5, 3, 1, 1), {Kind: model.Add, Inputs: []int{4, 1}}, relu, {Kind: model.FC, Out: 3},
		}},
	} {
		m, err := model.Random(arch, 1)
		require.NoError(t, err)
		path := filepath.Join(t.TempDir(), name+".safetensors")
		require.NoError(t, m.Save(path))
		line += " --model " + path
	}
	doc := document(t, 0, strings.Fields(line)...)
	rows := edgeRows(t, doc)
	assert.Empty(t, doc["skipped"])
	assert.NotEmpty(t, doc["python"].(map[string]any)["version"])
	absent := map[string]bool{}
	if list, ok := doc["absent"]; ok {
		for _, a := range list.([]any) {
			absent[a.(map[string]any)["runtime"].(string)] = true
		}
	}
	for name, there := range have {
		t.Run(name, func(t *testing.T) {
			assert.Equal(t, !there, absent[name])
			for _, net := range []string{"pads", "residual"} {
				r := rows["edge/"+net+"/b1/t1/"+name+" "]
				assert.Equal(t, there, r != nil, net)
				if r != nil {
					assert.Positive(t, r["ratio"])
					assert.Positive(t, r["interpreter"])
				}
			}
			if !there {
				t.Skipf("%s lacks %s: all that was tested is that bench says so", python, name)
			}
		})
	}
}
