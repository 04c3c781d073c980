package main

import (
	"bytes"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/epsball/epsball/audit"
	"github.com/epsball/epsball/dataset/mnist"
	"github.com/epsball/epsball/internal/checkpoint"
	"github.com/epsball/epsball/internal/countdown"
	"github.com/epsball/epsball/internal/query"
	"github.com/epsball/epsball/internal/vnnlib"
	"github.com/epsball/epsball/kernels"
	"github.com/epsball/epsball/net"
	"github.com/epsball/epsball/zoo"
)

// hard is a query that branch and bound proves in some tens of parts, and what a checkpoint
// of it is of.
func hard(t *testing.T, eps float32) (model, property string, n *net.Network, questions []audit.Question, of checkpoint.Of) {
	t.Helper()
	set, err := mnist.Test()
	require.NoError(t, err)
	const image = 9
	property = labelProperty(t, set.X[image*784:(image+1)*784], set.Y[image], eps)
	m, err := zoo.Load("mnist-small-pgd-0.1")
	require.NoError(t, err)
	n, err = net.Compile(m, net.Options{Backward: true})
	require.NoError(t, err)
	q, err := vnnlib.Load(property)
	require.NoError(t, err)
	s, err := query.New(q, m)
	require.NoError(t, err)
	model = write(t, filepath.Join(t.TempDir(), "m.safetensors"), zoo.MNISTSmallPGD())
	return model, property, n, s.List, checkpoint.Of{Version: version(), Model: m.Hash(), Questions: checkpoint.Hash(s.List)}
}

// steps are the states of a search for so many parts, as a file has them.
func steps(t *testing.T, n *net.Network, questions []audit.Question, of checkpoint.Of, parts int) (files [][]byte, d *audit.Decision) {
	t.Helper()
	pool := kernels.NewPool(1)
	defer pool.Close()
	path := filepath.Join(t.TempDir(), "c")
	var o audit.DecideOptions
	o.Branch.Parts = parts
	o.Resume = &audit.DecideState{Stage: 4, Open: []int{0}, Low: float32(math.Inf(1))}
	o.Save = func(st *audit.DecideState) error {
		require.NoError(t, checkpoint.Write(path, of, st))
		files = append(files, readFile(t, path))
		return nil
	}
	d, err := audit.Decide(t.Context(), n, questions, o, pool)
	require.NoError(t, err)
	return files, d
}

// TestVerifyResume: what a run leaves that was killed at any moment, or was stopped, is gone
// on from to the verdict of a run that was not; the file is then gone.
func TestVerifyResume(t *testing.T) {
	model, property, n, questions, of := hard(t, 0.111)
	files, d := steps(t, n, questions, of, 6)
	require.Equal(t, audit.Undecided, d.Answer)
	require.Greater(t, len(files), 1)
	path := filepath.Join(t.TempDir(), "c")
	for _, file := range [][]byte{files[0], files[len(files)-1]} {
		require.NoError(t, os.WriteFile(path, file, 0o666))
		st, err := checkpoint.Read(path, of)
		require.NoError(t, err)
		require.NotEmpty(t, st.Search[0].Trees)
		doc := document(t, 0, args("verify %s %s --checkpoint %s --resume --memory 1M", model, property, path)...)
		assert.Equal(t, []any{"unsat", "branch and bound"}, []any{doc["verdict"], doc["by"]})
		assert.NoFileExists(t, path)
	}

	// Stopped again and again, it goes on where it was.
	require.NoError(t, os.WriteFile(path, files[0], 0o666))
	proved := false
	for asked := int64(400); !proved; asked *= 2 {
		ctx := countdown.New(asked)
		r := runWith(ctx, args("verify %s %s --checkpoint %s --resume --threads 1", model, property, path)...)
		if proved = r.code == 0; proved {
			assert.Equal(t, "unsat\n", r.stdout)
			assert.NoFileExists(t, path)
			break
		}
		require.Equal(t, 1, r.code, r.stderr)
		assert.Contains(t, r.stderr, "interrupted: "+property+" not decided; the same command with --resume goes on from "+path)
		_, err := checkpoint.Read(path, of)
		require.NoError(t, err)
	}
}

