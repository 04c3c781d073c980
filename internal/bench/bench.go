// Package bench measures how much of a machine the library uses. Run times passes
// over whole networks, single layers and element-wise kernels against the limits
// of the machine, which it measures, too; with Options.Edge it times single images
// in fresh processes, beside other runtimes. docs/benchmarks.md has the method.
//
// The result is a report.Bench; WriteBenchstat and Roofline write one in Go's benchmark
// format and as a chart.
package bench

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"time"

	"github.com/epsball/epsball/internal/machine"
	"github.com/epsball/epsball/kernels"
	"github.com/epsball/epsball/report"
)

// Options say what to measure.
type Options struct {
	Subjects []Subject      // networks to time; none: the presets with random weights
	ISAs     []*kernels.ISA // kernel sets, at least one; others are compared with the first
	Threads  int            // rows are on 1, 2, 4, … and this many; with Edge on 1 and this many
	Batches  []int          // numbers of images, each 1 … MaxBatch, at least one; not used with Edge
	Filter   string         // regular expression: only rows whose name it matches
	Time     time.Duration  // for each row; 0: RowTime, less if there are many rows, with Edge EdgeTime
	NoPin    bool           // leave the choice of CPUs to the system

	Winograd bool // networks compiled with Winograd's convolutions, too
	Layers   bool // each operation of each layer, too
	Kernels  bool // element-wise kernels, too

	Edge   bool     // single images in fresh processes instead of all the above
	Worker []string // with Edge: command line of a process that calls worker.Serve
	Peers  string   // with Edge: path of a Python interpreter with other runtimes; "": none

	// Progress, if not nil, is told what is measured next: a row's name, how many
	// rows are done and how many there are. It is called between measurements.
	Progress func(label string, done, total int)
}

// Defaults and limits of options.
const (
	RowTime  = 700 * time.Millisecond
	EdgeTime = 2 * time.Second
	MaxBatch = 1 << 16

	allTime = 75 * time.Second // about what all rows get unless Options.Time is set
)

// OptionError is an option that cannot be.
type OptionError struct {
	Option string // as the command line calls it
	Err    error
}

func (e *OptionError) Error() string { return e.Option + ": " + e.Err.Error() }

func (e *OptionError) Unwrap() error { return e.Err }

func optionError(option, format string, args ...any) error {
	return &OptionError{option, fmt.Errorf(format, args...)}
}

// Interrupted is the error of a run whose context ended.
type Interrupted struct {
	Done, Total int // rows
	Cause       error
}

func (e *Interrupted) Error() string {
	return fmt.Sprintf("interrupted: %d of %d rows done", e.Done, e.Total)
}

func (e *Interrupted) Unwrap() error { return e.Cause }

// Validate refuses what Run would refuse, as far as it can be told without the
// models. Errors are *OptionError.
func (o *Options) Validate() error {
	if _, err := regexp.Compile(o.Filter); err != nil {
		return &OptionError{"filter", err}
	}
	if !o.Edge {
		for _, b := range o.Batches {
			if b < 1 || b > MaxBatch {
				return optionError("batch", "got %d, want 1 … %d", b, MaxBatch)
			}
		}
		if len(o.Batches) == 0 {
			return optionError("batch", "want at least one number")
		}
	}
	switch {
	case o.Time < 0:
		return optionError("time", "got %v, want more than 0", o.Time)
	case o.Threads < 1:
		return optionError("threads", "got %d, want at least 1", o.Threads)
	case len(o.ISAs) == 0:
		return optionError("isa", "want at least one kernel set")
	case o.Edge && len(o.Worker) == 0:
		return optionError("edge", "want the command line of a worker")
	}
	return nil
}

// bench is a run.
type bench struct {
	Options
	threads  []int // ascending
	subjects *subjects
	pin      *machine.Pinner
	meters   map[meterKey]*machine.PeakMeter
}

type meterKey struct {
	isa     *kernels.ISA
	threads int
}

