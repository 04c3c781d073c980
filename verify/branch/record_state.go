package branch

import (
	"errors"
	"fmt"
	"math"

	"github.com/epsball/epsball/verify"
)

// AppendTo appends what the record holds, as ReadRecord reads it.
func (r *Record) AppendTo(b []byte) []byte {
	b = appendNumber(b, len(r.Steps))
	for i := range r.Steps {
		b = r.Steps[i].appendTo(b)
	}
	b = appendNumber(b, len(r.Cuts))
	for _, c := range r.Cuts {
		b = appendFloat(appendNumber(b, c.Input+1), c.At)
	}
	return b
}

// ReadRecord reads what AppendTo wrote. What it says is not proved again here, but when it is written as a
// certificate.
func ReadRecord(b []byte) (*Record, error) {
	in, r := &reader{b: b}, &Record{}
	for range in.number(len(b)) {
		s := in.step()
		if in.bad {
			break
		}
		if s.Layer < 0 && len(s.Trees) != 1 {
			return nil, fmt.Errorf("step %d: got %d trees of a clause, want one", len(r.Steps), len(s.Trees))
		}
		for i := range s.Trees {
			if !whole(s.Trees[i].Leaves, 0) {
				return nil, fmt.Errorf("step %d: tree %d: leaves that are not all of a tree", len(r.Steps), i)
			}
		}
		r.Steps = append(r.Steps, s)
	}
	for range in.number(len(b)) {
		r.Cuts = append(r.Cuts, Cut{in.number(math.MaxInt32) - 1, in.float()})
	}
	if in.bad || len(in.b) > 0 {
		return nil, errors.New("a record that is cut short, or has more than its end")
	}
	return r, nil
}

func appendBool(b []byte, v bool) []byte {
	if v {
		return append(b, 1)
	}
	return append(b, 0)
}

func (s *Step) appendTo(b []byte) []byte {
	b = appendNumber(appendNumber(b, s.Layer+1), s.Clause)
	b = appendNumber(b, len(s.Elements))
	for _, e := range s.Elements {
		b = appendFloat(appendFloat(appendNumber(b, e.Element), e.Low), e.High)
	}
	b = appendNumber(b, len(s.Slopes))
	for _, vector := range s.Slopes {
		b = appendNumber(b, len(vector))
		for i := range vector {
			b = vector[i].appendTo(b)
		}
	}
	b = appendNumber(b, len(s.Trees))
	for _, t := range s.Trees {
		b = appendNumber(appendBool(appendNumber(b, t.Element), t.High), len(t.Leaves))
		for i := range t.Leaves {
			b = t.Leaves[i].appendTo(b)
		}
	}
	return b
}

func (in *reader) step() (s Step) {
	s.Layer, s.Clause = in.number(math.MaxInt32)-1, in.number(math.MaxInt32)
	for range in.number(len(in.b)) {
		s.Elements = append(s.Elements, Interval{in.number(math.MaxInt32), in.float(), in.float(), true})
	}
	for range in.number(len(in.b)) {
		vector := []Slopes{}
		for range in.number(len(in.b)) {
			vector = append(vector, in.slopes())
		}
		s.Slopes = append(s.Slopes, vector)
	}
	for range in.number(len(in.b)) {
		t := Tree{Element: in.number(math.MaxInt32), High: in.bool()}
		for range in.number(len(in.b)) {
			t.Leaves = append(t.Leaves, in.leaf(len(s.Slopes)))
		}
		s.Trees = append(s.Trees, t)
	}
	return s
}

func (l *Leaf) appendTo(b []byte) []byte {
	b = appendNumber(appendNumber(b, l.Row+1), l.Slopes+1)
	b = appendNumber(b, len(l.Splits))
	for i, s := range l.Splits {
		b = appendBool(appendNumber(appendNumber(appendNumber(b, int(s.Kind)), s.Layer), s.Element), s.Active)
		b = appendNumber(appendNumber(appendFloat(b, s.At), s.First), s.Second)
		b = appendFloat(b, l.Beta[i])
	}
	return b
}

func (in *reader) leaf(vectors int) (l Leaf) {
	l.Row, l.Slopes = in.number(math.MaxInt32)-1, in.number(vectors)-1
	for range in.number(len(in.b)) {
		l.Splits = append(l.Splits, Split{
			verify.SplitKind(in.number(math.MaxUint8)), in.number(math.MaxInt32), in.number(math.MaxInt32), in.bool(),
			in.float(), in.number(math.MaxInt32), in.number(math.MaxInt32),
		})
		l.Beta = append(l.Beta, in.float())
	}
	return l
}

// How numbers of slopes are kept: bytes are multiples of 1/255.
const (
	pointKind = 1 << iota // those of a point
	floatKind             // float32, not bytes
)

