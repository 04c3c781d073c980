package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/epsball/epsball/defend"
	"github.com/epsball/epsball/internal/outfile"
	"github.com/epsball/epsball/internal/show"
	"github.com/epsball/epsball/jobs"
	"github.com/epsball/epsball/net"
	"github.com/epsball/epsball/report"
	"github.com/epsball/epsball/smooth"
)

type smoothFlags struct {
	model   string
	data    data
	sigma   *value[net.Epsilon]
	radius  *value[net.Epsilon]
	predict bool
	choose  int
	samples int
	alpha   float64
	seed    uint64
	chain   *value[defend.Chain]
	fast    bool // by Winograd's algorithm
	out     outfile.Output
	resume  bool
	force   bool
	given   func(flag string) bool
}

// predictSamples is the usual number of samples of a prediction.
const predictSamples = 1000

func newSmoothFlags() *smoothFlags {
	return &smoothFlags{
		sigma: positiveFlag(""), radius: positiveFlag(""), chain: newValue("defence", "", defend.Parse),
		out: outfile.Output{Flag: "out", Appended: true, Resumable: true},
	}
}

func (a *app) smoothCommand() *cobra.Command {
	f := newSmoothFlags()
	c := &cobra.Command{
		Use:   "smooth",
		Short: "Certify by randomised smoothing: L2 radii that hold with high probability",
		Long: `Smooths a model: an image's class is the one that the model names most often when
normal noise of standard deviation --sigma is added. Samples of the noise then certify an
L2 radius inside which that class stays (Cohen et al. 2019). This is no proof: what is
said of an image is wrong with a probability of at most --alpha, and of any of n images
with at most n times that. Proofs are what certify finds.

Without --radius, all --samples are drawn and the largest radius is found. With
--radius, only that one is decided, and sampling stops as soon as the answer is known,
mostly after some hundred samples. --predict gives the class alone.

Images must be of 8 bits (pixels k/255), and noise is drawn on that grid, so that no
rounding of floats can undo what is certified. Models should be trained on noise: train
--method gaussian. A --defence is part of the model: a denoiser such as tv or median.

With --out, each image gets a line of JSON, in order, and a run that was stopped continues
with --resume; shard plan smooth divides a run among machines. The same seed gives the
same samples with any threads, batch or part of the data (docs/smoothing.md).`,
		Example: `  epsball train  --arch mnist-small --method gaussian --sigma 0.5 --data testdata/mnist#train --out noise.safetensors
  epsball smooth --model noise.safetensors --sigma 0.5 --n 100
  epsball smooth --model noise.safetensors --sigma 0.5 --radius 0.75 --out radii.jsonl
  epsball smooth --model noise.safetensors --sigma 0.5 --predict`,
		Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			f.given = c.Flags().Changed
			return a.smooth(c.Context(), f)
		},
	}
	fl := c.Flags()
	fl.StringVar(&f.model, "model", "", "`model` to smooth (required)")
	f.data.addFlags(c, "builtin:mnist")
	f.addMethodFlags(c)
	fl.StringVar(&f.out.Path, "out", "", "`file` for a line of JSON for each image; -: standard output, and the report to stderr")
	fl.BoolVar(&f.resume, "resume", false, "go on with what --out has")
	addForce(c, &f.force)
	return c
}

// addMethodFlags declares what is drawn, and what for.
func (f *smoothFlags) addMethodFlags(c *cobra.Command) {
	fl := c.Flags()
	fl.Var(f.sigma, "sigma", "standard deviation of the noise, such as 0.25 (required)")
	fl.Var(f.radius, "radius", "the L2 radius to decide, such as 0.5; without it the largest is found")
	fl.BoolVar(&f.predict, "predict", false, "find the class alone, no radius")
	fl.IntVar(&f.choose, "select", smooth.DefaultSelect, "samples that pick the class to certify")
	fl.IntVar(&f.samples, "samples", 0, fmt.Sprintf("samples that estimate its probability, at most (default %d; --predict: %d)", smooth.DefaultSamples, predictSamples))
	fl.Float64Var(&f.alpha, "alpha", smooth.DefaultAlpha, "probability that what is said of one image is wrong")
	fl.Uint64Var(&f.seed, "seed", 1, "seed of the noise")
	fl.BoolVar(&f.fast, "winograd", false, "Winograd's algorithm for 3x3 convolutions: faster, other roundings, so --predict with it too")
	fl.Var(f.chain, "defence", "preprocessing of each sample that draws no random numbers, such as tv: see epsball help defences")
}

