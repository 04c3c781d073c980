package main

import (
	"bytes"
	"fmt"
	"image"
	"image/png"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/epsball/epsball/audit"
	"github.com/epsball/epsball/dataset"
	"github.com/epsball/epsball/model"
	"github.com/epsball/epsball/net"
	"github.com/epsball/epsball/report"
)

func TestEval(t *testing.T) {
	f := newFiles(t)
	doc := document(t, 0, args("eval --model %s --model builtin:small --data %s --eps 0.01 --steps 5", f.model, f.data)...)
	assert.Equal(t, []string{"data", "epsball", "hints", "isa", "offset", "results", "seconds", "seed", "steps", "threads"}, keys(doc))
	results := doc["results"].([]any)
	require.Len(t, results, 2)
	e := results[0].(map[string]any)
	assert.Equal(t, []string{"attacks", "certified", "clean", "eps", "eps_exact", "fgsm", "images_per_s", "model", "n", "norm", "pgd", "seconds"}, keys(e))
	assert.Equal(t, []string{"attack_steps", "forward", "ibp", "pgd_step"}, keys(e["images_per_s"]))
	assert.Equal(t, "m", e["model"])
	assert.Equal(t, 0.01, e["eps"])
	assert.EqualValues(t, f.n, e["n"])
	assert.InDelta(t, float64(f.n-f.wrong)/float64(f.n), e["clean"], 1e-9)
	attacks := e["attacks"].([]any)
	require.Len(t, attacks, 2)
	for i, text := range []string{"fgsm", "pgd:steps=5,seed=1"} {
		a := attacks[i].(map[string]any)
		assert.Equal(t, text, a["attack"])
		assert.LessOrEqual(t, e["certified"], a["robust"])
		assert.LessOrEqual(t, a["robust"], e["clean"])
	}
	assert.Equal(t, "small", results[1].(map[string]any)["model"])

	doc = document(t, 0, args("eval --model %s --data %s --eps 0.01 --attack apgd:steps=9 --attack pgd:seed=7 --seed 3", f.model, f.data)...)
	attacks = doc["results"].([]any)[0].(map[string]any)["attacks"].([]any)
	assert.Equal(t, "apgd:steps=9,seed=3", attacks[0].(map[string]any)["attack"])
	assert.Equal(t, "pgd:steps=40,seed=7", attacks[1].(map[string]any)["attack"])
	r := run(args("eval --model %s --data %s --attack pgd --attack pgd:seed=1", f.model, f.data)...)
	assert.Equal(t, 2, r.code)
	assert.Contains(t, r.stderr, "--attack: pgd:steps=40,seed=1 is given twice")

	table := run(args("eval --model %s --data %s --n 30 --norm l2 --eps 8/255", f.model, f.data)...)
	require.Zero(t, table.code, table.stderr)
	assert.Contains(t, table.stdout, "PGD-40")
	assert.Contains(t, table.stdout, "l2 ε = 8/255, n = 30 of ")
	assert.Equal(t, 1, strings.Count(table.stderr, "\n"), "no bar without a terminal, one hint: %s", table.stderr)
}

func TestEvalWithoutModels(t *testing.T) {
	r := run("eval", "--n", "10") // the built-in model takes 1x6x6
	assert.Equal(t, 2, r.code)
	assert.Contains(t, r.stderr, "images are 1x28x28, but model builtin:small takes 1x6x6")
}

