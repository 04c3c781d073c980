package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/epsball/epsball/attack"
	"github.com/epsball/epsball/audit"
	"github.com/epsball/epsball/dataset"
	"github.com/epsball/epsball/internal/foreign"
	"github.com/epsball/epsball/internal/formats"
	"github.com/epsball/epsball/internal/input"
	"github.com/epsball/epsball/internal/outfile"
	"github.com/epsball/epsball/internal/show"
	"github.com/epsball/epsball/model"
	"github.com/epsball/epsball/net"
	"github.com/epsball/epsball/report"
	"github.com/epsball/epsball/train"
)

// testSteps is the number of PGD steps of the evaluation at the end.
const testSteps = 40

// loadArch returns the model that training starts from, without a card, and the hash of its
// weights if they are those of a file and not drawn.
func (a *app) loadArch(spec string, seed uint64, init model.Init) (*model.Model, string, error) {
	var arch *model.Architecture
	switch {
	case strings.HasSuffix(spec, outfile.Model), formats.IsONNX(spec), strings.HasPrefix(spec, input.Builtin):
		m, err := a.loadModel(spec)
		if err != nil {
			return nil, "", err
		}
		m = m.Clone()
		m.Card = nil
		return m, m.Hash(), nil
	case strings.HasSuffix(spec, ".json"):
		data, err := os.ReadFile(spec)
		if err != nil {
			return nil, "", err
		}
		if arch, err = model.ParseArchitecture(data); err != nil {
			return nil, "", fmt.Errorf("%s: %w", spec, err)
		}
	default:
		var err error
		if arch, err = model.Preset(spec); err != nil {
			if err := foreign.Check(spec); err != nil {
				return nil, "", err
			}
			return nil, "", fmt.Errorf("--arch: got %q, want %s, or a .json, .safetensors or .onnx file%s", spec, strings.Join(model.Presets(), ", "), didYouMean(spec, "", model.Presets()))
		}
	}
	if !slices.Contains(model.Inits(), init) {
		return nil, "", fmt.Errorf("--init: got %q, want one of %v", init, model.Inits())
	}
	m, err := init.Random(arch, seed)
	return m, "", err
}

func (a *app) train(ctx context.Context, f *trainFlags) error {
	if err := f.check(); err != nil {
		return err
	}
	c, err := f.config(a)
	if err != nil {
		return err
	}
	if f.seeds > 0 {
		return a.trainSeeds(ctx, f, &c)
	}
	if err := f.checkFiles(); err != nil {
		return err
	}
	c.Checkpoint = f.checkpoint.Path
	release, err := a.claimTrain(f)
	if err != nil {
		return err
	}
	defer release()
	r, err := a.trainOne(ctx, f, &c)
	if r == nil {
		return err
	}
	return errors.Join(a.report(r), err)
}

func (a *app) claimTrain(f *trainFlags) (release func(), err error) {
	return a.claim(f.force, f.inputs(), &f.out, &f.checkpoint, &f.log)
}

// trainOne trains a model, whose files are claimed. The result is nil if the input is bad.
func (a *app) trainOne(ctx context.Context, f *trainFlags, c *train.Config) (*report.Train, error) {
	m, start, err := a.loadArch(f.arch, c.Seed, c.FirstWeights())
	if err != nil {
		return nil, err
	}
	if start != "" && f.given("init") {
		return nil, fmt.Errorf("--init: has no meaning with --arch %s, which has weights", f.arch)
	}
	set, err := f.loadData(a, m)
	if err != nil {
		return nil, err
	}
	m.Card = map[string]string{
		report.CardCommand: f.command(c), report.CardMethod: string(c.Method), report.CardEps: f.eps.text,
		report.CardSeed: strconv.FormatUint(c.Seed, 10), report.CardEpochs: strconv.Itoa(c.Epochs),
	}
	if start != "" {
		m.Card[report.CardInit] = start
	}
	if n := c.NormTrained(); n != net.Linf {
		m.Card[report.CardNorm] = n.String()
	}
	bar := show.NewBar(a.stderr)
	c.Alarm = a.overfitted(bar)
	t, err := f.trainer(m, set, c)
	if err != nil {
		return nil, err
	}
	log, err := openLog(&f.log, t.History())
	if err != nil {
		return nil, err
	}
	step, epoch := a.trainProgress(bar, c)
	t.Observe(step, func(e train.Epoch) { log.add(e); epoch(e) })
	a.warnTested(f)
	r := f.result(a, c, set.Len())
	r.Command = m.Card[report.CardCommand]
	began := time.Now()
	trained, epochs, err := t.Run(ctx)
	bar.Clear()
	r.Epochs = report.Epochs(epochs)
	r.Seconds = time.Since(began).Seconds()
	r.Alarm = report.NewOverfittingAlarm(t.Alarm())
	if err == nil {
		r.Stopped = len(epochs) < c.Epochs
		if c.Keep == "best" {
			r.BestEpoch = t.Kept()
		}
		if text := r.OverfittingText(); text != "" {
			trained.Card[report.CardOverfitting] = text
		}
		trained.Card[report.CardHistory] = report.NewHistory(r.Epochs).String()
		err = a.finish(ctx, f, trained, r)
	} else if errors.Is(err, context.Canceled) {
		err = interrupted("%d of %s done; the same command with --resume goes on from %s",
			len(epochs), count(c.Epochs, "epoch"), f.checkpoint.Path)
	}
	err = errors.Join(err, log.close())
	if err != nil && exitCode(err) == exitBadInput {
		return nil, err
	}
	r.Written = f.out.Written
	return r, err
}

