package dataset

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

const wantSpec = "builtin:NAME, a folder of IDX, CIFAR-10, PNG or JPEG files, or an .npz, .npy, .png, .jpg, CIFAR-10 .bin or IDX images file"

// Load reads the set that spec names:
//
//   - builtin:NAME: a set registered with Register;
//   - a folder of IDX files (*-images-idx3-ubyte and *-labels-idx1-ubyte), of
//     CIFAR-10 batches (*.bin), or of PNG and JPEG files (see LoadImages), looked
//     for in this order;
//   - an .npz file with images and labels, an .npy file of images, a .png, .jpg or
//     .jpeg file, one CIFAR-10 .bin file, or the images file of an IDX pair.
//
// IDX and CIFAR-10 files may be gzip-compressed; where x and x.gz both lie there,
// x is read. A folder, or an .npz, that holds a test and a training part (test,
// t10k against train, data_batch in the names, or folders test and train of
// images) gives the test part; SPEC#train and SPEC#test choose. CIFAR-10 batches of the part chosen are concatenated in
// the order of their names. docs/data.md has the details.
//
// What is wrong with the spec or the files is reported as an *Error.
func Load(spec string) (*Set, error) { return LoadWith(spec, Options{}) }

// LoadWith is Load with options.
func LoadWith(spec string, o Options) (*Set, error) {
	if name, ok := strings.CutPrefix(spec, "builtin:"); ok {
		if err := o.noChannels(spec); err != nil {
			return nil, err
		}
		s, err := loadBuiltin(name)
		if err != nil || o == (Options{}) {
			return s, err
		}
		return o.cut(spec, s)
	}
	path, part := spec, ""
	for _, p := range []string{"train", "test"} {
		if cut, ok := strings.CutSuffix(spec, "#"+p); ok {
			path, part = cut, p
		}
	}
	info, err := os.Stat(path)
	if err != nil {
		return nil, pathError(path, wantSpec, err)
	}
	lower := strings.ToLower(strings.TrimSuffix(path, ".gz"))
	npz, npy := strings.HasSuffix(lower, ".npz"), strings.HasSuffix(lower, ".npy")
	if info.IsDir() || !npz && !npy {
		if err := o.noChannels(path); err != nil {
			return nil, err
		}
	}
	var s *Set
	switch {
	case info.IsDir():
		s, err = loadFolder(path, part, &o)
	case npz:
		s, err = loadNPZ(path, part, &o)
	case part != "":
		return nil, &Error{File: path, Field: "#" + part, Want: "a folder or an .npz file, which alone have parts", Got: "another file"}
	case npy:
		s, err = loadNPY(path, &o)
	case isImage(path):
		s, err = loadImages(path, &o)
	case strings.HasSuffix(lower, ".bin"):
		s, err = loadCIFAR([]string{path}, &o)
	case isIDXImages(path):
		s, err = loadIDX(path, &o)
	default:
		return nil, &Error{File: path, Field: "name", Want: wantSpec, Got: quote(filepath.Base(path))}
	}
	if err != nil {
		return nil, err
	}
	s.Name = filepath.Base(path)
	if abs, err := filepath.Abs(path); err == nil {
		s.Name = filepath.Base(abs) // a name even for "."
	}
	if part != "" {
		s.Name += "#" + part
	}
	return s, nil
}

// noChannels refuses an order of channels for a format that has its own.
func (o *Options) noChannels(file string) error {
	if o.Channels == ChannelsAuto {
		return nil
	}
	return &Error{File: file, Field: "channels", Want: "auto: only .npz and .npy files have no order of their own", Got: o.Channels.String()}
}

