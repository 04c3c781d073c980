package main

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/epsball/epsball/kernels"
	"github.com/epsball/epsball/model"
	"github.com/epsball/epsball/net"
)

type benchFlags struct {
	models  []string
	filter  string
	batches []int
	time    time.Duration
}

type benchReport struct {
	PeakGFLOPS float64     `json:"peak_gflops"` // of one core
	Read       []bandwidth `json:"read_gbps"`   // by one core
	Rows       []benchRow  `json:"rows"`
	Skipped    []string    `json:"skipped"` // would have taken too long
	CPU        string      `json:"cpu"`
	ISA        string      `json:"isa"`
	Threads    int         `json:"threads"`
	Seconds    float64     `json:"seconds"`
}

type bandwidth struct {
	Level string  `json:"level"`
	Bytes int     `json:"bytes"` // read again and again
	GBps  float64 `json:"gbps"`
}

type benchRow struct {
	Name           string  `json:"name"`
	Batch          int     `json:"batch"`
	Threads        int     `json:"threads"`
	GFLOPS         float64 `json:"gflops"`
	FractionOfPeak float64 `json:"fraction_of_peak"`
	ImagesPerS     float64 `json:"images_per_s"`
	Seconds        float64 `json:"seconds"` // of one run on the batch, the median
	Spread         float64 `json:"spread"`  // interquartile range of the runs, relative to the median
	Repeats        int     `json:"repeats"`
}

// longestRow times --time is what a single run may take at the machine's peak.
const longestRow = 10

func (a *app) benchCommand() *cobra.Command {
	f := &benchFlags{}
	c := &cobra.Command{
		Use:   "bench",
		Short: "Measure throughput against the limits of this machine",
		Long: `Measures the peak of fused multiply-adds and the read bandwidth of one core, then
passes over whole networks. A row is named PASS/NET/bBATCH/tTHREADS, NET being a
preset with random weights, or a model file's base name. Times are medians;
spread is the interquartile range relative to the median. images_per_s and
operations count the images of the batch, not unused vector lanes (a batch of 1
fills one lane of 8). fraction_of_peak is relative to THREADS cores at peak.

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

MACs are the multiply-adds of a forward pass, those with padding left out. A row
whose single run would take more than 10 times --time at the machine's peak is
skipped.`,
		Example: `  epsball bench
  epsball bench --model m.safetensors --filter '^(forward|pgd-step)/.*/b128/' --json`,
		Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error { return a.bench(c.Context(), f) },
	}
	fl := c.Flags()
	fl.StringArrayVar(&f.models, "model", nil, "`model` to time; may be repeated (default the presets)")
	fl.StringVar(&f.filter, "filter", "", "regular `expression`: only rows whose name it matches")
	fl.IntSliceVar(&f.batches, "batch", []int{1, 16, 128}, "numbers of images")
	fl.DurationVar(&f.time, "time", 700*time.Millisecond, "time to spend on a row")
	return c
}

// benchCase is a row before it is measured.
type benchCase struct {
	name           string
	pass           *pass
	model          *model.Model
	batch, threads int
}

// cases lists the rows that the flags ask for.
func (a *app) cases(f *benchFlags) ([]benchCase, error) {
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
	if f.time <= 0 {
		return nil, fmt.Errorf("--time: got %v, want more than 0", f.time)
	}
	names, models, err := a.benchModels(f.models)
	if err != nil {
		return nil, err
	}
	var list []benchCase
	for i, m := range models {
		for p := range passes {
			for _, b := range f.batches {
				for _, t := range slices.Compact([]int{1, a.threads}) {
					name := fmt.Sprintf("%s/%s/b%d/t%d", passes[p].name, names[i], b, t)
					if re.MatchString(name) {
						list = append(list, benchCase{name, &passes[p], m, b, t})
					}
				}
			}
		}
	}
	if len(list) == 0 {
		return nil, fmt.Errorf("--filter: %q matches no row; one is called forward/%s/b%d/t1", f.filter, names[0], f.batches[0])
	}
	return list, nil
}

// benchModels returns the models to time, by default the presets with random
// weights.
func (a *app) benchModels(specs []string) (names []string, models []*model.Model, err error) {
	for _, spec := range specs {
		m, err := a.loadModel(spec)
		if err != nil {
			return nil, nil, err
		}
		names, models = append(names, modelName(spec)), append(models, m)
	}
	if len(specs) > 0 {
		return names, models, nil
	}
	for _, name := range model.Presets() {
		arch, err := model.Preset(name)
		if err != nil {
			return nil, nil, err
		}
		m, err := model.Random(arch, 1)
		if err != nil {
			return nil, nil, err
		}
		names, models = append(names, name), append(models, m)
	}
	return names, models, nil
}

