package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/epsball/epsball/internal/input"
	"github.com/epsball/epsball/internal/show"
	"github.com/epsball/epsball/jobs"
	"github.com/epsball/epsball/report"
)

// planFlags are those of shard plan, whatever the work.
type planFlags struct {
	job    string
	model  string
	data   data
	size   int
	shards int
}

func (a *app) shardPlanCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "plan",
		Short: "Write the manifest of a job: plan certify, attack, smooth or verify",
		Long: `Loads the model and the images, hashes them, and writes the manifest of a job to its
folder. Run, merge and status take everything from there. The flags of the work are
those of certify, attack and smooth. Plan verify divides what verify has left open.`,
		Example: `  epsball shard plan certify --job job --model builtin:mnist-small-ibp-0.1 --eps 0.1 --size 500
  epsball shard plan attack --job job --model net.onnx --data cifar --attack auto --eps 8/255 --shards 100
  epsball shard plan smooth --job job --model noise.safetensors --sigma 0.5 --size 500`,
		Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	c.AddCommand(a.planCertifyCommand(), a.planAttackCommand(), a.planSmoothCommand(), a.planVerifyCommand())
	return c
}

func (f *planFlags) addFlags(c *cobra.Command) {
	addJob(c, &f.job)
	fl := c.Flags()
	fl.StringVar(&f.model, "model", "", "`model` (required)")
	f.data.addFlags(c, "builtin:mnist")
	fl.IntVar(&f.size, "size", 0, "images of a shard; aim at half a minute of work or more")
	fl.IntVar(&f.shards, "shards", 0, "number of shards, instead of --size")
}

func (a *app) planCertifyCommand() *cobra.Command {
	f, p := newCertifyFlags(), &planFlags{}
	certificates := true
	c := &cobra.Command{
		Use:   "certify",
		Short: "Plan to certify images",
		Long: `Plans a job that does what certify does. Each image also gets its certificate, unless
--certificates=false; merge writes them to one file.`,
		Example: `  epsball shard plan certify --job job --model builtin:mnist-small-ibp-0.1 --eps 0.1 --size 500
  epsball shard plan certify --job job --model m.onnx --data d.npz --method bab --timeout 60 --eps 2/255 --shards 1000`,
		Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			f.given, f.models, f.data = c.Flags().Changed, []string{p.model}, p.data
			if err := f.check(); err != nil {
				return err
			}
			if len(f.radii.v) != 1 {
				return fmt.Errorf("--eps: got %d radii, want one: plan a job for each", len(f.radii.v))
			}
			task := f.task(f.radii.v[0])
			task.Certificates = certificates
			return a.shardPlan(c.Context(), p, true, func(*input.Subject) (jobs.Task, error) { return task, nil })
		},
	}
	p.addFlags(c)
	f.addMethodFlags(c)
	c.Flags().BoolVar(&certificates, "certificates", true, "make a certificate of each image that is proved")
	refuseDefence(c)
	return c
}

func (a *app) planAttackCommand() *cobra.Command {
	f, p := newAttackFlags(), &planFlags{}
	f.defence.eot = 1
	c := &cobra.Command{
		Use:   "attack",
		Short: "Plan to attack images",
		Long: `Plans a job that does what attack does. Merge writes the adversarial images to one file
and checks each of them.`,
		Example: "  epsball shard plan attack --job job --model net.onnx --data cifar --attack auto --eps 8/255 --shards 100",
		Args:    noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			f.given, f.model, f.data = c.Flags().Changed, p.model, p.data
			if err := f.check(); err != nil {
				return err
			}
			return a.shardPlan(c.Context(), p, false, f.task)
		},
	}
	p.addFlags(c)
	f.addMethodFlags(c)
	return c
}

func (a *app) planSmoothCommand() *cobra.Command {
	f, p := newSmoothFlags(), &planFlags{}
	c := &cobra.Command{
		Use:   "smooth",
		Short: "Plan to certify images by randomised smoothing",
		Long: `Plans a job that does what smooth does. Merge writes the lines of all images to one file.
The probability of an error (--alpha) is that of an image, however many shards there are.`,
		Example: `  epsball shard plan smooth --job job --model noise.safetensors --sigma 0.5 --size 500
  epsball shard plan smooth --job job --model noise.safetensors --sigma 0.5 --radius 0.75 --data cifar --shards 100`,
		Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			f.given, f.model, f.data = c.Flags().Changed, p.model, p.data
			if err := a.checkSmooth(f); err != nil {
				return err
			}
			return a.shardPlan(c.Context(), p, true, func(*input.Subject) (jobs.Task, error) { return f.task(), nil })
		},
	}
	p.addFlags(c)
	f.addMethodFlags(c)
	return c
}

