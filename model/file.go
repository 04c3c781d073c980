package model

import (
	"fmt"
	"io/fs"
	"os"

	"github.com/epsball/epsball/internal/atomicfile"
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
	if err := atomicfile.WriteBytes(path, data); err != nil {
		return fmt.Errorf("model: %w", err)
	}
	return nil
}
