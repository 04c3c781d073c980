package dataset

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
)

// NamedArray is an n-dimensional array as NumPy keeps it. Data is one of
// []float32, []float64, []uint8, []int32, []int64 and []bool, row-major, with as
// many elements as the product of Shape; an empty Shape is a scalar of one
// element. Name is its name within an .npz, without ".npy".
type NamedArray struct {
	Name  string
	Shape []int
	Data  any
}

const (
	npyMagic     = "\x93NUMPY"
	maxNPYHeader = 1 << 16 // numpy's own are below 200 bytes for every type read here
	maxRank      = 32      // numpy's limit before 2.0
)

// namedTypes are the types that NamedArray knows.
var namedTypes = []string{"<f4", "<f8", "|u1", "<i4", "<i8", "|b1"}

// ReadNPY reads one .npy stream, format 1.0, 2.0 or 3.0, of dtype <f4, <f8, |u1,
// <i4, <i8 or |b1 in C order. The result has no name and any values its type
// has, NaN too. Everything else is an *Error under the name file: another
// dtype, Fortran order, a malformed header, more than MaxBytes, bytes missing
// or left over.
func ReadNPY(file string, r io.Reader) (NamedArray, error) {
	h, err := readNPYHeader(file, r)
	if err != nil {
		return NamedArray{}, err
	}
	if !slices.Contains(namedTypes, h.dtype.text) {
		return NamedArray{}, &Error{File: file, Field: "dtype", Want: "one of '" + strings.Join(namedTypes, "', '") + "'", Got: quote(h.dtype.text)}
	}
	if h.fortran {
		return NamedArray{}, &Error{File: file, Field: "fortran_order", Want: "False: C order (numpy.ascontiguousarray makes it so)", Got: "True"}
	}
	n, ok := product(MaxBytes, append(h.shape[:len(h.shape):len(h.shape)], int64(h.dtype.size))...)
	if !ok {
		return NamedArray{}, &Error{File: file, Field: "shape", Want: fmt.Sprintf("at most %d bytes of data", MaxBytes), Got: fmt.Sprint(h.shape)}
	}
	a := NamedArray{Shape: make([]int, len(h.shape))}
	for i, d := range h.shape {
		a.Shape[i] = int(d)
	}
	if a.Data, err = readData(file, h.dtype.text, r, n); err != nil {
		return NamedArray{}, err
	}
	return a, readEnd(file, "data", r, n)
}

func readNPYHeader(file string, r io.Reader) (h npyHeader, err error) {
	var head [8]byte // magic, major and minor version
	if err := readHead(file, "magic string", r, head[:]); err != nil {
		return h, err
	}
	if string(head[:6]) != npyMagic {
		return h, &Error{File: file, Field: "magic string", Want: quote(npyMagic), Got: quote(string(head[:6]))}
	}
	size := head[:2] // length of the header text, two bytes in 1.0 and four later
	switch {
	case head[6] == 1 && head[7] == 0:
	case (head[6] == 2 || head[6] == 3) && head[7] == 0:
		size = head[:4]
	default:
		return h, &Error{File: file, Field: "version", Want: "1.0, 2.0 or 3.0", Got: fmt.Sprintf("%d.%d", head[6], head[7])}
	}
	n := len(size)
	if err := readHead(file, "header length", r, size); err != nil {
		return h, err
	}
	clear(head[n:])
	length := binary.LittleEndian.Uint32(head[:4])
	if length > maxNPYHeader {
		return h, &Error{File: file, Field: "header length", Want: fmt.Sprintf("at most %d", maxNPYHeader), Got: fmt.Sprint(length)}
	}
	text := make([]byte, length)
	if err := readHead(file, "header", r, text); err != nil {
		return h, err
	}
	return parseNPYHeader(file, string(text))
}

