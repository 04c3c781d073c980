package dataset

import (
	"archive/zip"
	"errors"
	"fmt"
	"io"
	"math"
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
	l := &listing{r: r, left: 2 << 20}
	z, err := zip.NewReader(l, size)
	l.left = math.MaxInt64
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

// listing stops the reader of an archive that lists members without end: each of
// some fifty bytes takes hundreds in memory.
type listing struct {
	r    io.ReaderAt
	left int64
}

func (l *listing) ReadAt(b []byte, off int64) (int, error) {
	if l.left -= int64(len(b)); l.left < 0 {
		return 0, errors.New("too many members")
	}
	return l.r.ReadAt(b, off)
}

// readMember reads one array and takes its bytes off left. Members may overlap
// in a hostile archive, so it is the sum that must be bounded.
func readMember(file string, m *zip.File, left *int64) (NamedArray, error) {
	rc, err := openMember(file, m)
	if err != nil {
		return NamedArray{}, err
	}
	defer rc.Close()
	if m.UncompressedSize64 > uint64(*left) {
		return NamedArray{}, &Error{File: file, Field: "size", Want: fmt.Sprintf("at most %d bytes in all arrays", MaxBytes), Got: fmt.Sprint(m.UncompressedSize64)}
	}
	*left -= int64(m.UncompressedSize64) // the zip reader never yields more than this
	return ReadNPY(file, rc)
}

func openMember(file string, m *zip.File) (io.ReadCloser, error) {
	rc, err := m.Open()
	if err != nil {
		return nil, &Error{File: file, Field: "member", Want: "stored or deflated data", Got: err.Error(), Err: err}
	}
	return rc, nil
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
