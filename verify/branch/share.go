package branch

import (
	"fmt"
	"slices"
)

// Open lists lower bounds over the open parts of a state, in an order of its own; none: the
// search for the property has not begun to divide.
func (st *State) Open() (bounds []float32, err error) {
	err = st.each(func(_ int, low float32, _ []byte) { bounds = append(bounds, low) })
	return bounds, err
}

// each calls f with all open parts as they are packed, in the order of Open: the number of their
// tree, −1 for cells, and their bound.
func (st *State) each(f func(tree int, low float32, packed []byte)) error {
	for i, t := range st.Trees {
		for b := t.Parts; len(b) > 0; {
			p, rest, err := readPart(b, len(t.Targets))
			if err != nil {
				return badState(fmt.Sprintf("trees[%d].parts", i), "%w", err)
			}
			if len(p.lows) == 0 {
				return badState(fmt.Sprintf("trees[%d]", i), "0 targets, want one")
			}
			f(i, slices.Max(p.lows), b[:len(b)-len(rest)])
			b = rest
		}
	}
	for b := st.Cells; len(b) > 0; {
		low, rest, err := readCell(b)
		if err != nil {
			return badState("cells", "%w", err)
		}
		f(-1, low, b[:len(b)-len(rest)])
		b = rest
	}
	return nil
}

// Deal divides what is open among n states: part i of Open goes to that of number to[i]. All
// of them have the bounds of the root, which they share; none has the searches for neurons. One
// without parts is nil. If the searches of all that are not nil prove their Share, the
// property holds as if this one had proved it.
func (st *State) Deal(to []int, n int) ([]*State, error) {
	list := make([]*State, n)
	k := 0
	err := st.each(func(tree int, _ float32, packed []byte) {
		s := list[to[k]]
		if s == nil {
			c := *st
			s = &c
			s.Share, s.Neurons, s.Cells, s.Trees = true, nil, nil, nil
			for _, t := range st.Trees {
				s.Trees = append(s.Trees, SavedTree{Targets: t.Targets, Left: t.Left})
			}
			list[to[k]] = s
		}
		s.add(tree, packed)
		k++
	})
	return list, err
}

func (st *State) add(tree int, packed []byte) {
	if tree < 0 {
		st.Cells = append(st.Cells, packed...)
	} else {
		st.Trees[tree].Parts = append(st.Trees[tree].Parts, packed...)
	}
}

// Join returns the state with what is left of all its shares in place of what is open. Of shares
// Bounds and Neurons are not looked at. Parts of the search for the property that the shares
// have bounded count, and as many more may be bounded before neurons are.
func (st *State) Join(left []*State) (*State, error) {
	all := *st
	all.Trees, all.Cells = slices.Clone(st.Trees), nil
	for i := range all.Trees {
		all.Trees[i].Parts = nil
	}
	for k, s := range left {
		at := fmt.Sprintf("shares[%d].", k)
		if !s.Share || s.Options != st.Options || len(s.Trees) != len(st.Trees) || s.Parts < st.Parts {
			return nil, badState(at+"share", "got a state of another search, or all of one, want a share of this one")
		}
		for i, t := range s.Trees {
			if !slices.Equal(t.Targets, st.Trees[i].Targets) {
				return nil, badState(fmt.Sprintf("%strees[%d].targets", at, i), "got %+v, want %+v", t.Targets, st.Trees[i].Targets)
			}
		}
		parts := 0
		err := s.each(func(tree int, _ float32, packed []byte) {
			all.add(tree, packed)
			parts++
		})
		switch {
		case err != nil:
			return nil, fmt.Errorf("shares[%d]: %w", k, err)
		case parts == 0:
			return nil, badState(at+"trees", "nothing is open, want what is to be proved still")
		}
		all.Parts, all.Depth = all.Parts+s.Parts-st.Parts, max(all.Depth, s.Depth)
		if k == 0 || s.Low < all.Low {
			all.Low = s.Low
		}
	}
	for i := range all.Trees {
		all.Trees[i].Left = max(all.Trees[i].Left, all.Parts-st.Parts)
	}
	all.Low = max(all.Low, st.Low)
	return &all, nil
}
