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
	var trees []*tree
	var fresh []*part
	for _, n := range s.clauses() {
		var targets []verify.Target
		proved := false
		for ; n > 0; n-- {
			proved = proved || rows[row] > 0 && s.o.Record == nil
			targets = append(targets, verify.Target{Row: row})
			row++
		}
		if !proved {
			t := s.tree(s.root, targets...)
			fresh, trees = append(fresh, t.root()), append(trees, t)
		}
	}
	steps := s.o.Steps
	if s.o.Record != nil { // else the root has been bounded so
		steps = max(steps, s.rootSteps())
	}
	if err := s.bound(fresh, steps, s.o.Candidates); err != nil {
		return err
	}
	for i, p := range fresh {
		for _, l := range p.leaves {
			if s.o.Record == nil {
				l.Low = max(l.Low, rows[l.Target.Row])
			}
		}
		p.low = p.best().Low
		trees[i].add(p, false)
		s.parts++
	}
	s.trees = trees // the old ones are what is open until then
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
		if t.open.len() > 0 {
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
			if t.open.len() == 0 || t.open.next().leaves == nil {
				continue
			}
			if x := t.open.next().best().Point; x != nil && s.o.Point(x) {
				s.ended = true
			}
		}
	}
	return s.spent()
}

// spent reports whether the search was ended.
func (s *search) spent() bool {
	s.ended = s.ended || s.parts-s.before >= s.o.Parts
	return s.ended
}

func (s *search) progress() Progress {
	open := s.cells.len()
	for _, t := range s.trees {
		open += t.open.len() + len(t.stuck)
	}
	return Progress{Low: s.low, Open: open, Parts: s.parts, Depth: s.depth}
}
