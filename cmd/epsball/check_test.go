package main

import (
	"bytes"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/epsball/epsball/dataset"
	"github.com/epsball/epsball/internal/countdown"
	"github.com/epsball/epsball/model"
	"github.com/epsball/epsball/verify/cert"
	certcheck "github.com/epsball/epsball/verify/check"
)

// certified writes certificates of the test files and returns their path.
func certified(t *testing.T, f files, extra string) string {
	out := filepath.Join(f.dir, "certs.jsonl")
	r := run(append(args("certify --model %s --data %s --out %s --force", f.model, f.data, out), strings.Fields(extra)...)...)
	require.Zero(t, r.code, r.stderr)
	return out
}

// Every certificate that is written is accepted; the numbers of both commands
// agree.
func TestCertifyThenCheck(t *testing.T) {
	f := newFiles(t)
	for _, extra := range []string{
		"--eps 0.01", "--norm l2 --eps 1/100", "--radius --resolution 1/1000", "--radius --norm l2 --n 30 --offset 60",
		"--method crown --eps 0.02", "--method crown-ibp --norm l1 --eps 0.1", "--method alpha-crown --eps 0.03", "--method alpha-crown --radius --resolution 1/100 --n 20",
	} {
		out := certified(t, f, extra)
		doc := document(t, 0, append(args("certify --model %s --data %s", f.model, f.data), strings.Fields(extra)...)...)
		for _, threads := range []string{"1", "3"} {
			c := document(t, 0, args("check %s --model %s --data %s --threads %s", out, f.model, f.data, threads)...)
			assert.Equal(t, []string{"checked", "data", "epsball", "failures", "file", "groups", "images", "invalid", "model", "seconds", "threads", "undecided", "valid"}, keys(c))
			assert.Equal(t, c["checked"], c["valid"])
			assert.Zero(t, c["invalid"])
			assert.Empty(t, c["failures"])
			assert.Equal(t, doc["n"], c["checked"].(float64)+c["undecided"].(float64), "a line for each image")
			if doc["eps"] != nil {
				assert.InDelta(t, doc["certified"].(float64)*doc["n"].(float64), c["valid"], 1e-9)
			}
			assert.Positive(t, c["valid"])
			assert.Positive(t, c["undecided"])
			assert.Equal(t, c["valid"], c["images"])
			inGroups := 0.0
			for _, g := range c["groups"].([]any) {
				group := g.(map[string]any)
				assert.Equal(t, []string{"eps", "level", "norm", "specification", "valid"}, keys(group))
				assert.Equal(t, []any{doc["norm"], "executed", "label"}, []any{group["norm"], group["level"], group["specification"]})
				inGroups += group["valid"].(float64)
			}
			assert.Equal(t, c["valid"], inGroups)
		}
	}
	r := run(args("check %s --model %s --data %s", filepath.Join(f.dir, "certs.jsonl"), f.model, f.data)...)
	assert.Zero(t, r.code)
	assert.Contains(t, r.stdout, "valid")
	assert.NotContains(t, r.stdout, "because")
}

