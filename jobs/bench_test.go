package jobs

import (
	"bytes"
	"context"
	"testing"

	"github.com/stretchr/testify/require"
)

// BenchmarkManifest is of the largest job, a million shards: what every process reads.
func BenchmarkManifest(b *testing.B) {
	m := &Manifest{
		Program: program, Task: someTasks()["ibp"], Model: Model{"m", string(bytes.Repeat([]byte("0"), 64))},
		Data: Data{Spec: "d", Channels: "auto", N: MaxShards}, Size: 1, Pieces: make([]string, MaxShards),
	}
	for i := range m.Pieces {
		m.Pieces[i] = "0123456789abcdef"
	}
	line, err := m.Encode()
	require.NoError(b, err)
	b.SetBytes(int64(len(line)))
	for b.Loop() {
		_, err := DecodeManifest(bytes.NewReader(line))
		require.NoError(b, err)
	}
	b.ReportMetric(float64(len(line))/MaxShards, "B/shard")
}

// BenchmarkShards is what shards cost besides their work: publishing, with its syncs, and
// looking for, and merging, what is published.
func BenchmarkShards(b *testing.B) {
	const shards = 1000
	t := newBench(b, shards)
	m, s, ctx := t.manifest(b, someTasks()["ibp"], 1), Folder(b.TempDir()), context.Background()
	scratch := b.TempDir()
	at := 0
	b.Run("run", func(b *testing.B) {
		for range b.N {
			if at < shards {
				_, err := m.Run(ctx, s, at, scratch, t.work(b, m, at))
				require.NoError(b, err)
				at++
			}
		}
	})
	for ; at < shards; at++ {
		_, err := m.Run(ctx, s, at, scratch, t.work(b, m, at))
		require.NoError(b, err)
	}
	b.Run("status", func(b *testing.B) {
		for range b.N {
			_, err := m.Status(ctx, s, 0)
			require.NoError(b, err)
		}
		b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/shards, "ns/shard")
	})
	b.Run("merge", func(b *testing.B) {
		for range b.N {
			w := t.work(b, m, -1)
			_, err := m.Merge(ctx, s, nil, func(r *Merged) error { return w.Read(bytes.NewReader(r.Records)) })
			require.NoError(b, err)
		}
		b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/shards, "ns/shard")
	})
}
