package verify

import (
	"fmt"
	"slices"

	"github.com/epsball/epsball/kernels"
	"github.com/epsball/epsball/net"
)

// graph is the network as linear bounds see it: activation 0 is the normalized
// input, activation i+1 the output of affine layer i. It is read-only but for its plans.
type graph struct {
	net   *net.Network
	maps  []extent // of each activation
	nodes []node
	plans *plans
}

// extent is the size of a map, [H][W][C] in memory.
type extent struct{ h, w, c int }

func (e extent) size() int            { return e.h * e.w * e.c }
func (e extent) full() kernels.Window { return kernels.Window{Y1: e.h, X1: e.w} }

// node is an affine layer, its skip and its ReLU.
type node struct {
	affine    *net.Affine
	src, skip int             // activations; skip −1: none
	shape     kernels.Shape   // of the affine layer
	flat      bool            // reads its source as one long pixel
	small     *kernels.Small  // W from b
	both      []float32       // e of step 2, padded
	abs       *kernels.Small  // |W| from |b|
	adjoint   *kernels.Linear // of the whole map
	forward   *kernels.Linear // W from b on lanes; nil unless slopes are optimised
	columns   []float32       // W, [KH][KW][InC][OutC]
	interval  bound           // of step 2
	relax     relaxBound      // of step 10
	readers   int             // of the source
}

// newGraph packs what the linear bounds of n need; with forward, also what optimising
// slopes does.
func newGraph(n *net.Network, forward bool) (*graph, error) {
	g := &graph{net: n, plans: newPlans()}
	in := n.Input()
	g.maps = append(g.maps, extent{in.H, in.W, in.C})
	layers := n.Layers()
	terms := sumTerms(n.Nodes())
	readers := readersOf(n.Nodes())
	for i := range layers {
		a := &layers[i]
		s := a.Shape
		d := node{affine: a, src: a.Src, skip: a.Skip, shape: s}
		src := g.maps[d.src]
		d.flat = s.InH == 1 && s.InW == 1 && src.h*src.w > 1
		var err error
		if d.interval, err = newBound(s.FanIn(), terms[i], extraLayer); err != nil {
			return nil, fmt.Errorf("layer %s: %w", a.Name, err)
		}
		if s.OutC*s.KH*s.KW > maxFan {
			return nil, fmt.Errorf("layer %s: %d terms backward: rounding is bounded up to %d", a.Name, s.OutC*s.KH*s.KW, maxFan)
		}
		d.pack(n.ISA())
		if forward {
			if d.forward = a.Lanes(); d.forward == nil {
				d.forward = newLanes(n, s, a.Weights(), a.B, false)
			}
		}
		g.maps = append(g.maps, extent{s.OutH(), s.OutW(), s.OutC})
		g.nodes = append(g.nodes, d)
	}
	for i := range g.nodes {
		d := &g.nodes[i]
		d.readers = readers[d.src]
		if d.skip >= 0 {
			d.readers = max(d.readers, readers[d.skip])
		}
		d.relax = newRelaxBound(d.shape, terms[i], d.readers)
	}
	return g, nil
}

// stops lists the activations at whose boxes rows over the outputs may stop, but for
// the input: those that the last layer reads and, if it ends in a ReLU, the outputs.
func (g *graph) stops() (acts []int) {
	last := &g.nodes[len(g.nodes)-1]
	for _, a := range []int{last.src, last.skip} {
		if a > 0 && !slices.Contains(acts, a) {
			acts = append(acts, a)
		}
	}
	if last.affine.ReLU {
		acts = append(acts, len(g.nodes))
	}
	return acts
}

func (d *node) pack(isa *kernels.ISA) {
	a, s := d.affine, d.shape
	w := a.Weights()
	d.small, _ = a.Small(1, 1)
	if d.small == nil {
		d.small = kernels.NewSmall(isa, s)
		d.small.Pack(w, false)
		d.small.SetBias(a.B)
	}
	d.both = d.small.PadBias(d.interval.radiusBias(a.B))
	d.abs = kernels.NewSmall(isa, s)
	d.abs.Pack(w, true)
	d.abs.SetBias(absAll(a.B))
	d.adjoint = kernels.NewAdjoint(isa, s)
	d.adjoint.Pack(w, false)
	taps := s.KH * s.KW
	d.columns = make([]float32, len(w))
	for o := range s.OutC {
		for c := range s.InC {
			for k := range taps {
				d.columns[(k*s.InC+c)*s.OutC+o] = w[(o*s.InC+c)*taps+k]
			}
		}
	}
}

// reads returns the window of the source that the outputs in w depend on.
func (g *graph) reads(d *node, w kernels.Window) kernels.Window {
	if d.flat {
		return g.maps[d.src].full()
	}
	return d.shape.Reads(w)
}

// adjoint returns the adjoint of a node for rows that are zero outside of the window w
// of its output, on the window that it reads then.
func (g *graph) adjoint(d *node, w kernels.Window) kernels.Linear {
	reads := d.shape.Reads(w) // of whole maps perhaps not all, with a stride
	if w == (kernels.Window{Y1: d.shape.OutH(), X1: d.shape.OutW()}) && reads.H() == d.shape.InH && reads.W() == d.shape.InW {
		return *d.adjoint
	}
	return g.windowed(d.adjoint, planKey{shape: d.shape, adjoint: true, windows: d.shape.Same(w, reads)}, w, reads)
}

// forwardOn returns the forward map of a node to the outputs in out from what in holds
// of its source.
func (g *graph) forwardOn(d *node, out, in kernels.Window) kernels.Linear {
	reads := d.shape.Reads(out)
	return g.windowed(d.forward, planKey{
		shape: d.shape, windows: d.shape.Same(out, in),
		reads: [4]int{reads.Y0 - in.Y0, reads.X0 - in.X0, reads.H(), reads.W()},
	}, out, in)
}

// windowed returns l.Windowed(out, in), whose plan is that of k.
func (g *graph) windowed(l *kernels.Linear, k planKey, out, in kernels.Window) kernels.Linear {
	p := g.plans.get(&k)
	if p == nil {
		p = l.Windowed(out, in)
		g.plans.put(&k, p)
	}
	return p.With(l)
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
		win[d.src] = union(win[d.src], g.reads(d, w))
		if d.skip >= 0 {
			win[d.skip] = union(win[d.skip], w)
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
