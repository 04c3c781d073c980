package branch

import (
	"math"
	"slices"
	"unsafe"

	"github.com/epsball/epsball/verify"
)

// cell is a part of the region: what it has in common with a box.
type cell struct {
	lo, hi []float32 // of the inputs that vary
	domain *verify.Domain
	low    float32
	depth  int
	cut    int      // which of these inputs to divide at
	node   *cutNode // its place in a record; nil: there is none
}

func (c *cell) bound() float32 { return c.low }

func (c *cell) bytes() int {
	return int(unsafe.Sizeof(c)) + int(unsafe.Sizeof(*c)) + (cap(c.lo)+cap(c.hi))*int(unsafe.Sizeof(c.low))
}

// boxes divides the region at its inputs, where few of them vary: bounds of all neurons
// follow each time. An input of a box belongs to the lower part, the upper one, or both.
func (s *search) boxes() error {
	margin := s.root.Margin()
	var whole *cutNode
	if s.o.Record != nil {
		whole = &cutNode{Cut: Cut{Input: -1}}
		defer func() {
			if s.proved {
				s.o.Record.Cuts = whole.appendTo(nil)
			}
		}()
	}
	if s.root.Empty() || margin > 0 {
		s.low, s.proved = margin, true
		return nil
	}
	var fresh []*cell
	if s.cells.len() == 0 { // else a search that was saved goes on
		root := &cell{domain: s.root, low: margin, node: whole}
		for _, k := range s.inputs {
			root.lo, root.hi = append(root.lo, s.lo[k]), append(root.hi, s.hi[k])
		}
		s.parts++
		fresh = append(fresh, root)
	}
	for {
		if err := s.aim(fresh); err != nil {
			return err
		}
		s.low, s.proved = max(s.low, margin), s.cells.len() == 0
		if s.proved {
			s.low = max(s.low, 0)
		} else {
			s.low = max(s.low, s.cells.low())
		}
		if s.o.Progress != nil {
			s.o.Progress(s.progress())
		}
		if s.proved || s.spent() {
			return nil
		}
		if err := s.save(false); err != nil {
			return err
		}
		s.spareCells()
		fresh = fresh[:0]
		for range min(s.o.Round, s.cells.len()) {
			c := s.cells.take()
			halves, ok := c.halve(s.inputs)
			if !ok { // one float32 wide: there is nothing left to divide
				s.ended = true
				s.putCells(append(fresh, c))
				return nil
			}
			fresh = append(fresh, halves[:]...)
		}
		if err := s.boundCells(fresh); err != nil {
			s.putCells(fresh)
			return err
		}
	}
}

// spareCells goes deep while cells hold more than half of Options.Memory.
func (s *search) spareCells() { s.deep = s.o.Memory > 0 && s.cells.held > s.o.Memory/2 }

// putCells puts those of the cells that are open in their places.
func (s *search) putCells(cells []*cell) {
	for _, c := range cells {
		c.domain = nil // it is large
		if !(c.low > 0) {
			s.cells.put(c, s.deep)
		}
	}
}

// part is the part of the region that a cell has.
func (s *search) part(c *cell) verify.Region {
	r := s.region
	r.Lo, r.Hi = slices.Clone(s.lo), slices.Clone(s.hi)
	for i, k := range s.inputs {
		r.Lo[k], r.Hi[k] = c.lo[i], c.hi[i]
	}
	return r
}

// boundCells bounds cells, each by itself.
func (s *search) boundCells(fresh []*cell) error {
	var domains []*verify.Domain
	for _, c := range fresh {
		part := s.part(c)
		d, err := s.v.Root(part, s.property)
		if err != nil { // a ball may not reach into a corner: nothing is there
			c.low = float32(math.Inf(1))
			continue
		}
		c.domain = d
		domains = append(domains, d)
	}
	o := verify.Options{Method: verify.MethodCROWN, RowsOnly: s.o.Record != nil} // as certificates state it
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
func (s *search) aim(fresh []*cell) error {
	var leaves []*verify.Leaf
	var of []*cell
	for _, c := range fresh {
		if c.low > 0 {
			continue
		}
		c.cut = widest(c.lo, c.hi)
		row := s.lowest(c.domain)
		leaves, of = append(leaves, verify.NewLeaf(c.domain, verify.Target{Row: row})), append(of, c)
	}
	if err := s.v.BoundLeaves(s.ctx, verify.LeafOptions{Candidates: 1}, leaves...); err != nil {
		s.putCells(of)
		return err
	}
	for i, l := range leaves {
		c := of[i]
		if best := float32(0); l.Spread != nil {
			for n, k := range s.inputs {
				if v := l.Spread[k]; v > best && c.hi[n] > c.lo[n] {
					best, c.cut = v, n
				}
			}
			if s.o.Point != nil && s.o.Point(l.Point) {
				s.ended = true
			}
		}
	}
	s.putCells(of)
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

// halve divides a cell in the middle of one of the inputs that vary; false: there is no float32
// between.
func (c *cell) halve(inputs []int) (halves [2]*cell, ok bool) {
	if len(c.lo) == 0 {
		return halves, false
	}
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
		if c.node != nil {
			h.node = &cutNode{Cut: Cut{Input: -1}}
			c.node.parts[i] = h.node
		}
		halves[i] = h
	}
	if c.node != nil {
		c.node.Cut = Cut{inputs[k], m}
	}
	return halves, true
}

// varying lists the inputs of a region that are no single number.
func varying(lo, hi []float32) (inputs []int) {
	for k, v := range lo {
		if hi[k] > v {
			inputs = append(inputs, k)
		}
	}
	return inputs
}
