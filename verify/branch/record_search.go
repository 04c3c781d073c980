package branch

import (
	"errors"
	"math"
	"slices"

	"github.com/epsball/epsball/verify"
)

// open reports whether better bounds of a neuron would make better lines.
func open(b *verify.Bent, lo, hi float32) bool {
	return b.All && lo < hi || lo < 0 && hi > 0
}

// finished is a tree that is to be taken down: its leaves as they are stated, and what they
// prove.
type finished struct {
	low    float32
	leaves []*verify.Leaf
}

// finish bounds the leaves of trees again with what is to be stated of them: slopes in bytes
// and no planes where that proves enough, above 0 in trees that are proved, and else hardly less than
// what the search found.
func (s *search) finish(trees []*tree) ([]finished, error) {
	if err := s.wakeAll(trees); err != nil {
		return nil, err
	}
	var leaves []*verify.Leaf
	for _, t := range trees {
		for _, p := range t.all() {
			leaves = append(leaves, p.best())
		}
	}
	var enough []float32 // of each leaf
	for _, t := range trees {
		least := float32(math.SmallestNonzeroFloat32)
		if low := t.low(); !t.proved() {
			least = low - bytesCost*max(low, -low)
		}
		enough = append(enough, slices.Repeat([]float32{least}, len(t.all()))...)
	}
	// What takes more room in a certificate comes later.
	stated := make([]*verify.Leaf, len(leaves))
	for _, how := range []verify.AgainOptions{{Bytes: true}, {Bytes: true, Planes: true}, {Planes: true}} {
		var short []int
		var again []*verify.Leaf
		for i, l := range stated {
			if l == nil || !(l.Low >= enough[i]) {
				short, again = append(short, i), append(again, leaves[i])
			}
		}
		again = s.v.Again(again, how)
		if err := s.v.BoundLeaves(s.ctx, verify.LeafOptions{}, again...); err != nil {
			return nil, err
		}
		for n, i := range short {
			if stated[i] == nil || again[n].Low > stated[i].Low {
				stated[i] = again[n]
			}
		}
	}
	out := make([]finished, len(trees))
	for i, t := range trees {
		n := len(t.all())
		out[i] = finished{float32(math.Inf(1)), stated[:n]}
		for _, l := range stated[:n] {
			out[i].low = min(out[i].low, l.Low)
		}
		stated = stated[n:]
	}
	return out, nil
}

// wakeAll finds slopes and multipliers of what is packed of trees.
func (s *search) wakeAll(trees []*tree) error {
	var packed []*part
	for _, t := range trees {
		for _, p := range t.all() {
			if p.leaves != nil {
				continue
			}
			p.leaves, p.packed = t.unpacked(p), nil
			for _, l := range p.leaves {
				l.Low = float32(math.Inf(-1)) // what slopes prove that are lost
			}
			packed = append(packed, p)
		}
	}
	err := s.bound(packed, max(s.o.Steps, s.rootSteps()), 0)
	for _, t := range trees {
		t.packed, t.kept = 0, 0
		for _, p := range t.closed {
			t.kept += p.bytes()
		}
	}
	return err
}

// reopen opens those closed parts of a tree again that are not proved as they would be stated, and
// reports whether there are any.
func (s *search) reopen(t *tree, f *finished) (some bool, err error) {
	var closed, open []*part
	var leaves []*verify.Leaf
	for k, p := range t.closed {
		l := f.leaves[k]
		if l.Low > 0 {
			closed = append(closed, p)
			continue
		}
		p.leaves[slices.Index(p.leaves, p.best())] = l
		open, leaves = append(open, p), append(leaves, l)
	}
	if len(open) == 0 {
		return false, nil
	}
	if err := s.v.BoundLeaves(s.ctx, verify.LeafOptions{Candidates: s.o.Candidates}, leaves...); err != nil {
		return false, err
	}
	t.closed, t.packed, t.kept = nil, 0, 0
	for _, p := range closed {
		t.close(p)
	}
	for _, p := range open {
		p.low = p.best().Low
		t.add(p, s.deep)
	}
	return true, nil
}

// bytesCost is how much of a neuron's bound is given up for slopes of a byte, or for planes.
const bytesCost = 1e-3

// recordClauses takes down the trees of the property, one for each clause. If some leaf is not proved
// when it is bounded again, as it would be stated, its part is open again, and nothing is done.
func (s *search) recordClauses() (done bool, err error) {
	r := s.o.Record
	if s.root.Empty() {
		return false, errors.New("branch: bounds of the region cross, which says nothing that a certificate could")
	}
	var steps []Step
	done = true
	for i, t := range s.trees {
		f, err := s.finish([]*tree{t})
		if err != nil {
			return false, err
		}
		again, err := s.reopen(t, &f[0])
		if err != nil {
			return false, err
		}
		if done = done && !again; done {
			step := Step{Layer: -1, Clause: i}
			step.Trees = []Tree{r.tree(&step, map[*[]float32]int{}, &f[0])}
			steps = append(steps, step)
		}
	}
	if done {
		r.frame(s.root, len(r.layers))
		r.Steps = append(r.Steps, steps...)
	}
	return done, nil
}