// Files that are not what was written: exit code 1, with the reason.
func TestCheckRejects(t *testing.T) {
	f := newFiles(t)
	good := readFile(t, certified(t, f, "--eps 0.01"))
	lines := bytes.SplitAfter(good, []byte("\n"))
	var valid [][]byte
	for _, l := range lines {
		if bytes.Contains(l, []byte(`"certified":true`)) {
			valid = append(valid, l)
		}
	}
	require.Greater(t, len(valid), 4)
	set, err := dataset.Load(f.data)
	require.NoError(t, err)
	other := filepath.Join(f.dir, "other.npz")
	y := make([]int64, set.Len())
	for i, v := range set.Y {
		y[i] = int64(v+1) % 9
	}
	writeNPZ(t, other, set.X, y, []int{f.n, 1, 6, 6})
	few := filepath.Join(f.dir, "few.npz")
	writeNPZ(t, few, set.X[:36], y[:1], []int{1, 1, 6, 6})
	shifted := filepath.Join(f.dir, "shifted.npz")
	writeNPZ(t, shifted, append(append([]float32{}, set.X[36:]...), set.X[:36]...), y, []int{f.n, 1, 6, 6})

	join := func(parts ...[]byte) []byte { return bytes.Join(parts, nil) }
	wide := func(line []byte) []byte { return edited(t, line, func(c *certcheck.Certificate) { c.Eps = "0.3" }) }
	foreign := func(line []byte) []byte {
		return edited(t, line, func(c *certcheck.Certificate) { c.Model = strings.Repeat("0", 64) })
	}
	for _, c := range []struct {
		name, model, data string
		file              []byte
		checked, invalid  int
		reason            string
	}{
		{"tampered", f.model, f.data, join(valid[0], bytes.Replace(valid[1], []byte("0.01"), []byte("0.02"), 1)), 2, 1, "not what was written"},
		{"widened", f.model, f.data, join(valid[0], wide(valid[1]), valid[2]), 3, 1, "not proved"},
		{"doubled", f.model, f.data, join(valid[0], valid[1], valid[0]), 3, 1, "the same as line 1"},
		{"torn", f.model, f.data, join(valid[0], valid[1][:200]), 2, 1, "no end"},
		{"no newline", f.model, f.data, bytes.TrimSuffix(join(valid[0], valid[1]), []byte("\n")), 2, 1, "no end"},
		{"blank line", f.model, f.data, join(valid[0], []byte("\n"), valid[1]), 3, 1, "sum"},
		{"mixed models", f.model, f.data, join(valid[0], foreign(valid[1])), 2, 1, "the model's hash is"},
		{"labels", f.model, other, join(valid...), len(valid), len(valid), "but the data say"},
		{"images", f.model, shifted, join(valid...), len(valid), len(valid), "the image's hash is"},
		{"short data", f.model, few, valid[3], 1, 1, "the data have 1 image"},
		{"binary", f.model, f.data, join(valid[0], []byte("\x00\xff\n")), 2, 1, "UTF-8"},
		{"all torn", f.model, f.data, valid[1][:200], 1, 1, "no end"},
		{"all tampered", f.model, f.data, bytes.Replace(valid[1], []byte("0.01"), []byte("0.02"), 1), 1, 1, "not what was written"},
	} {
		t.Run(c.name, func(t *testing.T) {
			path := filepath.Join(f.dir, "bad.jsonl")
			require.NoError(t, os.WriteFile(path, c.file, 0o666))
			line := args("check %s --model %s --data %s", path, c.model, c.data)
			doc := document(t, 1, line...)
			assert.EqualValues(t, c.checked, doc["checked"])
			assert.EqualValues(t, c.invalid, doc["invalid"])
			assert.EqualValues(t, c.checked-c.invalid, doc["valid"])
			require.Len(t, doc["failures"], c.invalid)
			r := run(line...)
			assert.Equal(t, 1, r.code)
			assert.Contains(t, r.stdout, c.reason)
			assert.Contains(t, r.stderr, "bad.jsonl")
			if c.invalid > 0 {
				first := doc["failures"].([]any)[0].(map[string]any)
				assert.Equal(t, []string{"index", "line", "reason"}, keys(first))
				assert.Contains(t, first["reason"], c.reason)
			}
		})
	}
}

// edited is a certificate changed and sealed anew.
func edited(t *testing.T, line []byte, edit func(c *certcheck.Certificate)) []byte {
	c, err := certcheck.Parse(bytes.TrimSuffix(line, []byte("\n")))
	require.NoError(t, err)
	edit(c)
	b, err := cert.Append(nil, c)
	require.NoError(t, err)
	return b
}

// A file that cannot have been meant is bad input, in one line.
func TestCheckMisplaced(t *testing.T) {
	f := newFiles(t)
	certs := certified(t, f, "--eps 0.01")
	empty := filepath.Join(f.dir, "empty.jsonl")
	require.NoError(t, os.WriteFile(empty, nil, 0o666))
	diary := filepath.Join(f.dir, "diary.txt")
	require.NoError(t, os.WriteFile(diary, []byte("dear diary\n\n{\"a\":1}\n"), 0o666))
	m, err := model.Load(f.model)
	require.NoError(t, err)
	for _, c := range []struct {
		file, model string
		want        []string
	}{
		{certs, f.other, []string{certs + " was made for model " + m.Hash()[:12], "--model " + f.other + " has hash"}},
		{empty, f.model, []string{"empty.jsonl: the file is empty, want certificates"}},
		{diary, f.model, []string{"diary.txt: got no certificate, want certificates, one JSON object a line"}},
		{f.data, f.model, []string{"d.npz: got no certificate, want certificates"}},
		{f.model, f.model, []string{"m.safetensors: got no certificate, want certificates"}},
	} {
		r := run(args("check %s --model %s --data %s", c.file, c.model, f.data)...)
		assert.Equal(t, 2, r.code, c.file)
		assert.Empty(t, r.stdout)
		assert.Equal(t, 1, strings.Count(r.stderr, "\n"), r.stderr)
		for _, want := range c.want {
			assert.Contains(t, r.stderr, want)
		}
	}
}

