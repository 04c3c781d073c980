package main

import (
	"github.com/spf13/cobra"

	"github.com/epsball/epsball/attack"
	"github.com/epsball/epsball/audit"
	"github.com/epsball/epsball/defend"
	"github.com/epsball/epsball/model"
	"github.com/epsball/epsball/net"
	"github.com/epsball/epsball/verify"
)

// topics are pages of help that belong to no command.
func topics() []*cobra.Command {
	return []*cobra.Command{
		attacksTopic(),
		defencesTopic(),
		{
			Use:   "models",
			Short: "What --model takes, and how to export from PyTorch, Keras and TensorFlow",
			Long: `--model takes builtin:NAME (epsball info lists them), a .safetensors file as train,
import and convert write it (docs/model-format.md), or an ONNX network: .onnx or
.onnx.gz (docs/onnx.md). To get one, in Python:

  PyTorch      torch.onnx.export(net.eval(), torch.zeros(1, 3, 32, 32), "net.onnx")
               where net is the network with its weights loaded, and 3, 32, 32 are
               the channels, height and width of its images; if it also writes
               net.onnx.data, keep that file beside net.onnx
  Keras        model.export("net.onnx", format="onnx")

or on the command line, after pip install tf2onnx:

  Keras file   python -m tf2onnx.convert --keras net.keras --output net.onnx
  SavedModel   python -m tf2onnx.convert --saved-model FOLDER --output net.onnx
  TF Lite      python -m tf2onnx.convert --tflite net.tflite --output net.onnx

A softmax at the end is dropped: outputs are logits. Images have pixels in [0,1]. If a
network expects them normalized, make that its first layer:

  epsball import net.onnx --mean 0.49,0.48,0.45 --std 0.25,0.24,0.26 --out net.safetensors`,
		},
	}
}

// helpCommand is cobra's, but an unknown topic is an error.
func helpCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "help [COMMAND | TOPIC]",
		Short: "Show help about a command or a topic",
		Args:  cobra.ArbitraryArgs,
		RunE: func(c *cobra.Command, args []string) error {
			of, rest, err := c.Root().Find(args)
			if err == nil && len(rest) > 0 {
				err = unknownCommand(c.Root(), rest[0])
			}
			if err != nil {
				return err
			}
			of.InitDefaultHelpFlag() // or it would not list --help
			return of.Help()
		},
		ValidArgsFunction: func(c *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
			var names []string
			for _, s := range c.Root().Commands() {
				if !s.Hidden {
					names = append(names, s.Name())
				}
			}
			return names, cobra.ShellCompDirectiveNoFileComp
		},
	}
}

// complete gives the shell's completion the values of flags.
func (a *app) complete(root *cobra.Command) {
	builtin := a.models.Specs()
	files := cobra.ShellCompDirectiveDefault
	none := cobra.ShellCompDirectiveNoFileComp
	_ = root.RegisterFlagCompletionFunc("isa", cobra.FixedCompletions(kernelSets(), none))
	for _, c := range root.Commands() {
		for name, v := range map[string]cobra.CompletionFunc{
			"model": cobra.FixedCompletions(builtin, files), "data": cobra.FixedCompletions([]string{"builtin:mnist"}, files),
			"arch": cobra.FixedCompletions(model.Presets(), files), "norm": cobra.FixedCompletions(net.Norms(), none),
			"loss": cobra.FixedCompletions(net.Losses(), none), "attack": cobra.FixedCompletions(attack.Builtin().Names(), none),
			"bounds":  cobra.FixedCompletions(verify.Methods(), none),
			"defence": cobra.FixedCompletions(defend.Builtin().Names(), none), "defence-gradient": cobra.FixedCompletions(append(defend.Gradients(), naive), none),
		} {
			if c.Flags().Lookup(name) != nil {
				_ = c.RegisterFlagCompletionFunc(name, v) // fails for a flag that has one alone
			}
		}
		switch c.Name() {
		case "certify":
			_ = c.RegisterFlagCompletionFunc("method", cobra.FixedCompletions(audit.ProofMethods(), none))
		case "info", "export", "convert":
			c.ValidArgsFunction = cobra.FixedCompletions(builtin, files)
		}
	}
}
