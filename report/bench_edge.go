package report

import (
	"fmt"
	"strings"

	"github.com/epsball/epsball/internal/show"
)

var (
	medianColumn   = benchColumn{"median", nil, func(b *BenchRow) string { return latency(b.Seconds) }}
	p95Column      = benchColumn{"p95", nil, func(b *BenchRow) string { return latency(b.edge().P95) }}
	p99Column      = benchColumn{"p99", nil, func(b *BenchRow) string { return latency(b.edge().P99) }}
	bestColumn     = benchColumn{"best", nil, func(b *BenchRow) string { return latency(b.Fastest) }}
	oursColumn     = benchColumn{"to epsball", compared, func(b *BenchRow) string { return ratio(b.Ratio) }}
	edgePeakColumn = benchColumn{"of peak", nil, func(b *BenchRow) string {
		if b.GFLOPS == 0 {
			return ""
		}
		return peakColumn.cell(b)
	}}
)

// memoryColumns are those of the second table of --edge.
var memoryColumns = []benchColumn{
	nameColumn, isaColumn,
	{"start-up", nil, func(b *BenchRow) string { return latency(b.edge().Startup) }},
	{"load", nil, func(b *BenchRow) string { return latency(b.edge().Load) }},
	{"first answer", nil, func(b *BenchRow) string { return latency(b.edge().First) }},
	{"RSS", nil, func(b *BenchRow) string { return mebibytes(b.edge().RSS) }},
	{"most", nil, func(b *BenchRow) string { return mebibytes(b.edge().MaxRSS) }},
	{"at start", nil, func(b *BenchRow) string { return mebibytes(b.edge().BaseRSS) }},
	{"weights", nil, func(b *BenchRow) string { return mebibytes(b.edge().WeightBytes) }},
	{"on disk", nil, func(b *BenchRow) string { return mebibytes(b.edge().LibraryBytes) }},
	{"allocs", nil, func(b *BenchRow) string { return oursOnly(b, fmt.Sprint(b.edge().Allocs)) }},
	{"goroutines", nil, func(b *BenchRow) string { return oursOnly(b, fmt.Sprint(b.edge().Goroutines)) }},
}

// isPeer reports whether a row is another runtime's.
func (r *BenchRow) isPeer() bool { return r.edge().Runtime != "epsball" }

// edge is what a row has as one of RowEdge, or nothing.
func (r *BenchRow) edge() *BenchEdge {
	if r.BenchEdge == nil {
		return &BenchEdge{}
	}
	return r.BenchEdge
}

func oursOnly(b *BenchRow, text string) string {
	if b.isPeer() {
		return show.Missing
	}
	return text
}

// edgeTables is what --edge prints beside its latencies.
func edgeTables(r *Bench) string {
	t := rowTable(r, RowEdge, memoryColumns)
	if t == "" && r.Python == nil {
		return ""
	}
	out := "\n" + t + "\nmemory in MiB; start-up: start of the process to its first answer"
	if p := r.Python; p != nil {
		out += fmt.Sprintf(", without the %s until Python %s with NumPy is ready\n(whose %s MiB are part of RSS)", latency(p.Seconds), p.Version, mebibytes(p.RSS))
	}
	out += "\n"
	var versions []string
	seen := map[string]bool{}
	for i := range r.Rows {
		if e := r.Rows[i].BenchEdge; e != nil && !seen[e.Runtime] && r.Rows[i].isPeer() {
			seen[e.Runtime] = true
			versions = append(versions, e.Runtime+" "+e.Version)
		}
	}
	if len(versions) > 0 {
		out += "peers: " + strings.Join(versions, ", ") + "\n"
	}
	others := 0.0
	for i := range r.Rows {
		if e := r.Rows[i].BenchEdge; e != nil {
			others = max(others, e.Others)
		}
	}
	if others > QuietShare {
		out += fmt.Sprintf("busy: other programs took up to %.0f%% of the CPUs meanwhile, measure again before you quote\n", 100*others)
	}
	for _, a := range r.Absent {
		out += fmt.Sprintf("absent: %s (%s)\n", a.Runtime, a.Reason)
	}
	return out
}

// latency formats a duration in seconds with three digits.
func latency(s float64) string {
	switch {
	case s >= 1:
		return fmt.Sprintf("%.3g s", s)
	case s >= 0.9995e-3:
		return fmt.Sprintf("%.3g ms", 1e3*s)
	}
	return fmt.Sprintf("%.3g µs", 1e6*s)
}

// mebibytes formats a number of bytes; 0 stands for unknown.
func mebibytes(n int64) string {
	if n == 0 {
		return show.Missing
	}
	return fmt.Sprintf("%.1f", float64(n)/(1<<20))
}
