package verify

import (
	"context"
	"math"
	"slices"

	"github.com/epsball/epsball/kernels"
	"github.com/epsball/epsball/net"
)

const (
	// rowBudget is the number of lane vectors of one activation that a chunk of
	// groups should not exceed, so that two activations stay in the L2 cache.
	rowBudget = 16 << 10
	minGroups = 2
	maxGroups = 16
)

// rows carries groups of eight rows backward through the graph: lane l of v[a] holds
// the coefficients of row l on the activation a, within its window.
type rows struct {
	g       *graph
	sc      kernels.Scratch
	v       [][]float32      // of each activation: [group][window]
	win     []kernels.Window // of each activation, begun last
	sig     []int
	placed  [maxGroups][]kernels.Window // of each group
	sig0    []int                       // of group 0
	started []bool                      // v holds coefficients
	tmp     []float32
	adjoint kernels.Linear // in use
	sums    [maxGroups]kernels.RelaxSums
	low     [maxGroups][kernels.Lanes]float64
	norms   [kernels.Lanes]float64

	sparse []sparse    // of each node, for the loaded image
	params [][]float32 // of each node: RelaxParams a neuron
	input  []float32   // of the input box
	dual   []float32   // of the ball around the centre; used for L1 and L2
	norm   net.Norm
	eps    float64
	std    []float32
	less   float64 // underflow of all nodes (10)

	ctx    context.Context // of the run; nil: none
	gaveUp bool            // it ended within this image, whose bounds are incomplete
}

// stopped tells whether to give the image up. Passes ask between chunks of rows, so
// that a run ends soon where an image takes seconds.
func (r *rows) stopped() bool {
	if !r.gaveUp && r.ctx != nil && r.ctx.Err() != nil {
		r.gaveUp = true
	}
	return r.gaveUp
}

func newRows(g *graph) *rows {
	r := &rows{
		g: g, v: make([][]float32, len(g.maps)), win: make([]kernels.Window, len(g.maps)),
		started: make([]bool, len(g.maps)),
	}
	for i := range r.placed {
		r.placed[i] = make([]kernels.Window, len(g.maps))
	}
	_, r.std = g.net.Normalization()
	largest := 0
	for a, m := range g.maps {
		n := max(minGroups*m.size(), min(maxGroups*m.size(), rowBudget))
		largest = max(largest, n)
		r.v[a] = kernels.Alloc(n * kernels.Lanes)
	}
	r.tmp = kernels.Alloc(largest * kernels.Lanes)
	r.sparse = make([]sparse, len(g.nodes))
	for i := range g.nodes {
		r.params = append(r.params, make([]float32, g.maps[i+1].size()*kernels.RelaxParams))
	}
	r.input = make([]float32, g.maps[0].size()*kernels.RelaxParams)
	r.dual = make([]float32, len(r.input))
	return r
}

// begin prepares for rows over the outputs in start of node from and returns how
// many groups may go at once.
func (r *rows) begin(from int, start kernels.Window) int {
	r.g.windows(r.win, from, start)
	r.sig = r.sig[:0]
	largest := 1
	for i := range from + 1 {
		w := r.win[i+1]
		largest = max(largest, w.H()*w.W()*r.g.maps[i+1].c)
		if w.H() == 0 {
			r.sig = append(r.sig, -1)
			continue
		}
		d := &r.g.nodes[i]
		k := d.shape.Same(w, d.shape.Reads(w))
		r.sig = append(r.sig, k[:]...)
		r.sig = append(r.sig, offset(r.win[d.src], r.g.reads(d, w))...)
		if d.skip >= 0 {
			r.sig = append(r.sig, offset(r.win[d.skip], w)...)
		}
	}
	w := r.win[0]
	largest = max(largest, w.H()*w.W()*r.g.maps[0].c)
	return min(max(rowBudget/largest, minGroups), maxGroups)
}

// offset is where the window w lies in the window all, and the size of that.
func offset(all, w kernels.Window) []int {
	return []int{w.Y0 - all.Y0, w.X0 - all.X0, all.H(), all.W()}
}

