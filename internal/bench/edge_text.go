package bench

import (
	"fmt"
	"strings"
)

// none stands for a figure that the system or the runtime does not give.
const none = "–"

var (
	medianColumn   = column{"median", nil, func(b *Row) string { return latency(b.Seconds) }}
	p95Column      = column{"p95", nil, func(b *Row) string { return latency(b.P95) }}
	p99Column      = column{"p99", nil, func(b *Row) string { return latency(b.P99) }}
	bestColumn     = column{"best", nil, func(b *Row) string { return latency(b.Fastest) }}
	oursColumn     = column{"to epsball", compared, func(b *Row) string { return ratio(b.Ratio) }}
	edgePeakColumn = column{"of peak", nil, func(b *Row) string {
		if b.GFLOPS == 0 {
			return ""
		}
		return peakColumn.cell(b)
	}}
)

// memoryColumns are those of the second table of --edge.
var memoryColumns = []column{
	nameColumn, isaColumn,
	{"start-up", nil, func(b *Row) string { return latency(b.Startup) }},
	{"load", nil, func(b *Row) string { return latency(b.Load) }},
	{"first answer", nil, func(b *Row) string { return latency(b.First) }},
	{"RSS", nil, func(b *Row) string { return mebibytes(b.RSS) }},
	{"most", nil, func(b *Row) string { return mebibytes(b.MaxRSS) }},
	{"at start", nil, func(b *Row) string { return mebibytes(b.BaseRSS) }},
	{"weights", nil, func(b *Row) string { return mebibytes(b.WeightBytes) }},
	{"on disk", nil, func(b *Row) string { return mebibytes(b.LibraryBytes) }},
	{"allocs", nil, func(b *Row) string { return oursOnly(b, fmt.Sprint(b.Allocs)) }},
	{"goroutines", nil, func(b *Row) string { return oursOnly(b, fmt.Sprint(b.Goroutines)) }},
}

func oursOnly(b *Row, text string) string {
	if isPeer(b.Variant) {
		return none
	}
	return text
}

// edgeTables is what --edge prints beside its latencies.
func edgeTables(r *Result) string {
	t := rowTable(r, KindEdge, memoryColumns)
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
		if e := r.Rows[i].Edge; e != nil && !seen[e.Runtime] && isPeer(r.Rows[i].Variant) {
			seen[e.Runtime] = true
			versions = append(versions, e.Runtime+" "+e.Version)
		}
	}
	if len(versions) > 0 {
		out += "peers: " + strings.Join(versions, ", ") + "\n"
	}
	others := 0.0
	for i := range r.Rows {
		if e := r.Rows[i].Edge; e != nil {
			others = max(others, e.Others)
		}
	}
	if others > quietShare {
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
		return none
	}
	return fmt.Sprintf("%.1f", float64(n)/(1<<20))
}
