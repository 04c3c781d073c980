// Package show turns results into text for people: plain tables, facts in two
// columns, numbers with their units.
package show

import (
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/jedib0t/go-pretty/v6/text"
)

// Missing stands for what is not known.
const Missing = "–"

// Table returns a plain table whose columns after the first are numbers.
func Table(header ...any) table.Writer {
	t := table.NewWriter()
	style := table.StyleLight
	style.Options.DrawBorder = false
	style.Options.SeparateColumns = false
	style.Format.Header = text.FormatDefault
	style.Box.PaddingLeft, style.Box.PaddingRight = "", "  "
	t.SetStyle(style)
	t.AppendHeader(table.Row(header))
	var columns []table.ColumnConfig
	for i := range header {
		if i > 0 {
			columns = append(columns, table.ColumnConfig{Number: i + 1, Align: text.AlignRight, AlignHeader: text.AlignRight})
		}
	}
	t.SetColumnConfigs(columns)
	return t
}

// Render returns a table with no blanks at the ends of its lines.
func Render(t table.Writer) string {
	lines := strings.Split(t.Render(), "\n")
	for i, l := range lines {
		lines[i] = strings.TrimRight(l, " ")
	}
	return strings.Join(lines, "\n") + "\n"
}

// Facts lays out pairs of a name and a value in two columns.
func Facts(pairs ...string) string {
	widest := 0
	for i := 0; i < len(pairs); i += 2 {
		widest = max(widest, Width(pairs[i]))
	}
	var b strings.Builder
	for i := 0; i < len(pairs); i += 2 {
		fmt.Fprintf(&b, "%s  %s\n", text.Pad(pairs[i], widest, ' '), pairs[i+1])
	}
	return b.String()
}

// Width is the number of columns that a text takes on a terminal.
func Width(s string) int { return text.StringWidth(s) }

// Percent formats a fraction.
func Percent(f float64) string { return fmt.Sprintf("%.2f%%", 100*f) }

// PercentRange formats a range of fractions.
func PercentRange(r [2]float64) string { return fmt.Sprintf("%s … %s", Percent(r[0]), Percent(r[1])) }

// Rate formats a throughput.
func Rate(v float64) string {
	switch {
	case v >= 10_000:
		return fmt.Sprintf("%.0fk", v/1000)
	case v >= 100:
		return fmt.Sprintf("%.0f", v)
	}
	return fmt.Sprintf("%.3g", v)
}

// Seconds formats a time.
func Seconds(v float64) string {
	switch {
	case v >= 100:
		return fmt.Sprintf("%.0f s", v)
	case v >= 1:
		return fmt.Sprintf("%.1f s", v)
	}
	return fmt.Sprintf("%.2g s", v)
}

// Count formats a number of things, "1 image" or "2 images".
func Count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return strconv.Itoa(n) + " " + what + "s"
}

// Bytes formats a size.
func Bytes(n int) string {
	switch {
	case n >= 1<<20:
		return fmt.Sprintf("%.4g MiB", float64(n)/(1<<20))
	case n >= 1<<10:
		return fmt.Sprintf("%.4g KiB", float64(n)/(1<<10))
	}
	return fmt.Sprintf("%d B", n)
}

// Dims formats a shape as 10x100.
func Dims(shape []int) string {
	return strings.ReplaceAll(strings.Trim(fmt.Sprint(shape), "[]"), " ", "x")
}

// Or returns s, or Missing if it is empty.
func Or(s string) string {
	if s == "" {
		return Missing
	}
	return s
}

// PerSecond is n over a time, however short.
func PerSecond(n int64, s float64) float64 { return float64(n) / math.Max(s, 1e-9) }

// Fraction is k of n, 0 of none.
func Fraction(k, n int) float64 {
	if n == 0 {
		return 0
	}
	return float64(k) / float64(n)
}

// Quote quotes an argument for a shell, if need be.
func Quote(s string) string {
	safe := s != ""
	for _, r := range s {
		safe = safe && (r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("-_./:=+,@%", r))
	}
	if safe {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}