// place gives the windows begun last to group g. All groups that go backward at once
// have the same signature: windows of equal sizes, at different places of the maps.
func (r *rows) place(g int) {
	copy(r.placed[g], r.win)
	r.sums[g] = kernels.RelaxSums{}
	if g == 0 {
		r.sig0 = append(r.sig0[:0], r.sig...)
		clear(r.started)
	}
}

// fits tells whether the windows begun last may join group 0.
func (r *rows) fits() bool { return slices.Equal(r.sig, r.sig0) }

// size returns the number of neurons of the window of an activation.
func (r *rows) size(a int) int {
	w := r.placed[0][a]
	return w.H() * w.W() * r.g.maps[a].c
}

// group returns the coefficients of a group.
func (r *rows) group(v []float32, a, g int) []float32 {
	n := r.size(a) * kernels.Lanes
	return v[g*n : (g+1)*n]
}

// neuron is a row to be bounded: that of a neuron of a layer, or its opposite.
type neuron struct {
	index int32
	minus bool
}

// fill starts the rows of up to eight neurons of one position of node i in group g,
// which has its place. Their biases and errors go to the sums.
func (r *rows) fill(i, g int, list []neuron) {
	d := &r.g.nodes[i]
	var lanes [kernels.Lanes]kernels.Row
	for l := range lanes {
		n := list[min(l, len(list)-1)] // a short group repeats its last
		lanes[l] = kernels.Row{Index: int(n.index) % d.shape.OutC, Minus: n.minus}
		p := r.params[i][int(n.index)*kernels.RelaxParams:]
		b := float64(p[kernels.RelaxBias])
		if n.minus {
			b = -b
		}
		r.sums[g].B[l], r.sums[g].E[l] = b, float64(p[kernels.RelaxError])
	}
	r.started[d.src] = true
	r.fillSource(d, r.placed[g][i+1], g, &lanes)
	if d.skip >= 0 {
		r.fillSkip(d, r.placed[g][i+1], g, &lanes)
	}
}

func (r *rows) fillSource(d *node, pos kernels.Window, g int, lanes *[kernels.Lanes]kernels.Row) {
	isa, s, w := r.g.net.ISA(), d.shape, r.placed[g][d.src]
	dst := r.group(r.v[d.src], d.src, g)
	if d.flat {
		isa.GatherLanes(&r.sc, dst, d.columns, s.InC, s.OutC, lanes)
		return
	}
	reads := s.Reads(pos)
	if reads != w {
		clear(dst)
	}
	ky, kx := reads.Y0-(pos.Y0*s.StrideH-s.PadH), reads.X0-(pos.X0*s.StrideW-s.PadW)
	for y := range reads.H() {
		to := ((reads.Y0+y-w.Y0)*w.W() + reads.X0 - w.X0) * s.InC * kernels.Lanes
		from := ((ky+y)*s.KW + kx) * s.InC * s.OutC
		isa.GatherLanes(&r.sc, dst[to:], d.columns[from:], reads.W()*s.InC, s.OutC, lanes)
	}
}

// fillSkip adds the one coefficient of a neuron on the activation that its node adds.
func (r *rows) fillSkip(d *node, pos kernels.Window, g int, lanes *[kernels.Lanes]kernels.Row) {
	a, w := d.skip, r.placed[g][d.skip]
	v := r.group(r.v[a], a, g)
	if a != d.src {
		clear(v)
		r.started[a] = true
	}
	at := ((pos.Y0-w.Y0)*w.W() + pos.X0 - w.X0) * r.g.maps[a].c
	for l, n := range lanes {
		if n.Minus {
			v[(at+n.Index)*kernels.Lanes+l]--
		} else {
			v[(at+n.Index)*kernels.Lanes+l]++
		}
	}
}

// run takes groups of rows backward from the outputs of node from to the input.
// visit, if not nil, is called after each affine layer.
func (r *rows) run(from, groups int, visit func(node int)) {
	for i := from; i >= 0; i-- {
		if !r.started[i+1] {
			continue
		}
		r.relax(i+1, groups, r.params[i])
		r.started[i+1] = false
		r.back(i, r.v[i+1], groups)
		if visit != nil {
			visit(i)
		}
	}
}

