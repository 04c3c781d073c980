//go:build unix

package main

import (
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// faultJob plans a job of three shards that take a while, and returns what one machine writes.
func faultJob(t *testing.T) (job string, want []byte) {
	f := newFiles(t)
	job = filepath.Join(f.dir, "job")
	one := filepath.Join(f.dir, "one.jsonl")
	what := fmt.Sprintf("certify --method alpha-crown --iterations 100 --eps 0.02 --model %s --data %s --n 60", f.model, f.data)
	require.Zero(t, run(args("%s --out %s", what, one)...).code)
	require.Zero(t, run(args("shard plan %s --job %s --size 20", what, job)...).code)
	return job, readFile(t, one)
}

// merge checks what a job comes to.
func merge(t *testing.T, job string, want []byte) {
	t.Helper()
	out := filepath.Join(t.TempDir(), "all.jsonl")
	r := run(args("shard merge --job %s --out %s --recheck 5", job, out)...)
	require.Zero(t, r.code, r.stderr)
	require.Equal(t, want, readFile(t, out))
}

// journals are those of shards under way, as far as there is something in them.
func journals(job string) (n int) {
	_ = filepath.WalkDir(filepath.Join(job, "scratch"), func(path string, e fs.DirEntry, err error) error {
		if info, bad := os.Stat(path); err == nil && bad == nil && !e.IsDir() && info.Size() > 0 {
			n++
		}
		return nil
	})
	return n
}

// TestShardsKilled: a stand-in for the controller of an Indexed Job starts a process for each
// index and starts it again when it has failed. It kills them itself, whenever.
func TestShardsKilled(t *testing.T) {
	job, want := faultJob(t)
	random := rand.New(rand.NewPCG(1, 2))
	killed, resumed := 0, 0
	for i := range 3 {
		for patience := 30 * time.Millisecond; ; patience += patience / 2 {
			p := startIndexed(t, job, i)
			timer := time.AfterFunc(time.Duration(random.Int64N(int64(patience))), func() { _ = p.cmd.Process.Kill() })
			code := p.wait()
			timer.Stop()
			if code == 0 {
				break
			}
			require.Equal(t, -1, code, p.stderr.String()) // by the signal, and by nothing else
			killed++
			resumed += journals(job)
		}
	}
	t.Logf("%d processes were killed, %d of them with a journal", killed, resumed)
	require.Positive(t, killed)
	merge(t, job, want)
}

// startIndexed starts a worker as Kubernetes does.
func startIndexed(t *testing.T, job string, i int) *process {
	t.Setenv("JOB_COMPLETION_INDEX", fmt.Sprint(i))
	return start(t, args("shard run --threads 1 --job %s", job)...)
}

// TestShardStopped: a worker is stopped for so long that its shard is given to another one.
// When it goes on, it finds the shard published and changes nothing.
func TestShardStopped(t *testing.T) {
	job, want := faultJob(t)
	p := startIndexed(t, job, 1)
	p.waitFor(t, func() bool { return journals(job) > 0 })
	require.NoError(t, p.cmd.Process.Signal(syscall.SIGSTOP))
	doc := document(t, 0, args("shard run --index 1 --job %s", job)...)
	result := filepath.Join(job, "results", "0000001.jsonl")
	require.Contains(t, []any{"published", "skipped"}, doc["outcome"]) // skipped: it was that fast
	before, data := stat(t, result), readFile(t, result)
	require.NoError(t, p.cmd.Process.Signal(syscall.SIGCONT))
	require.Zero(t, p.wait(), p.stderr.String())
	if doc["outcome"] == "published" {
		assert.Contains(t, p.stdout.String(), "another process has published it first; nothing was changed")
	}
	require.True(t, os.SameFile(before, stat(t, result)))
	require.Equal(t, data, readFile(t, result))
	require.Zero(t, journals(job))
	for _, i := range []int{0, 2} {
		require.Zero(t, startIndexed(t, job, i).wait())
	}
	merge(t, job, want)
}

func stat(t *testing.T, path string) fs.FileInfo {
	info, err := os.Stat(path)
	require.NoError(t, err)
	return info
}

// TestShardFullDisk: where no more can be written, nothing is published, and what is done is
// gone on with where there is room.
func TestShardFullDisk(t *testing.T) {
	sh, err := exec.LookPath("sh")
	if err != nil {
		t.Skip("no sh")
	}
	job, want := faultJob(t)
	for _, blocks := range []int{1, 4, 16} { // of 512 bytes, for any file
		p := &process{cmd: exec.Command(sh, "-c", fmt.Sprintf(`ulimit -f %d; exec "$0" "$@"`, blocks), os.Args[0], "shard", "run", "--index", "0", "--threads", "1", "--job", job)}
		p.cmd.Env = append(os.Environ(), testCommand+"=1")
		p.cmd.Stdout, p.cmd.Stderr = &p.stdout, &p.stderr
		require.NoError(t, p.cmd.Start())
		require.Equal(t, 2, p.wait(), p.stderr.String())
		require.Contains(t, p.stderr.String(), "shard 0: ")
		entries, err := os.ReadDir(filepath.Join(job, "results"))
		if err == nil {
			require.Empty(t, entries)
		}
	}
	shards(t, job, 3)
	merge(t, job, want)
}
