package branch

import (
	"math"

	"github.com/epsball/epsball/verify"
)

// plant makes a tree for each clause that the root does not prove.
func (s *search) plant() error {
	if s.root.Empty() {
		s.proved, s.low = true, float32(math.Inf(1))
		return nil
	}
	rows, row := s.root.Rows(), 0
	s.trees = nil
	var fresh []*part
	for _, n := range s.clauses() {
		var targets []verify.Target
		proved := false
		for ; n > 0; n-- {
			proved = proved || rows[row] > 0
			targets = append(targets, verify.Target{Row: row})
			row++
		}
		if !proved {
			fresh = append(fresh, newPart(s.root, targets...))
			s.trees = append(s.trees, &tree{})
		}
	}
	if err := s.bound(fresh, s.o.Steps, s.o.Candidates); err != nil {
		return err
	}
	for i, p := range fresh {
		for _, l := range p.leaves {
			l.Low = max(l.Low, rows[l.Target.Row])
		}
		p.low = p.best().Low
		s.trees[i].add(p)
		s.parts++
	}
	s.settle()
	return nil
}

// clauses are the numbers of rows of those of the property.
func (s *search) clauses() []int { return s.property.ClauseRows(s.v.Network().Output().Size()) }

// settle takes stock of the trees of the property.
func (s *search) settle() {
	low, proved := float32(math.Inf(1)), true
	for _, t := range s.trees {
		low, proved = min(low, t.low()), proved && t.proved()
	}
	if proved {
		low = max(s.root.Margin(), 0)
	}
	s.low, s.proved = max(s.low, low), proved
}

// open reports whether a clause has parts to divide.
func (s *search) open() bool {
	for _, t := range s.trees {
		if len(t.queue) > 0 {
			return true
		}
	}
	return false
}

// stop takes stock after a round for the property.
func (s *search) stop() bool {
	s.settle()
	if s.o.Progress != nil {
		s.o.Progress(s.progress())
	}
	if s.proved || s.ended {
		return true
	}
	if s.o.Point != nil {
		for _, t := range s.trees {
			if len(t.queue) > 0 && s.o.Point(t.queue[0].best().Point) {
				s.ended = true
			}
		}
	}
	s.ended = s.ended || s.parts >= s.o.Parts
	return s.ended
}

func (s *search) progress() Progress {
	open := s.cells
	for _, t := range s.trees {
		open += len(t.queue) + len(t.stuck)
	}
	return Progress{Low: s.low, Open: open, Parts: s.parts, Depth: s.depth}
}