// TestVerifyOutResume: with --out, what was stopped, in the search too, ends in a certificate that is
// valid; a checkpoint of a run with --out serves none without it, nor the other way round.
func TestVerifyOutResume(t *testing.T) {
	f := newFiles(t)
	m := deepModel(t)
	require.NoError(t, m.Save(f.model))
	x := slices.Repeat([]float32{0.5}, 36)
	label := predicted(t, m, x, 1)[0]
	path := filepath.Join(f.dir, "c")
	out, property := path+".jsonl", ""
	for width := 0.1; property == ""; width *= 1.03 { // up to one that wants some splits
		p := boxProperty(t, filepath.Join(f.dir, "p.vnnlib"), 36, width, fmt.Sprintf("(and (>= Y_%d Y_%d))", (label+1)%classes, label))
		if doc := document(t, 0, args("verify %s %s --threads 1", f.model, p)...); doc["by"] == "branch and bound" && doc["parts"].(float64) > 30 {
			property = p
		}
	}
	line := args("verify %s %s --checkpoint %s --out %s --memory 1M --threads 1", f.model, property, path, out)
	stops := 0
	for asked := int64(100); ; asked += asked / 2 {
		r := runWith(countdown.New(asked), line...)
		if r.code == 0 {
			assert.Equal(t, "unsat\n", r.stdout)
			break
		}
		require.Equal(t, 1, r.code, r.stderr)
		if strings.Contains(string(readFile(t, path)), `"record":"`) {
			stops++
			r := run(args("verify %s %s --checkpoint %s --resume", f.model, property, path)...)
			require.Equal(t, 2, r.code)
			assert.Contains(t, r.stderr, "record: got true, want false")
		}
		if !slices.Contains(line, "--resume") {
			line = append(line, "--resume")
		}
	}
	require.Positive(t, stops, "it was not stopped in its search")
	assert.NoFileExists(t, path)
	doc := document(t, 0, args("check %s --model %s --property %s", out, f.model, property)...)
	assert.Equal(t, []any{1., 1., 0.}, []any{doc["checked"], doc["valid"], doc["invalid"]})
}

// TestVerifyKilled: a process that is killed in the middle of the search, which it cannot
// notice, has left a checkpoint that the next one goes on from, to the verdict of a run that
// was not killed.
func TestVerifyKilled(t *testing.T) {
	model, property, _, _, of := hard(t, 0.111)
	path := filepath.Join(t.TempDir(), "c")
	line := args("verify %s %s --threads 1 --checkpoint %s", model, property, path)
	parts := 0
	for range 2 {
		t.Setenv(testSaveEvery, "1ns")
		p := start(t, line...)
		p.waitFor(t, func() bool {
			st, err := checkpoint.Read(path, of)
			return err == nil && st.Search[0] != nil && st.Search[0].Parts > parts
		})
		require.NoError(t, p.cmd.Process.Kill())
		_ = p.cmd.Wait()
		require.False(t, p.cmd.ProcessState.Exited(), "it was done before it was killed: %s", p.stdout.String())
		st, err := checkpoint.Read(path, of)
		require.NoError(t, err, "a checkpoint is replaced whole")
		require.Greater(t, st.Search[0].Parts, parts)
		parts = st.Search[0].Parts
		line = args("verify %s %s --threads 1 --checkpoint %s --resume", model, property, path)
	}
	doc := document(t, 0, line...)
	assert.Equal(t, []any{"unsat", "branch and bound"}, []any{doc["verdict"], doc["by"]})
	assert.Greater(t, doc["parts"], float64(parts))
	assert.NoFileExists(t, path)
}

// TestVerifyCheckpoint: stages before the search have one, too, and a verdict leaves none.
func TestVerifyCheckpoint(t *testing.T) {
	model, property, _, _, of := hard(t, 0.111)
	path := filepath.Join(t.TempDir(), "c")
	line := args("verify %s %s --checkpoint %s --timeout 0.000001", model, property, path)
	r := run(line...)
	require.Equal(t, 1, r.code, r.stderr)
	assert.Contains(t, r.stderr, "the same command with --resume goes on from "+path)
	st, err := checkpoint.Read(path, of)
	require.NoError(t, err)
	assert.Equal(t, []any{0, []int{0}}, []any{st.Stage, st.Open})
	r = run(line...)
	assert.Equal(t, 2, r.code)
	assert.Contains(t, r.stderr, "--checkpoint: "+path+" exists; go on with it by --resume, replace it by --force")
	assert.Equal(t, 1, run(append(line, "--force")...).code)

	_, property, _, _, _ = hard(t, 0.3)
	r = run(args("verify %s %s --checkpoint %s.2", model, property, path)...)
	require.Zero(t, r.code, r.stderr)
	assert.True(t, strings.HasPrefix(r.stdout, "sat\n"))
	assert.NoFileExists(t, path+".2")
}