// result is what is known of a run before it starts.
func (f *trainFlags) result(a *app, c *train.Config, images int) *report.Train {
	r := &report.Train{
		Envelope: a.envelope("train"), Out: f.out.Path, Arch: f.arch, Method: c.Method,
		Norm: c.NormTrained().String(), Eps: f.eps.v.Float64(), EpsExact: f.eps.v.String(), N: images,
	}
	r.Seed, r.Data, r.ISA, r.Threads = &c.Seed, f.data.Spec, a.isa.Name(), a.threads
	return r
}

// loadData loads what a model is trained and tested on.
func (f *trainFlags) loadData(a *app, m *model.Model) (*dataset.Set, error) {
	if err := a.load(&f.data, m, f.arch); err != nil {
		return nil, err
	}
	set, err := f.data.Fit(m, f.arch)
	if err != nil {
		return nil, err
	}
	if err := f.data.Labelled(); err != nil {
		return nil, err
	}
	return set, f.loadTest(a, m)
}

// trainer starts or resumes; a checkpoint must be one of this command.
func (f *trainFlags) trainer(m *model.Model, set *dataset.Set, c *train.Config) (*train.Trainer, error) {
	if !f.resume {
		t, err := train.New(m, set, *c)
		return t, withFlag(err)
	}
	t, err := train.Resume(f.checkpoint.Path, set, c.Host)
	if err != nil {
		return nil, err
	}
	card := t.Model().Card
	if got := card[report.CardCommand]; !strings.HasPrefix(got, f.settings(c)+" --data ") || card[report.CardInit] != m.Card[report.CardInit] {
		return nil, fmt.Errorf("checkpoint %s: made by other settings: %s", f.checkpoint.Path, got)
	}
	return t, nil
}

// loadTest loads the test data, if any, before time is spent on training.
func (f *trainFlags) loadTest(a *app, m *model.Model) error {
	mnist := m.Arch.Input == model.Shape{C: 1, H: 28, W: 28} && m.Arch.Classes() == 10
	switch {
	case f.test.Spec == "none", f.test.Spec == "" && !mnist:
		f.test.Spec = ""
		return nil
	case f.test.Spec == "":
		f.test.Spec = input.MNISTTest
	}
	if f.test.N < 0 {
		return fmt.Errorf("--test-n: got %d, want at least 1, or 0 for all", f.test.N)
	}
	if f.given("test-data") {
		f.test.channels = f.data.channels
	}
	if err := a.load(&f.test, m, f.arch); err != nil {
		return fmt.Errorf("--test-data: %w", err)
	}
	if _, err := f.test.Fit(m, f.arch); err != nil {
		return fmt.Errorf("--test-data: %w", err)
	}
	return f.test.Labelled()
}

// finish folds the model if it is to be, writes it and evaluates what it has written. A
// file is written before, so that nothing can be lost, and again with the figures; a
// stream, once.
func (a *app) finish(ctx context.Context, f *trainFlags, m *model.Model, r *report.Train) error {
	if f.fold {
		folded, list, err := foldBatchNorms(m)
		if err != nil {
			return fmt.Errorf("--fold: %w", err)
		}
		m, r.Folded = folded, list
	}
	r.Hash = m.Hash()
	r.Epsball.Models = []report.Model{{Name: input.Name(f.out.Path), Hash: r.Hash}}
	if f.out.IsFile() {
		if err := f.save(m); err != nil {
			return err
		}
	}
	failure := a.evaluate(ctx, f, m, r)
	if !f.out.IsFile() || failure == nil && f.test.Spec != "" {
		if err := f.save(m); err != nil {
			return err
		}
	}
	return failure
}

// save writes the model, after which the checkpoint is of no use.
func (f *trainFlags) save(m *model.Model) error {
	data, err := m.Encode()
	if err != nil {
		return err
	}
	if err := f.out.WriteBytes(data); err != nil {
		return err
	}
	if f.defaultCheckpoint {
		if err := os.Remove(f.checkpoint.Path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

// evaluate evaluates the model on the test data, if any, and puts the figures into
// its card.
func (a *app) evaluate(ctx context.Context, f *trainFlags, m *model.Model, r *report.Train) error {
	if f.test.Spec == "" {
		return nil
	}
	s, err := input.NewSubject(m, f.out.Path, &f.test.Data, a.isa, a.threads)
	if err != nil {
		return err
	}
	bar := show.NewBar(a.stderr)
	e, err := audit.Evaluate(ctx, s.Net, s.Pool, s.X, s.Y, audit.Options{
		Ball: net.Ball{Norm: f.own.NormTrained(), Eps: f.eps.v}, Attacks: []attack.Method{attack.PGD{Steps: testSteps, Seed: 1}},
		Progress: func(pass string, done, total int) { bar.Show(pass, done, total) },
	})
	bar.Clear()
	if errors.Is(err, context.Canceled) {
		return interrupted("%s is written, but not evaluated", f.out.Path)
	}
	if err != nil {
		return fmt.Errorf("evaluation of %s: %w", f.out.Path, err)
	}
	r.TestData, r.TestN, r.TestSteps = f.test.Spec, e.N, testSteps
	pgd := &e.Attacks[0].Robust
	r.Clean, r.PGD, r.Certified = &e.Clean, pgd, &e.Certified
	for _, h := range report.BoundsHint("epsball certify", e.Certified, *pgd) {
		a.logf("hint: %s", h)
	}
	number := func(v float64) string { return strconv.FormatFloat(v, 'f', -1, 64) }
	m.Card[report.CardTestData], m.Card[report.CardTestN] = f.test.Spec, strconv.Itoa(e.N)
	m.Card[report.CardClean], m.Card[report.CardPGD], m.Card[report.CardCertified] = number(e.Clean), number(*pgd), number(e.Certified)
	return nil
}