func (a *app) checkSmooth(f *smoothFlags) error {
	if f.samples == 0 && !f.given("samples") {
		f.samples = smooth.DefaultSamples
		if f.predict {
			f.samples = predictSamples
		}
	}
	switch {
	case f.model == "":
		return a.modelRequired()
	case !f.sigma.set:
		return errors.New("--sigma: required, such as --sigma 0.25: the standard deviation of the noise that the model was trained on")
	case f.predict && f.radius.set:
		return errors.New("--predict and --radius: want one of the two")
	case f.predict && f.given("select"):
		return errors.New("--select: has no meaning with --predict")
	case f.resume && f.out.Path == "":
		return errors.New("--resume: has no meaning without --out")
	case f.samples < 1:
		return fmt.Errorf("--samples: got %d, want at least 1", f.samples)
	case f.choose < 1:
		return fmt.Errorf("--select: got %d, want at least 1", f.choose)
	case !(f.alpha > 0 && f.alpha <= 0.5):
		return fmt.Errorf("--alpha: got %v, want a probability above 0 and at most 0.5", f.alpha)
	case f.chain.v.Random():
		return errors.New("--defence: draws random numbers, and what is smoothed must say the same of the same image")
	}
	return nil
}

func (a *app) smooth(ctx context.Context, f *smoothFlags) error {
	if err := a.checkSmooth(f); err != nil {
		return err
	}
	f.out.Resume = f.resume
	release, err := a.claim(f.force, inputs(f.data.Spec, []string{f.model}), &f.out)
	if err != nil {
		return err
	}
	defer release()
	subjects, err := a.subjects([]string{f.model}, &f.data, true)
	if err != nil {
		return err
	}
	s := subjects[0]
	task := f.task()
	bar := show.NewBar(a.stderr)
	w, err := task.NewWork(&jobs.Subject{
		Model: s.Model.Hash(), Data: f.data.Spec, First: f.data.Offset, Net: s.Net, Pool: s.Pool, X: s.X, Y: s.Y, Progress: bar.Show,
	})
	if err != nil {
		return fmt.Errorf("model %s: %w", s.Name, err)
	}
	if f.out.Path != "" {
		if err := w.Log.Open(&f.out, f.resume); err != nil {
			return fmt.Errorf("--out: %w", err)
		}
		defer func() { _ = w.Log.Close() }() // its error has been seen, unless there is another
		if done := countTrue(w.Log.Done); done > 0 {
			a.logf("%s: %d of %s are there", f.out.Path, done, count(len(s.Y), "image"))
		}
	}
	r := &report.Smooth{Envelope: a.envelope("smooth", s), SmoothRun: report.NewSmoothRun(s.Name, f.data.Offset, f.predict, task.Defence, task.Winograd, w.Smoother)}
	r.Seed, r.Data = &f.seed, f.data.Spec
	start := time.Now()
	err = w.Draw(ctx)
	bar.Clear()
	if closing := w.Log.Close(); closing != nil {
		err = errors.Join(err, fmt.Errorf("--out: %w", closing))
	}
	if err != nil && !errors.Is(err, context.Canceled) {
		return err
	}
	r.Seconds = time.Since(start).Seconds()
	r.PerSecond = show.PerSecond(int64(w.Drawn), r.Seconds)
	r.Fill(w.Log.Results, w.Log.Done, s.Y)
	if r.N > 0 {
		r.Out = f.out.Path
	}
	if err := a.report(r); err != nil {
		return err
	}
	if i := r.Interrupted; i != nil {
		return interrupted("%d of %s done", r.N, count(i.N, "image"))
	}
	return nil
}

// task is what the flags ask for, which checkSmooth has seen.
func (f *smoothFlags) task() *jobs.Smooth {
	t := &jobs.Smooth{Predict: f.predict, Sigma: f.sigma.v.String(), Samples: f.samples, Alpha: f.alpha, Seed: f.seed, Winograd: f.fast}
	if !f.predict {
		t.Select = f.choose
	}
	if f.radius.set {
		t.Radius = f.radius.v.String()
	}
	if f.chain.set {
		t.Defence = f.chain.v.String()
	}
	return t
}
