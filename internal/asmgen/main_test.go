package main

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestDrift fails when the files in asm are not what the generator prints.
func TestDrift(t *testing.T) {
	for _, f := range generate() {
		have, err := os.ReadFile(filepath.Join("..", "..", "asm", f.name))
		require.NoError(t, err)
		require.Equal(t, string(f.data), string(have), "asm/%s is stale: run go generate ./asm", f.name)
	}
}
