package main

import (
	"bytes"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/epsball/epsball/internal/countdown"
	"github.com/epsball/epsball/model"
	"github.com/epsball/epsball/report"
)

// testCommand is the variable of the environment that makes the test program the
// command itself.
const testCommand = "EPSBALL_TEST_COMMAND"

// testSaveEvery is one that says how often that command writes checkpoints of verify.
const testSaveEvery = "EPSBALL_TEST_SAVE_EVERY"

// process is the command as a process of its own.
type process struct {
	cmd            *exec.Cmd
	stdout, stderr bytes.Buffer
}

func start(t *testing.T, args ...string) *process {
	if runtime.GOOS == "js" || runtime.GOOS == "wasip1" {
		t.Skip("no processes")
	}
	p := &process{cmd: exec.Command(os.Args[0], args...)}
	p.cmd.Env = append(os.Environ(), testCommand+"=1")
	p.cmd.Stdout, p.cmd.Stderr = &p.stdout, &p.stderr
	require.NoError(t, p.cmd.Start())
	t.Cleanup(func() { _ = p.cmd.Process.Kill(); _ = p.cmd.Wait() })
	return p
}

func (p *process) wait() int {
	_ = p.cmd.Wait()
	return p.cmd.ProcessState.ExitCode()
}

func (p *process) waitFor(t *testing.T, holds func() bool) {
	for range 3000 {
		if holds() {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	require.Fail(t, "nothing happens", p.stderr.String())
}

// refused runs a command line that must be refused in one line with these words,
// before it does anything.
func refused(t *testing.T, line string, want ...string) {
	t.Helper()
	r := run(append(strings.Fields(line), "--json")...)
	assert.Equal(t, 2, r.code, "%s: %s", line, r.stderr)
	assert.Empty(t, r.stdout, line)
	assert.Equal(t, 1, strings.Count(r.stderr, "\n"), "%s: one line, got %q", line, r.stderr)
	for _, w := range want {
		assert.Contains(t, r.stderr, w, line)
	}
	if testing.Verbose() {
		t.Logf("%s\n    %s", line, r.stderr)
	}
}

// writers are command lines that write a file, without its name.
func writers(f files) map[string]string {
	on := " --model " + f.model + " --data " + f.data
	return map[string]string{
		"adv.npz":         "attack --eps 0.1 --steps 2 --checks off" + on + " --out ",
		"c.jsonl":         "certify --eps 0.01 --n 20" + on + " --out ",
		"radii.svg":       "certify --radius --resolution 0.1 --n 20" + on + " --plot ",
		"t.safetensors":   "train --arch " + f.model + " --epochs 1 --batch 50 --test-data none --data " + f.data + " --checkpoint " + f.dir + "/other-cp --force --out ",
		"cp":              "train --arch " + f.model + " --epochs 1 --batch 50 --test-data none --data " + f.data + " --out " + f.dir + "/fresh.safetensors --checkpoint ",
		"i.safetensors":   "import " + f.dir + "/in.onnx --out ",
		"e.onnx":          "export " + f.model + " --out ",
		"b16.safetensors": "convert " + f.model + " --weights bf16 --out ",
		"roof.svg":        "bench --time 1ms --filter ^forward/m/b1/t1$ --model " + f.model + " --plot ",
	}
}

// TestExistingFiles: every command leaves a file alone that is there, and replaces
// it with --force; nothing else is left behind.
func TestExistingFiles(t *testing.T) {
	f := newFiles(t)
	require.Zero(t, run("export", f.model, "--out", f.dir+"/in.onnx").code)
	const old = "what somebody needs"
	for name, line := range writers(f) {
		path := filepath.Join(f.dir, name)
		require.NoError(t, os.WriteFile(path, []byte(old), 0o640))
		want := []string{path + " exists", "--force"}
		if name == "c.jsonl" || name == "cp" {
			want = append(want, "--resume")
		}
		refused(t, strings.Replace(line, " --force", "", 1)+path, want...)
		assert.Equal(t, old, string(readFile(t, path)), name)

		r := run(append(strings.Fields(line+path), "--force")...)
		assert.Zero(t, r.code, "%s: %s", line, r.stderr)
		assert.NotEqual(t, old, string(readFile(t, path)), name)
		if runtime.GOOS != "windows" {
			info, err := os.Stat(path)
			require.NoError(t, err)
			assert.Equal(t, os.FileMode(0o640), info.Mode().Perm(), "%s keeps its mode", name)
		}
	}
	for _, pattern := range []string{"*.lock", "*.tmp"} {
		left, err := filepath.Glob(filepath.Join(f.dir, pattern))
		require.NoError(t, err)
		assert.Empty(t, left)
	}
}

// TestForgottenResume: the finished part of a run stays.
func TestForgottenResume(t *testing.T) {
	f := newFiles(t)
	out := certified(t, f, "--eps 0.01 --n 40")
	before := readFile(t, out)
	line := "certify --eps 0.01 --model " + f.model + " --data " + f.data + " --out " + out
	refused(t, line, out+" exists", "--resume", "--force")
	assert.Equal(t, before, readFile(t, out))
	require.Zero(t, run(strings.Fields(line+" --resume")...).code)
	assert.True(t, bytes.HasPrefix(readFile(t, out), before))
	require.Zero(t, run(strings.Fields(line+" --n 10 --force")...).code)
	assert.Equal(t, 10, bytes.Count(readFile(t, out), []byte("\n")))
}

// TestInputIsOutput: a file that a command reads is not written, by whatever name
// and in spite of --force.
func TestInputIsOutput(t *testing.T) {
	f := newFiles(t)
	path := func(name string) string { return filepath.Join(f.dir, name) }
	require.Zero(t, run("export", f.model, "--out", path("in.onnx")).code)
	names := []string{f.data, f.model, path("in.onnx")}
	alias := func(name, target string) string {
		if err := os.Link(target, path("hard-"+name)); err != nil {
			t.Skipf("no links: %v", err)
		}
		if runtime.GOOS != "windows" {
			require.NoError(t, os.Symlink(filepath.Base(target), path("soft-"+name)))
			require.NoError(t, os.Symlink(path("soft-"+name), path("twice-"+name)))
		}
		return path("hard-" + name)
	}
	arrays, weights := alias("d.npz", f.data), alias("m.safetensors", f.model)
	modelPlot, modelArrays, network := alias("p.svg", f.model), alias("m.npz", f.model), alias("in.safetensors", path("in.onnx"))
	certs, onnx := alias("d.jsonl", f.data), alias("m.onnx", f.model)
	photos := path("photos")
	require.NoError(t, os.Mkdir(photos, 0o777))
	inside := filepath.Join(photos, "t10k-labels-idx1-ubyte")
	require.NoError(t, os.WriteFile(inside, []byte("labels"), 0o666))
	names = append(names, inside)
	var before []string
	for _, n := range names {
		before = append(before, string(readFile(t, n)))
	}

	on := " --force --model " + f.model + " --data " + f.data
	train := "train --force --epochs 1 --batch 50 --arch " + f.model + " --data " + f.data
	for line, want := range map[string]string{
		"attack" + on + " --out " + f.data:                                                              f.data + " is what --data reads",
		"attack" + on + " --out " + arrays:                                                              arrays + " is what --data reads",
		"attack" + on + " --out " + modelArrays:                                                         "is what --model reads",
		"attack" + on + " --out " + f.model:                                                             "is what --model reads",
		"certify --eps 0.1" + on + " --out " + f.data:                                                   "is what --data reads",
		"certify --eps 0.1" + on + " --out " + certs:                                                    "is what --data reads",
		"certify --eps 0.1 --resume" + on + " --out " + certs:                                           "is what --data reads",
		"certify --radius" + on + " --plot " + modelPlot:                                                "is what --model reads",
		"certify --eps 0.1 --force --model " + f.model + " --data " + photos + " --out " + inside:       "is in the folder that --data reads",
		train + " --out " + f.model:                                                                     "is what --arch reads",
		train + " --out " + weights:                                                                     "is what --arch reads",
		train + " --test-data " + arrays + " --checkpoint " + certs + " --out " + path("o.safetensors"): "--checkpoint: " + certs + " is what --data reads",
		"import --force " + path("in.onnx") + " --out " + network:                                       "is what the command reads",
		"export --force " + f.model + " --out " + onnx:                                                  "is what the command reads",
		"convert --force " + f.model + " --out " + f.model:                                              "is what the command reads",
		"bench --force --model " + f.model + " --plot " + modelPlot:                                     "is what --model reads",
	} {
		refused(t, line, want)
	}
	if runtime.GOOS != "windows" {
		for _, prefix := range []string{"soft-", "twice-"} {
			refused(t, "attack"+on+" --out "+path(prefix+"d.npz"), "is what --data reads")
			refused(t, "convert --force "+f.model+" --out "+path(prefix+"m.safetensors"), "is what the command reads")
		}
	}
	for i, n := range names {
		assert.Equal(t, before[i], string(readFile(t, n)), n)
	}

	// Nor is one file written twice.
	refused(t, train+" --out "+path("same.safetensors")+" --checkpoint "+filepath.Join(f.dir, ".", "same.safetensors"), "--checkpoint", "--out writes the same file")
}

// TestFileNames: what is written is not what its name says.
func TestFileNames(t *testing.T) {
	f := newFiles(t)
	path := func(name string) string { return filepath.Join(f.dir, name) }
	on := " --model " + f.model + " --data " + f.data
	for line, want := range map[string][]string{
		"attack" + on + " --out " + path("adv.png"):                                {"adv.png", "an archive of arrays", ".npz"},
		"attack" + on + " --out " + path("adv"):                                    {"adv", ".npz"},
		"certify --eps 0.1" + on + " --out " + path("radii.svg"):                   {"radii.svg", "lines of JSON", "certs.jsonl"},
		"certify --radius" + on + " --plot " + path("radii.png"):                   {"radii.png", "SVG", ".svg"},
		"train --arch " + f.model + " --data " + f.data + " --out " + path("m.pt"): {"m.pt", "a model file", ".safetensors"},
		"import in.onnx --out " + path("m.onnx"):                                   {"m.onnx", "a model file", ".safetensors"},
		"export " + f.model + " --out " + path("m.safetensors"):                    {"m.safetensors"},
		"convert " + f.model + " --out " + path("m.npz"):                           {"m.npz", "a model file"},
		"bench --model " + f.model + " --plot " + path("roofline.png"):             {"roofline.png", "SVG"},
	} {
		refused(t, line, append(want, "--")...)
	}
}

// TestUnwritableFolder is found before the work: the data set is not even there.
func TestUnwritableFolder(t *testing.T) {
	f := newFiles(t)
	folder := filepath.Join(f.dir, "locked")
	require.NoError(t, os.Mkdir(folder, 0o555))
	if os.WriteFile(filepath.Join(folder, "x"), nil, 0o666) == nil { // root may write anywhere but here
		if folder = "/proc"; os.WriteFile("/proc/x", nil, 0o666) == nil || runtime.GOOS != "linux" {
			t.Skip("every folder can be written")
		}
	}
	for _, line := range []string{
		"attack --model m --data none.npz --out " + folder + "/adv.npz",
		"certify --eps 0.1 --model m --data none.npz --out " + folder + "/c.jsonl",
		"certify --radius --model m --data none.npz --plot " + folder + "/p.svg",
		"train --arch m --data none.npz --out " + folder + "/m.safetensors",
		"train --arch m --data none.npz --checkpoint " + folder + "/c --out " + f.dir + "/x.safetensors",
		"export none.safetensors --out " + folder + "/m.onnx",
		"bench --plot " + folder + "/p.svg",
	} {
		refused(t, line, folder, "no file can be created in folder "+folder)
	}
}

// TestStandardOutput: with - the bytes go to standard output and the report to
// standard error; they are those of a file.
func TestStandardOutput(t *testing.T) {
	f := newFiles(t)
	require.Zero(t, run("export", f.model, "--out", f.dir+"/in.onnx").code)
	for name, line := range writers(f) {
		if name == "cp" {
			continue
		}
		path := filepath.Join(f.dir, name)
		require.Zero(t, run(strings.Fields(line+path)...).code, line)
		for _, dash := range []string{"-", "/dev/stdout"} {
			r := run(strings.Fields(line + dash)...)
			require.Zero(t, r.code, "%s: %s", line, r.stderr)
			if name == "roof.svg" { // other figures each time
				assert.True(t, strings.HasPrefix(r.stdout, "<svg") && strings.HasSuffix(r.stdout, "</svg>\n"))
			} else if name != "t.safetensors" { // its card holds the command line
				assert.Equal(t, string(readFile(t, path)), r.stdout, line)
			}
			assert.NotEmpty(t, r.stderr, line)
		}
		r := run(append(strings.Fields(line+"-"), "--json")...)
		require.Zero(t, r.code)
		assert.Contains(t, r.stderr, "\n}\n", "the report is on standard error")
	}
	line := writers(f)["t.safetensors"]
	r := run(override(line + "- --test-data " + f.data)...)
	require.Zero(t, r.code, r.stderr)
	m, err := model.Decode([]byte(r.stdout), "")
	require.NoError(t, err)
	assert.NotEmpty(t, m.Card[report.CardClean])
	on := " --model " + f.model + " --data " + f.data
	refused(t, "train --arch "+f.model+" --data "+f.data+" --out -", "--checkpoint", "required")
	refused(t, "train --arch "+f.model+" --data "+f.data+" --checkpoint - --out x.safetensors", "--checkpoint", "not a regular file")
	refused(t, "certify --eps 0.1 --resume --out -"+on, "--out", "not a regular file")
	refused(t, "certify --radius --plot - --out -"+on, "--plot", "taken by --out")
	assert.NoFileExists(t, "-")
}

// TestPipes: a named pipe and a descriptor are written to as they are.
func TestPipes(t *testing.T) {
	f := newFiles(t)
	line := args("attack --model %s --data %s --eps 0.1 --steps 2 --checks off --out", f.model, f.data)
	path := filepath.Join(f.dir, "adv.npz")
	require.Zero(t, run(append(line, path)...).code)
	want := readFile(t, path)

	fifo := filepath.Join(f.dir, "fifo")
	mkfifo, err := exec.LookPath("mkfifo")
	if err != nil || exec.Command(mkfifo, fifo).Run() != nil {
		t.Skip("no named pipes")
	}
	certs := args("certify --model %s --data %s --eps 0.01 --n 20 --out", f.model, f.data)
	whole := filepath.Join(f.dir, "c.jsonl")
	require.Zero(t, run(append(certs, whole)...).code)
	for _, c := range []struct {
		line []string
		want []byte
	}{{line, want}, {certs, readFile(t, whole)}} {
		got := make(chan []byte)
		go func() {
			r, err := os.Open(fifo)
			if err != nil {
				close(got)
				return
			}
			b, _ := io.ReadAll(r)
			r.Close() // or the next writer would not wait for a reader of its own
			got <- b
		}()
		r := run(append(c.line, fifo)...)
		require.Zero(t, r.code, r.stderr)
		assert.Equal(t, string(c.want), string(<-got))
		info, err := os.Stat(fifo)
		require.NoError(t, err)
		assert.NotZero(t, info.Mode()&os.ModeNamedPipe, "it still is a pipe")
	}
	refused(t, strings.Join(certs, " ")+" "+fifo+" --resume", "not a regular file")

	// As a shell does with >(…) and 3>….
	file, err := os.Create(filepath.Join(f.dir, "third"))
	require.NoError(t, err)
	_, err = file.WriteString("kept ")
	require.NoError(t, err)
	p := &process{cmd: exec.Command(os.Args[0], append(line, "/dev/fd/3")...)}
	p.cmd.Env, p.cmd.ExtraFiles, p.cmd.Stderr = append(os.Environ(), testCommand+"=1"), []*os.File{file}, &p.stderr
	require.NoError(t, p.cmd.Run(), p.stderr.String())
	assert.Equal(t, "kept "+string(want), string(readFile(t, file.Name())))
	refused(t, strings.Join(line, " ")+" /dev/fd/999999", "/dev/fd/999999")
}

// TestTwoProcesses: the second process at a file is refused, and loses nothing of
// the first; a kill frees the file.
func TestTwoProcesses(t *testing.T) {
	f := newFiles(t)
	out := filepath.Join(f.dir, "c.jsonl")
	line := args("certify --model %s --data %s --method alpha-crown --eps 0.01 --iterations 30000 --threads 1 --out %s", f.model, f.data, out)
	first := start(t, line...)
	first.waitFor(t, func() bool { info, err := os.Stat(out); return err == nil && info.Size() > 0 })
	for _, extra := range []string{"", "--resume", "--force"} {
		second := start(t, append(line, strings.Fields(extra)...)...)
		assert.Equal(t, 2, second.wait(), extra)
		assert.Equal(t, "epsball: --out: "+out+": another process is writing it\n", second.stderr.String())
		assert.Empty(t, second.stdout.String())
	}
	// A process that checks may read it meanwhile.
	assert.NotEqual(t, 2, run("check", out, "--model", f.model, "--data", f.data).code)

	require.NoError(t, first.cmd.Process.Kill())
	first.wait()
	before := readFile(t, out)
	require.NotContains(t, string(before), "\x00")
	whole := before[:bytes.LastIndexByte(before, '\n')+1]
	interrupted := runWith(countdown.New(10), append(line, "--resume")...)
	assert.Equal(t, 1, interrupted.code, interrupted.stderr)
	assert.True(t, bytes.HasPrefix(readFile(t, out), whole))
	doc := run("check", out, "--model", f.model, "--data", f.data, "--json").document(t)
	assert.Zero(t, doc["invalid"])
	assert.EqualValues(t, bytes.Count(readFile(t, out), []byte("\n")), doc["valid"].(float64)+doc["undecided"].(float64))

	// Outputs that are renamed at the end.
	for name, args := range map[string][]string{
		"adv.npz":       args("attack --model %s --data %s --eps 0.02 --steps 10 --restarts 1000000", f.model, f.data),
		"t.safetensors": args("train --arch %s --data %s --epochs 1000000 --batch 50", f.model, f.data),
	} {
		out := filepath.Join(f.dir, name)
		line := append(args, "--out", out)
		first := start(t, line...)
		first.waitFor(t, func() bool { _, err := os.Stat(out + ".lock"); return err == nil })
		for _, extra := range []string{"", "--force"} {
			second := start(t, append(line, strings.Fields(extra)...)...)
			assert.Equal(t, 2, second.wait(), name)
			if !strings.Contains(second.stderr.String(), "left by an earlier run") { // the first's checkpoint
				assert.Equal(t, "epsball: --out: "+out+": another process is writing it\n", second.stderr.String())
			}
		}
		require.NoError(t, first.cmd.Process.Kill())
		first.wait()
		r := runWith(countdown.New(100), append(line, "--force")...)
		assert.Equal(t, 1, r.code, r.stderr)
		assert.NoFileExists(t, out+".lock")
	}
}
