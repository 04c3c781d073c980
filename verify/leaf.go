package verify

import (
	"context"
	"fmt"
	"math"
	"slices"

	"github.com/epsball/epsball/kernels"
	"github.com/epsball/epsball/net"
)

// Target is what a Leaf bounds from below: a row of the property, or, if Row is −1, the value
// of a neuron before its ReLU, with Minus its opposite. The neuron is an element, channels
// first, of the output of a linear node.
type Target struct {
	Row          int
	Node, Neuron int
	Minus        bool
}

// Leaf is a part of a Domain, its frame, which splits of neurons make, and something to be
// bounded over it. The bounds of all neurons stay those of the frame; what the splits add
// is lines of what they leave of a neuron's range, and a multiplier each (β of Wang et al.
// 2021, eq. 8; of other functions than ReLU, Shi et al. 2025). So many leaves of a frame go
// backward at once.
//
// A leaf must be used by one goroutine at a time; its children may be used by others.
type Leaf struct {
	Frame  *Domain
	Target Target
	Splits []Split

	Low    float32     // lower bound over the leaf, the best one found so far
	Choice []Candidate // neurons to split, the most promising first; see LeafOptions
	Point  []float32   // what the last bound is attained at in front of the first node, channels first
	Spread []float32   // of each of its elements, what its width costs the bound

	last   float32     // the bound that Point and Spread are of
	beta   []float32   // multipliers of Splits, in their order; fewer: zeros
	slopes [][]float32 // of each node: of its neurons that were open; nil: the frame's
	open   [][]int32   // these neurons, in memory order
	planes []float32   // of the first layer: where they come from, in its window; nil: the frame's
	again  bool        // it is of Again: planes are found from what certificates state of them
}

// NewLeaf returns the leaf that is all of a bounded domain.
func NewLeaf(frame *Domain, t Target) *Leaf {
	return &Leaf{Frame: frame, Target: t, Low: float32(math.Inf(-1))}
}

// Child returns the part of a leaf that a split makes. It starts from the
// leaf's slopes and multipliers, without a bound.
func (l *Leaf) Child(s Split) *Leaf {
	return &Leaf{
		Frame: l.Frame, Target: l.Target, Splits: append(slices.Clip(l.Splits), s), Low: float32(math.Inf(-1)),
		beta: l.beta, slopes: l.slopes, open: l.open, planes: l.planes,
	}
}

// multiplier returns that of split k.
func (l *Leaf) multiplier(k int) float32 {
	if k < len(l.beta) {
		return l.beta[k]
	}
	return 0
}

// node is that whose output the leaf bounds; −1: the property's rows.
func (l *Leaf) node() int {
	if l.Target.Row >= 0 {
		return -1
	}
	return l.Target.Node
}

// LeafOptions say how leaves are bounded.
type LeafOptions struct {
	Steps int // gradient steps for slopes and multipliers; 0: those they have

	// Candidates is the number of neurons to list for leaves with Low ≤ 0, whose Point and
	// Spread are kept then; 0: none of these.
	Candidates int
}

// BoundLeaves bounds leaves, none of them twice, spread over the workers; leaves of a frame
// and a node should follow each other. A bound never gets worse, and does not depend on how
// many workers there are. Frames must have been bounded by BoundDomains of this verifier and
// not be changed since. When ctx ends it returns the context's error; leaves that it did not
// get to are as they were.
func (v *Verifier) BoundLeaves(ctx context.Context, o LeafOptions, leaves ...*Leaf) error {
	if o.Steps < 0 || o.Candidates < 0 {
		return fmt.Errorf("leaves: %d steps and %d candidates, want none below 0", o.Steps, o.Candidates)
	}
	for i, l := range leaves {
		if err := l.validate(v.net); err != nil {
			return fmt.Errorf("leaf %d: %w", i, err)
		}
	}
	if len(leaves) == 0 {
		return nil
	}
	c, err := v.begin(ctx, &Options{Method: MethodAlphaCROWN, Property: leaves[0].Frame.property})
	if err != nil {
		return err
	}
	defer c.end()
	if err := v.linear(); err != nil {
		return err
	}
	v.graph.packAhead()
	c.leaves, c.leafOptions = leaves, o
	most := v.graph.leafLanes()
	for from, to := 0, 0; from < len(leaves); from = to {
		for to = from + 1; to < len(leaves) && to < from+most && leaves[to].goesWith(leaves[from]); to++ {
		}
		c.todo = append(c.todo, len(c.todo))
		c.parts = append(c.parts, from)
	}
	c.parts = append(c.parts, len(leaves))
	return c.run(boundLeaves)
}

// goesWith reports whether two leaves may go backward at once.
func (l *Leaf) goesWith(m *Leaf) bool {
	return l.Frame == m.Frame && l.node() == m.node() && l.again == m.again && l.byLines() == m.byLines()
}

// byLines reports whether the leaf is bounded as it is stated without planes: even those of y = 0 are better
// than lines, by what executions err.
func (l *Leaf) byLines() bool { return l.again && l.planes == nil }

