package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/epsball/epsball/internal/journal"
	"github.com/epsball/epsball/model"
	"github.com/epsball/epsball/report"
)

// shards does all of a job, last shard first.
func shards(t *testing.T, job string, n int) {
	for i := n - 1; i >= 0; i-- {
		doc := document(t, 0, args("shard run --job %s --index %d", job, i)...)
		require.Equal(t, "published", doc["outcome"])
	}
}

// TestShards: what is merged is what one machine writes and prints, also of images that are not
// held at once.
func TestShards(t *testing.T) {
	f := newFiles(t)
	m, err := model.Load(f.model)
	require.NoError(t, err)
	defer func(n int) { blockBytes = n }(blockBytes)
	blockBytes = 4 * m.Arch.Input.Size() * 20 // two of six shards
	on := fmt.Sprintf(" --model %s --data %s --offset 7 --n 50", f.model, eightBits(t, f))
	for name, line := range map[string]string{
		"ibp":    "certify --eps 0.01",
		"alpha":  "certify --eps 0.02 --method alpha-crown --iterations 3",
		"bab":    "certify --eps 0.03 --method bab --timeout 0",
		"radius": "certify --radius --resolution 0.01 --max-radius 0.1 --attack-steps 3 --method crown",
		"pgd":    "attack --eps 0.05 --steps 5 --restarts 2",
		"ddn":    "attack --attack ddn --norm l2",
		"smooth": "smooth --sigma 0.02 --samples 200",
		"decide": "smooth --sigma 0.05 --samples 5000 --radius 1/100 --defence median",
		"class":  "smooth --sigma 0.05 --predict",
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			job, one, all := filepath.Join(dir, "job"), filepath.Join(dir, "one"), filepath.Join(dir, "all")
			checks := ""
			if strings.HasPrefix(line, "attack") {
				one, all, checks = one+".npz", all+".npz", " --checks off"
			}
			want := document(t, 0, strings.Fields(line+on+checks+" --out "+one)...)
			plan := document(t, 0, strings.Fields("shard plan "+line+on+" --job "+job+" --size 9")...)
			require.EqualValues(t, 6, plan["shards"])
			shards(t, job, 6)
			got := document(t, 0, args("shard merge --job %s --out %s --recheck 5 --seed 3", job, all)...)
			require.Equal(t, readFile(t, one), readFile(t, all))
			check := got["recheck"].(map[string]any)
			require.EqualValues(t, 5, check["images"])
			kind, _, _ := strings.Cut(line, " ")
			by := report.RecheckAgain
			if kind == "certify" {
				by = report.RecheckChecker
			}
			require.Equal(t, by, check["by"])
			merged := got[kind].(map[string]any)
			for key, v := range want {
				switch key {
				case "epsball", "seconds", "timings", "hints", "out", "isa", "threads", "seed", "data", "checks", "stages", "samples_per_s":
				default:
					assert.Equal(t, stable(v), stable(merged[key]), key)
				}
			}
			assert.Equal(t, 0, run(args("shard merge --job %s --recheck 0", job)...).code)
		})
	}
}

// TestShardsWithoutCertificates: the sample is done again.
func TestShardsWithoutCertificates(t *testing.T) {
	f := newFiles(t)
	job := filepath.Join(f.dir, "job")
	require.Zero(t, run(args("shard plan certify --eps 0.01 --job %s --model %s --data %s --shards 3 --certificates=false", job, f.model, f.data)...).code)
	r := run(args("shard merge --job %s", job)...)
	assert.Equal(t, 1, r.code)
	assert.Contains(t, r.stderr, "3 of 3 shards are not published: 0 … 2")
	shards(t, job, 3)
	status := document(t, 0, args("shard status --job %s", job)...)
	assert.Equal(t, true, status["complete"])
	assert.EqualValues(t, 100, status["images"])
	assert.NotNil(t, status["seconds_a_shard"])
	doc := document(t, 0, args("shard merge --job %s", job)...)
	assert.Equal(t, report.RecheckAgain, doc["recheck"].(map[string]any)["by"])
	assert.Contains(t, run(args("shard status --job %s", job)...).stdout, "3 of 3 shards")
	assert.Contains(t, run(args("shard merge --job %s", job)...).stdout, "done again, to the same bytes")
	refused(t, fmt.Sprintf("shard merge --job %s --out c.jsonl", job), "--out: the job makes no certificates")
}