// recordTrees tightens neurons of a node of the root to what trees prove, and takes that
// down. It reports whether anything became tighter.
func (s *search) recordTrees(root *verify.Domain, node int, trees []*tree) (better bool, err error) {
	r := s.o.Record
	r.frame(root, node)
	iv := root.Interval(node)
	step, have := Step{Layer: r.layer(node)}, map[*[]float32]int{}
	changed := map[int]bool{}
	const atOnce = 64 // trees, whose leaves take memory
	for from := 0; from < len(trees); from += atOnce {
		some := trees[from:min(from+atOnce, len(trees))]
		found, err := s.finish(some)
		if err != nil {
			return false, err
		}
		for i := range found {
			t, f := some[i].targets[0], &found[i]
			k := t.Neuron
			switch {
			case t.Minus && -f.low < iv.Upper[k]:
				iv.Upper[k] = -f.low
			case !t.Minus && f.low > iv.Lower[k]:
				iv.Lower[k] = f.low
			default:
				continue
			}
			tree := r.tree(&step, have, f)
			tree.Element, tree.High = k, t.Minus
			step.Trees = append(step.Trees, tree)
			changed[k] = true
		}
	}
	for _, tree := range trees {
		if k := tree.targets[0].Neuron; changed[k] {
			delete(changed, k)
			now := Interval{k, iv.Lower[k], iv.Upper[k], true}
			root.Tighten(node, k, now.Low, now.High)
			step.Elements = append(step.Elements, now)
			r.stated[node][k] = now
		}
	}
	if len(step.Elements) > 0 {
		r.Steps = append(r.Steps, step)
	}
	return len(step.Elements) > 0, nil
}

// recordRoot bounds the neurons of the root by trees of one leaf, node by node: with the
// slopes of CROWN, first the end nearer to 0, and what is open then with optimised ones.
func (s *search) recordRoot() error {
	root := s.root
	for n := range s.o.Record.bent {
		b := &s.o.Record.bent[n]
		if s.exact(b) {
			continue
		}
		for pass := range 3 {
			iv := root.Interval(b.Node)
			var targets []verify.Target
			for k, lo := range iv.Lower {
				hi := iv.Upper[k]
				if !open(b, lo, hi) {
					continue
				}
				low := verify.Target{Row: -1, Node: b.Node, Neuron: k}
				high := low
				high.Minus = true
				if hi < -lo {
					low, high = high, low
				}
				if pass != 1 {
					targets = append(targets, low)
				}
				if pass != 0 {
					targets = append(targets, high)
				}
			}
			n := 0
			if pass == 2 {
				n = s.rootSteps()
			}
			if err := s.recordRows(root, b.Node, targets, n); err != nil {
				return err
			}
			root = root.Clone() // of which leaves may be made
		}
		if err := s.boundRoot(min(b.Node+1, len(s.v.Network().Nodes())-1), root); err != nil {
			return err
		}
		root = root.Clone()
	}
	s.root = root
	return nil
}

// recordRows bounds targets by trees of one leaf, some at a time, for leaves take memory.
func (s *search) recordRows(root *verify.Domain, node int, targets []verify.Target, steps int) error {
	const atOnce = 1024
	for from := 0; from < len(targets); from += atOnce {
		some := targets[from:min(from+atOnce, len(targets))]
		var parts []*part
		var trees []*tree
		for _, t := range some {
			trees = append(trees, s.tree(root, t))
			parts = append(parts, trees[len(trees)-1].root())
		}
		if err := s.bound(parts, steps, 0); err != nil {
			return err
		}
		for i, p := range parts {
			trees[i].add(p, false)
		}
		s.parts += len(parts)
		if _, err := s.recordTrees(root, node, trees); err != nil {
			return err
		}
	}
	return nil
}

// all lists the parts of a tree that keeps those that are closed.
func (t *tree) all() []*part {
	return append(append(append([]*part{}, t.closed...), t.open.all()...), t.stuck...)
}

// exact reports whether intervals, or what goes with them, bound a node as well as trees.
func (s *search) exact(b *verify.Bent) bool {
	if s.region.IsBox() {
		return b.Exact
	}
	return b.First
}

// rootSteps is how often slopes of trees of one leaf are optimised.
func (s *search) rootSteps() int {
	if n := s.o.Root.Iterations; n > 0 {
		return n
	}
	return 20
}
