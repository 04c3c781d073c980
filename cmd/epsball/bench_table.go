package main

import (
	"fmt"
	"slices"
	"strings"
)

// benchTable is the report for people: the limits, then a table for each kind
// of row.
func benchTable(r *benchReport) string {
	out := facts("cpu", r.CPU, "kernels", strings.Join(r.ISAs, ", "), "threads", r.pinning) + "\n" + limitTable(r)
	for _, kind := range []string{kindPass, kindLayer, kindKernel, kindEdge} {
		if t := rowTable(r, kind, columns[kind]); t != "" {
			out += "\n" + t
		}
	}
	out += edgeTables(r)
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
	return out + "\n" + seconds(r.Seconds) + "\n"
}

func limitTable(r *benchReport) string {
	header := []any{"limit"}
	counts := slices.Compact([]int{1, r.Threads})
	for _, t := range counts {
		header = append(header, count(t, "thread"))
	}
	t := newTable(append(header, "unit")...)
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
		row := []any{fmt.Sprintf("read %s, %s", l.Level, bytesText(l.Bytes))}
		for k := range counts {
			row = append(row, fmt.Sprintf("%.1f", r.Read[k*levels+i].GBps))
		}
		t.AppendRow(append(row, "GB/s"))
	}
	return render(t)
}

// column is a column of a table of rows.
type column struct {
	title string
	shown func(*benchReport) bool // nil: always
	cell  func(*benchRow) string
}

func severalISAs(r *benchReport) bool { return len(r.ISAs) > 1 }

func compared(r *benchReport) bool {
	return slices.ContainsFunc(r.Rows, func(b benchRow) bool { return b.Ratio != 0 })
}

var (
	nameColumn    = column{"row", nil, func(b *benchRow) string { return b.Name }}
	isaColumn     = column{"kernels", severalISAs, func(b *benchRow) string { return b.ISA }}
	gflopsColumn  = column{"GFLOP/s", nil, func(b *benchRow) string { return fmt.Sprintf("%.1f", b.GFLOPS) }}
	peakColumn    = column{"of peak", nil, func(b *benchRow) string { return fmt.Sprintf("%.1f%%", 100*b.FractionOfPeak) }}
	imagesColumn  = column{"images/s", nil, func(b *benchRow) string { return rate(b.ImagesPerS) }}
	shareColumn   = column{"share", nil, func(b *benchRow) string { return fmt.Sprintf("%.1f%%", 100*b.Share) }}
	gbpsColumn    = column{"GB/s", nil, func(b *benchRow) string { return fmt.Sprintf("%.1f", b.GBps) }}
	readColumn    = column{"of read", nil, func(b *benchRow) string { return fmt.Sprintf("%.0f%%", 100*b.FractionOfReads) }}
	speedupColumn = column{"speed-up", func(r *benchReport) bool { return r.Threads > 1 }, func(b *benchRow) string { return ratio(b.Speedup) }}
	ratioColumn   = column{"ratio", compared, func(b *benchRow) string { return ratio(b.Ratio) }}
	spreadColumn  = column{"spread", nil, func(b *benchRow) string {
		if b.Repeats == 1 {
			return "–"
		}
		return fmt.Sprintf("%.1f%%", 100*b.Spread)
	}}
	repeatsColumn = column{"repeats", nil, func(b *benchRow) string { return fmt.Sprint(b.Repeats) }}
)

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

var columns = map[string][]column{
	kindPass:   {nameColumn, isaColumn, gflopsColumn, peakColumn, imagesColumn, speedupColumn, ratioColumn, spreadColumn, repeatsColumn},
	kindLayer:  {nameColumn, isaColumn, gflopsColumn, peakColumn, imagesColumn, shareColumn, speedupColumn, ratioColumn, spreadColumn, repeatsColumn},
	kindEdge:   {nameColumn, isaColumn, medianColumn, p95Column, p99Column, bestColumn, imagesColumn, edgePeakColumn, speedupColumn, oursColumn, spreadColumn, repeatsColumn},
	kindKernel: {nameColumn, isaColumn, gbpsColumn, readColumn, gflopsColumn, peakColumn, speedupColumn, ratioColumn, spreadColumn, repeatsColumn},
}

func rowTable(r *benchReport, kind string, columns []column) string {
	var header []any
	var shown []column
	for _, c := range columns {
		if c.shown == nil || c.shown(r) {
			header, shown = append(header, c.title), append(shown, c)
		}
	}
	t := newTable(header...)
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
	return render(t)
}
