package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"slices"
	"time"

	"github.com/epsball/epsball/kernels"
)

// edgeFigures are what the rows of --edge have beside the others.
type edgeFigures struct {
	Runtime      string  `json:"runtime"`
	Version      string  `json:"version"`
	Calls        int     `json:"calls"` // timed, in all repeats
	P95          float64 `json:"p95"`   // seconds, of all calls
	P99          float64 `json:"p99"`
	Startup      float64 `json:"startup"`     // seconds from the start of the process to its first answer, less interpreter
	Interpreter  float64 `json:"interpreter"` // seconds until Python with NumPy was ready
	Import       float64 `json:"import"`      // of startup: to load the runtime
	Load         float64 `json:"load"`        // of startup: to load the model
	First        float64 `json:"first"`       // of startup: the first answer
	RSS          int64   `json:"rss"`         // resident bytes after the first answer; 0: not known
	MaxRSS       int64   `json:"max_rss"`     // the most until then
	BaseRSS      int64   `json:"base_rss"`    // before runtime and model were loaded
	LibraryBytes int64   `json:"library_bytes"`
	WeightBytes  int64   `json:"weight_bytes,omitzero"` // ours alone, as these three
	Allocs       int64   `json:"allocs"`                // allocations a call
	Goroutines   int     `json:"goroutines"`            // more than before the model was loaded
	Others       float64 `json:"others"`                // share of the CPUs that other programs took in the busiest repeat
}

type absentPeer struct {
	Runtime string `json:"runtime"`
	Reason  string `json:"reason"`
}

// pythonFacts are of the interpreter with NumPy alone.
type pythonFacts struct {
	Version string  `json:"version"`
	RSS     int64   `json:"rss"`
	Seconds float64 `json:"seconds"` // until it was ready
}

// edgeContestant is a row being measured.
type edgeContestant struct {
	*benchCase
	at      int // in the list
	proc    *edgeProcess
	starts  []edgeFigures // of each fresh process
	calls   int           // in a repeat
	turns   [][]int64     // the calls of each repeat, ascending nanoseconds
	mallocs int64         // in all of them
	left    int           // goroutines left running
}

