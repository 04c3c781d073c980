package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/epsball/epsball/audit"
	"github.com/epsball/epsball/dataset/mnist"
	"github.com/epsball/epsball/internal/checkpoint"
	"github.com/epsball/epsball/internal/query"
	"github.com/epsball/epsball/internal/vnnlib"
	"github.com/epsball/epsball/report"
	"github.com/epsball/epsball/zoo"
)

// openCheckpoint is the checkpoint of a property that a search of some parts has left open.
func openCheckpoint(t *testing.T, eps float32, parts int) (model, property, path string, of checkpoint.Of) {
	t.Helper()
	model, property, n, questions, of := hard(t, eps)
	files, d := steps(t, n, questions, of, parts)
	require.Equal(t, audit.Undecided, d.Answer)
	path = write(t, filepath.Join(t.TempDir(), "c"), files[len(files)-1])
	return model, property, path, of
}

// TestShardVerify: what shards prove is what one machine proves, with a shard killed in between.
func TestShardVerify(t *testing.T) {
	model, property, path, _ := openCheckpoint(t, 0.112, 20)
	job := filepath.Join(t.TempDir(), "job")
	plan := document(t, 0, args("shard plan verify %s %s --checkpoint %s --job %s --shards 3", model, property, path, job)...)
	require.EqualValues(t, 3, plan["shards"])
	require.GreaterOrEqual(t, plan["n"], 3.0)
	assert.Equal(t, 1, run(args("shard merge --job %s", job)...).code)

	t.Setenv(testSaveEvery, "1ns")
	p := start(t, args("shard run --job %s --index 1 --threads 1", job)...)
	saved := filepath.Join(job, "scratch", "*.1.state")
	p.waitFor(t, func() bool {
		list, err := filepath.Glob(saved)
		return err == nil && len(list) == 1
	})
	require.NoError(t, p.cmd.Process.Kill())
	_ = p.cmd.Wait()
	require.False(t, p.cmd.ProcessState.Exited(), "it was done before it was killed: %s", p.stdout.String())
	shards(t, job, 3)
	entries, err := os.ReadDir(filepath.Join(job, "scratch"))
	require.NoError(t, err)
	require.Empty(t, entries)
	require.Equal(t, "skipped", document(t, 0, args("shard run --job %s --index 2", job)...)["outcome"])
	assert.Contains(t, run(args("shard status --job %s", job)...).stdout, "3 of 3 shards (100.00%), ")

	doc := document(t, 0, args("shard merge --job %s --recheck 0", job)...)
	verdict := doc["verify"].(map[string]any)
	assert.Equal(t, "unsat", verdict["verdict"])
	assert.Equal(t, report.RecheckNone, doc["recheck"].(map[string]any)["by"])
	r := run(args("shard merge --job %s", job)...)
	assert.Zero(t, r.code, r.stderr)
	assert.Contains(t, r.stdout, "unsat\n")
	assert.Contains(t, r.stdout, "1 share that hold")
	assert.Equal(t, "unsat\n", run(args("verify %s %s --checkpoint %s --resume", model, property, path)...).stdout)
}

// TestShardVerifyLeft: what shards leave is gone on with, by one machine or by another job, to the
// verdict of one machine.
func TestShardVerifyLeft(t *testing.T) {
	model, property, path, of := openCheckpoint(t, 0.111, 6)
	left := filepath.Join(t.TempDir(), "left")
	job := filepath.Join(t.TempDir(), "job")
	require.Zero(t, run(args("shard plan verify %s %s --checkpoint %s --job %s --size 1 --timeout 1e-9", model, property, path, job)...).code)
	st, err := checkpoint.Read(path, of)
	require.NoError(t, err)
	parts, err := st.Shares()
	require.NoError(t, err)
	shards(t, job, parts)
	r := run(args("shard merge --job %s --out %s", job, left)...)
	assert.Equal(t, 1, r.code)
	assert.Contains(t, r.stderr, fmt.Sprintf("%s: 0 of %d shares hold, %d open parts left; verify --resume --checkpoint %s goes on", property, parts, parts, left))
	assert.Contains(t, r.stdout, "unknown\n")
	now, err := checkpoint.Read(left, of)
	require.NoError(t, err)
	again, err := now.Shares()
	require.NoError(t, err)
	require.Equal(t, parts, again, "no time, nothing done")

	second := filepath.Join(t.TempDir(), "second")
	require.Zero(t, run(args("shard plan verify %s %s --checkpoint %s --job %s --shards 2", model, property, left, second)...).code)
	shards(t, second, 2)
	assert.Contains(t, run(args("shard merge --job %s --recheck 0", second)...).stdout, "unsat\n")
	assert.Equal(t, "unsat\n", run(args("verify %s %s --checkpoint %s --resume", model, property, left)...).stdout)
}

