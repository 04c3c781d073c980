package branch

import (
	"cmp"
	"slices"
)

// spare brings what open parts hold below Options.Memory: those far back in their trees are
// packed, which takes a hundredth of the memory, and where that is not enough the search goes
// deep: it divides what it has divided last, so that little is added.
func (s *search) spare() {
	most := s.o.Memory
	held := s.held()
	if most == 0 || held <= most {
		s.deep = s.deep && held > most/2
		return
	}
	type place struct {
		f    *frontier[*part]
		p    *part
		back int // from the front of its tree
	}
	var list []place
	for _, trees := range [][]*tree{s.trees, s.neurons} {
		for _, t := range trees {
			f := &t.open
			// Sorted, a heap is one still.
			slices.SortStableFunc(f.queue, func(a, b *part) int { return cmp.Compare(a.low, b.low) })
			for i, p := range f.queue {
				list = append(list, place{f, p, len(f.stack) + i})
			}
			for i, p := range f.stack {
				list = append(list, place{f, p, len(f.stack) - 1 - i})
			}
		}
	}
	for _, trees := range [][]*tree{s.trees, s.neurons} { // what is closed wants its slopes in the end alone
		for _, t := range trees {
			for ; held > most/2 && t.packed < len(t.closed); t.packed++ {
				p := t.closed[t.packed]
				if p.leaves == nil {
					continue
				}
				gain := p.pack()
				held -= gain
				t.kept -= gain
			}
		}
	}
	list = slices.DeleteFunc(list, func(l place) bool { return l.p.leaves == nil })
	slices.SortStableFunc(list, func(a, b place) int { return cmp.Compare(b.back, a.back) })
	for _, l := range list {
		if held <= most/2 {
			break
		}
		gain := l.p.pack()
		held -= gain
		l.f.held -= gain
	}
	s.deep = held > most/4*3
}

// held estimates the bytes that open parts hold, and closed ones of a record.
func (s *search) held() int {
	n := s.cells.held
	for _, trees := range [][]*tree{s.trees, s.neurons} {
		for _, t := range trees {
			n += t.open.held + t.kept
		}
	}
	return n
}