// readData reads n bytes of elements.
func readData(file, descr string, r io.Reader, n int64) (any, error) {
	le := binary.LittleEndian
	switch descr {
	case "|u1":
		return readEach(file, r, n, 1, func(b []byte) (uint8, error) { return b[0], nil })
	case "|b1":
		i := 0
		return readEach(file, r, n, 1, func(b []byte) (bool, error) {
			if b[0] > 1 {
				return false, &Error{File: file, Field: fmt.Sprintf("element %d", i), Want: "0 or 1, a bool", Got: fmt.Sprint(b[0])}
			}
			i++
			return b[0] == 1, nil
		})
	case "<f4":
		return readEach(file, r, n, 4, func(b []byte) (float32, error) { return math.Float32frombits(le.Uint32(b)), nil })
	case "<f8":
		return readEach(file, r, n, 8, func(b []byte) (float64, error) { return math.Float64frombits(le.Uint64(b)), nil })
	case "<i4":
		return readEach(file, r, n, 4, func(b []byte) (int32, error) { return int32(le.Uint32(b)), nil })
	default: // <i8
		return readEach(file, r, n, 8, func(b []byte) (int64, error) { return int64(le.Uint64(b)), nil })
	}
}

// readEach reads n bytes as elements of size bytes each.
func readEach[T any](file string, r io.Reader, n int64, size int, one func([]byte) (T, error)) ([]T, error) {
	v := []T{}
	err := readPieces(file, "data", r, n, func(b []byte) error {
		v = room(v, len(b)/size, int(n/int64(size)))
		for ; len(b) > 0; b = b[size:] {
			e, err := one(b)
			if err != nil {
				return err
			}
			v = append(v, e)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return v, nil
}

// WriteNPY writes a in format 1.0, byte for byte as numpy.save does. It fails
// when the shape and the data of a do not fit each other, or when w does.
func WriteNPY(w io.Writer, a NamedArray) error {
	descr, n := describe(a.Data)
	if descr == "" {
		return fmt.Errorf("dataset: array %q: data of unsupported type %T", a.Name, a.Data)
	}
	dims := make([]int64, len(a.Shape))
	words := make([]string, len(a.Shape))
	for i, d := range a.Shape {
		dims[i], words[i] = int64(d), fmt.Sprint(d)
	}
	if p, ok := product(math.MaxInt64, dims...); !ok || p != int64(n) || len(dims) > maxRank {
		return fmt.Errorf("dataset: array %q: %d elements do not fill shape %v", a.Name, n, a.Shape)
	}
	shape := strings.Join(words, ", ")
	if len(words) == 1 {
		shape += ","
	}
	text := fmt.Sprintf("{'descr': '%s', 'fortran_order': False, 'shape': (%s), }", descr, shape)
	// Spaces and a newline bring the data to a multiple of 64 bytes.
	const before = len(npyMagic) + 2 + 2
	text += strings.Repeat(" ", 63-(before+len(text))%64) + "\n"
	head := append([]byte(npyMagic), 1, 0)
	head = binary.LittleEndian.AppendUint16(head, uint16(len(text)))
	if _, err := w.Write(append(head, text...)); err != nil {
		return err
	}
	return writeData(w, a.Data)
}

// describe returns the dtype and the number of elements, or "" for a type that
// NamedArray does not list.
func describe(data any) (descr string, n int) {
	switch v := data.(type) {
	case []float32:
		return "<f4", len(v)
	case []float64:
		return "<f8", len(v)
	case []uint8:
		return "|u1", len(v)
	case []int32:
		return "<i4", len(v)
	case []int64:
		return "<i8", len(v)
	case []bool:
		return "|b1", len(v)
	}
	return "", 0
}

// writeData writes the elements in pieces, so that no second copy of a large
// array is needed.
func writeData(w io.Writer, data any) error {
	switch v := data.(type) {
	case []float32:
		return writePieces(w, v)
	case []float64:
		return writePieces(w, v)
	case []uint8:
		_, err := w.Write(v)
		return err
	case []int32:
		return writePieces(w, v)
	case []int64:
		return writePieces(w, v)
	default:
		return writePieces(w, v.([]bool))
	}
}

func writePieces[T any](w io.Writer, v []T) error {
	const piece = 1 << 13
	var buf bytes.Buffer
	for len(v) > 0 {
		n := min(piece, len(v))
		buf.Reset()
		if err := binary.Write(&buf, binary.LittleEndian, v[:n]); err != nil {
			return err
		}
		if _, err := w.Write(buf.Bytes()); err != nil {
			return err
		}
		v = v[n:]
	}
	return nil
}
