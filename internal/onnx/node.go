package onnx

import (
	"fmt"
	"math"
	"strings"

	"github.com/epsball/epsball/model"
)

// has reports whether input i is there: optional ones may be missing or empty.
func (n *node) has(i int) bool { return i < len(n.inputs) && n.inputs[i] != "" }

func (n *node) errorf(what, format string, args ...any) error {
	name := n.name
	if name == "" && len(n.outputs) > 0 {
		name = n.outputs[0]
	}
	f := fmt.Sprintf("node %s (%s)", quote(name), strings.Trim(quote(n.op), `"`))
	if what != "" {
		f += ": " + what
	}
	return &model.FormatError{Field: f, Msg: fmt.Sprintf(format, args...)}
}

// attr returns an attribute, or nil if it is not there.
func (n *node) attr(name string, kind int64) (*attribute, error) {
	n.used[name] = true
	for _, a := range n.attrs {
		if a.name != name {
			continue
		}
		if a.ref != "" || a.kind != 0 && a.kind != kind {
			return nil, n.errorf("attribute "+quote(name), "got type %d, expected %d", a.kind, kind)
		}
		return a, nil
	}
	return nil, nil
}

func (n *node) integer(name string, otherwise int64) (int64, error) {
	a, err := n.attr(name, attrInt)
	if a == nil {
		return otherwise, err
	}
	return a.i, nil
}

func (n *node) float(name string, otherwise float32) (float64, error) {
	a, err := n.attr(name, attrFloat)
	if a == nil {
		return float64(otherwise), err
	}
	if v := float64(a.f); math.IsNaN(v) || math.IsInf(v, 0) {
		return 0, n.errorf("attribute "+quote(name), "got %v, expected a finite number", v)
	}
	return float64(a.f), nil
}

func (n *node) text(name, otherwise string) (string, error) {
	a, err := n.attr(name, attrString)
	if a == nil {
		return otherwise, err
	}
	return string(a.s), nil
}

// list returns a list of count integers in [low, 2³¹), or nil if the attribute
// is not there; count < 0: any number of them.
func (n *node) list(name string, count int, low int64) ([]int, error) {
	a, err := n.attr(name, attrInts)
	if a == nil {
		return nil, err
	}
	return n.ints("attribute "+quote(name), a.ints, count, low)
}

func (n *node) ints(what string, v []int64, count int, low int64) ([]int, error) {
	if count >= 0 && len(v) != count {
		return nil, n.errorf(what, "got %d numbers, expected %d", len(v), count)
	}
	out := make([]int, len(v))
	for i, x := range v {
		if x < low || x > math.MaxInt32 {
			return nil, n.errorf(what, "got %d, expected at least %d and at most %d", x, low, math.MaxInt32)
		}
		out[i] = int(x)
	}
	return out, nil
}

// expect refuses an integer attribute that is not what is supported.
func (n *node) expect(name string, want, otherwise int64, why string) error {
	got, err := n.integer(name, otherwise)
	if err == nil && got != want {
		err = n.errorf("attribute "+quote(name), "got %d, expected %d: %s", got, want, why)
	}
	return err
}
