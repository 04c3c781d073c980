package onnx

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"

	"github.com/epsball/epsball/model"
)

// maxUnpacked bounds a compressed file: a few bytes can stand for gigabytes.
const maxUnpacked = 256 << 20

// Load reads a model from an ONNX file, gzipped if the name ends in .gz. The
// error is Decode's, or wraps the file system's.
func Load(path string) (*model.Model, error) {
	data, err := os.ReadFile(path)
	return load(data, err, path)
}

// LoadFS is Load from a file system.
func LoadFS(fsys fs.FS, name string) (*model.Model, error) {
	data, err := fs.ReadFile(fsys, name)
	return load(data, err, name)
}

func load(data []byte, err error, name string) (*model.Model, error) {
	if err != nil {
		return nil, fmt.Errorf("model: %w", err)
	}
	if strings.HasSuffix(strings.ToLower(name), ".gz") {
		if data, err = unpack(data, maxUnpacked); err != nil {
			return nil, &model.FormatError{File: name, Field: "gzip", Msg: err.Error()}
		}
	}
	return Decode(data, name)
}

func unpack(data []byte, limit int64) ([]byte, error) {
	r, err := gzip.NewReader(bytes.NewReader(data))
	if err != nil {
		return nil, fmt.Errorf("got bytes that are not gzipped (%v), expected a compressed file", err)
	}
	out, err := io.ReadAll(io.LimitReader(r, limit+1))
	if err != nil {
		return nil, fmt.Errorf("got compressed bytes cut short or damaged (%v)", err)
	}
	if int64(len(out)) > limit {
		return nil, fmt.Errorf("got more than %d bytes, expected at most that: unpack the file first", limit)
	}
	return out, nil
}
