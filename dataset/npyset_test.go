package dataset

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/epsball/epsball/internal/half"
)

// array encodes values, in C order, as an .npy file of any type and order.
func array(descr string, fortran bool, v []float64, shape ...int) []byte {
	t, order, n := parseDType(descr), "False", len(v)
	if fortran {
		order = "True"
	}
	dims := strings.Trim(strings.ReplaceAll(fmt.Sprint(shape), " ", ", "), "[]") + ","
	b := npyFile(fmt.Sprintf("{'descr': '%s', 'fortran_order': %s, 'shape': (%s), }", descr, order, dims), 0)
	for k := range n {
		i := k
		if fortran { // element k in memory: its first index changes fastest
			i = 0
			stride, rest := n, k
			for _, d := range shape {
				stride /= d
				i += rest % d * stride
				rest /= d
			}
		}
		e := make([]byte, 8)
		switch x := v[i]; {
		case t.kind == 'f' && t.size == 2:
			binary.LittleEndian.PutUint16(e, half.ToF16(float32(x)))
		case t.kind == 'f' && t.size == 4:
			binary.LittleEndian.PutUint32(e, math.Float32bits(float32(x)))
		case t.kind == 'f':
			binary.LittleEndian.PutUint64(e, math.Float64bits(x))
		default:
			binary.LittleEndian.PutUint64(e, uint64(int64(x)))
		}
		e = e[:t.size]
		if t.big {
			for a, z := 0, len(e)-1; a < z; a, z = a+1, z-1 {
				e[a], e[z] = e[z], e[a]
			}
		}
		b = append(b, e...)
	}
	return b
}

// counting is 0, 1, … n−1, divided.
func counting(n int, by float64) []float64 {
	v := make([]float64, n)
	for i := range v {
		v[i] = float64(i) / by
	}
	return v
}

// last moves the channels of N×C×H×W to the end.
func last(v []float64, n int, s Shape) []float64 {
	out := make([]float64, 0, len(v))
	for i := range n {
		for p := range s.H * s.W {
			for c := range s.C {
				out = append(out, v[(i*s.C+c)*s.H*s.W+p])
			}
		}
	}
	return out
}

// Every type, order of memory and order of axes gives the same set, whole and in
// parts.
func TestArraysOfImages(t *testing.T) {
	const n = 4
	shape := Shape{3, 2, 5}
	for _, descr := range strings.Fields("|u1 <i2 >i2 <u2 <i4 >i4 <u4 <i8 <u8 >u8 <f2 >f2 <f4 >f4 <f8 >f8 |i1") {
		v, want := counting(n*30, 1), appendScaled(nil, ramp(n*30))
		if strings.Contains(descr, "f") {
			v = counting(n*30, 128)
			for i := range want {
				want[i] = float32(v[i])
			}
		}
		for _, fortran := range []bool{false, true} {
			for name, b := range map[string][]byte{
				"first": array(descr, fortran, v, n, 3, 2, 5),
				"last":  array(descr, fortran, last(v, n, shape), n, 2, 5, 3),
				"flat":  array(descr, fortran, v, n, 30),
			} {
				t.Run(fmt.Sprint(descr, fortran, name), func(t *testing.T) {
					path := filepath.Join(folder(t, map[string][]byte{"a.npy": b}), "a.npy")
					for _, r := range [][2]int{{0, 0}, {0, 1}, {1, 2}, {3, 1}} {
						o := Options{Input: shape, Offset: r[0], N: r[1]}
						if name == "flat" {
							_, err := LoadWith(path, o)
							e := requireError(t, err, "a.npy", "shape")
							require.Contains(t, e.Want, "--channels")
							o.Channels = ChannelsFirst
						}
						s, err := LoadWith(path, o)
						require.NoError(t, err)
						require.NoError(t, s.Validate())
						hi := r[0] + r[1]
						if r[1] == 0 {
							hi = n
						}
						require.Equal(t, shape, s.Shape())
						require.Equal(t, want[r[0]*30:hi*30], s.X)
						require.Len(t, s.Y, hi-r[0])
					}
					o := Options{Input: shape, Offset: 3, N: 2}
					_, err := LoadWith(path, o)
					var e *RangeError
					if name != "flat" {
						require.ErrorAs(t, err, &e)
						require.Equal(t, RangeError{3, 2, n}, *e)
					}
				})
			}
		}
	}
}

