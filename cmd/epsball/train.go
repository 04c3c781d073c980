package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/epsball/epsball/attack"
	"github.com/epsball/epsball/audit"
	"github.com/epsball/epsball/dataset"
	"github.com/epsball/epsball/internal/foreign"
	"github.com/epsball/epsball/internal/formats"
	"github.com/epsball/epsball/model"
	"github.com/epsball/epsball/net"
	"github.com/epsball/epsball/train"
)

// Keys of a trained model's card.
const (
	cardCommand   = "command"
	cardMethod    = "method"
	cardEps       = "eps"
	cardSeed      = "seed"
	cardEpochs    = "epochs"
	cardInit      = "init" // hash of the model that training started from, if not random
	cardTestData  = "test_data"
	cardTestN     = "test_n"
	cardClean     = "clean"
	cardPGD       = "pgd"
	cardCertified = "certified"
)

// testSteps is the number of PGD steps of the evaluation at the end.
const testSteps = 40

type trainReport struct {
	Out       string       `json:"out"`
	Hash      string       `json:"hash,omitempty"`
	Command   string       `json:"command"`
	Arch      string       `json:"arch"`
	Method    train.Method `json:"method"`
	Eps       float64      `json:"eps"`
	Seed      uint64       `json:"seed"`
	Data      string       `json:"data"`
	N         int          `json:"n"`
	Epochs    []epochInfo  `json:"epochs"`
	TestData  string       `json:"test_data,omitempty"`
	TestN     int          `json:"test_n"`
	Clean     *float64     `json:"clean"` // on the test data; null if not evaluated
	PGD       *float64     `json:"pgd"`
	Certified *float64     `json:"certified"`
	Seconds   float64      `json:"seconds"`
	ISA       string       `json:"isa"`
	Threads   int          `json:"threads"`
}

// epochInfo is a train.Epoch in the spelling of this command's JSON.
type epochInfo struct {
	Epoch   int     `json:"epoch"`
	Loss    float64 `json:"loss"`
	Clean   float64 `json:"clean"`
	Robust  float64 `json:"robust"`
	Eps     float64 `json:"eps"`
	Kappa   float64 `json:"kappa"`
	LR      float64 `json:"lr"`
	Seconds float64 `json:"seconds"`
}

