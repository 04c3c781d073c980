package main

import (
	"context"
	"fmt"
	"os"
	"strings"

	"github.com/epsball/epsball/internal/input"
	"github.com/epsball/epsball/internal/ranges"
	"github.com/epsball/epsball/jobs/s3"
	"github.com/epsball/epsball/model"
)

// blockBytes is how much of a job's images, as float32, plan and merge hold at once, or those
// of a shard. (A variable for tests.)
var blockBytes = 256 << 20

// jobImages are the images of a job, which may be in a bucket: s3://BUCKET/KEY. They are
// brought to disk at once and loaded a part at a time.
type jobImages struct {
	a       *app
	d       data   // on this machine
	spec    string // as named
	named   bool   // what labels mean has been said
	m       *model.Model
	modelAt string
	dir     string // of what was brought; "": nothing was
}

// jobImages brings images first … first+n−1 of a data set, n = 0: all from first on. The caller
// closes it.
func (a *app) jobImages(ctx context.Context, m *model.Model, modelAt string, d *data) (*jobImages, error) {
	j := &jobImages{a: a, d: *d, spec: d.Spec, m: m, modelAt: modelAt}
	if d.channels != nil {
		j.d.Channels = d.channels.v
	}
	bucket, key, inBucket := strings.Cut(strings.TrimPrefix(d.Spec, s3.Scheme), "/")
	if !strings.HasPrefix(d.Spec, s3.Scheme) {
		return j, nil
	}
	if !inBucket || bucket == "" || key == "" || strings.HasSuffix(key, "/") {
		return nil, fmt.Errorf("data %s: want s3://BUCKET/KEY, of a file", j.spec)
	}
	b, err := s3.Open(s3.Scheme + bucket)
	if err != nil {
		return nil, j.wrap(err)
	}
	if j.dir, err = os.MkdirTemp("", "epsball-*"); err != nil {
		return nil, err
	}
	local, err := ranges.Images(ctx, b, key, d.Offset, d.N, j.dir)
	if err != nil {
		j.close()
		return nil, j.wrap(err)
	}
	j.d.Spec, j.d.Offset = local.Path, local.Offset
	return j, nil
}

// close removes what was brought.
func (j *jobImages) close() {
	if j.dir != "" {
		_ = os.RemoveAll(j.dir)
	}
}

// wrap names a data set in a bucket, of which the error names a file.
func (j *jobImages) wrap(err error) error {
	if err != nil && strings.HasPrefix(j.spec, s3.Scheme) {
		return fmt.Errorf("data %s: %w", j.spec, err)
	}
	return err
}

// count returns the number of images from the first on: as many as wanted, or all.
func (j *jobImages) count() (int, error) {
	d := j.d.Data
	n, err := d.Count(j.m, j.modelAt)
	return n, j.wrap(err)
}

// subject loads the images from … to−1, counted from the first, with a network ready to run.
func (j *jobImages) subject(from, to int, labelled bool) (*input.Subject, error) {
	if err := j.load(from, to, labelled); err != nil {
		return nil, err
	}
	sub, err := input.NewSubject(j.m, j.modelAt, &j.d.Data, j.a.isa, j.a.threads)
	return sub, j.wrap(err)
}

// into replaces the images of a subject.
func (j *jobImages) into(sub *input.Subject, from, to int, labelled bool) error {
	sub.X, sub.Y = nil, nil // before others come
	if err := j.load(from, to, labelled); err != nil {
		return err
	}
	set, err := j.d.Fit(j.m, j.modelAt)
	if err != nil {
		return j.wrap(err)
	}
	sub.X, sub.Y = set.X, set.Y
	return nil
}

func (j *jobImages) load(from, to int, labelled bool) error {
	offset := j.d.Offset
	defer func() { j.d.Offset = offset }()
	j.d.Set, j.d.Offset, j.d.N = nil, offset+from, to-from
	load := j.a.load
	if j.named {
		load = func(d *data, m *model.Model, modelAt string) error { return d.Load(m, modelAt) }
	}
	err := load(&j.d, j.m, j.modelAt)
	if err == nil && labelled {
		err = j.d.Labelled()
	}
	j.named = err == nil
	return j.wrap(err)
}

// blocks returns how many images of a job of shards of a size are held at once: whole shards.
func (j *jobImages) blocks(size int) int {
	return max(1, blockBytes/4/j.m.Arch.Input.Size()/size) * size
}
