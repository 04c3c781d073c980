package main

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"sync"

	"github.com/spf13/cobra"

	"github.com/epsball/epsball/jobs"
	"github.com/epsball/epsball/jobs/s3"
	"github.com/epsball/epsball/report"
)

func (a *app) shardCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "shard",
		Short: "Divide certify, attack, smooth or verify among machines: plan, run, status, merge",
		Long: `Divides the images of certify, attack or smooth into shards that many processes work on: a
loop in a shell, a Slurm job array, a Kubernetes Indexed Job (docs/scale.md). A job is a
folder that all of them see, or a bucket of S3. Nothing coordinates them: a shard is published
whole, and only once, whoever is killed, stopped or started twice. What verify has left open
in its checkpoint is divided in the same way.

  plan     write the job's manifest: what is done, of which model and images
  run      do one shard, and publish its result
  status   how far the job has come
  merge    check that every shard is there, once, re-check a sample, and report

What is merged is, to the byte, what one machine writes. (With bab and a --timeout, what
an image gets in its time depends on the machine.)`,
		Example: `  epsball shard plan certify --job job --model builtin:mnist-small-ibp-0.1 --eps 0.1 --size 500
  for i in $(seq 0 19); do epsball shard run --job job --index $i; done
  epsball shard status --job job
  epsball shard merge --job job --out certs.jsonl`,
		Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	c.AddCommand(a.shardPlanCommand(), a.shardRunCommand(), a.shardStatusCommand(), a.shardMergeCommand())
	return c
}

// addJob declares --job.
func addJob(c *cobra.Command, job *string) {
	c.Flags().StringVar(job, "job", "", "`folder` of the job, or s3://BUCKET/PREFIX (required)")
}

// openStore opens the store of --job.
func openStore(job string) (jobs.Store, error) {
	switch {
	case job == "":
		return nil, errors.New("--job: required: the folder of the job")
	case strings.HasPrefix(job, s3.Scheme):
		b, err := s3.Open(job)
		if err != nil {
			return nil, fmt.Errorf("--job: %w", err)
		}
		return b, nil
	case strings.Contains(job, "://"):
		return nil, fmt.Errorf("--job: got %s, want a folder that all machines of the job see, or s3://BUCKET/PREFIX", job)
	}
	return jobs.Folder(job), nil
}

// openJob reads the manifest of --job, which must have been planned with this program.
func openJob(ctx context.Context, job string) (jobs.Store, *jobs.Manifest, error) {
	s, err := openStore(job)
	if err != nil {
		return nil, nil, err
	}
	m, err := jobs.ReadManifest(ctx, s)
	if err == nil {
		err = m.FitsProgram(program())
	}
	return s, m, err
}

// program names this program for jobs, all of whose shards must be done by the same one: its
// version or, of a build that has none, also a hash of itself.
var program = sync.OnceValue(func() string {
	v := version()
	if v != "(devel)" && !strings.HasSuffix(v, "+dirty") {
		return v
	}
	path, err := os.Executable()
	if err != nil {
		return v
	}
	f, err := os.Open(path)
	if err != nil {
		return v
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return v
	}
	return fmt.Sprintf("%s %.12x", v, h.Sum(nil))
})

// The variables that say which shard a process is to do, where no flag does.
var indexVariables = []string{"SLURM_ARRAY_TASK_ID", "JOB_COMPLETION_INDEX"}

// shardIndex is the shard to do: --index, or what Slurm or Kubernetes says.
func shardIndex(given bool, index int, shards int) (int, error) {
	from := "--index"
	if !given {
		from = ""
		for _, name := range indexVariables {
			text := os.Getenv(name)
			if text == "" {
				continue
			}
			if from != "" {
				return 0, fmt.Errorf("--index: required, since both %s are set", strings.Join(indexVariables, " and "))
			}
			from = name
			var err error
			if index, err = strconv.Atoi(text); err != nil {
				return 0, fmt.Errorf("%s: got %q, want the index of a shard", name, text)
			}
		}
		if from == "" {
			return 0, fmt.Errorf("--index: required, unless %s is set", strings.Join(indexVariables, " or "))
		}
	}
	if index < 0 || index >= shards {
		return 0, fmt.Errorf("%s: got %d, want 0 … %d: the job has %s", from, index, shards-1, count(shards, "shard"))
	}
	return index, nil
}

func (a *app) shardStatusCommand() *cobra.Command {
	var job string
	c := &cobra.Command{
		Use:   "status",
		Short: "How far a job has come",
		Long: `Says how many shards are published, which are missing and, by the first lines of up to a
hundred of those that are published, how long one takes. It looks at the folder alone, so
that it says nothing of processes that are at work.`,
		Example: "  epsball shard status --job job",
		Args:    noArgs,
		RunE:    func(c *cobra.Command, _ []string) error { return a.shardStatus(c.Context(), job) },
	}
	addJob(c, &job)
	return c
}

func (a *app) shardStatus(ctx context.Context, job string) error {
	s, err := openStore(job)
	if err != nil {
		return err
	}
	m, err := jobs.ReadManifest(ctx, s) // of any program
	if err != nil {
		return err
	}
	const sample = 100
	st, err := m.Status(ctx, s, sample)
	if err != nil {
		return err
	}
	r := &report.ShardStatus{
		Envelope: a.envelope("shard status"), Job: job, Kind: m.Task.Kind(), Shards: st.Shards, Published: st.Published, N: m.Data.N, Images: st.Images,
		Bytes: st.Bytes, Complete: st.Complete(), Missing: []report.ShardSpan{}, Foreign: append([]string{}, st.Foreign...), Leftover: st.Leftover,
	}
	for _, span := range st.Missing {
		r.Missing = append(r.Missing, report.ShardSpan(span))
	}
	if st.Sampled > 0 {
		left := st.Seconds * float64(st.Shards-st.Published)
		r.Seconds, r.Left = &st.Seconds, &left
	}
	return a.report(r)
}
