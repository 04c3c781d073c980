package branch

import (
	"fmt"
	"math"
)

// appendTo appends a cell as it is packed: its bound, depth, the input to divide at, the number
// of those that vary, and their ends.
func (c *cell) appendTo(b []byte) []byte {
	b = appendFloat(b, c.low)
	b = appendNumber(appendNumber(b, c.depth), c.cut)
	b = appendNumber(b, len(c.lo))
	for i, lo := range c.lo {
		b = appendFloat(b, lo)
		b = appendFloat(b, c.hi[i])
	}
	return b
}

// readCells puts cells that were saved in their places.
func (s *search) readCells(b []byte) error {
	for in := (reader{b: b}); len(in.b) > 0; {
		c := &cell{left: 1, low: in.float(), depth: in.number(math.MaxInt32), cut: in.number(max(0, len(s.inputs)-1))}
		if n := in.number(math.MaxInt32); n != len(s.inputs) {
			return fmt.Errorf("got one of %d inputs that vary, want %d", n, len(s.inputs))
		}
		for _, k := range s.inputs {
			lo, hi := in.float(), in.float()
			if !(s.lo[k] <= lo && lo <= hi && hi <= s.hi[k]) {
				return fmt.Errorf("got input %d from %v to %v, want numbers in the region's", k, lo, hi)
			}
			c.lo, c.hi = append(c.lo, lo), append(c.hi, hi)
		}
		if !(c.low <= 0) {
			return fmt.Errorf("got one with the bound %v, want none above 0", c.low)
		}
		s.cells.put(c, false)
	}
	return nil
}

// readCell finds the end of a cell as appendTo writes it, and returns its bound and the bytes
// after it.
func readCell(b []byte) (low float32, rest []byte, err error) {
	in := reader{b: b}
	low = in.float()
	in.number(math.MaxInt32)
	in.number(math.MaxInt32)
	n := in.number(math.MaxInt32)
	if in.bad || n > len(in.b)/8 {
		return 0, nil, errShort
	}
	return low, in.b[8*n:], nil
}
