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

	"github.com/spf13/cobra"

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

type trainFlags struct {
	arch              string
	method            *value[train.Method]
	eps, trainEps     *value[net.Epsilon]
	data, test        data
	out, checkpoint   output
	resume, force     bool
	epochs, batch     int
	lr, lrFinal       float64
	own               train.Config // what the flags of some methods set
	seed              uint64
	winograd          bool
	given             func(flag string) bool
	defaultCheckpoint bool // not named by --checkpoint
}

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

func (a *app) trainCommand() *cobra.Command {
	f := &trainFlags{
		method: newValue("method", "ibp", parseMethod), eps: epsilonFlag("0.1"), trainEps: epsilonFlag(""),
		out: output{flag: "out", kind: modelFile}, checkpoint: output{flag: "checkpoint", byPath: true, resumable: true},
	}
	c := &cobra.Command{
		Use:   "train",
		Short: "Train a model",
		Long: `Trains a model with Adam by one of these methods:

` + methodList() + `
The same flags give the same weights bit for bit, whatever the threads and the
kernel set. The model's card holds the command line that reproduces it.

At the end the model is evaluated on test data at --eps: clean, PGD-40, certified.

A checkpoint is written after every epoch and on ^C; the same command with
--resume goes on from it. It is deleted once the model is written, unless
--checkpoint names it. A model or a checkpoint that is there is replaced with --force
alone.`,
		Example: `  epsball train --arch mnist-small --method ibp --eps 0.1 --data testdata/mnist#train --out m.safetensors`,
		Args:    noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			f.given = c.Flags().Changed
			return a.train(c.Context(), f)
		},
	}
	fl := c.Flags()
	fl.StringVar(&f.arch, "arch", "", "`architecture`: "+strings.Join(model.Presets(), ", ")+
		", or a .json file; a .safetensors or .onnx file also gives the first weights (required)")
	fl.Var(f.method, "method", joined(train.Methods()))
	fl.Var(f.eps, "eps", "Linf radius the model is meant for")
	fl.Var(f.trainEps, "train-eps", "radius to train at at the end (default --eps)")
	f.data.addFlags(c, "")
	c.Flags().Lookup("data").Usage = "training `data`: a folder (FOLDER#train, FOLDER#test) or a file (required)"
	fl.StringVar(&f.out.path, "out", "", "`file` for the model (.safetensors; required); -: standard output, and the report to stderr")
	fl.StringVar(&f.checkpoint.path, "checkpoint", "", "`file` for checkpoints (default the value of --out with .checkpoint)")
	fl.BoolVar(&f.resume, "resume", false, "go on from the checkpoint")
	addForce(c, &f.force)
	fl.StringVar(&f.test.spec, "test-data", "", "`data` to evaluate on at the end, or none (default builtin:mnist if it fits)")
	fl.IntVar(&f.test.n, "test-n", 0, "number of test images (default all)")
	fl.IntVar(&f.epochs, "epochs", 0, defaults("epochs", "passes over the data", func(c train.Config) any { return c.Epochs }))
	fl.IntVar(&f.batch, "batch", 0, defaults("batch", "images of a step", func(c train.Config) any { return c.BatchSize }))
	fl.Float64Var(&f.lr, "lr", 0, defaults("lr", "learning rate", func(c train.Config) any { return c.LR }))
	fl.Float64Var(&f.lrFinal, "lr-final", 0, defaults("lr-final", "learning rate at the end", func(c train.Config) any { return c.LRFinal }))
	for _, o := range settings() {
		usage := defaults(o.Flag, o.Usage, func(c train.Config) any { return o.Value(&c) })
		switch p := o.Of(&f.own).(type) {
		case *int:
			fl.IntVar(p, o.Flag, 0, usage)
		case *float64:
			fl.Float64Var(p, o.Flag, 0, usage)
		}
	}
	fl.BoolVar(&f.winograd, "winograd", false, "Winograd's algorithm for 3x3 convolutions: faster, other roundings ("+joined(users("winograd"))+")")
	fl.Uint64Var(&f.seed, "seed", 0, defaults("seed", "seed of weights, order and random starts", func(c train.Config) any { return c.Seed }))
	return c
}