// TestVerifyRefusesCheckpoints: damaged and foreign ones, by file and field.
func TestVerifyRefusesCheckpoints(t *testing.T) {
	model, property, n, questions, of := hard(t, 0.111)
	files, _ := steps(t, n, questions, of, 4)
	good := files[len(files)-1]
	path := filepath.Join(t.TempDir(), "c")
	refused := func(want string, data []byte) {
		t.Helper()
		require.NoError(t, os.WriteFile(path, data, 0o666))
		r := run(args("verify %s %s --checkpoint %s --resume", model, property, path)...)
		assert.Equal(t, 2, r.code)
		assert.Contains(t, r.stderr, "checkpoint "+path+": "+want)
		assert.Empty(t, r.stdout)
		assert.Equal(t, data, readFile(t, path), "it is left alone")
	}
	refused("start: got", []byte("no checkpoint\n"))
	refused("start: got", []byte{})
	refused("end: got", good[:len(good)-1])
	refused("sum: expected the line to end in", append(bytes.Clone(good[:len(good)/2]), '\n'))
	refused("sum: expected the line to end in", append(bytes.Clone(good), '\n'))
	for _, at := range []int{40, len(good) / 2, len(good) - 10} {
		bad := bytes.Clone(good)
		bad[at] ^= 1
		refused("sum: ", bad)
	}
	st, err := checkpoint.Read(write(t, path, good), of)
	require.NoError(t, err)
	for want, other := range map[string]checkpoint.Of{
		`version: got "v0.0.1"`: {Version: "v0.0.1", Model: of.Model, Questions: of.Questions},
		`model: got "00"`:       {Version: of.Version, Model: "00", Questions: of.Questions},
		`questions: got "00"`:   {Version: of.Version, Model: of.Model, Questions: "00"},
	} {
		require.NoError(t, checkpoint.Write(path, other, st))
		refused(want, readFile(t, path))
	}
	for want, damage := range map[string]func(*audit.DecideState){
		"state: stage: got 5":               func(st *audit.DecideState) { st.Stage = 5 },
		"state: open: got none":             func(st *audit.DecideState) { st.Open = nil },
		"state: open[1]: got 1":             func(st *audit.DecideState) { st.Open = []int{0, 1} },
		"state: options: got":               func(st *audit.DecideState) { st.Search[0].Options = "" },
		"state: bounds: of 0 nodes":         func(st *audit.DecideState) { st.Search[0].Bounds = nil },
		"state: trees: nothing is open":     func(st *audit.DecideState) { st.Search[0].Trees[0].Parts = nil },
		"state: witness: witness: 1 number": func(st *audit.DecideState) { st.Witness = []float32{0} },
	} {
		st, err := checkpoint.Read(write(t, path, good), of)
		require.NoError(t, err)
		st.Search[0].Trees = st.Search[0].Trees[:1]
		damage(st)
		require.NoError(t, checkpoint.Write(path, of, st))
		refused(want, readFile(t, path))
	}

	_, other, _, _, _ := hard(t, 0.112)
	write(t, path, good)
	r := run(args("verify %s %s --checkpoint %s --resume", model, other, path)...)
	assert.Equal(t, 2, r.code)
	assert.Contains(t, r.stderr, "checkpoint "+path+": questions: got")
	for want, flags := range map[string]string{
		"--resume: has no meaning without --checkpoint": "--resume",
		"none: no such file":                            "--resume --checkpoint " + filepath.Join(t.TempDir(), "none"),
		"nothing can go on from it":                     "--checkpoint -",
		`--memory: got "1X", want at least 1M`:          "--memory 1X",
		`--memory: got "-1", want at least 1M`:          "--memory -1",
		`--memory: got "1023K", want at least 1M`:       "--memory 1023K",
		`--memory: got "9999999999T", want`:             "--memory 9999999999T",
		`--memory: got "M", want`:                       "--memory M",
		"the command reads":                             "--force --checkpoint " + property,
	} {
		r := run(args("verify %s %s %s", model, property, flags)...)
		assert.Equal(t, 2, r.code, flags)
		assert.Contains(t, r.stderr, want)
	}
}

func write(t *testing.T, path string, data []byte) string {
	t.Helper()
	require.NoError(t, os.WriteFile(path, data, 0o666))
	return path
}

func TestParseMemory(t *testing.T) {
	for text, want := range map[string]int{"": 0, "0": 0, "1M": 1 << 20, "2048K": 2 << 20, "4G": 4 << 30, "1T": 1 << 40, "1048576": 1 << 20} {
		got, err := parseMemory(text)
		require.NoError(t, err)
		assert.Equal(t, want, got, text)
	}
}
