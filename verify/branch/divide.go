package branch

import (
	"math"

	"github.com/epsball/epsball/verify"
)

// divide replaces parts by two of each, at the neuron of those tried that raises the lower of
// their bounds most before anything is optimised (filtered smart branching, De Palma et al. 2021).
// If it fails, the trees have all that is open, as they had.
func (s *search) divide(round []*part, of []*tree) error {
	round, of, err := s.wake(round, of)
	if err != nil {
		return err
	}
	var probes, longer []*part
	var longerOf []*tree
	for i, p := range round {
		if len(p.best().Choice) == 0 {
			longer, longerOf = append(longer, p), append(longerOf, of[i])
		}
		for _, c := range p.tried() {
			for _, phase := range []verify.Phase{verify.Active, verify.Inactive} {
				split := c.Split
				split.Phase = phase
				probes = append(probes, p.child(split))
			}
		}
	}
	if err := s.bound(probes, 0, 0); err != nil {
		s.giveBack(round, of)
		return err
	}
	var closed, fresh []*part
	var closedOf, freshOf []*tree
	for i, p := range round {
		n := len(p.tried())
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
			s.depth = max(s.depth, c.depth())
			if c.low > 0 {
				closed, closedOf = append(closed, c), append(closedOf, of[i])
				continue
			}
			for k, l := range c.leaves {
				l.Low = max(l.Low, p.leaves[k].Low)
			}
			fresh, freshOf = append(fresh, c), append(freshOf, of[i])
		}
		probes = probes[2*n:]
	}
	if err := s.bound(fresh, s.o.Steps, s.o.Candidates); err != nil {
		s.giveBack(round, of)
		return err
	}
	s.take(closed, closedOf)
	s.take(fresh, freshOf)
	return s.longer(longer, longerOf)
}

// tried are the splits that divide tries. Of S-shaped functions it is the first alone, or none:
// what a split of one does before its multiplier is optimised misleads.
func (p *part) tried() []verify.Candidate {
	l := p.best()
	sharp := func(c verify.Candidate) bool { return l.Frame.Splits(c.Node) != verify.PointSplits }
	if len(l.Choice) > 0 && !sharp(l.Choice[0]) {
		return l.Choice[:1]
	}
	var list []verify.Candidate
	for _, c := range l.Choice {
		if sharp(c) {
			list = append(list, c)
		}
	}
	return list
}

// take puts new parts in their places, and counts them.
func (s *search) take(parts []*part, of []*tree) {
	for i, p := range parts {
		of[i].left--
		s.parts++
		of[i].add(p, s.deep)
	}
}

// giveBack puts parts that were not divided back.
func (s *search) giveBack(parts []*part, of []*tree) {
	for i, p := range parts {
		of[i].add(p, s.deep)
	}
}

// wake finds slopes and multipliers of parts that are packed. It returns those of the round
// that are open then.
func (s *search) wake(round []*part, of []*tree) (left []*part, leftOf []*tree, err error) {
	var packed []*part
	var packedOf []*tree
	for i, p := range round {
		if p.leaves == nil {
			p.leaves = of[i].unpacked(p)
			p.packed = nil
			packed, packedOf = append(packed, p), append(packedOf, of[i])
		}
	}
	if err := s.bound(packed, max(s.o.Steps, s.rootSteps()), s.o.Candidates); err != nil {
		s.giveBack(round, of)
		return nil, nil, err
	}
	for i := range packed {
		packedOf[i].left--
		s.parts++
	}
	for i, p := range round {
		if !(p.low > 0) {
			left, leftOf = append(left, p), append(leftOf, of[i])
		} else if of[i].keep {
			of[i].close(p)
		}
	}
	return left, leftOf, nil
}

// longer bounds parts with nothing left to split once more: their multipliers, which are
// all that may still raise their bounds, may not have come to rest.
func (s *search) longer(parts []*part, of []*tree) error {
	for again := range longerTimes {
		var some []*part
		for _, p := range parts {
			if p.again == again {
				some = append(some, p)
			}
		}
		if err := s.bound(some, s.o.Steps*longerSteps<<(2*again), s.o.Candidates); err != nil {
			s.giveBack(parts, of)
			return err
		}
	}
	for _, p := range parts {
		p.again++
	}
	s.take(parts, of)
	return nil
}

const (
	longerSteps = 10 // times the steps of a part, and four times more each time
	longerTimes = 4
)
