package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
	"runtime/debug"
	"strings"

	"github.com/spf13/cobra"

	"github.com/epsball/epsball/audit"
	"github.com/epsball/epsball/internal/input"
	"github.com/epsball/epsball/internal/show"
	"github.com/epsball/epsball/kernels"
	"github.com/epsball/epsball/train"
)

// Exit codes.
const (
	exitDone      = 0
	exitUndecided = 1 // the thing checked does not hold, or was not decided
	exitBadInput  = 2
)

// app is what the commands share.
type app struct {
	stdout, stderr io.Writer
	results        io.Writer // where reports go: stdout, unless an output does
	models         input.Library

	// Flags of every command.
	json    bool
	threads int
	isaName string
	isa     *kernels.ISA
}

func newApp(stdout, stderr io.Writer) *app {
	return &app{stdout: stdout, stderr: stderr, results: stdout, models: builtinModels}
}

// run executes one command line and returns its exit code.
func (a *app) run(ctx context.Context, args []string) int {
	root := a.rootCommand()
	root.SetArgs(append([]string{}, args...)) // never nil, which stands for os.Args
	root.SetOut(a.stdout)
	root.SetErr(a.stderr)
	err := checkLine(root, args)
	if err == nil {
		err = root.ExecuteContext(ctx)
	}
	if err != nil {
		fmt.Fprintln(a.stderr, "epsball:", show.Error(err))
	}
	return exitCode(err)
}

func (a *app) rootCommand() *cobra.Command {
	var name bool
	root := &cobra.Command{
		Use:   "epsball",
		Short: "Attack, bound and certify image classifiers on the CPU",
		Long: `epsball attacks, bounds and certifies convolutional image classifiers on the CPU.

Models are builtin:NAME, a .safetensors file or an ONNX network (.onnx, .onnx.gz);
data is builtin:mnist (its 10,000 test images), a folder of IDX, CIFAR-10, PNG or
JPEG files, or an .npz or .npy of images and labels. The topics models and data
below have the details. Pixels are in [0,1]; a radius is in pixel units and may be
written 0.1 or 8/255.

A file that is there is replaced with --force alone; --out - is standard output, and
the report then goes to standard error.

Exit status: 0 done; 1 the thing checked does not hold or was not decided (also
after ^C, with the results so far); 2 bad usage or bad input.`,
		Version:       version(),
		Args:          noArgs,
		SilenceErrors: true,
		SilenceUsage:  true,

		PersistentPreRunE: func(*cobra.Command, []string) error { return a.checkShared() },
		RunE: func(c *cobra.Command, _ []string) error {
			if name {
				_, err := fmt.Fprintln(a.stdout, "epsball")
				return err
			}
			return c.Help()
		},
	}
	root.SetFlagErrorFunc(flagError)
	root.SetHelpCommand(helpCommand())
	root.SetVersionTemplate("{{.Version}}\n") // VNN-LIB 2 wants it alone, and --name
	root.Flags().BoolVar(&name, "name", false, "print the program's name")
	f := root.PersistentFlags()
	f.BoolVar(&a.json, "json", false, "print one JSON document instead of a table")
	f.IntVar(&a.threads, "threads", runtime.GOMAXPROCS(0), "number of workers")
	f.StringVar(&a.isaName, "isa", "", "kernel set to use, see info (default $"+kernels.EnvISA+", or the best)")
	root.AddCommand(a.evalCommand(), a.attackCommand(), a.certifyCommand(), a.smoothCommand(), a.checkCommand(), a.verifyCommand(), a.shardCommand(), a.supportsCommand(), a.reportCommand(), a.trainCommand(), a.dataCommand(), a.benchCommand(), a.infoCommand(),
		a.importCommand(), a.exportCommand(), a.convertCommand(), a.edgeWorkerCommand())
	for _, c := range root.Commands() {
		c.SuggestFor = sayInstead[c.Name()]
	}
	root.AddCommand(topics()...)
	a.complete(root)
	return root
}

// checkShared looks at the flags of every command.
func (a *app) checkShared() (err error) {
	const most = 4096
	if a.threads < 1 || a.threads > most {
		return fmt.Errorf("--threads: got %d, want 1 … %d", a.threads, most)
	}
	if a.isa, err = kernels.Choose(a.isaName); err != nil && a.isaName != "" {
		err = fmt.Errorf("--isa: got %q, want one of %s", a.isaName, strings.Join(kernelSets(), ", "))
	}
	return err
}

func version() string {
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		return info.Main.Version
	}
	return "(devel)"
}

// kernelSets names those of this machine.
func kernelSets() []string {
	var names []string
	for _, i := range kernels.Available() {
		names = append(names, i.Name())
	}
	return names
}

// errUndecided marks the errors of commands that were used rightly but whose
// subject does not hold or was not decided.
var errUndecided = errors.New("")

// undecided returns an error with exit code 1.
func undecided(format string, args ...any) error {
	return fmt.Errorf("%w%w", fmt.Errorf(format, args...), errUndecided)
}

// interrupted is the error of a command stopped by ^C.
func interrupted(format string, args ...any) error {
	return undecided("interrupted: %s", fmt.Sprintf(format, args...))
}

func exitCode(err error) int {
	var contradiction *audit.Contradiction
	switch {
	case err == nil:
		return exitDone
	case errors.Is(err, errUndecided), errors.As(err, &contradiction),
		errors.Is(err, train.ErrDiverged), errors.Is(err, context.Canceled):
		return exitUndecided
	}
	return exitBadInput
}