// The result says what was proved, and what is less than required fails.
func TestCheckRequires(t *testing.T) {
	f := newFiles(t)
	var line []byte
	images := 0
	for l := range bytes.Lines(readFile(t, certified(t, f, "--eps 0.01"))) {
		if bytes.Contains(l, []byte(`"certified":true`)) {
			line, images = l, images+1
		}
	}
	with := func(edit func(c *certcheck.Certificate)) []byte {
		return edited(t, line, func(c *certcheck.Certificate) { c.Margin = 0; edit(c) })
	}
	rows := func(v float64) func(c *certcheck.Certificate) {
		return func(c *certcheck.Certificate) {
			c.Label, c.Rows, c.Offsets = -1, [][]float64{make([]float64, classes)}, []float64{1000}
			c.Rows[0][1] = v
		}
	}
	path := filepath.Join(f.dir, "some.jsonl")
	check := func(code int, flags string, lines ...[]byte) map[string]any {
		t.Helper()
		require.NoError(t, os.WriteFile(path, bytes.Join(lines, nil), 0o666))
		return document(t, code, append(args("check %s --model %s --data %s", path, f.model, f.data), strings.Fields(flags)...)...)
	}
	group := func(norm, eps, level, spec string, n float64) map[string]any {
		return map[string]any{"norm": norm, "eps": eps, "level": level, "specification": spec, "valid": n}
	}

	centre := with(func(c *certcheck.Certificate) { c.Eps = "0" })
	same := with(func(c *certcheck.Certificate) { c.Eps = "1e-2" })
	third := with(func(c *certcheck.Certificate) { c.Eps = "1/300" })
	real := with(func(c *certcheck.Certificate) { c.Level = certcheck.Real })
	l2 := with(func(c *certcheck.Certificate) { c.Norm = "l2" })
	l1 := with(func(c *certcheck.Certificate) { c.Norm = "l1" })
	byRows := with(rows(1))

	doc := check(0, "", line, centre, third, real, l2, l1, byRows, with(rows(0.5)))
	assert.Equal(t, []any{
		group("l1", "0.01", "executed", "label", 1), group("l2", "0.01", "executed", "label", 1),
		group("linf", "0.01", "executed", "label", 1), group("linf", "0.01", "executed", "rows", 2),
		group("linf", "0.01", "real", "label", 1), group("linf", "1/300", "executed", "label", 1), group("linf", "0", "executed", "label", 1),
	}, doc["groups"])
	assert.EqualValues(t, 1, doc["images"])
	r := run(args("check %s --model %s --data %s", path, f.model, f.data)...)
	assert.Regexp(t, `(?m)^ +2 +linf +0.01 +executed +rows$`, r.stdout)
	assert.Contains(t, r.stdout, "1/300")

	doc = check(1, "", line, same)
	assert.Contains(t, doc["failures"].([]any)[0].(map[string]any)["reason"], "the same as line 1", "another spelling is no other claim")
	assert.Len(t, check(0, "", byRows, with(func(c *certcheck.Certificate) { rows(1)(c); c.Offsets[0]++ }))["groups"], 1)
	check(1, "", byRows, with(func(c *certcheck.Certificate) { rows(1)(c); c.Rows[0][2] = math.Copysign(0, -1) }))

	for _, c := range []struct {
		flags  string
		line   []byte
		reason string // empty: enough
	}{
		{"--require-eps 0.01", line, ""},
		{"--require-eps 10/1000", line, ""},
		{"--require-eps 0.0100000001", line, "eps: got 0.01, but --require-eps wants 0.0100000001"},
		{"--require-eps 1/99", centre, "eps: got 0, but"},
		{"--require-norm linf", line, ""},
		{"--require-norm l2", line, ""},
		{"--require-norm l1", l2, ""},
		{"--require-norm l1", l1, ""},
		{"--require-norm linf", l2, "norm: got l2, but --require-norm wants linf"},
		{"--require-norm l2", l1, "norm: got l1, but --require-norm wants l2"},
		{"--require-level executed", line, ""},
		{"--require-level real", line, ""},
		{"--require-level real", real, ""},
		{"--require-level executed", real, "level: got real, but --require-level wants executed"},
		{"--require-eps 0", byRows, "rows: got a specification by rows"},
		{"--require-spec label", byRows, "rows: got a specification by rows"},
		{"--require-eps 0.01 --require-spec any", byRows, ""},
		{"--require-count 1", line, ""},
		{"--require-count 1", byRows, "rows: got a specification by rows"},
	} {
		if c.reason == "" {
			check(0, c.flags, c.line)
			continue
		}
		doc := check(1, c.flags, line, c.line)
		failure := doc["failures"].([]any)[len(doc["failures"].([]any))-1].(map[string]any)
		assert.Contains(t, failure["reason"], c.reason, c.flags)
		assert.EqualValues(t, 2, failure["line"])
	}
	r = run(args("check %s --model %s --data %s --require-count 2", path, f.model, f.data)...)
	assert.Equal(t, 1, r.code)

	all := certified(t, f, "--eps 0.01")
	require.Zero(t, run(args("check %s --model %s --data %s --require-eps 1/100 --require-count %d", all, f.model, f.data, images)...).code)
	r = run(args("check %s --model %s --data %s --require-count %d", all, f.model, f.data, images+1)...)
	assert.Equal(t, 1, r.code)
	assert.Contains(t, r.stderr, "--require-count wants")
	for flags, want := range map[string]string{
		"--require-eps -1": "--require-eps", "--require-norm l3": "--require-norm", "--require-level exact": "--require-level",
		"--require-spec rows": "--require-spec", "--require-count -1": "--require-count",
	} {
		r := run(append(args("check %s --model %s --data %s", all, f.model, f.data), strings.Fields(flags)...)...)
		assert.Equal(t, 2, r.code)
		assert.Contains(t, r.stderr, want)
	}
}

