package jobs

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"

	"github.com/epsball/epsball/internal/runlog"
)

// Merged are the records of a shard, in the order of its images.
type Merged struct {
	Shard   int
	Records []byte // all of them, one after the other
	Images  []MergedImage
}

// MergedImage is the record of an image, a part of Merged.Records.
type MergedImage struct {
	Index       int
	Line        []byte // with its newline
	Certificate []byte // the lines after it
}

// MissingError tells which shards are not published.
type MissingError struct {
	Store   string
	Shards  int
	Missing []Span
}

// Error names the first shards that are missing.
func (e *MissingError) Error() string {
	n, text := 0, ""
	for k, s := range e.Missing {
		n += s.To - s.From + 1
		if k < 5 {
			text += ", " + s.String()
		}
	}
	if len(e.Missing) > 5 {
		text += ", …"
	}
	return fmt.Sprintf("%s: %d of %d shards are not published: %s", e.Store, n, e.Shards, text[2:])
}

// String returns 7, or 7 … 9.
func (s Span) String() string {
	if s.From == s.To {
		return fmt.Sprint(s.From)
	}
	return fmt.Sprintf("%d … %d", s.From, s.To)
}

// Merge hands the records of each shard to yield, in the order of the images, and returns the
// seconds that the shards took together. Every shard must be there, belong to the job, be
// what was written, and have each of its images once; there must be no other files among
// the results. If not, the error says which and why: a *MissingError where shards are
// missing. What the records say is for Work.Read to check. progress, if not nil, is told how
// many shards are read.
func (m *Manifest) Merge(ctx context.Context, s Store, progress func(done, total int), yield func(*Merged) error) (seconds float64, err error) {
	missing, err := m.missing(ctx, s)
	switch {
	case err != nil:
		return 0, err
	case missing != nil:
		return 0, missing
	}
	return m.merge(ctx, s, true, progress, yield)
}

// MergeSome is Merge of those shards that are published; missing are the others, nil if there
// are none.
func (m *Manifest) MergeSome(ctx context.Context, s Store, progress func(done, total int), yield func(*Merged) error) (seconds float64, missing *MissingError, err error) {
	if missing, err = m.missing(ctx, s); err == nil {
		seconds, err = m.merge(ctx, s, false, progress, yield)
	}
	return seconds, missing, err
}

// missing says which shards are not published, nil: all are.
func (m *Manifest) missing(ctx context.Context, s Store) (*MissingError, error) {
	st, err := m.Status(ctx, s, 0)
	switch {
	case err != nil:
		return nil, err
	case len(st.Foreign) > 0:
		return nil, fmt.Errorf("%s/%s: not the result of a shard of this job; move it away", s, st.Foreign[0])
	case !st.Complete():
		return &MissingError{Store: s.String(), Shards: m.Shards(), Missing: st.Missing}, nil
	}
	return nil, nil
}

// merge is Merge of all shards, or of those that are published.
func (m *Manifest) merge(ctx context.Context, s Store, all bool, progress func(done, total int), yield func(*Merged) error) (seconds float64, err error) {
	for i := range m.Shards() {
		if err := ctx.Err(); err != nil {
			return seconds, err
		}
		if progress != nil {
			progress(i, m.Shards())
		}
		res, err := m.open(ctx, s, i)
		if errors.Is(err, fs.ErrNotExist) {
			if !all {
				continue
			}
			return seconds, &MissingError{Store: s.String(), Shards: m.Shards(), Missing: []Span{{i, i}}}
		}
		if err != nil {
			return seconds, err
		}
		var shard *Merged
		if shard, err = res.read(i, m.Range(i)); err == nil {
			err = yield(shard)
		}
		if err = errors.Join(err, res.c.Close()); err != nil {
			return seconds, fmt.Errorf("%s: %w", res.name, err)
		}
		seconds += res.Seconds
	}
	return seconds, nil
}

// read returns the records of a result that is whole.
func (res *result) read(shard int, r Range) (*Merged, error) {
	body, err := io.ReadAll(res.records())
	if err != nil {
		return nil, err
	}
	list, err := runlog.Records(bytes.NewReader(body))
	if err == nil {
		err = checkIndices(list, r)
	}
	if err != nil {
		return nil, err
	}
	m := &Merged{Shard: shard, Records: body, Images: make([]MergedImage, len(list))}
	for k, rec := range list {
		head := rec.From + rec.Head
		m.Images[k] = MergedImage{rec.Index, body[rec.From:head], body[head:rec.To]}
	}
	return m, nil
}
