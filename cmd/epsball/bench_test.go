package main

import (
	"encoding/xml"
	"errors"
	"io"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/epsball/epsball/internal/golden"
	"github.com/epsball/epsball/internal/machine"
	"github.com/epsball/epsball/kernels"
	"github.com/epsball/epsball/model"
	"github.com/epsball/epsball/net"
	"github.com/epsball/epsball/report"
)

// rowsOf returns the rows of a document by name and kernel set, checked.
func rowsOf(t *testing.T, doc map[string]any) map[string]map[string]any {
	t.Helper()
	rows := map[string]map[string]any{}
	for _, row := range doc["rows"].([]any) {
		r := row.(map[string]any)
		must := []string{
			"batch", "bytes", "fastest", "fraction_of_peak", "gbps", "gflops", "images_per_s", "intensity", "isa", "kind",
			"name", "noisy", "peak_gflops", "repeats", "runs", "samples", "seconds", "slowest", "spread", "threads",
		}
		assert.Subset(t, keys(r), must)
		for _, k := range []string{"bytes", "fastest", "gbps", "peak_gflops", "repeats", "runs", "seconds", "slowest", "threads"} {
			assert.Positive(t, r[k], "%s of %s", k, r["name"])
		}
		if r["kind"] != string(report.RowKernel) {
			positive := []string{"batch", "images_per_s"}
			if r["fraction_of_read"] == nil {
				positive = append(positive, "fraction_of_peak", "gflops", "intensity")
				assert.InEpsilon(t, r["gflops"].(float64)/r["peak_gflops"].(float64), r["fraction_of_peak"], 1e-6)
			} else { // a layer that memory limits
				positive = append(positive, "read_gbps", "fraction_of_read")
			}
			for _, k := range positive {
				assert.Positive(t, r[k], "%s of %s", k, r["name"])
			}
		}
		assert.Equal(t, r["spread"].(float64) > report.NoisySpread, r["noisy"])
		rows[r["name"].(string)+" "+r["isa"].(string)] = r
	}
	return rows
}

func TestBench(t *testing.T) {
	f := newFiles(t)
	doc := document(t, 0, args("bench --model %s --batch 9,1 --time 1ms --threads 3", f.model)...)
	assert.Equal(t, []string{
		"cpu", "epsball", "isa", "isas", "noisy", "peak_gflops", "peaks", "pinned", "pinning", "read_gbps", "rows", "seconds", "skipped", "threads",
	}, keys(doc))
	assert.Subset(t, doc["epsball"], map[string]any{"kind": "bench", "command": "bench"})
	assert.Positive(t, doc["peak_gflops"])
	assert.Len(t, doc["peaks"], 3)
	assert.Len(t, doc["read_gbps"], len(machine.Levels(1))+len(machine.Levels(3)))
	isa := " " + doc["isa"].(string)
	rows := rowsOf(t, doc)
	require.Len(t, rows, 5*2*3)
	for _, name := range []string{"forward/m/b1/t1", "backward-input/m/b9/t2", "pgd-step/m/b9/t1", "ibp/m/b1/t3", "train-step/m/b9/t2"} {
		require.Contains(t, rows, name+isa)
	}
	assert.NotContains(t, rows["forward/m/b9/t1"+isa], "speedup")
	assert.Positive(t, rows["forward/m/b9/t3"+isa]["speedup"])
	assert.NotContains(t, rows["forward/m/b9/t3"+isa], "ratio")

	skipped := document(t, 0, args("bench --filter ^forward/cifar-large/b128/t1$ --time 1ms")...)
	require.Len(t, skipped["skipped"], 1)
	assert.Equal(t, "forward/cifar-large/b128/t1", skipped["skipped"].([]any)[0].(map[string]any)["name"])
	assert.Empty(t, skipped["rows"])
}

func TestBenchTable(t *testing.T) {
	f := newFiles(t)
	r := run(args("bench --model %s --layers --kernels --isa all --filter (forward/|update/mem).*t1 --batch 8 --time 1ms --threads 1 --no-pin", f.model)...)
	assert.Zero(t, r.code, r.stderr)
	for _, want := range []string{
		"not pinned", "FMA peak, generic", "read memory", "forward/m/b8/t1", "layer/forward/m/conv0/b8/t1", "kernel/pgd-update/memory/t1", "share", "ratio", "of read",
	} {
		assert.Contains(t, r.stdout, want)
	}
}

