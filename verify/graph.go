package verify

import (
	"fmt"
	"slices"
	"sync"

	"github.com/epsball/epsball/kernels"
	"github.com/epsball/epsball/model"
	"github.com/epsball/epsball/net"
)

// graph is the network as linear bounds see it: activation 0 is the normalized
// input, activation i+1 the output of node i. It is read-only but for its plans.
type graph struct {
	join   func(r *rows, g int, v []float32) // 11a; nil: do without
	planes func(g *graph) hull               // 9g; nil: do without

	net    *net.Network
	maps   []extent // of each activation
	nodes  []node
	plans  *plans[planKey, *kernels.Linear]
	slides *plans[slideKey, *slidePlan]
	ahead  sync.Once // has packed what optimising slopes needs

	lanes    sync.Once // has packed laneMaps
	laneMaps sized     // laneMaps; nil until images share lanes

	// whole says that there are other nodes than dense layers. Then rows are made as
	// docs/certificate.md has it: of all elements of what reads the input, by the dual
	// norm, and first for the end nearer to 0. Networks of dense layers alone have rows of
	// open elements only, and first for the end that the ball's centre is at; so they
	// keep the bits of their bounds.
	whole bool
}

// sized is something with a size in memory. (As an interface, so that programs for devices do
// not carry what is behind it.)
type sized interface{ bytes() int }

// extent is the size of a map, [H][W][C] in memory.
type extent struct{ h, w, c int }

func (e extent) size() int            { return e.h * e.w * e.c }
func (e extent) full() kernels.Window { return kernels.Window{Y1: e.h, X1: e.w} }

// node is an operation with its place in the graph, and its ReLU.
type node struct {
	op       operation
	in       []int       // activations that it reads
	relu     bool        // it ends in a ReLU
	bends    []bend      // the readers of its output that are not linear
	rounding rowRounding // of step 10

	bent  bool // it is not linear itself
	lines lineKind
	first bool // it reads the input alone; of an affine layer, whatever it adds
	exact bool // in an Linf box its intervals are as good as rows
	stops bool // rows of the goal may stop at what it reads
	inner bool // it reads the box of a linear node that owes to rows, where no checker stops
	layer int  // of the architecture: that with its lines, where certificates state slopes; else −1
}

// sloped reports whether its output goes through lines whose lower one is free.
func (d *node) sloped() bool { return (d.relu || d.bent) && d.lines == kernelLines }

// dual reports whether a checker bounds all elements of the node by the dual norm.
func (d *node) dual() bool { return d.first && len(d.in) == 1 && !d.bent }

// operation is what linear bounds know of what a node computes. There is a file for
// each kind, with its part of the proof: relax_affine.go and so on.
type operation interface {
	// reads returns the window of the node's k-th input that outputs in w depend on.
	reads(k int, w kernels.Window) kernels.Window

	// key appends what is equal for windows of outputs that may go backward together.
	key(sig []int, w kernels.Window) []int

	// forward bounds node i from the boxes of what it reads, and sets its parameters:
	// of a linear one bias and error, of another one all.
	forward(w *linearWorker, i int)

	// back takes groups of rows with coefficients v on the output of node i, behind
	// its lines if it has any, to what it reads.
	back(r *rows, i int, v []float32, groups int)

	// values computes the minimising points of node i, before its lines, from those of
	// what it reads.
	values(r *rows, a *ascent, i, groups int)
}

// bend is an operation that is not linear.
type bend interface {
	// open marks the elements of the activation that the node reads whose better
	// bounds would make its lines better; lo and hi are those that are known.
	open(lo, hi []float32, mark []bool)
}

// lineKind says how rows go through the lines of a node.
type lineKind uint8

const (
	kernelLines  lineKind = iota // by the kernel of ReLUs: the lower line goes through zero
	generalLines                 // two lines with intercepts
	ownLines                     // by its operation's back
)

// linearOps reports whether linear bounds know an operation.
func linearOps(op net.Operation) bool {
	switch op.(type) {
	case *net.Affine, *net.Depthwise, *net.Grouped, *net.Pool, *net.Elementwise, *net.Sum, *net.Concat:
		return true
	}
	return false
}

// newGraph packs what the linear bounds of n need, but for what optimising slopes does.
func newGraph(n *net.Network) (*graph, error) {
	g := &graph{net: n, plans: newPlans[planKey, *kernels.Linear](planBudget), slides: newPlans[slideKey, *slidePlan](planBudget / 4)}
	in := n.Input()
	g.maps = append(g.maps, extent{in.H, in.W, in.C})
	list := n.Nodes()
	terms, readers := sumTerms(list), readersOf(list)
	exact := []bool{true} // of each activation
	for i := range list {
		p := &list[i]
		d := node{in: p.In, relu: p.ReLU, layer: -1}
		g.maps = append(g.maps, extent{p.Shape.H, p.Shape.W, p.Shape.C})
		d.first = !slices.ContainsFunc(p.In, func(a int) bool { return a != 0 })
		d.stops = slices.ContainsFunc(p.In, func(a int) bool { return a > 0 })
		most := 0
		for _, a := range p.In {
			most = max(most, readers[a])
		}
		if _, ok := p.Op.(*net.Affine); !ok {
			g.whole = true
		}
		fan, chain, each, err := g.operation(&d, p, terms[i])
		if err == nil && chain > maxFan {
			err = fmt.Errorf("%d terms backward: rounding is bounded up to %d", chain, maxFan)
		}
		if err != nil {
			return nil, fmt.Errorf("layer %s: %w", p.Name, err)
		}
		d.rounding = newRowRounding(fan, chain, terms[i], most)
		d.exact = len(p.In) == 1 && (p.In[0] == 0 && !d.bent || each && exact[p.In[0]])
		exact = append(exact, d.exact)
		if d.relu {
			d.layer = reluAfter(&n.Model().Arch, p)
		}
		g.nodes = append(g.nodes, d)
	}
	for i := range g.nodes {
		if b, ok := g.nodes[i].op.(bend); ok {
			for _, a := range g.nodes[i].in {
				if a > 0 {
					g.nodes[a-1].bends = append(g.nodes[a-1].bends, b)
				}
			}
		}
	}
	rows := make([]bool, len(g.maps)) // boxes of linear nodes that are better for rows of these or of what they read
	for i := range g.nodes {
		d := &g.nodes[i]
		if d.inner = slices.ContainsFunc(d.in, func(a int) bool { return rows[a] }); !d.bent && !d.relu {
			rows[i+1] = d.inner || len(d.bends) > 0 || g.whole && d.dual()
		}
	}
	return g, nil
}

