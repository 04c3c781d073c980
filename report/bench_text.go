package report

import (
	"fmt"
	"slices"
	"strings"

	"github.com/epsball/epsball/internal/show"
)

// Text is the result for people: the limits, then a table for each kind of row.
func (r *Bench) Text() string {
	out := show.Facts("cpu", r.CPU, "kernels", strings.Join(r.ISAs, ", "), "threads", r.Pinning) + "\n" + limitTable(r)
	for _, kind := range []RowKind{RowPass, RowLayer, RowKernel, RowEdge} {
		if t := rowTable(r, kind, benchColumns[kind]); t != "" {
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
func (r *Bench) NoiseText() string {
	if r.Noisy == 0 {
		return ""
	}
	return fmt.Sprintf("noisy: the repeats of %d of %s spread by more than %.0f%%, as when other programs run: do not quote or compare such a row, measure it again",
		r.Noisy, show.Count(len(r.Rows), "row"), 100*NoisySpread)
}

func limitTable(r *Bench) string {
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

// benchColumn is a column of a table of rows.
type benchColumn struct {
	title string
	shown func(*Bench) bool // nil: always
	cell  func(*BenchRow) string
}

func severalISAs(r *Bench) bool { return len(r.ISAs) > 1 }

func compared(r *Bench) bool {
	return slices.ContainsFunc(r.Rows, func(b BenchRow) bool { return b.Ratio != 0 })
}

var (
	nameColumn   = benchColumn{"row", nil, func(b *BenchRow) string { return b.Name }}
	isaColumn    = benchColumn{"kernels", severalISAs, func(b *BenchRow) string { return b.ISA }}
	gflopsColumn = benchColumn{"GFLOP/s", nil, func(b *BenchRow) string { return orDash(b.GFLOPS, "%.1f", 1) }}
	peakColumn   = benchColumn{"of peak", nil, func(b *BenchRow) string {
		if b.Kind == RowLayer && b.ReadGBps > 0 { // memory is the limit
			return show.Missing
		}
		return orDash(b.FractionOfPeak, "%.1f%%", 100)
	}}
	imagesColumn  = benchColumn{"images/s", nil, func(b *BenchRow) string { return show.Rate(b.ImagesPerS) }}
	shareColumn   = benchColumn{"share", nil, func(b *BenchRow) string { return fmt.Sprintf("%.1f%%", 100*b.Share) }}
	gbpsColumn    = benchColumn{"GB/s", nil, func(b *BenchRow) string { return fmt.Sprintf("%.1f", b.GBps) }}
	readColumn    = benchColumn{"of read", nil, func(b *BenchRow) string { return orDash(b.FractionOfReads, "%.0f%%", 100) }}
	speedupColumn = benchColumn{"speed-up", func(r *Bench) bool { return r.Threads > 1 }, func(b *BenchRow) string { return ratio(b.Speedup) }}
	ratioColumn   = benchColumn{"ratio", compared, func(b *BenchRow) string { return ratio(b.Ratio) }}
	spreadColumn  = benchColumn{"spread", nil, func(b *BenchRow) string {
		if b.Repeats == 1 {
			return show.Missing
		}
		if b.Noisy {
			return fmt.Sprintf("noisy %.1f%%", 100*b.Spread)
		}
		return fmt.Sprintf("%.1f%%", 100*b.Spread)
	}}
	repeatsColumn = benchColumn{"repeats", nil, func(b *BenchRow) string { return fmt.Sprint(b.Repeats) }}
)

// orDash formats scale·v; 0 stands for what a row does not have.
func orDash(v float64, format string, scale float64) string {
	if v == 0 {
		return show.Missing
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

var benchColumns = map[RowKind][]benchColumn{
	RowPass:   {nameColumn, isaColumn, gflopsColumn, peakColumn, imagesColumn, speedupColumn, ratioColumn, spreadColumn, repeatsColumn},
	RowLayer:  {nameColumn, isaColumn, gflopsColumn, peakColumn, gbpsColumn, readColumn, imagesColumn, shareColumn, speedupColumn, ratioColumn, spreadColumn, repeatsColumn},
	RowEdge:   {nameColumn, isaColumn, medianColumn, p95Column, p99Column, bestColumn, imagesColumn, edgePeakColumn, speedupColumn, oursColumn, spreadColumn, repeatsColumn},
	RowKernel: {nameColumn, isaColumn, gbpsColumn, readColumn, gflopsColumn, peakColumn, speedupColumn, ratioColumn, spreadColumn, repeatsColumn},
}

func rowTable(r *Bench, kind RowKind, columns []benchColumn) string {
	var header []any
	var shown []benchColumn
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