// Layers, kernels and kernel sets each have rows of their own.
func TestBenchKinds(t *testing.T) {
	f := newFiles(t)
	doc := document(t, 0, args("bench --model %s --layers --kernels --isa all --batch 1,8 --time 5ms --threads 1 --filter /(b[18]|L1)/", f.model)...)
	isas := len(kernels.Available())
	assert.Len(t, doc["isas"], isas)
	rows := rowsOf(t, doc)
	skipped := len(doc["skipped"].([]any)) // interval kernels in pure Go
	if len(machine.Levels(1)) > 1 {        // the caches are known
		skipped -= isas * 8 // element-wise kernels
		assert.Positive(t, rows["kernel/pack-lanes/L1/t1 "+doc["isa"].(string)]["fraction_of_read"])
	}
	require.Len(t, rows, isas*(5*2+3*2*2)-skipped)
	for _, isa := range kernels.Available() {
		r := rows["layer/backward-weights/m/fc2/b8/t1 "+isa.Name()]
		require.NotNil(t, r)
		assert.Positive(t, r["share"])
		if isa.Name() != doc["isa"] {
			assert.Positive(t, r["ratio"])
		}
	}
	share := 0.0
	for name, r := range rows {
		if strings.HasPrefix(name, "layer/forward/") && r["batch"] == 8.0 && r["isa"] == doc["isa"] {
			share += r["share"].(float64)
		}
	}
	assert.InEpsilon(t, 1, share, 1e-6)

	// A filter that matches no pass is tried on the rest.
	doc = document(t, 0, args("bench --model %s --batch 8 --time 5ms --threads 1 --filter layer/forward/m/conv0/", f.model)...)
	assert.Len(t, doc["rows"], 1)
}

func TestBenchWinograd(t *testing.T) {
	m := &model.Architecture{Name: "w", Input: model.Shape{C: 16, H: 6, W: 6}, Layers: []model.Layer{
		{Kind: model.Conv, Out: 16, Kernel: [2]int{3, 3}, Stride: [2]int{1, 1}, Padding: [2]int{1, 1}}, {Kind: model.FC, Out: 2},
	}}
	random, err := model.Random(m, 1)
	require.NoError(t, err)
	path := filepath.Join(t.TempDir(), "my model.safetensors")
	require.NoError(t, random.Save(path))
	doc := document(t, 0, append(args("bench --winograd --batch 8 --time 5ms --threads 1 --model"), path)...)
	rows := rowsOf(t, doc)
	require.Len(t, rows, 5+3)
	r := rows["pgd-step/my_model/b8/t1/winograd "+doc["isa"].(string)]
	assert.Equal(t, "winograd", r["variant"])
	assert.Positive(t, r["ratio"])
}

// Any model file: fully connected alone, normalized, of one layer.
func TestBenchModels(t *testing.T) {
	dir := t.TempDir()
	for name, arch := range map[string]*model.Architecture{
		"fc": {Name: "x", Input: model.Shape{C: 1, H: 1, W: 5}, Layers: []model.Layer{{Kind: model.FC, Out: 3}}},
		"norm": {Name: "x", Input: model.Shape{C: 2, H: 4, W: 4}, Layers: []model.Layer{
			{Kind: model.Normalize, Mean: []float32{0.5, 0.4}, Std: []float32{0.2, 0.3}}, {Kind: model.FC, Out: 4}, {Kind: model.ReLU}, {Kind: model.FC, Out: 2},
		}},
	} {
		m, err := model.Random(arch, 1)
		require.NoError(t, err)
		path := filepath.Join(dir, name+".safetensors")
		require.NoError(t, m.Save(path))
		doc := document(t, 0, args("bench --model %s --layers --batch 3 --time 1ms --threads 1", path)...)
		assert.Empty(t, doc["skipped"], name)
		assert.Len(t, doc["rows"], 5+3*len(slices.DeleteFunc(slices.Clone(arch.Layers), func(l model.Layer) bool { return l.Kind != model.FC })))
	}
}

