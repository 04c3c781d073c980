package main

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/epsball/epsball/internal/countdown"
	"github.com/epsball/epsball/model"
)

// reportLine is a report that takes a moment.
func reportLine(f files, out string) []string {
	return args("report --model %s --model %s --data %s --n 30 --eps 0.02 --radii 0.01,1/25 --attack fgsm --attack pgd:steps=5 --checks off --gallery 2 --out %s", f.model, f.other, f.data, out)
}

func TestReport(t *testing.T) {
	f := newFiles(t)
	out, parts := filepath.Join(f.dir, "r.html"), filepath.Join(f.dir, "parts")
	line := append(reportLine(f, out), "--parts", parts)
	doc := document(t, 0, line...)
	assert.Equal(t, "page", doc["epsball"].(map[string]any)["kind"])
	assert.Equal(t, out, doc["out"])
	assert.Equal(t, parts, doc["parts"])
	models := doc["models"].([]any)
	require.Len(t, models, 2)
	html := string(readFile(t, out))
	for _, want := range []string{"What 2 models withstand", "images of " + f.data, "not fooled by fgsm", "no history recorded", "<svg ", "data:image/png;base64,"} {
		assert.True(t, strings.Contains(html, want), want)
	}

	// Its figures are those of eval.
	eval := document(t, 0, args("eval --model %s --data %s --n 30 --eps 0.02 --attack fgsm --attack pgd:steps=5 --checks off", f.model, f.data)...)["results"].([]any)[0].(map[string]any)
	m := models[0].(map[string]any)
	assert.Equal(t, eval["clean"], m["clean"])
	at := m["points"].([]any)[1].(map[string]any)
	assert.Equal(t, []any{eval["fgsm"], eval["pgd"]}, at["not_fooled"])
	assert.GreaterOrEqual(t, at["certified"], eval["certified"])

	// The same command makes the same page, but for timings; so does the one that it tells.
	cut := func(html string) string {
		from, to := strings.Index(html, `<section id="section-timings"`), strings.Index(html, "</main>")
		require.Positive(t, from)
		return html[:from] + html[to:]
	}
	told := strings.Fields(doc["command_line"].(string))[1:]
	r := run(append(told, "--out", out, "--force", "--threads", "1", "--isa", "generic")...)
	require.Zero(t, r.code, r.stderr)
	assert.Contains(t, r.stdout, "FGSM   PGD-5")
	assert.Equal(t, cut(html), cut(string(readFile(t, out))))

	// Drawn again, it is the same to the byte.
	again := filepath.Join(f.dir, "again.html")
	r = run("report", "--results", filepath.Join(parts, "data", "results.json"), "--out", again)
	require.Zero(t, r.code, r.stderr)
	assert.Equal(t, html, string(readFile(t, again)))
	whole := run("report", "--results", filepath.Join(parts, "data", "results.json"), "--out", "-")
	require.Zero(t, whole.code)
	assert.Equal(t, html, whole.stdout)
	assert.Contains(t, whole.stderr, "written: to standard output")
	charts, err := filepath.Glob(filepath.Join(parts, "charts", "*.svg"))
	require.NoError(t, err)
	assert.NotEmpty(t, charts)

	// --parts replaces its own folders alone.
	assert.Equal(t, 2, run(append(line, "--force=false")...).code)
	assert.Zero(t, run(append(line, "--force")...).code)
	require.NoError(t, os.WriteFile(filepath.Join(parts, "mine"), nil, 0o666))
	r = run(append(line, "--force")...)
	assert.Equal(t, 2, r.code)
	assert.Contains(t, r.stderr, "has files in it, such as mine")
}

// TestReportDefaults: without flags it looks at the built-in models, and at all images where
// there are fewer than the default.
func TestReportDefaults(t *testing.T) {
	f := newFiles(t)
	t.Chdir(f.dir)
	doc := document(t, 0, args("report --data %s --eps 0.005 --checks off --attack fgsm", f.data)...)
	assert.EqualValues(t, f.n, doc["n"])
	assert.EqualValues(t, 0.00025, doc["resolution"])
	assert.Len(t, doc["radii"], 6)
	assert.Len(t, doc["images"], 6)
	assert.FileExists(t, "report.html")
	big := document(t, 0, args("report --data %s --n 3 --eps 0.5 --checks off --attack fgsm --force", f.data)...)
	assert.Len(t, big["radii"], 5, "a radius of 1.5 would be a mistake of units")
}