// measureGroup appends the rows of cases that take turns.
func (e *edgeBench) measureGroup(ctx context.Context, list []benchCase, r *benchReport) error {
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
		for _, isa := range e.isas {
			peaks[isa] = append(peaks[isa], e.peak(isa, list[0].threads, peakWindows))
		}
	}
	measurePeaks()
	for i := range list {
		if list[i].flop/(peaks[list[i].isa][0]*1e9) > longestRow*e.flags.time.Seconds() {
			r.Skipped = append(r.Skipped, skip{list[i].name, list[i].isaName(), "a run takes too long for --time"})
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
				r.Skipped = append(r.Skipped, skip{c.name, c.isaName(), err.Error()})
			}
			if err != nil {
				c.stop()
			}
			return err != nil
		})
	}
	starts := min(max(int(e.flags.time/startTime), 1), edgeStarts)
	for range starts {
		drop(func(c *edgeContestant) error { return e.start(ctx, c, f) })
	}
	drop(func(c *edgeContestant) error { return c.calibrate(e.flags.time / samples) })
	begin, quiet := time.Now(), 0
	var others []float64 // of each round
	for round := 0; round < mostRounds && quiet < samples && len(group) > 0 && ctx.Err() == nil; round++ {
		if round >= fewestSamples && time.Since(begin) > 2*e.flags.time*time.Duration(len(group)) {
			break // the machine is slow or busy
		}
		measurePeaks()
		group = append(group[1:], group[0])
		use := usageOf(group)
		drop((*edgeContestant).repeat)
		others = append(others, use.others(usageOf(group)))
		if others[round] <= quietShare {
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

// isaName is empty for other runtimes, which choose for themselves.
func (c *benchCase) isaName() string {
	if c.kind == kindEdge && isPeer(c.variant) {
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
	n, err := e.subjects.net(c.subject, e.isas[0], singles)
	if err != nil {
		return err
	}
	q := &edgeRequest{Op: "open", Model: f.model, Images: f.images, Shape: edgeShape(n), Threads: c.threads, ISA: c.isa.Name()}
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
	e.pin.use(c.threads) // which the process inherits
	if c.proc, err = startEdge(ctx, e.command(c.variant)); err != nil {
		return err
	}
	a, err := c.proc.ask(q)
	if err != nil {
		return err
	}
	if a.Absent != "" {
		e.absent[c.variant] = a.Absent
		return errAbsent
	}
	s := edgeFigures{
		Runtime: "epsball", Version: a.Version, Startup: time.Since(c.proc.started).Seconds(),
		Import: a.Import, Load: a.Load, First: a.First, RSS: a.RSS, MaxRSS: a.MaxRSS, BaseRSS: c.proc.hello.RSS,
		LibraryBytes: a.LibraryBytes, WeightBytes: a.WeightBytes,
	}
	if isPeer(c.variant) {
		s.Runtime = c.variant
		s.Interpreter = c.proc.ready.Sub(c.proc.started).Seconds()
		s.Startup -= s.Interpreter
	}
	if off, ok := agree(logits, floatsOf(a.Values), !isPeer(c.variant)); !ok {
		e.wrong = append(e.wrong, c.name)
		return fmt.Errorf("logits differ by %.2g of the largest", off)
	}
	c.starts = append(c.starts, s)
	return nil
}

// peerModel returns the file of the network for another runtime.
func (e *edgeBench) peerModel(ctx context.Context, c *edgeContestant, f *edgeFile) (string, error) {
	if err := e.convert(ctx, c.subject, f); err != nil {
		return "", err
	}
	p := edgePeers[slices.IndexFunc(edgePeers, func(p edgePeer) bool { return p.name == c.variant })]
	if why := f.failed[p.format]; p.format != "" && why != "" {
		return "", fmt.Errorf("the model could not be converted: %s", why)
	}
	return filepath.Join(f.formats, p.file), nil
}

// convertONNX runs convert.py and returns what it says: format → why not.
func convertONNX(ctx context.Context, python, script, path, folder string) (map[string]string, error) {
	ctx, cancel := context.WithTimeout(ctx, edgePatience)
	defer cancel()
	cmd := exec.CommandContext(ctx, python, script, path, folder)
	var errs tail
	cmd.Stderr = &errs
	out, err := cmd.Output()
	failed := map[string]string{}
	if err == nil {
		err = json.Unmarshal(out, &failed)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w: %s", script, err, errs.lastLine())
	}
	return failed, nil
}

func (c *edgeContestant) stop() {
	if c.proc != nil {
		c.proc.close()
		c.proc = nil
	}
}

// calibrate chooses the calls of a repeat, which are about to take so long; they
// warm the process up, too.
func (c *edgeContestant) calibrate(turn time.Duration) error {
	const most = 1 << 16
	for calls := 1; ; calls *= 2 {
		a, err := c.proc.ask(&edgeRequest{Op: "run", Calls: calls})
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
	a, err := c.proc.ask(&edgeRequest{Op: "run", Warm: 1 + c.calls/10, Calls: c.calls})
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

// percentile returns the p-th percentile of ascending nanoseconds, by nearest
// rank, in seconds.
func percentile(ns []int64, p int) float64 {
	return float64(ns[max(0, (p*len(ns)+99)/100-1)]) / 1e9
}

// row sums up the repeats chosen.
func (c *edgeContestant) row(peak float64, chosen []int) benchRow {
	var ns []int64
	var rounds []float64
	var medians []timing
	for _, i := range chosen {
		m := percentile(c.turns[i], 50)
		ns, rounds, medians = append(ns, c.turns[i]...), append(rounds, m), append(medians, timing{m, c.calls})
	}
	slices.Sort(ns)
	slices.Sort(rounds)
	n, med := len(rounds), percentile(ns, 50)
	r := benchRow{
		Name: c.name, Kind: c.kind, Variant: c.variant, ISA: c.isaName(), Threads: c.threads, Batch: c.batch,
		GFLOPS: c.flop / med / 1e9, PeakGFLOPS: peak, ImagesPerS: 1 / med,
		Seconds: med, Fastest: percentile(ns, 0), Slowest: percentile(ns, 100),
		Spread: (rounds[(3*(n-1)+2)/4] - rounds[(n-1)/4]) / med, Repeats: n,
		Bytes: c.bytes, Intensity: c.flop / c.bytes, GBps: c.bytes / med / 1e9,
		group: c.group, samples: medians,
	}
	r.FractionOfPeak = r.GFLOPS / r.PeakGFLOPS
	e := middle(c.starts)
	e.P95, e.P99, e.Calls = percentile(ns, 95), percentile(ns, 99), len(ns)
	e.Allocs, e.Goroutines = c.mallocs/int64(c.calls*len(c.turns)), c.left // as testing.AllocsPerRun: those of the run time do not count
	r.edgeFigures = &e
	return r
}

// middle takes the median of each figure of some starts.
func middle(list []edgeFigures) edgeFigures {
	m := list[0]
	var v []float64
	of := func(get func(*edgeFigures) float64) float64 {
		v = v[:0]
		for i := range list {
			v = append(v, get(&list[i]))
		}
		return median(v)
	}
	m.Startup = of(func(f *edgeFigures) float64 { return f.Startup })
	m.Interpreter = of(func(f *edgeFigures) float64 { return f.Interpreter })
	m.Import = of(func(f *edgeFigures) float64 { return f.Import })
	m.Load = of(func(f *edgeFigures) float64 { return f.Load })
	m.First = of(func(f *edgeFigures) float64 { return f.First })
	m.RSS = int64(of(func(f *edgeFigures) float64 { return float64(f.RSS) }))
	m.MaxRSS = int64(of(func(f *edgeFigures) float64 { return float64(f.MaxRSS) }))
	m.BaseRSS = int64(of(func(f *edgeFigures) float64 { return float64(f.BaseRSS) }))
	return m
}

// relate fills in the speeds relative to ours with the first kernel set: the
// median of the rounds' ratios.
func relate(rows []benchRow, isa string) {
	i := slices.IndexFunc(rows, func(r benchRow) bool { return r.Variant == direct && r.ISA == isa })
	if i < 0 {
		return
	}
	for k := range rows {
		var ratios []float64
		for s := range min(len(rows[i].samples), len(rows[k].samples)) {
			ratios = append(ratios, rows[i].samples[s].seconds/rows[k].samples[s].seconds)
		}
		if k != i && len(ratios) > 0 {
			rows[k].Ratio = median(ratios)
		}
	}
}
