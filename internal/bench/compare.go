package bench

import (
	"fmt"
	"strings"

	"github.com/epsball/epsball/report"
)

// markNoisy marks the rows whose spread makes them worthless, and counts them.
func markNoisy(r *report.Bench) {
	r.Noisy = 0
	for i := range r.Rows {
		row := &r.Rows[i]
		if row.Noisy = row.Spread > report.NoisySpread; row.Noisy {
			r.Noisy++
		}
	}
}

// compare fills in what rows are to one another: the speed-up over one thread,
// the speed relative to the first kernel set's direct kernels, a layer's share
// of those timed.
func compare(r *report.Bench) {
	type key struct {
		group, isa, variant string
		threads             int
	}
	at, total := map[key]*report.BenchRow{}, map[key]float64{}
	for i := range r.Rows {
		row := &r.Rows[i]
		at[key{groupOf(row), row.ISA, row.Variant, row.Threads}] = row
		total[key{layersOf(row), row.ISA, row.Variant, row.Threads}] += row.Seconds
	}
	for i := range r.Rows {
		row := &r.Rows[i]
		if one := at[key{groupOf(row), row.ISA, row.Variant, 1}]; one != nil && one != row {
			row.Speedup = perSecond(row) / perSecond(one)
		}
		if base := at[key{groupOf(row), r.ISA, direct, row.Threads}]; base != nil && base != row && row.Kind != report.RowEdge { // see relate
			row.Ratio = perSecond(row) / perSecond(base)
		}
		if row.Kind == report.RowLayer {
			row.Share = row.Seconds / total[key{layersOf(row), row.ISA, row.Variant, row.Threads}]
		}
	}
}

// groupOf is the name of a row's group, see benchCase.
func groupOf(r *report.BenchRow) string {
	name := r.Name
	if r.Variant != direct {
		name = strings.TrimSuffix(name, "/"+r.Variant)
	}
	return strings.TrimSuffix(name, fmt.Sprintf("/t%d", r.Threads))
}

// layersOf is the group of a layer without the layer.
func layersOf(r *report.BenchRow) string {
	parts := strings.Split(groupOf(r), "/")
	if r.Kind == report.RowLayer {
		parts[3] = ""
	}
	return strings.Join(parts, "/")
}

// perSecond is the work done in a second: runs of a kernel are of any length.
func perSecond(r *report.BenchRow) float64 { return r.Bytes / r.Seconds }
