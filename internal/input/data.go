package input

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"strings"

	"github.com/epsball/epsball/dataset"
	_ "github.com/epsball/epsball/dataset/mnist" // builtin:mnist
	"github.com/epsball/epsball/model"
)

// MNISTTest names MNIST's test images.
const MNISTTest = "builtin:mnist"

// Data is the part of a data set that a command looks at.
type Data struct {
	Spec     string
	Offset   int // index of the first image in the set
	N        int // number of images; 0: all from Offset on; Load fills it in
	Channels dataset.ChannelOrder
	Set      *dataset.Set // as Load found it
}

// Load reads the part of the set that is wanted, for a model.
func (d *Data) Load(m *model.Model, modelSpec string) error {
	s, err := d.read(m, modelSpec, d.N)
	var part *dataset.RangeError
	switch {
	case errors.As(err, &part):
		return d.beyond(part)
	case err != nil:
		return err
	}
	d.N, d.Set = s.Len(), s
	return nil
}

// Count returns how many images are wanted, N or all from Offset on, without reading them.
func (d *Data) Count(m *model.Model, modelSpec string) (int, error) {
	_, err := d.read(m, modelSpec, math.MaxInt)
	var part *dataset.RangeError
	switch {
	case errors.As(err, &part) && d.Offset < part.Len && d.N <= part.Len-d.Offset:
		return cmp.Or(d.N, part.Len-d.Offset), nil
	case errors.As(err, &part):
		return 0, d.beyond(part)
	}
	return 0, err
}

// read reads n images from Offset on, 0: all. That the set has fewer is a *dataset.RangeError.
func (d *Data) read(m *model.Model, modelSpec string, n int) (*dataset.Set, error) {
	switch {
	case d.Spec == "":
		return nil, errors.New("--data: required: builtin:mnist, a folder or a file; see epsball help data")
	case strings.HasPrefix(d.Spec, Builtin) && strings.Contains(d.Spec, "#"):
		return nil, fmt.Errorf("data %s: built-in data has no parts; builtin:mnist is the MNIST test set, and a clone has training images in testdata/mnist#train", d.Spec)
	case strings.Contains(d.Spec, "://"):
		return nil, fmt.Errorf("data %s: want a file or a folder on this machine: download it first", d.Spec)
	case d.N < 0:
		return nil, fmt.Errorf("--n: got %d, want at least 1, or 0 for all", d.N)
	case d.Offset < 0:
		return nil, fmt.Errorf("--offset: got %d, want at least 0", d.Offset)
	}
	in := m.Arch.Input
	s, err := dataset.LoadWith(d.Spec, dataset.Options{Input: dataset.Shape{C: in.C, H: in.H, W: in.W}, Offset: d.Offset, N: n, Channels: d.Channels})
	var shape *dataset.ShapeError
	if errors.As(err, &shape) {
		return nil, d.misfit(shape.Images, modelSpec, in)
	}
	return s, err
}

// beyond says which images there are, where others are wanted.
func (d *Data) beyond(part *dataset.RangeError) error {
	if d.Offset >= part.Len {
		return fmt.Errorf("--offset: got %d, want less than the %d images of %s", d.Offset, part.Len, d.Spec)
	}
	return fmt.Errorf("--n: got %d, want at most the %d images of %s from --offset %d on", d.N, part.Len-d.Offset, d.Spec, d.Offset)
}

func (d *Data) misfit(images dataset.Shape, modelSpec string, in model.Shape) error {
	return fmt.Errorf("data %s: images are %v, but model %s takes %v: %s", d.Spec, images, modelSpec, in, refit(model.Shape(images), in))
}

// Fit checks that the data is something the model takes, and gives it the
// model's classes.
func (d *Data) Fit(m *model.Model, spec string) (*dataset.Set, error) {
	in, set, classes := m.Arch.Input, *d.Set, m.Arch.Classes()
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
			d.Spec, len(names), spec, classes)
	}
	return set.WithClasses(classes)
}

// ClassNames says which label each folder of images stands for, where labels were made
// of the names of folders for a model; it is empty where not.
func (d *Data) ClassNames(m *model.Model) string {
	const most = 10
	if len(d.Set.ClassNames) == 0 || len(d.Set.ClassNames) != m.Arch.Classes() {
		return ""
	}
	var b strings.Builder
	for i, name := range d.Set.ClassNames {
		if i == most {
			fmt.Fprintf(&b, ", … %d folders in all", len(d.Set.ClassNames))
			break
		}
		fmt.Fprintf(&b, ", %q is %d", name, i)
	}
	return "labels by the names of folders: " + strings.TrimPrefix(b.String(), ", ")
}

// Labelled checks that every image has a label.
func (d *Data) Labelled() error {
	for i, y := range d.Set.Y {
		if y == dataset.Unknown {
			return fmt.Errorf("data %s: image %d has no label: %s; see epsball help data", d.Spec, d.Offset+i, labelling(d.Spec))
		}
	}
	return nil
}
