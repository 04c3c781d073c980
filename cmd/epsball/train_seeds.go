package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/epsball/epsball/internal/input"
	"github.com/epsball/epsball/internal/outfile"
	"github.com/epsball/epsball/model"
	"github.com/epsball/epsball/report"
	"github.com/epsball/epsball/train"
)

// numbered names a file of a seed: m.safetensors is m-seed3.safetensors.
func numbered(path string, seed uint64) string {
	if path == "" {
		return ""
	}
	ext := filepath.Ext(path)
	return strings.TrimSuffix(path, ext) + "-seed" + strconv.FormatUint(seed, 10) + ext
}

// ofSeed returns the flags of the run of one seed.
func (f *trainFlags) ofSeed(seed uint64) *trainFlags {
	g := *f
	g.seed, g.seeds = seed, 0
	g.out.Path, g.log.Path, g.checkpoint.Path = numbered(f.out.Path, seed), numbered(f.log.Path, seed), numbered(f.checkpoint.Path, seed)
	g.log.Resume = f.resume
	g.out.Resumable, g.out.Resume = true, f.resume && g.out.Exists()
	g.resume = false
	if at := g.checkpoint.Path; f.resume && !g.out.Resume {
		if at == "" {
			at = g.out.Path + ".checkpoint"
		}
		g.resume = (&outfile.Output{Path: at}).Exists()
	}
	return &g
}

// trainSeeds trains a model for each seed from the configuration's. With --resume it takes
// the models that are there, and goes on with the one after.
func (a *app) trainSeeds(ctx context.Context, f *trainFlags, c *train.Config) error {
	if _, ok := outfile.Descriptor(f.out.Path); ok {
		return fmt.Errorf("--out: got %s, want a file with --seeds", f.out.Path)
	}
	if c.Seed > math.MaxUint64-uint64(f.seeds) {
		return fmt.Errorf("--seed: got %d, want less with --seeds %d", c.Seed, f.seeds)
	}
	runs := make([]*trainFlags, f.seeds)
	for i := range runs {
		g := f.ofSeed(c.Seed + uint64(i))
		if err := g.checkFiles(); err != nil {
			return err
		}
		release, err := a.claimTrain(g)
		if err != nil {
			return err
		}
		defer release()
		runs[i] = g
	}
	r := &report.TrainSeeds{
		Envelope: a.envelope("train"), Arch: f.arch, Method: c.Method, Norm: c.NormTrained().String(), Eps: f.eps.v.Float64(), EpsExact: f.eps.v.String(),
	}
	r.Seed, r.Data, r.ISA, r.Threads = &c.Seed, f.data.Spec, a.isa.Name(), a.threads
	began := time.Now()
	var failure error
	for _, g := range runs {
		own := *c
		own.Seed, own.Checkpoint = g.seed, g.checkpoint.Path
		run := a.takeModel
		if !g.out.Resume {
			run = a.trainOne
			a.logf("seed %d", g.seed)
		}
		var one *report.Train
		if one, failure = run(ctx, g, &own); failure != nil {
			failure = fmt.Errorf("seed %d: %w", g.seed, failure)
			break
		}
		r.Epsball.Models = append(r.Epsball.Models, one.Epsball.Models...)
		r.TestData, r.TestN, r.TestSteps = one.TestData, one.TestN, one.TestSteps
		r.Models = append(r.Models, report.SeedModel{
			Seed: own.Seed, Out: one.Out, Hash: one.Hash, Clean: one.Clean, PGD: one.PGD, Certified: one.Certified, Found: g.out.Resume,
		})
	}
	if failure != nil && exitCode(failure) == exitBadInput {
		return failure
	}
	r.Seconds = time.Since(began).Seconds()
	r.Estimate()
	return errors.Join(a.report(r), failure)
}

// takeModel evaluates the model that an earlier run of the same command has written, if
// that was not done.
func (a *app) takeModel(ctx context.Context, f *trainFlags, c *train.Config) (*report.Train, error) {
	m, err := model.Load(f.out.Path)
	if err != nil {
		return nil, err
	}
	if got := m.Card[report.CardCommand]; !strings.HasPrefix(got, f.settings(c)+" --data ") {
		return nil, fmt.Errorf("--out: %s was made by other settings: %s", f.out.Path, got)
	}
	set, err := f.loadData(a, m)
	if err != nil {
		return nil, err
	}
	r := f.result(a, c, set.Len())
	r.Hash, r.Epsball.Models = m.Hash(), []report.Model{{Name: input.Name(f.out.Path), Hash: m.Hash()}}
	if f.test.Spec == "" {
		return r, nil
	}
	r.TestData, r.TestN, r.TestSteps = f.test.Spec, f.test.N, testSteps
	if m.Card[report.CardTestData] == r.TestData && m.Card[report.CardTestN] == strconv.Itoa(r.TestN) {
		for key, to := range map[string]**float64{report.CardClean: &r.Clean, report.CardPGD: &r.PGD, report.CardCertified: &r.Certified} {
			v, err := strconv.ParseFloat(m.Card[key], 64)
			if err != nil {
				return nil, fmt.Errorf("%s: card: %s: got %q, want a fraction", f.out.Path, key, m.Card[key])
			}
			*to = &v
		}
		return r, nil
	}
	if err := a.evaluate(ctx, f, m, r); err != nil {
		return nil, err
	}
	return r, f.save(m)
}
