package jobs

import (
	"context"
	"errors"
	"io/fs"
	"strings"
)

// Status is how far a job has come, by what is published alone.
type Status struct {
	Shards    int
	Published int
	Images    int   // of the published shards
	Bytes     int64 // of their results
	Missing   []Span
	Foreign   []string // names in the folder of results that are none of this job, the first few
	Leftover  int      // temporary files: of processes that are publishing, or were killed

	// Seconds is the mean time of a shard, over Sampled of those that are published.
	Seconds float64
	Sampled int
}

// Span is shards From … To, both included.
type Span struct{ From, To int }

// Complete reports whether every shard is published.
func (s *Status) Complete() bool { return s.Published == s.Shards }

// Status looks at the names of the results, and reads the first lines of up to sample of
// them: whether the rest is as it should be is for Merge to see.
func (m *Manifest) Status(ctx context.Context, s Store, sample int) (*Status, error) {
	st := &Status{Shards: m.Shards()}
	there := make([]bool, m.Shards())
	err := s.List(ctx, results, func(name string, size int64) error {
		switch i := m.shardOf(name); {
		case i >= 0 && !there[i]:
			there[i] = true
			st.Published++
			st.Images += m.Range(i).N
			st.Bytes += size
		case i >= 0:
		case strings.HasSuffix(name, ".tmp"):
			st.Leftover++
		case len(st.Foreign) < 20:
			st.Foreign = append(st.Foreign, name)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	st.Missing = missing(there)
	if sample = min(sample, st.Published); sample <= 0 {
		return st, nil
	}
	seen := 0
	for i, ok := range there {
		if !ok {
			continue
		}
		if seen++; seen*sample/st.Published == st.Sampled {
			continue // evenly spaced
		}
		res, err := m.open(ctx, s, i)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		_ = res.c.Close() // nothing was written
		st.Seconds += res.Seconds
		st.Sampled++
	}
	st.Seconds /= float64(max(1, st.Sampled))
	return st, nil
}

// missing lists the shards that are not there.
func missing(there []bool) (spans []Span) {
	for i, ok := range there {
		switch n := len(spans); {
		case ok:
		case n > 0 && spans[n-1].To == i-1:
			spans[n-1].To = i
		default:
			spans = append(spans, Span{i, i})
		}
	}
	return spans
}