func parseMethod(s string) (train.Method, error) {
	var known []string
	for _, m := range train.Methods() {
		if string(m) == s {
			return m, nil
		}
		known = append(known, string(m))
	}
	return "", fmt.Errorf("want one of %s", strings.Join(known, ", "))
}

// defaults describes a flag whose default depends on the method.
func defaults(flag, usage string, field func(train.Config) any) string {
	methods := users(flag)
	var values, texts []string
	for _, m := range methods {
		v := fmt.Sprint(field(train.DefaultConfig(m)))
		values, texts = append(values, v), append(texts, string(m)+" "+v)
	}
	if len(methods) > 1 && len(slices.Compact(values)) == 1 {
		return usage + " (default " + values[0] + ")"
	}
	return usage + " (default " + strings.Join(texts, ", ") + ")"
}

// settings lists the settings of all methods, each once.
func settings() []*train.Setting {
	var list []*train.Setting
	for _, m := range train.Methods() {
		for _, o := range m.Settings() {
			if !slices.Contains(list, o) {
				list = append(list, o)
			}
		}
	}
	return list
}

// users lists the methods that have a use for a flag.
func users(flag string) []train.Method {
	return slices.DeleteFunc(train.Methods(), func(m train.Method) bool {
		switch flag {
		case "train-eps":
			return !m.Radius()
		case "winograd":
			return m.Bounds()
		}
		own := func(o *train.Setting) bool { return o.Flag == flag }
		return slices.ContainsFunc(settings(), own) && !slices.ContainsFunc(m.Settings(), own)
	})
}

func joined(methods []train.Method) string {
	var names []string
	for _, m := range methods {
		names = append(names, string(m))
	}
	return strings.Join(names, ", ")
}

// methodList is a line of help for each method.
func methodList() string {
	var b strings.Builder
	for _, m := range train.Methods() {
		fmt.Fprintf(&b, "  %-9s %s\n", m, m.About())
	}
	return b.String()
}

// flagOf returns the flag of a setting as package train names it, or nothing.
func flagOf(field string) string {
	for _, o := range settings() {
		if o.Field == field {
			return o.Flag
		}
	}
	return map[string]string{
		"epochs": "epochs", "batchSize": "batch", "lr": "lr", "lrFinal": "lr-final", "trainEps": "train-eps",
	}[field]
}

// withFlag returns an error of a setting with the name of its flag.
func withFlag(err error) error {
	var e *train.Error
	if !errors.As(err, &e) || e.File != "" || flagOf(e.Field) == "" {
		return err
	}
	return fmt.Errorf("--%s: got %s, want %s", flagOf(e.Field), e.Got, e.Want)
}

// config turns the flags into a configuration.
func (f *trainFlags) config(a *app) (train.Config, error) {
	m := f.method.v
	c := train.DefaultConfig(m)
	flags := []string{"train-eps", "winograd"}
	for _, o := range settings() {
		flags = append(flags, o.Flag)
	}
	for _, name := range flags {
		if f.given(name) && !slices.Contains(users(name), m) {
			return c, fmt.Errorf("--%s: has no meaning with --method %s", name, m)
		}
	}
	if err := checkBall("eps", f.eps.text, net.Ball{Norm: net.Linf, Eps: f.eps.v}); err != nil {
		return c, err
	}
	if err := checkBall("train-eps", f.trainEps.text, net.Ball{Norm: net.Linf, Eps: f.trainEps.v}); err != nil {
		return c, err
	}
	switch {
	case !m.Radius():
	case f.trainEps.set:
		c.TrainEps = f.trainEps.v
	case f.eps.set:
		c.TrainEps = f.eps.v
	}
	for name, set := range map[string]func(){
		"epochs": func() { c.Epochs = f.epochs }, "batch": func() { c.BatchSize = f.batch },
		"lr": func() { c.LR = f.lr }, "lr-final": func() { c.LRFinal = f.lrFinal },
		"seed":     func() { c.Seed = f.seed },
		"winograd": func() { c.Winograd = f.winograd },
	} {
		if f.given(name) {
			set()
		}
	}
	for _, o := range settings() {
		if f.given(o.Flag) {
			o.Copy(&c, &f.own)
		}
	}
	c.Threads, c.ISA, c.Checkpoint = a.threads, a.isa.Name(), f.checkpoint.path
	return c, nil
}