// relax takes the rows on activation a through the ReLU of its node.
func (r *rows) relax(a, groups int, params []float32) {
	for g := range groups {
		v := r.group(r.v[a], a, g)
		r.relaxGroup(v, v, a, g, params, nil)
	}
}

func (r *rows) relaxGroup(dst, v []float32, a, g int, params, lower []float32) {
	w, m := r.placed[g][a], r.g.maps[a]
	at := (w.Y0*m.w + w.X0) * m.c
	run := kernels.RelaxRun{Rows: w.H(), N: w.W() * m.c, Stride: m.w * m.c}
	r.g.net.ISA().Relax(&r.sc, dst, v, params[at*kernels.RelaxParams:], lower, run, &r.sums[g])
}

// back takes the rows with coefficients v on its output through the affine layer of
// node i.
func (r *rows) back(i int, v []float32, groups int) {
	d := &r.g.nodes[i]
	w := r.placed[0]
	reads := r.g.reads(d, w[i+1])
	dst, alone := r.tmp, !r.started[d.src] && reads == w[d.src]
	if alone {
		dst = r.v[d.src]
	}
	if s := r.sparseOf(i); s != nil && w[i+1] == r.g.maps[i+1].full() && reads == r.g.maps[d.src].full() {
		s.Apply(&r.sc, dst, v, groups)
	} else {
		r.adjoint = r.g.adjoint(d, w[i+1])
		r.adjoint.Apply(&r.sc, dst, v, groups, kernels.None, nil)
	}
	if alone {
		r.started[d.src] = true
	} else {
		r.add(d.src, reads, r.tmp, groups)
	}
	if d.skip >= 0 {
		r.add(d.skip, w[i+1], v, groups)
	}
}

// add adds coefficients on the window w to those of activation a.
func (r *rows) add(a int, w kernels.Window, v []float32, groups int) {
	m, all := r.g.maps[a], r.placed[0][a]
	if !r.started[a] {
		clear(r.v[a][:groups*r.size(a)*kernels.Lanes])
		r.started[a] = true
	}
	n := w.W() * m.c * kernels.Lanes
	for g := range groups {
		dst := r.group(r.v[a], a, g)
		for y := range w.H() {
			at := ((w.Y0+y-all.Y0)*all.W() + w.X0 - all.X0) * m.c * kernels.Lanes
			d, s := dst[at:at+n], v[(g*w.H()+y)*n:][:n]
			for k, x := range s {
				d[k] += x
			}
		}
	}
}

// finish bounds the rows over the input (11); low then holds the bounds.
func (r *rows) finish(groups int) {
	for g := range groups {
		v, tmp := r.group(r.v[0], 0, g), r.group(r.tmp, 0, 0)
		start := r.sums[g]
		r.relaxGroup(tmp, v, 0, g, r.input, nil)
		for l := range kernels.Lanes {
			r.low[g][l] = rowLow(&r.sums[g], l, 0, r.less)
		}
		if r.norm == net.Linf {
			continue
		}
		r.sums[g] = start
		r.relaxGroup(tmp, v, 0, g, r.dual, nil)
		r.dualNorms(v)
		for l := range kernels.Lanes {
			r.low[g][l] = max(r.low[g][l], rowLow(&r.sums[g], l, 0, r.less+float64(r.eps*r.norms[l]*(1+slack))))
		}
	}
}

// dualNorms computes ‖μ/std‖* of each lane, but for float64 rounding.
func (r *rows) dualNorms(v []float32) {
	var n [kernels.Lanes]float64
	c := r.g.maps[0].c
	for k := 0; k < len(v); k += kernels.Lanes {
		s := 1.0
		if r.std != nil {
			s = 1 / float64(r.std[k/kernels.Lanes%c])
		}
		for l, x := range v[k : k+kernels.Lanes] {
			y := float64(x) * s
			if r.norm == net.L2 {
				n[l] += float64(y * y)
			} else {
				n[l] = max(n[l], math.Abs(y))
			}
		}
	}
	if r.norm == net.L2 {
		for l, x := range n {
			n[l] = math.Sqrt(x)
		}
	}
	r.norms = n
}
