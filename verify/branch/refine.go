package branch

import (
	"cmp"
	"slices"

	"github.com/epsball/epsball/verify"
)

// maxTargets is how many bounds of neurons a round of refinement searches for at most.
const maxTargets = 2048

// refine makes a root with tighter neurons, by searches of up to so many parts each, node by
// node, and with what follows behind them. It reports whether anything became tighter.
func (s *search) refine(budget int) (bool, error) {
	root, better := s.root.Clone(), false
	for node, targets := range s.targets() {
		if len(targets) == 0 {
			continue
		}
		found, err := s.tighten(root, node, targets, budget)
		if err != nil || s.ended {
			return false, err
		}
		if !found {
			continue
		}
		better = true
		if err := s.v.BoundDomains(s.ctx, s.o.Root, node+1, root); err != nil {
			return false, err
		}
		if root.Empty() {
			break
		}
		root = root.Clone() // of which leaves may be made
	}
	if !better {
		return false, nil
	}
	s.root = root
	return true, nil
}

// targets lists neurons to tighten by node: those that the property's rows owe most to.
func (s *search) targets() [][]verify.Target {
	nodes := s.v.Targets()
	var list []verify.Candidate
	for i, is := range nodes {
		if !is {
			continue
		}
		iv := s.root.Interval(i)
		for k, lo := range iv.Lower {
			if hi := iv.Upper[k]; lo < 0 && hi > 0 {
				list = append(list, verify.Candidate{Node: i, Neuron: k, Score: min(hi, -lo)})
			}
		}
	}
	if 2*len(list) > maxTargets {
		slices.SortStableFunc(list, func(a, b verify.Candidate) int { return cmp.Compare(b.Score, a.Score) })
		list = list[:maxTargets/2]
		slices.SortStableFunc(list, func(a, b verify.Candidate) int {
			return cmp.Or(cmp.Compare(a.Node, b.Node), cmp.Compare(a.Neuron, b.Neuron))
		})
	}
	out := make([][]verify.Target, len(nodes))
	for _, c := range list {
		for _, minus := range []bool{false, true} {
			out[c.Node] = append(out[c.Node], verify.Target{Row: -1, Node: c.Node, Neuron: c.Neuron, Minus: minus})
		}
	}
	return out
}

// tighten bounds neurons of a node. It reports whether anything became tighter.
func (s *search) tighten(root *verify.Domain, node int, targets []verify.Target, budget int) (better bool, err error) {
	var fresh []*part
	trees := make([]*tree, len(targets))
	for i, t := range targets {
		trees[i] = &tree{}
		fresh = append(fresh, newPart(root, t))
	}
	if err := s.bound(fresh, s.o.Steps, s.o.Candidates); err != nil {
		return false, err
	}
	for i, p := range fresh {
		trees[i].add(p)
	}
	s.parts += len(fresh)
	if _, err := s.grow(trees, func() bool { s.ended = s.parts >= s.o.Parts; return s.ended }, budget); err != nil {
		return false, err
	}
	iv := root.Interval(node)
	for i, t := range targets {
		low := min(trees[i].low(), 0) // a search ends where the sign is known
		lo, hi := iv.Lower[t.Neuron], iv.Upper[t.Neuron]
		if t.Minus {
			better = better || -low < hi
			root.Tighten(node, t.Neuron, lo, -low)
		} else {
			better = better || low > lo
			root.Tighten(node, t.Neuron, low, hi)
		}
	}
	return better, nil
}
