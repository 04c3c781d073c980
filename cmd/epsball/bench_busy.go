package main

import (
	"cmp"
	"os"
	"slices"
)

// usage is who has used the CPUs so far, in clock ticks; zeros if the system
// does not tell.
type usage struct{ total, busy, ours int64 }

func usageOf(group []*edgeContestant) (u usage) {
	u.total, u.busy = cpuTicks()
	u.ours = processTicks(os.Getpid())
	for _, c := range group {
		if c.proc != nil {
			u.ours += processTicks(c.proc.cmd.Process.Pid)
		}
	}
	return u
}

// others is the share of the CPUs that other programs took until then.
func (u usage) others(then usage) float64 {
	return max(0, float64(then.busy-u.busy-(then.ours-u.ours))/float64(max(1, then.total-u.total)))
}

// quietest returns the indices, ascending, of the n smallest.
func quietest(others []float64, n int) []int {
	order := make([]int, len(others))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(others[a], others[b]) })
	order = order[:min(n, len(order))]
	slices.Sort(order)
	return order
}
