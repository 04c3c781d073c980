package dataset

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// npyFile is a format 1.0 file with the given header text and n bytes of data.
func npyFile(header string, n int) []byte {
	b := binary.LittleEndian.AppendUint16([]byte(npyMagic+"\x01\x00"), uint16(len(header)))
	return append(append(b, header...), ramp(n)...)
}

var roundTrips = []NamedArray{
	{Name: "f4", Shape: []int{2, 3}, Data: []float32{0, .25, -1, 3e38, float32(math.Inf(1)), 5e-45}},
	{Name: "f8", Shape: []int{1, 1, 2}, Data: []float64{math.Pi, math.Inf(-1)}},
	{Name: "u1", Shape: []int{3}, Data: []uint8{0, 7, 255}},
	{Name: "i4", Shape: []int{2}, Data: []int32{math.MinInt32, math.MaxInt32}},
	{Name: "i8", Shape: []int{2}, Data: []int64{math.MinInt64, math.MaxInt64}},
	{Name: "b1", Shape: []int{2, 1}, Data: []bool{true, false}},
	{Name: "scalar", Shape: []int{}, Data: []int64{10}},
	{Name: "empty", Shape: []int{0, 5}, Data: []float32{}},
	{Name: "large", Shape: []int{3 << 13}, Data: make([]int32, 3<<13)},
}

func TestNPYRoundTrip(t *testing.T) {
	for _, a := range roundTrips {
		t.Run(a.Name, func(t *testing.T) {
			var buf bytes.Buffer
			require.NoError(t, WriteNPY(&buf, a))
			got, err := ReadNPY("a.npy", &buf)
			require.NoError(t, err)
			got.Name = a.Name
			require.Equal(t, a, got)
		})
	}
}

// What numpy.save 2.4 writes, to the byte.
func TestWriteNPYLikeNumPy(t *testing.T) {
	for _, c := range []struct {
		a            NamedArray
		header, data string
	}{
		{
			NamedArray{Shape: []int{2, 3}, Data: []float32{0, .25, .5, .75, 1, 1.25}},
			"'<f4', 'fortran_order': False, 'shape': (2, 3), }",
			"\x00\x00\x00\x00\x00\x00\x80>\x00\x00\x00?\x00\x00@?\x00\x00\x80?\x00\x00\xa0?",
		},
		{
			NamedArray{Shape: []int{2}, Data: []int64{-1, 1 << 40}},
			"'<i8', 'fortran_order': False, 'shape': (2,), }",
			"\xff\xff\xff\xff\xff\xff\xff\xff\x00\x00\x00\x00\x00\x01\x00\x00",
		},
		{NamedArray{Shape: []int{}, Data: []bool{true}}, "'|b1', 'fortran_order': False, 'shape': (), }", "\x01"},
		{NamedArray{Shape: []int{0, 5}, Data: []uint8{}}, "'|u1', 'fortran_order': False, 'shape': (0, 5), }", ""},
	} {
		head := "\x93NUMPY\x01\x00v\x00{'descr': " + c.header
		head += strings.Repeat(" ", 127-len(head)) + "\n"
		var buf bytes.Buffer
		require.NoError(t, WriteNPY(&buf, c.a))
		require.Equal(t, head+c.data, buf.String())
	}
}

func TestReadNPYHeaders(t *testing.T) {
	for name, b := range map[string][]byte{
		"version 2":     []byte("\x93NUMPY\x02\x00\x39\x00\x00\x00{'descr': '<i4', 'fortran_order': False, 'shape': (2,)}  \x01\x00\x00\x00\x02\x00\x00\x00"),
		"version 3":     []byte("\x93NUMPY\x03\x00\x39\x00\x00\x00{'descr': '<i4', 'fortran_order': False, 'shape': (2,)}  \x01\x00\x00\x00\x02\x00\x00\x00"),
		"another order": []byte("\x93NUMPY\x01\x00\x39\x00{\"shape\":(2,) ,'fortran_order':False,'descr':'<i4',}    \n\x01\x00\x00\x00\x02\x00\x00\x00"),
	} {
		t.Run(name, func(t *testing.T) {
			a, err := ReadNPY("a.npy", bytes.NewReader(b))
			require.NoError(t, err)
			require.Equal(t, NamedArray{Shape: []int{2}, Data: []int32{1, 2}}, a)
		})
	}
}

