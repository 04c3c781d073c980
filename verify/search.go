package verify

// Search looks for the largest proved radius among the points 0 … of a grid, one
// proof at a time:
//
//	for k, open := s.Next(); open; k, open = s.Next() {
//		s.Tell(prove(k))
//	}
//
// It may be left at any point: Proved is then the largest point told to be proved.
// That proofs get harder as radii grow is used for speed alone.
type Search struct {
	proved int // −1: none
	failed int // beyond proved; or one beyond the grid
	stride int // 0: bisect
}

// NewSearch begins between a point that is proved, −1 for none, and one that is not
// or lies beyond the grid. A near search goes up from proved in strides that double
// until one fails, and bisects then: for proofs whose cost grows with the radius,
// and an end that is probably near. Any other bisects at once.
func NewSearch(proved, failed int, near bool) Search {
	s := Search{proved: proved, failed: failed}
	if near {
		s.stride = 1
	}
	return s
}

// Next returns the point to prove next; open is false at the end of the search.
func (s *Search) Next() (k int, open bool) {
	if s.stride > 0 && s.proved+s.stride < s.failed {
		return s.proved + s.stride, true
	}
	s.stride = 0
	return (s.proved + s.failed) / 2, s.failed-s.proved > 1
}

// Tell says whether the point that Next returned is proved.
func (s *Search) Tell(proved bool) {
	k, _ := s.Next()
	if proved {
		s.proved = k
		s.stride *= 2
	} else {
		s.failed, s.stride = k, 0
	}
}

// Proved returns the largest point told to be proved, or what the search began with.
func (s *Search) Proved() int { return s.proved }
