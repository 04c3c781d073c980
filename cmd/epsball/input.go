package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/epsball/epsball/dataset"
	_ "github.com/epsball/epsball/dataset/mnist" // builtin:mnist
	"github.com/epsball/epsball/internal/formats"
	"github.com/epsball/epsball/kernels"
	"github.com/epsball/epsball/model"
	"github.com/epsball/epsball/net"
	_ "github.com/epsball/epsball/onnx" // for formats.Load
)

const (
	builtinPrefix = "builtin:"
	mnistTest     = "builtin:mnist" // its test images
)

// loadModel loads builtin:NAME, a model file or an ONNX file.
func (a *app) loadModel(spec string) (*model.Model, error) {
	name, ok := strings.CutPrefix(spec, builtinPrefix)
	if !ok {
		if strings.Contains(spec, "://") {
			return nil, fmt.Errorf("model %s: want a file on this machine: download it first", spec)
		}
		m, err := formats.Load(spec)
		if errors.Is(err, fs.ErrNotExist) {
			err = fmt.Errorf("%w%s", err, didYouMean(spec, builtinPrefix, a.models.names()))
		}
		return m, err
	}
	known := a.models.names()
	if slices.Contains(known, name) {
		return a.models.load(name)
	}
	if len(known) == 0 {
		return nil, fmt.Errorf("model %s: this program has no built-in models", spec)
	}
	return nil, fmt.Errorf("model %s: no such built-in model, want one of %s", spec, strings.Join(a.builtinNames(), ", "))
}

// builtinNames lists the built-in models as --model takes them.
func (a *app) builtinNames() []string {
	names := slices.Clone(a.models.names())
	for i := range names {
		names[i] = builtinPrefix + names[i]
	}
	return names
}

// modelRequired is the error of a command without --model.
func (a *app) modelRequired() error {
	return fmt.Errorf("--model: required: a file, or one of %s; see epsball help models", strings.Join(a.builtinNames(), ", "))
}

// modelName is what tables call a model: its built-in name or the base name of
// its file.
func modelName(spec string) string {
	if name, ok := strings.CutPrefix(spec, builtinPrefix); ok {
		return name
	}
	name := strings.TrimSuffix(filepath.Base(spec), ".gz")
	return strings.TrimSuffix(strings.TrimSuffix(name, modelFile), onnxFile)
}

// data is the part of a data set that a command looks at.
type data struct {
	spec   string
	offset int // index of the first image in the set
	n      int // number of images; 0: all from offset on
	set    *dataset.Set
}

// addFlags declares --data, --n and --offset. An empty spec has no default.
func (d *data) addFlags(c *cobra.Command, spec string) {
	f := c.Flags()
	f.StringVar(&d.spec, "data", spec, "`data` set: builtin:mnist, a folder (FOLDER#train, FOLDER#test) or a file")
	f.IntVar(&d.n, "n", 0, "number of images (default all)")
	f.IntVar(&d.offset, "offset", 0, "index of the first image")
}

// load reads the set and cuts it.
func (d *data) load() error {
	switch {
	case d.spec == "":
		return errors.New("--data: required: builtin:mnist, a folder or a file; see epsball help data")
	case strings.HasPrefix(d.spec, builtinPrefix) && strings.Contains(d.spec, "#"):
		return fmt.Errorf("data %s: built-in data has no parts; builtin:mnist is the MNIST test set, and a clone has training images in testdata/mnist#train", d.spec)
	case strings.Contains(d.spec, "://"):
		return fmt.Errorf("data %s: want a file or a folder on this machine: download it first", d.spec)
	case d.n < 0:
		return fmt.Errorf("--n: got %d, want at least 1, or 0 for all", d.n)
	case d.offset < 0:
		return fmt.Errorf("--offset: got %d, want at least 0", d.offset)
	}
	s, err := dataset.Load(d.spec)
	if err != nil {
		return err
	}
	if d.offset >= s.Len() {
		return fmt.Errorf("--offset: got %d, want less than the %d images of %s", d.offset, s.Len(), d.spec)
	}
	rest := s.Len() - d.offset
	if d.n > rest {
		return fmt.Errorf("--n: got %d, want at most the %d images of %s from --offset %d on", d.n, rest, d.spec, d.offset)
	}
	if d.n == 0 {
		d.n = rest
	}
	d.set = s.Slice(d.offset, d.offset+d.n)
	return nil
}

// fit checks that the data is something the model takes, and gives it the
// model's classes.
func (d *data) fit(m *model.Model, spec string) (*dataset.Set, error) {
	in, set := m.Arch.Input, *d.set
	if got := (model.Shape{C: set.C, H: set.H, W: set.W}); got != in {
		// A vector may be any image, channels first: imported networks of fully
		// connected layers often take one.
		if n := in.Size(); n != got.Size() || max(in.C, in.H, in.W) != n {
			return nil, fmt.Errorf("data %s: images are %v, but model %s takes %v: %s", d.spec, got, spec, in, refit(got, in))
		}
		set.C, set.H, set.W = in.C, in.H, in.W
	}
	if m.Arch.Classes() < 2 {
		return nil, fmt.Errorf("model %s: got 1 output, expected at least 2: the logits of classes", spec)
	}
	return set.WithClasses(m.Arch.Classes())
}

// known checks that every image has a label.
func (d *data) known() error {
	for i, y := range d.set.Y {
		if y == dataset.Unknown {
			return fmt.Errorf("data %s: image %d has no label: %s; see epsball help data", d.spec, d.offset+i, labelling(d.spec))
		}
	}
	return nil
}

// subject is one model with data that fits it, ready to run.
type subject struct {
	name  string
	model *model.Model
	net   *net.Network
	pool  *kernels.Pool
	x     []float32
	y     []int
}

// subject loads what most commands work on.
func (a *app) subject(modelSpec string, d *data) (*subject, error) {
	if modelSpec == "" {
		return nil, a.modelRequired()
	}
	m, err := a.loadModel(modelSpec)
	if err != nil {
		return nil, err
	}
	if err := d.load(); err != nil {
		return nil, err
	}
	return a.prepare(m, modelSpec, d)
}

// prepare compiles a model for data already loaded.
func (a *app) prepare(m *model.Model, modelSpec string, d *data) (*subject, error) {
	set, err := d.fit(m, modelSpec)
	if err != nil {
		return nil, err
	}
	n, err := a.compile(m)
	if err != nil {
		return nil, err
	}
	return &subject{modelName(modelSpec), m, n, kernels.NewPool(a.threads), set.X, set.Y}, nil
}

// image returns the pixels of image i.
func (s *subject) image(x []float32, i int) []float32 {
	size := s.net.Input().Size()
	return x[i*size : (i+1)*size]
}

// checkOut refuses a path that could not be written to, before work is spent.
func checkOut(flag, path string) error {
	if path == "" {
		return nil
	}
	if info, err := os.Stat(path); err == nil && info.IsDir() {
		return fmt.Errorf("--%s: %s is a folder, want a file", flag, path)
	}
	dir := filepath.Dir(path)
	if info, err := os.Stat(dir); err != nil || !info.IsDir() {
		return fmt.Errorf("--%s: %s: there is no folder %s", flag, path, dir)
	}
	return nil
}
