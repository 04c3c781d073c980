package main

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/epsball/epsball/internal/input"
	"github.com/epsball/epsball/internal/outfile"
	"github.com/epsball/epsball/internal/show"
	"github.com/epsball/epsball/report"
)

// The words of messages.
var (
	percent = show.Percent
	seconds = show.Seconds
	count   = show.Count
)

// envelope describes a result of a command.
func (a *app) envelope(command string, subjects ...*input.Subject) report.Envelope {
	e := report.Envelope{Epsball: report.Header{Command: command, Version: version()}}
	for _, s := range subjects {
		e.ISA, e.Threads = a.isa.Name(), a.threads
		e.Epsball.Models = append(e.Epsball.Models, report.Model{Name: s.Name, Hash: s.Model.Hash()})
	}
	return e
}

// report prints the result of a command: as JSON, or as text.
func (a *app) report(r report.Result) error {
	if a.json {
		return report.Write(a.results, r)
	}
	_, err := io.WriteString(a.results, r.Text())
	return err
}

// logf writes a line to stderr.
func (a *app) logf(format string, args ...any) {
	fmt.Fprintf(a.stderr, format+"\n", args...)
}

func countTrue(b []bool) int {
	n := 0
	for _, v := range b {
		if v {
			n++
		}
	}
	return n
}

// addForce declares --force.
func addForce(c *cobra.Command, force *bool) {
	c.Flags().BoolVar(force, "force", false, "replace a file that is there")
}

// outFlags are those of commands that convert a file.
type outFlags struct {
	path  string
	force bool
}

func (f *outFlags) addFlags(c *cobra.Command) {
	c.Flags().StringVar(&f.path, "out", "", "`file` to write; -: standard output, and the report to stderr (required)")
	addForce(c, &f.force)
}

// claim claims outputs, and sends the command's report to stderr if one of them is
// standard output.
func (a *app) claim(force bool, inputs []outfile.Input, outputs ...*outfile.Output) (release func(), err error) {
	release, onStdout, err := outfile.Streams{Stdout: a.stdout, Stderr: a.stderr}.Claim(force, inputs, outputs...)
	if onStdout {
		a.results = a.stderr
	}
	return release, err
}