// loadArch returns the model that training starts from, without a card.
func (a *app) loadArch(spec string, seed uint64) (*model.Model, string, error) {
	var arch *model.Architecture
	switch {
	case strings.HasSuffix(spec, modelFile), formats.IsONNX(spec), strings.HasPrefix(spec, builtinPrefix):
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
	m, err := model.Random(arch, seed)
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
	release, err := a.claim(f.force, f.inputs(), &f.out, &f.checkpoint)
	if err != nil {
		return err
	}
	defer release()
	m, start, err := a.loadArch(f.arch, c.Seed)
	if err != nil {
		return err
	}
	if err := a.load(&f.data, m, f.arch); err != nil {
		return err
	}
	set, err := f.data.fit(m, f.arch)
	if err != nil {
		return err
	}
	if err := f.data.known(); err != nil {
		return err
	}
	if err := f.loadTest(a, m); err != nil {
		return err
	}
	m.Card = map[string]string{
		cardCommand: f.command(&c), cardMethod: string(c.Method), cardEps: f.eps.text,
		cardSeed: strconv.FormatUint(c.Seed, 10), cardEpochs: strconv.Itoa(c.Epochs),
	}
	if start != "" {
		m.Card[cardInit] = start
	}

	bar := a.newBar()
	c.Progress = a.trainProgress(bar, &c, set.Len()/max(1, c.BatchSize))
	t, err := f.trainer(m, set, &c)
	if err != nil {
		return err
	}
	a.warnTested(f)
	r := &trainReport{
		Out: f.out.path, Command: m.Card[cardCommand], Arch: f.arch, Method: c.Method, Eps: f.eps.v.Float64(), Seed: c.Seed,
		Data: f.data.spec, N: set.Len(), ISA: a.isa.Name(), Threads: a.threads,
	}
	began := time.Now()
	trained, epochs, err := t.Run(ctx)
	bar.clear()
	r.Epochs = epochInfos(epochs)
	r.Seconds = time.Since(began).Seconds()
	if err == nil {
		err = a.finish(ctx, f, trained, r)
	} else if errors.Is(err, context.Canceled) {
		err = interrupted("%d of %s done; the same command with --resume goes on from %s",
			len(epochs), count(c.Epochs, "epoch"), f.checkpoint.path)
	}
	if err != nil && exitCode(err) == exitBadInput {
		return err
	}
	return errors.Join(a.print(r, func() string { return trainTable(r, f) }), err)
}

// trainer starts or resumes; a checkpoint must be one of this command.
func (f *trainFlags) trainer(m *model.Model, set *dataset.Set, c *train.Config) (*train.Trainer, error) {
	if !f.resume {
		t, err := train.New(m, set, *c)
		return t, withFlag(err)
	}
	t, err := train.Resume(f.checkpoint.path, set, c.Host)
	if err != nil {
		return nil, err
	}
	card := t.Model().Card
	if got := card[cardCommand]; !strings.HasPrefix(got, f.settings(c)+" --data ") || card[cardInit] != m.Card[cardInit] {
		return nil, fmt.Errorf("checkpoint %s: made by other settings: %s", f.checkpoint.path, got)
	}
	return t, nil
}

// loadTest loads the test data, if any, before time is spent on training.
func (f *trainFlags) loadTest(a *app, m *model.Model) error {
	mnist := m.Arch.Input == model.Shape{C: 1, H: 28, W: 28} && m.Arch.Classes() == 10
	switch {
	case f.test.spec == "none", f.test.spec == "" && !mnist:
		f.test.spec = ""
		return nil
	case f.test.spec == "":
		f.test.spec = mnistTest
	}
	if f.test.n < 0 {
		return fmt.Errorf("--test-n: got %d, want at least 1, or 0 for all", f.test.n)
	}
	if f.given("test-data") {
		f.test.channels = f.data.channels
	}
	if err := a.load(&f.test, m, f.arch); err != nil {
		return fmt.Errorf("--test-data: %w", err)
	}
	if _, err := f.test.fit(m, f.arch); err != nil {
		return fmt.Errorf("--test-data: %w", err)
	}
	return f.test.known()
}

// trainProgress returns a callback that shows a bar and a line an epoch.
func (a *app) trainProgress(b *bar, c *train.Config, perEpoch int) func(train.Progress) {
	return func(p train.Progress) {
		e := p.Now
		b.show(fmt.Sprintf("epoch %d/%d", e.Epoch, c.Epochs), p.Step, p.Steps)
		if perEpoch == 0 || p.Step%perEpoch != 0 {
			return
		}
		b.clear()
		line := fmt.Sprintf("epoch %d/%d  loss %.4f  clean %s", e.Epoch, c.Epochs, e.Loss, percent(e.CleanAccuracy))
		if c.Method.Radius() {
			line += fmt.Sprintf("  robust %s  ε %.4g", percent(e.RobustAccuracy), e.Eps)
		}
		a.logf("%s  lr %.3g  %s", line, e.LR, seconds(e.Seconds))
	}
}

// finish writes the model and evaluates it. A file is written before, so that
// nothing can be lost, and again with the figures; a stream, once.
func (a *app) finish(ctx context.Context, f *trainFlags, m *model.Model, r *trainReport) error {
	r.Hash = m.Hash()
	if f.out.isFile() {
		if err := f.save(m); err != nil {
			return err
		}
	}
	failure := a.evaluate(ctx, f, m, r)
	if !f.out.isFile() || failure == nil && f.test.spec != "" {
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
	if err := f.out.writeBytes(data); err != nil {
		return err
	}
	if f.defaultCheckpoint {
		if err := os.Remove(f.checkpoint.path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

// evaluate evaluates the model on the test data, if any, and puts the figures into
// its card.
func (a *app) evaluate(ctx context.Context, f *trainFlags, m *model.Model, r *trainReport) error {
	if f.test.spec == "" {
		return nil
	}
	s, err := a.prepare(m, f.out.path, &f.test)
	if err != nil {
		return err
	}
	bar := a.newBar()
	e, err := audit.Evaluate(ctx, s.net, s.pool, s.x, s.y, audit.Options{
		Ball: net.Ball{Norm: net.Linf, Eps: f.eps.v}, Attacks: []attack.Method{attack.PGD{Steps: testSteps, Seed: 1}},
		Progress: func(pass string, done, total int) { bar.show(pass, done, total) },
	})
	bar.clear()
	if errors.Is(err, context.Canceled) {
		return interrupted("%s is written, but not evaluated", f.out.path)
	}
	if err != nil {
		return fmt.Errorf("evaluation of %s: %w", f.out.path, err)
	}
	r.TestData, r.TestN = f.test.spec, e.N
	pgd := &e.Attacks[0].Robust
	r.Clean, r.PGD, r.Certified = &e.Clean, pgd, &e.Certified
	if weakBounds(e.Certified, *pgd) {
		a.logf("hint: "+tryCROWN, "epsball certify ")
	}
	number := func(v float64) string { return strconv.FormatFloat(v, 'f', -1, 64) }
	m.Card[cardTestData], m.Card[cardTestN] = f.test.spec, strconv.Itoa(e.N)
	m.Card[cardClean], m.Card[cardPGD], m.Card[cardCertified] = number(e.Clean), number(*pgd), number(e.Certified)
	return nil
}

func epochInfos(epochs []train.Epoch) []epochInfo {
	infos := make([]epochInfo, len(epochs))
	for i, e := range epochs {
		infos[i] = epochInfo{e.Epoch, e.Loss, e.CleanAccuracy, e.RobustAccuracy, e.Eps, e.Kappa, e.LR, e.Seconds}
	}
	return infos
}

func trainTable(r *trainReport, f *trainFlags) string {
	if len(r.Epochs) == 0 {
		return ""
	}
	pairs := []string{
		"trained", fmt.Sprintf("%s, %s, on %s of %s", r.Arch, r.Method, count(r.N, "image"), r.Data),
		"epochs", fmt.Sprintf("%d in %s", len(r.Epochs), seconds(r.Seconds)),
	}
	if r.Clean != nil {
		pairs = append(pairs,
			"test", fmt.Sprintf("%s of %s, linf ε = %s", count(r.TestN, "image"), r.TestData, f.eps.text),
			"clean", percent(*r.Clean),
			fmt.Sprintf("PGD-%d", testSteps), percent(*r.PGD),
			"certified", percent(*r.Certified))
	}
	if f.out.written {
		pairs = append(pairs, "written", f.out.shown(), "hash", r.Hash)
	}
	return facts(pairs...)
}