func TestReadNPYBad(t *testing.T) {
	dict := func(descr, order, shape string) []byte {
		return npyFile(fmt.Sprintf("{'descr': %s, 'fortran_order': %s, 'shape': %s, }", descr, order, shape), 8)
	}
	for name, c := range map[string]struct {
		data  []byte
		field string
	}{
		"empty":              {nil, "magic string"},
		"magic":              {spoilt(dict("'<f4'", "False", "(2,)"), 1), "magic string"},
		"version":            {spoilt(dict("'<f4'", "False", "(2,)"), 6), "version"},
		"length":             {[]byte("\x93NUMPY\x02\x00\xff\xff\xff\xff{"), "header length"},
		"big-endian":         {dict("'>f4'", "False", "(2,)"), "dtype"},
		"half":               {dict("'<f2'", "False", "(4,)"), "dtype"},
		"structured":         {dict("[('a', '<f4')]", "False", "(2,)"), "dtype"},
		"object":             {dict("'|O'", "False", "(1,)"), "dtype"},
		"fortran order":      {dict("'<f4'", "True", "(2,)"), "fortran_order"},
		"negative":           {dict("'<f4'", "False", "(-2,)"), "shape"},
		"not a tuple":        {dict("'<f4'", "False", "(2)"), "shape"},
		"list":               {dict("'<f4'", "False", "[2]"), "shape"},
		"digits":             {dict("'<f4'", "False", "(99999999999999999999,)"), "shape"},
		"rank":               {dict("'|u1'", "False", "("+strings.Repeat("1,", 33)+")"), "shape"},
		"overflow":           {dict("'|u1'", "False", "(4294967296, 4294967296, 1)"), "shape"},
		"maximum":            {dict("'<f8'", "False", "(268435457,)"), "shape"},
		"zero times too big": {dict("'<f8'", "False", "(0, 9223372036854775807)"), "shape"},
		"more than there is": {dict("'<f8'", "False", "(2,)"), "data"},
		"less than there is": {dict("'<f4'", "False", "(1,)"), "data"},
		"bool":               {dict("'|b1'", "False", "(8,)"), "element 2"},
		"no dictionary":      {npyFile("[]", 0), "header"},
		"not closed":         {npyFile("{'descr': '<f4'", 0), "header"},
		"key missing":        {npyFile("{'descr': '<f4', 'fortran_order': False}", 8), "header"},
		"key twice":          {npyFile("{'descr': '<f4', 'descr': '<f4'}", 8), "header"},
		"key unknown":        {npyFile("{'order': 'C'}", 8), "header key"},
		"key is a number":    {npyFile("{1: 'C'}", 8), "header"},
		"after dictionary":   {npyFile("{'descr': '<f4', 'fortran_order': False, 'shape': (2,)} 7", 8), "header"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := ReadNPY("a.npy", bytes.NewReader(c.data))
			requireError(t, err, "a.npy", c.field)
		})
	}
}

func TestReadNPYTruncated(t *testing.T) {
	var buf bytes.Buffer
	require.NoError(t, WriteNPY(&buf, roundTrips[0]))
	for n := range buf.Len() {
		_, err := ReadNPY("a.npy", bytes.NewReader(buf.Bytes()[:n]))
		requireError(t, err, "a.npy", "")
	}
}

func TestWriteNPYBad(t *testing.T) {
	for name, a := range map[string]NamedArray{
		"type":     {Shape: []int{1}, Data: []string{"a"}},
		"no data":  {Shape: []int{1}},
		"shape":    {Shape: []int{2, 2}, Data: make([]float32, 3)},
		"negative": {Shape: []int{-1, -3}, Data: make([]float32, 3)},
		"rank":     {Shape: make([]int, 33), Data: []float32{}},
	} {
		t.Run(name, func(t *testing.T) {
			var buf bytes.Buffer
			require.Error(t, WriteNPY(&buf, a))
			require.Zero(t, buf.Len())
		})
	}
	for n := range 3 {
		a := NamedArray{Shape: []int{1 << 14}, Data: make([]float32, 1<<14)}
		require.ErrorIs(t, WriteNPY(&fullDisk{n}, a), errFull)
	}
}

var errFull = errors.New("disk full")

// fullDisk fails after a number of writes.
type fullDisk struct{ left int }

func (d *fullDisk) Write(b []byte) (int, error) {
	if d.left--; d.left < 0 {
		return 0, errFull
	}
	return len(b), nil
}
