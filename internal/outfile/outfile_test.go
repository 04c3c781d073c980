package outfile

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestFileAppears: a file that another program has made during the work is left
// alone, and the result is kept.
func TestFileAppears(t *testing.T) {
	dir := t.TempDir()
	read := func(path string) []byte {
		b, err := os.ReadFile(path)
		require.NoError(t, err)
		return b
	}
	path := filepath.Join(dir, "adv.npz")
	o := &Output{Flag: "out", Path: path, Kind: Array}
	release, onStdout, err := Streams{}.Claim(false, nil, o)
	require.NoError(t, err)
	require.False(t, onStdout)
	defer release()
	require.NoError(t, os.WriteFile(path, []byte("theirs"), 0o666))
	other := filepath.Join(dir, "adv-1.npz")
	err = o.WriteBytes([]byte("ours"))
	require.EqualError(t, err, fmt.Sprintf("--out: %s has appeared since the command started and is left alone; the result is in %s", path, other))
	assert.Equal(t, "theirs", string(read(path)))
	assert.Equal(t, "ours", string(read(other)))
	assert.False(t, o.Written)

	// One's own may be written again.
	o.Path, o.File = filepath.Join(dir, "b.npz"), filepath.Join(dir, "b.npz")
	require.NoError(t, o.WriteBytes([]byte("once")))
	require.NoError(t, o.WriteBytes([]byte("twice")))
	assert.Equal(t, "twice", string(read(o.File)))
}
