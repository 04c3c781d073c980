package dataset

import (
	"archive/zip"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"
)

// ReadNPZ reads arrays from an .npz archive of the given size in bytes, stored
// or deflated: all of them in the order of the archive, or only those in names,
// in that order, leaving the others unread. What ReadNPY refuses it refuses
// too, and also a name that is missing or occurs twice, a damaged archive, and
// more than MaxBytes in all. Errors are *Error; they call a member "file(x.npy)".
func ReadNPZ(file string, r io.ReaderAt, size int64, names ...string) ([]NamedArray, error) {
	members, order, err := openNPZ(file, r, size)
	if err != nil {
		return nil, err
	}
	if len(names) == 0 {
		names = order
	}
	arrays, left := make([]NamedArray, 0, len(names)), MaxBytes
	for _, name := range names {
		m := members[name]
		if m == nil {
			return nil, &Error{File: file, Field: "arrays", Want: "one named " + quote(name), Got: nameList(order)}
		}
		a, err := readMember(fmt.Sprintf("%s(%s.npy)", file, name), m, &left)
		if err != nil {
			return nil, err
		}
		a.Name = name
		arrays = append(arrays, a)
	}
	return arrays, nil
}

func nameList(names []string) string {
	if len(names) == 0 {
		return "none"
	}
	return quote(strings.Join(names, ", "))
}

// openNPZ lists the members of an archive by array name.
func openNPZ(file string, r io.ReaderAt, size int64) (members map[string]*zip.File, order []string, err error) {
	z, err := zip.NewReader(r, size)
	if err != nil {
		return nil, nil, &Error{File: file, Field: "archive", Want: "a zip file as written by numpy.savez", Got: err.Error(), Err: err}
	}
	members = map[string]*zip.File{}
	for _, m := range z.File {
		name, ok := strings.CutSuffix(m.Name, ".npy")
		if !ok {
			return nil, nil, &Error{File: file, Field: "member", Want: "names ending in .npy", Got: quote(m.Name)}
		}
		if members[name] != nil {
			return nil, nil, &Error{File: file, Field: "member", Want: "each name once", Got: quote(m.Name) + " again"}
		}
		members[name] = m
		order = append(order, name)
	}
	return members, order, nil
}

// readMember reads one array and takes its bytes off left. Members may overlap
// in a hostile archive, so it is the sum that must be bounded.
func readMember(file string, m *zip.File, left *int64) (NamedArray, error) {
	rc, err := m.Open()
	if err != nil {
		return NamedArray{}, &Error{File: file, Field: "member", Want: "stored or deflated data", Got: err.Error(), Err: err}
	}
	defer rc.Close()
	if m.UncompressedSize64 > uint64(*left) {
		return NamedArray{}, &Error{File: file, Field: "size", Want: fmt.Sprintf("at most %d bytes in all arrays", MaxBytes), Got: fmt.Sprint(m.UncompressedSize64)}
	}
	*left -= int64(m.UncompressedSize64) // the zip reader never yields more than this
	return ReadNPY(file, rc)
}

// WriteNPZ writes arrays as an .npz that numpy.load reads. The bytes depend on
// nothing but the arrays: members are stored, not deflated, since the output of
// a compressor may change with its version, and all bear the time stamp
// 1980-01-01, the zero of zip. It fails on an empty or repeated name, on an
// array that WriteNPY refuses, and when w fails.
func WriteNPZ(w io.Writer, arrays []NamedArray) error {
	z := zip.NewWriter(w)
	seen := map[string]bool{}
	for _, a := range arrays {
		if a.Name == "" || seen[a.Name] {
			return fmt.Errorf("dataset: array name %q is empty or occurs twice", a.Name)
		}
		seen[a.Name] = true
		m, err := z.CreateHeader(&zip.FileHeader{
			Name: a.Name + ".npy", Method: zip.Store,
			Modified: time.Date(1980, 1, 1, 0, 0, 0, 0, time.UTC),
		})
		if err != nil {
			return err
		}
		if err := WriteNPY(m, a); err != nil {
			return err
		}
	}
	return z.Close()
}

