package branch

import (
	"math"
	"slices"

	"github.com/epsball/epsball/verify"
)

// cell is a part of the region: what it has in common with a box.
type cell struct {
	lo, hi []float32
	domain *verify.Domain
	low    float32
	depth  int
	cut    int // the input to divide at
}

func (c *cell) bound() float32 { return c.low }

// boxes divides the region at its inputs, where few of them vary: bounds of all neurons
// follow each time. An input of a box belongs to the lower part, the upper one, or both.
func (s *search) boxes(r verify.Region, lo, hi []float32) error {
	root := &cell{lo: lo, hi: hi, domain: s.root, low: s.root.Margin()}
	if s.root.Empty() || root.low > 0 {
		s.low, s.proved = root.low, true
		return nil
	}
	s.parts++
	var open queue[*cell]
	fresh := []*cell{root}
	for {
		if err := s.aim(fresh, &open); err != nil {
			return err
		}
		s.low, s.proved = max(s.low, root.low), len(open) == 0
		if len(open) > 0 {
			s.low = max(s.low, open[0].low)
		} else {
			s.low = max(s.low, 0)
		}
		s.cells = len(open)
		if s.o.Progress != nil {
			s.o.Progress(s.progress())
		}
		if s.ended = s.ended || s.parts >= s.o.Parts; s.proved || s.ended {
			return nil
		}
		fresh = fresh[:0]
		for range min(s.o.Round, len(open)) {
			c := open.take()
			halves, ok := c.halve()
			if !ok { // one float32 wide: there is nothing left to divide
				s.ended = true
				open.put(c)
				return nil
			}
			fresh = append(fresh, halves[:]...)
		}
		if err := s.boundCells(r, fresh); err != nil {
			return err
		}
	}
}

// boundCells bounds cells, each by itself.
func (s *search) boundCells(r verify.Region, fresh []*cell) error {
	var domains []*verify.Domain
	for _, c := range fresh {
		part := r
		part.Lo, part.Hi = c.lo, c.hi
		d, err := s.v.Root(part, s.property)
		if err != nil { // a ball may not reach into a corner: nothing is there
			c.low = float32(math.Inf(1))
			continue
		}
		c.domain = d
		domains = append(domains, d)
	}
	o := verify.Options{Method: verify.MethodCROWN}
	if err := s.v.BoundDomains(s.ctx, o, 0, domains...); err != nil {
		return err
	}
	for _, c := range fresh {
		s.parts++
		s.depth = max(s.depth, c.depth)
		if c.domain != nil {
			if c.low = max(c.low, c.domain.Margin()); c.domain.Empty() {
				c.low = float32(math.Inf(1))
			}
		}
	}
	return nil
}

// aim finds where to divide the cells that are open, and puts them among the others.
func (s *search) aim(fresh []*cell, open *queue[*cell]) error {
	var leaves []*verify.Leaf
	var of []*cell
	for _, c := range fresh {
		if c.low > 0 {
			continue
		}
		row := s.lowest(c.domain)
		leaves, of = append(leaves, verify.NewLeaf(c.domain, verify.Target{Row: row})), append(of, c)
	}
	if err := s.v.BoundLeaves(s.ctx, verify.LeafOptions{Candidates: 1}, leaves...); err != nil {
		return err
	}
	for i, l := range leaves {
		c := of[i]
		c.cut = widest(c.lo, c.hi)
		if best := float32(0); l.Spread != nil {
			for k, v := range l.Spread {
				if v > best && c.hi[k] > c.lo[k] {
					best, c.cut = v, k
				}
			}
			if s.o.Point != nil && s.o.Point(l.Point) {
				s.ended = true
			}
		}
		c.domain = nil // it is large
		open.put(c)
	}
	return nil
}

// lowest returns the row that decides the clause with the lowest bound.
func (s *search) lowest(d *verify.Domain) int {
	low, at, from := float32(math.Inf(1)), 0, 0
	for _, n := range s.clauses() {
		rows := d.Rows()[from : from+n]
		if v := slices.Max(rows); v < low || from == 0 {
			low, at = v, from+slices.Index(rows, v)
		}
		from += n
	}
	return at
}

func widest(lo, hi []float32) int {
	at := 0
	for k := range lo {
		if hi[k]-lo[k] > hi[at]-lo[at] {
			at = k
		}
	}
	return at
}

// halve divides a cell in the middle of an input; false: there is no float32 between.
func (c *cell) halve() (halves [2]*cell, ok bool) {
	k := c.cut
	m := float32((float64(c.lo[k]) + float64(c.hi[k])) / 2)
	if !(m > c.lo[k] && m < c.hi[k]) {
		if k = widest(c.lo, c.hi); k == c.cut {
			return halves, false
		}
		if m = float32((float64(c.lo[k]) + float64(c.hi[k])) / 2); !(m > c.lo[k] && m < c.hi[k]) {
			return halves, false
		}
	}
	for i := range halves {
		h := &cell{lo: slices.Clone(c.lo), hi: slices.Clone(c.hi), low: c.low, depth: c.depth + 1}
		if i == 0 {
			h.hi[k] = m
		} else {
			h.lo[k] = m
		}
		halves[i] = h
	}
	return halves, true
}

// varying counts the inputs of a region that are no single number.
func varying(lo, hi []float32) (n int) {
	for k, v := range lo {
		if hi[k] > v {
			n++
		}
	}
	return n
}
