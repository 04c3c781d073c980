package main

import (
	"context"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/epsball/epsball/kernels"
)

// bench is a run of the command.
type bench struct {
	flags    *benchFlags
	isas     []*kernels.ISA // the first is what others are compared with
	threads  []int          // ascending
	subjects *subjects
	pin      *pinner
	meters   map[meterKey]*peakMeter
}

type meterKey struct {
	isa     *kernels.ISA
	threads int
}

// samples is the number of repeats of a row unless runs are long.
const (
	samples       = 20
	fewestSamples = 3
	peakWindows   = 3
)

func (b *bench) close() {
	b.pin.restore()
	for _, m := range b.meters {
		m.pool.Close()
	}
}

// window is about the time of one window of the peak meter.
func (b *bench) window() time.Duration {
	return min(b.flags.time/(35*samples), time.Millisecond)
}

// peak measures the peak of some threads now.
func (b *bench) peak(isa *kernels.ISA, threads, windows int) float64 {
	b.pin.use(threads)
	key := meterKey{isa, threads}
	m := b.meters[key]
	if m == nil {
		m = newPeakMeter(isa, threads, b.window())
		b.meters[key] = m
	}
	return m.measure(windows)
}

// newReport returns a report with the limits still to be measured.
func (b *bench) newReport() *benchReport {
	r := &benchReport{
		Rows: []benchRow{}, Skipped: []skip{}, CPU: cpuName(), ISA: b.isas[0].Name(),
		Threads: b.threads[len(b.threads)-1], Pinned: b.pin.on(), pinning: b.pin.String(),
	}
	for _, isa := range b.isas {
		r.ISAs = append(r.ISAs, isa.Name())
		for _, t := range b.threads {
			r.Peaks = append(r.Peaks, peak{isa.Name(), t, 0})
		}
	}
	for _, t := range slices.Compact([]int{1, r.Threads}) {
		for _, l := range levels(t) {
			r.Read = append(r.Read, bandwidth{l.name, l.bytes, t, 0})
		}
	}
	return r
}

// limits measures what the machine can do, and keeps what is better than in r.
func (b *bench) limits(r *benchReport) {
	for i := range r.Peaks {
		p := &r.Peaks[i]
		p.GFLOPS = max(p.GFLOPS, b.peak(b.isas[i/len(b.threads)], p.Threads, 10*peakWindows))
	}
	r.PeakGFLOPS = r.Peaks[0].GFLOPS
	for i := range r.Read {
		l := &r.Read[i]
		b.pin.use(l.Threads)
		l.GBps = max(l.GBps, readGBps(b.isas[0], l.Bytes, l.Threads, min(b.flags.time, rowTime)/8))
	}
}

// measureAll fills r with the rows of the cases, group by group.
func (b *bench) measureAll(ctx context.Context, bar *bar, list []benchCase, r *benchReport) error {
	done := 0
	for from := 0; from < len(list); {
		to := from + 1
		for to < len(list) && list[to].group == list[from].group {
			to++
		}
		bar.show(list[from].group, from, len(list))
		rows, skipped := b.measureGroup(ctx, list[from:to])
		if ctx.Err() != nil {
			return interrupted("%d of %s done", done, count(len(list), "row"))
		}
		r.Rows, r.Skipped = append(r.Rows, rows...), append(r.Skipped, skipped...)
		done += to - from
		from = to
	}
	return nil
}

// contestant is a case of the group being measured.
type contestant struct {
	*benchCase
	task    *task
	calls   int // runs in a repeat
	want    int // repeats
	spent   time.Duration
	samples []timing
	peaks   []float64
	read    float64
}

// timing is one repeat.
type timing struct {
	seconds float64 // of one run
	calls   int
}

// measureGroup times the cases of a group in turns.
func (b *bench) measureGroup(ctx context.Context, list []benchCase) (rows []benchRow, skipped []skip) {
	var group []*contestant
	defer func() {
		for _, c := range group {
			c.task.pool.Close()
		}
		group = nil
		runtime.GC() // not in the middle of a repeat
	}()
	leave := func(c *benchCase, reason string) {
		skipped = append(skipped, skip{c.name, c.isa.Name(), reason})
	}
	limit := longestRow * b.flags.time.Seconds()
	for i := range list {
		c := &contestant{benchCase: &list[i]}
		if ctx.Err() != nil {
			return nil, nil
		}
		c.peaks = []float64{b.peak(c.isa, c.threads, peakWindows)}
		if c.flop/(c.peaks[0]*1e9) > limit {
			leave(c.benchCase, "a run takes too long for --time")
			continue
		}
		var err error
		if c.task, err = c.prepare(ctx); err != nil {
			leave(c.benchCase, err.Error())
			continue
		}
		group = append(group, c)
		if c.level.bytes > 0 {
			c.read = readGBps(c.isa, c.level.bytes, c.threads, b.flags.time/35)
		}
		c.warm(b.flags.time)
	}
	rounds := 0
	for _, c := range group {
		rounds = max(rounds, c.want)
	}
	for round := range rounds {
		for _, c := range group {
			if len(c.samples)*rounds > round*c.want || c.tired(b.flags.time) {
				continue
			}
			c.peaks = append(c.peaks, b.peak(c.isa, c.threads, peakWindows))
			c.repeat()
			if ctx.Err() != nil {
				return nil, nil
			}
		}
	}
	for _, c := range group {
		c.peaks = append(c.peaks, b.peak(c.isa, c.threads, peakWindows))
		rows = append(rows, c.row())
	}
	return rows, skipped
}