// TestShardIndex: from the flag, Slurm or Kubernetes.
func TestShardIndex(t *testing.T) {
	f := newFiles(t)
	job := filepath.Join(f.dir, "job")
	require.Zero(t, run(args("shard plan certify --eps 0.01 --job %s --model %s --data %s --size 50", job, f.model, f.data)...).code)
	t.Setenv("SLURM_ARRAY_TASK_ID", "")
	t.Setenv("JOB_COMPLETION_INDEX", "")
	line := "shard run --job " + job
	refused(t, line, "--index: required, unless SLURM_ARRAY_TASK_ID or JOB_COMPLETION_INDEX is set")
	refused(t, line+" --index 2", "--index: got 2, want 0 … 1")
	refused(t, line+" --index -1", "--index: got -1")
	t.Setenv("SLURM_ARRAY_TASK_ID", "x")
	refused(t, line, `SLURM_ARRAY_TASK_ID: got "x"`)
	t.Setenv("SLURM_ARRAY_TASK_ID", "7")
	refused(t, line, "SLURM_ARRAY_TASK_ID: got 7, want 0 … 1")
	t.Setenv("SLURM_ARRAY_TASK_ID", "1")
	t.Setenv("JOB_COMPLETION_INDEX", "0")
	refused(t, line, "--index: required, since both")
	assert.EqualValues(t, 0, document(t, 0, strings.Fields(line+" --index 0")...)["shard"])
	t.Setenv("JOB_COMPLETION_INDEX", "")
	assert.EqualValues(t, 50, document(t, 0, strings.Fields(line)...)["first"])
	assert.Equal(t, "skipped", document(t, 0, strings.Fields(line)...)["outcome"])
}

// TestShardErrors: what does not belong to the job.
func TestShardErrors(t *testing.T) {
	f := newFiles(t)
	job := filepath.Join(f.dir, "job")
	plan := fmt.Sprintf("shard plan certify --eps 0.01 --model %s --data %s --job %s", f.model, f.data, job)
	refused(t, plan, "--size: required")
	refused(t, plan+" --size 5 --shards 5", "--size: required")
	refused(t, plan+" --size -5", "--size: got -5")
	refused(t, plan+" --shards 101", "--shards: got 101, want at most one for each of 100 images")
	refused(t, strings.Replace(plan, "0.01", "0.01,0.02", 1)+" --size 5", "--eps: got 2 radii")
	refused(t, strings.Replace(plan, job, "ftp://b/c", 1)+" --size 5", "--job: got ftp://b/c")
	refused(t, strings.Replace(plan, job, "s3:///c", 1)+" --size 5", "--job: s3:///c: want s3://BUCKET/PREFIX")
	for _, spec := range []string{"s3://", "s3://b", "s3:///k", "s3://b/", "s3://b/folder/"} {
		refused(t, strings.Replace(plan, f.data, spec, 1)+" --size 5", "data "+spec+": want s3://BUCKET/KEY, of a file")
	}
	refused(t, strings.Replace(plan, f.data, "http://b/k", 1)+" --size 5", "want a file or a folder on this machine")
	refused(t, strings.Replace(plan, "--eps 0.01", "--eps 0.01 --iterations 5", 1)+" --size 5", "--iterations: has no meaning")
	refused(t, "shard plan attack --attack universal --size 5 --model "+f.model+" --data "+f.data+" --job "+job, "method: got universal")
	smooth := "shard plan smooth --size 5 --model " + f.model + " --data " + f.data + " --job " + job
	refused(t, smooth, "--sigma: required")
	refused(t, smooth+" --sigma 0.1", "data "+f.data+": images: image 0: pixel 0 is")
	refused(t, smooth+" --sigma 0.1 --defence noise", "--defence: draws random numbers")
	refused(t, "shard run --job "+job+" --index 0", "no manifest.json there")
	refused(t, "shard status", "--job: required")
	refused(t, "shard merge --job "+job+" --recheck -1", "--recheck: got -1")
	refused(t, "shard merg", "did you mean merge?")
	require.Zero(t, run(strings.Fields(plan+" --size 50")...).code)
	refused(t, plan+" --size 50", "has a manifest already")

	// Another model, other images, and damage.
	refused(t, "shard run --index 0 --job "+job+" --model "+f.other, "model "+f.other+": hash: got")
	other := newFiles(t).data
	x := readFile(t, f.data)
	spoiled := append([]byte{}, x...)
	spoiled[len(spoiled)/2] ^= 1
	require.NoError(t, os.WriteFile(other, spoiled, 0o666))
	r := run(args("shard run --index 0 --job %s --data %s", job, other)...)
	s := run(args("shard run --index 1 --job %s --data %s", job, other)...)
	assert.Contains(t, r.stderr+s.stderr, other) // refused by its checksum, or by the manifest's
	manifest := filepath.Join(job, "manifest.json")
	good := readFile(t, manifest)
	require.NoError(t, os.WriteFile(manifest, []byte(strings.Replace(string(good), `"size":50`, `"size":25`, 1)), 0o666))
	for _, c := range []string{"run --index 0", "merge", "status"} {
		refused(t, "shard "+c+" --job "+job, "manifest.json: sum: the line is not what was written")
	}
	require.NoError(t, os.WriteFile(manifest, good, 0o666))
	for i := range 2 { // one may be there: what was spoiled may be in the other
		require.Zero(t, run(args("shard run --job %s --index %d", job, i)...).code)
	}
	result := filepath.Join(job, "results", "0000001.jsonl")
	data := readFile(t, result)
	require.NoError(t, os.WriteFile(result, data[:len(data)-100], 0o666))
	refused(t, "shard merge --job "+job, "0000001.jsonl: bytes: 100 are missing")
	require.NoError(t, os.WriteFile(result, readFile(t, filepath.Join(job, "results", "0000000.jsonl")), 0o666))
	refused(t, "shard merge --job "+job, "0000001.jsonl: shard: got 0")
	refused(t, "shard run --index 1 --job "+job, "0000001.jsonl: shard: got 0")
	require.NoError(t, os.WriteFile(result, data, 0o666))
	require.NoError(t, os.WriteFile(filepath.Join(job, "results", "notes.txt"), nil, 0o666))
	refused(t, "shard merge --job "+job, "notes.txt: not the result of a shard")
	assert.Contains(t, run(args("shard status --job %s", job)...).stdout, "notes.txt")
}