// Run measures, and returns what it has measured also with an error: Interrupted
// where ctx ended, WrongLogits. It returns no result if an option cannot be, or
// nothing could be measured. The caller says in the envelope which command ran. Run
// confines the process to some CPUs unless NoPin is
// set, until it returns: call it from one goroutine, with nothing else running.
func Run(ctx context.Context, o Options) (*report.Bench, error) {
	start := time.Now()
	b, err := newBench(o)
	if err != nil {
		return nil, err
	}
	defer b.close()
	list, err := b.cases()
	if err != nil {
		return nil, err
	}
	if b.Time == 0 && b.Edge {
		b.Time = EdgeTime
	} else if b.Time == 0 {
		b.Time = min(RowTime, allTime/time.Duration(len(list)))
	}
	b.progress("limits of the machine", 0, len(list))
	r := b.newResult()
	b.limits(r)
	measure := b.measureAll
	if b.Edge {
		measure = b.measureEdge
	}
	if err = measure(ctx, list, r); err == nil {
		b.limits(r) // the machine may have been busy before
	}
	compare(r)
	markNoisy(r)
	r.Seconds = time.Since(start).Seconds()
	return r, err
}

func newBench(o Options) (*bench, error) {
	if err := o.Validate(); err != nil {
		return nil, err
	}
	o.Batches = slices.Compact(slices.Sorted(slices.Values(o.Batches)))
	b := &bench{Options: o, threads: threadCounts(o.Threads), meters: map[meterKey]*machine.PeakMeter{}}
	if o.Edge {
		b.threads = slices.Compact([]int{1, o.Threads})
	}
	var err error
	if b.subjects, err = newSubjects(o.Subjects, o.Peers != ""); err != nil {
		return nil, err
	}
	b.pin = machine.NewPinner(!o.NoPin)
	return b, nil
}

func (b *bench) close() {
	b.pin.Restore()
	for _, m := range b.meters {
		m.Close()
	}
}

func (b *bench) progress(label string, done, total int) {
	if b.Progress != nil {
		b.Progress(label, done, total)
	}
}

// threadCounts lists 1, 2, 4, … and most.
func threadCounts(most int) []int {
	var list []int
	for t := 1; t < most; t *= 2 {
		list = append(list, t)
	}
	return append(list, most)
}

// newResult returns a result with the limits still to be measured.
func (b *bench) newResult() *report.Bench {
	r := &report.Bench{
		Envelope: report.Envelope{ISA: b.ISAs[0].Name(), Threads: b.threads[len(b.threads)-1]},
		Rows:     []report.BenchRow{}, Skipped: []report.BenchSkip{}, CPU: machine.CPUName(),
		Pinned: b.pin.On(), Pinning: b.pin.String(),
	}
	for _, s := range b.subjects.list {
		r.Epsball.Models = append(r.Epsball.Models, report.Model{Name: s.Name, Hash: s.Model.Hash()})
	}
	for _, isa := range b.ISAs {
		r.ISAs = append(r.ISAs, isa.Name())
		for _, t := range b.threads {
			r.Peaks = append(r.Peaks, report.BenchPeak{ISA: isa.Name(), Threads: t})
		}
	}
	for _, t := range slices.Compact([]int{1, r.Threads}) {
		for _, l := range machine.Levels(t) {
			r.Read = append(r.Read, report.BenchRead{Level: l.Name, Bytes: l.Bytes, Threads: t})
		}
	}
	return r
}

// limits measures what the machine can do, and keeps what is better than in r.
func (b *bench) limits(r *report.Bench) {
	for i := range r.Peaks {
		p := &r.Peaks[i]
		p.GFLOPS = max(p.GFLOPS, b.peak(b.ISAs[i/len(b.threads)], p.Threads, 10*peakWindows))
	}
	r.PeakGFLOPS = r.Peaks[0].GFLOPS
	for i := range r.Read {
		l := &r.Read[i]
		b.pin.Use(l.Threads)
		l.GBps = max(l.GBps, machine.ReadGBps(b.ISAs[0], l.Bytes, l.Threads, min(b.Time, RowTime)/8))
	}
}

// peak measures the peak of some threads now.
func (b *bench) peak(isa *kernels.ISA, threads, windows int) float64 {
	b.pin.Use(threads)
	key := meterKey{isa, threads}
	m := b.meters[key]
	if m == nil {
		m = machine.NewPeakMeter(isa, threads, min(b.Time/(35*samples), time.Millisecond))
		b.meters[key] = m
	}
	return m.Measure(windows)
}