func TestAttack(t *testing.T) {
	f := newFiles(t)
	out := filepath.Join(f.dir, "adv.npz")
	doc := document(t, 0, args("attack --model %s --data %s --eps 0.3 --steps 10 --out %s", f.model, f.data, out)...)
	assert.Equal(t, []string{
		"attack", "checks", "clean", "data", "eps", "eps_exact", "epsball", "hints", "image_steps", "isa", "loss", "mean_distance", "median_distance", "model", "n",
		"norm", "offset", "out", "random_start", "restarts", "robust", "seconds", "seed", "step_size", "steps", "success", "targeted", "threads",
	}, keys(doc))
	assert.Equal(t, []string{"l0", "l1", "l2", "linf"}, keys(doc["mean_distance"]))
	checks := doc["checks"].([]any)
	require.Len(t, checks, len(audit.Diagnostics()))
	for _, c := range checks {
		assert.NotContains(t, []string{"fail", "stopped"}, c.(map[string]any)["verdict"])
	}
	success := int(doc["success"].(float64))
	assert.Positive(t, success)
	assert.InDelta(t, doc["clean"].(float64)-doc["robust"].(float64), float64(success)/float64(f.n), 1e-9)
	assert.Equal(t, "pgd:steps=10,seed=1", doc["attack"])
	assert.Equal(t, 0.3/4, doc["step_size"])

	// The file holds what was said of it, and can be attacked again.
	adv, err := dataset.Load(out)
	require.NoError(t, err)
	set, err := dataset.Load(f.data)
	require.NoError(t, err)
	require.Equal(t, f.n, adv.Len())
	assert.Equal(t, set.Y, adv.Y)
	ball := net.Ball{Norm: net.Linf, Eps: net.MustEpsilon("0.3")}
	for i := range f.n {
		assert.True(t, ball.Contains(set.Image(i), adv.Image(i)))
	}
	arrays := readArrays(t, out)
	assert.Equal(t, []string{"x", "y", "pred", "success", "index", "state"}, arrays.names)
	assert.Equal(t, success, countTrue(arrays.by["success"].([]bool)))
	pred := predicted(t, smallModel(t, 1), adv.X, f.n)
	for i, p := range arrays.by["pred"].([]int64) {
		assert.EqualValues(t, pred[i], p)
		assert.EqualValues(t, i, arrays.by["index"].([]int64)[i])
	}
	again := document(t, 0, args("attack --model %s --data %s --attack fgsm --eps 0", f.model, out)...)
	assert.InDelta(t, doc["robust"], again["clean"], 1e-9)
	assert.Nil(t, again["mean_distance"])
	assert.Equal(t, "fgsm", again["attack"])
	assert.Equal(t, 1.0, again["steps"])
	assert.Equal(t, false, again["random_start"])

	// What a report says of the attack gives the same attack.
	for _, how := range []string{
		"--attack apgd:restarts=2,loss=dlr --steps 7", "--steps 3 --restarts 2 --step-size 1/20 --seed 9", "--attack fgsm --random-start",
	} {
		line := args("attack --model %s --data %s --eps 0.1", f.model, f.data)
		first := document(t, 0, append(line, strings.Fields(how)...)...)
		second := document(t, 0, append(line, "--attack", first["attack"].(string))...)
		delete(first, "seconds")
		delete(second, "seconds")
		assert.Equal(t, first, second, how)
	}

	for _, extra := range []string{
		"--attack fgsm --random-start --step-size 2/255", "--attack apgd:rho=0.5 --norm l2", "--norm l2 --eps 1/2 --restarts 3", "--targeted --loss margin --restarts 9 --random-start=false",
		"--targeted --loss dlr", "--loss dlr",
	} {
		r := run(append(args("attack --model %s --data %s --n 20 --offset 5 --steps 1", f.model, f.data), strings.Fields(extra)...)...)
		assert.Zero(t, r.code, "%s: %s", extra, r.stderr)
		assert.Regexp(t, `checks .*[0-9]+ ok`, r.stdout, extra)
	}
}

type arrays struct {
	names []string
	by    map[string]any
}

func readArrays(t *testing.T, path string) arrays {
	file, err := os.Open(path)
	require.NoError(t, err)
	defer file.Close()
	info, err := file.Stat()
	require.NoError(t, err)
	list, err := dataset.ReadNPZ(path, file, info.Size())
	require.NoError(t, err)
	a := arrays{by: map[string]any{}}
	for _, v := range list {
		a.names = append(a.names, v.Name)
		a.by[v.Name] = v.Data
	}
	return a
}

