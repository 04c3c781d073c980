package jobs

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/epsball/epsball/internal/runlog"
)

// quick is a Folder that does not wait for the disk, to make many files.
type quick struct{ Folder }

func (q quick) Put(_ context.Context, name string, _ int64, r io.Reader) error {
	data, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	return os.WriteFile(q.path(name), data, 0o666)
}

// TestManyShards plans a job of many shards of an image each, publishes them all, and measures
// what status and merge take: EPSBALL_SHARDS=1000000 go test ./jobs -run ManyShards -v. The files
// are in $TMPDIR.
func TestManyShards(t *testing.T) {
	n := 500
	if text := os.Getenv("EPSBALL_SHARDS"); text != "" {
		var err error
		n, err = strconv.Atoi(text)
		require.NoError(t, err)
	}
	ctx, s, scratch := t.Context(), quick{Folder(t.TempDir())}, t.TempDir()
	was, busy := time.Now(), processor(t)
	step := func(name string) {
		now := processor(t)
		t.Logf("%-10s %8.2f s, %8.2f s of a processor, %6.0f MB at most", name, time.Since(was).Seconds(), now-busy, peak(t))
		was, busy = time.Now(), now
	}
	b := newBench(t, n)
	step("images")
	task := someTasks()["ibp"]
	m := b.manifest(t, task, 1)
	require.NoError(t, Plan(ctx, s.Folder, m))
	step("plan")
	line, err := os.ReadFile(s.path(ManifestName))
	require.NoError(t, err)
	t.Logf("manifest   %d bytes, %.1f a shard", len(line), float64(len(line))/float64(n))
	_, err = ReadManifest(ctx, s)
	require.NoError(t, err)
	step("read")

	// All records by one run, then a file of each.
	path := filepath.Join(scratch, "journal")
	require.NoError(t, b.work(t, m, -1).Run(ctx, path))
	step("work")
	all, err := os.Open(path)
	require.NoError(t, err)
	defer all.Close()
	list, err := runlog.Records(all)
	require.NoError(t, err)
	require.Len(t, list, n)
	require.NoError(t, os.MkdirAll(s.path(results), 0o777))
	one, err := os.Create(filepath.Join(scratch, "one"))
	require.NoError(t, err)
	defer one.Close()
	for _, rec := range list {
		require.NoError(t, one.Truncate(0))
		_, err := one.Seek(0, io.SeekStart)
		require.NoError(t, err)
		_, err = io.Copy(one, io.NewSectionReader(all, rec.From, rec.To-rec.From))
		require.NoError(t, err)
		_, err = one.Seek(0, io.SeekStart)
		require.NoError(t, err)
		require.NoError(t, m.publish(ctx, s, rec.Index-m.Data.Offset, one, new(Outcome)))
	}
	step("publish")
	st, err := m.Status(ctx, s, 100)
	require.NoError(t, err)
	require.True(t, st.Complete())
	step("status")
	t.Logf("results    %d files, %.0f MB", st.Published, float64(st.Bytes)/1e6)
	w, err := task.(*Certify).NewWork(b.subject(m, -1))
	require.NoError(t, err)
	_, err = m.Merge(ctx, s, nil, func(r *Merged) error { return w.Read(bytes.NewReader(r.Records)) })
	require.NoError(t, err)
	require.NotContains(t, w.Proving.Done, false)
	step("merge")

	// One that is gone is found, and named.
	require.NoError(t, os.Remove(s.path(resultName(n/2))))
	_, err = m.Merge(ctx, s, nil, func(*Merged) error { return nil })
	require.ErrorContains(t, err, fmt.Sprintf("1 of %d shards are not published: %d", n, n/2))
}

// processor is the time of processors that the process has taken, in seconds; 0 where the system
// does not say.
func processor(t *testing.T) float64 {
	data, err := os.ReadFile("/proc/self/stat")
	if err != nil {
		return 0
	}
	fields := strings.Fields(string(data[bytes.LastIndexByte(data, ')')+1:]))
	sum := 0
	for _, f := range fields[11:13] { // in user and in system mode, in hundredths
		ticks, err := strconv.Atoi(f)
		require.NoError(t, err)
		sum += ticks
	}
	return float64(sum) / 100
}

var peakText = regexp.MustCompile(`VmHWM:\s+([0-9]+) kB`)

// peak is the most memory that the process has had, in MB; 0 where the system does not say.
func peak(t *testing.T) float64 {
	data, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0
	}
	f := peakText.FindSubmatch(data)
	require.NotNil(t, f)
	kb, err := strconv.Atoi(string(f[1]))
	require.NoError(t, err)
	return float64(kb) / 1e3
}
