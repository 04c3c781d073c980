package jobs

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/epsball/epsball/internal/filelock"
	"github.com/epsball/epsball/internal/journal"
	"github.com/epsball/epsball/internal/runlog"
)

// Published reports whether the result of shard i is there. One that does not belong to the
// job is an error.
func (m *Manifest) Published(ctx context.Context, s Store, i int) (bool, error) {
	res, err := m.open(ctx, s, i)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	return true, res.c.Close()
}

// Outcome says what Run did.
type Outcome struct {
	Seconds float64 // that the work took
	Bytes   int64   // of the records

	// Late tells that another process has published the shard first; nothing was changed.
	// Differs tells that its records are not the same, which happens to tasks that are not
	// Repeatable alone.
	Late, Differs bool
}

// ErrDiffers is the error of a shard that two processes did with different results, though
// the task is Repeatable: one of the machines, or its memory, is not to be trusted.
var ErrDiffers = errors.New("the records that are published differ from those of this process")

// Run does shard i and publishes it. work must be of its images. The journal is a file in
// folder scratch, which is made if need be; it is removed once the shard is published, and
// gone on with after a kill. If another process works on the same shard with the same
// journal, this one keeps a journal of its own: the first to publish wins. When ctx ends,
// the error is the context's, and the journal has what is done.
func (m *Manifest) Run(ctx context.Context, s Store, i int, scratch string, work Work) (o Outcome, err error) {
	if i < 0 || i >= m.Shards() {
		return o, fmt.Errorf("shard: got %d, want 0 … %d", i, m.Shards()-1)
	}
	if err := os.MkdirAll(scratch, 0o777); err != nil {
		return o, err
	}
	start := time.Now()
	path := filepath.Join(scratch, fmt.Sprintf("%.16s-%07d.journal", m.Sum, i))
	if journal.Busy(path) != nil {
		path = filepath.Join(scratch, fmt.Sprintf("%.16s-%07d.%08x.journal", m.Sum, i, rand.Uint32()))
		defer os.Remove(path) // nobody would find it
	}
	if err := work.Run(ctx, path); err != nil {
		if errors.Is(err, filelock.ErrLocked) {
			err = fmt.Errorf("shard %d: begun by two processes at once; start this one again: %w", i, err)
		}
		return o, err
	}
	o.Seconds = time.Since(start).Seconds()
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) { // removed by another process that had it before, if that has published
		if o.Late, err = m.Published(ctx, s, i); o.Late || err != nil {
			return o, err
		}
		err = fmt.Errorf("%s: the journal is gone, and shard %d is not published", path, i)
	}
	if err != nil {
		return o, err
	}
	err = m.publish(ctx, s, i, f, &o)
	if err = errors.Join(err, f.Close()); err != nil { // closed first: Windows removes no open file
		return o, err
	}
	if err = os.Remove(path); errors.Is(err, fs.ErrNotExist) { // by another process that had it before
		err = nil
	}
	return o, err
}

// publish publishes the journal f of shard i, its records in the order of the images.
func (m *Manifest) publish(ctx context.Context, s Store, i int, f *os.File, o *Outcome) error {
	list, err := runlog.Records(f)
	if err != nil {
		return fmt.Errorf("%s: %w", f.Name(), err)
	}
	slices.SortFunc(list, func(a, b runlog.Record) int { return a.Index - b.Index })
	r := m.Range(i)
	if err := checkIndices(list, r); err != nil {
		return fmt.Errorf("%s: %w", f.Name(), err)
	}
	var parts []io.Reader
	rewind := func() io.Reader {
		parts = parts[:0]
		for _, rec := range list {
			parts = append(parts, io.NewSectionReader(f, rec.From, rec.To-rec.From))
		}
		return io.MultiReader(parts...)
	}
	h := header{Format: shardFormat, Version: shardVersion, Job: m.Sum, Program: m.Program, Shard: i, First: r.First, N: r.N, Seconds: o.Seconds}
	sum := sha256.New()
	if h.Bytes, err = io.Copy(sum, rewind()); err != nil {
		return err
	}
	h.Records, o.Bytes = hex.EncodeToString(sum.Sum(nil)), h.Bytes
	line, err := journal.Seal(nil, h)
	if err != nil {
		return err
	}
	err = s.Put(ctx, resultName(i), int64(len(line))+h.Bytes, io.MultiReader(bytes.NewReader(line), rewind()))
	if !errors.Is(err, fs.ErrExist) {
		return err
	}
	o.Late = true
	res, err := m.open(ctx, s, i)
	if err != nil {
		return err
	}
	o.Differs = res.Records != h.Records
	if err := res.c.Close(); err != nil {
		return err
	}
	if o.Differs && m.Task.Repeatable() {
		return fmt.Errorf("%s: %w", res.name, ErrDiffers)
	}
	return nil
}

// checkIndices checks that records are of the images of a range, in order, each once.
func checkIndices(list []runlog.Record, r Range) error {
	for k, rec := range list {
		switch want := r.First + k; {
		case k > 0 && rec.Index == list[k-1].Index:
			return fmt.Errorf("image %d is there twice", rec.Index)
		case k >= r.N || rec.Index < r.First || rec.Index >= r.First+r.N:
			return fmt.Errorf("image %d is not one of the shard's, %d … %d", rec.Index, r.First, r.First+r.N-1)
		case rec.Index > want:
			return fmt.Errorf("image %d is missing", want)
		case rec.Index < want:
			return fmt.Errorf("image %d is out of order", rec.Index)
		}
	}
	if len(list) < r.N {
		return fmt.Errorf("image %d is missing", r.First+len(list))
	}
	return nil
}

// Redo does one image again and returns its record, to be compared with the one that a
// Repeatable task has published. s has that image alone.
func Redo(ctx context.Context, t Task, s *Subject) ([]byte, error) {
	dir, err := os.MkdirTemp("", "epsball-*")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	w, err := t.Work(s)
	if err != nil {
		return nil, err
	}
	path := filepath.Join(dir, "journal")
	if err := w.Run(ctx, path); err != nil {
		return nil, err
	}
	return os.ReadFile(path)
}
