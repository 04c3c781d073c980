package model

import (
	"encoding/binary"
	"fmt"
	"maps"
	"math"
	"slices"
	"unsafe"

	"github.com/epsball/epsball/internal/half"
)

// DType is the type of a stored weight's elements.
type DType uint8

// The types, named as in safetensors.
const (
	F32  DType = iota
	BF16       // bfloat16, the upper half of a float32
	F16        // IEEE 754 binary16: finer than BF16, up to 65504
)

var dtypes = [...]struct {
	name string
	size int // bytes
	// An element is finite if its bits and exponent, plus one in the exponent's
	// last place, leave the sign's place 0: see firstInfinite.
	exponent, one uint64
}{
	F32:  {"F32", 4, 0x7f800000_7f800000, 0x00800000_00800000},
	BF16: {"BF16", 2, 0x7f80_7f80_7f80_7f80, 0x0080_0080_0080_0080},
	F16:  {"F16", 2, 0x7c00_7c00_7c00_7c00, 0x0400_0400_0400_0400},
}

// String returns the name in safetensors.
func (t DType) String() string {
	if int(t) < len(dtypes) {
		return dtypes[t].name
	}
	return fmt.Sprintf("DType(%d)", uint8(t))
}

// Size returns the bytes of an element.
func (t DType) Size() int { return dtypes[t].size }

// ParseDType returns the type of a name such as "BF16".
func ParseDType(name string) (DType, bool) {
	for t, d := range dtypes {
		if d.name == name {
			return DType(t), true
		}
	}
	return 0, false
}

// Storage is the form in which a file, or a Stored, holds a layer's weight. The
// zero value is the plain one.
type Storage struct {
	Type DType

	// Tiles: in the order in which kernels for single images read weights, so that
	// they can be used where they lie (docs/model-format.md, Tiles); otherwise in
	// rows, row-major.
	Tiles bool
}

// String returns, say, "BF16 tiles".
func (s Storage) String() string {
	if s.Tiles {
		return s.Type.String() + " tiles"
	}
	return s.Type.String() + " rows"
}

// Widths of tiles: of all but the last, and of the last where that is enough.
const (
	tileWidth   = 16
	narrowWidth = 8
)

// matrix is a weight as rows of out outputs; a row's columns are channels ×
// positions: of the kernel for conv, of the input for fc.
type matrix struct{ out, channels, positions int }

func (l *Layer) matrix(in Shape) matrix {
	if l.Kind == FC {
		return matrix{l.Out, in.C, in.H * in.W}
	}
	return matrix{l.Out, in.C / l.GroupCount(), l.Kernel[0] * l.Kernel[1]}
}

func (x matrix) cols() int { return x.channels * x.positions }
func (x matrix) size() int { return x.out * x.cols() }

// width is the number of rows with those that fill the last tile.
func (x matrix) width() int { return (x.out + narrowWidth - 1) / narrowWidth * narrowWidth }

// tensorAlign is what tiles are aligned to in a file, in bytes: a cache line.
const tensorAlign = 64

// elements returns the length of the tensor that holds the weight, tiles padded to
// whole cache lines. It is smaller to call than to inline.
//
//go:noinline
func (x matrix) elements(s Storage) int64 {
	if !s.Tiles {
		return int64(x.size())
	}
	line := int64(tensorAlign / s.Type.Size())
	return (int64(x.width())*int64(x.cols()) + line - 1) / line * line
}

// Stored is a layer's weight as a file stores it: in 16 bits, in tiles, or both.
// What it means is the matrix of float32 that Rows returns, exactly. It is
// immutable and safe for concurrent use.
type Stored struct {
	storage Storage
	shape   matrix
	data    []byte // little-endian
}

// Storage returns the form.
func (s *Stored) Storage() Storage { return s.storage }

// Data returns the elements, little-endian, which must not be changed: rows, or
// tiles with their padding. See View and Map for how long it stays valid.
func (s *Stored) Data() []byte { return s.data }

