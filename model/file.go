package model

import (
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
)

// Load reads a model file. The error is a *FormatError for a file that is not
// valid, and wraps the file system's for one that cannot be read.
func Load(path string) (*Model, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("model: %w", err)
	}
	return Decode(data, path)
}

// LoadFS is Load from a file system, such as an embedded one.
func LoadFS(fsys fs.FS, name string) (*Model, error) {
	data, err := fs.ReadFile(fsys, name)
	if err != nil {
		return nil, fmt.Errorf("model: %w", err)
	}
	return Decode(data, name)
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