// A result must not depend on which part of the data a run looks at.
func TestAttackOffset(t *testing.T) {
	f := newFiles(t)
	whole, part := filepath.Join(f.dir, "whole.npz"), filepath.Join(f.dir, "part.npz")
	document(t, 0, args("attack --model %s --data %s --eps 0.2 --steps 7 --out %s", f.model, f.data, whole)...)
	document(t, 0, args("attack --model %s --data %s --eps 0.2 --steps 7 --n 30 --offset 41 --out %s", f.model, f.data, part)...)
	w, p := readArrays(t, whole).by["x"].([]float32), readArrays(t, part).by["x"].([]float32)
	assert.Equal(t, w[41*36:71*36], p)
}

// Images without labels are attacked from the class predicted for them, and
// refused where a label is needed.
func TestUnknownLabels(t *testing.T) {
	f := newFiles(t)
	dir := filepath.Join(f.dir, "png")
	require.NoError(t, os.Mkdir(dir, 0o777))
	img := image.NewGray(image.Rect(0, 0, 6, 6))
	for _, name := range []string{"a.png", "b.png"} {
		for i := range img.Pix {
			img.Pix[i] = byte(7*i + len(name))
		}
		file, err := os.Create(filepath.Join(dir, name))
		require.NoError(t, err)
		require.NoError(t, png.Encode(file, img))
		require.NoError(t, file.Close())
	}
	doc := document(t, 0, args("attack --model %s --data %s", f.model, dir)...)
	assert.Equal(t, 1.0, doc["clean"])
	for _, cmd := range []string{"certify --eps 0.1 --model", "eval --model"} {
		r := run(append(strings.Fields(cmd), f.model, "--data", dir)...)
		assert.Equal(t, 2, r.code)
		assert.Contains(t, r.stderr, "image 0 has no label")
	}
}

func TestCertify(t *testing.T) {
	f := newFiles(t)
	want := []string{
		"attack_steps", "brackets", "certified", "certified_at", "clean", "data", "decided_by", "eps", "eps_exact", "epsball", "hints", "isa", "ladder", "level",
		"max_radius", "max_radius_exact", "mean_radius", "method", "model", "n", "norm", "offset", "quantiles", "resolution", "resolution_exact",
		"seconds", "seed", "threads", "timings",
	}
	at := document(t, 0, args("certify --model %s --data %s --eps 0.01", f.model, f.data)...)
	assert.Equal(t, want, keys(at))
	assert.Equal(t, []string{"forward", "proof", "proved"}, keys(at["timings"]))
	assert.Equal(t, "exact and float32 execution", at["level"])
	assert.Nil(t, at["mean_radius"])
	assert.Equal(t, 0.01, at["eps"])
	certified := at["certified"].(float64)
	assert.Positive(t, certified)
	assert.Less(t, certified, at["clean"])

	radius := document(t, 0, args("certify --model %s --data %s --radius --resolution 1/1000 --max-radius 1/2", f.model, f.data)...)
	assert.Equal(t, want, keys(radius))
	assert.Nil(t, radius["eps"])
	assert.Equal(t, 0.001, radius["resolution"])
	assert.Positive(t, radius["mean_radius"])
	assert.GreaterOrEqual(t, radius["certified"], certified)
	quantiles := radius["quantiles"].([]any)
	for i := 1; i < len(quantiles); i++ {
		assert.GreaterOrEqual(t, quantiles[i].(map[string]any)["radius"], quantiles[i-1].(map[string]any)["radius"])
	}
	curve := radius["certified_at"].([]any)
	require.NotEmpty(t, curve)
	for i, p := range curve {
		if at := p.(map[string]any); at["radius"] == 0.01 {
			assert.Equal(t, certified, at["fraction"], "the two modes agree")
		}
		if i > 0 {
			assert.LessOrEqual(t, p.(map[string]any)["fraction"], curve[i-1].(map[string]any)["fraction"])
		}
	}
	for _, extra := range []string{
		"--norm l2 --eps 1/10", "--norm l2 --radius --resolution 0.1", "--radius --n 5", "--norm l1 --eps 1/2 --method crown",
		"--norm l1 --radius --resolution 1/4 --method crown-ibp", "--method alpha-crown --iterations 2 --ladder=false --eps 0.01 --n 4",
	} {
		r := run(append(args("certify --model %s --data %s", f.model, f.data), strings.Fields(extra)...)...)
		assert.Zero(t, r.code, "%s: %s", extra, r.stderr)
		assert.Contains(t, r.stdout, "certified")
	}
}

