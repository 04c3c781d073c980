package branch

import (
	"cmp"
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
	left   float64  // of its volume, since it was bounded
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
	if s.o.Record != nil {
		if s.cuts == nil {
			s.cuts = &cutNode{Cut: Cut{Input: -1}}
		}
		defer func() {
			if s.proved {
				s.o.Record.Cuts = s.cuts.appendTo(nil)
			}
		}()
	}
	if s.root.Empty() || margin > 0 {
		s.low, s.proved = margin, true
		return nil
	}
	var fresh []*cell
	if s.cells.len() == 0 { // else a search that was saved goes on
		root := &cell{domain: s.root, low: margin, left: 1, node: s.cuts}
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
			if c.left < 0.5 { // as good as divided
				fresh = append(fresh, c)
				continue
			}
			halves, ok := c.halve(s.inputs)
			if !ok && c.left < 1 {
				fresh = append(fresh, c)
				continue
			}
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
		c.left = 1
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

// aim narrows the cells that are open to where the property may fail, finds where to divide them,
// and puts them among the others.
func (s *search) aim(fresh []*cell) error {
	var leaves []*verify.Leaf
	var of []*cell
	var open [][][]*verify.Leaf // of each cell and each clause that may fail: its rows
	for _, c := range fresh {
		if c.low > 0 {
			continue
		}
		clauses := s.mayFail(c.domain)
		of, open = append(of, c), append(open, clauses)
		for _, rows := range clauses {
			leaves = append(leaves, rows...)
		}
	}
	if err := s.v.BoundLeaves(s.ctx, verify.LeafOptions{Candidates: 1}, leaves...); err != nil {
		s.putCells(of)
		return err
	}
	for i, c := range of {
		s.aimCell(c, open[i])
	}
	s.putCells(of)
	return nil
}

// mayFail returns leaves for the rows of each clause that is open in a domain.
func (s *search) mayFail(d *verify.Domain) (clauses [][]*verify.Leaf) {
	from := 0
	for _, n := range s.clauses() {
		if !(slices.Max(d.Rows()[from:from+n]) > 0) {
			var rows []*verify.Leaf
			for row := from; row < from+n; row++ {
				rows = append(rows, verify.NewLeaf(d, verify.Target{Row: row}))
			}
			clauses = append(clauses, rows)
		}
		from += n
	}
	return clauses
}

// aimCell narrows a cell with the rows of its open clauses, and finds where to divide it: at the
// input whose width costs the clause with the lowest bound most.
func (s *search) aimCell(c *cell, open [][]*verify.Leaf) {
	var weakest *verify.Leaf
	for _, rows := range open {
		best := slices.MaxFunc(rows, func(a, b *verify.Leaf) int { return cmp.Compare(a.Low, b.Low) })
		if weakest == nil || best.Low < weakest.Low {
			weakest = best
		}
		for _, l := range rows {
			if s.o.Point != nil && l.Point != nil && s.o.Point(l.Point) {
				s.ended = true
			}
		}
	}
	var left []float64     // of each width
	if s.o.Record == nil { // whose cuts are halves
		left = s.clip(c, open)
	}
	c.cut = widest(c.lo, c.hi)
	if weakest == nil || weakest.Spread == nil {
		return
	}
	most := 0.0
	for n, k := range s.inputs {
		cost := float64(weakest.Spread[k])
		if left != nil {
			cost *= left[n]
		}
		if cost > most && c.hi[n] > c.lo[n] {
			most, c.cut = cost, n
		}
	}
}

// clip narrows a cell to the box around where a clause may fail, which is where all of its rows may:
// elsewhere the property holds. It returns what is left of each width; nil: all.
func (s *search) clip(c *cell, open [][]*verify.Leaf) (left []float64) {
	lo, hi := slices.Clone(c.hi), slices.Clone(c.lo) // no box yet
	fails := false
	for _, rows := range open {
		from, to := slices.Clone(c.lo), slices.Clone(c.hi)
		holds := false
		for _, l := range rows {
			if l.Low > 0 {
				holds = true
				break
			}
			low, high, _ := l.Clip()
			for i, k := range s.inputs {
				from[i], to[i] = max(from[i], low[k]), min(to[i], high[k])
				holds = holds || from[i] > to[i]
			}
		}
		if holds { // its rows fail nowhere at once
			continue
		}
		fails = true
		for i := range lo {
			lo[i], hi[i] = min(lo[i], from[i]), max(hi[i], to[i])
		}
	}
	if !fails {
		c.low = float32(math.Inf(1))
		return nil
	}
	for i := range lo {
		share := 1.0
		if width := float64(c.hi[i]) - float64(c.lo[i]); width > 0 {
			share = (float64(hi[i]) - float64(lo[i])) / width
		}
		left = append(left, share)
		c.left *= share
	}
	c.lo, c.hi = lo, hi
	return left
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
		h := &cell{lo: slices.Clone(c.lo), hi: slices.Clone(c.hi), low: c.low, left: 1, depth: c.depth + 1}
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

// varying lists the inputs of a region that are worth dividing: those that are no single number,
// nor, as where a property fixes one to a decimal, what lies between two float32 around it.
func varying(lo, hi []float32) (inputs []int) {
	inf := float32(math.Inf(1))
	for k, v := range lo {
		if hi[k] > math.Nextafter32(math.Nextafter32(v, inf), inf) {
			inputs = append(inputs, k)
		}
	}
	return inputs
}
