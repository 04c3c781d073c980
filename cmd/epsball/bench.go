package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/epsball/epsball/internal/outfile"
	"github.com/epsball/epsball/kernels"
)

type benchFlags struct {
	models    []string
	filter    string
	batches   []int
	time      time.Duration
	timeSet   bool
	winograd  bool
	layers    bool
	kernels   bool
	allISAs   bool
	noPin     bool
	benchstat bool
	plot      outfile.Output
	force     bool
	edge      bool
	peers     string // Python interpreter; "": none
}

// benchReport is the result; docs/bench.md explains it.
type benchReport struct {
	PeakGFLOPS float64      `json:"peak_gflops"` // of one core, with the first kernel set
	Peaks      []peak       `json:"peaks"`       // the best measured before the rows and after
	Read       []bandwidth  `json:"read_gbps"`   // likewise
	Rows       []benchRow   `json:"rows"`
	Skipped    []skip       `json:"skipped"`
	Absent     []absentPeer `json:"absent,omitempty"` // other runtimes that --peers lacks
	Python     *pythonFacts `json:"python,omitempty"` // of --peers
	CPU        string       `json:"cpu"`
	ISA        string       `json:"isa"` // the first kernel set
	ISAs       []string     `json:"isas"`
	Threads    int          `json:"threads"` // the most
	Pinned     bool         `json:"pinned"`
	Seconds    float64      `json:"seconds"`
	pinning    string
}

type peak struct {
	ISA     string  `json:"isa"`
	Threads int     `json:"threads"`
	GFLOPS  float64 `json:"gflops"`
}

type bandwidth struct {
	Level   string  `json:"level"`
	Bytes   int     `json:"bytes"` // that each thread reads again and again
	Threads int     `json:"threads"`
	GBps    float64 `json:"gbps"`
}

type benchRow struct {
	Name            string  `json:"name"`
	Kind            string  `json:"kind"`
	Variant         string  `json:"variant,omitzero"` // suffix of the name
	ISA             string  `json:"isa"`
	Threads         int     `json:"threads"`
	Batch           int     `json:"batch"` // 0 for kernels
	GFLOPS          float64 `json:"gflops"`
	PeakGFLOPS      float64 `json:"peak_gflops"` // of these threads and kernels, measured between the repeats
	FractionOfPeak  float64 `json:"fraction_of_peak"`
	ImagesPerS      float64 `json:"images_per_s"`
	Seconds         float64 `json:"seconds"` // of one run, the median
	Fastest         float64 `json:"fastest"` // seconds
	Slowest         float64 `json:"slowest"` // seconds
	Spread          float64 `json:"spread"`  // interquartile range relative to the median
	Repeats         int     `json:"repeats"`
	Bytes           float64 `json:"bytes"`              // compulsory traffic of one run
	Intensity       float64 `json:"intensity"`          // operations for each of these bytes
	GBps            float64 `json:"gbps"`               // these bytes over the time
	Speedup         float64 `json:"speedup,omitzero"`   // over one thread
	Ratio           float64 `json:"ratio,omitzero"`     // of speeds: to the direct kernels of the first kernel set
	Share           float64 `json:"share,omitzero"`     // of the time of the layers timed
	ReadGBps        float64 `json:"read_gbps,omitzero"` // of the kernel's level
	FractionOfReads float64 `json:"fraction_of_read,omitzero"`

	*edgeFigures // of --edge, else nil

	group   string
	samples []timing
}

type skip struct {
	Name   string `json:"name"`
	ISA    string `json:"isa"`
	Reason string `json:"reason"`
}

