package main

import (
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/epsball/epsball/report"
)

// fake makes this program act as epsball and as Python.
const fake = "EPSBALL_VNNCOMP_FAKE"

func TestMain(m *testing.M) {
	if os.Getenv(fake) != "" {
		os.Exit(act(os.Args))
	}
	os.Exit(m.Run())
}

// act prints the property file, as epsball, or the network's, as Python. "slow" sleeps
// first, "fail" fails.
func act(args []string) int {
	if args[1] == "-c" && strings.HasPrefix(args[2], "import numpy") {
		return 0
	}
	file := args[len(args)-1]
	if args[1] == "-c" {
		file = args[len(args)-2]
		if doc, _ := io.ReadAll(os.Stdin); !strings.Contains(string(doc), "verdict") {
			return 3
		}
	}
	f, err := os.OpenFile(os.Getenv(fake), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o666)
	if err != nil {
		return 4
	}
	fmt.Fprintln(f, strings.ReplaceAll(strings.Join(args[1:], " "), "\n", " "))
	f.Close()
	data, err := os.ReadFile(file)
	if err != nil {
		return 5
	}
	text := string(data)
	if rest, ok := strings.CutPrefix(text, "slow"); ok {
		time.Sleep(1500 * time.Millisecond)
		text = rest
	}
	if strings.HasPrefix(text, "fail") {
		fmt.Fprintln(os.Stderr, "epsball: "+text)
		return 2
	}
	fmt.Println(text)
	return 0
}

// said is a document of verify.
func said(t *testing.T, verdict string) string {
	var b bytes.Buffer
	r := &report.Verify{Verdict: verdict, By: "bounds"}
	require.NoError(t, report.Write(&b, r))
	return b.String()
}

type files map[string]string

// folderOf writes a folder.
func folderOf(t *testing.T, list files) string {
	dir := filepath.Join(t.TempDir(), "bench")
	for name, text := range list {
		path := filepath.Join(dir, name)
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o777))
		data := []byte(text)
		if strings.HasSuffix(name, ".csv.gz") {
			var b bytes.Buffer
			z := gzip.NewWriter(&b)
			_, err := z.Write(data)
			require.NoError(t, err)
			require.NoError(t, z.Close())
			data = b.Bytes()
		}
		require.NoError(t, os.WriteFile(path, data, 0o666))
	}
	return dir
}

// faked runs a command line with fakes, and returns what was called.
func faked(t *testing.T, args ...string) (out string, calls []string, bad int, err error) {
	t.Helper()
	log := filepath.Join(t.TempDir(), "calls")
	t.Setenv(fake, log)
	exe, err := os.Executable()
	require.NoError(t, err)
	var b bytes.Buffer
	for i, a := range args {
		if a == "python" {
			args[i] = exe
		}
	}
	bad, err = run(t.Context(), append([]string{"-epsball", exe}, args...), &b)
	if data, e := os.ReadFile(log); e == nil {
		calls = strings.Split(strings.TrimSpace(string(data)), "\n")
	}
	return b.String(), calls, bad, err
}

// five is a folder of five instances, with other tools.
func five(t *testing.T) files {
	return files{
		"instances.csv.gz": "onnx/n.onnx,vnnlib/a.vnnlib,30\nonnx/n.onnx,vnnlib/b.vnnlib,300\nonnx/n.onnx,vnnlib/c.vnnlib,10\nonnx/m.onnx,vnnlib/d.vnnlib,10\nonnx/n.onnx,vnnlib/e.vnnlib,10\n",
		"truth.csv":        "onnx,vnnlib,timeout_s,truth\nn.onnx,a.vnnlib,1,unsat\nn.onnx,b.vnnlib,1,sat\nn.onnx,c.vnnlib,1,open\nm.onnx,d.vnnlib,1,unsat\nn.onnx,e.vnnlib,1,unsat\n",
		"published.csv": "onnx,vnnlib,old_verdict,old_seconds,other_verdict,other_seconds\n" +
			"n.onnx,a.vnnlib,unsat,20,sat,1\nn.onnx,b.vnnlib,sat,250,sat,2\nn.onnx,c.vnnlib,error,,timeout,10\nm.onnx,d.vnnlib,timeout,3,unsat,3\nn.onnx,e.vnnlib,unsat,2,unknown,1\n",
		"onnx/n.onnx": `{"result":"valid"}`, "onnx/m.onnx": `{"result":"tolerance","reason":"nearly"}`,
		"vnnlib/a.vnnlib": said(t, "unsat"), "vnnlib/b.vnnlib": said(t, "sat"), "vnnlib/c.vnnlib": said(t, "timeout"),
		"vnnlib/d.vnnlib": said(t, "unsat"), "vnnlib/e.vnnlib": "fail: no such layer",
	}
}

