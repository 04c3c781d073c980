package bench

import (
	"context"
	"runtime"
	"slices"
	"time"

	"github.com/epsball/epsball/internal/machine"
)

// samples is the number of repeats of a row unless runs are long.
const (
	samples       = 20
	fewestSamples = 3
	peakWindows   = 3

	// longestRow times Options.Time is what a single run may take at the machine's peak.
	longestRow = 10
)

// measureAll fills r with the rows of the cases, group by group.
func (b *bench) measureAll(ctx context.Context, list []benchCase, r *Result) error {
	done := 0
	for from := 0; from < len(list); {
		to := from + 1
		for to < len(list) && list[to].group == list[from].group {
			to++
		}
		b.progress(list[from].group, from, len(list))
		rows, skipped := b.measureGroup(ctx, list[from:to])
		if ctx.Err() != nil {
			return &Interrupted{done, len(list), context.Cause(ctx)}
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

// measureGroup times the cases of a group in turns.
func (b *bench) measureGroup(ctx context.Context, list []benchCase) (rows []Row, skipped []Skip) {
	var group []*contestant
	defer func() {
		for _, c := range group {
			c.task.pool.Close()
		}
		group = nil
		runtime.GC() // not in the middle of a repeat
	}()
	leave := func(c *benchCase, reason string) {
		skipped = append(skipped, Skip{c.name, c.isa.Name(), reason})
	}
	limit := longestRow * b.Time.Seconds()
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
		if c.level.Bytes > 0 {
			c.read = machine.ReadGBps(c.isa, c.level.Bytes, c.threads, b.Time/35)
		}
		c.warm(b.Time)
	}
	rounds := 0
	for _, c := range group {
		rounds = max(rounds, c.want)
	}
	for round := range rounds {
		for _, c := range group {
			if len(c.samples)*rounds > round*c.want || c.tired(b.Time) {
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

// tired reports whether the case has had its time, on a machine that has become
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

func (c *contestant) row() Row {
	var s []float64
	for _, t := range c.samples {
		s = append(s, t.seconds)
	}
	med := median(s)
	n := len(s)
	r := Row{
		Name: c.name, Kind: c.kind, Variant: c.variant, ISA: c.isa.Name(), Threads: c.threads, Batch: c.batch,
		GFLOPS: c.flop / med / 1e9, PeakGFLOPS: median(c.peaks), ImagesPerS: float64(c.batch) / med,
		Seconds: med, Fastest: s[0], Slowest: s[n-1], Spread: (s[(3*(n-1)+2)/4] - s[(n-1)/4]) / med, Repeats: n,
		Bytes: c.bytes, Intensity: c.flop / c.bytes, GBps: c.bytes / med / 1e9, ReadGBps: c.read,
		group: c.group, samples: c.samples,
	}
	if c.kind != KindLayer || c.read == 0 { // else memory is the limit
		r.FractionOfPeak = r.GFLOPS / r.PeakGFLOPS
	}
	if c.read > 0 {
		r.FractionOfReads = r.GBps / c.read
	}
	return r
}

// median sorts s and returns its median.
func median(s []float64) float64 {
	slices.Sort(s)
	n := len(s)
	return (s[(n-1)/2] + s[n/2]) / 2
}
