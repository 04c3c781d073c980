package dataset

import (
	"archive/zip"
	"fmt"
	"io"
	"math"
	"os"
	"slices"
	"strings"
)

// Names of the arrays in an .npz that are read, as pairs of images and labels of
// one part. numpy.savez itself names arrays that got no name arr_0, arr_1.
var npzPairs = []struct {
	part           string
	images, labels []string
}{
	{"", []string{"x", "X", "images", "data"}, []string{"y", "Y", "labels", "targets"}},
	{"test", []string{"x_test", "X_test", "test_images"}, []string{"y_test", "Y_test", "test_labels"}},
	{"train", []string{"x_train", "X_train", "train_images"}, []string{"y_train", "Y_train", "train_labels"}},
	{"", []string{"arr_0"}, []string{"arr_1"}},
}

// LoadNPZ reads the .npz file at path, as Load does; docs/data.md says which
// arrays it may hold. Errors are *Error; they call a member "file(x.npy)".
func LoadNPZ(path string) (*Set, error) { return loadNPZ(path, "", &Options{}) }

func loadNPZ(path, part string, o *Options) (*Set, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, pathError(path, "an .npz file", err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, pathError(path, "an .npz file", err)
	}
	return setFromNPZ(path, f, info.Size(), part, o)
}

func setFromNPZ(file string, r io.ReaderAt, size int64, part string, o *Options) (*Set, error) {
	members, order, err := openNPZ(file, r, size)
	if err != nil {
		return nil, err
	}
	images, labels, err := pickArrays(file, order, part)
	if err != nil {
		return nil, err
	}
	z := npzReader{file, members, size}
	var s *Set
	var lo, hi, n int
	err = z.open(images, func(a *npyArray) error {
		if s, lo, hi, err = a.images(o); err == nil {
			n = int(a.shape[0])
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	most := MaxClasses
	if members["classes"] != nil {
		if most, err = z.classes(); err != nil {
			return nil, err
		}
		s.Classes = most
	}
	if labels == "" {
		s.unlabelled(hi - lo)
		return s, nil
	}
	err = z.open(labels, func(a *npyArray) error {
		y, k, err := a.labels(lo, hi, n, most)
		s.takeLabels(y, k)
		return err
	})
	if err != nil {
		return nil, err
	}
	return s, nil
}

// unlabelled gives all n images the label Unknown.
func (s *Set) unlabelled(n int) {
	s.Y = slices.Repeat([]int{Unknown}, n)
	s.takeLabels(s.Y, 0)
}

// takeLabels sets Y and, unless the file states them, Classes: the k columns of
// one-hot labels, or what the numbers suggest.
func (s *Set) takeLabels(y []int, k int) {
	s.Y = y
	switch {
	case s.Classes > 0:
	case k > 0:
		s.Classes = k
	default:
		s.inferClasses()
	}
}

// pickArrays finds the arrays of images and of labels, the latter empty if there
// is none. Two that could be meant are an error.
func pickArrays(file string, names []string, part string) (images, labels string, err error) {
	one := func(of []string) (string, error) {
		var found []string
		for _, name := range of {
			if slices.Contains(names, name) {
				found = append(found, name)
			}
		}
		if len(found) > 1 {
			return "", &Error{File: file, Field: "arrays", Want: "one of " + strings.Join(of, ", "), Got: strings.Join(found, " and ")}
		}
		return strings.Join(found, ""), nil
	}
	plain := ""
	for _, p := range npzPairs {
		if part != "" && p.part != part {
			continue
		}
		x, err := one(p.images)
		if err != nil {
			return "", "", err
		}
		switch {
		case x == "":
			continue
		case plain != "" && p.part != "":
			return "", "", &Error{
				File: file, Field: "arrays", Got: plain + " and " + x,
				Want: "one of them; #test and #train after the name of the file choose a part",
			}
		case images == "":
			images = x
			if labels, err = one(p.labels); err != nil {
				return "", "", err
			}
			if p.part == "" {
				plain = x
			}
		}
	}
	if images != "" {
		return images, labels, nil
	}
	want, field := "x and y, images and labels, x_test and y_test, or others of docs/data.md", "arrays"
	if part != "" {
		want, field = fmt.Sprintf("x_%s and y_%[1]s, or %[1]s_images and %[1]s_labels", part), "#"+part
	}
	return "", "", &Error{File: file, Field: field, Want: want, Got: nameList(names)}
}

// npzReader opens the members of an archive.
type npzReader struct {
	file    string
	members map[string]*zip.File
	size    int64 // of the archive
}

func (z *npzReader) open(name string, use func(*npyArray) error) error {
	file := fmt.Sprintf("%s(%s.npy)", z.file, name)
	m := z.members[name]
	rc, err := openMember(file, m)
	if err != nil {
		return err
	}
	defer rc.Close()
	const ratio = 1032 // bytes that deflate can make of one
	packed := min(m.CompressedSize64, uint64(z.size))
	most := min(m.UncompressedSize64, packed*ratio, math.MaxInt64)
	a, err := openNPY(file, rc, int64(most))
	if err != nil {
		return err
	}
	return use(a)
}

// classes reads the number of classes.
func (z *npzReader) classes() (n int, err error) {
	err = z.open("classes", func(a *npyArray) error {
		count, ok := product(1, a.shape...)
		if !a.dtype.integers() || !ok || count != 1 {
			return &Error{File: a.file, Field: "shape", Want: "one integer", Got: fmt.Sprintf("%s of type %s", times(a.shape), a.dtype.text)}
		}
		if err := a.each(1, func(v []float64) error {
			if !(v[0] >= 1 && v[0] <= MaxClasses) {
				return &Error{File: a.file, Field: "value", Want: fmt.Sprintf("1 to %d", MaxClasses), Got: fmt.Sprint(v[0])}
			}
			n = int(v[0])
			return nil
		}); err != nil {
			return err
		}
		return a.end()
	})
	return n, err
}
