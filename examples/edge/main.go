// Edge classifies a picture with a network that is part of the program, and with
// --certify says up to which ε this very prediction is proved:
//
//	edge [flags] [picture]
//
// The picture is a PNG or a binary PGM or PPM file of the network's size, or comes
// from standard input. See docs/edge.md.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/epsball/epsball"
	"github.com/epsball/epsball/zoo"
)

// embedded is the network in the program; //go:embed on a []byte serves as well.
const embeddedName = "mnist-small-ibp-0.1"

var embedded = zoo.MNISTSmallIBP

func main() {
	if err := run(os.Args[1:], os.Stdin, os.Stdout, os.Stderr); err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "edge:", err)
		os.Exit(2) // all that can go wrong is the input
	}
}

type options struct {
	picture, model, method, step string
	threads                      int
	invert, certify, few, time   bool
}

var bounds = []struct {
	name string
	how  epsball.Bound
}{{"ibp", epsball.IBP}, {"crown-ibp", epsball.CROWNIBP}, {"crown", epsball.CROWN}, {"alpha-crown", epsball.AlphaCROWN}}

func parse(args []string, stderr io.Writer) (*options, error) {
	o := &options{}
	f := flag.NewFlagSet("edge", flag.ContinueOnError)
	f.SetOutput(stderr)
	f.Usage = func() {
		fmt.Fprintln(stderr, "edge [flags] [picture]: classify a PNG, PGM or PPM file, or standard input")
		f.PrintDefaults()
	}
	f.BoolVar(&o.certify, "certify", false, "say up to which ε (linf, pixels in [0, 1]) the prediction is proved")
	f.StringVar(&o.method, "method", "ibp", "`bound` to prove with: ibp, crown-ibp, crown or alpha-crown, the cheap ones first")
	f.StringVar(&o.step, "step", "0.001", "`ε` is proved in multiples of this decimal or fraction")
	f.BoolVar(&o.invert, "invert", false, "the digit is black on white")
	f.StringVar(&o.model, "model", "", "model `file` to use in place of the built-in "+embeddedName)
	f.IntVar(&o.threads, "threads", 1, "number of workers")
	f.BoolVar(&o.few, "few", true, "pack the weights for a few images at a time only")
	f.BoolVar(&o.time, "time", false, "print what each step takes")
	for rest := args; ; rest = f.Args()[1:] {
		if err := f.Parse(rest); err != nil {
			return nil, err
		}
		if f.NArg() == 0 {
			return o, nil
		}
		if o.picture != "" {
			return nil, fmt.Errorf("argument %q: got a second picture, expected one", f.Arg(0))
		}
		o.picture = f.Arg(0)
	}
}

func run(args []string, stdin io.Reader, stdout, stderr io.Writer) error {
	start := time.Now()
	o, err := parse(args, stderr)
	if err != nil {
		return err
	}
	lap := func(what string) {
		if now := time.Now(); o.time {
			fmt.Fprintf(stderr, "%-9s %7.3f ms\n", what, float64(now.Sub(start))/1e6)
			start = time.Now()
		}
	}
	how, step, err := o.check()
	if err != nil {
		return err
	}
	m, err := o.load()
	if err != nil {
		return err
	}
	defer m.Close()
	lap("load")

	x, err := o.read(stdin, m)
	if err != nil {
		return err
	}
	lap("read")

	ctx := context.Background()
	pred, err := m.Classify(ctx, x)
	if err != nil {
		return err
	}
	lap("classify")
	class := pred.Label[0]
	if class < 0 {
		return fmt.Errorf("%s: the network's outputs overflow: no class", o.source())
	}
	fmt.Fprintf(stdout, "class %d, margin %.3g\n", class, margin(pred.Logits, class))
	if !o.certify {
		return nil
	}

	r, err := epsball.Radius(ctx, m, x, pred.Label, step, 0, how)
	if err != nil {
		return err
	}
	lap("certify")
	if k := r.Steps[0]; k < 0 {
		fmt.Fprintf(stdout, "not proved, not even for the picture alone (%s)\n", o.method)
	} else {
		fmt.Fprintf(stdout, "proved for every picture within ε = %s (linf, %s)\n", step.Times(k).Eps(), o.method)
	}
	return nil
}

// check reads what the proof is to be before anything is loaded.
func (o *options) check() (epsball.Bound, epsball.Ball, error) {
	if o.threads < 1 {
		return 0, epsball.Ball{}, fmt.Errorf("--threads: got %d, expected at least 1", o.threads)
	}
	step, err := epsball.ParseBall("linf", o.step)
	if err == nil && step.Eps() == "0" {
		err = errors.New("got 0, expected more")
	}
	if err != nil {
		return 0, step, fmt.Errorf("--step: %w", err)
	}
	for _, b := range bounds {
		if b.name == o.method {
			return b.how, step, nil
		}
	}
	return 0, step, fmt.Errorf("--method: got %q, expected ibp, crown-ibp, crown or alpha-crown", o.method)
}

func (o *options) load() (*epsball.Model, error) {
	opts := []epsball.Option{epsball.Threads(o.threads)}
	if o.few {
		opts = append(opts, epsball.FewImages())
	}
	if o.model == "" {
		return epsball.LoadBytes(embedded(), embeddedName, opts...)
	}
	data, err := os.ReadFile(o.model)
	if err != nil {
		return nil, fmt.Errorf("--model: %w", err)
	}
	return epsball.LoadBytes(data, o.model, opts...)
}

// source is what errors call the picture.
func (o *options) source() string {
	if o.picture == "" || o.picture == "-" {
		return "standard input"
	}
	return o.picture
}

// read returns the picture's pixels as the network takes them.
func (o *options) read(stdin io.Reader, m *epsball.Model) (epsball.Batch, error) {
	in := stdin
	if o.picture != "" && o.picture != "-" {
		f, err := os.Open(o.picture)
		if err != nil {
			return epsball.Batch{}, err
		}
		defer f.Close()
		in = f
	}
	c, h, w := m.Input()
	x, err := readPicture(in, c, h, w)
	if err != nil {
		return epsball.Batch{}, fmt.Errorf("%s: %w", o.source(), err)
	}
	if o.invert {
		for i := range x {
			x[i] = 1 - x[i]
		}
	}
	return epsball.Batch{Data: x, N: 1}, nil
}

// margin is the lead of a class over the next in logits.
func margin(logits []float32, class int) float32 {
	next := logits[(class+1)%len(logits)]
	for i, v := range logits {
		if i != class {
			next = max(next, v)
		}
	}
	return logits[class] - next
}
