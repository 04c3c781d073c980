// Package input reads what commands are given by name: models, data sets, and the two
// together as subjects that are ready to run. Its errors speak of the flags --model,
// --data, --n and --offset.
package input

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/epsball/epsball/internal/formats"
	"github.com/epsball/epsball/internal/outfile"
	"github.com/epsball/epsball/model"
	_ "github.com/epsball/epsball/onnx" // for formats.Load
)

// Builtin is what names of built-in models and data begin with.
const Builtin = "builtin:"

// Library is where built-in models come from.
type Library struct {
	Names    func() []string
	Overview func() []string // those that commands look at where none is named
	Read     func(name string) (*model.Model, error)
}

// Load loads builtin:NAME, a model file or an ONNX file.
func (l Library) Load(spec string) (*model.Model, error) {
	name, ok := strings.CutPrefix(spec, Builtin)
	if !ok {
		if strings.Contains(spec, "://") {
			return nil, fmt.Errorf("model %s: want a file on this machine: download it first", spec)
		}
		return formats.Load(spec)
	}
	known := l.Names()
	if slices.Contains(known, name) {
		return l.Read(name)
	}
	if len(known) == 0 {
		return nil, fmt.Errorf("model %s: this program has no built-in models", spec)
	}
	return nil, fmt.Errorf("model %s: no such built-in model, want one of %s", spec, strings.Join(l.Specs(), ", "))
}

// Specs lists the built-in models as Load takes them.
func (l Library) Specs() []string { return specs(l.Names()) }

// OverviewSpecs lists those that commands look at where none is named.
func (l Library) OverviewSpecs() []string { return specs(l.Overview()) }

func specs(names []string) []string {
	names = slices.Clone(names)
	for i := range names {
		names[i] = Builtin + names[i]
	}
	return names
}

// Name is what tables call a model: its built-in name or the base name of its file.
func Name(spec string) string {
	if name, ok := strings.CutPrefix(spec, Builtin); ok {
		return name
	}
	name := strings.TrimSuffix(filepath.Base(spec), ".gz")
	return strings.TrimSuffix(strings.TrimSuffix(name, outfile.Model), outfile.ONNX)
}
