package kernels

import "time"

// PeakGFLOPS measures the arithmetic limit of one core with this kernel set:
// the best of several runs of independent FMAs over about d, two operations
// each, in 10^9 operations per second.
func (i *ISA) PeakGFLOPS(d time.Duration) float64 {
	const batch = 20_000
	flop := float64(batch) * 24 * Lanes * 2
	if i.name == generic.name { // one scalar FMA at a time
		flop = batch * 24 * 2
	}
	best := 0.0
	for start := time.Now(); time.Since(start) < d || best == 0; {
		t := time.Now()
		i.peakFMA(batch)
		best = max(best, flop/time.Since(t).Seconds()/1e9)
	}
	return best
}

// ReadGBps measures the read bandwidth of one core over a buffer of the given
// size in bytes (at least 256), in 10^9 bytes per second, best of several runs
// over about d.
func (i *ISA) ReadGBps(bytes int, d time.Duration) float64 {
	n := max(1, bytes/256)
	buf := Alloc(n * 64)
	for i := range buf {
		buf[i] = 1 // untouched pages would all be the one zero page
	}
	reps := max(1, (4<<20)/(n*256))
	best := 0.0
	for start := time.Now(); time.Since(start) < d || best == 0; {
		t := time.Now()
		i.readMemory(base(buf), n, reps)
		best = max(best, float64(n*256*reps)/time.Since(t).Seconds()/1e9)
	}
	return best
}