// TestShardsOfSmoothForged: a result that is whole but was not drawn is found by the sample
// that is done again.
func TestShardsOfSmoothForged(t *testing.T) {
	f := newFiles(t)
	job := filepath.Join(f.dir, "job")
	require.Zero(t, run(args("shard plan smooth --sigma 0.02 --samples 100 --job %s --model %s --data %s --n 6 --size 3", job, f.model, eightBits(t, f))...).code)
	shards(t, job, 2)
	text := run(args("shard merge --job %s", job)...)
	require.Zero(t, text.code, text.stderr)
	assert.Contains(t, text.stdout, "done again, to the same bytes")
	assert.Contains(t, text.stdout, "no proof")
	forge(t, filepath.Join(job, "results", "0000001.jsonl"), `"drawn":200`, `"drawn":201`)
	r := run(args("shard merge --job %s --out %s", job, filepath.Join(f.dir, "all"))...)
	require.Equal(t, 1, r.code)
	assert.Contains(t, r.stderr, "done again, has another result: shard 1 is not to be trusted")
	assert.NoFileExists(t, filepath.Join(f.dir, "all"))
	assert.Zero(t, run(args("shard merge --job %s --recheck 0", job)...).code)
}

// forge changes the last record of a shard's result and makes all seals anew.
func forge(t *testing.T, path, from, to string) {
	lines := bytes.SplitAfter(readFile(t, path), []byte("\n"))
	lines = lines[:len(lines)-1]
	last := len(lines) - 1
	seal := func(line []byte) []byte {
		body := line[:bytes.LastIndex(line, []byte(`,"sum":`))]
		sealed, err := journal.Seal(nil, json.RawMessage(append(bytes.Clone(body), '}')))
		require.NoError(t, err)
		return sealed
	}
	require.Equal(t, string(lines[last]), string(seal(lines[last])))
	require.Contains(t, string(lines[last]), from)
	lines[last] = seal(bytes.Replace(lines[last], []byte(from), []byte(to), 1))
	records := bytes.Join(lines[1:], nil)
	var head map[string]any
	require.NoError(t, json.Unmarshal(lines[0], &head))
	text := strings.Replace(string(lines[0]), head["records"].(string), fmt.Sprintf("%x", sha256.Sum256(records)), 1)
	text = strings.Replace(text, fmt.Sprintf(`"bytes":%.0f,`, head["bytes"]), fmt.Sprintf(`"bytes":%d,`, len(records)), 1)
	require.NoError(t, os.WriteFile(path, append(seal([]byte(text)), records...), 0o666))
}
