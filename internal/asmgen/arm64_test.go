package main

import (
	"encoding/binary"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/arch/arm64/arm64asm"
)

var wordLine = regexp.MustCompile(`^\tWORD +\$0x([0-9a-f]{8}) // (.+)$`)

// TestWords decodes every word in the NEON files: it must be the instruction that
// its comment says.
func TestWords(t *testing.T) {
	seen := map[string]bool{}
	for _, f := range generate() {
		if !strings.HasSuffix(f.name, "_neon_arm64.s") {
			continue
		}
		for i, line := range strings.Split(string(f.data), "\n") {
			if !strings.Contains(line, "WORD ") {
				continue
			}
			m := wordLine.FindStringSubmatch(line)
			require.NotNil(t, m, "%s:%d: %s", f.name, i+1, line)
			if seen[m[0]] {
				continue
			}
			seen[m[0]] = true
			bits, err := strconv.ParseUint(m[1], 16, 32)
			require.NoError(t, err)
			inst, err := arm64asm.Decode(binary.LittleEndian.AppendUint32(nil, uint32(bits)))
			require.NoError(t, err, "%s:%d: %s", f.name, i+1, line)
			require.Equal(t, m[2], arm64asm.GNUSyntax(inst), "%s:%d", f.name, i+1)
		}
	}
	require.Greater(t, len(seen), 1000, "words found")
}
