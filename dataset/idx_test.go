package dataset

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"
)

var (
	goodImages = idx(idxImages, []uint32{2, 2, 3}, ramp(12))
	goodLabels = idx(idxLabels, []uint32{2}, []byte{9, 4})
)

func TestIDX(t *testing.T) {
	for _, packed := range []bool{false, true} {
		images, labels := goodImages, goodLabels
		if packed {
			images, labels = gz(t, images), gz(t, labels)
		}
		s, err := readPair(images, labels)
		require.NoError(t, err)
		require.NoError(t, s.Validate())
		require.Equal(t, []int{1, 2, 3}, []int{s.C, s.H, s.W})
		require.Equal(t, []int{9, 4}, s.Y)
		require.Equal(t, 10, s.Classes)
		require.Equal(t, float32(7)/255, s.X[7])
	}
}

func TestIDXClassesFollowLabels(t *testing.T) {
	s, err := readPair(goodImages, idx(idxLabels, []uint32{2}, []byte{46, 0}))
	require.NoError(t, err)
	require.Equal(t, 47, s.Classes)
}

func TestIDXBad(t *testing.T) {
	for name, c := range map[string]struct {
		images, labels []byte
		file, field    string
	}{
		"labels as images":   {goodLabels, goodLabels, "images", "magic number"},
		"images as labels":   {goodImages, goodImages, "labels", "magic number"},
		"floats":             {idx(0x00000D03, []uint32{2, 2, 3}, ramp(48)), goodLabels, "images", "magic number"},
		"no images":          {idx(idxImages, []uint32{0, 2, 3}, nil), goodLabels, "images", "dimension 0"},
		"no columns":         {idx(idxImages, []uint32{2, 2, 0}, nil), goodLabels, "images", "dimension 2"},
		"above the maximum":  {idx(idxImages, []uint32{2, 1 << 29, 2}, nil), goodLabels, "images", "dimensions 1 and 2"},
		"all above":          {idx(idxImages, []uint32{2, 1 << 14, 1 << 15}, nil), goodLabels, "images", "size"},
		"many images":        {idx(idxImages, []uint32{MaxImages + 1, 1, 1}, nil), goodLabels, "images", "dimension 0"},
		"overflow":           {idx(idxImages, []uint32{1<<32 - 1, 1<<32 - 1, 1<<32 - 1}, nil), goodLabels, "images", "dimension 0"},
		"trailing byte":      {append(bytes.Clone(goodImages), 0), goodLabels, "images", "data"},
		"trailing label":     {goodImages, append(bytes.Clone(goodLabels), 0), "labels", "data"},
		"count":              {goodImages, idx(idxLabels, []uint32{3}, ramp(3)), "labels", "number of labels"},
		"gzip cut in header": {gz(t, goodImages)[:5], goodLabels, "images", "gzip header"},
		"gzip checksum":      {spoilt(gz(t, goodImages), -8), goodLabels, "images", "data"},
		"after gzip":         {append(gz(t, goodImages), "junk"...), goodLabels, "images", "data"},
		"bomb":               {gz(t, append(bytes.Clone(goodImages), make([]byte, 1<<20)...)), goodLabels, "images", "data"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := readPair(c.images, c.labels)
			requireError(t, err, c.file, c.field)
		})
	}
}

// spoilt returns b with the byte at i, from the end when negative, changed.
func spoilt(b []byte, i int) []byte {
	b = bytes.Clone(b)
	b[(i+len(b))%len(b)] ^= 0x55
	return b
}

func TestIDXTruncated(t *testing.T) {
	for _, images := range [][]byte{goodImages, gz(t, goodImages)} {
		for n := range images {
			_, err := readPair(images[:n], goodLabels)
			requireError(t, err, "images", "")
		}
	}
	for n := range goodLabels {
		_, err := readPair(goodImages, goodLabels[:n])
		e := requireError(t, err, "labels", "")
		require.True(t, e.Err == io.EOF || e.Err == io.ErrUnexpectedEOF)
	}
}

// A header that claims the maximum must cost no more than the bytes after it.
func TestFalseClaimsAreCheap(t *testing.T) {
	claims := map[string]func() error{
		"idx": func() error {
			_, err := readPair(idx(idxImages, []uint32{2, 1 << 14, 1 << 14}, ramp(9)), goodLabels)
			return err
		},
		"npy": func() error {
			_, err := ReadNPY("a.npy", bytes.NewReader(npyFile("{'descr': '<f4', 'fortran_order': False, 'shape': (536870912,), }", 9)))
			return err
		},
		"png": func() error {
			_, err := LoadImages(pngClaiming(t, 1<<9, 1<<9))
			return err
		},
		"fortran": func() error {
			_, err := readSet(npz(t, pixels(0, 0)), &Options{})
			require.NoError(t, err)
			path := filepath.Join(t.TempDir(), "x.npy")
			require.NoError(t, os.WriteFile(path, npyFile("{'descr': '<f4', 'fortran_order': True, 'shape': (4, 1, 8192, 8192), }", 9), 0o666))
			_, err = Load(path)
			return err
		},
	}
	for name, read := range claims {
		t.Run(name, func(t *testing.T) {
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			err := read()
			runtime.ReadMemStats(&after)
			requireError(t, err, "", "")
			require.Less(t, after.TotalAlloc-before.TotalAlloc, uint64(2<<20))
		})
	}
}