func (a *app) bench(ctx context.Context, f *benchFlags) error {
	start := time.Now()
	list, err := a.cases(f)
	if err != nil {
		return err
	}
	bar := a.newBar()
	bar.show("limits of the machine", 0, len(list))
	r := &benchReport{
		PeakGFLOPS: a.isa.PeakGFLOPS(f.time), Read: readBandwidths(a.isa, f.time/8),
		Rows: []benchRow{}, Skipped: []string{}, CPU: cpuName(), ISA: a.isa.Name(), Threads: a.threads,
	}
	limit := longestRow * f.time.Seconds()
	var failure error
	for i, c := range list {
		bar.show(c.name, i, len(list))
		n, err := a.compile(c.model)
		if err != nil {
			return err
		}
		flops := c.pass.flops * float64(n.MACs()) * float64(c.batch)
		if flops/(r.PeakGFLOPS*1e9*float64(c.threads)) > limit {
			r.Skipped = append(r.Skipped, c.name)
			continue
		}
		samples, err := c.measure(ctx, n, f.time)
		if errors.Is(err, context.Canceled) {
			failure = interrupted("%d of %s done", len(r.Rows), count(len(list), "row"))
			break
		}
		if err != nil {
			bar.clear()
			return fmt.Errorf("%s: %w", c.name, err)
		}
		r.Rows = append(r.Rows, c.row(samples, flops, r.PeakGFLOPS))
	}
	bar.clear()
	r.Seconds = time.Since(start).Seconds()
	return errors.Join(a.print(r, func() string { return benchTable(r) }), failure)
}

// readBandwidths reads, for the given time each, buffers that lie in the levels
// of the memory.
func readBandwidths(isa *kernels.ISA, d time.Duration) []bandwidth {
	const dram = 256 << 20
	list := []bandwidth{}
	largest := 0
	measure := func(level string, bytes int) {
		list = append(list, bandwidth{level, bytes, isa.ReadGBps(bytes, d)})
	}
	for _, c := range caches() {
		if c.Bytes/2 <= largest { // a level no larger than the one before is a report to distrust
			continue
		}
		largest = c.Bytes
		measure(c.Level, c.Bytes/2)
	}
	measure("memory", min(max(4*largest, 64<<20), dram))
	return list
}

// measure times a case.
func (c *benchCase) measure(ctx context.Context, n *net.Network, budget time.Duration) ([]float64, error) {
	w, err := newWorkload(ctx, n, c.batch, c.threads)
	if err != nil {
		return nil, err
	}
	defer w.pool.Close()
	run, err := c.pass.prepare(w)
	if err != nil {
		return nil, err
	}
	return sample(ctx, budget, run)
}

// sample returns the seconds a run takes, several times over. One that takes
// longer than the budget is run once, cold.
func sample(ctx context.Context, budget time.Duration, run func()) ([]float64, error) {
	const samples, fewest = 40, 3
	start := time.Now()
	run() // warms caches and gives the scale
	once := time.Since(start)
	if once > budget {
		return []float64{once.Seconds()}, ctx.Err()
	}
	calls := max(1, int(budget/samples/max(once, 1)))
	var s []float64
	for len(s) < fewest || time.Since(start) < budget {
		t := time.Now()
		for range calls {
			run()
		}
		s = append(s, time.Since(t).Seconds()/float64(calls))
		if err := ctx.Err(); err != nil {
			return nil, err
		}
	}
	return s, ctx.Err()
}

func (c *benchCase) row(samples []float64, flops, peak float64) benchRow {
	slices.Sort(samples)
	n := len(samples)
	median := (samples[(n-1)/2] + samples[n/2]) / 2
	gflops := flops / median / 1e9
	return benchRow{
		Name: c.name, Batch: c.batch, Threads: c.threads, GFLOPS: gflops, FractionOfPeak: gflops / (peak * float64(c.threads)),
		ImagesPerS: float64(c.batch) / median, Seconds: median, Repeats: n,
		Spread: (samples[(3*(n-1)+2)/4] - samples[(n-1)/4]) / median,
	}
}

func benchTable(r *benchReport) string {
	t := newTable("row", "GFLOP/s", "of peak", "images/s", "spread", "repeats")
	for _, b := range r.Rows {
		spread := "–"
		if b.Repeats > 1 {
			spread = fmt.Sprintf("%.1f%%", 100*b.Spread)
		}
		t.AppendRow([]any{
			b.Name, fmt.Sprintf("%.1f", b.GFLOPS), fmt.Sprintf("%.1f%%", 100*b.FractionOfPeak), rate(b.ImagesPerS), spread, b.Repeats,
		})
	}
	limits := []string{"cpu", r.CPU, "peak", fmt.Sprintf("%.1f GFLOP/s a core (%s)", r.PeakGFLOPS, r.ISA)}
	for _, b := range r.Read {
		limits = append(limits, "read "+b.Level, fmt.Sprintf("%.1f GB/s a core (%s)", b.GBps, bytesText(b.Bytes)))
	}
	out := facts(limits...) + "\n"
	if len(r.Rows) > 0 {
		out += render(t)
	}
	for _, s := range r.Skipped {
		out += "skipped " + s + ": a run takes too long for --time\n"
	}
	return out + seconds(r.Seconds) + "\n"
}
