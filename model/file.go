package model

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"

	"github.com/epsball/epsball/internal/atomicfile"
)

// Load reads a model file, with no more memory than the model takes and a little.
// The error is a *FormatError for a file that is not valid, and wraps the file
// system's for one that cannot be read.
func Load(path string) (*Model, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("model: %w", err)
	}
	return load(f, path)
}

// LoadFS is Load from a file system, such as an embedded one.
func LoadFS(fsys fs.FS, name string) (*Model, error) {
	f, err := fsys.Open(name)
	if err != nil {
		return nil, fmt.Errorf("model: %w", err)
	}
	return load(f, name)
}

// load reads a file and closes it.
func load(f fs.File, name string) (*Model, error) {
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("model: %w", err)
	}
	switch size := info.Size(); {
	case info.IsDir():
		return nil, fmt.Errorf("model: %w", &fs.PathError{Op: "read", Path: name, Err: errors.New("is a directory")})
	case !info.Mode().IsRegular(): // a pipe, which does not know its size
		data, err := io.ReadAll(f)
		if err != nil {
			return nil, fmt.Errorf("model: %w", err)
		}
		return Decode(data, name)
	case size > math.MaxInt:
		return nil, &FormatError{name, "data", fmt.Sprintf("got a file of %d bytes, expected at most %d", size, math.MaxInt)}
	}
	m, err := read(f, info.Size())
	fe := (*FormatError)(nil)
	switch {
	case err == nil:
		return m, nil
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return nil, &FormatError{name, "data", fmt.Sprintf("got a file that ends early, expected %d bytes, as it had when it was opened", info.Size())}
	case errors.As(err, &fe):
		return nil, inFile(err, name)
	}
	return nil, fmt.Errorf("model: %w", err)
}

// Save writes the model file, byte for byte Encode's. A file at path is
// replaced all at once or, on an error, left as it was. The error is Encode's or
// wraps the file system's.
func (m *Model) Save(path string) error {
	data, err := m.Encode()
	if err != nil {
		return inFile(err, path)
	}
	if err := atomicfile.WriteBytes(path, data); err != nil {
		return fmt.Errorf("model: %w", err)
	}
	return nil
}