// The rule of docs/data.md: what alone fits is taken, channels come first where
// nothing decides, and two readings that fit and differ are an error.
func TestOrderOfChannels(t *testing.T) {
	auto, first, end := ChannelsAuto, ChannelsFirst, ChannelsLast
	for _, c := range []struct {
		shape []int
		input Shape
		order ChannelOrder
		want  Shape // zero: ambiguous
		last  bool
	}{
		{[]int{2, 3, 4, 4}, Shape{}, auto, Shape{3, 4, 4}, false},
		{[]int{2, 4, 4, 3}, Shape{}, auto, Shape{4, 4, 3}, false},
		{[]int{2, 4, 4, 3}, Shape{}, end, Shape{3, 4, 4}, true},
		{[]int{2, 3, 4, 4}, Shape{3, 4, 4}, auto, Shape{3, 4, 4}, false},
		{[]int{2, 4, 4, 3}, Shape{3, 4, 4}, auto, Shape{3, 4, 4}, true},
		{[]int{2, 3, 3, 3}, Shape{3, 3, 3}, auto, Shape{}, false},
		{[]int{2, 3, 3, 3}, Shape{3, 3, 3}, first, Shape{3, 3, 3}, false},
		{[]int{2, 3, 3, 3}, Shape{3, 3, 3}, end, Shape{3, 3, 3}, true},
		{[]int{2, 1, 1, 1}, Shape{1, 1, 1}, auto, Shape{1, 1, 1}, false},
		{[]int{2, 4, 4, 1}, Shape{1, 4, 4}, auto, Shape{1, 4, 4}, true},
		{[]int{2, 4, 5}, Shape{1, 4, 5}, auto, Shape{1, 4, 5}, false},
		{[]int{2, 20}, Shape{1, 4, 5}, auto, Shape{1, 4, 5}, false},
		{[]int{2, 60}, Shape{3, 4, 5}, auto, Shape{}, false},
		{[]int{2, 60}, Shape{3, 4, 5}, first, Shape{3, 4, 5}, false},
		{[]int{2, 60}, Shape{3, 4, 5}, end, Shape{3, 4, 5}, true},
		// A model that takes a vector.
		{[]int{2, 60}, Shape{60, 1, 1}, auto, Shape{60, 1, 1}, false},
		{[]int{2, 1, 4, 5}, Shape{20, 1, 1}, auto, Shape{1, 4, 5}, false},
		{[]int{2, 4, 5, 1}, Shape{20, 1, 1}, auto, Shape{4, 5, 1}, false},
		{[]int{2, 3, 4, 5}, Shape{60, 1, 1}, auto, Shape{3, 4, 5}, false},
		{[]int{2, 4, 5, 3}, Shape{60, 1, 1}, auto, Shape{3, 4, 5}, true},
		{[]int{2, 3, 5, 3}, Shape{45, 1, 1}, auto, Shape{}, false},
		{[]int{2, 8, 2, 2}, Shape{32, 1, 1}, auto, Shape{8, 2, 2}, false},
	} {
		t.Run(fmt.Sprint(c.shape, c.input, c.order), func(t *testing.T) {
			n := 1
			for _, d := range c.shape {
				n *= d
			}
			v := counting(n, 128)
			path := filepath.Join(folder(t, map[string][]byte{"a.npy": array("<f8", false, v, c.shape...)}), "a.npy")
			s, err := LoadWith(path, Options{Input: c.input, Channels: c.order})
			if c.want == (Shape{}) {
				e := requireError(t, err, "a.npy", "shape")
				require.Contains(t, e.Want, "--channels first or --channels last")
				return
			}
			require.NoError(t, err)
			require.Equal(t, c.want, s.Shape())
			want := make([]float32, n)
			for i, e := range v {
				want[i] = float32(e)
			}
			if c.last {
				x := make([]float64, n)
				for i, e := range s.X {
					x[i] = float64(e)
				}
				require.Equal(t, v, last(x, c.shape[0], s.Shape()))
			} else {
				require.Equal(t, want, s.X)
			}
		})
	}
}

func TestArraysThatDoNotFit(t *testing.T) {
	for name, c := range map[string]struct {
		shape []int
		want  string
	}{
		"one number":   {nil, "N×C×H×W"},
		"a vector":     {[]int{20}, "N×C×H×W"},
		"five axes":    {[]int{1, 2, 1, 4, 5}, "N×C×H×W"},
		"flat":         {[]int{2, 21}, "N×20"},
		"other size":   {[]int{2, 1, 4, 6}, "1x4x5, the input of the model"},
		"other colour": {[]int{2, 3, 4, 5}, "1x4x5, the input of the model"},
	} {
		t.Run(name, func(t *testing.T) {
			n := 1
			for _, d := range c.shape {
				n *= d
			}
			b := array("<f8", false, make([]float64, n), c.shape...)
			if c.shape == nil {
				b = append(npyFile("{'descr': '<f8', 'fortran_order': False, 'shape': (), }", 0), make([]byte, 8)...)
			}
			path := filepath.Join(folder(t, map[string][]byte{"a.npy": b}), "a.npy")
			_, err := LoadWith(path, Options{Input: Shape{1, 4, 5}})
			require.Contains(t, requireError(t, err, "a.npy", "shape").Want, c.want)
		})
	}
}

