// Package vnnlib reads and writes property files of neural networks: VNN-LIB 1, as the
// competitions VNN-COMP 2021 to 2024 use it, and VNN-LIB 2 (vnnlib.org). A file becomes a
// Query, whose numbers are exact and whose formula is in disjunctive normal form. What a
// Query cannot say is refused by name. docs/vnnlib.md lists what is read.
package vnnlib

import (
	"fmt"
	"math"
	"math/big"
	"slices"
)

// Query asks whether there is an input x of a network, with the outputs y, such that one
// of the Cases holds. Such an x is a counterexample to the property that the file is
// about; if there is none, the property is proved. A Query is data: it shares numbers
// among its parts, so nobody may change one.
type Query struct {
	Version       Version
	Network       string // the name it has in the file; empty in VNN-LIB 1
	Input, Output Tensor

	// Cases have different boxes. There is none if the file contradicts itself.
	Cases []Case
}

// Version is that of the language: 1.0 also stands for files that name none.
type Version struct{ Major, Minor int }

// String returns "2.0".
func (v Version) String() string { return fmt.Sprintf("%d.%d", v.Major, v.Minor) }

// Tensor is an input or output of the network. Its elements are numbered from 0 in the
// order of the network's own file, the last index first: pixels of an ONNX network whose
// channels come last come that way.
type Tensor struct {
	Name string // X or Y in VNN-LIB 1

	// Type is "real", as always in VNN-LIB 1, or a type of ONNX, such as "float32". A
	// query about a type of ONNX is about the network as it is executed, and its numbers
	// then stand for themselves or for the nearest number of the type: Outward and Inward
	// are right in either reading.
	Type string

	Shape []int // empty for a scalar
}

// Size returns the number of elements.
func (t Tensor) Size() int {
	n := 1
	for _, d := range t.Shape {
		n *= d
	}
	return n
}

// Case holds where x is in the box and one of the disjuncts holds of y.
type Case struct {
	Box       []Interval // one for each element of the input
	Disjuncts []Conjunction
}

// Interval is what an element of the input ranges over, never empty. An open end does not
// belong to it.
type Interval struct {
	Lo, Hi         *big.Rat
	LoOpen, HiOpen bool
}

// Conjunction holds where all constraints do; an empty one holds everywhere.
type Conjunction []Constraint

// Constraint is Σ Coef·y[Output] ≤ Bound, or < if it is strict. Terms are in the order of
// the outputs, without zeros; all numbers are finite decimals.
type Constraint struct {
	Terms  []Term
	Bound  *big.Rat
	Strict bool
}

// Term is an output of the network times a number.
type Term struct {
	Output int
	Coef   *big.Rat
}

// Holds reports whether a case holds of x and y, in exact arithmetic. Both have the
// elements of the tensors; NaN and infinities are errors.
func (q *Query) Holds(x, y []float64) (bool, error) {
	in, err := rats(x, q.Input)
	if err != nil {
		return false, err
	}
	out, err := rats(y, q.Output)
	if err != nil {
		return false, err
	}
	for _, c := range q.Cases {
		if c.holds(in, out) {
			return true, nil
		}
	}
	return false, nil
}

func rats(v []float64, t Tensor) ([]*big.Rat, error) {
	if len(v) != t.Size() {
		return nil, fmt.Errorf("vnnlib: %s: got %d elements, expected %d", t.Name, len(v), t.Size())
	}
	r := make([]*big.Rat, len(v))
	for i, f := range v {
		if math.IsNaN(f) || math.IsInf(f, 0) {
			return nil, fmt.Errorf("vnnlib: element %d of %s: got %v, expected a finite number", i, t.Name, f)
		}
		r[i] = new(big.Rat).SetFloat64(f)
	}
	return r, nil
}

func (c *Case) holds(x, y []*big.Rat) bool {
	for i, iv := range c.Box {
		if !iv.contains(x[i]) {
			return false
		}
	}
	return slices.ContainsFunc(c.Disjuncts, func(d Conjunction) bool {
		return !slices.ContainsFunc(d, func(c Constraint) bool { return !c.holds(y) })
	})
}

func (iv Interval) contains(v *big.Rat) bool {
	lo, hi := v.Cmp(iv.Lo), v.Cmp(iv.Hi)
	return (lo > 0 || lo == 0 && !iv.LoOpen) && (hi < 0 || hi == 0 && !iv.HiOpen)
}

func (c Constraint) holds(y []*big.Rat) bool {
	sum := new(big.Rat)
	for _, t := range c.Terms {
		sum.Add(sum, new(big.Rat).Mul(t.Coef, y[t.Output]))
	}
	s := sum.Cmp(c.Bound)
	return s < 0 || s == 0 && !c.Strict
}
