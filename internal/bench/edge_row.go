package bench

import (
	"cmp"
	"slices"

	"github.com/epsball/epsball/report"
)

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

// percentile returns the p-th percentile of ascending nanoseconds, by nearest
// rank, in seconds.
func percentile(ns []int64, p int) float64 {
	return float64(ns[max(0, (p*len(ns)+99)/100-1)]) / 1e9
}

// row sums up the repeats chosen.
func (c *edgeContestant) row(peak float64, chosen []int) report.BenchRow {
	var ns []int64
	var rounds []float64
	for _, i := range chosen {
		ns, rounds = append(ns, c.turns[i]...), append(rounds, percentile(c.turns[i], 50))
	}
	slices.Sort(ns)
	inTurn := slices.Clone(rounds)
	slices.Sort(rounds)
	n, med := len(rounds), percentile(ns, 50)
	r := report.BenchRow{
		Name: c.name, Kind: c.kind, Variant: c.variant, ISA: c.isaName(), Threads: c.threads, Batch: c.batch,
		GFLOPS: c.flop / med / 1e9, PeakGFLOPS: peak, ImagesPerS: 1 / med,
		Seconds: med, Fastest: percentile(ns, 0), Slowest: percentile(ns, 100),
		Spread: (rounds[(3*(n-1)+2)/4] - rounds[(n-1)/4]) / med, Repeats: n,
		Bytes: c.bytes, Intensity: c.flop / c.bytes, GBps: c.bytes / med / 1e9,
		Runs: c.calls, Samples: inTurn,
	}
	r.FractionOfPeak = r.GFLOPS / r.PeakGFLOPS
	e := middle(c.starts)
	e.P95, e.P99, e.Calls = percentile(ns, 95), percentile(ns, 99), len(ns)
	e.Allocs, e.Goroutines = c.mallocs/int64(c.calls*len(c.turns)), c.left // as testing.AllocsPerRun: those of the run time do not count
	r.BenchEdge = &e
	return r
}

// middle takes the median of each figure of some starts.
func middle(list []report.BenchEdge) report.BenchEdge {
	m := list[0]
	var v []float64
	of := func(get func(*report.BenchEdge) float64) float64 {
		v = v[:0]
		for i := range list {
			v = append(v, get(&list[i]))
		}
		return median(v)
	}
	m.Startup = of(func(f *report.BenchEdge) float64 { return f.Startup })
	m.Interpreter = of(func(f *report.BenchEdge) float64 { return f.Interpreter })
	m.Import = of(func(f *report.BenchEdge) float64 { return f.Import })
	m.Load = of(func(f *report.BenchEdge) float64 { return f.Load })
	m.First = of(func(f *report.BenchEdge) float64 { return f.First })
	m.RSS = int64(of(func(f *report.BenchEdge) float64 { return float64(f.RSS) }))
	m.MaxRSS = int64(of(func(f *report.BenchEdge) float64 { return float64(f.MaxRSS) }))
	m.BaseRSS = int64(of(func(f *report.BenchEdge) float64 { return float64(f.BaseRSS) }))
	return m
}

// relate fills in the speeds relative to ours with the first kernel set: the
// median of the rounds' ratios.
func relate(rows []report.BenchRow, isa string) {
	i := slices.IndexFunc(rows, func(r report.BenchRow) bool { return r.Variant == direct && r.ISA == isa })
	if i < 0 {
		return
	}
	for k := range rows {
		var ratios []float64
		for s := range min(len(rows[i].Samples), len(rows[k].Samples)) {
			ratios = append(ratios, rows[i].Samples[s]/rows[k].Samples[s])
		}
		if k != i && len(ratios) > 0 {
			rows[k].Ratio = median(ratios)
		}
	}
}
