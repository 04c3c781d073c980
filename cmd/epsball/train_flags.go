package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/epsball/epsball/internal/outfile"
	"github.com/epsball/epsball/model"
	"github.com/epsball/epsball/net"
	"github.com/epsball/epsball/report"
	"github.com/epsball/epsball/train"
)

type trainFlags struct {
	arch              string
	method            *value[train.Method]
	eps, trainEps     *value[net.Epsilon]
	data, test        data
	out               outfile.Output
	checkpoint, log   outfile.Output
	resume, force     bool
	fold              bool
	epochs, batch     int
	lr, lrFinal       float64
	own               train.Config // what the flags of settings set
	seed              uint64
	seeds             int
	winograd          bool
	given             func(flag string) bool
	defaultCheckpoint bool // not named by --checkpoint
}

func (a *app) trainCommand() *cobra.Command {
	f := &trainFlags{
		method: namedFlag("method", "ibp", methodNames(train.Methods()), train.ParseMethod), eps: epsilonFlag("0.1"), trainEps: epsilonFlag(""),
		out: outfile.Output{Flag: "out", Kind: outfile.Model}, checkpoint: outfile.Output{Flag: "checkpoint", ByPath: true, Resumable: true},
		log: outfile.Output{Flag: "log", ByPath: true, Resumable: true},
	}
	c := &cobra.Command{
		Use:   "train",
		Short: "Train a model",
		Long: `Trains a model by one of these methods:

` + methodList() + `
The same flags give the same weights bit for bit, whatever the threads and the
kernel set. The model's card holds the command line that reproduces it.

Batch norms are trained by the statistics of each batch and stay in the model; --fold
makes them part of the layers before them (docs/training.md).

At the end the model is evaluated on test data at --eps: clean, PGD-40, certified.
--validation looks at images held back from training after each epoch, at --eps too.

A checkpoint is written after every epoch and on ^C; the same command with
--resume continues from it. It is deleted once the model is written, unless
--checkpoint names it. An existing model or checkpoint is replaced only with
--force.

--seeds trains several models, from --seed up, to OUT-seedK.safetensors, and prints the
means of their test accuracies with confidence intervals.`,
		Example: `  epsball train --arch mnist-small --method ibp --eps 0.1 --data testdata/mnist#train --out m.safetensors
  epsball train --arch mnist-small --method pgd --optimizer sgd --momentum 0.9 --lr 0.1 --schedule one-cycle \
      --validation 0.1 --keep best --log m.jsonl --data testdata/mnist#train --out m.safetensors`,
		Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			f.given = c.Flags().Changed
			return a.train(c.Context(), f)
		},
	}
	fl := c.Flags()
	fl.StringVar(&f.arch, "arch", "", "`architecture`: "+strings.Join(model.Presets(), ", ")+
		", or a .json file; a .safetensors or .onnx file also gives the first weights (required)")
	fl.Var(f.method, "method", joined(train.Methods()))
	fl.Var(f.eps, "eps", "radius the model is meant for")
	fl.Var(f.trainEps, "train-eps", defaults("train-eps", "radius to train at at the end; --eps if only that is given", func(c train.Config) any { return c.TrainEps }))
	f.data.addFlags(c, "")
	c.Flags().Lookup("data").Usage = "training `data`: a folder (FOLDER#train, FOLDER#test) or a file (required)"
	fl.StringVar(&f.out.Path, "out", "", "`file` for the model (.safetensors; required); -: standard output, and the report to stderr")
	fl.StringVar(&f.checkpoint.Path, "checkpoint", "", "`file` for checkpoints (default the value of --out with .checkpoint)")
	fl.BoolVar(&f.resume, "resume", false, "go on from the checkpoint")
	fl.StringVar(&f.log.Path, "log", "", "`file` for a line of JSON an epoch")
	addForce(c, &f.force)
	fl.StringVar(&f.test.Spec, "test-data", "", "`data` to evaluate on at the end, or none (default builtin:mnist if it fits)")
	fl.IntVar(&f.test.N, "test-n", 0, "number of test images (default all)")
	fl.IntVar(&f.epochs, "epochs", 0, defaults("epochs", "passes over the data", func(c train.Config) any { return c.Epochs }))
	fl.IntVar(&f.batch, "batch", 0, defaults("batch", "images of a step", func(c train.Config) any { return c.BatchSize }))
	fl.Float64Var(&f.lr, "lr", 0, defaults("lr", "learning rate", func(c train.Config) any { return c.LR }))
	fl.Float64Var(&f.lrFinal, "lr-final", 0, defaults("lr-final", "learning rate at the end", func(c train.Config) any { return c.LRFinal }))
	for _, o := range allSettings() {
		addSetting(fl, o, &f.own)
	}
	fl.BoolVar(&f.winograd, "winograd", false, "Winograd's algorithm for 3x3 convolutions: faster, other roundings (not for methods with bounds)")
	fl.BoolVar(&f.fold, "fold", false, "fold batch norms into the layers before them at the end; that is the model which is evaluated")
	fl.Uint64Var(&f.seed, "seed", 0, defaults("seed", "seed of weights, order and all that is random", func(c train.Config) any { return c.Seed }))
	fl.IntVar(&f.seeds, "seeds", 0, fmt.Sprintf("train that many models, with seeds from --seed up; at most %d", report.MaxSeeds))
	groupFlags(c, trainGroups())
	return c
}

// allSettings lists those of methods, then those that all methods have.
func allSettings() []*train.Setting { return append(train.Settings(), train.CommonSettings()...) }

