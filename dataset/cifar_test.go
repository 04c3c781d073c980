package dataset

import (
	"bytes"
	"io"
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

// once hides that a reader can seek.
type once struct{ io.Reader }

func TestCIFAR10ReadOnce(t *testing.T) {
	for _, b := range [][]byte{cifar(3, 9), gz(t, cifar(3, 9))} {
		want, err := ReadCIFAR10("b", bytes.NewReader(b))
		require.NoError(t, err)
		got, err := ReadCIFAR10("b", once{bytes.NewReader(b)})
		require.NoError(t, err)
		require.Equal(t, want, got)
	}
	_, err := ReadCIFAR10("b", once{bytes.NewReader(cifar(3, 9)[:5000])})
	requireError(t, err, "b", "record 1")
	_, err = ReadCIFAR10("b", once{io.LimitReader(zeros{}, maxStreamed+2<<20)})
	requireError(t, err, "b", "size")
}

type zeros struct{}

func (zeros) Read(b []byte) (int, error) {
	clear(b)
	return len(b), nil
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
