package branch

import (
	"cmp"
	"slices"

	"github.com/epsball/epsball/verify"
)

// maxTargets is how many bounds of neurons a round of refinement searches for at most.
const maxTargets = 2048

// allNeurons is more candidates than there are.
const allNeurons = 1 << 24

// refine makes a root with tighter neurons, by searches of up to so many parts each, node by
// node, and with what follows behind them. It reports whether anything became tighter.
func (s *search) refine(budget int) (better bool, err error) {
	all, err := s.targets()
	if err != nil {
		return false, err
	}
	s.next, s.searches = s.root.Clone(), 0
	for node := s.node; node < len(all); node++ {
		s.node = node
		if len(all[node]) == 0 && len(s.neurons) == 0 {
			continue
		}
		found, err := s.tighten(s.next, node, all[node], budget)
		if err != nil || s.ended {
			return false, err
		}
		s.neurons = nil
		if !found {
			continue
		}
		s.better = true
		if err := s.boundRoot(node+1, s.next); err != nil {
			return false, err
		}
		if s.next.Empty() {
			break
		}
		s.next = s.next.Clone() // of which leaves may be made
	}
	better = s.better
	if better {
		s.root = s.next
	}
	s.next, s.node, s.better = nil, 0, false
	return better, nil
}

// targets lists neurons to tighten by node: of many those that the property's rows owe most to.
func (s *search) targets() ([][]verify.Target, error) {
	nodes := s.v.Targets()
	var list []verify.Candidate
	for i, is := range nodes {
		if !is {
			continue
		}
		iv := s.root.Interval(i)
		for k, lo := range iv.Lower {
			if hi := iv.Upper[k]; lo < 0 && hi > 0 {
				list = append(list, verify.Candidate{Split: verify.Split{Node: i, Neuron: k}, Score: min(hi, -lo)})
			}
		}
	}
	if 2*len(list) > maxTargets {
		if err := s.rank(list); err != nil {
			return nil, err
		}
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
	return out, nil
}

// rank scores neurons by what their lines cost the bounds of open clauses.
func (s *search) rank(list []verify.Candidate) error {
	var leaves []*verify.Leaf
	for _, t := range s.trees {
		if t.open.len() > 0 {
			p := part{leaves: t.unpacked(t.open.next())}
			leaves = append(leaves, verify.NewLeaf(s.root, p.best().Target))
		}
	}
	if err := s.v.BoundLeaves(s.ctx, verify.LeafOptions{Steps: s.o.Steps, Candidates: allNeurons}, leaves...); err != nil {
		return err
	}
	type neuron struct{ node, neuron int }
	score := map[neuron]float32{}
	nodes := s.v.Network().Nodes()
	for _, l := range leaves {
		for _, c := range l.Choice {
			p, from := &nodes[c.Node], nodes[c.Node].In[0]-1
			switch {
			case p.ReLU:
				score[neuron{c.Node, c.Neuron}] += c.Score
			case verify.SplitsOf(p) == verify.PairSplits:
				score[neuron{from, int(c.First)}] += c.Score
				score[neuron{from, int(c.Second)}] += c.Score
			default: // the neuron is what it reads
				score[neuron{from, c.Neuron}] += c.Score
			}
		}
	}
	for i, c := range list {
		list[i].Score = score[neuron{c.Node, c.Neuron}]
	}
	return nil
}

// tighten bounds neurons of a node. It reports whether anything became tighter.
func (s *search) tighten(root *verify.Domain, node int, targets []verify.Target, budget int) (better bool, err error) {
	if s.neurons == nil { // else a search that was saved goes on with them
		if err := s.plantNeurons(root, targets, budget); err != nil {
			return false, err
		}
	}
	trees := s.neurons
	if _, err := s.grow(trees, s.spent); err != nil {
		return false, err
	}
	if s.ended {
		return false, nil
	}
	if s.o.Record != nil {
		return s.recordTrees(root, node, trees)
	}
	iv := root.Interval(node)
	for _, tree := range trees {
		t, low := tree.targets[0], min(tree.low(), 0) // a search ends where the sign is known
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

// plantedAtOnce is how many neurons are bounded before their memory is looked at.
const plantedAtOnce = 256

// plantNeurons makes a tree for each target.
func (s *search) plantNeurons(root *verify.Domain, targets []verify.Target, budget int) error {
	var fresh []*part
	var trees []*tree
	for _, t := range targets {
		tree := s.tree(root, t)
		fresh, trees = append(fresh, tree.root()), append(trees, tree)
	}
	held := s.held()
	for list := range slices.Chunk(fresh, plantedAtOnce) {
		if err := s.bound(list, s.o.Steps, s.o.Candidates); err != nil {
			return err
		}
		for _, p := range list {
			if s.o.Memory > 0 && held+p.bytes() > s.o.Memory {
				p.pack()
			}
			held += p.bytes()
		}
	}
	for i, p := range fresh {
		trees[i].add(p, false)
	}
	s.parts += len(fresh)
	allow(trees, budget)
	s.neurons = trees
	s.searches += len(trees)
	return nil
}