// packAhead packs the forward maps that optimising slopes needs.
func (g *graph) packAhead() {
	g.ahead.Do(func() {
		for i := range g.nodes {
			if o, ok := g.nodes[i].op.(interface{ packAhead(n *net.Network) }); ok {
				o.packAhead(g.net)
			}
		}
	})
}

func (g *graph) outputs() int { return g.maps[len(g.maps)-1].size() }

// operation sets what belongs to the kind of node p and returns the numbers of terms
// that its sums have, forward and backward; each reports whether an output depends on
// one input, monotonically.
func (g *graph) operation(d *node, p *net.Node, terms int) (fan, chain int, each bool, err error) {
	fan, _ = fanInOf(p.Op)
	switch op := p.Op.(type) {
	case *net.Affine:
		d.stops, d.first = op.Src > 0, op.Src == 0
		s := op.Shape
		o, err := newRelaxAffine(g, op, terms)
		d.op = o
		return fan, backwardTerms(s), false, err
	case *net.Depthwise:
		o, err := newRelaxDepthwise(g, op, terms)
		d.op = o
		return fan, backwardTaps(op.Sliding), op.Sliding.Taps() == 1, err
	case *net.Grouped:
		o, err := newRelaxGrouped(g, op, terms)
		d.op = o
		return fan, backwardTerms(op.Shape), false, err
	case *net.Pool:
		if op.Mean {
			d.op = newRelaxMean(g, op)
		} else {
			d.bent, d.lines = true, ownLines
			d.op = newRelaxMax(g, op)
		}
		return fan, backwardTaps(op.Sliding) + 1, false, nil
	case *net.Elementwise:
		o := newRelaxElementwise(op, p)
		d.op, d.bent, d.lines = o, true, o.lines()
		if op.Kind != model.Sigmoid && op.Kind != model.Tanh {
			d.layer = p.Index
		}
		return 0, 1, true, nil
	case *net.Sum:
		d.op = &relaxSum{}
		return 0, 1, false, nil
	case *net.Concat:
		d.op = newRelaxConcat(g, p)
		return 0, 1, false, nil
	}
	return 0, 0, false, fmt.Errorf("no linear bounds of this layer")
}

// backwardTerms returns the largest number of terms of a sum of the adjoint.
func backwardTerms(s kernels.Shape) int {
	ceil := func(a, b int) int { return (a + b - 1) / b }
	return s.OutC * ceil(s.KH, s.StrideH) * ceil(s.KW, s.StrideW)
}

// backwardTaps returns the largest number of windows that an element belongs to.
func backwardTaps(s kernels.Sliding) int {
	if max(s.DilH, s.DilW) > 1 {
		return s.Taps()
	}
	return backwardTerms(kernels.Shape{OutC: 1, KH: s.KH, KW: s.KW, StrideH: s.StrideH, StrideW: s.StrideW})
}

// reluAfter returns the index of the ReLU that node p ends in.
func reluAfter(a *model.Architecture, p *net.Node) int {
	last := p.Index
	if f, ok := p.Op.(*net.Affine); ok {
		last = max(f.Index, f.Add)
	}
	for k := range a.Layers {
		if a.Layers[k].Kind == model.ReLU && a.InputsOf(k)[0] == last {
			return k
		}
	}
	panic("verify: a node ends in a ReLU that the architecture lacks")
}

// stopsOf lists the activations at whose boxes rows over the outputs may stop, but for
// the input: those that the last node reads and, if it bends, the outputs.
func (g *graph) stopsOf() (acts []int) {
	last := &g.nodes[len(g.nodes)-1]
	for _, a := range last.in {
		if a > 0 && !slices.Contains(acts, a) {
			acts = append(acts, a)
		}
	}
	if last.relu || last.bent {
		acts = append(acts, len(g.nodes))
	}
	return acts
}

// windows fills win with the window of each activation that the outputs in start of
// node from depend on, empty where they do not.
func (g *graph) windows(win []kernels.Window, from int, start kernels.Window) {
	clear(win)
	win[from+1] = start
	for i := from; i >= 0; i-- {
		w := win[i+1]
		if w.H() == 0 {
			continue
		}
		d := &g.nodes[i]
		for k, a := range d.in {
			win[a] = union(win[a], d.op.reads(k, w))
		}
	}
}

// union is the smallest window around two, of which one may be empty.
func union(a, b kernels.Window) kernels.Window {
	switch {
	case a.H() == 0:
		return b
	case b.H() == 0:
		return a
	}
	return kernels.Window{Y0: min(a.Y0, b.Y0), Y1: max(a.Y1, b.Y1), X0: min(a.X0, b.X0), X1: max(a.X1, b.X1)}
}
