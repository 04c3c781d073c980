package branch

import (
	"context"
	"math"

	"github.com/epsball/epsball/verify"
)

// part is a part of the root domain with what is to be bounded over it: the rows of a
// clause, of which one must be positive, or a neuron.
type part struct {
	leaves []*verify.Leaf
	low    float32 // the largest bound of its leaves
	again  int     // how often it was bounded longer because nothing was left to split
}

func newPart(root *verify.Domain, targets ...verify.Target) *part {
	p := &part{low: float32(math.Inf(-1))}
	for _, t := range targets {
		p.leaves = append(p.leaves, verify.NewLeaf(root, t))
	}
	return p
}

// best is the leaf with the largest bound.
func (p *part) best() *verify.Leaf {
	b := p.leaves[0]
	for _, l := range p.leaves {
		if l.Low > b.Low {
			b = l
		}
	}
	return b
}

func (p *part) child(s verify.Split) *part {
	c := &part{}
	for _, l := range p.leaves {
		c.leaves = append(c.leaves, l.Child(s))
	}
	return c
}

func (p *part) bound() float32 { return p.low }

func (p *part) depth() int { return len(p.leaves[0].Splits) }

// tree is a search: its open parts, those with the lowest bound first.
type tree struct {
	queue queue[*part]
	parts int     // bounded so far
	limit int     // of parts, for now
	stuck []*part // open parts with nothing left to split
}

// add puts a part that is open in its place.
func (t *tree) add(p *part) {
	if !(p.low > 0) {
		t.queue.put(p)
	}
}

// low is a lower bound over all that the tree is for; +Inf if it is proved.
func (t *tree) low() float32 {
	low := float32(math.Inf(1))
	if len(t.queue) > 0 {
		low = t.queue[0].low
	}
	for _, p := range t.stuck {
		low = min(low, p.low)
	}
	return low
}

func (t *tree) proved() bool { return len(t.queue) == 0 && len(t.stuck) == 0 }

// grows reports whether the tree has parts to divide within its limit.
func (t *tree) grows() bool { return len(t.queue) > 0 && t.parts < t.limit }

// search is a run of Prove.
type search struct {
	ctx context.Context
	v   *verify.Verifier
	o   Options

	property *verify.Property
	root     *verify.Domain
	trees    []*tree // of the clauses

	cells        int     // that are open, where the region is divided
	low          float32 // of the property, the best one
	parts, depth int
	proved       bool
	ended        bool // by Point or Parts
}

// bound bounds parts.
func (s *search) bound(parts []*part, steps, candidates int) error {
	var all []*verify.Leaf
	for _, p := range parts {
		all = append(all, p.leaves...)
	}
	o := verify.LeafOptions{Steps: steps, Candidates: candidates}
	if err := s.v.BoundLeaves(s.ctx, o, all...); err != nil {
		return err
	}
	for _, p := range parts {
		p.low = p.best().Low
	}
	return nil
}

// grow divides the lowest parts of trees until each is proved or has had as many parts as
// it may. stop is asked after each round.
func (s *search) grow(trees []*tree, stop func() bool, more int) (stopped bool, err error) {
	for _, t := range trees {
		t.limit = t.parts + more
	}
	for !stop() {
		round, of := s.round(trees)
		if len(round) == 0 {
			return false, nil
		}
		if err := s.divide(round, of); err != nil {
			return false, err
		}
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
		for range min(max(1, s.o.Round/active), len(t.queue)) {
			round = append(round, t.queue.take())
			of = append(of, t)
		}
	}
	return round, of
}

// divide replaces parts by two of each, at the neuron that raises the lower of their bounds
// most before anything is optimised (filtered smart branching, De Palma et al. 2021).
func (s *search) divide(round []*part, of []*tree) error {
	var probes, longer []*part
	for _, p := range round {
		if len(p.best().Choice) == 0 {
			longer = append(longer, p)
		}
		for _, c := range p.best().Choice {
			for _, phase := range []verify.Phase{verify.Active, verify.Inactive} {
				probes = append(probes, p.child(verify.Split{Node: c.Node, Neuron: c.Neuron, Phase: phase}))
			}
		}
	}
	if err := s.bound(probes, 0, 0); err != nil {
		return err
	}
	var fresh []*part
	var home []*tree
	for i, p := range round {
		n := len(p.best().Choice)
		if n == 0 {
			continue
		}
		best, at := float32(math.Inf(-1)), 0
		for c := range n {
			a, b := min(probes[2*c].low, 0), min(probes[2*c+1].low, 0)
			if v := min(a, b) + 0.1*max(a, b); v > best {
				best, at = v, c
			}
		}
		for _, c := range probes[2*at : 2*at+2] {
			of[i].parts++
			s.parts++
			s.depth = max(s.depth, c.depth())
			if c.low > 0 {
				continue
			}
			for k, l := range c.leaves {
				l.Low = max(l.Low, p.leaves[k].Low)
			}
			fresh, home = append(fresh, c), append(home, of[i])
		}
		probes = probes[2*n:]
	}
	if err := s.bound(fresh, s.o.Steps, s.o.Candidates); err != nil {
		return err
	}
	for i, p := range fresh {
		home[i].add(p)
	}
	return s.longer(longer, round, of)
}

// longer bounds parts with nothing left to split once more: their multipliers, which are
// all that may still raise their bounds, may not have come to rest.
func (s *search) longer(parts, round []*part, of []*tree) error {
	for again := range longerTimes {
		var some []*part
		for _, p := range parts {
			if p.again == again {
				some = append(some, p)
			}
		}
		if err := s.bound(some, s.o.Steps*longerSteps<<(2*again), s.o.Candidates); err != nil {
			return err
		}
	}
	for i, p := range round {
		if len(parts) == 0 || parts[0] != p {
			continue
		}
		parts = parts[1:]
		of[i].parts++
		s.parts++
		if p.again++; p.again == longerTimes && !(p.low > 0) {
			of[i].stuck = append(of[i].stuck, p)
			continue
		}
		of[i].add(p)
	}
	return nil
}

const (
	longerSteps = 10 // times the steps of a part, and four times more each time
	longerTimes = 4
)
