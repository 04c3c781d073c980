package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/epsball/epsball/dataset"
	"github.com/epsball/epsball/internal/input"
	"github.com/epsball/epsball/internal/show"
	"github.com/epsball/epsball/jobs"
	"github.com/epsball/epsball/jobs/s3"
	"github.com/epsball/epsball/report"
	"github.com/epsball/epsball/verify/branch"
)

// jobInput are the flags of commands that load what a manifest names.
type jobInput struct{ model, data string }

func (f *jobInput) addFlags(c *cobra.Command) {
	c.Flags().StringVar(&f.model, "model", "", "where the `model` is on this machine (default as planned)")
	c.Flags().StringVar(&f.data, "data", "", "where the `data` set, or the property file, is: on this machine or, of a data set, at s3://BUCKET/KEY (default as planned)")
}

// open finds the images of a range, which the caller closes, and the model, which must be the
// job's.
func (f *jobInput) open(ctx context.Context, a *app, m *jobs.Manifest, r jobs.Range) (*jobImages, error) {
	order, err := dataset.ParseChannelOrder(m.Data.Channels)
	if err != nil {
		return nil, fmt.Errorf("manifest: data: channels: %w", err)
	}
	spec := cmp.Or(f.model, m.Model.Spec)
	model, err := a.loadModel(spec)
	if err != nil {
		return nil, err
	}
	if err := m.FitsModel(spec, model.Hash()); err != nil {
		return nil, err
	}
	return a.jobImages(ctx, model, spec, &data{Data: input.Data{Spec: cmp.Or(f.data, m.Data.Spec), Offset: r.First, N: r.N, Channels: order}})
}

// shard loads what shard i works on.
func (f *jobInput) shard(ctx context.Context, a *app, s jobs.Store, m *jobs.Manifest, i int) (*input.Subject, *jobs.Subject, error) {
	if m.Task.Kind() == jobs.KindVerify {
		in, err := f.loadShares(ctx, a, s, m)
		if err != nil {
			return nil, nil, err
		}
		return in.sub, in.work(m, i, 1), nil
	}
	r := m.Range(i)
	images, err := f.open(ctx, a, m, r)
	if err != nil {
		return nil, nil, err
	}
	defer images.close()
	sub, err := images.subject(0, r.N, false) // the hash of labels tells
	if err == nil {
		err = m.FitsData(i, sub.X, sub.Y)
	}
	if err == nil {
		err = sub.FillLabels(ctx, r.First)
	}
	if err != nil {
		return nil, nil, err
	}
	return sub, jobSubject(sub, m.Data.Spec, r.First), nil
}

func (a *app) shardRunCommand() *cobra.Command {
	var job, scratch string
	var index int
	var in jobInput
	c := &cobra.Command{
		Use:   "run",
		Short: "Do one shard of a job, and publish its result",
		Long: `Does shard --index of a job, or the one that Slurm (SLURM_ARRAY_TASK_ID) or Kubernetes
(JOB_COMPLETION_INDEX) names, and publishes the result in the job's folder. A shard that
is published is left alone, so that it does no harm to run one again.

What is done is kept in a journal in --scratch, written and synced every few images: after
a kill or ^C, the same command goes on from there. A scratch folder that all machines
see lets any of them go on. If two processes do the same shard, the first to publish
wins, and the other changes nothing; if what it has is not the same, the exit status is 1.`,
		Example: `  epsball shard run --job job --index 7
  srun epsball shard run --job /shared/job --threads $SLURM_CPUS_PER_TASK`,
		Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			s, m, err := openJob(c.Context(), job)
			if err != nil {
				return err
			}
			i, err := shardIndex(c.Flags().Changed("index"), index, m.Shards())
			if err != nil {
				return err
			}
			return a.shardRun(c.Context(), job, s, m, i, &in, cmp.Or(scratch, scratchOf(job)))
		},
	}
	addJob(c, &job)
	c.Flags().IntVar(&index, "index", 0, "`shard` to do, from 0 (default $SLURM_ARRAY_TASK_ID or $JOB_COMPLETION_INDEX)")
	c.Flags().StringVar(&scratch, "scratch", "", "`folder` for journals of shards under way (default scratch in the job's folder; of s3://…, epsball-scratch in $TMPDIR)")
	in.addFlags(c)
	return c
}

// scratchOf is where journals are unless --scratch says so.
func scratchOf(job string) string {
	if strings.HasPrefix(job, s3.Scheme) {
		return filepath.Join(os.TempDir(), "epsball-scratch")
	}
	return filepath.Join(job, "scratch")
}

func (a *app) shardRun(ctx context.Context, job string, s jobs.Store, m *jobs.Manifest, i int, in *jobInput, scratch string) error {
	images := m.Range(i)
	r := &report.ShardRun{Job: job, Kind: m.Task.Kind(), Shard: i, First: images.First, N: images.N, Outcome: report.ShardSkipped}
	done, err := m.Published(ctx, s, i)
	if err != nil {
		return err
	}
	if done {
		r.Envelope = a.envelope("shard run")
		return a.report(r)
	}
	sub, work, err := in.shard(ctx, a, s, m, i)
	if err != nil {
		return err
	}
	bar, at := show.NewBar(a.stderr), 0
	work.Progress = func(pass string, done, total int) {
		at = done
		bar.Show(pass, done, total)
	}
	work.Search = func(p branch.Progress) {
		if work.Shares != nil {
			bar.Note(searchText(p))
			return
		}
		bar.Note(fmt.Sprintf("bab: image %d of %d: %s", at+1, images.N, searchText(p)))
	}
	w, err := m.Task.Work(work)
	if err != nil {
		return fmt.Errorf("model %s: %w", m.Model.Spec, err)
	}
	o, err := m.Run(ctx, s, i, scratch, w)
	bar.Clear()
	switch {
	case errors.Is(err, context.Canceled):
		return interrupted("shard %d is not published; the same command goes on with it", i)
	case errors.Is(err, jobs.ErrDiffers):
		return undecided("shard %d: %w", i, err)
	case err != nil:
		return fmt.Errorf("shard %d: %w", i, err)
	}
	if r.Outcome = report.ShardPublished; o.Late {
		r.Outcome = report.ShardLate
	}
	if o.Differs {
		a.logf("warning: shard %d: the published result differs, as it may with a time limit, and of verify", i)
	}
	r.Envelope = a.envelope("shard run", sub)
	r.Data, r.Bytes, r.Seconds = m.Data.Spec, o.Bytes, o.Seconds
	return a.report(r)
}