// TestCertifyMethods: a tighter method proves no less, and the table says which one
// decided.
func TestCertifyMethods(t *testing.T) {
	f := newFiles(t)
	last := 0.0
	for _, m := range []string{"ibp", "crown-ibp", "crown", "alpha-crown"} {
		line := args("certify --model %s --data %s --eps 0.02 --n 40 --method %s", f.model, f.data, m)
		doc := document(t, 0, line...)
		certified := doc["certified"].(float64)
		assert.GreaterOrEqual(t, certified, last, m)
		last = certified
		decided := 0.0
		for _, n := range doc["decided_by"].(map[string]any) {
			decided += n.(float64)
		}
		assert.InDelta(t, 40*certified, decided, 1e-9, m)
		if m == "crown" {
			assert.Contains(t, run(line...).stdout, "decided by")
		}
	}
	assert.Positive(t, last)
}

// TestCertifyBrackets: proof and attack enclose each radius.
func TestCertifyBrackets(t *testing.T) {
	f := newFiles(t)
	plot := filepath.Join(f.dir, "radii.svg")
	doc := document(t, 0, args("certify --model %s --data %s --radius --resolution 1/500 --method crown --n 40 --plot %s", f.model, f.data, plot)...)
	brackets := doc["brackets"].([]any)
	require.Len(t, brackets, 40)
	open := 0
	for i, v := range brackets {
		b := v.(map[string]any)
		if b["attacked"] == nil {
			continue
		}
		if b["certified"] == nil {
			continue
		}
		assert.Less(t, b["certified"], b["attacked"], "image %d", i)
		open++
	}
	assert.Positive(t, open)
	svg, err := os.ReadFile(plot)
	require.NoError(t, err)
	assert.Contains(t, string(svg), "</svg>")
	alone := document(t, 0, args("certify --model %s --data %s --radius --resolution 1/500 --method crown --n 1 --offset 3", f.model, f.data)...)
	assert.Equal(t, brackets[3], alone["brackets"].([]any)[0], "the neighbours do not matter")
}

func TestInfo(t *testing.T) {
	doc := document(t, 0, "info")
	assert.Equal(t, []string{
		"arch", "caches", "cores", "cpu", "epsball", "features", "go", "gomaxprocs", "isa", "isas", "models", "os", "presets", "threads", "version",
	}, keys(doc))
	models := doc["models"].([]any)
	require.Len(t, models, 1)
	assert.Equal(t, "small", models[0].(map[string]any)["name"])
	assert.Len(t, doc["presets"], len(model.Presets()))
	assert.Contains(t, doc["isas"], doc["isa"])
	r := run("info", "--isa", "generic")
	assert.Zero(t, r.code)
	assert.Contains(t, r.stdout, "generic (chosen)")
	assert.Contains(t, r.stdout, "builtin:small")
}

