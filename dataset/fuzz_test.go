package dataset

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/require"
)

// Whatever the bytes, a reader either returns an *Error or a set that passes
// Validate; and it never panics.

func checkSet(t *testing.T, s *Set, err error) {
	if err != nil {
		requireError(t, err, "", "")
		return
	}
	s.Name = "fuzz"
	require.NoError(t, s.Validate())
	require.Positive(t, s.Len())
}

func FuzzIDX(f *testing.F) {
	f.Add(goodImages, goodLabels)
	f.Add(gz(f, goodImages), gz(f, goodLabels))
	f.Add(goodLabels, goodImages)
	f.Add(goodImages[:len(goodImages)-1], goodLabels)
	f.Add(idx(idxImages, []uint32{1<<32 - 1, 1<<32 - 1, 1}, nil), goodLabels)
	f.Add(idx(idxImages, []uint32{1 << 29, 1, 1}, ramp(9)), goodLabels)
	f.Fuzz(func(t *testing.T, images, labels []byte) {
		s, err := readPair(images, labels)
		checkSet(t, s, err)
	})
}

func FuzzCIFAR(f *testing.F) {
	f.Add(cifar(3))
	f.Add(cifar(3, 10))
	f.Add(gz(f, cifar(0, 9)))
	f.Add(cifar(1)[:100])
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := ReadCIFAR10("fuzz", bytes.NewReader(b))
		checkSet(t, s, err)
	})
}

func FuzzNPY(f *testing.F) {
	for _, a := range roundTrips[:8] {
		var buf bytes.Buffer
		require.NoError(f, WriteNPY(&buf, a))
		f.Add(buf.Bytes())
	}
	f.Add(npyFile("{'descr': '<f8', 'fortran_order': True, 'shape': (1, 1), }", 8))
	f.Add(npyFile("{'descr': '|u1', 'fortran_order': False, 'shape': (0, 9223372036854775807), }", 0))
	f.Add(npyFile("{\"descr\": \"|u1\", 'fortran_order': False, 'shape': (268435456,), }", 9))
	f.Fuzz(func(t *testing.T, b []byte) {
		a, err := ReadNPY("fuzz", bytes.NewReader(b))
		if err != nil {
			requireError(t, err, "", "")
			return
		}
		// What was read must write, and read back as the same array.
		var first, second bytes.Buffer
		require.NoError(t, WriteNPY(&first, a))
		again, err := ReadNPY("again", bytes.NewReader(first.Bytes()))
		require.NoError(t, err)
		require.NoError(t, WriteNPY(&second, again))
		require.Equal(t, first.Bytes(), second.Bytes())
	})
}

func FuzzNPZ(f *testing.F) {
	arrays := []NamedArray{pixels(0, .5, 1, .25), labels[int64](3, 4)}
	f.Add(npz(f, arrays...))
	f.Add(deflated(f, arrays...))
	f.Add(npz(f, append(arrays, NamedArray{Name: "classes", Shape: []int{}, Data: []uint8{5}})...))
	f.Add(npz(f, pixels(0, 2), labels[uint8](1)))
	f.Add(npz(f, arrays...)[:300])
	f.Add(npz(f))
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := readSet(b, &Options{})
		checkSet(t, s, err)
	})
}
