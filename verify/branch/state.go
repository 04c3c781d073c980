package branch

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/epsball/epsball/verify"
)

// State is a search that was not finished: what Options.Resume goes on from. It has no slopes
// and no multipliers, which are found again. It holds for the network, region, property and
// Options of the search alone. Whoever keeps it must see to it that it is unchanged: bounds
// and parts that it leaves out are taken to be proved.
type State struct {
	Options string // text of those that must be the same

	Low          float32 // lower bound of the property
	Parts, Depth int     // as in Progress

	// Bounds of the root's nodes, those that verify.Domain.Interval returns; none where the
	// region is divided at its inputs.
	Bounds []verify.Interval

	Trees []SavedTree // of the clauses

	Budget  int         // parts that a neuron's search may have
	Node    int         // whose neurons are being bounded, or are to be next
	Better  bool        // bounds of neurons have become tighter since Trees were planted
	Neurons []SavedTree // searches for bounds of this node's neurons

	Cells []byte // packed, see cell.appendTo; where the region is divided at its inputs

	// Record is what Options.Record has taken down so far (Record.AppendTo); none without one.
	Record []byte

	// Share tells that Trees or Cells are a share of what is open (Deal). The search then
	// divides these alone, with Bounds as they are, and what it proves it proves of them.
	Share bool
}

// SavedTree is what is open of the search for a bound.
type SavedTree struct {
	Targets []verify.Target
	Left    int    // parts that it may have before it is another one's turn
	Parts   []byte // packed, see part.appendTo
	Closed  []byte // for a record, those that are proved, the same way
}

// StateError says what is wrong with a state that a search was to go on from.
type StateError struct {
	Field string
	Err   error // what it has, and what was expected
}

func (e *StateError) Error() string { return "state: " + e.Field + ": " + e.Err.Error() }

func (e *StateError) Unwrap() error { return e.Err }

func badState(field, format string, args ...any) error {
	return &StateError{field, fmt.Errorf(format, args...)}
}

// identity is the text of the options that a state is of.
func (o *Options) identity() string {
	text := fmt.Sprintf("steps=%d candidates=%d round=%d fewinputs=%d root=%v iterations=%d", o.Steps, o.Candidates, o.Round, o.FewInputs, o.Root.Method, o.Root.Iterations)
	if o.Record != nil {
		text += fmt.Sprintf(" record byinputs=%v", o.Record.ByInputs)
	}
	return text
}

// save hands the state on if it is time, or the search has ended.
func (s *search) save(end bool) error {
	if s.o.Save == nil || s.root == nil || !end && time.Since(s.saved) < s.o.SaveEvery {
		return nil
	}
	if err := s.o.Save(s.state()); err != nil {
		return err
	}
	s.saved = time.Now()
	return nil
}

func (s *search) state() *State {
	st := &State{Options: s.o.identity(), Low: s.low, Parts: s.parts, Depth: s.depth, Budget: s.budget, Node: s.node, Better: s.better, Share: s.share}
	for _, c := range s.cells.all() {
		st.Cells = c.appendTo(st.Cells)
	}
	if r := s.o.Record; r != nil {
		if s.cuts != nil {
			r.Cuts = s.cuts.appendTo(nil)
		}
		st.Record = r.AppendTo(nil)
	}
	if s.few {
		return st
	}
	root := s.root
	if s.next != nil && !s.next.Empty() {
		root = s.next
	}
	for i := range s.v.Network().Nodes() {
		st.Bounds = append(st.Bounds, root.Interval(i))
	}
	st.Trees, st.Neurons = saved(s.trees), saved(s.neurons)
	return st
}

func saved(trees []*tree) (list []SavedTree) {
	for _, t := range trees {
		c := SavedTree{Targets: t.targets, Left: max(t.left, 0)}
		for _, p := range append(t.open.all(), t.stuck...) {
			if p.low > 0 { // it was bounded again to be taken down, and that was ended
				c.Closed = p.appendTo(c.Closed)
				continue
			}
			c.Parts = p.appendTo(c.Parts)
		}
		for _, p := range t.closed {
			c.Closed = p.appendTo(c.Closed)
		}
		list = append(list, c)
	}
	return list
}