// TestReportHistory: training curves come from cards and logs.
func TestReportHistory(t *testing.T) {
	f := newFiles(t)
	m := smallModel(t, 1)
	m.Card = map[string]string{"history": `{"epoch":[1,2],"loss":[2.25,0.5]}`, "method": "pgd", "eps": "0.1"}
	require.NoError(t, m.Save(f.model))
	bad := smallModel(t, 2)
	bad.Card = map[string]string{"history": "lost"}
	require.NoError(t, bad.Save(f.other))
	out := filepath.Join(f.dir, "r.html")
	line := append(reportLine(f, out), "--force")
	require.Zero(t, run(line...).code)
	html := string(readFile(t, out))
	assert.Contains(t, html, "2 epochs, loss from 2.25 to 0.5")
	assert.Contains(t, html, "the history in its card cannot be read")

	log := filepath.Join(f.dir, "a=b.log")
	require.NoError(t, os.WriteFile(log, []byte("{\"epoch\":1,\"loss\":3}\n{\"epoch\":2,\"loss\":1,\"seconds\":5}\n"), 0o666))
	require.Zero(t, run(append(line, "--log", f.other+"="+log)...).code)
	assert.Contains(t, string(readFile(t, out)), "2 epochs, loss from 3 to 1")
	one := args("report --model %s --data %s --n 3 --attack fgsm --checks off --out %s --force --log %s", f.model, f.data, out, log)
	require.Zero(t, run(one...).code)
	assert.Contains(t, string(readFile(t, out)), "2 epochs, loss from 3 to 1", "a log is taken before a card")

	broken := filepath.Join(f.dir, "broken.log")
	require.NoError(t, os.WriteFile(broken, []byte("{\"epoch\":1}\nepoch 2\n"), 0o666))
	for extra, want := range map[string]string{
		"--log " + log: "--log: got " + log + ", want MODEL=FILE with MODEL one of " + f.model + ", " + f.other,
		"--log " + f.model + "=" + log + " --log " + f.model + "=" + log: "--log: got two for model " + f.model,
		"--log " + f.model + "=none":                                     "--log: none: no such file or folder",
		"--log " + f.model + "=" + broken:                                "--log: " + broken + ": epoch 2: want a line of JSON",
	} {
		r := run(append(line, strings.Fields(extra)...)...)
		assert.Equal(t, 2, r.code, extra)
		assert.Contains(t, r.stderr, want)
	}
}

func TestReportRefused(t *testing.T) {
	f := newFiles(t)
	out := filepath.Join(f.dir, "r.html")
	other := filepath.Join(f.dir, "rgb.safetensors")
	m, err := model.Random(&model.Architecture{Input: model.Shape{C: 3, H: 6, W: 6}, Layers: []model.Layer{{Kind: model.FC, Out: 10}}}, 1)
	require.NoError(t, err)
	require.NoError(t, m.Save(other))
	eval := filepath.Join(f.dir, "eval.json")
	require.NoError(t, os.WriteFile(eval, []byte(run("eval", "--model", f.model, "--data", f.data, "--n", "3", "--json").stdout), 0o666))
	page := filepath.Join(f.dir, "page.json")
	doc := document(t, 0, append(reportLine(f, out), "--force")...)
	doc["n"] = 7
	b, err := json.Marshal(doc)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(page, b, 0o666))
	require.NoError(t, os.Remove(out))

	for extra, want := range map[string]string{
		"--model " + other:              "sorts images of 1x6x6 into 10 classes, but " + other + " images of 3x6x6 into 10: want models of the same images on one page",
		"--model " + f.model:            "--model: " + f.model + " is given twice",
		"--eps 0":                       "--eps: got 0, want more than 0",
		"--eps 8":                       "--eps: got 8, want at most 1",
		"--radii 0.1,2":                 "--radii: got 2, want at most 1",
		"--radii 0.1,0.1":               `--radii: got "0.1,0.1", want each radius once`,
		"--norm l0":                     "--norm: got \"l0\", want one of",
		"--attack pgd:steps=5":          "--attack: pgd:steps=5,seed=1 is given twice",
		"--attack spatial":              "--attack: spatial leaves the ball",
		"--attack none":                 "--attack: got none, want one of",
		"--bounds exact":                "--bounds: got \"exact\", want one of ibp",
		"--resolution 0":                "want a value above 0",
		"--gallery -1":                  "--gallery: got -1, want 0 … 60",
		"--n 1000":                      "--n: got 1000, want at most the 100 images",
		"--n -1":                        "--n: got -1",
		"--out r.svg":                   "r.svg: what is written is a page of HTML, want a name that ends in .html",
		"--out " + f.dir:                "is a folder, want a file",
		"--parts " + f.model:            "is a file, want a folder",
		"--defence jpeg":                "--defence: got jpeg, but report has no proofs",
		"--results " + eval:             "--model: has no meaning with --results",
		"--data none.npz":               "none.npz: path: got no such file",
		"--model none.safetensors":      "none.safetensors: no such file",
		"--out " + f.model + " --force": "is what --model reads, want another file",
	} {
		line := override(strings.Join(append(reportLine(f, out), strings.Fields(extra)...), " "))
		r := run(line...)
		assert.Equal(t, 2, r.code, "%s: %s", extra, r.stderr)
		assert.Contains(t, r.stderr, want)
		assert.NoFileExists(t, out)
	}
	for path, want := range map[string]string{
		eval:     "--results: " + eval + ": got a result of eval, want one of report",
		page:     "--results: " + page + ": models[0].certified_radii: got 30, want one an image, 7",
		f.model:  "--results: " + f.model + ": result: ",
		"absent": "--results: absent: no such file or folder",
	} {
		r := run("report", "--results", path, "--out", out)
		assert.Equal(t, 2, r.code)
		assert.Contains(t, r.stderr, want)
		assert.NoFileExists(t, out)
	}
}

