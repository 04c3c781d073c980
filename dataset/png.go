package dataset

import (
	"bytes"
	"encoding/binary"
	"encoding/csv"
	"errors"
	"fmt"
	"image"
	"image/png"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

const labelsCSV = "labels.csv"

// LoadPNG reads one .png file, or all of a folder and of the folders directly in
// it, in the order of their slash-separated names relative to the folder. The
// files must be 8-bit gray (C = 1) or 8-bit RGB (C = 3), without transparency,
// and all of one shape.
//
// Labels come from labels.csv in the folder (for one file: beside it) where it
// exists: lines "name,label", after an optional line with just these words; the
// name is relative to the folder, the label a number from 0 up, or −1 or nothing
// for unknown; files it leaves out are Unknown, names without a file an error.
// Without labels.csv an image in a sub-folder named by a number from 0 up bears
// that label. All other images are Unknown.
//
// What is wrong with the files is reported as an *Error.
func LoadPNG(path string) (*Set, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, pathError(path, "a PNG file or a folder of them", err)
	}
	dir, names := filepath.Dir(path), []string{filepath.Base(path)}
	if info.IsDir() {
		dir = path
		if names, err = listPNG(dir); err != nil {
			return nil, err
		}
	}
	label, err := pngLabels(dir, names, info.IsDir())
	if err != nil {
		return nil, err
	}
	s := &Set{}
	for _, name := range names {
		if err := s.appendPNG(filepath.Join(dir, filepath.FromSlash(name))); err != nil {
			return nil, err
		}
		s.Y = append(s.Y, label(name))
	}
	s.inferClasses()
	return s, nil
}

// listPNG returns the slash-separated names of the PNG files of a folder and of
// the folders in it, sorted; finding none is an error.
func listPNG(dir string) (names []string, err error) {
	isPNG := func(name string) bool { return strings.EqualFold(filepath.Ext(name), ".png") }
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, pathError(dir, "a folder that can be listed", err)
	}
	for _, e := range entries {
		if !e.IsDir() {
			if isPNG(e.Name()) {
				names = append(names, e.Name())
			}
			continue
		}
		sub, err := os.ReadDir(filepath.Join(dir, e.Name()))
		if err != nil {
			return nil, pathError(filepath.Join(dir, e.Name()), "a folder that can be listed", err)
		}
		for _, f := range sub {
			if !f.IsDir() && isPNG(f.Name()) {
				names = append(names, e.Name()+"/"+f.Name())
			}
		}
	}
	if len(names) == 0 {
		return nil, &Error{File: dir, Field: "folder", Want: "IDX files, CIFAR-10 .bin batches or PNG files", Got: "none of these"}
	}
	slices.Sort(names)
	return names, nil
}

// pngLabels returns the function from name to label. With complete, names are
// all there are, and labels.csv may name no others.
func pngLabels(dir string, names []string, complete bool) (func(string) int, error) {
	file := filepath.Join(dir, labelsCSV)
	f, err := os.Open(file)
	if errors.Is(err, fs.ErrNotExist) {
		return folderLabel, nil
	}
	if err != nil {
		return nil, pathError(file, "a file that can be read", err)
	}
	defer f.Close()
	var known map[string]bool
	if complete {
		known = make(map[string]bool, len(names))
		for _, name := range names {
			known[name] = true
		}
	}
	labels, err := readLabelsCSV(file, f, known)
	if err != nil {
		return nil, err
	}
	return func(name string) int {
		if y, ok := labels[name]; ok {
			return y
		}
		return Unknown
	}, nil
}

// folderLabel is the number that names the sub-folder, or Unknown.
func folderLabel(name string) int {
	sub, _, ok := strings.Cut(name, "/")
	y, err := strconv.ParseUint(sub, 10, 64)
	if !ok || err != nil || y >= MaxClasses {
		return Unknown
	}
	return int(y)
}

