package main

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/epsball/epsball/dataset"
	"github.com/epsball/epsball/internal/input"
	"github.com/epsball/epsball/internal/outfile"
	"github.com/epsball/epsball/model"
)

// loadModel loads builtin:NAME, a model file or an ONNX file.
func (a *app) loadModel(spec string) (*model.Model, error) {
	m, err := a.models.Load(spec)
	if errors.Is(err, fs.ErrNotExist) && !strings.HasPrefix(spec, input.Builtin) {
		err = fmt.Errorf("%w%s", err, didYouMean(spec, input.Builtin, a.models.Names()))
	}
	return m, err
}

// modelRequired is the error of a command without --model.
func (a *app) modelRequired() error {
	return fmt.Errorf("--model: required: a file, or one of %s; see epsball help models", strings.Join(a.models.Specs(), ", "))
}

// data is the part of a data set that a command's flags choose.
type data struct {
	input.Data
	channels *value[dataset.ChannelOrder] // nil: auto
}

// addFlags declares --data, --channels, --n and --offset. An empty spec has no
// default.
func (d *data) addFlags(c *cobra.Command, spec string) {
	f := c.Flags()
	f.StringVar(&d.Spec, "data", spec, "`data` set: builtin:mnist, a folder (FOLDER#train, FOLDER#test) or a file")
	d.addChannels(c)
	f.IntVar(&d.N, "n", 0, "number of images (default all)")
	f.IntVar(&d.Offset, "offset", 0, "index of the first image")
}

// addChannels declares --channels.
func (d *data) addChannels(c *cobra.Command) {
	d.channels = newValue("order", dataset.ChannelsAuto.String(), dataset.ParseChannelOrder)
	c.Flags().Var(d.channels, "channels", "where NumPy arrays of images have their channels: first, last, or auto, as it fits the model")
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
	if d.channels != nil {
		d.Channels = d.channels.v
	}
	err := d.Load(m, modelSpec)
	if err == nil {
		if names := d.ClassNames(m); names != "" {
			a.logf("%s: %s", d.Spec, names)
		}
	}
	return err
}

// subjects loads several models and the data that they share, before anything runs.
func (a *app) subjects(specs []string, d *data, labelled bool) ([]*input.Subject, error) {
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
	first := input.Widest(models)
	if err := a.load(d, models[first], specs[first]); err != nil {
		return nil, err
	}
	if labelled {
		if err := d.Labelled(); err != nil {
			return nil, err
		}
	}
	subjects := make([]*input.Subject, len(specs))
	for i, spec := range specs {
		var err error
		if subjects[i], err = input.NewSubject(models[i], spec, &d.Data, a.isa, a.threads); err != nil {
			return nil, err
		}
	}
	return subjects, nil
}