// A range of values says what went wrong.
func TestBadPixelsNameTheCure(t *testing.T) {
	for name, c := range map[string]struct {
		descr string
		v     []float64
		field string
		want  string
	}{
		"0 to 255":   {"<f4", []float64{0, .5, 17, 255}, "image 1, pixel (channel 0, row 0, column 0)", "divide by 255"},
		"normalized": {"<f4", []float64{0, .5, -1.7, 2.5}, "image 1", "let the model normalize"},
		"-1 to 1":    {"<f8", []float64{0, .5, -1, 1}, "image 1", "(x+1)/2"},
		"16 bits":    {"<u2", []float64{0, 255, 65535, 1}, "image 1", "whole number from 0 to 255"},
		"NaN":        {"<f8", []float64{0, .5, math.NaN(), 255}, "image 1", "a number in [0,1]"},
		"just above": {"<f8", []float64{0, 1.0001, 0, 1}, "image 0", "a number in [0,1]"},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(folder(t, map[string][]byte{"a.npy": array(c.descr, false, c.v, 2, 1, 2)}), "a.npy")
			_, err := Load(path)
			e := requireError(t, err, "a.npy", c.field)
			require.Contains(t, e.Want, c.want)
			require.Equal(t, name == "NaN" || name == "just above", e.Want == "a number in [0,1]")
			// The index is that in the file.
			if c.field != "image 0" {
				_, err = LoadWith(path, Options{Offset: 1})
				requireError(t, err, "a.npy", "image 1, pixel (channel 0, row 0, column 0)")
			}
		})
	}
}

func TestArraysOfLabels(t *testing.T) {
	x := array("|u1", false, make([]float64, 3), 3, 1, 1)
	hot := []float64{0, 0, 1, 0, 1, 0, 0, 0, 0, 0, 0, 1}
	for name, c := range map[string]struct {
		y       []byte
		want    []int
		classes int
	}{
		"int8":            {array("|i1", false, []float64{2, -1, 3}, 3), []int{2, Unknown, 3}, 10},
		"uint16":          {array("<u2", false, []float64{2, 1, 30}, 3), []int{2, 1, 30}, 31},
		"big-endian":      {array(">i8", false, []float64{2, 1, 3}, 3), []int{2, 1, 3}, 10},
		"a column":        {array("<i4", false, []float64{2, 1, 3}, 3, 1), []int{2, 1, 3}, 10},
		"one-hot":         {array("<f4", false, hot, 3, 4), []int{2, 0, 3}, 4},
		"one-hot Fortran": {array("|u1", true, hot, 3, 4), []int{2, 0, 3}, 4},
	} {
		t.Run(name, func(t *testing.T) {
			dir := folder(t, map[string][]byte{"x.npy": x, "y.npy": c.y})
			s, err := Load(filepath.Join(dir, "x.npy"))
			require.NoError(t, err)
			require.Equal(t, c.want, s.Y)
			require.Equal(t, c.classes, s.Classes)
			s, err = LoadWith(filepath.Join(dir, "x.npy"), Options{Offset: 1, N: 1})
			require.NoError(t, err)
			require.Equal(t, c.want[1:2], s.Y)
		})
	}
	for name, c := range map[string]struct {
		y     []byte
		field string
	}{
		"count":          {array("<i4", false, []float64{2, 1}, 2), "shape"},
		"row":            {array("<i4", false, []float64{2, 1, 0}, 1, 3), "shape"},
		"floats":         {array("<f4", false, []float64{2, 1, 3}, 3), "dtype"},
		"below":          {array("<i4", false, []float64{2, -2, 3}, 3), "label of image 1"},
		"above":          {array("<i8", false, []float64{2, 1 << 40, 3}, 3), "label of image 1"},
		"probabilities":  {array("<f4", false, []float64{.5, .5, 1, 0, 0, 1}, 3, 2), "label of image 0"},
		"two ones":       {array("<f4", false, []float64{0, 1, 1, 1, 0, 1}, 3, 2), "label of image 1"},
		"no one":         {array("<f4", false, []float64{0, 1, 1, 0, 0, 0}, 3, 2), "label of image 2"},
		"trailing bytes": {append(array("<i4", false, []float64{2, 1, 3}, 3), 0), "data"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Load(filepath.Join(folder(t, map[string][]byte{"x.npy": x, "y.npy": c.y}), "x.npy"))
			requireError(t, err, "y.npy", c.field)
		})
	}
}