func (l *Leaf) validate(n *net.Network) error {
	d, nodes := l.Frame, n.Nodes()
	if d == nil || d.net != n || d.low == nil {
		return fmt.Errorf("frame: want a domain of this network that BoundDomains has bounded")
	}
	switch t := l.Target; {
	case t.Row < -1 || t.Row >= len(d.low):
		return fmt.Errorf("target: row %d, want 0 … %d, or -1 for a neuron", t.Row, len(d.low)-1)
	case t.Row >= 0:
	case t.Node < 0 || t.Node >= len(nodes) || !isLinear(&nodes[t.Node]):
		return fmt.Errorf("target: node %d, want one that is linear but for its ReLU", t.Node)
	case t.Neuron < 0 || t.Neuron >= nodes[t.Node].Shape.Size():
		return fmt.Errorf("target: neuron %d of node %d, want 0 … %d", t.Neuron, t.Node, nodes[t.Node].Shape.Size()-1)
	}
	for _, s := range l.Splits {
		if err := s.validate(n); err != nil {
			return err
		}
	}
	return nil
}

// isLinear reports whether a node is linear but for the ReLU that it ends in.
func isLinear(p *net.Node) bool {
	switch op := p.Op.(type) {
	case *net.Elementwise:
		return false
	case *net.Pool:
		return op.Mean
	}
	return true
}

// leafLanes returns how many leaves go backward at once.
func (g *graph) leafLanes() int {
	largest := 1
	for _, m := range g.maps {
		largest = max(largest, m.size())
	}
	return min(max(rowBudget/largest, minGroups), maxGroups) * kernels.Lanes
}

// boundLeaves bounds a part of the call's leaves.
func boundLeaves(c *call, w *linearWorker, part int) {
	leaves := c.leaves[c.parts[part]:c.parts[part+1]]
	if frame := leaves[0].Frame; w.frame != frame && !w.loadFrame(frame) {
		for _, l := range leaves {
			l.Low = float32(math.Inf(1))
		}
		return
	}
	if w.ascent == nil {
		w.ascent = newAscent(w.rows)
	}
	run, ok := w.leaves.(*leafRun)
	if !ok {
		run = newLeafRun(w)
		w.leaves = run
	}
	t := newAttempt(c.ctx, &c.o, MethodAlphaCROWN, goal{property: w.frame.property})
	t.early, t.leaves = true, run
	run.o = c.leafOptions
	if p, ok := w.planes.(*planes); ok {
		p.lines = leaves[0].byLines()
		defer func() { p.lines = false }()
	}
	if i := leaves[0].node(); i >= 0 {
		run.boundNeurons(&t, i, leaves)
	} else {
		run.boundRows(&t, leaves)
	}
}

// loadFrame loads a domain with the bounds that it has; false: it proves to be empty.
func (w *linearWorker) loadFrame(d *Domain) bool {
	a := d.region.area()
	w.load(&a)
	t := attempt{domain: d, from: len(w.g.nodes)}
	w.plain, w.leafy = d.plain, true
	if w.boundNodes(&t); t.empty || d.empty {
		return false
	}
	w.openAt = make([][]int32, len(w.g.nodes)) // leaves keep it
	for i := range w.g.nodes {
		if w.g.nodes[i].sloped() {
			w.openAt[i] = w.openNeurons(i)
		}
	}
	w.frame = d
	return true
}

// openNeurons lists those of node i whose lower line is free, in memory order.
func (w *linearWorker) openNeurons(i int) []int32 {
	var list []int32
	for k := range w.g.maps[i+1].size() {
		if w.params[i][k*kernels.RelaxParams+kernels.RelaxIntercept] != 0 {
			list = append(list, int32(k))
		}
	}
	return list
}

// Tighten narrows what is known of a neuron before its ReLU to lo … hi, which must have
// been proved for all of the domain.
func (d *Domain) Tighten(node, neuron int, lo, hi float32) {
	n := &d.nodes[node]
	if n.shared {
		n.lo, n.hi, n.shared = slices.Clone(n.lo), slices.Clone(n.hi), false
	}
	k := atShape(neuron, d.net.Nodes()[node].Shape)
	n.lo[k], n.hi[k] = max(n.lo[k], lo), min(n.hi[k], hi)
}

// Network returns what the verifier is of.
func (v *Verifier) Network() *net.Network { return v.net }

// Targets reports for each node whether leaves may tighten the lines of a ReLU, LeakyReLU, Clip,
// Sigmoid or Tanh by its neurons: whether it is linear, read by one of these, which it may end
// in itself, and behind neurons that can be split.
func (v *Verifier) Targets() []bool {
	nodes := v.net.Nodes()
	behind, out := make([]bool, len(nodes)+1), make([]bool, len(nodes))
	for i := range nodes {
		p := &nodes[i]
		before := slices.ContainsFunc(p.In, func(a int) bool { return behind[a] })
		kind := SplitsOf(p)
		behind[i+1] = before || kind != NoSplits
		out[i] = out[i] || before && p.ReLU && isLinear(p)
		if from := p.In[0] - 1; !p.ReLU && kind != NoSplits && kind != PairSplits && isLinear(&nodes[from]) && !nodes[from].ReLU {
			out[from] = slices.ContainsFunc(nodes[from].In, func(a int) bool { return behind[a] })
		}
	}
	return out
}
