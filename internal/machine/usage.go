package machine

import "os"

// Usage is how much the CPUs were used so far, in clock ticks; zeros if the system
// does not tell (all but Linux).
type Usage struct{ total, busy, ours int64 }

// UsageNow returns the usage up to now. This process and those of the given ids
// count as ours.
func UsageNow(pids ...int) (u Usage) {
	u.total, u.busy = cpuTicks()
	u.ours = processTicks(os.Getpid())
	for _, pid := range pids {
		u.ours += processTicks(pid)
	}
	return u
}

// Others is the share of the CPUs, 0 … 1, that other programs took from u until
// then.
func (u Usage) Others(then Usage) float64 {
	return max(0, float64(then.busy-u.busy-(then.ours-u.ours))/float64(max(1, then.total-u.total)))
}
