package main

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/epsball/epsball/internal/formats"
	"github.com/epsball/epsball/internal/input"
	"github.com/epsball/epsball/internal/outfile"
	"github.com/epsball/epsball/internal/show"
)

// sayInstead are words that users try, by the command that does it.
var sayInstead = map[string][]string{
	"attack": {"pgd", "fgsm", "apgd"}, "certify": {"prove"}, "eval": {"evaluate", "test"},
	"report": {"page", "html"}, "info": {"version", "list", "models", "show"}, "convert": {"quantize"},
}

// checkLine refuses what cobra accepts: a word that is not a command in front of a
// command's flags, and a flag given twice, whose first value would be forgotten.
func checkLine(root *cobra.Command, args []string) error {
	root.InitDefaultHelpCmd()
	root.InitDefaultCompletionCmd()
	c, rest, err := root.Find(args)
	if err != nil || len(args) > 0 && strings.HasPrefix(args[0], cobra.ShellCompRequestCmd) {
		return err
	}
	if c.HasSubCommands() {
		return noArgs(c, words(c, rest))
	}
	c.InitDefaultHelpFlag()
	c.InheritedFlags() // makes them flags of c
	seen := map[string]string{}
	// An error of the line itself is reported when it is parsed for good.
	_ = c.Flags().ParseAll(rest, func(f *pflag.Flag, text string) error {
		_, list := f.Value.(pflag.SliceValue)
		old, again := seen[f.Name]
		if again && !list && err == nil && (f.Value.Type() != "bool" || old != text) {
			err = fmt.Errorf("--%s: got it twice, %q and %q, want it once", f.Name, old, text)
		}
		seen[f.Name] = text
		return nil
	})
	return err
}

// words returns the arguments that are no flags, known or not.
func words(c *cobra.Command, args []string) []string {
	f := c.Flags()
	f.AddFlagSet(c.PersistentFlags())
	f.ParseErrorsAllowlist.UnknownFlags = true
	defer func() { f.ParseErrorsAllowlist.UnknownFlags = false }()
	_ = f.ParseAll(args, func(*pflag.Flag, string) error { return nil })
	return f.Args()
}

// noArgs refuses arguments that are not flags, by name.
func noArgs(c *cobra.Command, args []string) error {
	switch {
	case len(args) == 0:
		return nil
	case !c.HasSubCommands():
		return fmt.Errorf("%s: unexpected argument %q%s", c.Name(), args[0], asFlag(c, args[0]))
	}
	return unknownCommand(c, args[0])
}

// asFlag says that an argument that names a model belongs to --model.
func asFlag(c *cobra.Command, arg string) string {
	model := strings.HasPrefix(arg, input.Builtin) || strings.HasSuffix(arg, outfile.Model) || formats.IsONNX(arg)
	if c.Flags().Lookup("model") == nil || !model {
		return ""
	}
	return "; did you mean --model " + show.Quote(arg) + "?"
}

// unknownCommand is for a word that is none of c's commands.
func unknownCommand(c *cobra.Command, name string) error {
	c.SuggestionsMinimumDistance = 2
	if near := slices.Compact(c.SuggestionsFor(name)); len(near) > 0 {
		return fmt.Errorf("unknown command %q; did you mean %s?", name, strings.Join(near, " or "))
	}
	var names []string
	for _, s := range c.Commands() {
		if s.IsAvailableCommand() {
			names = append(names, s.Name())
		}
	}
	return fmt.Errorf("unknown command %q, want one of %s", name, strings.Join(names, ", "))
}

// near returns those of names that name may be a misspelling of, or the start.
func near(name string, names []string) []string {
	// cobra's own measure, which it applies to commands alone.
	c := &cobra.Command{SuggestionsMinimumDistance: min(2, len(name)/2)}
	for _, n := range names {
		c.AddCommand(&cobra.Command{Use: n, Run: func(*cobra.Command, []string) {}})
	}
	found := c.SuggestionsFor(name)
	starts := func(s string) bool { return strings.HasPrefix(s, name) }
	if slices.ContainsFunc(found, starts) {
		found = slices.DeleteFunc(found, func(s string) bool { return !starts(s) })
	}
	return found[:min(3, len(found))]
}

// didYouMean asks for one of names, if any is near to name.
func didYouMean(name, prefix string, names []string) string {
	found := near(name, names)
	if len(found) == 0 {
		return ""
	}
	return "; did you mean " + prefix + strings.Join(found, " or "+prefix) + "?"
}

// flagError puts what pflag says of a command line into the form of all errors:
// the flag, what it got, what it wants.
func flagError(c *cobra.Command, err error) error {
	var names []string
	c.Flags().VisitAll(func(f *pflag.Flag) {
		if !f.Hidden {
			names = append(names, f.Name)
		}
	})
	var unknown *pflag.NotExistError
	var bad *pflag.InvalidValueError
	var bare *pflag.ValueRequiredError
	switch {
	case errors.As(err, &bad):
		return fmt.Errorf("--%s: got %q, %s", bad.GetFlag().Name, bad.GetValue(), wanted(bad.GetFlag(), bad.Unwrap()))
	case errors.As(err, &bare):
		return fmt.Errorf("--%s: got no value, %s", bare.GetFlag().Name, wanted(bare.GetFlag(), nil))
	case errors.As(err, &unknown) && unknown.GetSpecifiedShortnames() != "":
		name, _, _ := strings.Cut(unknown.GetSpecifiedShortnames(), "=")
		if slices.Contains(names, name) {
			return fmt.Errorf("unknown flag -%s; did you mean --%[1]s?", name)
		}
		return fmt.Errorf("unknown flag -%s: flags have two dashes and whole names%s", name, didYouMean(name, "--", names))
	case errors.As(err, &unknown):
		name := unknown.GetSpecifiedName()
		return fmt.Errorf("unknown flag --%s%s", name, didYouMean(name, "--", names))
	}
	return err
}

// wanted describes the values of a flag. Those of our own flags say it themselves.
func wanted(f *pflag.Flag, cause error) string {
	switch f.Value.Type() {
	case "bool":
		return "want true or false"
	case "int", "uint64":
		text := "want a whole number"
		if f.Value.Type() == "uint64" {
			text += " from 0 up"
		}
		if errors.Is(cause, strconv.ErrRange) {
			text += " of fewer digits"
		}
		return text
	case "float64":
		return "want a number such as 0.01"
	case "intSlice":
		return "want whole numbers such as 1,16,128"
	case "float32Slice":
		return "want numbers such as 0.49,0.48,0.45"
	case "float64Slice":
		return "want numbers such as 0.7,0.85"
	case "duration":
		return "want a time such as 500ms or 5s"
	}
	if cause != nil {
		return cause.Error()
	}
	if name, _ := pflag.UnquoteUsage(f); name != "string" {
		return "want a " + name
	}
	return "want one"
}
