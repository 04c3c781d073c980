package dataset

import (
	"archive/zip"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"math"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

func readNPZ(b []byte, names ...string) ([]NamedArray, error) {
	return ReadNPZ("a.npz", bytes.NewReader(b), int64(len(b)), names...)
}

func readSet(b []byte, o *Options) (*Set, error) {
	return setFromNPZ("a.npz", bytes.NewReader(b), int64(len(b)), "", o)
}

// deflated packs the same arrays as numpy.savez_compressed would.
func deflated(t testing.TB, arrays ...NamedArray) []byte {
	t.Helper()
	var buf bytes.Buffer
	z := zip.NewWriter(&buf)
	for _, a := range arrays {
		m, err := z.Create(a.Name + ".npy")
		require.NoError(t, err)
		require.NoError(t, WriteNPY(m, a))
	}
	require.NoError(t, z.Close())
	return buf.Bytes()
}

func TestNPZRoundTrip(t *testing.T) {
	for _, b := range [][]byte{npz(t, roundTrips...), deflated(t, roundTrips...)} {
		got, err := readNPZ(b)
		require.NoError(t, err)
		require.Equal(t, roundTrips, got)

		got, err = readNPZ(b, "i8", "f4")
		require.NoError(t, err)
		require.Equal(t, []NamedArray{roundTrips[4], roundTrips[0]}, got)
	}
	got, err := readNPZ(npz(t))
	require.NoError(t, err)
	require.Empty(t, got)
}

// The sum guards the promise that the same arrays give the same bytes, with any
// version of Go and on any machine.
func TestWriteNPZIsDeterministic(t *testing.T) {
	sum := sha256.Sum256(npz(t, roundTrips...))
	require.Equal(t, "d2fd31d9c1090b6cd3cbb354f9f14f52c70042474bfbddfe7eb55dd04f814b8b", hex.EncodeToString(sum[:]))
}

func TestWriteNPZBad(t *testing.T) {
	a := roundTrips[0]
	for name, arrays := range map[string][]NamedArray{
		"no name": {{Shape: a.Shape, Data: a.Data}},
		"twice":   {a, a},
		"shape":   {{Name: "a", Shape: []int{7}, Data: a.Data}},
	} {
		t.Run(name, func(t *testing.T) {
			require.Error(t, WriteNPZ(&bytes.Buffer{}, arrays))
		})
	}
	require.ErrorIs(t, WriteNPZ(&fullDisk{}, roundTrips), errFull)
}

func TestReadNPZBad(t *testing.T) {
	good := npz(t, roundTrips[0])
	_, err := readNPZ(good, "f4", "y")
	requireError(t, err, "a.npz", "arrays")
	_, err = readNPZ(npz(t), "y")
	requireError(t, err, "a.npz", "arrays")
	_, err = readNPZ([]byte("not a zip"))
	requireError(t, err, "a.npz", "archive")

	var buf bytes.Buffer
	z := zip.NewWriter(&buf)
	for range 2 {
		m, err := z.Create("f4.npy")
		require.NoError(t, err)
		require.NoError(t, WriteNPY(m, roundTrips[0]))
	}
	require.NoError(t, z.Close())
	_, err = readNPZ(buf.Bytes())
	requireError(t, err, "a.npz", "member")

	buf.Reset()
	z = zip.NewWriter(&buf)
	_, err = z.Create("readme.txt")
	require.NoError(t, err)
	require.NoError(t, z.Close())
	_, err = readNPZ(buf.Bytes())
	requireError(t, err, "a.npz", "member")

	// Sizes count in the sum, whatever the member really holds.
	buf.Reset()
	z = zip.NewWriter(&buf)
	_, err = z.CreateRaw(&zip.FileHeader{Name: "x.npy", Method: zip.Deflate, UncompressedSize64: uint64(MaxBytes) + 1})
	require.NoError(t, err)
	require.NoError(t, z.Close())
	_, err = readNPZ(buf.Bytes())
	requireError(t, err, "a.npz(x.npy)", "size")

	// One byte of the data changed: the checksum of the archive must tell.
	at := bytes.Index(good, []byte{0, 0, 0x80, 0x3e}) // 0.25
	require.Positive(t, at)
	_, err = readNPZ(spoilt(good, at))
	requireError(t, err, "a.npz(f4.npy)", "data")
}

func TestReadNPZTruncated(t *testing.T) {
	b := npz(t, roundTrips[:2]...)
	for n := range b {
		_, err := readNPZ(b[:n])
		requireError(t, err, "a.npz", "")
	}
}

func pixels(v ...float32) NamedArray {
	return NamedArray{Name: "x", Shape: []int{len(v) / 2, 1, 2}, Data: v}
}

func labels[T int64 | int32 | uint8](v ...T) NamedArray {
	return NamedArray{Name: "y", Shape: []int{len(v)}, Data: v}
}

func TestNPZSet(t *testing.T) {
	bytesX := NamedArray{Name: "x", Shape: []int{2, 1, 1, 2}, Data: []uint8{0, 51, 102, 255}}
	doubleX := NamedArray{Name: "x", Shape: []int{2, 1, 2}, Data: []float64{0, .2, .4, 1}}
	classes := NamedArray{Name: "classes", Shape: []int{}, Data: []int64{3}}
	other := NamedArray{Name: "success", Shape: []int{2}, Data: []bool{true, false}}
	for name, c := range map[string]struct {
		arrays  []NamedArray
		classes int
	}{
		"floats":  {[]NamedArray{pixels(0, .2, .4, 1), labels[int64](2, 0)}, 10},
		"doubles": {[]NamedArray{doubleX, labels[int32](2, 0), other}, 10},
		"bytes":   {[]NamedArray{labels[uint8](2, 0), bytesX, classes}, 3},
	} {
		t.Run(name, func(t *testing.T) {
			for _, b := range [][]byte{npz(t, c.arrays...), deflated(t, c.arrays...)} {
				s, err := readSet(b, &Options{})
				require.NoError(t, err)
				require.NoError(t, s.Validate())
				require.Equal(t, &Set{C: 1, H: 1, W: 2, X: []float32{0, .2, .4, 1}, Y: []int{2, 0}, Classes: c.classes}, s)
			}
		})
	}
	s, err := readSet(npz(t, pixels(0, 0), labels[int64](99)), &Options{})
	require.NoError(t, err)
	require.Equal(t, 100, s.Classes)
}

func TestNPZSetBad(t *testing.T) {
	nan, inf := float32(math.NaN()), float32(math.Inf(1))
	x, y := pixels(0, .2, .4, 1), labels[int64](2, 0)
	classes := func(v ...int64) NamedArray { return NamedArray{Name: "classes", Shape: []int{len(v)}, Data: v} }
	for name, c := range map[string]struct {
		arrays      []NamedArray
		file, field string
	}{
		"no x":           {[]NamedArray{y}, "a.npz", "arrays"},
		"two x":          {[]NamedArray{x, {Name: "images", Shape: x.Shape, Data: x.Data}, y}, "a.npz", "arrays"},
		"two y":          {[]NamedArray{x, y, {Name: "labels", Shape: y.Shape, Data: y.Data}}, "a.npz", "arrays"},
		"x and x_test":   {[]NamedArray{x, y, {Name: "x_test", Shape: x.Shape, Data: x.Data}}, "a.npz", "arrays"},
		"NaN":            {[]NamedArray{pixels(0, 0, 0, nan), y}, "(x.npy)", "image 1, pixel (channel 0, row 0, column 1)"},
		"infinity":       {[]NamedArray{pixels(0, 0, inf, 0), y}, "(x.npy)", "image 1, pixel (channel 0, row 0, column 0)"},
		"above 1":        {[]NamedArray{pixels(0, 1.5, 0, 0), y}, "(x.npy)", "image 0, pixel (channel 0, row 0, column 1)"},
		"below 0":        {[]NamedArray{pixels(-1e-9, 0, 0, 0), y}, "(x.npy)", "image 0"},
		"above 1 by ulp": {[]NamedArray{{Name: "x", Shape: []int{1, 1, 1}, Data: []float64{math.Nextafter(1, 2)}}, labels[int64](0)}, "(x.npy)", "image 0"},
		"rank":           {[]NamedArray{{Name: "x", Shape: []int{2, 2}, Data: x.Data}, y}, "(x.npy)", "shape"},
		"no image":       {[]NamedArray{{Name: "x", Shape: []int{0, 1, 2}, Data: []float32{}}, labels[int64]()}, "(x.npy)", "number of images"},
		"x above 255":    {[]NamedArray{{Name: "x", Shape: []int{2, 1, 1}, Data: []int64{0, 256}}, y}, "(x.npy)", "image 1, pixel (channel 0, row 0, column 0)"},
		"x bools":        {[]NamedArray{{Name: "x", Shape: []int{2, 1, 1}, Data: []bool{true, false}}, y}, "(x.npy)", "dtype"},
		"count":          {[]NamedArray{x, labels[int64](1, 2, 3)}, "(y.npy)", "shape"},
		"y rank":         {[]NamedArray{x, {Name: "y", Shape: []int{2, 1, 1}, Data: y.Data}}, "(y.npy)", "shape"},
		"y floats":       {[]NamedArray{x, {Name: "y", Shape: []int{2}, Data: []float32{0, 1}}}, "(y.npy)", "dtype"},
		"negative label": {[]NamedArray{x, labels[int64](0, -2)}, "(y.npy)", "label of image 1"},
		"absurd label":   {[]NamedArray{x, labels[int64](0, math.MaxInt64)}, "(y.npy)", "label of image 1"},
		"label, classes": {[]NamedArray{x, labels[int32](0, 3), classes(3)}, "(y.npy)", "label of image 1"},
		"no classes":     {[]NamedArray{x, y, classes(0)}, "(classes.npy)", "value"},
		"many classes":   {[]NamedArray{x, y, classes(3, 4)}, "(classes.npy)", "shape"},
		"float classes":  {[]NamedArray{x, y, {Name: "classes", Shape: []int{}, Data: []float32{3}}}, "(classes.npy)", "shape"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := readSet(npz(t, c.arrays...), &Options{})
			requireError(t, err, c.file, c.field)
		})
	}
}

func TestLoadNPZ(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.npz")
	_, err := LoadNPZ(path)
	requireError(t, err, path, "path")
	require.ErrorIs(t, err, os.ErrNotExist)
	require.NoError(t, os.WriteFile(path, npz(t, pixels(0, 1), labels[int64](7)), 0o666))
	s, err := LoadNPZ(path)
	require.NoError(t, err)
	require.Equal(t, []int{7}, s.Y)
}
