package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/epsball/epsball/internal/bench"
	"github.com/epsball/epsball/internal/bench/worker"
	"github.com/epsball/epsball/internal/outfile"
	"github.com/epsball/epsball/kernels"
)

// edgeWorker is the hidden command that bench --edge runs in fresh processes.
const edgeWorker = "edge-worker"

type benchFlags struct {
	bench.Options
	models    []string
	allISAs   bool
	benchstat bool
	plot      outfile.Output
	force     bool
}

func (a *app) benchCommand() *cobra.Command {
	f := &benchFlags{plot: outfile.Output{Flag: "plot", Kind: outfile.Plot}}
	c := &cobra.Command{
		Use:   "bench",
		Short: "Measure throughput against the limits of this machine",
		Long: `Measures the peak of fused multiply-adds and the read bandwidth of each level of
the memory, then passes over whole networks. A row is named
PASS/NET/bBATCH/tTHREADS, NET being a preset with random weights, or a model
file's base name.

  pass            measures                                        operations an image
  forward         pixels in, logits out                           2·MACs
  backward-input  gradient at the logits in, to the pixels out    2·MACs
  pgd-step        forward, loss gradient, backward, projection    4·MACs
                  of a batch that stays in its lanes: no starting
                  points, no bookkeeping of an attack
  ibp             pixels in, certified margins out                4·MACs
  train-step      forward, loss gradient, backward to the         6·MACs
                  weights (not to the pixels, though counted);
                  without the optimiser's update

MACs are the multiply-adds of a forward pass, those with padding left out.
images/s and operations count the images of the batch, not unused vector lanes.
--winograd adds rows with that suffix, their operations counted as if direct;
--layers adds rows layer/OPERATION/NET/LAYER/bBATCH/tTHREADS, --kernels rows
kernel/OPERATION/LEVEL/tTHREADS of element-wise kernels on data in one level of
the memory. --isa all times every kernel set this machine can run.

After a warm-up, rows that differ in threads, kernel set or variant alone take
turns, one repeat each; between repeats the peak of the row's threads and kernel
set is measured again, and the fraction of peak refers to the median of those.
Times are medians, too, and spread is the interquartile range relative to them.
The process is confined to as many CPUs as a row has threads (Linux). A row
whose single run would take more than 10 times --time at peak is skipped.
A row whose spread is above 10 % is marked as noisy: measure it again.
docs/benchmarks.md explains the output.

--edge times single images instead, each network in a fresh process: latency,
memory, start-up; rows edge/NET/b1/tTHREADS, on one thread and, if set, --threads.
--peers PYTHON lets ONNX Runtime, ncnn and LiteRT (TensorFlow Lite) take turns with
it, as far as that interpreter has them (rows with their name as suffix).

--benchstat prints Go's benchmark format, a line for each repeat; --plot draws
the roofline.`,
		Example: `  epsball bench
  epsball bench --model m.safetensors --filter '^(forward|pgd-step)/.*/b128/' --json
  epsball bench --layers --filter mnist-small --plot roofline.svg
  epsball bench --edge --peers python3
  epsball bench --isa all --benchstat >new.txt && benchstat old.txt new.txt`,
		Args: noArgs,
		PersistentPreRunE: func(*cobra.Command, []string) error {
			if f.allISAs = a.isaName == "all"; f.allISAs {
				a.isaName = ""
			}
			return a.checkShared()
		},
		RunE: func(c *cobra.Command, _ []string) error {
			if err := f.check(a, c.Flags().Changed); err != nil {
				return err
			}
			return a.bench(c.Context(), f)
		},
	}
	fl := c.Flags()
	fl.StringArrayVar(&f.models, "model", nil, "`model` to time; may be repeated (default the presets)")
	fl.StringVar(&f.Filter, "filter", "", "regular `expression`: only rows whose name it matches")
	fl.IntSliceVar(&f.Batches, "batch", []int{1, 16, 128}, "numbers of images")
	fl.DurationVar(&f.Time, "time", bench.RowTime, "time to spend on a row; unless set, less if there are many rows")
	fl.BoolVar(&f.Winograd, "winograd", false, "time networks compiled with Winograd's convolutions, too")
	fl.BoolVar(&f.Layers, "layers", false, "time each operation of each layer, too")
	fl.BoolVar(&f.Kernels, "kernels", false, "time the element-wise kernels, too")
	fl.BoolVar(&f.NoPin, "no-pin", false, "leave the choice of CPUs to the system")
	fl.BoolVar(&f.benchstat, "benchstat", false, "print Go's benchmark format instead of a table")
	fl.BoolVar(&f.Edge, "edge", false, "time single images in fresh processes instead: latency, memory, start-up")
	fl.StringVar(&f.Peers, "peers", "", "`python` interpreter with other runtimes for --edge: onnxruntime, ncnn, ai-edge-litert; numpy, onnx")
	fl.StringVar(&f.plot.Path, "plot", "", "`file` to draw the roofline to (.svg); -: standard output, and the report to stderr")
	addForce(c, &f.force)
	return c
}