// TestResultsAreRead: what each command prints with --json is read back, and printed
// again it is the same.
func TestResultsAreRead(t *testing.T) {
	f := newFiles(t)
	path := func(name string) string { return filepath.Join(f.dir, name) }
	for _, c := range []struct {
		line string
		kind report.Kind
		code int
	}{
		{fmt.Sprintf("eval --model %s --model %s --data %s --eps 0.01,0.1 --steps 3", f.model, f.other, f.data), report.KindEval, 0},
		{fmt.Sprintf("attack --model %s --data %s --eps 0.3 --steps 3 --out %s", f.model, f.data, path("adv.npz")), report.KindAttack, 0},
		{fmt.Sprintf("attack --model %s --data %s --eps 0.1,0.3 --steps 10 --norm l2", f.model, f.data), report.KindAttackTable, 0},
		{fmt.Sprintf("certify --model %s --data %s --eps 0.01 --method crown --out %s", f.model, f.data, path("c.jsonl")), report.KindCertify, 0},
		{fmt.Sprintf("certify --model %s --data %s --radius --resolution 0.01 --plot %s", f.model, f.data, path("r.svg")), report.KindCertify, 0},
		{fmt.Sprintf("certify --model %s --model %s --data %s --eps 0.01,8/255", f.model, f.other, f.data), report.KindCertifyTable, 0},
		{fmt.Sprintf("certify --model %s --model %s --data %s --radius --resolution 0.01 --n 20", f.model, f.other, f.data), report.KindCertifyTable, 0},
		{fmt.Sprintf("check %s --model %s --data %s", path("c.jsonl"), f.model, f.data), report.KindCheck, 0},
		{fmt.Sprintf("check %s --model %s --data %s --require-eps 1", path("c.jsonl"), f.model, f.data), report.KindCheck, 1},
		{fmt.Sprintf("train --arch %s --data %s --eps 0.02 --epochs 1 --batch 10 --out %s --test-data %[2]s", archFile(t, f.dir), f.data, path("t.safetensors")), report.KindTrain, 0},
		{"info", report.KindInfo, 0},
		{"info " + f.model, report.KindModel, 0},
		{"data", report.KindData, 0},
		{"data cifar10", report.KindData, 0},
		{"data --verify ../../testdata/mnist#train", report.KindDataCheck, 0},
		{"data mnist --verify " + f.dir, report.KindDataCheck, 1},
		{fmt.Sprintf("export %s --out %s", f.model, path("m.onnx")), report.KindConversion, 0},
		{fmt.Sprintf("export %s --data %s --n 5 --eps 8/255 --property %s", f.model, f.data, path("properties")), report.KindProperties, 0},
		{fmt.Sprintf("smooth --model %s --data %s --sigma 0.1 --samples 50", f.model, eightBits(t, f)), report.KindSmooth, 0},
		{"verify " + f.model + " " + path("properties/vnnlib/image_0_eps_8_255.vnnlib"), report.KindVerify, 0},
		{"supports", report.KindSupports, 0},
		{fmt.Sprintf("import %s --out %s", path("m.onnx"), path("i.safetensors")), report.KindConversion, 0},
		{fmt.Sprintf("convert %s --weights bf16 --out %s", f.model, path("b.safetensors")), report.KindStorage, 0},
	} {
		r := run(append(strings.Fields(c.line), "--json")...)
		require.Equal(t, c.code, r.code, "%s\n%s", c.line, r.stderr)
		result, err := report.Read(strings.NewReader(r.stdout))
		require.NoError(t, err, c.line)
		h := result.Common().Epsball
		assert.Equal(t, report.Header{Format: report.Format, Kind: c.kind, Command: strings.Fields(c.line)[0], Version: version(), Models: h.Models}, h)
		if !slices.Contains([]report.Kind{report.KindInfo, report.KindData, report.KindDataCheck, report.KindSupports}, c.kind) {
			require.NotEmpty(t, h.Models, c.line)
			assert.Len(t, h.Models[0].Hash, 64)
		}
		var again bytes.Buffer
		require.NoError(t, report.Write(&again, result))
		assert.Equal(t, r.stdout, again.String(), c.line)
		assert.NotEmpty(t, result.Text(), c.line)
	}
}

