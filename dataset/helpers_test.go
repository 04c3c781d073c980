package dataset

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// requireError checks that err is an *Error on one line that names file, and
// whose field contains the given text.
func requireError(t *testing.T, err error, file, field string) *Error {
	t.Helper()
	var e *Error
	require.ErrorAs(t, err, &e)
	require.Contains(t, e.File, file)
	require.Contains(t, e.Field, field)
	require.NotEmpty(t, e.Want)
	require.NotEmpty(t, e.Got)
	require.NotContains(t, err.Error(), "\n")
	require.Contains(t, err.Error(), e.File+": "+e.Field+": got "+e.Got)
	return e
}

func gz(t testing.TB, b []byte) []byte {
	t.Helper()
	var buf bytes.Buffer
	z := gzip.NewWriter(&buf)
	_, err := z.Write(b)
	require.NoError(t, err)
	require.NoError(t, z.Close())
	return buf.Bytes()
}

// idx builds an IDX file from a magic number, dimensions and data.
func idx(magic uint32, dims []uint32, data []byte) []byte {
	b := binary.BigEndian.AppendUint32(nil, magic)
	for _, d := range dims {
		b = binary.BigEndian.AppendUint32(b, d)
	}
	return append(b, data...)
}

// ramp is n bytes counting up.
func ramp(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i)
	}
	return b
}

// cifar builds a batch of one record for each label.
func cifar(labels ...byte) []byte {
	var b []byte
	for _, y := range labels {
		b = append(append(b, y), ramp(cifarPixels)...)
	}
	return b
}

func npz(t testing.TB, arrays ...NamedArray) []byte {
	t.Helper()
	var buf bytes.Buffer
	require.NoError(t, WriteNPZ(&buf, arrays))
	return buf.Bytes()
}

// folder writes files, given as name and contents, into a new folder.
func folder(t *testing.T, files map[string][]byte) string {
	t.Helper()
	dir := t.TempDir()
	for name, b := range files {
		path := filepath.Join(dir, filepath.FromSlash(name))
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o777))
		require.NoError(t, os.WriteFile(path, b, 0o666))
	}
	return dir
}

// readPair reads an IDX pair under the names "images" and "labels".
func readPair(images, labels []byte) (*Set, error) {
	return ReadIDX("images", bytes.NewReader(images), "labels", bytes.NewReader(labels))
}