// warm runs the case until it is warm, and chooses the number of repeats and
// the runs in each. A run that takes very long is left at that one.
func (c *contestant) warm(budget time.Duration) {
	var once time.Duration
	for start := time.Now(); ; {
		t := time.Now()
		c.task.run()
		once = max(time.Since(t), 1) // the last is the warmest
		if time.Since(start)+once > budget/10 {
			break
		}
	}
	if once > 4*budget {
		c.samples = []timing{{once.Seconds(), 1}}
		return
	}
	c.calls = max(1, int(budget/samples/once))
	c.want = min(max(int(budget/(once*time.Duration(c.calls))), fewestSamples), samples)
}

// tired tells whether the case has had its time, on a machine that has become
// slower since it was planned.
func (c *contestant) tired(budget time.Duration) bool {
	return len(c.samples) >= fewestSamples && c.spent > 2*budget || len(c.samples) > 0 && c.spent > 12*budget
}

// repeat takes one sample.
func (c *contestant) repeat() {
	if c.calls > 3 {
		c.task.run() // the others have used the caches
	}
	t := time.Now()
	for range c.calls {
		c.task.run()
	}
	d := time.Since(t)
	c.spent += d
	c.samples = append(c.samples, timing{d.Seconds() / float64(c.calls), c.calls})
}

func (c *contestant) row() benchRow {
	var s []float64
	for _, t := range c.samples {
		s = append(s, t.seconds)
	}
	med := median(s)
	n := len(s)
	r := benchRow{
		Name: c.name, Kind: c.kind, Variant: c.variant, ISA: c.isa.Name(), Threads: c.threads, Batch: c.batch,
		GFLOPS: c.flop / med / 1e9, PeakGFLOPS: median(c.peaks), ImagesPerS: float64(c.batch) / med,
		Seconds: med, Fastest: s[0], Slowest: s[n-1], Spread: (s[(3*(n-1)+2)/4] - s[(n-1)/4]) / med, Repeats: n,
		Bytes: c.bytes, Intensity: c.flop / c.bytes, GBps: c.bytes / med / 1e9, ReadGBps: c.read,
		group: c.group, samples: c.samples,
	}
	r.FractionOfPeak = r.GFLOPS / r.PeakGFLOPS
	if c.read > 0 {
		r.FractionOfReads = r.GBps / c.read
	}
	return r
}

// compare fills in what rows are to one another: the speed-up over one thread,
// the speed relative to the first kernel set's direct kernels, a layer's share
// of those timed.
func compare(r *benchReport) {
	type key struct {
		group, isa, variant string
		threads             int
	}
	at, total := map[key]*benchRow{}, map[key]float64{}
	for i := range r.Rows {
		row := &r.Rows[i]
		at[key{row.group, row.ISA, row.Variant, row.Threads}] = row
		total[key{row.layersOf(), row.ISA, row.Variant, row.Threads}] += row.Seconds
	}
	for i := range r.Rows {
		row := &r.Rows[i]
		if one := at[key{row.group, row.ISA, row.Variant, 1}]; one != nil && one != row {
			row.Speedup = row.perSecond() / one.perSecond()
		}
		if base := at[key{row.group, r.ISA, direct, row.Threads}]; base != nil && base != row && row.Kind != kindEdge { // see relate
			row.Ratio = row.perSecond() / base.perSecond()
		}
		if row.Kind == kindLayer {
			row.Share = row.Seconds / total[key{row.layersOf(), row.ISA, row.Variant, row.Threads}]
		}
	}
}

// layersOf is the group of a layer without the layer.
func (r *benchRow) layersOf() string {
	parts := strings.Split(r.group, "/")
	if r.Kind == kindLayer {
		parts[3] = ""
	}
	return strings.Join(parts, "/")
}

// perSecond is the work done in a second: runs of a kernel are of any length.
func (r *benchRow) perSecond() float64 { return r.Bytes / r.Seconds }
