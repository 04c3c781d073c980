package main

import (
	"io"
	"os"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/epsball/epsball/internal/learn"
)

// TestLearnLines: the commands of docs/learn.md are there, and take these flags and
// values. go run ./internal/learn/run runs them.
func TestLearnLines(t *testing.T) {
	text, err := os.ReadFile("../../docs/learn.md")
	require.NoError(t, err)
	page, err := learn.Parse(string(text))
	require.NoError(t, err)
	lines := page.Epsball()
	require.Greater(t, len(lines), 10)
	for _, line := range lines {
		root := newApp(io.Discard, io.Discard).rootCommand()
		require.NoError(t, checkLine(root, line), line)
		c, rest, err := root.Find(line)
		require.NoError(t, err, line)
		require.NotSame(t, root, c, line)
		c.InitDefaultHelpFlag()
		assert.NoError(t, c.ParseFlags(rest), line)
		assert.NoError(t, c.ValidateArgs(c.Flags().Args()), line)
	}
}