// The test vectors are files as any other.
func TestCheckVectors(t *testing.T) {
	const folder = "../../testdata/certificates/"
	flags := "--model " + folder + "residual.safetensors --data " + folder + "residual.npz"
	doc := document(t, 0, args("check %svalid.jsonl %s", folder, flags)...)
	assert.EqualValues(t, 1, doc["undecided"])
	assert.Greater(t, doc["valid"], 40.0)
	doc = document(t, 1, args("check %sinvalid.jsonl %s", folder, flags)...)
	assert.Zero(t, doc["valid"])
	assert.Equal(t, 1, run(args("check %svalid.jsonl %s --require-eps 1/1000", folder, flags)...).code)
}

// A checker that shares nothing with ours, testdata/certificates/check.py, confirms
// what is certified.
func TestPythonConfirms(t *testing.T) {
	python := os.Getenv("EPSBALL_PYTHON")
	if python == "" {
		t.Skip("EPSBALL_PYTHON names no Python")
	}
	f := newFiles(t)
	m, err := model.Random(residualArch(), 3)
	require.NoError(t, err)
	graph := f
	graph.model, graph.data = filepath.Join(f.dir, "residual.safetensors"), filepath.Join(f.dir, "residual.npz")
	require.NoError(t, m.Save(graph.model))
	set, err := dataset.Load(f.data)
	require.NoError(t, err)
	y := make([]int64, set.Len())
	for i, p := range predicted(t, m, set.X, set.Len()) {
		y[i] = int64(p)
	}
	writeNPZ(t, graph.data, set.X, y, []int{set.Len(), 1, 6, 6})
	for _, f := range []files{f, graph} {
		for _, flags := range []string{
			"--eps 0.01", "--norm l2 --eps 1/100", "--norm l1 --eps 0.02", "--radius --resolution 1/100 --n 20", "--method crown-ibp --norm l2 --eps 0.03 --ladder=false",
			"--method crown --eps 0.02 --ladder=false", "--method crown --norm l1 --eps 0.1 --ladder=false", "--method alpha-crown --eps 0.03 --ladder=false --n 50",
		} {
			out := certified(t, f, flags)
			doc := document(t, 0, args("check %s --model %s --data %s", out, f.model, f.data)...)
			said, err := exec.Command(python, "../../testdata/certificates/check.py", out, "--model", f.model, "--data", f.data).CombinedOutput()
			require.NoError(t, err, "%s", said)
			valid, nothing := bytes.Count(said, []byte(": valid ")), bytes.Count(said, []byte(": nothing"))
			assert.Equal(t, []any{doc["valid"], doc["undecided"]}, []any{float64(valid), float64(nothing)}, flags)
			assert.Positive(t, valid, flags)
		}
	}
}

