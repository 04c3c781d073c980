package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/epsball/epsball/internal/foreign"
	"github.com/epsball/epsball/internal/formats"
	"github.com/epsball/epsball/internal/input"
	"github.com/epsball/epsball/internal/onnx"
	"github.com/epsball/epsball/internal/outfile"
	"github.com/epsball/epsball/model"
	"github.com/epsball/epsball/report"
)

func (a *app) importCommand() *cobra.Command {
	var out outFlags
	var mean, std []float32
	var keep bool
	c := &cobra.Command{
		Use:   "import NET.onnx --out M.safetensors",
		Short: "Convert an ONNX network to a model file",
		Long: `Converts an ONNX network, gzipped if its name ends in .gz, to a model file. All
commands take .onnx files directly as well; this one shows what they make of it.
docs/onnx.md lists the operators and says which conversions are exact.

A network that expects pixels normalized outside of it gets a normalize layer with
--mean and --std, so that images and radii are in [0, 1].

Where possible, batch norms become part of the convolution or fully connected layer
beside them, which rounds its weights. --keep-batchnorm keeps them as layers, so that
training can continue.`,
		Example: "  epsball import resnet_2b.onnx --mean 0.4914,0.4822,0.4465 --std 0.247,0.2435,0.2616 --out resnet.safetensors",
		Args:    oneArg("NET.onnx"),
		RunE: func(_ *cobra.Command, args []string) error {
			if !formats.IsONNX(args[0]) {
				if err := foreign.Check(args[0]); err != nil {
					return err
				}
				return fmt.Errorf("import: %s: want a file named .onnx or .onnx.gz", args[0])
			}
			if (len(mean) == 0) != (len(std) == 0) {
				return errors.New("want both of --mean and --std, or neither")
			}
			load := a.loadModel
			if keep {
				load = onnx.Options{KeepBatchNorm: true}.Load
			}
			return a.convert("import", args[0], out, outfile.Model, load, func(m *model.Model) (*model.Model, []int, error) {
				if len(mean) == 0 {
					return m, nil, nil
				}
				m, err := m.WithNormalize(mean, std)
				return m, nil, err
			}, (*model.Model).Encode)
		},
	}
	out.addFlags(c)
	c.Flags().Float32SliceVar(&mean, "mean", nil, "`means` of the channels that the network wants subtracted")
	c.Flags().Float32SliceVar(&std, "std", nil, "standard `deviations` it wants to divide by")
	c.Flags().BoolVar(&keep, "keep-batchnorm", false, "keep batch norms as layers")
	return c
}

// foldBatchNorms is model.Fold, noted on the card.
func foldBatchNorms(m *model.Model) (*model.Model, []int, error) {
	c, folded, err := m.Fold()
	if err == nil && len(folded) > 0 {
		roundedFrom(c, m)
	}
	return c, folded, err
}

// oneArg asks for one argument that is not a flag.
func oneArg(what string) cobra.PositionalArgs {
	return func(c *cobra.Command, args []string) error {
		switch {
		case len(args) == 0:
			return fmt.Errorf("%s: %s: required", c.Name(), what)
		case len(args) > 1:
			return fmt.Errorf("%s: unexpected argument %q", c.Name(), args[1])
		}
		return nil
	}
}

// claimOut claims the output of a command that converts the model spec.
func (a *app) claimOut(f outFlags, kind, spec string) (*outfile.Output, func(), error) {
	if f.path == "" {
		return nil, nil, errors.New("--out: required")
	}
	out := &outfile.Output{Flag: "out", Path: f.path, Kind: kind}
	release, err := a.claim(f.force, []outfile.Input{{Spec: spec}}, out)
	return out, release, err
}

// convert loads a model, changes it and writes it in another form.
func (a *app) convert(command, spec string, flags outFlags, kind string, load func(string) (*model.Model, error),
	change func(*model.Model) (*model.Model, []int, error), encode func(*model.Model) ([]byte, error),
) error {
	out, release, err := a.claimOut(flags, kind, spec)
	if err != nil {
		return err
	}
	defer release()
	m, err := load(spec)
	if err != nil {
		return err
	}
	m, folded, err := change(m)
	if err != nil {
		return fmt.Errorf("%s: %w", spec, err)
	}
	data, err := encode(m)
	if err != nil {
		return fmt.Errorf("%s: %w", spec, err)
	}
	if err := out.WriteBytes(data); err != nil {
		return err
	}
	r := &report.Conversion{
		Envelope: a.envelope(command), Model: spec, Out: out.Path, Name: m.Arch.Name, Input: m.Arch.Input.String(), Outputs: m.Arch.Classes(),
		Layers: len(m.Arch.Layers), Parameters: m.Arch.Parameters(), MACs: m.Arch.MACs(), Hash: m.Hash(),
		Source: m.Card[onnx.CardSource], Notes: m.Card[onnx.CardNotes], Folded: folded,
	}
	r.Epsball.Models = []report.Model{{Name: input.Name(spec), Hash: r.Hash}}
	return a.report(r)
}
