package dataset

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// LoadImages reads one PNG or JPEG file, or all of a folder and of the folders
// directly in it, in the order of their slash-separated names relative to the
// folder. The files must be gray (C = 1) or RGB (C = 3) of 8 bits, without
// transparency, all of one shape, and of at most 2,097,152 pixels each.
//
// Labels come from labels.csv in the folder (for one file: beside it) where it
// exists: lines "name,label", after an optional line with just these words; the
// name is relative to the folder, the label a number from 0 up, or −1 or nothing
// for unknown; files it leaves out are Unknown, names without a file an error.
// Without labels.csv the sub-folders are the labels: the numbers that name them,
// or, if none is named by a number, 0, 1, … in the order of their names, which
// ClassNames then holds; some of either kind are an error. Images outside of
// sub-folders are Unknown.
//
// What is wrong with the files is reported as an *Error.
func LoadImages(path string) (*Set, error) { return loadImages(path, &Options{}) }

func loadImages(path string, o *Options) (*Set, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, pathError(path, "a PNG or JPEG file or a folder of them", err)
	}
	dir, names := filepath.Dir(path), []string{filepath.Base(path)}
	if info.IsDir() {
		dir = path
		if names, err = listImages(dir); err != nil {
			return nil, err
		}
	}
	s := &Set{}
	labels, err := s.imageLabels(dir, names, info.IsDir())
	if err != nil {
		return nil, err
	}
	r := imageReader{o: o, set: s, n: len(names), hi: 1}
	for i := 0; i < r.hi; i++ { // the first file sets shape and range
		if i > 0 && i < r.lo {
			i = r.lo
		}
		if err := r.read(filepath.Join(dir, filepath.FromSlash(names[i])), i); err != nil {
			return nil, err
		}
	}
	s.Y = labels[r.lo:r.hi:r.hi]
	if s.Classes == 0 {
		s.inferClasses()
	}
	return s, nil
}

func isImage(name string) bool {
	return slices.Contains([]string{".png", ".jpg", ".jpeg"}, strings.ToLower(filepath.Ext(name)))
}

// listImages returns the slash-separated names of the images in a folder and in
// the folders in it, sorted; finding none is an error.
func listImages(dir string) (names []string, err error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, pathError(dir, "a folder that can be listed", err)
	}
	for _, e := range entries {
		if !e.IsDir() {
			if isImage(e.Name()) {
				names = append(names, e.Name())
			}
			continue
		}
		sub, err := os.ReadDir(filepath.Join(dir, e.Name()))
		if err != nil {
			return nil, pathError(filepath.Join(dir, e.Name()), "a folder that can be listed", err)
		}
		for _, f := range sub {
			if !f.IsDir() && isImage(f.Name()) {
				names = append(names, e.Name()+"/"+f.Name())
			}
		}
	}
	if len(names) == 0 {
		return nil, &Error{File: dir, Field: "folder", Want: "IDX files, CIFAR-10 .bin batches, PNG or JPEG files", Got: "none of these"}
	}
	slices.Sort(names)
	return names, nil
}

// imageLabels returns the labels of the images called names. With complete, these
// are all there are, and labels.csv may name no others.
func (s *Set) imageLabels(dir string, names []string, complete bool) ([]int, error) {
	file := filepath.Join(dir, labelsCSV)
	if _, err := os.Stat(file); !errors.Is(err, fs.ErrNotExist) {
		return readLabelsFile(file, "the name of an image in this folder", len(names), func(name string) (int, bool) {
			i, ok := slices.BinarySearch(names, name)
			if !ok && !complete {
				return -1, true
			}
			return i, ok
		})
	}
	var folders []string
	for _, name := range names {
		sub, _, ok := strings.Cut(name, "/")
		if ok && (len(folders) == 0 || folders[len(folders)-1] != sub) {
			folders = append(folders, sub)
		}
	}
	class, err := s.folderClasses(dir, folders)
	if err != nil {
		return nil, err
	}
	labels := make([]int, len(names))
	for i, name := range names {
		labels[i] = Unknown
		if sub, _, ok := strings.Cut(name, "/"); ok {
			labels[i] = class[sub]
		}
	}
	return labels, nil
}

// folderClasses returns the label that each folder stands for.
func (s *Set) folderClasses(dir string, folders []string) (map[string]int, error) {
	class, numbered, named := map[string]int{}, "", ""
	for _, name := range folders {
		y, err := strconv.ParseUint(name, 10, 31)
		if err != nil {
			class[name] = len(class)
			named = name
			continue
		}
		if y >= MaxClasses {
			return nil, &Error{File: filepath.Join(dir, name), Field: "name", Want: fmt.Sprintf("a label from 0 to %d", MaxClasses-1), Got: quote(name)}
		}
		class[name] = int(y)
		numbered = name
	}
	if numbered != "" && named != "" {
		return nil, &Error{
			File: dir, Field: "folders", Got: quote(numbered) + " and " + quote(named),
			Want: "numbers as the names of all of them, or class names for all; or a " + labelsCSV,
		}
	}
	if named != "" {
		if len(folders) > MaxClasses {
			return nil, &Error{File: dir, Field: "folders", Want: fmt.Sprintf("at most %d", MaxClasses), Got: strconv.Itoa(len(folders))}
		}
		s.ClassNames, s.Classes = folders, len(folders)
	}
	return class, nil
}
