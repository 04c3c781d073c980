package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/epsball/epsball/train"
)

// flagGroup are flags that belong together in a command's help, in order.
type flagGroup struct {
	name  string
	flags []string
}

// groupFlags lists a command's flags by groups in its usage; those in none come last.
func groupFlags(c *cobra.Command, groups []flagGroup) {
	c.SetUsageFunc(func(c *cobra.Command) error {
		var b strings.Builder
		fmt.Fprintf(&b, "Usage:\n  %s\n\nExamples:\n%s\n", c.UseLine(), c.Example)
		var listed []string
		add := func(name string, flags *pflag.FlagSet) {
			if flags.HasAvailableFlags() {
				fmt.Fprintf(&b, "\n%s:\n%s", name, flags.FlagUsages())
			}
		}
		for _, g := range groups {
			set := pflag.NewFlagSet("", pflag.ContinueOnError)
			set.SortFlags = false
			for _, name := range g.flags {
				set.AddFlag(c.LocalFlags().Lookup(name))
			}
			listed = append(listed, g.flags...)
			add(g.name, set)
		}
		rest := pflag.NewFlagSet("", pflag.ContinueOnError)
		c.LocalFlags().VisitAll(func(f *pflag.Flag) {
			if !slices.Contains(listed, f.Name) {
				rest.AddFlag(f)
			}
		})
		add("Other flags", rest)
		add("Global flags", c.InheritedFlags())
		_, err := fmt.Fprint(c.OutOrStdout(), b.String())
		return err
	})
}

// trainGroups are the groups of the flags in the help.
func trainGroups() []flagGroup {
	groups := []flagGroup{
		{"Files", []string{"arch", "data", "n", "offset", "channels", "out", "checkpoint", "resume", "log", "force"}},
		{"Training", []string{"epochs", "batch", "seed", "seeds", "winograd", "fold"}},
		{"Evaluation at the end", []string{"test-data", "test-n"}},
		{"Method", []string{"method", "eps", "train-eps"}},
	}
	for _, o := range train.Settings() {
		groups[3].flags = append(groups[3].flags, o.Flag)
	}
	for _, o := range train.CommonSettings() {
		if last := &groups[len(groups)-1]; !strings.EqualFold(last.name, o.Group) {
			g := flagGroup{name: strings.ToUpper(o.Group[:1]) + o.Group[1:]}
			if o.Group == train.GroupSchedule {
				g.flags = []string{"lr", "lr-final"}
			}
			groups = append(groups, g)
		}
		last := &groups[len(groups)-1]
		last.flags = append(last.flags, o.Flag)
	}
	return groups
}