// addSetting adds a flag that sets a setting in own.
func addSetting(fl *pflag.FlagSet, o *train.Setting, own *train.Config) {
	usage := o.Usage
	if len(o.Choices) > 0 {
		usage += ": " + strings.Join(o.Choices, ", ")
	}
	usage = defaults(o.Flag, usage, func(c train.Config) any { return o.Text(&c) })
	switch p := o.Of(own).(type) {
	case *int:
		fl.IntVar(p, o.Flag, 0, usage)
	case *float64:
		fl.Float64Var(p, o.Flag, 0, usage)
	case *[]float64:
		fl.Float64SliceVar(p, o.Flag, nil, usage)
		fl.Lookup(o.Flag).DefValue = "" // the usage has it
	case *string:
		fl.StringVar(p, o.Flag, "", usage)
	case *bool:
		fl.BoolVar(p, o.Flag, false, usage)
	}
}

// defaults describes a flag whose default depends on the method: the one that most have,
// then those of others.
func defaults(flag, usage string, field func(train.Config) any) string {
	var values []string // in the order of the methods
	having := map[string][]train.Method{}
	methods := users(flag)
	for _, m := range methods {
		v := fmt.Sprint(field(train.DefaultConfig(m)))
		if having[v] == nil {
			values = append(values, v)
		}
		having[v] = append(having[v], m)
	}
	var texts []string
	for _, v := range values {
		switch most := 2*len(having[v]) > len(methods) && len(methods) > 1; {
		case most && len(values) == 1 && (v == "" || v == "0" || v == "false"): // as cobra does
			return usage
		case most:
			texts = slices.Insert(texts, 0, v)
		default:
			texts = append(texts, joined(having[v])+" "+v)
		}
	}
	return usage + " (default " + strings.Join(texts, "; ") + ")"
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
		return slices.ContainsFunc(train.Settings(), own) && !slices.ContainsFunc(m.Settings(), own)
	})
}

func methodNames(methods []train.Method) []string {
	var names []string
	for _, m := range methods {
		names = append(names, string(m))
	}
	return names
}

func joined(methods []train.Method) string { return strings.Join(methodNames(methods), ", ") }

// methodList is a line of help for each method.
func methodList() string {
	var b strings.Builder
	for _, m := range train.Methods() {
		fmt.Fprintf(&b, "  %-14s %s\n", m, m.About())
	}
	return b.String()
}

// flagOf returns the flag of a setting as package train names it, or nothing.
func flagOf(field string) string {
	for _, o := range allSettings() {
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
	for _, o := range train.Settings() {
		flags = append(flags, o.Flag)
	}
	for _, name := range flags {
		if f.given(name) && !slices.Contains(users(name), m) {
			return c, fmt.Errorf("--%s: has no meaning with --method %s", name, m)
		}
	}
	if !f.given("norm") {
		f.own.Norm = c.Norm
	}
	norm := f.own.NormTrained()
	if err := checkBall("eps", f.eps.text, net.Ball{Norm: norm, Eps: f.eps.v}); err != nil {
		return c, err
	}
	if err := checkBall("train-eps", f.trainEps.text, net.Ball{Norm: norm, Eps: f.trainEps.v}); err != nil {
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
	for _, o := range allSettings() {
		if f.given(o.Flag) {
			o.Copy(&c, &f.own)
		}
	}
	if f.given("lr-final") && !c.EndsLow() {
		return c, fmt.Errorf("--lr-final: has no meaning with --schedule %s", c.Schedule)
	}
	if c.Validation > 0 {
		c.ValidationEps = f.eps.v
	}
	c.Threads, c.ISA, c.Checkpoint = a.threads, a.isa.Name(), f.checkpoint.Path
	return c, nil
}

// check looks at the flags that the command cannot do without.
func (f *trainFlags) check() error {
	for _, r := range []struct{ flag, value, want string }{
		{"arch", f.arch, strings.Join(model.Presets(), ", ") + ", or a .json, .safetensors or .onnx file"},
		{"data", f.data.Spec, "a folder or a file, such as testdata/mnist#train in a clone; see epsball help data"},
		{"out", f.out.Path, "a .safetensors file to write"},
	} {
		if r.value == "" {
			return fmt.Errorf("--%s: required: %s", r.flag, r.want)
		}
	}
	if f.given("seeds") && (f.seeds < 1 || f.seeds > report.MaxSeeds) {
		return fmt.Errorf("--seeds: got %d, want 1 … %d", f.seeds, report.MaxSeeds)
	}
	return nil
}

// checkFiles looks at the files of a run that is to be started, or gone on with.
func (f *trainFlags) checkFiles() error {
	if f.checkpoint.Path == "" {
		if _, ok := outfile.Descriptor(f.out.Path); ok {
			return fmt.Errorf("--checkpoint: required with --out %s", f.out.Path)
		}
		f.checkpoint.Path, f.defaultCheckpoint = f.out.Path+".checkpoint", true
	}
	f.checkpoint.Resume, f.log.Resume = f.resume, f.log.Resume || f.resume
	_, err := os.Stat(f.checkpoint.Path)
	switch {
	case err == nil && !f.resume && !f.force && f.defaultCheckpoint:
		return fmt.Errorf("checkpoint %s: left by an earlier run; go on from it with --resume, or start anew with --force", f.checkpoint.Path)
	case f.resume && errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("checkpoint %s: not found, so there is nothing to --resume", f.checkpoint.Path)
	}
	return nil
}

// inputs lists what the command reads.
func (f *trainFlags) inputs() []outfile.Input {
	return []outfile.Input{{Flag: "arch", Spec: f.arch}, {Flag: "data", Spec: f.data.Spec}, {Flag: "test-data", Spec: f.test.Spec}}
}