// A run that was killed or stopped goes on: the file and the report are those of
// one that was not.
func TestCertifyResume(t *testing.T) {
	f := newFiles(t)
	for _, mode := range []string{"--eps 0.01", "--radius --resolution 1/1000", "--method alpha-crown --eps 0.02"} {
		out := certified(t, f, mode)
		whole := readFile(t, out)
		line := append(args("certify --model %s --data %s --out %s", f.model, f.data, out), strings.Fields(mode)...)
		line = slices.Clip(line)
		anew := slices.Clip(append(line, "--force"))
		want := stable(document(t, 0, anew...))
		resume := slices.Clip(append(line, "--resume"))
		for _, cut := range []int{0, 1, 1000, len(whole) / 2, len(whole) - 1, len(whole)} {
			require.NoError(t, os.WriteFile(out, whole[:cut], 0o666))
			assert.Equal(t, want, stable(document(t, 0, resume...)), "%s, cut at %d", mode, cut)
			assert.Equal(t, string(whole), string(readFile(t, out)))
		}
		require.NoError(t, os.Remove(out))
		assert.Equal(t, want, stable(document(t, 0, resume...)), "nothing to resume is a start")
		r := run(resume...)
		assert.Contains(t, r.stderr, "100 of 100 certificates are there")

		// ^C, at several places.
		for looks := int64(1); looks < 40; looks += 6 {
			stopped := runWith(countdown.New(looks), anew...)
			if stopped.code != 0 {
				require.Contains(t, stopped.stderr, "interrupted")
			}
			assert.Equal(t, want, stable(document(t, 0, resume...)))
			assert.Equal(t, sortedLines(whole), sortedLines(readFile(t, out)))
		}

		// More images go on from fewer.
		require.NoError(t, os.Remove(out))
		require.Zero(t, run(append(line, "--n", "20", "--offset", "30")...).code)
		assert.Equal(t, want, stable(document(t, 0, resume...)))
		assert.Equal(t, sortedLines(whole), sortedLines(readFile(t, out)))
	}
}

func sortedLines(b []byte) map[string]int {
	lines := map[string]int{}
	for l := range strings.Lines(string(b)) {
		lines[l]++
	}
	return lines
}

// What belongs to another run is refused and left alone.
func TestResumeRefuses(t *testing.T) {
	f := newFiles(t)
	out := certified(t, f, "--eps 0.01 --n 10")
	before := readFile(t, out)
	foreign := filepath.Join(f.dir, "diary.txt")
	require.NoError(t, os.WriteFile(foreign, []byte("dear diary\n"), 0o666))
	set, err := dataset.Load(f.data)
	require.NoError(t, err)
	base := "certify --model " + f.model + " --data " + f.data + " --resume --out " + out
	for line, want := range map[string]string{
		base + " --eps 0.02":                         "run:",
		base + " --radius":                           "run:",
		base + " --eps 0.01 --norm l2":               "norm:",
		base + " --eps 0.01 --model " + f.other:      "model:",
		"certify --eps 0.1 --resume":                 "--resume",
		base + " --eps 0.01 --out " + f.data:         "--data reads",
		base + " --eps 0.01 --out " + foreign:        "line 1",
		base + " --eps 0.01 --out " + f.dir:          "folder",
		base + " --eps 0.01 --out " + f.dir + "/x/c": "no folder",
	} {
		r := run(override(line)...)
		assert.Equal(t, 2, r.code, line)
		assert.Contains(t, r.stderr, want, line)
		assert.Empty(t, r.stdout)
		assert.Equal(t, before, readFile(t, out))
	}
	y := make([]int64, set.Len())
	writeNPZ(t, f.data, set.X, y, []int{f.n, 1, 6, 6}) // other labels under the same name
	r := run(strings.Fields(base + " --eps 0.01")...)
	assert.Equal(t, 2, r.code)
	assert.Contains(t, r.stderr, "not the image or the label")
}

// ^C leaves what was checked until then.
func TestCheckStops(t *testing.T) {
	f := newFiles(t)
	out := certified(t, f, "--eps 0.01")
	r := runWith(countdown.New(60), args("check %s --model %s --data %s --threads 1 --json", out, f.model, f.data)...)
	assert.Equal(t, 1, r.code)
	assert.Contains(t, r.stderr, "interrupted")
	doc := r.document(t)
	assert.Less(t, doc["checked"], 60.0)
	assert.Equal(t, doc["checked"], doc["valid"])
}