func loadFolder(dir, part string, o *Options) (*Set, error) {
	entries, err := os.ReadDir(dir) // sorted by name
	if err != nil {
		return nil, pathError(dir, "a folder that can be listed", err)
	}
	var images, batches []string
	for _, e := range entries {
		name := e.Name()
		switch {
		case e.IsDir():
		case isIDXImages(name):
			images = append(images, name)
		case strings.HasSuffix(strings.TrimSuffix(strings.ToLower(name), ".gz"), ".bin"):
			batches = append(batches, name)
		}
	}
	if len(images) > 0 {
		if images, err = pickPart(dir, images, part); err != nil {
			return nil, err
		}
		if len(images) > 1 {
			return nil, &Error{File: dir, Field: "IDX images files", Want: "one for the part, or the path of one of them", Got: strings.Join(images, ", ")}
		}
		return loadIDX(filepath.Join(dir, images[0]), o)
	}
	if len(batches) > 0 {
		if batches, err = pickPart(dir, batches, part); err != nil {
			return nil, err
		}
		for i := range batches {
			batches[i] = filepath.Join(dir, batches[i])
		}
		return loadCIFAR(batches, o)
	}
	if part == "" && isFolder(dir, "test") && isFolder(dir, "train") { // parts, not classes
		part = "test"
	}
	switch {
	case part == "":
		return loadImages(dir, o)
	case isFolder(dir, part):
		return loadImages(filepath.Join(dir, part), o)
	}
	return nil, &Error{File: dir, Field: "#" + part, Want: "a folder of IDX or CIFAR-10 files, or one with a folder " + part, Got: "neither"}
}

func isFolder(dir, name string) bool {
	info, err := os.Stat(filepath.Join(dir, name))
	return err == nil && info.IsDir()
}

// pickPart returns those of names that belong to part or, where part is empty,
// to the first of test, train and neither that has any. Packed twins of plain
// files are left out. names must not be empty.
func pickPart(dir string, names []string, part string) ([]string, error) {
	byPart := map[string][]string{}
	for _, name := range names {
		if plain, packed := strings.CutSuffix(name, ".gz"); packed && slices.Contains(names, plain) {
			continue
		}
		p := partOf(name)
		byPart[p] = append(byPart[p], name)
	}
	order := []string{"test", "train", ""}
	if part != "" {
		order = []string{part}
	}
	for _, p := range order {
		if len(byPart[p]) > 0 {
			return byPart[p], nil
		}
	}
	want := "a file with train or data_batch in its name"
	if part == "test" {
		want = "a file with test or t10k in its name"
	}
	return nil, &Error{File: dir, Field: "#" + part, Want: want, Got: strings.Join(names, ", ")}
}

// partOf tells the part from a word of the name, so that latest.bin is not a test.
func partOf(name string) string {
	name = strings.ToLower(name)
	if strings.HasPrefix(name, "data_batch") {
		return "train"
	}
	for _, word := range strings.FieldsFunc(name, isSeparator) {
		switch word {
		case "train":
			return "train"
		case "test", "t10k":
			return "test"
		}
	}
	return ""
}

func isIDXImages(path string) bool {
	base := filepath.Base(path)
	return strings.Contains(base, "images") && strings.Contains(base, "idx3")
}

// idxLabelsFile is the name of the labels of a file of images.
func idxLabelsFile(images string) string {
	return strings.Replace(strings.Replace(images, "images", "labels", 1), "idx3", "idx1", 1)
}

// loadIDX reads the images file at path and the labels file beside it.
func loadIDX(path string, o *Options) (*Set, error) {
	dir, base := filepath.Split(path)
	plain := strings.TrimSuffix(idxLabelsFile(base), ".gz")
	labelsPath := dir + plain
	if _, err := os.Stat(labelsPath); err != nil {
		labelsPath += ".gz"
	}
	labels, err := os.Open(labelsPath)
	if err != nil {
		return nil, pathError(path, fmt.Sprintf("the labels file %s or %[1]s.gz beside it", plain), err)
	}
	defer labels.Close()
	images, err := os.Open(path)
	if err != nil {
		return nil, pathError(path, "a file that can be read", err)
	}
	defer images.Close()
	return readIDX(path, images, labelsPath, labels, o)
}

func loadCIFAR(paths []string, o *Options) (*Set, error) {
	batches := make([]cifarBatch, len(paths))
	for i, path := range paths {
		batches[i] = cifarBatch{file: path, open: func() (io.ReadCloser, error) { return os.Open(path) }}
	}
	return readCIFAR(batches, o)
}
