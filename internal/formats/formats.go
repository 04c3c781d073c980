// Package formats connects package epsball with readers of networks in formats other
// than its own. A program has only the readers that it imports.
package formats

import (
	"fmt"
	"io/fs"
	"strings"

	"github.com/epsball/epsball/model"
)

// ONNX is what package onnx puts here.
var ONNX struct {
	Load   func(path string) (*model.Model, error)
	LoadFS func(fsys fs.FS, name string) (*model.Model, error)

	// Foreign returns an error for a file of another framework, which says how to get
	// an ONNX network out of it, or nil.
	Foreign func(path string) error
}

// IsONNX reports whether a path names an ONNX network: it ends in .onnx or .onnx.gz.
func IsONNX(path string) bool {
	path = strings.ToLower(path)
	return strings.HasSuffix(path, ".onnx") || strings.HasSuffix(path, ".onnx.gz")
}

// Load reads a model file or, if the program can, an ONNX network.
func Load(path string) (*model.Model, error) {
	if ONNX.Foreign != nil {
		if err := ONNX.Foreign(path); err != nil {
			return nil, err
		}
	}
	if !IsONNX(path) {
		return model.Load(path)
	}
	if ONNX.Load == nil {
		return nil, noONNX(path)
	}
	return ONNX.Load(path)
}

// LoadFS is Load from a file system.
func LoadFS(fsys fs.FS, name string) (*model.Model, error) {
	if !IsONNX(name) {
		return model.LoadFS(fsys, name)
	}
	if ONNX.LoadFS == nil {
		return nil, noONNX(name)
	}
	return ONNX.LoadFS(fsys, name)
}

func noONNX(name string) error {
	return fmt.Errorf("model: %s: this program reads no ONNX networks: import _ %q, or convert the file with epsball import", name, "github.com/epsball/epsball/onnx")
}
