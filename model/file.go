package model

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"math/rand/v2"
	"os"
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
	if err := replaceFile(path, data); err != nil {
		return fmt.Errorf("model: %w", err)
	}
	return nil
}

// replaceFile writes a temporary file beside path and renames it: a rename
// within one folder is atomic.
func replaceFile(path string, data []byte) (err error) {
	f, err := createBeside(path)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = os.Remove(f.Name())
		}
	}()
	_, err = f.Write(data)
	if err == nil {
		err = f.Sync() // or a crash could leave the new name on an empty file
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}

// createBeside creates a new file next to path. Unlike os.CreateTemp it leaves
// the permissions to the umask: the file is to stay.
func createBeside(path string) (*os.File, error) {
	for range 100 {
		name := fmt.Sprintf("%s.tmp-%08x", path, rand.Uint32())
		f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o666)
		if !errors.Is(err, fs.ErrExist) {
			return f, err
		}
	}
	return nil, fmt.Errorf("%s: no free name for a temporary file beside it", path)
}
