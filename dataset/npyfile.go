package dataset

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// loadNPY reads the .npy file at path. Its labels are in the file beside it that
// is named like it, as y_test.npy for x_test.npy; or in labels.npy or labels.csv,
// where lines are index,label; or nowhere.
func loadNPY(path string, o *Options) (*Set, error) {
	var s *Set
	var lo, hi, n int
	err := withNPY(path, func(a *npyArray) (err error) {
		if s, lo, hi, err = a.images(o); err == nil {
			n = int(a.shape[0])
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	file, err := labelsBeside(path)
	switch {
	case err != nil:
		return nil, err
	case file == "":
		s.unlabelled(hi - lo)
		return s, nil
	case filepath.Base(file) == labelsCSV:
		y, err := readLabelsFile(file, "the index of an image, below "+strconv.Itoa(n), n, func(name string) (int, bool) {
			i, err := strconv.ParseUint(name, 10, 31)
			return int(i), err == nil && i < uint64(n)
		})
		if err != nil {
			return nil, err
		}
		s.takeLabels(y[lo:hi], 0)
		return s, nil
	}
	err = withNPY(file, func(a *npyArray) error {
		y, k, err := a.labels(lo, hi, n, MaxClasses)
		s.takeLabels(y, k)
		return err
	})
	if err != nil {
		return nil, err
	}
	return s, nil
}

func withNPY(path string, use func(*npyArray) error) error {
	f, err := os.Open(path)
	if err != nil {
		return pathError(path, "an .npy file", err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return pathError(path, "an .npy file", err)
	}
	a, err := openNPY(path, f, info.Size())
	if err != nil {
		return err
	}
	return use(a)
}

// labelsBeside returns the file with the labels for the images at path, or "".
func labelsBeside(path string) (string, error) {
	dir, base := filepath.Split(path)
	names := partners(strings.TrimSuffix(base, filepath.Ext(base)))
	for i := range names {
		names[i] += filepath.Ext(base)
	}
	for _, group := range [][]string{names, {"labels.npy", labelsCSV}} {
		var found []string
		for _, name := range group {
			switch _, err := os.Stat(filepath.Join(dir, name)); {
			case err == nil && name != base:
				found = append(found, name)
			case err != nil && !errors.Is(err, fs.ErrNotExist):
				return "", pathError(filepath.Join(dir, name), "a file that can be read, or none", err)
			}
		}
		if len(found) > 1 && !sameFile(dir, found) {
			return "", &Error{File: path, Field: "labels", Want: "one file of them beside it", Got: strings.Join(found, " and ")}
		}
		if len(found) > 0 {
			return filepath.Join(dir, found[0]), nil
		}
	}
	return "", nil
}

// sameFile reports whether two names are one file, as y.npy and Y.npy may be.
func sameFile(dir string, names []string) bool {
	a, err := os.Stat(filepath.Join(dir, names[0]))
	b, err2 := os.Stat(filepath.Join(dir, names[1]))
	return err == nil && err2 == nil && os.SameFile(a, b)
}

// partners returns what the labels may be called if the images are called name:
// a word of it changes.
func partners(name string) (names []string) {
	for _, w := range [][2]string{{"x", "y"}, {"X", "y"}, {"X", "Y"}, {"images", "labels"}, {"data", "labels"}} {
		at := 0
		for _, word := range strings.FieldsFunc(name, isSeparator) {
			at += strings.Index(name[at:], word)
			if word == w[0] {
				names = append(names, name[:at]+w[1]+name[at+len(word):])
				break
			}
			at += len(word)
		}
	}
	return names
}

func isSeparator(r rune) bool { return strings.ContainsRune("-_. ", r) }

// LabelFiles lists what a file of labels beside a file of images may be called, in the order in
// which Load looks for them: of IDX images, which need one, and of .npy files. Others have none.
func LabelFiles(images string) (names []string) {
	switch {
	case strings.EqualFold(filepath.Ext(images), ".npy"):
		ext := filepath.Ext(images)
		for _, name := range partners(strings.TrimSuffix(images, ext)) {
			names = append(names, name+ext)
		}
		names = append(names, "labels.npy", labelsCSV)
	case isIDXImages(images):
		plain := strings.TrimSuffix(idxLabelsFile(images), ".gz")
		names = []string{plain, plain + ".gz"}
	}
	return slices.DeleteFunc(names, func(name string) bool { return name == images })
}
