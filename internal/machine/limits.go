package machine

import (
	"runtime"
	"time"

	"github.com/epsball/epsball/kernels"
)

// PeakMeter measures the peak of fused multiply-adds of some threads together.
type PeakMeter struct {
	isa   *kernels.ISA
	pool  *kernels.Pool
	flop  float64 // of one call
	tasks int     // calls of one window
	f     func(worker, task int)
}

// NewPeakMeter returns a meter whose windows last about d, at least one call a
// thread. It must be closed.
func NewPeakMeter(isa *kernels.ISA, threads int, d time.Duration) *PeakMeter {
	m := &PeakMeter{isa: isa, pool: kernels.NewPool(threads)}
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

// Measure returns the best of some windows in GFLOP/s: what the machine can do
// now.
func (m *PeakMeter) Measure(windows int) float64 {
	best := 0.0
	for range windows {
		t := time.Now()
		m.pool.Run(m.tasks, m.f)
		best = max(best, m.flop*float64(m.tasks)/time.Since(t).Seconds()/1e9)
	}
	return best
}

// Close ends the meter's threads.
func (m *PeakMeter) Close() { m.pool.Close() }

// Level is a level of the memory with the size of a buffer that lies in it.
type Level struct {
	Name  string // L1, L2, L3 or memory
	Bytes int    // a thread's
}

// Levels lists the levels for some threads, the fastest first. All but the first
// two caches are taken to be shared.
func Levels(threads int) []Level {
	const dram = 256 << 20
	var list []Level
	largest := 0
	for _, c := range Caches() {
		if c.Bytes/2 <= largest { // a level no larger than the one before is a report to distrust
			continue
		}
		largest = c.Bytes
		size := c.Bytes / 2
		if c.Level != "L1" && c.Level != "L2" {
			size /= threads
		}
		list = append(list, Level{c.Level, size})
	}
	return append(list, Level{"memory", min(max(4*largest, 64<<20), dram) / threads})
}

// ReadGBps measures for about d how fast some threads together read, each a buffer
// of its own of so many bytes: one of them is timed while the others read on.
func ReadGBps(isa *kernels.ISA, bytes, threads int, d time.Duration) float64 {
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
