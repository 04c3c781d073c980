package onnx

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/epsball/epsball/model"
)

// maxUnpacked bounds a compressed file: a few bytes can stand for gigabytes.
const maxUnpacked = 256 << 20

// Load reads a model from an ONNX file, gzipped if the name ends in .gz. Weights in
// another file (external data) are read from the same folder; a symbolic link there
// must not lead out of it. The error is Decode's, or wraps the file system's.
func Load(file string) (*model.Model, error) { return Options{}.Load(file) }

// Load is Load with the options.
func (o Options) Load(file string) (*model.Model, error) {
	data, err := os.ReadFile(file)
	return o.load(data, err, file, func(name string) (fs.File, error) {
		root, err := os.OpenRoot(filepath.Dir(file))
		if err != nil {
			return nil, err
		}
		defer root.Close()
		return openRegular(root.FS(), name)
	})
}

// ReadAlone returns a network and the bytes of its file, unpacked. Unlike Load it wants
// all weights to be in that file. The error is Decode's, or wraps the file system's.
func ReadAlone(file string) (data []byte, m *model.Model, err error) {
	data, err = os.ReadFile(file)
	if err != nil {
		return nil, nil, fmt.Errorf("model: %w", err)
	}
	if strings.HasSuffix(strings.ToLower(file), ".gz") {
		if data, err = unpack(data, maxUnpacked); err != nil {
			return nil, nil, &model.FormatError{File: file, Field: "gzip", Msg: err.Error()}
		}
	}
	m, err = Decode(data, file)
	return data, m, err
}

// LoadFS is Load from a file system, which decides itself about symbolic links.
func LoadFS(fsys fs.FS, name string) (*model.Model, error) { return Options{}.LoadFS(fsys, name) }

// LoadFS is LoadFS with the options.
func (o Options) LoadFS(fsys fs.FS, name string) (*model.Model, error) {
	data, err := fs.ReadFile(fsys, name)
	return o.load(data, err, name, func(other string) (fs.File, error) {
		return openRegular(fsys, path.Join(path.Dir(name), other))
	})
}

// openRegular opens a file of external data. It looks at it first, since opening a
// pipe waits.
func openRegular(fsys fs.FS, name string) (fs.File, error) {
	info, err := fs.Stat(fsys, name)
	if err == nil && !info.Mode().IsRegular() {
		return nil, errors.New("got a folder, a pipe or a device, expected a regular file")
	}
	var f fs.File
	if err == nil {
		f, err = fsys.Open(name)
	}
	var pe *fs.PathError
	switch {
	case err == nil:
		return f, nil
	case errors.Is(err, fs.ErrNotExist):
		return nil, errors.New("got no such file beside the model, expected its weights there: keep the two together, or export one file with " + asOneFile)
	case errors.As(err, &pe):
		err = pe.Err
	}
	return nil, fmt.Errorf("got a file that cannot be opened (%w), expected its weights there: or export one file with %s", err, asOneFile)
}

func (o Options) load(data []byte, err error, name string, open sibling) (*model.Model, error) {
	if err != nil {
		return nil, fmt.Errorf("model: %w", err)
	}
	if strings.HasSuffix(strings.ToLower(name), ".gz") {
		if data, err = unpack(data, maxUnpacked); err != nil {
			return nil, &model.FormatError{File: name, Field: "gzip", Msg: err.Error()}
		}
	}
	return o.decodeBeside(data, name, open)
}

func unpack(data []byte, limit int64) ([]byte, error) {
	r, err := gzip.NewReader(bytes.NewReader(data))
	if err != nil {
		return nil, errors.New("got bytes that are not gzipped, expected a compressed file")
	}
	// The file ends in its unpacked size, if it is one part. Reserved at once, that
	// takes half of what growing does.
	size := int64(binary.LittleEndian.Uint32(data[len(data)-4:]))
	const most = 1032 // bytes that deflate makes of one
	out := bytes.NewBuffer(make([]byte, 0, min(size, limit, most*int64(len(data)))+bytes.MinRead))
	if _, err := out.ReadFrom(io.LimitReader(r, limit+1)); err != nil {
		return nil, errors.New("got compressed bytes cut short or damaged, expected a complete file")
	}
	if int64(out.Len()) > limit {
		return nil, fmt.Errorf("got more than %d bytes, expected at most that: unpack the file first", limit)
	}
	return out.Bytes(), nil
}