// task is what the flags ask for, of a subject.
func (f *attackFlags) task(s *input.Subject) (jobs.Task, error) {
	if err := f.widen(s.Net.Input().Size()); err != nil {
		return nil, err
	}
	if len(f.radii.v) != 1 {
		return nil, fmt.Errorf("--eps: got %d radii, want one: plan a job for each", len(f.radii.v))
	}
	m, err := f.method()
	if err != nil {
		return nil, err
	}
	return &jobs.Attack{Method: m.String(), Norm: f.norm.v.String(), Eps: f.radii.v[0].String(), Unlimited: f.unlimited}, nil
}

func (a *app) shardPlan(ctx context.Context, f *planFlags, labelled bool, task func(*input.Subject) (jobs.Task, error)) error {
	s, err := openStore(f.job)
	switch {
	case err != nil:
		return err
	case (f.size == 0) == (f.shards == 0):
		return errors.New("--size: required, such as --size 500; or --shards")
	case f.size < 0:
		return fmt.Errorf("--size: got %d, want at least 1 image", f.size)
	case f.shards < 0 || f.shards > jobs.MaxShards:
		return fmt.Errorf("--shards: got %d, want 1 … %d", f.shards, jobs.MaxShards)
	}
	if err := unplanned(ctx, s, f.job); err != nil {
		return err
	}
	if f.model == "" {
		return a.modelRequired()
	}
	model, err := a.loadModel(f.model)
	if err != nil {
		return err
	}
	images, err := a.jobImages(ctx, model, f.model, &f.data)
	if err != nil {
		return err
	}
	defer images.close()
	n, err := images.count()
	if err != nil {
		return err
	}
	if f.shards > n {
		return fmt.Errorf("--shards: got %d, want at most one for each of %s", f.shards, count(n, "image"))
	}
	if f.size == 0 {
		f.size = (n-1)/f.shards + 1
	}
	size := min(f.size, n)
	block := images.blocks(size)
	sub, err := images.subject(0, min(block, n), labelled)
	if err != nil {
		return err
	}
	what, err := task(sub)
	if err != nil {
		return err
	}
	data := jobs.Data{Spec: f.data.Spec, Channels: f.data.channels.text, Offset: f.data.Offset, N: n}
	bar := show.NewBar(a.stderr)
	defer bar.Clear()
	per, begin := model.Arch.Input.Size(), 0
	m, err := jobs.NewManifest(program(), what, jobs.Model{Spec: f.model, Hash: model.Hash()}, data, f.size, func(from, to int) ([]float32, []int, error) {
		if err := ctx.Err(); err != nil {
			return nil, nil, interrupted("nothing is planned")
		}
		bar.Show("plan", from, n)
		if to > begin+len(sub.Y) {
			begin = from
			if err := images.into(sub, begin, min(begin+block, n), labelled); err != nil {
				return nil, nil, err
			}
		}
		if from == begin { // or every shard would say so
			if _, err := what.Work(jobSubject(sub, data.Spec, data.Offset+begin)); err != nil {
				return nil, nil, fmt.Errorf("model %s: %w", f.model, err)
			}
		}
		return sub.X[(from-begin)*per : (to-begin)*per], sub.Y[from-begin : to-begin], nil
	})
	bar.Clear()
	if err != nil {
		return err
	}
	if err := jobs.Plan(ctx, s, m); err != nil {
		return fmt.Errorf("--job: %w", err)
	}
	r := &report.ShardPlan{
		Envelope: a.envelope("shard plan", sub), Job: f.job, Manifest: m.Sum, Kind: what.Kind(), Offset: m.Data.Offset, N: n, Shards: m.Shards(), Size: f.size,
	}
	r.Data = f.data.Spec
	return a.report(r)
}

// unplanned refuses a job that has a manifest, before anything is loaded.
func unplanned(ctx context.Context, s jobs.Store, job string) error {
	r, err := s.Get(ctx, jobs.ManifestName)
	if err != nil {
		return nil // or Plan will say what is wrong
	}
	_ = r.Close()
	return fmt.Errorf("--job: %s has a manifest already; name another folder", job)
}

// jobSubject is what a shard works on: images of a data set from the one with index first on.
func jobSubject(s *input.Subject, data string, first int) *jobs.Subject {
	return &jobs.Subject{Model: s.Model.Hash(), Data: data, First: first, Net: s.Net, Pool: s.Pool, X: s.X, Y: s.Y}
}
