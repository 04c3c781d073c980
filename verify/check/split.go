package check

import (
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/epsball/epsball/model"
)

// Splits of clip, sigmoid, tanh and maxpool. Each trace has one of z ≥ c and z ≤ c, of what it reads
// there itself, or of xₐ ≥ x_b and xₐ ≤ x_b, so again both parts are all.
//
// Points. A leaf has z ≥ c or z ≤ c for one or several c. So z is between l′ and u′, the better
// ones of these and of the bounds in force, and a line on [l′, u′] will do for â·f(z), of which
// E is the error as ever. In (*) the element passes on, with β ≥ 0, the line and
//
//	−β(z − c) ≤ 0 of z ≥ c,   β(z − c) ≤ 0 of z ≤ c.
//
// l′ > u′ says that no trace is in the leaf, so any line will do.
//
// Pairs. Where xₐ ≥ x_b, the largest element of a window with both is that of the window without
// b. Splits take elements away one by one, never one of two that are gone already, so each that
// is gone is at most one that is left. The planes are those of what is left; and −β(xₐ − x_b) ≤ 0.
//
// What is passed on errs by a few roundings of the sum of its absolute terms, S, one more for
// each split: err pays with g·(1 + splits)·S·M, or of constants without M.

// held is what the splits of an element have in common.
type held struct {
	k     int
	fixes []fix
}

// byElement groups the splits of a node.
func byElement(fixes []fix) (list []held) {
	for _, f := range fixes {
		at := slices.IndexFunc(list, func(h held) bool { return h.k == f.k })
		if at < 0 {
			at = len(list)
			list = append(list, held{k: f.k})
		}
		list[at].fixes = append(list[at].fixes, f)
	}
	return list
}

// ranged is a function of an element with a line below and one above it on any range.
type ranged interface {
	lower(l, u float64) (slope, intercept float64)
	upper(l, u float64) (slope, intercept float64)
}

// takePoints takes the split elements of node i, a clip, sigmoid or tanh, to what it reads, and
// returns what that adds to ĉ.
func (s *state) takePoints(i int, o ranged) (constant float64) {
	if len(s.fixes[i]) == 0 {
		return 0
	}
	p := s.nodes[i].in[0]
	a, in, b := s.forms[i].a, s.grow(p, s.forms[i].region), &s.bounds[p]
	for _, h := range byElement(s.fixes[i]) {
		l, u := b.lo[h.k], b.hi[h.k]
		v, m := a[h.k], b.m[h.k]
		a[h.k] = 0
		passed, size := 0.0, 0.0
		for _, f := range h.fixes {
			sign := 1.0
			if f.active {
				l, sign = max(l, f.at), -1
			} else {
				u = min(u, f.at)
			}
			passed += sign * f.beta
			constant -= sign * float64(f.beta*f.at)
			size += float64(f.beta * (m + math.Abs(f.at)))
		}
		if l > u {
			l, u = b.lo[h.k], b.hi[h.k]
		}
		slope, at := o.upper(l, u)
		if v >= 0 {
			slope, at = o.lower(l, u)
		}
		line := float64(v * slope)
		in[h.k] += line + passed
		constant += float64(v * at)
		size += float64(math.Abs(line)*m) + math.Abs(float64(v*at))
		s.err += float64(s.g * float64(1+len(h.fixes)) * size)
	}
	return constant
}

// takePairs takes the split elements of node i, a maxpool, to what it reads, and returns what
// that adds to ĉ.
func (s *state) takePairs(i int, o *maxPool) (constant float64) {
	if len(s.fixes[i]) == 0 {
		return 0
	}
	p := s.nodes[i].in[0]
	a, in, b := s.forms[i].a, s.grow(p, o.seen(s.forms[i].region)), &s.bounds[p]
	for _, h := range byElement(s.fixes[i]) {
		left := o.elements(h.k)
		size := 0.0
		add := func(k int, v float64) {
			in[k] += v
			size += float64(math.Abs(v) * b.m[k])
		}
		for _, f := range h.fixes {
			win, lose := f.ends()
			left = slices.DeleteFunc(left, func(k int) bool { return k == lose })
			add(win, -f.beta)
			add(lose, f.beta)
		}
		low, high, slope, at := b.planesOf(left)
		v := a[h.k]
		a[h.k] = 0
		if v >= 0 {
			add(low, v)
		} else {
			add(high, float64(v*slope))
			constant += float64(v * at)
			size += math.Abs(float64(v * at))
		}
		s.err += float64(s.g * float64(1+len(h.fixes)) * size)
	}
	return constant
}

// ends are the larger one and the other of the elements of a pair.
func (f *fix) ends() (win, lose int) {
	if f.active {
		return f.first, f.second
	}
	return f.second, f.first
}

// split reads a split below those of path, of a layer before node end.
func (n *network) split(d TreeNode, path []fix, end int) (f fix, err error) {
	f = fix{node: d.Layer + 1, active: true, at: float64(d.At)}
	if f.node >= end {
		return f, fmt.Errorf("got a split at layer %d, expected one before what is bounded", d.Layer)
	}
	node := &n.nodes[f.node]
	form := 0
	switch node.kind {
	case model.ReLU, model.LeakyReLU:
		form = 2
	case model.Clip, model.Sigmoid, model.Tanh:
		form = 3
	case model.MaxPool:
		form = 4
	}
	switch {
	case form == 0:
		return f, fmt.Errorf("got a split at layer %d, expected a relu, leakyrelu, clip, sigmoid, tanh or maxpool", d.Layer)
	case d.Form != form:
		return f, fmt.Errorf("got a split of %d numbers at layer %d, expected %d", d.Form, d.Layer, form)
	case d.Element >= node.shape.Size():
		return f, fmt.Errorf("got a split at element %d, but layer %d has %d", d.Element, d.Layer, node.shape.Size())
	}
	f.k = channelsLast(d.Element, node.shape)
	if o, ok := node.op.(*maxPool); ok {
		window := o.elements(f.k)
		for _, e := range []int{d.First, d.Second} {
			if e >= o.in.Size() || !slices.Contains(window, channelsLast(e, o.in)) {
				return f, fmt.Errorf("got a split by element %d, which is not in the window of element %d", e, d.Element)
			}
		}
		f.first, f.second = channelsLast(d.First, o.in), channelsLast(d.Second, o.in)
		if f.first == f.second {
			return f, errors.New("got a split of an element with itself")
		}
	}
	for i := range path {
		if above := &path[i]; above.node == f.node && above.k == f.k {
			if err := f.below(above, form); err != nil {
				return f, err
			}
		}
	}
	return f, nil
}

// below reports whether a split of an element may be below another one of it.
func (f *fix) below(above *fix, form int) error {
	switch form {
	case 3:
		if above.active && !(f.at > above.at) || !above.active && !(f.at < above.at) {
			return fmt.Errorf("got a split at %v, which is not within the part that one at %v above leaves", f.at, above.at)
		}
	case 4:
		if _, lost := above.ends(); lost == f.first || lost == f.second {
			return errors.New("got a split by an element that is not the largest by one above")
		}
	default:
		return errors.New("got a split that is above already")
	}
	return nil
}