const (
	// longestRow times --time is what a single run may take at the machine's peak.
	longestRow = 10
	// Without --time a row gets rowTime, or less so that all get about allTime.
	rowTime = 700 * time.Millisecond
	allTime = 75 * time.Second
)

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
docs/bench.md explains the output.

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
			f.timeSet = c.Flags().Changed("time")
			if err := f.checkEdge(c.Flags().Changed); err != nil {
				return err
			}
			if f.edge && !c.Flags().Changed("threads") {
				a.threads = 1
			}
			return a.bench(c.Context(), f)
		},
	}
	fl := c.Flags()
	fl.StringArrayVar(&f.models, "model", nil, "`model` to time; may be repeated (default the presets)")
	fl.StringVar(&f.filter, "filter", "", "regular `expression`: only rows whose name it matches")
	fl.IntSliceVar(&f.batches, "batch", []int{1, 16, 128}, "numbers of images")
	fl.DurationVar(&f.time, "time", rowTime, "time to spend on a row; unless set, less if there are many rows")
	fl.BoolVar(&f.winograd, "winograd", false, "time networks compiled with Winograd's convolutions, too")
	fl.BoolVar(&f.layers, "layers", false, "time each operation of each layer, too")
	fl.BoolVar(&f.kernels, "kernels", false, "time the element-wise kernels, too")
	fl.BoolVar(&f.noPin, "no-pin", false, "leave the choice of CPUs to the system")
	fl.BoolVar(&f.benchstat, "benchstat", false, "print Go's benchmark format instead of a table")
	fl.BoolVar(&f.edge, "edge", false, "time single images in fresh processes instead: latency, memory, start-up")
	fl.StringVar(&f.peers, "peers", "", "`python` interpreter with other runtimes for --edge: onnxruntime, ncnn, ai-edge-litert; numpy, onnx")
	fl.StringVar(&f.plot.Path, "plot", "", "`file` to draw the roofline to (.svg); -: standard output, and the report to stderr")
	addForce(c, &f.force)
	return c
}

// check refuses bad flags and fills in what was left open.
func (f *benchFlags) check(a *app) (*regexp.Regexp, error) {
	re, err := regexp.Compile(f.filter)
	if err != nil {
		return nil, fmt.Errorf("--filter: %w", err)
	}
	const most = 1 << 16
	for _, b := range f.batches {
		if b < 1 || b > most {
			return nil, fmt.Errorf("--batch: got %d, want 1 … %d", b, most)
		}
	}
	if len(f.batches) == 0 {
		return nil, errors.New("--batch: want at least one number")
	}
	slices.Sort(f.batches)
	f.batches = slices.Compact(f.batches)
	if f.time <= 0 {
		return nil, fmt.Errorf("--time: got %v, want more than 0", f.time)
	}
	if f.benchstat && a.json {
		return nil, errors.New("--benchstat and --json: want one of the two")
	}
	return re, nil
}

func (a *app) bench(ctx context.Context, f *benchFlags) error {
	start := time.Now()
	re, err := f.check(a)
	if err != nil {
		return err
	}
	var inputs []outfile.Input
	for _, m := range f.models {
		inputs = append(inputs, outfile.Input{Flag: "model", Spec: m})
	}
	release, err := a.claim(f.force, inputs, &f.plot)
	if err != nil {
		return err
	}
	defer release()
	b := &bench{
		flags: f, isas: []*kernels.ISA{a.isa}, threads: threadCounts(a.threads),
		pin: newPinner(!f.noPin), meters: map[meterKey]*peakMeter{},
	}
	defer b.close()
	if f.edge {
		b.threads = slices.Compact([]int{1, a.threads})
	}
	if f.allISAs {
		b.isas = append(b.isas, slices.DeleteFunc(slices.Clone(kernels.Available()), func(i *kernels.ISA) bool { return i == a.isa })...)
	}
	if b.subjects, err = a.loadSubjects(f.models); err != nil {
		return err
	}
	if f.peers != "" && len(f.models) == 0 {
		if err := b.subjects.addCallOverhead(); err != nil {
			return err
		}
	}
	list, err := b.cases(re)
	if err != nil {
		return err
	}
	if !f.timeSet {
		f.time = min(rowTime, allTime/time.Duration(len(list)))
	}
	bar := a.newBar()
	bar.show("limits of the machine", 0, len(list))
	r := b.newReport()
	b.limits(r)
	measure := b.measureAll
	if f.edge {
		measure = b.measureEdge
	}
	failure := measure(ctx, bar, list, r)
	if failure == nil {
		b.limits(r) // the machine may have been busy before
	}
	bar.clear()
	compare(r)
	r.Seconds = time.Since(start).Seconds()
	err = f.plot.Write(func(w io.Writer) error { return plotRoofline(w, r) })
	if f.benchstat {
		err = errors.Join(err, writeBenchstat(a.results, r))
	} else {
		err = errors.Join(err, a.print(r, func() string { return benchTable(r) }))
	}
	return errors.Join(err, failure)
}

// threadCounts lists 1, 2, 4, … and most.
func threadCounts(most int) []int {
	var list []int
	for t := 1; t < most; t *= 2 {
		list = append(list, t)
	}
	return append(list, most)
}
