package bench

import (
	"fmt"
	"slices"
	"strings"

	"github.com/epsball/epsball/internal/show"
)

// Text is the result for people: the limits, then a table for each kind of row.
func (r *Result) Text() string {
	out := show.Facts("cpu", r.CPU, "kernels", strings.Join(r.ISAs, ", "), "threads", r.pinning) + "\n" + limitTable(r)
	for _, kind := range []Kind{KindPass, KindLayer, KindKernel, KindEdge} {
		if t := rowTable(r, kind, columns[kind]); t != "" {
			out += "\n" + t
		}
	}
	out += edgeTables(r)
	if r.Noisy > 0 {
		out += "\n" + r.NoiseText() + "\n"
	}
	if len(r.Skipped) > 0 {
		out += "\n"
	}
	for _, s := range r.Skipped {
		name := s.Name
		if s.ISA != "" {
			name += " (" + s.ISA + ")"
		}
		out += fmt.Sprintf("skipped %s: %s\n", name, s.Reason)
	}
	return out + "\n" + show.Seconds(r.Seconds) + "\n"
}

// NoiseText says in a line how many rows are noisy; empty if none is.
func (r *Result) NoiseText() string {
	if r.Noisy == 0 {
		return ""
	}
	return fmt.Sprintf("noisy: the repeats of %d of %s spread by more than %.0f%%, as when other programs run: do not quote or compare such a row, measure it again",
		r.Noisy, show.Count(len(r.Rows), "row"), 100*NoisySpread)
}

func limitTable(r *Result) string {
	header := []any{"limit"}
	counts := slices.Compact([]int{1, r.Threads})
	for _, t := range counts {
		header = append(header, show.Count(t, "thread"))
	}
	t := show.Table(append(header, "unit")...)
	for _, isa := range r.ISAs {
		row := []any{"FMA peak, " + isa}
		for _, p := range r.Peaks {
			if p.ISA == isa && slices.Contains(counts, p.Threads) {
				row = append(row, fmt.Sprintf("%.1f", p.GFLOPS))
			}
		}
		t.AppendRow(append(row, "GFLOP/s"))
	}
	levels := len(r.Read) / len(counts)
	for i, l := range r.Read[:levels] {
		row := []any{fmt.Sprintf("read %s, %s", l.Level, show.Bytes(l.Bytes))}
		for k := range counts {
			row = append(row, fmt.Sprintf("%.1f", r.Read[k*levels+i].GBps))
		}
		t.AppendRow(append(row, "GB/s"))
	}
	return show.Render(t)
}

// column is a column of a table of rows.
type column struct {
	title string
	shown func(*Result) bool // nil: always
	cell  func(*Row) string
}

func severalISAs(r *Result) bool { return len(r.ISAs) > 1 }

func compared(r *Result) bool {
	return slices.ContainsFunc(r.Rows, func(b Row) bool { return b.Ratio != 0 })
}

var (
	nameColumn    = column{"row", nil, func(b *Row) string { return b.Name }}
	isaColumn     = column{"kernels", severalISAs, func(b *Row) string { return b.ISA }}
	gflopsColumn  = column{"GFLOP/s", nil, func(b *Row) string { return orDash(b.GFLOPS, "%.1f", 1) }}
	peakColumn    = column{"of peak", nil, func(b *Row) string { return orDash(b.FractionOfPeak, "%.1f%%", 100) }}
	imagesColumn  = column{"images/s", nil, func(b *Row) string { return show.Rate(b.ImagesPerS) }}
	shareColumn   = column{"share", nil, func(b *Row) string { return fmt.Sprintf("%.1f%%", 100*b.Share) }}
	gbpsColumn    = column{"GB/s", nil, func(b *Row) string { return fmt.Sprintf("%.1f", b.GBps) }}
	readColumn    = column{"of read", nil, func(b *Row) string { return orDash(b.FractionOfReads, "%.0f%%", 100) }}
	speedupColumn = column{"speed-up", func(r *Result) bool { return r.Threads > 1 }, func(b *Row) string { return ratio(b.Speedup) }}
	ratioColumn   = column{"ratio", compared, func(b *Row) string { return ratio(b.Ratio) }}
	spreadColumn  = column{"spread", nil, func(b *Row) string {
		if b.Repeats == 1 {
			return "–"
		}
		if b.Noisy {
			return fmt.Sprintf("noisy %.1f%%", 100*b.Spread)
		}
		return fmt.Sprintf("%.1f%%", 100*b.Spread)
	}}
	repeatsColumn = column{"repeats", nil, func(b *Row) string { return fmt.Sprint(b.Repeats) }}
)

// orDash formats scale·v; 0 stands for what a row does not have.
func orDash(v float64, format string, scale float64) string {
	if v == 0 {
		return "–"
	}
	return fmt.Sprintf(format, scale*v)
}

// ratio formats a ratio; 0 stands for none.
func ratio(v float64) string {
	switch {
	case v == 0:
		return ""
	case v < 0.095:
		return fmt.Sprintf("%.3f×", v)
	}
	return fmt.Sprintf("%.2f×", v)
}

var columns = map[Kind][]column{
	KindPass:   {nameColumn, isaColumn, gflopsColumn, peakColumn, imagesColumn, speedupColumn, ratioColumn, spreadColumn, repeatsColumn},
	KindLayer:  {nameColumn, isaColumn, gflopsColumn, peakColumn, gbpsColumn, readColumn, imagesColumn, shareColumn, speedupColumn, ratioColumn, spreadColumn, repeatsColumn},
	KindEdge:   {nameColumn, isaColumn, medianColumn, p95Column, p99Column, bestColumn, imagesColumn, edgePeakColumn, speedupColumn, oursColumn, spreadColumn, repeatsColumn},
	KindKernel: {nameColumn, isaColumn, gbpsColumn, readColumn, gflopsColumn, peakColumn, speedupColumn, ratioColumn, spreadColumn, repeatsColumn},
}

func rowTable(r *Result, kind Kind, columns []column) string {
	var header []any
	var shown []column
	for _, c := range columns {
		if c.shown == nil || c.shown(r) {
			header, shown = append(header, c.title), append(shown, c)
		}
	}
	t := show.Table(header...)
	for i := range r.Rows {
		if r.Rows[i].Kind != kind {
			continue
		}
		var row []any
		for _, c := range shown {
			row = append(row, c.cell(&r.Rows[i]))
		}
		t.AppendRow(row)
	}
	if t.Length() == 0 {
		return ""
	}
	return show.Render(t)
}
