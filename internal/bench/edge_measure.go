package bench

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/epsball/epsball/internal/bench/worker"
	"github.com/epsball/epsball/internal/machine"
	"github.com/epsball/epsball/kernels"
	"github.com/epsball/epsball/report"
)

// edgeContestant is a row being measured.
type edgeContestant struct {
	*benchCase
	at      int // in the list
	proc    *worker.Process
	starts  []report.BenchEdge // of each fresh process
	calls   int                // in a repeat
	turns   [][]int64          // the calls of each repeat, ascending nanoseconds
	mallocs int64              // in all of them
	left    int                // goroutines left running
}

// measureGroup appends the rows of cases that take turns.
func (e *edgeBench) measureGroup(ctx context.Context, list []benchCase, r *report.Bench) error {
	f, err := e.input(ctx, list[0].subject)
	if err != nil {
		return err
	}
	var group []*edgeContestant
	defer func() {
		for _, c := range group {
			c.stop()
		}
	}()
	peaks := map[*kernels.ISA][]float64{}
	measurePeaks := func() {
		for _, isa := range e.ISAs {
			peaks[isa] = append(peaks[isa], e.peak(isa, list[0].threads, peakWindows))
		}
	}
	measurePeaks()
	for i := range list {
		if list[i].flop/(peaks[list[i].isa][0]*1e9) > longestRow*e.Time.Seconds() {
			r.Skipped = append(r.Skipped, report.BenchSkip{Name: list[i].name, ISA: list[i].isaName(), Reason: "a run takes too long for --time"})
			continue
		}
		group = append(group, &edgeContestant{benchCase: &list[i], at: i})
	}
	// drop takes those that fail out of the group.
	drop := func(do func(*edgeContestant) error) {
		group = slices.DeleteFunc(group, func(c *edgeContestant) bool {
			if ctx.Err() != nil {
				return false
			}
			time.Sleep(edgePause)
			err := do(c)
			if err != nil && !errors.Is(err, errAbsent) && ctx.Err() == nil {
				r.Skipped = append(r.Skipped, report.BenchSkip{Name: c.name, ISA: c.isaName(), Reason: err.Error()})
			}
			if err != nil {
				c.stop()
			}
			return err != nil
		})
	}
	starts := min(max(int(e.Time/startTime), 1), edgeStarts)
	for range starts {
		drop(func(c *edgeContestant) error { return e.start(ctx, c, f) })
	}
	drop(func(c *edgeContestant) error { return c.calibrate(e.Time / samples) })
	begin, quiet := time.Now(), 0
	var others []float64 // of each round
	for round := 0; round < mostRounds && quiet < samples && len(group) > 0 && ctx.Err() == nil; round++ {
		if round >= fewestSamples && time.Since(begin) > 2*e.Time*time.Duration(len(group)) {
			break // the machine is slow or busy
		}
		measurePeaks()
		group = append(group[1:], group[0])
		use := usage(group)
		drop((*edgeContestant).repeat)
		others = append(others, use.Others(usage(group)))
		if others[round] <= report.QuietShare {
			quiet++
		}
	}
	if ctx.Err() != nil {
		return nil
	}
	slices.SortFunc(group, func(a, b *edgeContestant) int { return a.at - b.at })
	from := len(r.Rows)
	chosen := quietest(others, samples)
	for _, c := range group {
		row := c.row(median(peaks[c.isa]), chosen)
		for _, i := range chosen {
			row.Others = max(row.Others, others[i])
		}
		r.Rows = append(r.Rows, row)
	}
	relate(r.Rows[from:], r.ISA)
	return nil
}

// usage is that of the CPUs, the contestants' with ours.
func usage(group []*edgeContestant) machine.Usage {
	var pids []int
	for _, c := range group {
		if c.proc != nil {
			pids = append(pids, c.proc.PID())
		}
	}
	return machine.UsageNow(pids...)
}

// isaName is empty for other runtimes, which choose for themselves.
func (c *benchCase) isaName() string {
	if c.kind == report.RowEdge && isPeer(c.variant) {
		return ""
	}
	return c.isa.Name()
}

var errAbsent = errors.New("absent")

// start runs the contestant in a fresh process until its first answer, which is
// checked, and leaves the process running.
func (e *edgeBench) start(ctx context.Context, c *edgeContestant, f *edgeFile) error {
	if e.absent[c.variant] != "" {
		return errAbsent
	}
	c.stop()
	n, err := e.subjects.net(c.subject, e.ISAs[0], singles)
	if err != nil {
		return err
	}
	q := &worker.Request{Op: "open", Model: f.model, Images: f.images, Shape: edgeShape(n), Threads: c.threads, ISA: c.isa.Name()}
	logits := f.logits
	if s, err := e.stored(ctx, c.subject, c.variant, f); err != nil {
		return err
	} else if s.path != "" {
		q.Model, q.Map, logits = s.path, true, s.logits
	}
	if isPeer(c.variant) {
		if q.Model, err = e.peerModel(ctx, c, f); err != nil {
			return err
		}
	}
	e.pin.Use(c.threads) // which the process inherits
	if c.proc, err = worker.Start(ctx, e.command(c.variant)); err != nil {
		return err
	}
	a, err := c.proc.Ask(q)
	if err != nil {
		return err
	}
	if a.Absent != "" {
		e.absent[c.variant] = a.Absent
		return errAbsent
	}
	s := report.BenchEdge{
		Runtime: "epsball", Version: a.Version, Startup: time.Since(c.proc.Started).Seconds(),
		Import: a.Import, Load: a.Load, First: a.First, RSS: a.RSS, MaxRSS: a.MaxRSS, BaseRSS: c.proc.Hello.RSS,
		LibraryBytes: a.LibraryBytes, WeightBytes: a.WeightBytes,
	}
	if isPeer(c.variant) {
		s.Runtime = c.variant
		s.Interpreter = c.proc.Ready.Sub(c.proc.Started).Seconds()
		s.Startup -= s.Interpreter
	}
	if off, ok := agree(logits, worker.Floats(a.Values), !isPeer(c.variant)); !ok {
		e.wrong = append(e.wrong, c.name)
		return fmt.Errorf("logits differ by %.2g of the largest", off)
	}
	c.starts = append(c.starts, s)
	return nil
}

func (c *edgeContestant) stop() {
	if c.proc != nil {
		c.proc.Close()
		c.proc = nil
	}
}

// calibrate chooses the calls of a repeat, which are about to take so long; they
// warm the process up, too.
func (c *edgeContestant) calibrate(turn time.Duration) error {
	const most = 1 << 16
	for calls := 1; ; calls *= 2 {
		a, err := c.proc.Ask(&worker.Request{Op: "run", Calls: calls})
		if err != nil {
			return err
		}
		total := time.Duration(0)
		for _, ns := range a.NS {
			total += time.Duration(ns)
		}
		if total >= turn/4 || calls >= most {
			slices.Sort(a.NS)
			once := max(a.NS[len(a.NS)/2], 1)
			c.calls = int(min(max(turn.Nanoseconds()/once, 1), most))
			return nil
		}
	}
}

// repeat takes one turn.
func (c *edgeContestant) repeat() error {
	a, err := c.proc.Ask(&worker.Request{Op: "run", Warm: 1 + c.calls/10, Calls: c.calls})
	if err != nil {
		return err
	}
	if len(a.NS) != c.calls {
		return fmt.Errorf("%d times of %d calls", len(a.NS), c.calls)
	}
	slices.Sort(a.NS)
	c.turns = append(c.turns, a.NS)
	c.mallocs += a.Mallocs
	c.left = a.Goroutines
	return nil
}
