package dataset

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestCIFAR10(t *testing.T) {
	good := cifar(3, 9)
	for _, b := range [][]byte{good, gz(t, good)} {
		s, err := ReadCIFAR10("b", bytes.NewReader(b))
		require.NoError(t, err)
		require.NoError(t, s.Validate())
		require.Equal(t, []int{3, 32, 32, 10}, []int{s.C, s.H, s.W, s.Classes})
		require.Equal(t, []int{3, 9}, s.Y)
		require.Equal(t, float32(255)/255, s.Image(1)[255])
		require.Equal(t, s.Image(0), s.Image(1))
	}
}

func TestCIFAR10Bad(t *testing.T) {
	good := cifar(3, 9)
	for name, c := range map[string]struct {
		data  []byte
		field string
	}{
		"empty":         {nil, "record 0"},
		"empty gzip":    {gz(t, nil), "record 0"},
		"label 10":      {cifar(3, 10), "label of image 1"},
		"trailing byte": {append(bytes.Clone(good), 1), "record 2"},
		"after gzip":    {append(gz(t, good), 1, 2, 3), "record 2"},
		"checksum":      {spoilt(gz(t, good), -5), "record 2"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := ReadCIFAR10("b", bytes.NewReader(c.data))
			requireError(t, err, "b", c.field)
		})
	}
}

// The format has no header, so the cap alone stops a small file from unpacking
// to any size.
func TestCIFAR10Cap(t *testing.T) {
	packed := gz(t, make([]byte, 100*cifarRecord))
	s := newCIFAR()
	requireError(t, appendCIFAR(s, "b", bytes.NewReader(packed), 99), "b", "number of records")
	require.Equal(t, 99, s.Len())
	require.NoError(t, appendCIFAR(newCIFAR(), "b", bytes.NewReader(packed), 100))
}

func TestCIFAR10Truncated(t *testing.T) {
	good := cifar(3, 9)
	for n := range good {
		s, err := ReadCIFAR10("b", bytes.NewReader(good[:n]))
		if n == cifarRecord { // a whole file of one record, as far as anyone can tell
			require.NoError(t, err)
			require.Equal(t, 1, s.Len())
			continue
		}
		requireError(t, err, "b", "record")
	}
	packed := gz(t, good)
	for n := range packed {
		_, err := ReadCIFAR10("b", bytes.NewReader(packed[:n]))
		requireError(t, err, "b", "")
	}
}