// TestShardVerifySat: a witness that a shard finds decides, whatever the others say, and is judged
// anew.
func TestShardVerifySat(t *testing.T) {
	model, property, _, questions, of := hard(t, 0.3)
	require.Equal(t, "sat", document(t, 0, args("verify %s %s", model, property)...)["verdict"])
	path := filepath.Join(t.TempDir(), "c")
	require.NoError(t, checkpoint.Write(path, of, &audit.DecideState{Stage: 1, Open: []int{0}}))
	require.Len(t, questions, 1)
	job := filepath.Join(t.TempDir(), "job")
	plan := fmt.Sprintf("shard plan verify %s %s --checkpoint %s --job %s --shards ", model, property, path, job)
	refused(t, plan+"2", "--shards: got 2, want at most one for each of 1 open part")
	require.Zero(t, run(args("%s", plan+"1")...).code)
	shards(t, job, 1)
	doc := document(t, 0, args("shard merge --job %s", job)...)
	verdict := doc["verify"].(map[string]any)
	require.Equal(t, "sat", verdict["verdict"])
	require.NotNil(t, verdict["witness"])
	require.Equal(t, "violated", verdict["witness"].(map[string]any)["exact"])

	// Whole results that say what is not so.
	result := filepath.Join(job, "results", "0000000.jsonl")
	good := readFile(t, result)
	found := regexp.MustCompile(`"answer":"violated",(.*),"witness":(\[.*?\])`).FindSubmatch(good)
	require.NotNil(t, found)
	set, err := mnist.Test()
	require.NoError(t, err)
	image, err := json.Marshal(set.X[9*784 : 10*784])
	require.NoError(t, err)
	forge(t, result, string(found[2]), string(image))
	r := run(args("shard merge --job %s", job)...)
	assert.Equal(t, 1, r.code)
	assert.Contains(t, r.stderr, "share 0: its witness does not violate the property")
	write(t, result, good)
	forge(t, result, string(found[0]), `"answer":"holds",`+string(found[1]))
	r = run(args("shard merge --job %s", job)...)
	assert.Equal(t, 1, r.code)
	assert.Contains(t, r.stderr, "share 0, decided again, is violated: shard 0 is not to be trusted")
	write(t, result, good)
	forge(t, result, string(found[0]), `"answer":"undecided",`+string(found[1]))
	refused(t, "shard merge --job "+job, "want a witness of violated alone, and something left of undecided alone")
}

// TestShardVerifySatEarly: a witness decides before other shards are published.
func TestShardVerifySatEarly(t *testing.T) {
	model, property, _, _, _ := hard(t, 0.3)
	// The same region, and a part of it that a narrower bound of a pixel cuts off.
	text := string(readFile(t, property))
	boxes := regexp.MustCompile(`\(assert \(([<>]=) (X_\d+) (\S+)\)\)`).FindAllStringSubmatch(text, -1)
	require.Len(t, boxes, 2*784)
	var region strings.Builder
	for _, b := range boxes {
		fmt.Fprintf(&region, " (%s %s %s)", b[1], b[2], b[3])
	}
	lines := strings.Split(text, "\n")
	lines = slices.DeleteFunc(lines, func(l string) bool { return strings.HasPrefix(l, "(assert (>= X_") })
	last := fmt.Sprintf("(assert (or (and%s) (and%s (<= X_0 0.25))))\n", region.String(), region.String())
	property = write(t, filepath.Join(t.TempDir(), "two.vnnlib"), []byte(strings.Join(lines, "\n")+last))

	m, err := zoo.Load("mnist-small-pgd-0.1")
	require.NoError(t, err)
	q, err := vnnlib.Load(property)
	require.NoError(t, err)
	two, err := query.New(q, m)
	require.NoError(t, err)
	require.Len(t, two.List, 2)
	path := filepath.Join(t.TempDir(), "c")
	of := checkpoint.Of{Version: version(), Model: m.Hash(), Questions: checkpoint.Hash(two.List)}
	require.NoError(t, checkpoint.Write(path, of, &audit.DecideState{Stage: 1, Open: []int{0, 1}}))
	job := filepath.Join(t.TempDir(), "job")
	require.Zero(t, run(args("shard plan verify %s %s --checkpoint %s --job %s --shards 2", model, property, path, job)...).code)
	require.Equal(t, 1, run(args("shard merge --job %s", job)...).code)
	require.Equal(t, "published", document(t, 0, args("shard run --job %s --index 1", job)...)["outcome"])
	doc := document(t, 0, args("shard merge --job %s", job)...)
	require.Equal(t, "sat", doc["verify"].(map[string]any)["verdict"])
	require.Contains(t, doc["hints"].([]any)[0], "1 of 2 shards are not published: 0; a witness is enough")

	// What it says is judged all the same.
	result := filepath.Join(job, "results", "0000001.jsonl")
	found := regexp.MustCompile(`"witness":(\[.*?\])`).FindSubmatch(readFile(t, result))
	set, err := mnist.Test()
	require.NoError(t, err)
	image, err := json.Marshal(set.X[9*784 : 10*784])
	require.NoError(t, err)
	forge(t, result, string(found[1]), string(image))
	r := run(args("shard merge --job %s", job)...)
	assert.Equal(t, 1, r.code)
	assert.Contains(t, r.stderr, "share 1: its witness does not violate the property")
}

