package main

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/epsball/epsball/net"
)

// value is a flag that a function parses, so that a bad value is refused with
// the flag's name before anything runs.
type value[T any] struct {
	v     T
	text  string
	set   bool
	kind  string
	parse func(string) (T, error)
}

func (f *value[T]) Set(s string) error {
	v, err := f.parse(s)
	if err == nil {
		f.v, f.text, f.set = v, s, true
	}
	return err
}

func (f *value[T]) String() string { return f.text }
func (f *value[T]) Type() string   { return f.kind }

// newValue returns a flag with a default, which must parse unless it is empty.
func newValue[T any](kind, text string, parse func(string) (T, error)) *value[T] {
	f := &value[T]{kind: kind, text: text, parse: parse}
	if text != "" {
		f.v, _ = parse(text)
	}
	return f
}

func epsilonFlag(text string) *value[net.Epsilon] {
	return newValue("eps", text, func(s string) (net.Epsilon, error) {
		e, err := net.ParseEpsilon(s)
		if err == nil {
			return e, nil
		}
		want := "want a decimal from 0 up such as 0.1 or a fraction such as 8/255"
		if point := strings.Replace(s, ",", ".", 1); point != s {
			if _, err := net.ParseEpsilon(point); err == nil {
				want += "; did you mean " + point + "?"
			}
		}
		return e, errors.New(want)
	})
}

func positiveFlag(text string) *value[net.Epsilon] {
	return newValue("length", text, func(s string) (net.Epsilon, error) {
		e, err := net.ParseEpsilon(s)
		if err != nil {
			return e, errors.New("want a decimal such as 0.01 or a fraction such as 2/255")
		}
		if e.Cmp(net.Epsilon{}) == 0 {
			return e, errors.New("want a value above 0")
		}
		return e, nil
	})
}

// checkBall is the ball's Validate for the flag that gave its radius as text.
func checkBall(flag, text string, ball net.Ball) error {
	err := ball.Validate()
	if err == nil {
		return nil
	}
	if ball.Norm != net.Linf {
		return fmt.Errorf("--%s: got %s, want at most 1e6", flag, text)
	}
	err = fmt.Errorf("--%s: got %s, want at most 1: pixels are in [0,1]", flag, text)
	if n, bad := strconv.Atoi(text); bad == nil && n <= 255 {
		err = fmt.Errorf("%w; did you mean %d/255?", err, n)
	}
	return err
}

// boundNorms are those that bounds have.
func boundNorms() []string { return net.Norms()[:net.L0] }

func normFlag() *value[net.Norm] { return namedFlag("norm", "linf", boundNorms(), net.ParseNorm) }

func attackNormFlag() *value[net.Norm] { return namedFlag("norm", "linf", net.Norms(), net.ParseNorm) }

// namedFlag is a flag whose values have these names.
func namedFlag[T any](kind, text string, names []string, parse func(string) (T, error)) *value[T] {
	return newValue(kind, text, func(s string) (T, error) {
		v, err := parse(s)
		if err != nil || !slices.Contains(names, s) {
			return v, errors.New("want one of " + strings.Join(names, ", "))
		}
		return v, nil
	})
}

// choiceFlag is a namedFlag whose value is the name.
func choiceFlag(kind, text string, choices ...string) *value[string] {
	return namedFlag(kind, text, choices, func(s string) (string, error) { return s, nil })
}
