package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/epsball/epsball/internal/onnx"
	"github.com/epsball/epsball/internal/outfile"
	"github.com/epsball/epsball/internal/vnnlib"
	"github.com/epsball/epsball/model"
	"github.com/epsball/epsball/net"
)

// exportFlags are those of export; all but the first three belong to --property.
type exportFlags struct {
	out     outFlags
	fold    bool
	folder  outfile.Folder
	data    data
	norm    *value[net.Norm]
	radii   *value[[]net.Epsilon]
	version *value[string]
	timeout int
}

// versions of VNN-LIB that are written.
var versions = map[string]vnnlib.Version{"1": {Major: 1}, "2": {Major: 2}}

func (a *app) exportCommand() *cobra.Command {
	f := &exportFlags{
		folder: outfile.Folder{Flag: "property", Parts: []string{onnxPart, vnnlibPart}, Files: []string{instancesFile}},
		norm:   normFlag(), radii: radiiFlag(""), version: choiceFlag("version", "1", "1", "2"),
	}
	c := &cobra.Command{
		Use:   "export MODEL --out NET.onnx | --property FOLDER",
		Short: "Convert a model to ONNX, or its robustness to property files",
		Long: `Converts a model (builtin:NAME or a file) to an ONNX network, weight for weight.

--fold first makes batch norms part of the convolution or fully connected layer before
them. The result is another network, with rounded weights; its hash is printed.

--property writes a folder as the competition VNN-COMP has them, for verify and other
tools: onnx/ with the network, vnnlib/ with a property file (VNN-LIB) for each correctly
classified image and radius, and instances.csv, which lists them. A property asks for
what certify proves not to exist: an image of the Linf ball, in [0,1], with an output at
least as large as the label's. unsat is a proof of robustness, sat an adversarial image.
Bounds are exact where they are finite decimals, as for 0.1; others, as for 8/255, are
rounded outward, by so little that the same float32 lie inside (docs/vnnlib.md).`,
		Example: `  epsball export builtin:mnist-small-pgd-0.1 --out net.onnx
  epsball export builtin:mnist-small-pgd-0.1 --property robust --n 20 --eps 0.05,0.1
  epsball export net.onnx --property robust --data cifar --n 100 --eps 2/255 --vnnlib 2`,
		Args: oneArg("MODEL"),
		RunE: func(c *cobra.Command, args []string) error {
			change := func(m *model.Model) (*model.Model, []int, error) { return m, nil, nil }
			if f.fold {
				change = foldBatchNorms
			}
			if err := f.check(c.Flags().Changed); err != nil {
				return err
			}
			if f.folder.Path != "" {
				return a.exportProperties(c.Context(), args[0], f, change)
			}
			return a.convert("export", args[0], f.out, outfile.ONNX, a.loadModel, change, onnx.Encode)
		},
	}
	f.out.addFlags(c)
	c.Flag("out").Usage = "`file` to write the network to; -: standard output, and the report to stderr"
	fl := c.Flags()
	fl.BoolVar(&f.fold, "fold", false, "fold batch norms into the layers before them")
	fl.StringVar(&f.folder.Path, "property", "", "`folder` to write property files and the network to")
	f.data.addFlags(c, "builtin:mnist")
	fl.Var(f.norm, "norm", "of the balls: linf")
	fl.Var(f.radii, "eps", "radius of the balls, such as 0.1 or 8/255, or several: 0.02,0.05,0.1")
	fl.Var(f.version, "vnnlib", "version of the property files: 1 or 2")
	fl.IntVar(&f.timeout, "timeout", 300, "`seconds` for each instance, for instances.csv")
	groupFlags(c, []flagGroup{
		{"Network", []string{"out", "fold", "force"}},
		{"Properties", []string{"property", "data", "channels", "n", "offset", "norm", "eps", "vnnlib", "timeout"}},
	})
	return c
}

func (f *exportFlags) check(given func(flag string) bool) error {
	if f.folder.Path == "" {
		if given("property") {
			return errors.New("--property: got nothing, want a folder")
		}
		for _, name := range []string{"data", "channels", "n", "offset", "norm", "eps", "vnnlib", "timeout"} {
			if given(name) {
				return fmt.Errorf("--%s: has no meaning without --property", name)
			}
		}
		return nil
	}
	const most = 1e6
	switch {
	case f.out.path != "":
		return errors.New("--out: has no meaning with --property, which writes the network into its folder")
	case !f.radii.set:
		return errors.New("--eps: required with --property, such as --eps 0.1 or --eps 8/255")
	case f.norm.v != net.Linf:
		return fmt.Errorf("--norm: got %s, want linf: property files bound each input alone", f.norm.v)
	case f.timeout < 1 || f.timeout > most:
		return fmt.Errorf("--timeout: got %d, want seconds from 1 to %d", f.timeout, int(most))
	}
	return checkRadii(f.norm.v, f.radii.v)
}
