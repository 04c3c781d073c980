package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/epsball/epsball/audit"
	"github.com/epsball/epsball/dataset"
	_ "github.com/epsball/epsball/dataset/mnist" // builtin:mnist
	"github.com/epsball/epsball/internal/formats"
	"github.com/epsball/epsball/internal/outfile"
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
	return strings.TrimSuffix(strings.TrimSuffix(name, outfile.Model), outfile.ONNX)
}

// data is the part of a data set that a command looks at.
type data struct {
	spec   string
	offset int // index of the first image in the set
	n      int // number of images; 0: all from offset on
	set    *dataset.Set

	channels *value[dataset.ChannelOrder] // nil: auto
}

// addFlags declares --data, --channels, --n and --offset. An empty spec has no
// default.
func (d *data) addFlags(c *cobra.Command, spec string) {
	f := c.Flags()
	f.StringVar(&d.spec, "data", spec, "`data` set: builtin:mnist, a folder (FOLDER#train, FOLDER#test) or a file")
	d.addChannels(c)
	f.IntVar(&d.n, "n", 0, "number of images (default all)")
	f.IntVar(&d.offset, "offset", 0, "index of the first image")
}

// addChannels declares --channels.
func (d *data) addChannels(c *cobra.Command) {
	d.channels = newValue("order", dataset.ChannelsAuto.String(), dataset.ParseChannelOrder)
	c.Flags().Var(d.channels, "channels", "where NumPy arrays of images have their channels: first, last, or auto, as it fits the model")
}

// load reads the part of the set that is wanted, for a model.
func (d *data) load(m *model.Model, modelSpec string) error {
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
	in := m.Arch.Input
	o := dataset.Options{Input: dataset.Shape{C: in.C, H: in.H, W: in.W}, Offset: d.offset, N: d.n}
	if d.channels != nil {
		o.Channels = d.channels.v
	}
	s, err := dataset.LoadWith(d.spec, o)
	var shape *dataset.ShapeError
	var part *dataset.RangeError
	switch {
	case errors.As(err, &shape):
		return d.misfit(shape.Images, modelSpec, in)
	case errors.As(err, &part) && d.offset >= part.Len:
		return fmt.Errorf("--offset: got %d, want less than the %d images of %s", d.offset, part.Len, d.spec)
	case errors.As(err, &part):
		return fmt.Errorf("--n: got %d, want at most the %d images of %s from --offset %d on", d.n, part.Len-d.offset, d.spec, d.offset)
	case err != nil:
		return err
	}
	d.n, d.set = s.Len(), s
	return nil
}

func (d *data) misfit(images dataset.Shape, modelSpec string, in model.Shape) error {
	return fmt.Errorf("data %s: images are %v, but model %s takes %v: %s", d.spec, images, modelSpec, in, refit(model.Shape(images), in))
}

// fit checks that the data is something the model takes, and gives it the
// model's classes.
func (d *data) fit(m *model.Model, spec string) (*dataset.Set, error) {
	in, set, classes := m.Arch.Input, *d.set, m.Arch.Classes()
	if !(dataset.Shape{C: in.C, H: in.H, W: in.W}).Takes(set.Shape()) {
		return nil, d.misfit(set.Shape(), spec, in)
	}
	set.C, set.H, set.W = in.C, in.H, in.W
	if classes < 2 {
		return nil, fmt.Errorf("model %s: got 1 output, expected at least 2: the logits of classes", spec)
	}
	// Names say nothing of which outputs they stand for, unless there are as many.
	if names := set.ClassNames; names != nil && len(names) != classes {
		return nil, fmt.Errorf("data %s: %d folders named by class, but model %s has %d outputs: name the folders by their labels, or write labels.csv",
			d.spec, len(names), spec, classes)
	}
	return set.WithClasses(classes)
}

// classNames says which label each folder of images stands for.
func (d *data) classNames() string {
	const most = 10
	var b strings.Builder
	for i, name := range d.set.ClassNames {
		if i == most {
			fmt.Fprintf(&b, ", … %d folders in all", len(d.set.ClassNames))
			break
		}
		fmt.Fprintf(&b, ", %q is %d", name, i)
	}
	return "labels by the names of folders: " + strings.TrimPrefix(b.String(), ", ")
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

// subjects loads several models and the data that they share, before anything runs.
func (a *app) subjects(specs []string, d *data, labelled bool) ([]*subject, error) {
	if len(specs) == 0 || slices.Contains(specs, "") {
		return nil, a.modelRequired()
	}
	models := make([]*model.Model, len(specs))
	for i, spec := range specs {
		var err error
		if models[i], err = a.loadModel(spec); err != nil {
			return nil, err
		}
	}
	first := max(0, slices.IndexFunc(models, func(m *model.Model) bool { // a vector says less of what images are
		return max(m.Arch.Input.C, m.Arch.Input.H, m.Arch.Input.W) < m.Arch.Input.Size()
	}))
	if err := a.load(d, models[first], specs[first]); err != nil {
		return nil, err
	}
	if labelled {
		if err := d.known(); err != nil {
			return nil, err
		}
	}
	subjects := make([]*subject, len(specs))
	for i, spec := range specs {
		var err error
		if subjects[i], err = a.prepare(models[i], spec, d); err != nil {
			return nil, err
		}
	}
	return subjects, nil
}

// inputs are the files that most commands read.
func inputs(data string, models []string) []outfile.Input {
	list := []outfile.Input{{Flag: "data", Spec: data}}
	for _, m := range models {
		list = append(list, outfile.Input{Flag: "model", Spec: m})
	}
	return list
}

// load loads data, and says what labels were made of the names of folders.
func (a *app) load(d *data, m *model.Model, modelSpec string) error {
	err := d.load(m, modelSpec)
	if err == nil && len(d.set.ClassNames) == m.Arch.Classes() {
		a.logf("%s: %s", d.spec, d.classNames())
	}
	return err
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

// predict returns the class of each of n images, −1 where the logits hold NaN.
func (s *subject) predict(ctx context.Context, x []float32, n int) ([]int, error) {
	return audit.Predict(ctx, s.net, s.pool, x, n)
}
