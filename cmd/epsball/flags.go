package main

import (
	"errors"
	"fmt"
	"slices"
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
	return newValue("eps", text, net.ParseEpsilon)
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

func normFlag() *value[net.Norm] { return newValue("norm", "linf", net.ParseNorm) }

// attackNormFlag leaves out what attacks do not have.
func attackNormFlag() *value[net.Norm] {
	return newValue("norm", "linf", func(s string) (net.Norm, error) {
		n, err := net.ParseNorm(s)
		if err != nil || n == net.L1 {
			return n, errors.New("want one of linf, l2")
		}
		return n, nil
	})
}

// choiceFlag is a flag with a fixed list of values.
func choiceFlag(kind, text string, choices ...string) *value[string] {
	return newValue(kind, text, func(s string) (string, error) {
		if !slices.Contains(choices, s) {
			return "", fmt.Errorf("want one of %s", strings.Join(choices, ", "))
		}
		return s, nil
	})
}
