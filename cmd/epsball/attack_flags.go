package main

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/epsball/epsball/attack"
	"github.com/epsball/epsball/net"
)

// specFlag takes the textual form of a method; its options are read with those that
// flags of their own give.
func specFlag(text string) *value[attack.Spec] { return newValue("attack", text, parseSpec) }

func parseSpec(text string) (attack.Spec, error) {
	s, err := attack.ParseSpec(text)
	if names := attack.Builtin().Names(); err == nil && !slices.Contains(names, s.Name) {
		err = fmt.Errorf("want one of %s, and its options such as pgd:steps=40,restarts=5", strings.Join(names, ", "))
	}
	return s, err
}

// method puts together what --attack and the flags of options say.
func (f *attackFlags) method() (attack.Method, error) {
	var given []attack.Option
	for _, o := range []attack.Option{
		{Name: "steps", Value: strconv.Itoa(f.steps)},
		{Name: "step-size", Value: f.stepSize.text},
		{Name: "restarts", Value: strconv.Itoa(f.restarts)},
		{Name: "targeted", Value: strconv.FormatBool(f.targeted)},
		{Name: "random-start", Value: strconv.FormatBool(f.random)},
		{Name: "loss", Value: f.loss.text},
	} {
		if f.given(o.Name) && !(o.Name == "steps" && o.Value == "1" && f.attack.v.Name == "fgsm") { // which has one step
			given = append(given, o)
		}
	}
	return makeMethod(f.attack.v, given, f.seed, f.given("seed"))
}

// makeMethod reads a method and its options. A seed that is not asked for is left to
// those that draw random numbers.
func makeMethod(s attack.Spec, given []attack.Option, seed uint64, seedGiven bool) (attack.Method, error) {
	text := s.String()
	if seedGiven {
		given = append(given, attack.Option{Name: "seed", Value: strconv.FormatUint(seed, 10)})
	}
	for _, o := range given {
		if s.Has(o.Name) {
			return nil, fmt.Errorf("--%s: got %s, but --attack %s also gives %s", o.Name, o.Value, text, o.Name)
		}
		s = s.With(o.Name, o.Value)
	}
	m, err := attack.Builtin().Make(s)
	if err == nil && m.Plan().RandomStart && !s.Has("seed") {
		m, err = attack.Builtin().Make(s.With("seed", strconv.FormatUint(seed, 10)))
	}
	var bad *attack.OptionError
	switch {
	case err == nil:
		return m, nil
	case errors.As(err, &bad) && slices.Contains(given, bad.Option) && errors.Is(bad, attack.ErrUnknownOption):
		return nil, fmt.Errorf("--%s: got %s, but --attack %s has no such option; it has %s", bad.Option.Name, bad.Option.Value, text, strings.Join(bad.Known, ", "))
	case bad != nil && slices.Contains(given, bad.Option):
		return nil, fmt.Errorf("--%s: %w", bad.Option.Name, bad.Err)
	}
	return nil, fmt.Errorf("--attack: %w", err)
}

// checkNorm refuses an attack that does not have the norm of the ball.
func checkNorm(m attack.Method, ball net.Ball) error {
	var bad *attack.NormError
	if errors.As(m.Validate(ball, math.MaxInt), &bad) {
		return fmt.Errorf("--norm: got %v, but --attack %s has %s", bad.Norm, m.Name(), bad.List())
	}
	return nil
}

// methods are those of eval: FGSM and PGD, unless told otherwise.
func (f *evalFlags) methods(given func(flag string) bool) ([]attack.Method, error) {
	if f.steps < 1 {
		return nil, fmt.Errorf("--steps: got %d, want at least 1", f.steps)
	}
	texts := f.attacks
	if len(texts) == 0 {
		texts = []string{"fgsm", fmt.Sprintf("pgd:steps=%d", f.steps)}
	} else if given("steps") {
		return nil, errors.New("--steps: has no meaning with --attack; write --attack pgd:steps=" + strconv.Itoa(f.steps))
	}
	return makeMethods(texts, f.seed, net.Ball{Norm: f.norm.v, Eps: f.eps.v[0]})
}

// makeMethods reads those of --attack, which may be repeated.
func makeMethods(texts []string, seed uint64, ball net.Ball) ([]attack.Method, error) {
	var all []attack.Method
	for _, text := range texts {
		s, err := parseSpec(text)
		if err != nil {
			return nil, fmt.Errorf("--attack: got %s, %w", text, err)
		}
		m, err := makeMethod(s, nil, seed, false)
		if err != nil {
			return nil, err
		}
		if slices.ContainsFunc(all, func(other attack.Method) bool { return other.String() == m.String() }) {
			return nil, fmt.Errorf("--attack: %v is given twice", m)
		}
		if err := checkNorm(m, ball); err != nil {
			return nil, err
		}
		all = append(all, m)
	}
	return all, nil
}

// attacksTopic lists methods and their options.
func attacksTopic() *cobra.Command {
	var b strings.Builder
	b.WriteString(`--attack takes the name of a method, with options that differ from its defaults:

  auto    fast    pgd:steps=100,restarts=5    apgd:loss=dlr,targeted

In a hurry, use fast; for figures to compare with others, auto, which is AutoAttack.
attack and eval print the same form, so that it can be used again. In attack, --steps
and other flags stand for the options of the same name.
`)
	for _, k := range attack.Builtin() {
		fmt.Fprintf(&b, "\n%s: %s\n", k.Name, k.About)
		for _, f := range k.New().Fields() {
			fmt.Fprintf(&b, "  %-16s%s\n", f.Name, f.About)
		}
	}
	b.WriteString("\nLengths are in pixel units, a decimal or a fraction such as 2/255. docs/attacks.md\nsays more.")
	return &cobra.Command{Use: "attacks", Short: "What --attack takes: methods and their options", Long: b.String()}
}