func TestJudge(t *testing.T) {
	dir := folderOf(t, five(t))
	svg := filepath.Join(t.TempDir(), "c.svg")
	out, calls, bad, err := faked(t, "-timeout", "60", "-replay", "python", "-plot", svg, dir)
	require.NoError(t, err)
	assert.Zero(t, bad)
	lines := strings.Split(strings.TrimSpace(out), "\n")
	require.Len(t, lines, 5+1+4, out)
	assert.Regexp(t, `^unsat .* n.onnx +a.vnnlib +unsat +1u/1s  unsat in `, lines[0])
	assert.Regexp(t, `^sat .* n.onnx +b.vnnlib +sat +0u/2s  valid  sat in `, lines[1])
	assert.Regexp(t, `^timeout .* open `, lines[2])
	assert.Regexp(t, `^error .*  epsball: fail: no such layer$`, lines[4])
	assert.Contains(t, lines[5], "bench: 5 instances: unsat 2, sat 1, unknown 0, timeout 1, error 1; wrong 0; witnesses replayed 1, valid 1; score 30 of 50 (VNN-COMP 2025); median")
	assert.Regexp(t, `epsball +2 +1 +0 +30`, lines[7])
	assert.Regexp(t, `old +2 +1 +0 +30 +1$`, strings.TrimSpace(lines[8]))
	assert.Regexp(t, `other +1 +1 +1 +-130 +0$`, strings.TrimSpace(lines[9]))
	require.Len(t, calls, 6)
	assert.Regexp(t, `^verify --json --timeout 30 --threads 2 \S+onnx/n.onnx \S+vnnlib/a.vnnlib$`, calls[0])
	assert.Contains(t, calls[1], "--timeout 60 ")
	assert.True(t, strings.HasPrefix(calls[2], "-c "), "the witness is replayed")
	data, err := os.ReadFile(svg)
	require.NoError(t, err)
	for _, name := range []string{"epsball, 3", "old, 3", "other, 2"} {
		assert.Contains(t, string(data), name)
	}
}

func TestJudged(t *testing.T) {
	for _, c := range []struct {
		verdict, truth, replay string
		want                   judgement
	}{
		{"unsat", "unsat", "", judgement{right: true}},
		{"unsat", "sat", "", judgement{wrong: true, note: "WRONG"}},
		{"unsat", "open", "", judgement{right: true}},
		{"unsat", "", "", judgement{right: true}},
		{"sat", "sat", "", judgement{right: true}},
		{"sat", "unsat", "", judgement{wrong: true, note: "WRONG"}},
		{"sat", "sat", "valid", judgement{right: true, note: "valid"}},
		{"sat", "unsat", "valid", judgement{right: true, disputed: true, note: "DISPUTED: truth.csv says unsat, the witness is valid"}},
		{"sat", "unsat", "tolerance: nearly", judgement{right: true, note: "tolerance: nearly"}},
		{"sat", "sat", "invalid: far", judgement{wrong: true, note: "WRONG: invalid: far"}},
		{"timeout", "sat", "", judgement{}},
		{"unknown", "unsat", "", judgement{}},
		{"error", "sat", "", judgement{}},
	} {
		assert.Equal(t, c.want, judged(&result{verdict: c.verdict, replay: c.replay}, c.truth), "%v", c)
	}
}

// TestWrong: a wrong verdict, one that comes too late, and an invalid witness.
func TestWrong(t *testing.T) {
	list := five(t)
	list["onnx/n.onnx"] = `{"result":"invalid","reason":"outside"}`
	list["vnnlib/a.vnnlib"] = "slow" + said(t, "unsat")
	list["vnnlib/d.vnnlib"] = said(t, "sat")
	dir := folderOf(t, list)
	out, _, bad, err := faked(t, "-timeout", "0.1", "-replay", "python", dir)
	require.NoError(t, err)
	assert.Equal(t, 1, bad)
	assert.Regexp(t, `timeout .* a.vnnlib .* too late: unsat in`, out)
	assert.Regexp(t, `sat .* b.vnnlib .* WRONG: invalid: outside`, out)
	assert.Regexp(t, `sat .* d.vnnlib .* tolerance: nearly`, out)
	assert.Contains(t, out, "wrong 1; witnesses replayed 2, valid 0, within tolerance 1; score -140 of 50")
	_, _, bad, err = faked(t, "-only", "d.vnnlib", dir)
	require.NoError(t, err)
	assert.Equal(t, 1, bad, "without a replay, truth.csv counts")
}