// settings spells out everything that the weights depend on, but the data.
func (f *trainFlags) settings(c *train.Config) string {
	var b strings.Builder
	put := func(flag string, v any) { fmt.Fprintf(&b, " --%s %s", flag, quoteArg(fmt.Sprint(v))) }
	put("arch", f.arch)
	put("method", c.Method)
	put("eps", f.eps.text)
	if c.Method.Radius() {
		put("train-eps", c.TrainEps)
	}
	for _, o := range c.Method.Settings() {
		put(o.Flag, o.Value(c))
	}
	put("epochs", c.Epochs)
	put("batch", c.BatchSize)
	put("lr", c.LR)
	put("lr-final", c.LRFinal)
	put("seed", c.Seed)
	if c.Winograd {
		b.WriteString(" --winograd")
	}
	return "epsball train" + b.String()
}

// command is the command line that trains the same model again.
func (f *trainFlags) command(c *train.Config) string {
	s := f.settings(c) + " --data " + quoteArg(f.data.spec)
	if f.given("n") || f.given("offset") {
		s += fmt.Sprintf(" --n %d --offset %d", f.data.n, f.data.offset)
	}
	if f.given("channels") {
		s += " --channels " + f.data.channels.text
	}
	return s + " --out " + quoteArg(f.out.path)
}

// quoteArg quotes an argument for a shell, if need be.
func quoteArg(s string) string {
	safe := s != ""
	for _, r := range s {
		safe = safe && (r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("-_./:=+,@%", r))
	}
	if safe {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}

// check looks at the flags that concern files.
func (f *trainFlags) check() error {
	for _, r := range []struct{ flag, value, want string }{
		{"arch", f.arch, strings.Join(model.Presets(), ", ") + ", or a .json, .safetensors or .onnx file"},
		{"data", f.data.spec, "a folder or a file, such as testdata/mnist#train in a clone; see epsball help data"},
		{"out", f.out.path, "a .safetensors file to write"},
	} {
		if r.value == "" {
			return fmt.Errorf("--%s: required: %s", r.flag, r.want)
		}
	}
	if f.checkpoint.path == "" {
		if _, ok := descriptor(f.out.path); ok {
			return fmt.Errorf("--checkpoint: required with --out %s", f.out.path)
		}
		f.checkpoint.path, f.defaultCheckpoint = f.out.path+".checkpoint", true
	}
	f.checkpoint.resume = f.resume
	_, err := os.Stat(f.checkpoint.path)
	switch {
	case err == nil && !f.resume && !f.force && f.defaultCheckpoint:
		return fmt.Errorf("checkpoint %s: left by an earlier run; go on from it with --resume, or start anew with --force", f.checkpoint.path)
	case f.resume && errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("checkpoint %s: not found, so there is nothing to --resume", f.checkpoint.path)
	}
	return nil
}

// inputs lists what the command reads.
func (f *trainFlags) inputs() []input {
	return []input{{"arch", f.arch}, {"data", f.data.spec}, {"test-data", f.test.spec}}
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
		Ball: net.Ball{Norm: net.Linf, Eps: f.eps.v}, Steps: testSteps, Seed: 1,
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
	r.Clean, r.PGD, r.Certified = &e.Clean, &e.PGD, &e.Certified
	if weakBounds(e.Certified, e.PGD) {
		a.logf("hint: "+tryCROWN, "epsball certify ")
	}
	number := func(v float64) string { return strconv.FormatFloat(v, 'f', -1, 64) }
	m.Card[cardTestData], m.Card[cardTestN] = f.test.spec, strconv.Itoa(e.N)
	m.Card[cardClean], m.Card[cardPGD], m.Card[cardCertified] = number(e.Clean), number(e.PGD), number(e.Certified)
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
