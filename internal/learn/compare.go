package learn

import (
	"regexp"
	"slices"
	"strings"
)

var (
	duration = regexp.MustCompile(`\d+(\.\d+)? ?(ns|µs|ms|s|min|h)\b`)
	perTime  = regexp.MustCompile(`\d+(\.\d+)?[kM]?( images)?/s\b`)
	machine  = regexp.MustCompile(`\b(generic|avx2|avx512|neon), \d+ threads?\b`)
	rule     = regexp.MustCompile(`─+`)
	gap      = regexp.MustCompile(` {2,}`)
)

// Stable returns an output without what differs from run to run and from machine to
// machine: times, rates, the kernel set, the number of threads, and the widths of
// columns that follow from these. All else is the same to the last digit.
func Stable(output string) string {
	var lines []string
	var rates []int // columns of the table at hand
	columns := 0
	for _, line := range strings.Split(strings.TrimRight(output, "\n"), "\n") {
		line = strings.TrimSpace(line)
		if cells := gap.Split(line, -1); strings.Contains(line, "/s") && len(cells) > 2 {
			rates, columns = nil, len(cells)
			for i, c := range cells {
				if strings.HasSuffix(c, "/s") {
					rates = append(rates, i)
				}
			}
		} else if len(cells) == columns && len(rates) > 0 {
			for _, i := range rates {
				cells[i] = "–"
			}
			line = strings.Join(cells, "  ")
		} else if !strings.HasPrefix(line, "─") {
			rates, columns = nil, 0
		}
		line = perTime.ReplaceAllString(line, "…/s")
		line = duration.ReplaceAllString(line, "… s")
		line = machine.ReplaceAllString(line, "…")
		line = rule.ReplaceAllString(line, "─")
		lines = append(lines, gap.ReplaceAllString(line, "  "))
	}
	return strings.Join(lines, "\n")
}

// Difference returns the first line in which two outputs differ, less what Stable
// leaves out; equal if there is none.
func Difference(want, got string) (wantLine, gotLine string, equal bool) {
	w, g := strings.Split(Stable(want), "\n"), strings.Split(Stable(got), "\n")
	if slices.Equal(w, g) {
		return "", "", true
	}
	for i := range max(len(w), len(g)) {
		a, b := "(nothing)", "(nothing)"
		if i < len(w) {
			a = w[i]
		}
		if i < len(g) {
			b = g[i]
		}
		if a != b {
			return a, b, false
		}
	}
	return "", "", true
}
