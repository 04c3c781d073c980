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
	_ "embed"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/epsball/epsball"
)

// embedded is mnist-small-ibp-0.1 with weights of 16 bits, in the order in which they
// are used where they lie.
//
//go:generate go run ../../cmd/epsball convert builtin:mnist-small-ibp-0.1 --weights bf16 --layers all --layout tiles --out mnist-small.safetensors --force
//go:embed mnist-small.safetensors
var embedded []byte

func main() {
	if err := run(os.Args[1:], os.Stdin, os.Stdout, os.Stderr); err != nil {
		fmt.Fprintln(os.Stderr, "edge:", err)
		os.Exit(2) // all that can go wrong is the input
	}
}

type options struct {
	picture, model, method, step string
	threads                      int
	invert, certify, all, time   bool
}

const maxThreads = 1024

var bounds = []struct {
	name string
	how  epsball.Bound
}{{"ibp", epsball.IBP}, {"crown-ibp", epsball.CROWNIBP}, {"crown", epsball.CROWN}, {"alpha-crown", epsball.AlphaCROWN}}

const usage = `edge [flags] [picture]: classify a PNG, PGM or PPM file, or standard input
  --certify       say up to which ε (linf, pixels in [0, 1]) the prediction is proved
  --method NAME   what to prove with, cheapest first: ibp (default), crown-ibp, crown, alpha-crown
  --step ε        ε is proved in multiples of this decimal or fraction (default 0.001)
  --invert        the digit is black on white
  --model FILE    instead of the built-in model
  --threads N     number of workers (default 1)
  --all-batches   pack weights for large batches too
  --time          print what each step takes, and memory
`

var errHelp = errors.New("help")

// parse reads the arguments. Package flag would add 50 KB to the program.
func parse(args []string) (*options, error) {
	o := &options{method: "ibp", step: "0.001", threads: 1}
	switches := map[string]*bool{
		"--certify": &o.certify, "--invert": &o.invert, "--all-batches": &o.all, "--time": &o.time,
	}
	values := map[string]*string{"--method": &o.method, "--step": &o.step, "--model": &o.model, "--threads": new(string)}
	for ; len(args) > 0; args = args[1:] {
		arg := args[0]
		name, value, given := strings.Cut(arg, "=")
		switch {
		case arg == "-h" || arg == "--help":
			return nil, errHelp
		case switches[arg] != nil:
			*switches[arg] = true
		case values[name] != nil:
			if !given {
				if len(args) == 1 {
					return nil, fmt.Errorf("%s: got no value, expected one", name)
				}
				args = args[1:]
				value = args[0]
			}
			*values[name] = value
		case strings.HasPrefix(arg, "-") && arg != "-":
			return nil, fmt.Errorf("argument %q: got an unknown flag, expected one of --help's", arg)
		case o.picture != "":
			return nil, fmt.Errorf("argument %q: got a second picture, expected one", arg)
		default:
			o.picture = arg
		}
	}
	if s := *values["--threads"]; s != "" {
		n, err := strconv.Atoi(s)
		if err != nil || n < 1 || n > maxThreads {
			return nil, fmt.Errorf("--threads: got %q, expected 1 to %d", s, maxThreads)
		}
		o.threads = n
	}
	return o, nil
}

func run(args []string, stdin io.Reader, stdout, stderr io.Writer) error {
	start := time.Now()
	began := start
	o, err := parse(args)
	if errors.Is(err, errHelp) {
		_, err = io.WriteString(stdout, usage)
		return err
	}
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
	text := fmt.Sprintf("class %d, margin %.3g\n", class, margin(pred.Logits, class))
	if o.certify {
		r, err := m.Radius(ctx, x.With(pred.Label), step, 0, how)
		if err != nil {
			return err
		}
		lap("certify")
		if r.Steps[0] < 0 {
			text += fmt.Sprintf("not proved, not even for the picture alone (%s)\n", o.method)
		} else {
			text += fmt.Sprintf("proved for every picture within ε = %s (linf, %s)\n", r.Eps[0], o.method)
		}
	}
	if o.time {
		fmt.Fprintf(stderr, "%-9s %7.3f ms\n%-9s %7.2f MB\n", "all", float64(time.Since(began))/1e6, "memory", peakMemory())
	}
	_, err = io.WriteString(stdout, text)
	return err
}

// peakMemory returns the most megabytes that were resident so far; 0 where the system
// does not say it as Linux does.
func peakMemory() float64 {
	status, _ := os.ReadFile("/proc/self/status")
	_, line, _ := strings.Cut(string(status), "VmHWM:")
	line, _, _ = strings.Cut(line, " kB")
	kB, _ := strconv.Atoi(strings.TrimSpace(line))
	return float64(kB) * 1024 / 1e6
}

// check reads what the proof is to be before anything is loaded.
func (o *options) check() (epsball.Bound, epsball.Ball, error) {
	step, err := epsball.ParseLinf(o.step)
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
	if !o.all {
		opts = append(opts, epsball.FewImages())
	}
	if o.model == "" {
		return epsball.LoadBytes(embedded, "mnist-small.safetensors", opts...)
	}
	m, err := epsball.Map(o.model, opts...)
	if err != nil {
		return nil, fmt.Errorf("--model: %w", err)
	}
	return m, nil
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
	return epsball.Batch{X: x}, nil
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
