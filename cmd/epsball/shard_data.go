package main

import (
	"context"
	"fmt"
	"os"
	"strings"

	"github.com/epsball/epsball/internal/input"
	"github.com/epsball/epsball/internal/ranges"
	"github.com/epsball/epsball/jobs/s3"
)

// jobSubjects is subjects for data that may be in a bucket: s3://BUCKET/KEY. Of that, the images
// of d alone are read where the format allows it.
func (a *app) jobSubjects(ctx context.Context, model string, d *data, labelled bool) (*input.Subject, error) {
	bucket, key, inBucket := strings.Cut(strings.TrimPrefix(d.Spec, s3.Scheme), "/")
	if !strings.HasPrefix(d.Spec, s3.Scheme) {
		return one(a.subjects([]string{model}, d, labelled))
	}
	spec, first := d.Spec, d.Offset
	if !inBucket || bucket == "" || key == "" || strings.HasSuffix(key, "/") {
		return nil, fmt.Errorf("data %s: want s3://BUCKET/KEY, of a file", spec)
	}
	b, err := s3.Open(s3.Scheme + bucket)
	if err != nil {
		return nil, fmt.Errorf("data %s: %w", spec, err)
	}
	dir, err := os.MkdirTemp("", "epsball-*")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	local, err := ranges.Images(ctx, b, key, d.Offset, d.N, dir)
	if err != nil {
		return nil, fmt.Errorf("data %s: %w", spec, err)
	}
	d.Spec, d.Offset = local.Path, local.Offset
	defer func() { d.Spec, d.Offset = spec, first }()
	s, err := one(a.subjects([]string{model}, d, labelled))
	if err != nil {
		return nil, fmt.Errorf("data %s: %w", spec, err)
	}
	return s, nil
}

func one(subjects []*input.Subject, err error) (*input.Subject, error) {
	if err != nil {
		return nil, err
	}
	return subjects[0], nil
}
