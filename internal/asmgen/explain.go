package main

import (
	"fmt"
	"strings"
)

// explain writes what the loops of a kernel are and what its registers hold as comments
// at its beginning. The arguments of format are registers (reg, vec) or runs of them
// (run), which print as the target calls them, and whatever else fmt prints.
func explain(t target, format string, args ...any) {
	names := make([]any, len(args))
	for i, a := range args {
		switch v := a.(type) {
		case reg:
			names[i] = t.regName(v)
		case vec:
			names[i] = t.vecNames(v, 1)
		case run:
			names[i] = t.vecNames(v.first, v.n)
		default:
			names[i] = v
		}
	}
	const width = 85
	for _, paragraph := range strings.Split(fmt.Sprintf(format, names...), "\n") {
		line := ""
		for _, word := range strings.Fields(paragraph) {
			if line != "" && len(line)+len(word) >= width {
				t.comment("%s", line)
				line = ""
			}
			line = strings.TrimSpace(line + " " + word)
		}
		t.comment("%s", line)
	}
}

// run is n lane vectors from first on.
type run struct {
	first vec
	n     int
}

// fromTo is the run that ends with last.
func fromTo(first, last vec) run { return run{first, int(last-first.single()) + 1} }

// runNames are the registers first … last of a bank.
func runNames(bank string, first, last int) string {
	if first == last {
		return fmt.Sprintf("%s%d", bank, first)
	}
	return fmt.Sprintf("%s%d-%s%d", bank, first, bank, last)
}