// LoadNPZ reads the .npz file at path as a set:
//
//   - x: N×C×H×W or N×H×W (then C = 1), N ≥ 1; |u1, scaled by 1/255, or <f4 or
//     <f8 already in [0,1], the latter rounded to float32;
//   - y: N labels, |u1, <i4 or <i8, from 0 up;
//   - classes, optional: one |u1, <i4 or <i8, the number of classes.
//
// Other arrays are ignored. Errors are *Error; NaN, infinities and pixels
// outside [0,1] are named by image and pixel.
func LoadNPZ(path string) (*Set, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, pathError(path, "an .npz file", err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, pathError(path, "an .npz file", err)
	}
	return setFromNPZ(path, f, info.Size())
}

func setFromNPZ(file string, r io.ReaderAt, size int64) (*Set, error) {
	_, order, err := openNPZ(file, r, size)
	if err != nil {
		return nil, err
	}
	names := []string{"x", "y"}
	if slices.Contains(order, "classes") {
		names = append(names, "classes")
	}
	arrays, err := ReadNPZ(file, r, size, names...)
	if err != nil {
		return nil, err
	}
	s := &Set{}
	if err := s.setX(file+"(x.npy)", arrays[0]); err != nil {
		return nil, err
	}
	s.Classes = MaxClasses
	if len(arrays) == 3 {
		v, ok := integers(arrays[2].Data)
		if !ok || len(v) != 1 || v[0] < 1 || v[0] > MaxClasses {
			return nil, &Error{File: file + "(classes.npy)", Field: "value", Want: fmt.Sprintf("one integer, 1 to %d", MaxClasses), Got: fmt.Sprintf("%T with %d elements %.3v", arrays[2].Data, len(v), v)}
		}
		s.Classes = int(v[0])
	}
	if err := s.setY(file+"(y.npy)", arrays[1], arrays[0].Shape[0]); err != nil {
		return nil, err
	}
	if len(arrays) == 2 {
		s.inferClasses()
	}
	return s, nil
}

// setX takes shape and pixels from x.
func (s *Set) setX(file string, x NamedArray) error {
	switch d := x.Shape; len(d) {
	case 3:
		s.C, s.H, s.W = 1, d[1], d[2]
	case 4:
		s.C, s.H, s.W = d[1], d[2], d[3]
	default:
		return &Error{File: file, Field: "shape", Want: "N×C×H×W or N×H×W", Got: fmt.Sprint(d)}
	}
	_, n := describe(x.Data)
	if n < 1 || int64(n) > maxPixels {
		return &Error{File: file, Field: "shape", Want: fmt.Sprintf("1 to %d pixels", maxPixels), Got: fmt.Sprint(x.Shape)}
	}
	switch v := x.Data.(type) {
	case []uint8:
		s.X = appendScaled(make([]float32, 0, n), v)
	case []float32:
		for i, p := range v {
			if !(p >= 0 && p <= 1) {
				return s.badPixel(file, i, float64(p))
			}
		}
		s.X = v
	case []float64:
		s.X = make([]float32, n)
		for i, p := range v {
			if !(p >= 0 && p <= 1) { // before rounding, which could bring p back in
				return s.badPixel(file, i, p)
			}
			s.X[i] = float32(p)
		}
	default:
		return &Error{File: file, Field: "descr", Want: "'|u1', '<f4' or '<f8'", Got: fmt.Sprintf("%T", x.Data)}
	}
	return nil
}

// setY takes n labels below s.Classes from y.
func (s *Set) setY(file string, y NamedArray, n int) error {
	if len(y.Shape) != 1 || y.Shape[0] != n {
		return &Error{File: file, Field: "shape", Want: fmt.Sprintf("[%d], one label for each image of x", n), Got: fmt.Sprint(y.Shape)}
	}
	labels, ok := integers(y.Data)
	if !ok {
		return &Error{File: file, Field: "descr", Want: "'|u1', '<i4' or '<i8'", Got: fmt.Sprintf("%T", y.Data)}
	}
	s.Y = make([]int, n)
	for i, v := range labels {
		if v < 0 || v >= int64(s.Classes) {
			return badLabel(file, i, v, s.Classes)
		}
		s.Y[i] = int(v)
	}
	return nil
}

func integers(data any) (v []int64, ok bool) {
	switch d := data.(type) {
	case []int64:
		return d, true
	case []int32:
		return widen(d), true
	case []uint8:
		return widen(d), true
	}
	return nil, false
}

func widen[T int32 | uint8](d []T) []int64 {
	v := make([]int64, len(d))
	for i, x := range d {
		v[i] = int64(x)
	}
	return v
}