func TestLabelsBesideAnArray(t *testing.T) {
	x := array("|u1", false, make([]float64, 2), 2, 1, 1)
	y := array("|u1", false, []float64{4, 5}, 2)
	z := array("|u1", false, []float64{6, 7}, 2)
	for name, c := range map[string]struct {
		images string
		files  map[string][]byte
		want   []int
	}{
		"none":         {"photos.npy", map[string][]byte{"other.npy": y}, []int{Unknown, Unknown}},
		"y":            {"x.npy", map[string][]byte{"y.npy": y, "labels.npy": z}, []int{4, 5}},
		"y_test":       {"x_test.npy", map[string][]byte{"y_test.npy": y, "y_train.npy": z, "y.npy": z}, []int{4, 5}},
		"Y":            {"X.npy", map[string][]byte{"Y.npy": y}, []int{4, 5}},
		"X and y":      {"X-val.npy", map[string][]byte{"y-val.npy": y}, []int{4, 5}},
		"test_labels":  {"test_images.npy", map[string][]byte{"test_labels.npy": y}, []int{4, 5}},
		"data":         {"data.npy", map[string][]byte{"labels.npy": y}, []int{4, 5}},
		"labels":       {"photos.npy", map[string][]byte{"labels.npy": y}, []int{4, 5}},
		"csv":          {"photos.npy", map[string][]byte{"labels.csv": []byte("index,label\n1,8\n0,\n")}, []int{Unknown, 8}},
		"csv, partial": {"photos.npy", map[string][]byte{"labels.csv": []byte("1,8")}, []int{Unknown, 8}},
	} {
		t.Run(name, func(t *testing.T) {
			c.files[c.images] = x
			s, err := Load(filepath.Join(folder(t, c.files), c.images))
			require.NoError(t, err)
			require.Equal(t, c.want, s.Y)
		})
	}
	dir := folder(t, map[string][]byte{"a.npy": x, "labels.npy": y, "labels.csv": []byte("0,1")})
	_, err := Load(filepath.Join(dir, "a.npy"))
	requireError(t, err, "a.npy", "labels")
	dir = folder(t, map[string][]byte{"a.npy": x, "labels.csv": []byte("2,1")})
	_, err = Load(filepath.Join(dir, "a.npy"))
	requireError(t, err, "labels.csv", "line 1")
}

func TestNamesInNPZ(t *testing.T) {
	put := func(v byte) func(string) NamedArray {
		return func(name string) NamedArray {
			if strings.ContainsAny(name[:1], "yYlt") && !strings.HasSuffix(name, "images") || name == "arr_1" {
				return NamedArray{Name: name, Shape: []int{1}, Data: []uint8{v}}
			}
			return NamedArray{Name: name, Shape: []int{1, 1, 1}, Data: []uint8{v}}
		}
	}
	for _, c := range []struct {
		names, part string
		images      int // index in names
		labels      int // −1: none
	}{
		{"x y", "", 0, 1},
		{"x pred success", "", 0, -1},
		{"Y X", "", 1, 0},
		{"images labels", "", 0, 1},
		{"data targets", "", 0, 1},
		{"x_train y_train x_test y_test", "", 2, 3},
		{"x_train y_train x_test y_test", "train", 0, 1},
		{"x_train y_train", "", 0, 1},
		{"train_images val_images test_images train_labels val_labels test_labels", "", 2, 5},
		{"arr_0 arr_1", "", 0, 1},
		{"arr_0", "", 0, -1},
	} {
		t.Run(c.names+c.part, func(t *testing.T) {
			var arrays []NamedArray
			for i, name := range strings.Fields(c.names) {
				arrays = append(arrays, put(byte(i))(name))
			}
			b := npz(t, arrays...)
			s, err := setFromNPZ("a.npz", bytes.NewReader(b), int64(len(b)), c.part, &Options{})
			require.NoError(t, err)
			require.Equal(t, scaled[c.images:c.images+1], s.X)
			require.Equal(t, []int{c.labels}, s.Y)
		})
	}
	path := filepath.Join(t.TempDir(), "a.npz")
	require.NoError(t, os.WriteFile(path, npz(t, put(0)("x_train"), put(1)("y_train")), 0o666))
	s, err := Load(path + "#train")
	require.NoError(t, err)
	require.Equal(t, "a.npz#train", s.Name)
	_, err = Load(path + "#test")
	requireError(t, err, "a.npz", "#test")
}
