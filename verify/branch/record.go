package branch

import "github.com/epsball/epsball/verify"

// Record takes down a proof as certificates state it (docs/certificate.md, version 2): bounds
// of neurons, each proved over those before it, and a tree for each clause of the property.
// It says nothing unless Prove has returned a Result that is Proved.
//
// Bounds are then proved with the slopes and multipliers that are taken down, as they are
// there: a search with a record bounds neurons by trees alone, most of them of one leaf, and
// divides no inputs, unless ByInputs lets it.
type Record struct {
	Steps []Step

	// ByInputs, which the caller sets, lets the search divide a box at its inputs as it does
	// without a record, where few of them vary. The proof is then Cuts, and not Steps.
	ByInputs bool
	Cuts     []Cut

	v      *verify.Verifier
	bent   []verify.Bent
	layers []int              // of nodes, whose neurons can be split
	stated map[int][]Interval // of nodes: what has been stated of their neurons
}

// Cut is a node of a division of a box, in preorder: the part with lower values of the input
// comes first, and both have the value At. At a leaf the bounds of CROWN prove the property.
type Cut struct {
	Input int // channels first; −1: a leaf
	At    float32
}

// cutNode is one in the making.
type cutNode struct {
	Cut
	parts [2]*cutNode
}

func (n *cutNode) appendTo(list []Cut) []Cut {
	list = append(list, n.Cut)
	for _, p := range n.parts {
		if n.Input >= 0 {
			list = p.appendTo(list)
		}
	}
	return list
}

// Step is a line of a proof: bounds of elements of a layer, or that a clause holds.
type Step struct {
	Layer    int // of the architecture; −1: a clause
	Elements []Interval
	Clause   int
	Trees    []Tree     // what intervals do not prove: of one element's end, or of the clause
	Slopes   [][]Slopes // of leaves
}

// Interval bounds an element, channels first, of a layer's output.
type Interval struct {
	Element   int
	Low, High float32
	known     bool
}

// Tree proves a bound: each of its leaves does, and together they are all of the region.
type Tree struct {
	Element int
	High    bool // the upper bound, which is the lower one of the opposite
	Leaves  []Leaf
}

// Leaf is a part of the region: what its splits leave.
type Leaf struct {
	Row    int // of the property, that is positive in a clause's leaf
	Splits []Split
	Beta   []float32 // multipliers of the splits
	Slopes int       // index in the step's Slopes; −1: those of CROWN
}

// Split fixes what a layer reads at an element to ≥ 0 if Active, else to ≤ 0; of a clip,
// sigmoid or tanh to ≥ At or ≤ At; of a maxpool First is the larger of two elements that it reads, or Second.
type Split struct {
	Kind           verify.SplitKind
	Layer, Element int
	Active         bool
	At             float32
	First, Second  int
}

// Numbers are what certificates spell the split with.
func (s Split) Numbers() []any {
	switch s.Kind {
	case verify.PointSplits, verify.KinkSplits:
		return []any{s.Layer, s.Element, float64(s.At)}
	case verify.PairSplits:
		return []any{s.Layer, s.Element, s.First, s.Second}
	}
	return []any{s.Layer, s.Element}
}

// Slopes are those of the lower lines of a ReLU's open elements in a window of its map, in the
// order of their indices; those beyond it are 0. Or they are a Point.
type Slopes struct {
	ReLU   int
	Window [4]int // first row, row after the last, and columns likewise
	Alpha  []float32

	// Point, in place of Alpha, has the elements in the window of what the layer before the ReLU
	// reads: where in its range each is, from 0 to 1. The ReLU is bounded from above by planes.
	Point []float32
}

func (r *Record) begin(v *verify.Verifier) (err error) {
	r.v, r.stated = v, map[int][]Interval{}
	if r.bent, r.layers, err = v.Bent(); err != nil {
		return err
	}
	for _, b := range r.bent {
		r.stated[b.Node] = make([]Interval, v.Network().Nodes()[b.Node].Shape.Size())
	}
	return nil
}

// frame states the bounds of nodes of a domain, up to the given one, that are not stated yet
// and matter: those of neurons that are open, or were.
func (r *Record) frame(d *verify.Domain, end int) {
	for n := range r.bent {
		b := &r.bent[n]
		if b.Node >= end {
			return
		}
		iv := d.Interval(b.Node)
		step := Step{Layer: b.Layer}
		for k, lo := range iv.Lower {
			now := Interval{k, lo, iv.Upper[k], true}
			if was := r.stated[b.Node][k]; was != now && (was.known || open(b, lo, now.High)) {
				step.Elements = append(step.Elements, now)
				r.stated[b.Node][k] = now
			}
		}
		if len(step.Elements) > 0 {
			r.Steps = append(r.Steps, step)
		}
	}
}

// tree takes down a tree, with its slopes in the step.
func (r *Record) tree(step *Step, have map[*[]float32]int, f *finished) (t Tree) {
	for _, l := range f.leaves {
		leaf := Leaf{Row: l.Target.Row, Beta: l.Multipliers(), Slopes: -1}
		for _, s := range l.Splits {
			leaf.Splits = append(leaf.Splits, Split{
				l.Frame.Splits(s.Node), r.layers[s.Node], s.Neuron, s.Phase == verify.Active, s.At, int(s.First), int(s.Second),
			})
		}
		if id := l.Optimised(); id != nil {
			n, ok := have[id]
			if !ok {
				n = len(step.Slopes)
				have[id], step.Slopes = n, append(step.Slopes, r.slopes(l))
			}
			leaf.Slopes = n
		}
		t.Leaves = append(t.Leaves, leaf)
	}
	return t
}

// slopes takes down those of a leaf: of each ReLU and LeakyReLU in the smallest window with all
// that are not 0.
func (r *Record) slopes(l *verify.Leaf) []Slopes {
	out := []Slopes{}
	nodes := r.v.Network().Nodes()
	for i, relu := range r.layers {
		neurons, alpha := l.Slopes(i)
		h, w := nodes[i].Shape.H, nodes[i].Shape.W
		win := [4]int{h, 0, w, 0}
		for n, k := range neurons {
			if y, x := k%(h*w)/w, k%w; alpha[n] != 0 {
				win = [4]int{min(win[0], y), max(win[1], y+1), min(win[2], x), max(win[3], x+1)}
			}
		}
		s := Slopes{ReLU: relu, Window: win}
		for n, k := range neurons {
			if y, x := k%(h*w)/w, k%w; y >= win[0] && y < win[1] && x >= win[2] && x < win[3] {
				s.Alpha = append(s.Alpha, alpha[n])
			}
		}
		if len(s.Alpha) > 0 {
			out = append(out, s)
		}
	}
	if w, at := r.v.Point(l); at != nil {
		out = append(out, Slopes{ReLU: r.layers[0], Window: [4]int{w.Y0, w.Y1, w.X0, w.X1}, Point: at})
	}
	return out
}

func (r *Record) layer(node int) int {
	for _, b := range r.bent {
		if b.Node == node {
			return b.Layer
		}
	}
	panic("branch: bounds of a node that nothing bent reads")
}
