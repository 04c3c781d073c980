package verify

import (
	"context"
	"fmt"
	"math"
	"slices"

	"github.com/epsball/epsball/kernels"
)

// BoundDomains bounds domains of the verifier, none of them twice, by o.Method, spread over
// the workers: the nodes from the given one on (their number: none), and the rows of their
// properties, which take the place of o.Property. Nodes before it keep their bounds, but for what phases
// say; those without bounds get them. With slopes to be optimised, those of the rows start
// from the domain's. Bounds never get worse. When ctx ends it returns the context's error;
// domains that it did not get to the end of are as they were.
func (v *Verifier) BoundDomains(ctx context.Context, o Options, from int, domains ...*Domain) error {
	return v.boundDomains(ctx, o, false, from, domains)
}

// BoundBoxes is BoundDomains by intervals alone, as a checker of certificates has them: in
// L2 and L1 with the rows of nodes that read nothing but the input, without others.
func (v *Verifier) BoundBoxes(ctx context.Context, from int, domains ...*Domain) error {
	return v.boundDomains(ctx, Options{Method: MethodCROWNIBP}, true, from, domains)
}

func (v *Verifier) boundDomains(ctx context.Context, o Options, boxes bool, from int, domains []*Domain) error {
	for i, d := range domains {
		if d.net != v.net {
			return fmt.Errorf("domain %d: it is of another network", i)
		}
		o.Property = d.property
	}
	if from < 0 || from > len(v.net.Nodes()) {
		return fmt.Errorf("node %d: want 0 … %d", from, len(v.net.Nodes()))
	}
	if len(domains) == 0 {
		return nil
	}
	c, err := v.begin(ctx, &o)
	if err != nil {
		return err
	}
	defer c.end()
	c.domains, c.from, c.n, c.boxes = domains, from, len(domains), boxes
	c.all()
	return c.runTogether(boundOne)
}

func boundOne(c *call, w *linearWorker, i int) {
	d := c.domains[i]
	if d.empty {
		return
	}
	a := d.region.area()
	t := newAttempt(c.ctx, &c.o, c.o.Method, goal{property: d.property})
	t.domain, t.from, t.boxes = d, c.from, c.boxes
	d.plain = t.plain || t.boxes
	t.plain = d.plain
	if d.low == nil {
		t.from = 0
	}
	for k := range d.nodes {
		d.nodes[k].found = nil
	}
	d.found = nil
	if w.try(&t, &a); !t.gaveUp {
		d.store(w, t.empty)
	}
}

// store takes over what a worker has found.
func (d *Domain) store(w *linearWorker, empty bool) {
	if d.low == nil {
		d.low = slices.Clone(w.proved)
	}
	for k, l := range w.proved {
		d.low[k] = max(d.low[k], l)
	}
	if d.empty = empty; empty { // the worker has stopped somewhere
		return
	}
	if d.found != nil && d.found[0] != nil {
		d.planes = d.found
	}
	d.found = nil
	for i := range d.nodes {
		n, lo, hi := &d.nodes[i], w.lo[i], w.hi[i]
		if n.found != nil && n.found[0] != nil { // rows reach it
			n.slopes = n.found
		}
		n.found = nil
		switch {
		case n.lo == nil || n.shared && !(slices.Equal(n.lo, lo) && slices.Equal(n.hi, hi)):
			n.lo, n.hi, n.shared = slices.Clone(lo), slices.Clone(hi), false
		case !n.shared:
			copy(n.lo, lo)
			copy(n.hi, hi)
		}
	}
}

// narrow takes the bounds of node i, just computed, to what they have in common with the
// domain's and with its phases. It reports whether anything may be left: bounds that hold
// for all evaluations of the domain and cross leave none.
func (d *Domain) narrow(w *linearWorker, i int) bool {
	n, lo, hi := &d.nodes[i], w.lo[i], w.hi[i]
	for k, l := range n.lo {
		if l > lo[k] {
			lo[k] = l
		}
		if h := n.hi[k]; h < hi[k] {
			hi[k] = h
		}
	}
	for k, p := range n.phases {
		if p&Active != 0 && lo[k] < 0 {
			lo[k] = 0
		}
		if p&Inactive != 0 && hi[k] > 0 {
			hi[k] = 0
		}
	}
	if w.g.nodes[i].bent { // others are settled later
		copy(w.actLo[i+1], lo)
		copy(w.actHi[i+1], hi)
	}
	return !crossed(lo, hi)
}

// crossed reports whether some lower bound is above the upper one. Infinite ones say that
// something overflowed, and nothing else.
func crossed(lo, hi []float32) bool {
	for k, l := range lo {
		if h := hi[k]; l > h && l <= math.MaxFloat32 && h >= -math.MaxFloat32 {
			return true
		}
	}
	return false
}

// makeSlopes makes room for the slopes of n rows.
func (d *Domain) makeSlopes(g *graph, n int) {
	for i := range d.nodes {
		if g.nodes[i].sloped() {
			d.nodes[i].found = make([][]float32, n)
		}
	}
	if g.planes != nil {
		d.found = make([][]float32, n)
	}
}

// keepSlopes keeps those of the best bounds of some rows, from the given one on.
func (d *Domain) keepSlopes(w *linearWorker, from, some int) {
	for i := range d.nodes {
		act := i + 1
		if !w.ascent.used[act] || !w.g.nodes[i].sloped() {
			continue
		}
		for j := range some {
			row := make([]float32, w.g.maps[act].size())
			g, l := j/kernels.Lanes, j%kernels.Lanes
			kept := w.group(w.ascent.kept[act], act, g)
			w.each(g, act, func(at, k int) { row[k] = kept[at*kernels.Lanes+l] })
			d.nodes[i].found[from+j] = row
		}
	}
	if w.planes != nil {
		w.planes.keepRows(w, d.found[from:from+some])
	}
}

// startSlopes sets the slopes of node i for the goal's rows from the given one on to the
// domain's, if it has any: of neurons that are open still.
func (d *Domain) startSlopes(w *linearWorker, i, groups, row int) {
	s := d.nodes[i].slopes
	if s == nil {
		return
	}
	act := i + 1
	for g := range groups {
		alpha := w.group(w.ascent.alpha[act], act, g)
		w.each(g, act, func(at, k int) {
			if w.params[i][k*kernels.RelaxParams+kernels.RelaxIntercept] == 0 {
				return
			}
			for l := range kernels.Lanes {
				alpha[at*kernels.Lanes+l] = s[min(row+g*kernels.Lanes+l, len(s)-1)][k]
			}
		})
	}
}
