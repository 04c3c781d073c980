package main

import (
	"runtime"
	"slices"
	"time"

	"github.com/epsball/epsball/kernels"
)

// peakMeter measures the FMA peak of some threads together.
type peakMeter struct {
	isa   *kernels.ISA
	pool  *kernels.Pool
	flop  float64 // of one call
	tasks int     // calls of one window
	f     func(worker, task int)
}

// newPeakMeter returns a meter whose windows last about d, at least one call a
// thread.
func newPeakMeter(isa *kernels.ISA, threads int, d time.Duration) *peakMeter {
	m := &peakMeter{isa: isa, pool: kernels.NewPool(threads)}
	m.f = func(int, int) { m.isa.PeakGFLOPS(0) }
	shortest := time.Duration(0)
	for range 5 { // the operations of a call: its speed times its duration
		t := time.Now()
		gflops := m.isa.PeakGFLOPS(0)
		once := max(time.Since(t), 1)
		if shortest == 0 || once < shortest {
			shortest, m.flop = once, gflops*1e9*once.Seconds()
		}
	}
	m.tasks = threads * max(1, int(d/shortest))
	return m
}

// measure returns the best of some windows in GFLOP/s: what the machine can do
// now.
func (m *peakMeter) measure(windows int) float64 {
	best := 0.0
	for range windows {
		t := time.Now()
		m.pool.Run(m.tasks, m.f)
		best = max(best, m.flop*float64(m.tasks)/time.Since(t).Seconds()/1e9)
	}
	return best
}

// memoryLevel is a level of the memory with the size of a buffer that lies in it.
type memoryLevel struct {
	name  string
	bytes int // a thread's
}

// levels lists the levels for some threads. All but the first two caches are
// taken for shared.
func levels(threads int) []memoryLevel {
	const dram = 256 << 20
	var list []memoryLevel
	largest := 0
	for _, c := range caches() {
		if c.Bytes/2 <= largest { // a level no larger than the one before is a report to distrust
			continue
		}
		largest = c.Bytes
		size := c.Bytes / 2
		if c.Level != "L1" && c.Level != "L2" {
			size /= threads
		}
		list = append(list, memoryLevel{c.Level, size})
	}
	return append(list, memoryLevel{"memory", min(max(4*largest, 64<<20), dram) / threads})
}

// readGBps measures how fast some threads read, each its own buffer: one of
// them is timed while the others read on.
func readGBps(isa *kernels.ISA, bytes, threads int, d time.Duration) float64 {
	threads = min(threads, runtime.GOMAXPROCS(0))
	if threads == 1 {
		return isa.ReadGBps(bytes, d)
	}
	t := time.Now()
	isa.ReadGBps(bytes, 0) // mostly the time that filling the buffer takes
	fill := time.Since(t)
	done := make(chan struct{})
	for range threads - 1 {
		go func() {
			isa.ReadGBps(bytes, 4*fill+2*d)
			done <- struct{}{}
		}()
	}
	time.Sleep(2 * fill)
	gbps := isa.ReadGBps(bytes, d)
	for range threads - 1 {
		<-done
	}
	return float64(threads) * gbps
}

// median sorts s and returns its median.
func median(s []float64) float64 {
	slices.Sort(s)
	n := len(s)
	return (s[(n-1)/2] + s[n/2]) / 2
}
