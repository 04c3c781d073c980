package main

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/epsball/epsball/dataset"
	certcheck "github.com/epsball/epsball/verify/check"
)

// certified writes certificates of the test files and returns their path.
func certified(t *testing.T, f files, extra string) string {
	out := filepath.Join(f.dir, "certs.jsonl")
	r := run(append(args("certify --model %s --data %s --out %s", f.model, f.data, out), strings.Fields(extra)...)...)
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
			assert.Equal(t, []string{"checked", "data", "failures", "file", "invalid", "model", "seconds", "threads", "undecided", "valid"}, keys(c))
			assert.Equal(t, c["checked"], c["valid"])
			assert.Zero(t, c["invalid"])
			assert.Empty(t, c["failures"])
			assert.Equal(t, doc["n"], c["checked"].(float64)+c["undecided"].(float64), "a line for each image")
			if doc["eps"] != nil {
				assert.InDelta(t, doc["certified"].(float64)*doc["n"].(float64), c["valid"], 1e-9)
			}
			assert.Positive(t, c["valid"])
			assert.Positive(t, c["undecided"])
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
	wide := func(line []byte) []byte { // sealed anew
		body, _, _ := bytes.Cut(bytes.Replace(line, []byte(`"eps":"0.01"`), []byte(`"eps":"0.3"`), 1), []byte(`,"sum":"`))
		return join(body, []byte(`,"sum":"`+certcheck.Seal(body)+"\"}\n"))
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
		{"model", f.other, f.data, join(valid...), len(valid), len(valid), "the model's hash is"},
		{"labels", f.model, other, join(valid...), len(valid), len(valid), "but the data say"},
		{"images", f.model, shifted, join(valid...), len(valid), len(valid), "the image's hash is"},
		{"short data", f.model, few, valid[3], 1, 1, "the data have 1 image"},
		{"binary", f.model, f.data, []byte("\x00\xff\n"), 1, 1, "UTF-8"},
		{"empty", f.model, f.data, nil, 0, 0, ""},
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

// A run that was killed or stopped goes on: the file and the report are those of
// one that was not.
func TestCertifyResume(t *testing.T) {
	f := newFiles(t)
	for _, mode := range []string{"--eps 0.01", "--radius --resolution 1/1000", "--method alpha-crown --eps 0.02"} {
		out := certified(t, f, mode)
		whole := readFile(t, out)
		line := append(args("certify --model %s --data %s --out %s", f.model, f.data, out), strings.Fields(mode)...)
		line = slices.Clip(line)
		want := stable(document(t, 0, line...))
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
			stopped := runWith(newCountdown(looks), line...)
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
	set, err := dataset.Load(f.data)
	require.NoError(t, err)
	base := "certify --model " + f.model + " --data " + f.data + " --resume --out " + out
	for line, want := range map[string]string{
		base + " --eps 0.02":                         "run:",
		base + " --radius":                           "run:",
		base + " --eps 0.01 --norm l2":               "norm:",
		base + " --eps 0.01 --model " + f.other:      "model:",
		"certify --eps 0.1 --resume":                 "--resume",
		base + " --eps 0.01 --out " + f.data:         "line 1",
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
	r := runWith(newCountdown(60), args("check %s --model %s --data %s --threads 1 --json", out, f.model, f.data)...)
	assert.Equal(t, 1, r.code)
	assert.Contains(t, r.stderr, "interrupted")
	doc := r.document(t)
	assert.Less(t, doc["checked"], 60.0)
	assert.Equal(t, doc["checked"], doc["valid"])
}
