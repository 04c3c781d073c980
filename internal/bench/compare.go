package bench

import "strings"

// NoisySpread is the spread above which a row is noisy. The median of twenty
// repeats of that spread is off by up to 4 % nineteen times out of twenty: more
// than most comparisons are about.
const NoisySpread = 0.1

// markNoisy marks the rows whose spread makes them worthless, and counts them.
func (r *Result) markNoisy() {
	r.Noisy = 0
	for i := range r.Rows {
		row := &r.Rows[i]
		if row.Noisy = row.Spread > NoisySpread; row.Noisy {
			r.Noisy++
		}
	}
}

// compare fills in what rows are to one another: the speed-up over one thread,
// the speed relative to the first kernel set's direct kernels, a layer's share
// of those timed.
func (r *Result) compare() {
	type key struct {
		group, isa, variant string
		threads             int
	}
	at, total := map[key]*Row{}, map[key]float64{}
	for i := range r.Rows {
		row := &r.Rows[i]
		at[key{row.group, row.ISA, row.Variant, row.Threads}] = row
		total[key{row.layersOf(), row.ISA, row.Variant, row.Threads}] += row.Seconds
	}
	for i := range r.Rows {
		row := &r.Rows[i]
		if one := at[key{row.group, row.ISA, row.Variant, 1}]; one != nil && one != row {
			row.Speedup = row.perSecond() / one.perSecond()
		}
		if base := at[key{row.group, r.ISA, direct, row.Threads}]; base != nil && base != row && row.Kind != KindEdge { // see relate
			row.Ratio = row.perSecond() / base.perSecond()
		}
		if row.Kind == KindLayer {
			row.Share = row.Seconds / total[key{row.layersOf(), row.ISA, row.Variant, row.Threads}]
		}
	}
}

// layersOf is the group of a layer without the layer.
func (r *Row) layersOf() string {
	parts := strings.Split(r.group, "/")
	if r.Kind == KindLayer {
		parts[3] = ""
	}
	return strings.Join(parts, "/")
}

// perSecond is the work done in a second: runs of a kernel are of any length.
func (r *Row) perSecond() float64 { return r.Bytes / r.Seconds }