// Several radii give a line each, with what each alone gives; --plot draws them.
func TestSweeps(t *testing.T) {
	f := newFiles(t)
	results := func(line string, a ...any) []any { return document(t, 0, args(line, a...)...)["results"].([]any) }
	for _, command := range []string{"eval --steps 5", "attack --steps 5", "certify"} {
		plot := filepath.Join(f.dir, strings.Fields(command)[0]+".svg")
		line := fmt.Sprintf("%s --model %s --data %s", command, f.model, f.data)
		list := results("%s --eps 0.03,0.01,1/500 --plot %s", line, plot)
		require.Len(t, list, 3, command)
		svg := string(readFile(t, plot))
		assert.Contains(t, svg, "</svg>")
		assert.Contains(t, svg, `class="p-series"`)
		for i, eps := range []string{"0.03", "0.01", "1/500"} {
			alone := document(t, 0, strings.Fields(line+" --eps "+eps)...)
			if e, ok := alone["results"]; ok {
				alone = e.([]any)[0].(map[string]any)
			}
			for k, v := range stable(list[i]).(map[string]any) {
				assert.Equal(t, stable(alone).(map[string]any)[k], v, "%s %s %s", command, eps, k)
			}
		}
		r := run(strings.Fields(line + " --eps 0.03,0.01")...)
		require.Zero(t, r.code, r.stderr)
		assert.Regexp(t, `(?m)^m +0\.01 `, r.stdout)
		for flags, want := range map[string]string{
			"--eps 0.1,0.1":              `--eps: got "0.1,0.1", want each radius once`,
			"--eps 0.1,10/100":           "and 10/100 is 0.1",
			"--eps 0.1,":                 `--eps: got "0.1,", want a decimal`,
			"--eps 0.1,8":                "--eps: got 8, want at most 1",
			"--eps 0,1":                  "did you mean 0.1?",
			"--eps 0.1 --plot " + plot:   "--plot",
			"--eps 0.1,0.2 --plot x.png": "--plot: x.png: what is written is an SVG picture",
		} {
			r := run(strings.Fields(line + " " + flags)...)
			assert.Equal(t, 2, r.code, "%s %s", command, flags)
			assert.Contains(t, r.stderr, want, command)
		}
	}
	for _, command := range []string{"attack", "certify"} {
		r := run(args("%s --model %s --data %s --eps 0.1,0.2 --out %s", command, f.model, f.data, filepath.Join(f.dir, "o.npz"))...)
		assert.Equal(t, 2, r.code)
		assert.Contains(t, r.stderr, "want one --eps, got 2")
	}
	for flags, want := range map[string]string{
		"--eps 0.1 --out c.jsonl": "--out: has the certificates of one model, want one --model, got 2",
		"--radius --plot r.svg":   "--plot: draws the radii of one model",
	} {
		r := run(args("certify --model %s --model %s --data %s %s", f.model, f.other, f.data, flags)...)
		assert.Equal(t, 2, r.code)
		assert.Contains(t, r.stderr, want)
	}
	table := results("certify --model %s --model %s --data %s --radius --resolution 0.01 --n 30", f.model, f.other, f.data)
	alone := document(t, 0, args("certify --model %s --data %s --radius --resolution 0.01 --n 30", f.other, f.data)...)
	assert.Equal(t, alone["mean_radius"], table[1].(map[string]any)["mean_radius"])
	assert.Equal(t, alone["brackets"], table[1].(map[string]any)["brackets"])
}

// Results are the same for any threads and any kernel set.
func TestDeterminism(t *testing.T) {
	f := newFiles(t)
	for name, line := range map[string][]string{
		"eval":    args("eval --model %s --data %s --eps 0.05 --steps 5", f.model, f.data),
		"attack":  args("attack --model %s --data %s --eps 0.05 --steps 5 --norm l2 --out %s", f.model, f.data, filepath.Join(f.dir, "adv.npz")),
		"certify": args("certify --model %s --data %s --radius --resolution 0.01", f.model, f.data),
		"train": args("train --arch %s --data %s --eps 0.05 --epochs 2 --batch 16 --out %s --test-data %[2]s",
			archFile(t, f.dir), f.data, filepath.Join(f.dir, "t.safetensors")),
	} {
		t.Run(name, func(t *testing.T) {
			var docs []any
			var written [][]byte
			for _, how := range []string{"--threads 1", "--threads 2", "--threads 5 --isa generic"} {
				docs = append(docs, stable(document(t, 0, append(line, strings.Fields(how)...)...)))
				for _, path := range []string{"adv.npz", "t.safetensors"} {
					if b, err := os.ReadFile(filepath.Join(f.dir, path)); err == nil {
						written = append(written, b)
						require.NoError(t, os.Remove(filepath.Join(f.dir, path)))
					}
				}
			}
			assert.Equal(t, docs[0], docs[1])
			assert.Equal(t, docs[0], docs[2])
			for _, b := range written {
				assert.Equal(t, written[0], b)
			}
		})
	}
}

func archFile(t *testing.T, dir string) string {
	path := filepath.Join(dir, "small.json")
	require.NoError(t, os.WriteFile(path, smallArch().CanonicalJSON(), 0o666))
	return path
}