// Len returns the number of weights.
func (s *Stored) Len() int { return s.shape.size() }

// Rows returns the weight as Param.W holds it, new on each call.
func (s *Stored) Rows() []float32 {
	dst := make([]float32, s.Len())
	s.Floats(dst, 0)
	return dst
}

// Floats fills dst with whole rows, the first being row from.
func (s *Stored) Floats(dst []float32, from int) {
	x, cols := s.shape, s.shape.cols()
	if !s.storage.Tiles {
		s.expand(dst, from*cols, 1)
		return
	}
	line := make([]float32, cols)
	for o := from; len(dst) > 0; o++ {
		first, width := x.tile(o)
		s.expand(line, first, width) // [position][channel]
		for p := range x.positions {
			for c, v := range line[p*x.channels : (p+1)*x.channels] {
				dst[c*x.positions+p] = v
			}
		}
		dst = dst[cols:]
	}
}

// tile returns the element of row o's first weight, and the distance to its next.
func (x matrix) tile(o int) (first, step int) {
	t := o / tileWidth
	step = min(tileWidth, x.width()-t*tileWidth)
	return t*tileWidth*x.cols() + o%tileWidth, step
}

// expand fills dst with elements from first on, every step-th.
func (s *Stored) expand(dst []float32, first, step int) {
	size := s.storage.Type.Size()
	b, step := s.data[first*size:], step*size
	for i := range dst {
		switch e := b[i*step:]; s.storage.Type {
		case BF16:
			dst[i] = half.FromBF16(binary.LittleEndian.Uint16(e))
		case F16:
			dst[i] = half.FromF16(binary.LittleEndian.Uint16(e))
		default:
			dst[i] = math.Float32frombits(binary.LittleEndian.Uint32(e))
		}
	}
}

// newStored rounds rows to the nearest values of storage, of two the even one. It
// returns the index of a weight that is too large, or −1.
func newStored(rows []float32, x matrix, storage Storage) (*Stored, int) {
	s := &Stored{storage, x, alignedBytes(x.elements(storage) * int64(storage.Type.Size()))}
	size, cols := storage.Type.Size(), x.cols()
	for o := range x.out {
		first, step := o*cols, 1
		if storage.Tiles {
			first, step = x.tile(o)
		}
		for k, v := range rows[o*cols : (o+1)*cols] {
			at := k
			if storage.Tiles {
				at = k%x.positions*x.channels + k/x.positions
			}
			e := s.data[(first+at*step)*size:]
			switch storage.Type {
			case BF16:
				binary.LittleEndian.PutUint16(e, half.ToBF16(v))
			case F16:
				binary.LittleEndian.PutUint16(e, half.ToF16(v))
			default:
				binary.LittleEndian.PutUint32(e, math.Float32bits(v))
			}
		}
	}
	if firstInfinite(s.data, storage.Type) < 0 {
		return s, -1
	}
	return nil, slices.IndexFunc(s.Rows(), func(v float32) bool { return !finite(v) })
}

// alignedBytes returns n zeroed bytes that start at a cache line.
func alignedBytes(n int64) []byte {
	b := make([]byte, n+tensorAlign)
	skip := -uintptr(unsafe.Pointer(unsafe.SliceData(b))) % tensorAlign
	return b[skip : skip+uintptr(n) : skip+uintptr(n)]
}

// validate checks what a file claims to be the weight.
func (s *Stored) validate(name string) error {
	t := s.storage.Type
	if i := firstInfinite(s.data, t); i >= 0 {
		var v [1]float32
		s.expand(v[:], i, 1)
		return fieldErr(fmt.Sprintf("%s[%d]", name, i), "got %v, expected a finite number", v[0])
	}
	if !s.storage.Tiles {
		return nil
	}
	x, size := s.shape, t.Size()
	pad := func(from, to int) error {
		for i, b := range s.data[from*size : to*size] {
			if b != 0 {
				return fieldErr(fmt.Sprintf("%s[%d]", name, from+i/size), "got a value in the padding, expected zero")
			}
		}
		return nil
	}
	if used := x.out % narrowWidth; used > 0 { // the last tile has columns to fill
		first, step := x.tile(x.out - 1)
		for k := range x.cols() {
			if err := pad(first+1+k*step, first+1+k*step+narrowWidth-used); err != nil {
				return err
			}
		}
	}
	return pad(x.width()*x.cols(), len(s.data)/size)
}

