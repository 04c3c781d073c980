package main

import (
	"fmt"
	"strings"

	"github.com/epsball/epsball/internal/show"
	"github.com/epsball/epsball/train"
)

// settings spells out everything that the weights depend on, but the data.
func (f *trainFlags) settings(c *train.Config) string {
	var b strings.Builder
	put := func(flag string, v any) { fmt.Fprintf(&b, " --%s %s", flag, show.Quote(fmt.Sprint(v))) }
	putSetting := func(o *train.Setting) {
		if _, flag := o.Value(c).(bool); flag { // takes no value of its own
			fmt.Fprintf(&b, " --%s=%s", o.Flag, o.Text(c))
			return
		}
		put(o.Flag, o.Text(c))
	}
	put("arch", f.arch)
	put("method", c.Method)
	put("eps", f.eps.text)
	if c.Method.Radius() {
		put("train-eps", c.TrainEps)
	}
	usual := train.DefaultConfig(c.Method)
	for _, o := range c.Method.Settings() {
		if !o.Quiet || o.Text(c) != o.Text(&usual) {
			putSetting(o)
		}
	}
	put("epochs", c.Epochs)
	put("batch", c.BatchSize)
	put("lr", c.LR)
	if c.EndsLow() {
		put("lr-final", c.LRFinal)
	}
	put("seed", c.Seed)
	for _, o := range train.CommonSettings() {
		if o.Text(c) != o.Text(&usual) {
			putSetting(o)
		}
	}
	if c.Winograd {
		b.WriteString(" --winograd")
	}
	if f.fold {
		b.WriteString(" --fold")
	}
	return "epsball train" + b.String()
}

// command is the command line that trains the same model again.
func (f *trainFlags) command(c *train.Config) string {
	s := f.settings(c) + " --data " + show.Quote(f.data.Spec)
	if f.given("n") || f.given("offset") {
		s += fmt.Sprintf(" --n %d --offset %d", f.data.N, f.data.Offset)
	}
	if f.given("channels") {
		s += " --channels " + f.data.channels.text
	}
	return s + " --out " + show.Quote(f.out.Path)
}