func (s *Slopes) appendTo(b []byte) []byte {
	b = appendNumber(b, s.ReLU)
	for _, v := range s.Window {
		b = appendNumber(b, v)
	}
	list, kind := s.Alpha, 0
	if s.Point != nil {
		list, kind = s.Point, pointKind
	}
	for _, v := range list {
		if float32(shareByte(v))/255 != v {
			kind |= floatKind
			break
		}
	}
	b = appendNumber(append(b, byte(kind)), len(list))
	for _, v := range list {
		if kind&floatKind != 0 {
			b = appendFloat(b, v)
		} else {
			b = append(b, shareByte(v))
		}
	}
	return b
}

func shareByte(v float32) byte { return byte(math.Round(float64(min(max(v, 0), 1)) * 255)) }

func (in *reader) slopes() (s Slopes) {
	s.ReLU = in.number(math.MaxInt32)
	for k := range s.Window {
		s.Window[k] = in.number(math.MaxInt32)
	}
	kind := in.number(pointKind | floatKind)
	n := in.number(len(in.b))
	list := make([]float32, n)
	for k := range list {
		if kind&floatKind != 0 {
			list[k] = in.float()
		} else if len(in.b) > 0 {
			list[k], in.b = float32(in.b[0])/255, in.b[1:]
		} else {
			in.bad = true
		}
	}
	if kind&pointKind != 0 {
		s.Point = list
	} else {
		s.Alpha = list
	}
	return s
}

func (r *reader) bool() bool { return r.number(1) == 1 }

// whole reports whether leaves, which have the first depth splits in common, are all of a tree.
func whole(leaves []Leaf, depth int) bool {
	switch {
	case len(leaves) == 0:
		return false
	case len(leaves) == 1 && len(leaves[0].Splits) == depth:
		return true
	}
	var parts [2][]Leaf
	for _, l := range leaves {
		if len(l.Splits) <= depth {
			return false
		}
		s, first := l.Splits[depth], leaves[0].Splits[depth]
		part := 1
		if s.Active {
			part = 0
		}
		if first.Active = s.Active; s != first {
			return false
		}
		parts[part] = append(parts[part], l)
	}
	return whole(parts[0], depth+1) && whole(parts[1], depth+1)
}

// restore takes over what a record of a State holds.
func (r *Record) restore(from *Record) error {
	nodes := map[int]int{}
	for _, b := range r.bent {
		nodes[b.Layer] = b.Node
	}
	for i, s := range from.Steps {
		if s.Layer < 0 {
			return fmt.Errorf("step %d: got a clause, want bounds of a layer", i)
		}
		node, ok := nodes[s.Layer]
		if !ok {
			return fmt.Errorf("step %d: got layer %d, which nothing bent reads", i, s.Layer)
		}
		stated := r.stated[node]
		for _, e := range s.Elements {
			if e.Element >= len(stated) || !(e.Low <= e.High) {
				return fmt.Errorf("step %d: got element %d in [%v, %v] of layer %d, want one of %d and numbers in order", i, e.Element, e.Low, e.High, s.Layer, len(stated))
			}
			stated[e.Element] = e
		}
	}
	r.Steps = from.Steps
	return nil
}

// cutTree makes a division of cuts in preorder.
func cutTree(cuts []Cut, inputs int) (whole *cutNode, err error) {
	var grow func(depth int) *cutNode
	grow = func(depth int) *cutNode {
		if err != nil || len(cuts) == 0 || depth > maxCuts {
			err = errors.New("got cuts that are not all of a division")
			return nil
		}
		n := &cutNode{Cut: cuts[0]}
		if cuts = cuts[1:]; n.Input >= inputs {
			err = fmt.Errorf("got a cut at input %d, want one of %d", n.Input, inputs)
		}
		for i := range n.parts {
			if n.Input >= 0 && err == nil {
				n.parts[i] = grow(depth + 1)
			}
		}
		return n
	}
	whole = grow(0)
	if err == nil && len(cuts) > 0 {
		err = errors.New("got more cuts than a division has")
	}
	return whole, err
}

// maxCuts is how many cuts may be above each other: certificates state no more (1024).
const maxCuts = 1 << 10

// leafOf finds the leaf of a division that is the cell.
func (n *cutNode) leafOf(c *cell, inputs []int) (*cutNode, error) {
	for n.Input >= 0 {
		at := -1
		for i, k := range inputs {
			if k == n.Input {
				at = i
			}
		}
		switch {
		case at >= 0 && c.hi[at] <= n.At:
			n = n.parts[0]
		case at >= 0 && c.lo[at] >= n.At:
			n = n.parts[1]
		default:
			return nil, fmt.Errorf("got a cell that a cut at input %d divides", n.Input)
		}
	}
	return n, nil
}