// TestReportChecks: weak attacks are shown beside a strong one; the last one must be it.
func TestReportChecks(t *testing.T) {
	f := newFiles(t)
	out := filepath.Join(f.dir, "r.html")
	line := args("report --model %s --data %s --n 40 --eps 0.02 --radii 0.02 --force --out %s", f.model, f.data, out)
	r := run(append(line, "--attack", "pgd:steps=5", "--attack", "fast")...)
	assert.Zero(t, r.code, r.stderr)
	assert.Contains(t, r.stderr, "warning: check black-box of pgd:steps=5,seed=1 on m at ε = 0.02: ")
	html := string(readFile(t, out))
	for _, want := range []string{"finite-differences", "black-box</td><td class=\"left\">failed</td>"} {
		assert.True(t, strings.Contains(html, want), want)
	}
	require.NoError(t, os.Remove(out))
	r = run(append(line, "--attack", "fgsm", "--attack", "pgd:steps=5")...)
	assert.Equal(t, 1, r.code)
	assert.Contains(t, r.stderr, "epsball: check black-box: ")
	assert.FileExists(t, out, "the page says so, too")
}

// TestReportCancelled: ^C leaves a page of what is done.
func TestReportCancelled(t *testing.T) {
	f := newFiles(t)
	out := filepath.Join(f.dir, "r.html")
	line := append(reportLine(f, out), "--threads", "1", "--force")
	some := 0
	for looks := int64(0); ; looks += 1 + looks/3 {
		r := runWith(countdown.New(looks), append(line, "--json")...)
		html := string(readFile(t, out))
		if r.code == 0 {
			assert.False(t, strings.Contains(html, "This page is incomplete."))
			break
		}
		require.Equal(t, 1, r.code, r.stderr)
		assert.Contains(t, r.stderr, "interrupted: ")
		assert.True(t, strings.Contains(html, "This page is incomplete."))
		doc := r.document(t)
		assert.NotEmpty(t, doc["left"])
		if doc["models"].([]any)[0].(map[string]any)["points"] != nil {
			some++
		}
	}
	assert.Positive(t, some)
	gone, cancel := context.WithCancel(context.Background())
	cancel()
	assert.Equal(t, 1, runWith(gone, line...).code)
}

// TestReportHostile: a model's name is any text.
func TestReportHostile(t *testing.T) {
	f := newFiles(t)
	bad := filepath.Join(f.dir, "<img src=x onerror=alert(1)>&\"'.safetensors")
	data, err := os.ReadFile(f.model)
	require.NoError(t, err)
	if err := os.WriteFile(bad, data, 0o666); err != nil {
		t.Skip("no such names here: ", err)
	}
	out := filepath.Join(f.dir, "r.html")
	r := run("report", "--model", bad, "--data", f.data, "--n", "5", "--attack", "fgsm", "--checks", "off", "--out", out, "--parts", filepath.Join(f.dir, "p"))
	require.Zero(t, r.code, r.stderr)
	html := string(readFile(t, out))
	assert.NotContains(t, html, "<img src=x")
	assert.Contains(t, html, "&lt;img src=x onerror=alert(1)&gt;")
}