// readLabelsCSV reads name,label lines; with known, a name outside it is an error.
func readLabelsCSV(file string, r io.Reader, known map[string]bool) (map[string]int, error) {
	c := csv.NewReader(r)
	c.FieldsPerRecord = 2
	c.TrimLeadingSpace = true
	labels := map[string]int{}
	for first := true; ; first = false {
		rec, err := c.Read()
		if errors.Is(err, io.EOF) {
			return labels, nil
		}
		if err != nil {
			return nil, &Error{File: file, Field: "text", Want: "lines of name,label", Got: err.Error(), Err: err}
		}
		name, text := filepath.ToSlash(rec[0]), strings.TrimSpace(rec[1])
		if first && name == "name" && text == "label" {
			continue
		}
		line, _ := c.FieldPos(0)
		field := fmt.Sprintf("line %d", line)
		if known != nil && !known[name] {
			return nil, &Error{File: file, Field: field, Want: "the name of a PNG file in this folder", Got: quote(name)}
		}
		if _, again := labels[name]; again {
			return nil, &Error{File: file, Field: field, Want: "each name once", Got: quote(name) + " again"}
		}
		y := Unknown
		if text != "" {
			if y, err = strconv.Atoi(text); err != nil || y < Unknown || y >= MaxClasses {
				return nil, &Error{File: file, Field: field, Want: fmt.Sprintf("a label, -1 to %d", MaxClasses-1), Got: quote(text)}
			}
		}
		labels[name] = y
	}
}

// appendPNG adds the pixels of one file to X; the first file sets the shape.
func (s *Set) appendPNG(file string) error {
	data, err := os.ReadFile(file)
	if err != nil {
		return pathError(file, "a file that can be read", err)
	}
	c, h, w, err := pngShape(file, data)
	if err != nil {
		return err
	}
	if s.C == 0 {
		s.C, s.H, s.W = c, h, w
	}
	if c != s.C || h != s.H || w != s.W {
		return &Error{
			File: file, Field: "shape", Want: fmt.Sprintf("%d×%d×%d like the files before it", s.C, s.H, s.W),
			Got: fmt.Sprintf("%d×%d×%d", c, h, w),
		}
	}
	if int64(len(s.X)+s.size()) > maxPixels {
		return &Error{File: file, Field: "size", Want: fmt.Sprintf("at most %d pixels in all files", maxPixels), Got: "more"}
	}
	r := bytes.NewReader(data)
	img, err := png.Decode(r)
	if err != nil {
		return &Error{File: file, Field: "data", Want: "a whole PNG image", Got: err.Error(), Err: err}
	}
	if r.Len() > 0 {
		return &Error{File: file, Field: "end", Want: "nothing after the IEND chunk", Got: fmt.Sprintf("%d trailing bytes", r.Len())}
	}
	switch m := img.(type) {
	case *image.Gray:
		for y := range h {
			s.X = appendScaled(s.X, m.Pix[y*m.Stride:y*m.Stride+w])
		}
	case *image.RGBA: // what an RGB file becomes when nothing is transparent
		for ch := range c {
			for i := range h * w {
				s.X = append(s.X, scaled[m.Pix[i/w*m.Stride+i%w*4+ch]])
			}
		}
	default:
		return &Error{File: file, Field: "tRNS chunk", Want: "no transparency", Got: "a transparent colour"}
	}
	return nil
}

// pngShape reads the IHDR chunk, to refuse what image/png would silently turn
// into 8 bits, and images whose pixels it would allocate although the file
// cannot hold them: deflate packs at most 1032 bytes into one.
func pngShape(file string, data []byte) (c, h, w int, err error) {
	const ihdrEnd = 8 + 8 + 13
	if len(data) < ihdrEnd || string(data[:8]) != "\x89PNG\r\n\x1a\n" || string(data[12:16]) != "IHDR" {
		return 0, 0, 0, &Error{File: file, Field: "signature", Want: "a PNG signature and an IHDR chunk", Got: quote(string(data[:min(16, len(data))]))}
	}
	w64 := int64(binary.BigEndian.Uint32(data[16:]))
	h64 := int64(binary.BigEndian.Uint32(data[20:]))
	switch depth, kind := data[24], data[25]; {
	case depth == 8 && kind == 0:
		c = 1
	case depth == 8 && kind == 2:
		c = 3
	default:
		return 0, 0, 0, &Error{File: file, Field: "IHDR", Want: "bit depth 8 and colour type 0 (gray) or 2 (RGB)", Got: fmt.Sprintf("bit depth %d and colour type %d", depth, kind)}
	}
	n, ok := product(maxPixels, int64(c), h64, w64)
	if !ok || n == 0 || n > 1032*int64(len(data)) {
		return 0, 0, 0, &Error{
			File: file, Field: "IHDR", Want: fmt.Sprintf("at least 1×1 and at most %d pixels, as many as %d bytes can hold", maxPixels, len(data)),
			Got: fmt.Sprintf("%d×%d", h64, w64),
		}
	}
	return c, int(h64), int(w64), nil
}
