package main

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// allCounts are the loops of AVX2 and NEON, by set and kernel.
func allCounts() map[string]loopCount {
	counts := map[string]loopCount{}
	for _, f := range generate() {
		for _, isa := range []string{"avx2", "neon"} {
			if strings.HasSuffix(f.name, ".s") && strings.Contains(f.name, "_"+isa+"_") {
				for _, c := range countLoops(isa, f.data) {
					counts[isa+c.kernel] = c
				}
			}
		}
	}
	return counts
}

// TestCounts checks the counter on loops whose FMAs are known: unroll steps of R·P
// lane vectors, each two registers on arm64.
func TestCounts(t *testing.T) {
	counts := allCounts()
	for isa, registers := range map[string]int{"avx2": 1, "neon": 2} {
		for _, rp := range convTiles[isa] {
			c, ok := counts[fmt.Sprintf("%sConv%dx%d", isa, rp[0], rp[1])]
			require.True(t, ok, "%s %v", isa, rp)
			require.Equal(t, unroll*rp[0]*rp[1]*registers, c.fmas, "%s %v", isa, rp)
			require.Greater(t, c.instructions, c.fmas)
			require.Positive(t, c.loads)
			require.Zero(t, c.stores)
		}
	}
	require.Less(t, counts["neonConv4x3"].instructions*4, counts["neonConv4x3"].fmas*5, "instructions per FMA below 1.25")
}

// TestFullRegisters checks that the widest tiles of arm64 have a use for all of its
// 32 vector registers.
func TestFullRegisters(t *testing.T) {
	register := regexp.MustCompile(`\b[vqds](\d+)\b`)
	for _, f := range generate() {
		if !strings.HasSuffix(f.name, "_neon_arm64.s") {
			continue
		}
		for _, kernel := range strings.Split(string(f.data), "TEXT ·")[1:] {
			name := kernel[:strings.Index(kernel, "(")]
			if name != "Conv4x3NEON" && name != "Small6x2NEON" && name != "Both6x2NEON" && name != "Grad4x3NEON" {
				continue
			}
			seen := map[string]bool{}
			for _, line := range strings.Split(kernel, "\n") {
				if m := wordLine.FindStringSubmatch(line); m != nil {
					for _, r := range register.FindAllStringSubmatch(m[2], -1) {
						seen[r[1]] = true
					}
				}
			}
			require.Len(t, seen, 32, name)
		}
	}
}

// TestCountsInDocs checks the table of docs/arm64.md.
func TestCountsInDocs(t *testing.T) {
	counts := allCounts()
	text, err := os.ReadFile(filepath.Join("..", "..", "docs", "arm64.md"))
	require.NoError(t, err)
	rows := regexp.MustCompile(`(?m)^\| (\w+\d) \|[^|]*\|(.*)\|$`).FindAllStringSubmatch(string(text), -1)
	require.NotEmpty(t, rows)
	for _, row := range rows {
		n, a := counts["neon"+row[1]], counts["avx2"+row[1]]
		require.Positive(t, n.fmas, row[1])
		per := func(c loopCount) float64 { return float64(c.instructions) / float64(c.fmas) }
		require.Equal(t, fmt.Sprintf(" %d | %d | %d | %.2f | %.2f ", n.instructions, n.fmas, n.loads, per(n), per(a)), row[2], row[1])
	}
}
