package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

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
func (a *app) envelope(command string, subjects ...*subject) report.Envelope {
	e := report.Envelope{Epsball: report.Header{Command: command, Version: version()}}
	for _, s := range subjects {
		e.ISA, e.Threads = a.isa.Name(), a.threads
		e.Epsball.Models = append(e.Epsball.Models, report.Model{Name: s.name, Hash: s.model.Hash()})
	}
	return e
}

// print writes the one result of a command that package report does not have: doc
// as JSON, or what human returns.
func (a *app) print(doc any, human func() string) error {
	if !a.json {
		_, err := io.WriteString(a.results, human())
		return err
	}
	e := json.NewEncoder(a.results)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	return e.Encode(doc)
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

// bar is a progress bar on a terminal; a nil bar shows nothing. Its methods may
// be called from any goroutine.
type bar struct {
	w    io.Writer
	mu   sync.Mutex
	next time.Time // not to redraw before
	on   bool
}

// newBar returns a bar if stderr is a terminal.
func (a *app) newBar() *bar {
	f, ok := a.stderr.(*os.File)
	if !ok {
		return nil
	}
	if info, err := f.Stat(); err != nil || info.Mode()&os.ModeCharDevice == 0 {
		return nil
	}
	return &bar{w: f}
}

// show draws the bar, at most ten times a second.
func (b *bar) show(label string, done, total int) {
	if b == nil || total <= 0 {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	now := time.Now()
	if now.Before(b.next) {
		return
	}
	b.next, b.on = now.Add(100*time.Millisecond), true
	const width = 24
	full := strings.Repeat("━", width*done/total)
	fmt.Fprintf(b.w, "\r\x1b[K%s  %s%s %d/%d", label, full, strings.Repeat("╌", width-show.Width(full)), done, total)
}

// clear removes the bar.
func (b *bar) clear() {
	if b == nil {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.on {
		fmt.Fprint(b.w, "\r\x1b[K")
	}
	b.on, b.next = false, time.Time{}
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
