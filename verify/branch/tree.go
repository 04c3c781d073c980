package branch

import (
	"context"
	"math"
	"time"

	"github.com/epsball/epsball/verify"
)

// tree is a search: its open parts, those with the lowest bound first.
type tree struct {
	frame   *verify.Domain
	targets []verify.Target // of the leaves of each part
	open    frontier[*part]
	left    int     // parts that it may have, for now
	stuck   []*part // open parts with nothing left to split

	keep   bool // for a record
	closed []*part
	packed int // so many of the first of these are packed
	kept   int // bytes that they hold, an estimate
}

func (s *search) tree(frame *verify.Domain, targets ...verify.Target) *tree {
	return &tree{frame: frame, targets: targets, keep: s.o.Record != nil}
}

// root is the part that is all of the tree's frame.
func (t *tree) root() *part {
	p := &part{low: float32(math.Inf(-1))}
	for _, g := range t.targets {
		p.leaves = append(p.leaves, verify.NewLeaf(t.frame, g))
	}
	return p
}

// add puts a part in its place.
func (t *tree) add(p *part, deep bool) {
	switch {
	case p.low > 0:
		if t.keep {
			t.close(p)
		}
	case p.again >= longerTimes:
		t.stuck = append(t.stuck, p)
	default:
		t.open.put(p, deep)
	}
}

// close keeps a part that is proved.
func (t *tree) close(p *part) {
	t.closed = append(t.closed, p)
	t.kept += p.bytes()
}

// low is a lower bound over all that the tree is for; +Inf if it is proved.
func (t *tree) low() float32 {
	low := t.open.low()
	for _, p := range t.stuck {
		low = min(low, p.low)
	}
	return low
}

func (t *tree) proved() bool { return t.open.len() == 0 && len(t.stuck) == 0 }

// grows reports whether the tree has parts to divide and may.
func (t *tree) grows() bool { return t.open.len() > 0 && t.left > 0 }

// search is a run of Prove.
type search struct {
	ctx context.Context
	v   *verify.Verifier
	o   Options

	region   verify.Region
	property *verify.Property
	root     *verify.Domain
	trees    []*tree // of the clauses
	budget   int     // of the round under way
	searches int     // for neurons, of the last refinement

	// Of a refinement.
	next    *verify.Domain // the root to be; nil: there is none under way
	node    int            // that is under way
	better  bool           // something is tighter
	neurons []*tree        // of the node

	inputs       []int           // that vary
	few          bool            // the region is divided at them
	lo, hi       []float32       // of the region's box
	cells        frontier[*cell] // that are open
	deep         bool            // memory is short
	low          float32         // of the property, the best one
	parts, depth int
	before       int // parts of runs before
	proved       bool
	ended        bool     // by Point or Parts
	share        bool     // of what is open: see State.Share
	cuts         *cutNode // of a record that divides at inputs
	saved        time.Time
}

// bound bounds parts.
func (s *search) bound(parts []*part, steps, candidates int) error {
	var all []*verify.Leaf
	for _, p := range parts {
		all = append(all, p.leaves...)
	}
	o := verify.LeafOptions{Steps: steps, Candidates: candidates}
	err := s.v.BoundLeaves(s.ctx, o, all...)
	for _, p := range parts { // if it was ended, some of them have been bounded
		p.low = p.best().Low
	}
	return err
}

// allow lets each tree have so many parts more.
func allow(trees []*tree, more int) {
	for _, t := range trees {
		t.left = more
	}
}

// grow divides the lowest parts of trees until each is proved or has had as many parts as
// it may. stop is asked after each round.
func (s *search) grow(trees []*tree, stop func() bool) (stopped bool, err error) {
	for !stop() {
		if err := s.save(false); err != nil {
			return false, err
		}
		round, of := s.round(trees)
		if len(round) == 0 {
			return false, nil
		}
		if err := s.divide(round, of); err != nil {
			return false, err
		}
		s.spare()
	}
	return true, nil
}

// round takes parts from the trees, and returns them with their trees.
func (s *search) round(trees []*tree) (round []*part, of []*tree) {
	active := 0
	for _, t := range trees {
		if t.grows() {
			active++
		}
	}
	if active == 0 {
		return nil, nil
	}
	for _, t := range trees {
		if !t.grows() {
			continue
		}
		for range min(max(1, s.o.Round/active), t.open.len()) {
			round = append(round, t.open.take())
			of = append(of, t)
		}
	}
	return round, of
}