// TestResume: what is done is not done again, a line cut short is, and results of other
// settings are refused.
func TestResume(t *testing.T) {
	dir, file := folderOf(t, five(t)), filepath.Join(t.TempDir(), "r.csv")
	first, calls, _, err := faked(t, "-out", file, dir)
	require.NoError(t, err)
	require.Len(t, calls, 5)
	data, err := os.ReadFile(file)
	require.NoError(t, err)
	require.Equal(t, 6, bytes.Count(data, []byte("\n")))

	_, _, _, err = faked(t, "-out", file, dir)
	require.ErrorContains(t, err, "exists; go on with it by -resume")
	second, calls, _, err := faked(t, "-out", file, "-resume", dir)
	require.NoError(t, err)
	require.Empty(t, calls)
	blank := func(s string) string { return strings.Join(strings.Fields(s), " ") }
	require.Equal(t, blank(first), blank(second))

	require.NoError(t, os.WriteFile(file, data[:len(data)-10], 0o666))
	_, calls, _, err = faked(t, "-out", file, "-resume", dir)
	require.NoError(t, err)
	require.Len(t, calls, 1, "the last instance")
	again, err := os.ReadFile(file)
	require.NoError(t, err)
	require.Equal(t, 6, bytes.Count(again, []byte("\n")))

	// A witness that was not replayed is wanted again.
	_, calls, _, err = faked(t, "-out", file, "-resume", "-replay", "python", dir)
	require.NoError(t, err)
	require.Len(t, calls, 2)
	_, calls, _, err = faked(t, "-out", file, "-resume", "-replay", "python", dir)
	require.NoError(t, err)
	require.Empty(t, calls)

	_, _, _, err = faked(t, "-out", file, "-resume", "-threads", "1", dir)
	require.ErrorContains(t, err, "was run for 30 s on 2 threads, want the same, not 30 s on 1")
	require.NoError(t, os.WriteFile(file, []byte("a,b,c,d,e,f,g,h,i\n"), 0o666))
	_, _, _, err = faked(t, "-out", file, "-resume", dir)
	require.ErrorContains(t, err, "got columns [a b")
	require.NoError(t, os.WriteFile(file, append([]byte(strings.Join(resultHead, ",")+"\n"), "f,o,v,x,2,sat,1,,\n"...), 0o666))
	_, _, _, err = faked(t, "-out", file, "-resume", dir)
	require.ErrorContains(t, err, "line 2: ")
}

func TestInterrupt(t *testing.T) {
	dir := folderOf(t, five(t))
	t.Setenv(fake, filepath.Join(t.TempDir(), "calls"))
	exe, err := os.Executable()
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = run(ctx, []string{"-epsball", exe, dir}, io.Discard)
	require.ErrorIs(t, err, context.Canceled)
}

func TestBadInput(t *testing.T) {
	for want, change := range map[string]files{
		"instances.csv, line 1: got 2 columns":                        {"instances.csv": "a,b\n"},
		`instances.csv, line 2: got the timeout "0"`:                  {"instances.csv": "a,b,3\na,c,0\n"},
		"truth.csv: got no column truth":                              {"truth.csv": "onnx,vnnlib,said\n"},
		"truth.csv, line 2: got 2 columns, want 3":                    {"truth.csv": "onnx,vnnlib,truth\na,b\n"},
		"truth.csv: got an empty file":                                {"truth.csv": ""},
		"got the column a_verdict, want a_seconds, too":               {"published.csv": "onnx,vnnlib,a_verdict\nx,y,sat\n"},
		`published.csv, line 2: got "soon" seconds of a`:              {"published.csv": "onnx,vnnlib,a_verdict,a_seconds\nx,y,sat,soon\n"},
		`replay: got the result "perhaps", want valid`:                {"onnx/n.onnx": `{"result":"perhaps"}`},
		"replay: got \"poem\\n\", want a JSON document":               {"onnx/n.onnx": "poem"},
		"replay: exit status 2: epsball: fail: no module onnxruntime": {"onnx/n.onnx": "fail: no module onnxruntime"},
	} {
		list := five(t)
		for name, text := range change {
			list[name] = text
		}
		_, _, _, err := faked(t, "-replay", "python", folderOf(t, list))
		require.ErrorContains(t, err, want)
	}
	dir := folderOf(t, five(t))
	for want, args := range map[string][]string{
		"want folders": {}, "-timeout: got -1": {"-timeout", "-1", dir}, "-threads: got 0": {"-threads", "0", dir},
		"-resume: has no meaning without -out": {"-resume", dir}, "two folders of the name bench": {"-out", filepath.Join(dir, "r.csv"), dir, dir}, "no such file": {filepath.Join(dir, "none")},
		"-epsball: ": {"-epsball", filepath.Join(dir, "none"), dir}, "-replay: ": {"-replay", filepath.Join(dir, "none"), dir},
	} {
		_, _, _, err := faked(t, args...)
		require.ErrorContains(t, err, want)
	}
}