// TestShardVerifyErrors: what does not belong to the job.
func TestShardVerifyErrors(t *testing.T) {
	model, property, path, _ := openCheckpoint(t, 0.111, 6)
	job := filepath.Join(t.TempDir(), "job")
	plan := fmt.Sprintf("shard plan verify %s %s --job %s", model, property, job)
	refused(t, plan, "--checkpoint: required")
	refused(t, plan+" --checkpoint "+path, "--shards: required")
	refused(t, plan+" --size 1 --shards 2 --checkpoint "+path, "--shards: required")
	refused(t, plan+" --size -1 --checkpoint "+path, "--size: got -1")
	refused(t, plan+" --size 1 --timeout -1 --checkpoint "+path, "--timeout: got -1")
	refused(t, plan+" --size 1 --memory 1X --checkpoint "+path, "--memory: got")
	refused(t, plan+" --size 1 --checkpoint "+property, "checkpoint "+property+": start: got")
	refused(t, "shard plan verify "+model+" --job "+job, "got 1 arguments, want a network and a property file")
	require.Zero(t, run(args("%s --checkpoint %s --shards 2", plan, path)...).code)
	refused(t, plan+" --shards 2 --checkpoint "+path, "has a manifest already")

	_, other, _, _, _ := hard(t, 0.112)
	run0 := "shard run --index 0 --job " + job
	refused(t, run0+" --data "+other, "property "+other+": asks something else than the "+property)
	refused(t, run0+" --model "+write(t, filepath.Join(t.TempDir(), "m.safetensors"), zoo.MNISTSmallIBP()), "hash: got")

	open, err := filepath.Glob(filepath.Join(job, "open-*.json"))
	require.NoError(t, err)
	require.Len(t, open, 1)
	good := readFile(t, open[0])
	write(t, open[0], bytes.Replace(good, []byte(`"better":false`), []byte(`"better":true`), 1))
	refused(t, run0, "it is not what the job was planned with")
	write(t, open[0], good)

	shards(t, job, 2)
	merge, results := "shard merge --recheck 0 --job "+job, filepath.Join(job, "results")
	first, second := filepath.Join(results, "0000000.jsonl"), filepath.Join(results, "0000001.jsonl")
	file := readFile(t, second)
	write(t, second, readFile(t, first)) // a share twice, the other one not there
	refused(t, merge, "shard: got 0, images 0 … 0, want 1, images 1 … 1")
	require.NoError(t, os.Remove(second))
	r := run(args("%s", merge)...)
	assert.Equal(t, 1, r.code)
	assert.Contains(t, r.stderr, "1 of 2 shards are not published: 1")
	write(t, second, file)
	foreign := write(t, filepath.Join(results, "0000002.jsonl"), file)
	refused(t, merge, "not the result of a shard of this job")
	require.NoError(t, os.Remove(foreign))
	r = run(args("%s", merge)...)
	require.Zero(t, r.code, r.stderr)

	// A result of another division of the same checkpoint.
	three := filepath.Join(t.TempDir(), "two")
	require.Zero(t, run(args("shard plan verify %s %s --job %s --checkpoint %s --shards 3", model, property, three, path)...).code)
	require.Zero(t, run(args("shard run --job %s --index 1", three)...).code)
	write(t, second, readFile(t, filepath.Join(three, "results", "0000001.jsonl")))
	refused(t, merge, "the result is of another job")
}
