package onnx

import (
	"encoding/binary"
	"fmt"
	"math"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/epsball/epsball/internal/half"
	"github.com/epsball/epsball/model"
)

// Element types of tensors that are read.
const (
	typeFloat    = 1
	typeInt32    = 6
	typeInt64    = 7
	typeFloat16  = 10
	typeDouble   = 11
	typeBFloat16 = 16
)

var typeNames = map[int64]string{
	1: "FLOAT", 2: "UINT8", 3: "INT8", 4: "UINT16", 5: "INT16", 6: "INT32", 7: "INT64", 8: "STRING", 9: "BOOL",
	10: "FLOAT16", 11: "DOUBLE", 12: "UINT32", 13: "UINT64", 14: "COMPLEX64", 15: "COMPLEX128", 16: "BFLOAT16",
}

func typeName(t int64) string {
	if s, ok := typeNames[t]; ok {
		return s
	}
	return fmt.Sprintf("type %d", t)
}

// constant is a tensor's value: floats or integers, row-major.
type constant struct {
	name    string
	dims    []int
	f       []float32 // nil for integers
	i       []int64   // nil for floats
	rounded int       // doubles that are no float32
}

func (c *constant) isFloat() bool { return c.f != nil }

// infinite reports whether the constant is a single infinite number, which is a bound
// that a Clip does not have.
func (c *constant) infinite() bool { return len(c.f) == 1 && math.IsInf(float64(c.f[0]), 0) }

// volume multiplies dimensions from a file and reports whether each is ≥ 0 and
// the product at most limit.
func volume(dims []int64, limit int64) (int64, bool) {
	p := int64(1)
	for _, d := range dims {
		if d < 0 || d > limit {
			return 0, false
		}
		if p *= d; p > limit { // both at most 2³⁰
			return 0, false
		}
	}
	return p, true
}

// maxElements bounds the elements of one tensor or activation.
const maxElements = 1 << 30

// widths are the bytes of an element of the types that are read.
var widths = map[int64]int64{typeFloat: 4, typeInt32: 4, typeInt64: 8, typeFloat16: 2, typeDouble: 8, typeBFloat16: 2}

// bytes returns the length of a tensor's raw data as its type and dimensions tell it.
func (t *tensor) bytes() (int64, error) {
	n, ok := volume(t.dims, maxElements)
	width := widths[t.dtype]
	switch {
	case !ok:
		return 0, fmt.Errorf("got dimensions %v, expected at most %d elements", t.dims, maxElements)
	case width == 0:
		return 0, fmt.Errorf("got elements of %s, expected FLOAT, FLOAT16, BFLOAT16, DOUBLE, INT32 or INT64", typeName(t.dtype))
	case (t.dtype == typeInt32 || t.dtype == typeInt64) && n > maxInts:
		return 0, fmt.Errorf("got %d integers, expected at most the %d of a shape or the like", n, maxInts)
	}
	return n * width, nil
}

// value decodes a tensor whose values are in the model. Floats are finite.
func (t *tensor) value() (*constant, error) {
	what := "tensor " + quote(t.name)
	fail := func(format string, args ...any) error {
		return &model.FormatError{Field: what, Msg: fmt.Sprintf(format, args...)}
	}
	want, err := t.bytes()
	if err != nil {
		return nil, fail("%v", err)
	}
	n := want / widths[t.dtype]
	c := &constant{name: t.name, dims: make([]int, len(t.dims))}
	for i, d := range t.dims {
		c.dims[i] = int(d)
	}
	have := 0
	switch {
	case t.hasRaw:
		if int64(len(t.raw)) != want {
			return nil, fail("got %d bytes of raw data, expected %d for the dimensions %v", len(t.raw), want, t.dims)
		}
		have = int(n)
	case t.dtype == typeFloat:
		have = len(t.floats)
	case t.dtype == typeDouble:
		have = len(t.doubles)
	default: // one byte of a varint ends it
		for _, b := range t.varints {
			have += int(^b >> 7)
		}
	}
	if int64(have) != n {
		return nil, fail("got %d values, expected %d for the dimensions %v", have, n, t.dims)
	}
	damaged := false
	next := t.reader(&damaged)
	if t.dtype == typeInt32 || t.dtype == typeInt64 {
		c.i = make([]int64, n)
		for k := range c.i {
			c.i[k] = int64(next(k))
			if t.dtype == typeInt32 {
				c.i[k] = int64(int32(c.i[k]))
			}
		}
		if damaged {
			return nil, fail("got integers cut short, expected a complete list")
		}
		return c, nil
	}
	c.f = make([]float32, n)
	for k := range c.f {
		v := t.float(k, next)
		c.f[k] = float32(v)
		if math.IsNaN(v) || math.IsInf(float64(c.f[k]), 0) && !(n == 1 && math.IsInf(v, 0)) {
			return nil, fail("got %v at element %d, expected a finite float32", v, k)
		}
		if float64(c.f[k]) != v {
			c.rounded++
		}
	}
	if damaged {
		return nil, fail("got integers cut short, expected a complete list")
	}
	return c, nil
}

// reader returns a function for the bits of element k, asked for in order, of a
// tensor of integers or halves. It sets damaged if there is none.
func (t *tensor) reader(damaged *bool) func(k int) uint64 {
	if t.hasRaw {
		switch t.dtype {
		case typeInt64:
			return func(k int) uint64 { return binary.LittleEndian.Uint64(t.raw[8*k:]) }
		case typeInt32:
			return func(k int) uint64 { return uint64(binary.LittleEndian.Uint32(t.raw[4*k:])) }
		}
		return func(k int) uint64 { return uint64(binary.LittleEndian.Uint16(t.raw[2*k:])) }
	}
	rest := t.varints
	return func(int) uint64 {
		v, n := protowire.ConsumeVarint(rest)
		if n < 0 {
			*damaged = true
			return 0
		}
		rest = rest[n:]
		return v
	}
}

// float returns element k of a tensor of floating-point numbers; those of two
// bytes are asked for in order.
func (t *tensor) float(k int, next func(int) uint64) float64 {
	switch {
	case t.dtype == typeFloat && t.hasRaw:
		return float64(math.Float32frombits(binary.LittleEndian.Uint32(t.raw[4*k:])))
	case t.dtype == typeFloat:
		return float64(t.floats[k])
	case t.dtype == typeDouble && t.hasRaw:
		return math.Float64frombits(binary.LittleEndian.Uint64(t.raw[8*k:]))
	case t.dtype == typeDouble:
		return t.doubles[k]
	case t.dtype == typeBFloat16:
		return float64(math.Float32frombits(uint32(next(k)) << 16))
	}
	return float64(half.FromF16(uint16(next(k))))
}

// quote shows untrusted text in an error, shortened.
func quote(s string) string {
	const longest = 80
	if len(s) > longest {
		return fmt.Sprintf("%q… (%d bytes)", s[:longest], len(s))
	}
	return fmt.Sprintf("%q", s)
}