// resume goes back to where a search was.
func (s *search) resume(root *verify.Domain, st *State) error {
	if got := s.o.identity(); got != st.Options {
		return badState("options", "got %.200q, want %q", st.Options, got)
	}
	nodes := s.v.Network().Nodes()
	switch {
	case st.Low != st.Low:
		return badState("low", "got NaN, want a number")
	case st.Parts < 0 || st.Depth < 0:
		return badState("parts", "got %d, and depth %d, want none below 0", st.Parts, st.Depth)
	case st.Budget < firstBudget:
		return badState("budget", "got %d, want at least %d", st.Budget, firstBudget)
	case st.Node < 0 || st.Node >= len(nodes):
		return badState("node", "got %d, want 0 … %d", st.Node, len(nodes)-1)
	}
	s.low, s.parts, s.before, s.depth = st.Low, st.Parts, st.Parts, st.Depth
	s.budget, s.node, s.better, s.share = st.Budget, st.Node, st.Better, st.Share
	if st.Share && len(st.Neurons) > 0 {
		return badState("neurons", "got %d of a share, want none", len(st.Neurons))
	}
	if (s.o.Record != nil) != (st.Record != nil) || st.Share && st.Record != nil {
		return badState("record", "got %d bytes, share %v, want a record where one is to be taken down, and none of a share", len(st.Record), st.Share)
	}
	if err := s.resumeRecord(st); err != nil {
		return badState("record", "%w", err)
	}
	if s.few {
		if err := s.readCells(st.Cells); err != nil {
			return badState("cells", "%w", err)
		}
		if s.cuts != nil {
			for _, c := range s.cells.all() {
				var err error
				if c.node, err = s.cuts.leafOf(c, s.inputs); err != nil {
					return badState("cells", "%w", err)
				}
			}
		}
		if s.share && s.cells.len() == 0 { // of a whole search, one without cells has not begun
			return badState("cells", "nothing is open, want what is to be proved still")
		}
		return s.boundRoot(0, root)
	}
	if err := s.tightenRoot(root, st.Bounds); err != nil {
		return err
	}
	rows := 0
	for _, n := range s.clauses() {
		rows += n
	}
	targets := s.v.Targets()
	var err error
	if s.trees, err = s.readTrees("trees", root, st.Trees, func(t verify.Target) bool { return t.Row >= 0 && t.Row < rows }); err != nil {
		return err
	}
	neuron := func(t verify.Target) bool {
		return t.Row == -1 && t.Node == st.Node && targets[t.Node] && t.Neuron >= 0 && t.Neuron < nodes[t.Node].Shape.Size()
	}
	if s.neurons, err = s.readTrees("neurons", root, st.Neurons, neuron); err != nil {
		return err
	}
	if (s.trees != nil || s.share) && !slices.ContainsFunc(s.trees, func(t *tree) bool { return !t.proved() }) {
		return badState("trees", "nothing is open, want what is to be proved still")
	}
	return nil
}

// tightenRoot bounds the root, whose neurons have bounds already.
func (s *search) tightenRoot(root *verify.Domain, bounds []verify.Interval) error {
	nodes := s.v.Network().Nodes()
	if len(bounds) != len(nodes) {
		return badState("bounds", "of %d nodes, want %d", len(bounds), len(nodes))
	}
	for i, iv := range bounds {
		if n := nodes[i].Shape.Size(); len(iv.Lower) != n || len(iv.Upper) != n {
			return badState(fmt.Sprintf("bounds[%d]", i), "%d and %d numbers, want %d", len(iv.Lower), len(iv.Upper), n)
		}
		for k, lo := range iv.Lower {
			if !(lo <= iv.Upper[k]) {
				return badState(fmt.Sprintf("bounds[%d]", i), "neuron %d in [%v, %v], want numbers in order", k, lo, iv.Upper[k])
			}
		}
	}
	if err := s.boundBy(verify.Options{Method: verify.MethodCROWNIBP}, 0, root); err != nil || root.Empty() {
		return err
	}
	for i, iv := range bounds {
		for k, lo := range iv.Lower {
			root.Tighten(i, k, lo, iv.Upper[k])
		}
	}
	return s.boundRoot(len(nodes), root)
}

// readTrees makes trees of saved ones, whose targets must be as asked.
func (s *search) readTrees(field string, root *verify.Domain, list []SavedTree, good func(verify.Target) bool) (trees []*tree, err error) {
	for i, st := range list {
		at := fmt.Sprintf("%s[%d]", field, i)
		if len(st.Targets) == 0 || st.Left < 0 {
			return nil, badState(at, "%d targets, %d parts left, want a target and no number below 0", len(st.Targets), st.Left)
		}
		for _, g := range st.Targets {
			if !good(g) {
				return nil, badState(at+".targets", "got %+v, want a row of the property, or a neuron of the node", g)
			}
		}
		t := s.tree(root, st.Targets...)
		t.left = st.Left
		for b := st.Parts; len(b) > 0; {
			var p *part
			if p, b, err = t.read(b); err == nil {
				err = s.check(p)
			}
			if err != nil {
				return nil, badState(at+".parts", "%w", err)
			}
			p.pack()
			t.add(p, false)
		}
		for b := st.Closed; len(b) > 0; {
			var p *part
			if p, b, err = t.read(b); err == nil && !t.keep {
				err = errors.New("got some, want none without a record")
			}
			if err == nil {
				err = s.splits(p)
			}
			if err != nil {
				return nil, badState(at+".closed", "%w", err)
			}
			p.pack()
			t.close(p)
		}
		trees = append(trees, t)
	}
	return trees, nil
}

// check reports whether a part that was read is an open one of the network.
func (s *search) check(p *part) error {
	if err := s.splits(p); err != nil {
		return err
	}
	if p.low > 0 {
		return fmt.Errorf("got the bound %v, want none above 0", p.low)
	}
	return nil
}

// resumeRecord takes over what a state has taken down.
func (s *search) resumeRecord(st *State) error {
	if s.o.Record == nil {
		return nil
	}
	from, err := ReadRecord(st.Record)
	switch {
	case err != nil:
		return err
	case s.few && len(from.Cuts) > 0:
		s.cuts, err = cutTree(from.Cuts, len(s.lo))
		return err
	case s.few:
		return nil
	}
	return s.o.Record.restore(from)
}

// splits reports whether those of a part that was read are ones of the network.
func (s *search) splits(p *part) error {
	nodes := s.v.Network().Nodes()
	for _, x := range p.leaves[0].Splits {
		if x.Node >= len(nodes) || x.Neuron >= nodes[x.Node].Shape.Size() {
			return fmt.Errorf("got a split of neuron %d of node %d, which the network does not have", x.Neuron, x.Node)
		}
		if err := s.v.Validate(x); err != nil {
			return err
		}
	}
	return nil
}