// firstInfinite returns the index of the first element of b that is infinite or
// NaN, −1 if there is none. It looks at eight bytes at a time.
func firstInfinite(b []byte, t DType) int {
	d := &dtypes[t]
	sign := (d.exponent + d.one) &^ d.exponent
	infinite := func(v uint64) bool { return (v&d.exponent+d.one)&sign != 0 }
	i := 0
	for ; i+8 <= len(b); i += 8 {
		if infinite(binary.LittleEndian.Uint64(b[i:])) {
			break
		}
	}
	for ; i < len(b); i += d.size {
		v := uint64(0)
		for k, e := range b[i : i+d.size] {
			v |= uint64(e) << (8 * k)
		}
		if infinite(v) {
			return i / d.size
		}
	}
	return -1
}

// clone returns a deep copy.
func (s *Stored) clone() *Stored {
	if s == nil {
		return nil
	}
	c := *s
	c.data = alignedBytes(int64(len(s.data)))
	copy(c.data, s.data)
	return &c
}

// Store returns a copy of the model that holds the weight of each conv and fc layer
// i as storage(i) says, the plain one in Param.W; biases stay float32. Rounding is to nearest, of two to
// the even one, so the copy is another network, with another hash, wherever a
// weight was not of the type before. The error is a *FormatError that names a
// weight beyond the type's range, or Validate's.
func (m *Model) Store(storage func(layer int) Storage) (*Model, error) {
	if err := m.Validate(); err != nil {
		return nil, err
	}
	shapes, err := m.Arch.Shapes()
	if err != nil {
		return nil, err
	}
	c := &Model{Arch: *m.Arch.Clone(), Params: make([]Param, len(m.Params)), Card: maps.Clone(m.Card)}
	for i := range m.Params {
		p, l := &m.Params[i], &m.Arch.Layers[i]
		c.Params[i] = p.clone()
		if !l.HasMatrix() {
			continue
		}
		want := storage(i)
		if int(want.Type) >= len(dtypes) {
			return nil, fieldErr(weightName(i), "got %v, expected F32, BF16 or F16", want.Type)
		}
		if want == (Storage{}) {
			c.Params[i].W, c.Params[i].Stored = c.Params[i].Rows(), nil
			continue
		}
		if p.Stored != nil && p.Storage() == want {
			continue
		}
		x := l.matrix(m.Arch.InputShape(i, shapes))
		if n := x.elements(want); n > maxWeight || n > int64(math.MaxInt-tensorAlign)/int64(want.Type.Size()) {
			return nil, fieldErr(weightName(i), "got %d elements with the padding of tiles, expected at most %d", n, maxWeight)
		}
		rows := p.Rows()
		s, bad := newStored(rows, x, want)
		if bad >= 0 {
			return nil, fieldErr(fmt.Sprintf("%s[%d]", weightName(i), bad), "got %v, too large for %v", rows[bad], want.Type)
		}
		c.Params[i].W, c.Params[i].Stored = nil, s
	}
	return c, nil
}

// Bytes returns the memory that the weights take as the model holds them; of a
// mapped model, the bytes of the mapping that they take.
func (m *Model) Bytes() int {
	n := 0
	for _, p := range m.Params {
		n += 4 * (len(p.W) + len(p.B) + len(p.Mean) + len(p.Var))
		if p.Stored != nil {
			n += len(p.Stored.data)
		}
	}
	return n
}
