package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/epsball/epsball/attack"
	"github.com/epsball/epsball/defend"
	"github.com/epsball/epsball/internal/input"
	"github.com/epsball/epsball/report"
)

// naive is the gradient of an attack that does not know of the defence.
const naive = "naive"

// defenceFlags say what stands in front of the network, and how it is attacked.
type defenceFlags struct {
	chain    *value[defend.Chain]
	gradient *value[string]
	eot      int
}

func newDefenceFlags() defenceFlags {
	return defenceFlags{
		chain:    newValue("defence", "", defend.Parse),
		gradient: choiceFlag("gradient", defend.BPDA.String(), append(defend.Gradients(), naive)...),
	}
}

func (d *defenceFlags) addFlags(c *cobra.Command) {
	f := c.Flags()
	f.Var(d.chain, "defence", "preprocessing in front of the network, such as jpeg:quality=75 or median+bits: see epsball help defences")
	f.Var(d.gradient, "defence-gradient", "how the attack sees the defence: bpda, exact or naive")
	f.IntVar(&d.eot, "eot", 1, "draws that a step averages, of a defence that draws random numbers")
}

// check looks at flags that say nothing without others.
func (d *defenceFlags) check(given func(flag string) bool) error {
	switch {
	case given("defence-gradient") && !d.chain.set:
		return errors.New("--defence-gradient: has no meaning without --defence")
	case given("eot") && !d.chain.v.Random():
		return errors.New("--eot: has no meaning without a --defence that draws random numbers, such as noise")
	case given("eot") && d.gradient.v == naive:
		return fmt.Errorf("--eot: has no meaning with --defence-gradient %s, which draws nothing", naive)
	case d.eot < 1 || d.eot > maxDraws:
		return fmt.Errorf("--eot: got %d, want 1 … %d", d.eot, maxDraws)
	}
	return nil
}

const maxDraws = 10000

// front is a subject's network, perhaps behind a defence.
type front struct {
	attacked attack.Target
	judge    attack.Target // of the result; nil: the attack has seen the network as deployed
}

// front puts the defence in front of a subject's network.
func (d *defenceFlags) front(s *input.Subject) (front, error) {
	if !d.chain.set {
		return front{attacked: s.Net}, nil
	}
	g, _ := defend.ParseGradient(d.gradient.v) // naive: only its logits are used
	t, err := defend.New(s.Net, d.chain.v, g)
	if err != nil {
		return front{}, fmt.Errorf("--defence: model %s: %w", s.Name, err)
	}
	s.Defended = t
	switch {
	case d.gradient.v == naive:
		return front{s.Net, t}, nil
	case t.Random():
		return front{t, t}, nil
	}
	return front{attacked: t}, nil
}

// fronts does so for several, before anything runs.
func (d *defenceFlags) fronts(subjects []*input.Subject) ([]front, error) {
	list := make([]front, len(subjects))
	for i, s := range subjects {
		var err error
		if list[i], err = d.front(s); err != nil {
			return nil, err
		}
	}
	return list, nil
}

// judged has the result of an attack judged, if it must be. That is also done after ^C:
// the result says nothing without it.
func (f *front) judged(ctx context.Context, s *input.Subject, b attack.Batch, res *attack.Result) error {
	if f.judge == nil || len(res.Begun) == 0 {
		return nil
	}
	return attack.Judge(context.WithoutCancel(ctx), f.judge, s.Pool, b, res)
}

// facts are what reports say of the defence.
func (d *defenceFlags) facts(methods ...attack.Method) report.Defence {
	if !d.chain.set {
		return report.Defence{}
	}
	r := report.Defence{Defence: d.chain.v.String(), Gradient: d.gradient.v}
	if d.chain.v.Random() && d.gradient.v != naive {
		r.EOT = d.eot
		for _, m := range methods {
			r.EOT = max(r.EOT, m.Plan().EOT)
		}
	}
	return r
}

// run is what a journal says of the defence.
func (d *defenceFlags) run() string {
	if !d.chain.set {
		return ""
	}
	f := d.facts()
	return fmt.Sprintf(", defence %s, gradient %s, eot %d", f.Defence, f.Gradient, f.EOT)
}

// refuseDefence declares --defence for a command that has proofs, to refuse it.
func refuseDefence(c *cobra.Command) {
	const flag = "defence"
	c.Flags().String(flag, "", "")
	_ = c.Flags().MarkHidden(flag) // there is one
	c.PreRunE = func(c *cobra.Command, _ []string) error {
		if f := c.Flags().Lookup(flag); f.Changed {
			return fmt.Errorf("--defence: got %s, but %s has no proofs for a network behind a defence; attack and eval take it", f.Value, c.Name())
		}
		return nil
	}
}

// defencesTopic lists defences and their options.
func defencesTopic() *cobra.Command {
	var b strings.Builder
	b.WriteString(`--defence takes the name of a preprocessing step in front of the network, with options
that differ from its defaults, or several steps in a row:

  jpeg:quality=75    noise:sigma=0.2    median+bits:depth=4

--defence-gradient says how an attack sees it:

  bpda   through steps that have a useful derivative by that; through steps that round
         (bits, jpeg) as if they were not there. The default: anything less overstates
         what the network withstands
  exact  by the derivative alone: none gets through steps that round
  naive  not at all: the network alone is attacked, and the images found are then shown
         to it behind the defence

Of steps that draw random numbers, --eot 20 averages 20 draws a gradient. What an image
is classified as is then one more draw, which the attack has not seen.
`)
	for _, k := range defend.Builtin() {
		fmt.Fprintf(&b, "\n%s: %s\n", k.Name, k.About)
		for _, f := range k.New().Fields() {
			fmt.Fprintf(&b, "  %-14s%s\n", f.Name, f.About)
		}
	}
	b.WriteString("\nThere are no proofs behind a defence: certify refuses it. docs/defences.md says more.")
	return &cobra.Command{Use: "defences", Short: "What --defence takes: preprocessing and its options", Long: b.String()}
}
