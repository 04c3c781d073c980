package onnx

import (
	"bytes"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/epsball/epsball/model"
)

const (
	// maxExternal bounds the bytes of external data that a model may take in all:
	// those of the largest ONNX file that is one file.
	maxExternal = maxEncoded
	maxEntries  = 16 // of one tensor's external data
)

// asOneFile is how to do without external data.
const asOneFile = "torch.onnx.export(..., external_data=False), or onnx.save(onnx.load(PATH), PATH)"

// sibling opens a regular file in the model's folder, whose name has been checked.
type sibling func(name string) (fs.File, error)

// external reads tensors whose values are in files beside the model.
type external struct {
	open sibling // nil: the model is bytes alone
	left int64   // bytes that may still be taken

	// The file read last; tensors of one file mostly follow each other.
	name string
	file fs.File
	data io.ReaderAt
	size int64
}

// place is where a tensor's values are: length bytes from offset on, -1: to the end
// of the file.
type place struct {
	location       string
	offset, length int64
}

// fetch reads the values of an external tensor as its raw data.
func (x *external) fetch(t *tensor) error {
	fail := func(format string, args ...any) error {
		return &model.FormatError{Field: "tensor " + quote(t.name), Msg: fmt.Sprintf(format, args...)}
	}
	p, err := t.place()
	if err != nil {
		return fail("external data: %v", err)
	}
	failIn := func(format string, args ...any) error {
		return fail("external data %s: "+format, append([]any{quote(p.location)}, args...)...)
	}
	if t.hasRaw || len(t.floats)+len(t.doubles)+len(t.varints) > 0 {
		return failIn("got values within the model as well, expected them in one place")
	}
	want, err := t.bytes()
	switch {
	case err != nil:
		return fail("%v", err)
	case p.length >= 0 && p.length != want:
		return failIn("got a length of %d bytes, expected %d for the dimensions %v", p.length, want, t.dims)
	case x.open == nil:
		return failIn("got a model without its folder, expected the values within it: load it by its path, or export one file with %s", asOneFile)
	}
	if err := x.find(p.location); err != nil {
		return failIn("%v", err)
	}
	switch {
	case p.length < 0 && x.size-p.offset != want:
		return failIn("got a file of %d bytes, read from byte %d to its end, expected %d bytes there for the dimensions %v", x.size, p.offset, want, t.dims)
	case p.offset > x.size-want:
		return failIn("got a file of %d bytes, expected %d from byte %d on: the file is cut short or of another export", x.size, want, p.offset)
	}
	if x.left -= want; x.left < 0 {
		return failIn("got tensors of more than %d bytes in all, expected at most that", int64(maxExternal))
	}
	raw := make([]byte, want)
	if n, err := x.data.ReadAt(raw, p.offset); n < len(raw) {
		return failIn("got %v after %d bytes, expected %d from byte %d on", err, n, want, p.offset)
	}
	t.raw, t.hasRaw = raw, true
	return nil
}

// place checks where an external tensor says that its values are.
func (t *tensor) place() (place, error) {
	p := place{length: -1}
	seen := map[string]bool{}
	for _, e := range t.entries {
		k, v := e[0], e[1]
		if seen[k] {
			return p, fmt.Errorf("got the key %s twice, expected it once", quote(k))
		}
		seen[k] = true
		switch k {
		case "location":
			p.location = v
		case "offset", "length":
			n, err := strconv.ParseUint(v, 10, 62)
			if err != nil {
				return p, fmt.Errorf("%s: got %s, expected a number of bytes", k, quote(v))
			}
			if k == "offset" {
				p.offset = int64(n)
			} else {
				p.length = int64(n)
			}
		default:
			return p, fmt.Errorf("got the key %s, expected location, offset and length: export one file with %s", quote(k), asOneFile)
		}
	}
	if !isName(p.location) {
		return p, fmt.Errorf("location: got %s, expected the name of a file in the model's folder", quote(p.location))
	}
	return p, nil
}

// isName reports whether s names a file in a folder, whatever the system: no path, no
// drive, no device.
func isName(s string) bool {
	return s != "" && s != "." && !strings.ContainsAny(s, "/\\:\x00") && filepath.IsLocal(s)
}

// find makes the named file the one that is read.
func (x *external) find(name string) error {
	if x.data != nil && x.name == name {
		return nil
	}
	x.close()
	f, err := x.open(name)
	if err != nil {
		return err
	}
	x.name, x.file = name, f
	info, err := f.Stat()
	if err != nil {
		return err
	}
	x.size = info.Size()
	if r, ok := f.(io.ReaderAt); ok {
		x.data = r
		return nil
	}
	// One that is read from its beginning alone, of an archive for example: the whole
	// counts, each time, since a few bytes of it can stand for many.
	limit := min(x.left, maxUnpacked)
	all, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err != nil {
		return err
	}
	if int64(len(all)) > limit {
		return fmt.Errorf("got more than %d bytes in a file system that cannot read parts of a file, expected at most that", limit)
	}
	x.left -= int64(len(all))
	x.data, x.size = bytes.NewReader(all), int64(len(all))
	return nil
}

func (x *external) close() {
	if x.file != nil {
		_ = x.file.Close() // only read
	}
	x.name, x.file, x.data = "", nil, nil
}