// TestBenchTrained: networks of all kinds of layers have rows for each of their layers.
func TestBenchTrained(t *testing.T) {
	all, err := golden.Layers()
	require.NoError(t, err)
	for _, e := range all {
		if e.Label == nil {
			continue
		}
		path := filepath.Join(t.TempDir(), "m.safetensors")
		require.Zero(t, run("import", e.Files[len(e.Files)-1], "--keep-batchnorm", "--out", path).code)
		m, err := model.Load(path)
		require.NoError(t, err)
		n, err := net.Compile(m, net.Options{})
		require.NoError(t, err)
		doc := document(t, 0, args("bench --model %s --layers --batch 1,20 --time 1ms --threads 1", path)...)
		assert.Empty(t, doc["skipped"], e.Name)
		rows, want := rowsOf(t, doc), 0
		has := func(name string) {
			want++
			assert.Contains(t, rows, name+"/t1 "+doc["isa"].(string), e.Name)
		}
		for _, b := range []string{"/b1", "/b20"} {
			for _, pass := range []string{"forward", "backward-input", "pgd-step", "ibp", "train-step"} {
				has(pass + "/m" + b)
			}
			for _, node := range n.Nodes() {
				has("layer/forward/m/" + node.Name + b)
				has("layer/backward-input/m/" + node.Name + b)
				if m.Arch.Layers[node.Index].HasParams() {
					has("layer/backward-weights/m/" + node.Name + b)
				}
			}
		}
		assert.Len(t, rows, want, e.Name)
	}
}

var benchmarkLine = regexp.MustCompile(`^(Benchmark[A-Z][^\s]*)\t(\d+)((?:\t[0-9.e+-]+ \S+)+)$`)

func TestBenchstat(t *testing.T) {
	f := newFiles(t)
	r := run(args("bench --model %s --benchstat --kernels --isa all --batch 8 --time 1ms --threads 1 --filter ^(pgd|ibp|kernel/(pack|pgd).*/L1)", f.model)...)
	require.Zero(t, r.code, r.stderr)
	lines := strings.Split(strings.TrimSuffix(r.stdout, "\n"), "\n")
	assert.Equal(t, "goos: "+runtime.GOOS, lines[0])
	seen := map[string]int{}
	for _, line := range lines {
		if !strings.HasPrefix(line, "Benchmark") {
			assert.Regexp(t, `^(\w+: .*|Unit \S+ better=higher)$`, line)
			continue
		}
		m := benchmarkLine.FindStringSubmatch(line)
		require.NotNil(t, m, line)
		seen[m[1]]++
		for i, field := range strings.Split(m[3], "\t")[1:] {
			v, unit, _ := strings.Cut(field, " ")
			n, err := strconv.ParseFloat(v, 64)
			require.NoError(t, err)
			assert.Positive(t, n)
			if i == 0 {
				assert.Equal(t, "ns/op", unit)
			}
		}
	}
	for _, isa := range kernels.Available() {
		for _, name := range []string{"BenchmarkPGDStep/m/b8/t1", "BenchmarkIBP/m/b8/t1", "BenchmarkKernel/pack-lanes/L1/t1"} {
			if len(kernels.Available()) > 1 {
				name += "/isa=" + isa.Name()
			}
			if strings.Contains(name, "Kernel") && len(machine.Levels(1)) < 2 {
				continue // the caches are unknown
			}
			assert.Positive(t, seen[name], name)
		}
	}
}

func TestRoofline(t *testing.T) {
	f := newFiles(t)
	path := filepath.Join(f.dir, "r.svg")
	doc := document(t, 0, args("bench --model %s --layers --kernels --batch 1,8 --time 1ms --threads 2 --filter ^(for|ibp|layer/for|kernel/pgd.*memory) --plot %s", f.model, path)...)
	require.NotEmpty(t, doc["rows"])
	points := 0
	for _, r := range rowsOf(t, doc) {
		if r["intensity"] != 0.0 {
			points++
		}
	}
	classes, texts := elements(t, string(readFile(t, path)))
	assert.Equal(t, points, classes["point"])
	assert.GreaterOrEqual(t, classes["roof"], 2*len(machine.Levels(1)))
	assert.Positive(t, classes["label"])
	for _, want := range []string{"Roofline", "1 thread", "2 threads", "GFLOP/s", "arithmetic intensity, FLOP/byte", "FMA peak, " + doc["isa"].(string), "memory ", "forward/m/b8/t1:", "layer forward"} {
		assert.Contains(t, texts, want)
	}
}

// elements counts a drawing's elements by class and joins its texts.
func elements(t *testing.T, svg string) (classes map[string]int, texts string) {
	classes = map[string]int{}
	for d := xml.NewDecoder(strings.NewReader(svg)); ; {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			return classes, texts
		}
		require.NoError(t, err)
		switch e := token.(type) {
		case xml.StartElement:
			for _, a := range e.Attr {
				assert.NotContains(t, a.Value, "NaN")
				assert.NotContains(t, a.Value, "Inf")
				assert.NotContains(t, a.Value, "%!")
				if a.Name.Local == "class" {
					for _, c := range strings.Fields(a.Value) {
						classes[strings.TrimPrefix(c, "p-")]++
					}
				}
			}
		case xml.CharData:
			texts += string(e)
		}
	}
}
