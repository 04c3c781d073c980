package main

import (
	"fmt"
	"io"
	"regexp"
	"strings"
)

// loopCount is what the innermost loop of a kernel consists of.
type loopCount struct {
	kernel, isa                       string
	instructions, fmas, loads, stores int
}

var (
	instruction = regexp.MustCompile(`^\t([A-Z][A-Z0-9]*)\b(.*)$`)
	labelLine   = regexp.MustCompile(`^(\w+):$`)
	memoryFirst = regexp.MustCompile(`^ *-?\d*\(`) // the first operand of an x86-64 load
)

// countLoops counts the turn of each kernel's inner loop: from a label that ends in
// loop to the jump back to it.
func countLoops(isa string, source []byte) []loopCount {
	var counts []loopCount
	var c loopCount
	label := ""
	for _, line := range strings.Split(string(source), "\n") {
		if name, ok := strings.CutPrefix(line, "TEXT ·"); ok {
			c = loopCount{kernel: strings.TrimSuffix(name[:strings.Index(name, "(")], strings.ToUpper(isa)), isa: isa}
			label = ""
		}
		if m := labelLine.FindStringSubmatch(line); m != nil && strings.HasSuffix(m[1], "loop") {
			label = m[1]
			c = loopCount{kernel: c.kernel, isa: isa}
			continue
		}
		m := instruction.FindStringSubmatch(line)
		if label == "" || m == nil || m[1] == "PCALIGN" {
			continue
		}
		name, operands := strings.ToLower(m[1]), m[2]
		if name == "word" {
			name, operands, _ = strings.Cut(strings.TrimSpace(operands[strings.Index(operands, "//")+2:]), " ")
		}
		c.instructions++
		switch {
		case strings.HasPrefix(name, "vfmadd"):
			c.fmas++
			if memoryFirst.MatchString(operands) {
				c.loads++
			}
		case name == "fmla":
			c.fmas++
		case strings.HasPrefix(name, "ld"), name == "movd" && strings.Contains(operands, "("),
			strings.HasPrefix(name, "v") && memoryFirst.MatchString(operands):
			c.loads++
		case strings.HasPrefix(name, "st"), name == "vmovups":
			c.stores++
		}
		if strings.HasSuffix(strings.TrimSpace(operands), label) && !strings.HasPrefix(name, "pc") {
			counts = append(counts, c)
			label = ""
		}
	}
	return counts
}

// printCounts prints a Markdown table of the loops that hold FMAs.
func printCounts(w io.Writer, files []file) {
	fmt.Fprintln(w, "| kernel | set | instructions | FMAs | loads | instructions per FMA |")
	fmt.Fprintln(w, "|---|---|---:|---:|---:|---:|")
	for _, f := range files {
		family, isa, ok := strings.Cut(strings.TrimSuffix(strings.TrimSuffix(strings.TrimSuffix(f.name, ".s"), "_amd64"), "_arm64"), "_")
		if !ok || family == "stubs" || !strings.HasSuffix(f.name, ".s") {
			continue
		}
		for _, c := range countLoops(isa, f.data) {
			if c.fmas > 0 {
				fmt.Fprintf(w, "| %s | %s | %d | %d | %d | %.2f |\n", c.kernel, c.isa, c.instructions, c.fmas, c.loads, float64(c.instructions)/float64(c.fmas))
			}
		}
	}
}