// check refuses bad flags and fills in the options.
func (f *benchFlags) check(a *app, changed func(flag string) bool) error {
	if !changed("time") {
		f.Time = 0
	} else if f.Time <= 0 {
		return fmt.Errorf("--time: got %v, want more than 0", f.Time)
	}
	if f.Edge && !changed("threads") {
		a.threads = 1
	}
	self, err := os.Executable()
	if err != nil {
		self = os.Args[0]
	}
	f.Threads, f.ISAs, f.Worker = a.threads, []*kernels.ISA{a.isa}, []string{self, edgeWorker}
	if f.allISAs {
		f.ISAs = append(f.ISAs, slices.DeleteFunc(slices.Clone(kernels.Available()), func(i *kernels.ISA) bool { return i == a.isa })...)
	}
	if err := f.Validate(); err != nil {
		return benchFlag(err)
	}
	if f.benchstat && a.json {
		return errors.New("--benchstat and --json: want one of the two")
	}
	if !f.Edge && changed("peers") {
		return errors.New("--peers: only with --edge")
	}
	for _, flag := range []string{"batch", "layers", "kernels", "winograd"} {
		if f.Edge && changed(flag) {
			return fmt.Errorf("--%s: not with --edge, which times whole networks on single images", flag)
		}
	}
	if changed("peers") {
		if f.Peers, err = exec.LookPath(f.Peers); err != nil {
			return fmt.Errorf("--peers: %w", err)
		}
	}
	return nil
}

// benchFlag names the flag that an option of bench comes from.
func benchFlag(err error) error {
	var option *bench.OptionError
	if errors.As(err, &option) {
		return fmt.Errorf("--%w", err)
	}
	return err
}

func (a *app) bench(ctx context.Context, f *benchFlags) error {
	var inputs []outfile.Input
	for _, m := range f.models {
		inputs = append(inputs, outfile.Input{Flag: "model", Spec: m})
	}
	release, err := a.claim(f.force, inputs, &f.plot)
	if err != nil {
		return err
	}
	defer release()
	for _, spec := range f.models {
		m, err := a.loadModel(spec)
		if err != nil {
			return err
		}
		s := bench.Subject{Name: modelName(spec), Path: spec, Model: m}
		if strings.HasPrefix(spec, builtinPrefix) {
			s.Path = ""
		}
		f.Subjects = append(f.Subjects, s)
	}
	bar := a.newBar()
	f.Progress = bar.show
	r, err := bench.Run(ctx, f.Options)
	bar.clear()
	if r == nil {
		return benchFlag(err)
	}
	var stopped *bench.Interrupted
	var wrong *bench.WrongLogits
	if errors.As(err, &stopped) || errors.As(err, &wrong) {
		err = undecided("%w", err)
	}
	return errors.Join(a.printBench(f, r), benchFlag(err))
}

func (a *app) printBench(f *benchFlags, r *bench.Result) error {
	err := f.plot.Write(r.Roofline().WriteSVG)
	if !f.benchstat {
		return errors.Join(err, a.print(r, r.Text))
	}
	if note := r.NoiseText(); note != "" {
		a.logf("%s", note)
	}
	return errors.Join(err, r.WriteBenchstat(a.results))
}

func (a *app) edgeWorkerCommand() *cobra.Command {
	return &cobra.Command{
		Use: edgeWorker, Hidden: true, Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error { return worker.Serve(c.InOrStdin(), a.stdout, version()) },
	}
}
