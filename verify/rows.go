package verify

import (
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
	imageState

	g       *graph
	sc      kernels.Scratch
	v       [][]float32      // of each activation: [group][window]
	win     []kernels.Window // of each activation, begun last
	sig     []int
	placed  [maxGroups][]kernels.Window // of each group
	sig0    []int                       // of group 0
	started []bool                      // v holds coefficients
	tmp     []float32
	spares  [2][]float32 // for the channels of a group of a convolution; nil without
	adjoint kernels.Linear
	sums    [maxGroups]kernels.RelaxSums
	low     [maxGroups][kernels.Lanes]float64
	norms   [kernels.Lanes]float64
	start   kernels.RelaxSums // of a group before the input
	scaling normalizer

	depthwise kernels.Depthwise // like adjoint, in use
	sparse    []sparse          // of each node, for the loaded image
}

// imageState is what is known of a loaded region: the bounds of all nodes, and what rows
// need that follows from them.
type imageState struct {
	norm net.Norm
	eps  float64
	less float64 // underflow of all nodes (12)

	plain bool // rows are bounded as certificates state it: γ of all (8)
	leafy bool // 9g holds all the same: certificates state it of leaves

	lo, hi       [][]float32 // of each node, of a linear one before its ReLU
	actLo, actHi [][]float32 // of each activation
	params       [][]float32 // of each node: RelaxParams a neuron; of general lines, the bias is the lower line's intercept
	picks        [][]pick    // of each node that is a maximum
	input        []float32   // parameters of the input box
	dual         []float32   // of the ball around the centre; used for L1 and L2
	stop         [][]float32 // parameters of boxes where rows may stop; nil elsewhere
	centre       []float32   // of the input
	first        any         // a *firstLayer, for planes; nil: none
}

func newImageState(g *graph) imageState {
	var d imageState
	for a, m := range g.maps {
		n := kernels.Groups(m.size()) * kernels.Lanes
		d.actLo, d.actHi = append(d.actLo, kernels.Alloc(n)[:m.size()]), append(d.actHi, kernels.Alloc(n)[:m.size()])
		d.stop = append(d.stop, nil)
		if a == 0 {
			continue
		}
		d.lo, d.hi = append(d.lo, make([]float32, m.size())), append(d.hi, make([]float32, m.size()))
		d.params = append(d.params, make([]float32, m.size()*kernels.RelaxParams))
		d.picks = append(d.picks, nil)
		if _, ok := g.nodes[a-1].op.(*relaxMax); ok {
			d.picks[a-1] = make([]pick, m.size())
		}
	}
	d.input = make([]float32, g.maps[0].size()*kernels.RelaxParams)
	d.dual = make([]float32, len(d.input))
	d.centre = make([]float32, g.maps[0].size())
	for _, a := range g.stopsOf() {
		d.stop[a] = make([]float32, g.maps[a].size()*kernels.RelaxParams)
	}
	return d
}

func newRows(g *graph) *rows {
	r := &rows{
		imageState: newImageState(g), g: g, v: make([][]float32, len(g.maps)), win: make([]kernels.Window, len(g.maps)),
		started: make([]bool, len(g.maps)),
	}
	for i := range r.placed {
		r.placed[i] = make([]kernels.Window, len(g.maps))
	}
	r.scaling = newNormalizer(g.net)
	largest := 0
	for a, m := range g.maps {
		n := max(minGroups*m.size(), min(maxGroups*m.size(), rowBudget))
		largest = max(largest, n)
		r.v[a] = kernels.Alloc(n * kernels.Lanes)
	}
	r.tmp = kernels.Alloc(largest * kernels.Lanes)
	r.sparse = make([]sparse, len(g.nodes))
	for i := range g.nodes {
		if _, ok := g.nodes[i].op.(*relaxGrouped); ok && r.spares[0] == nil {
			r.spares = [2][]float32{kernels.Alloc(len(r.tmp)), kernels.Alloc(len(r.tmp))}
		}
	}
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
		r.sig = d.op.key(r.sig, w)
		for k, a := range d.in {
			all, reads := r.win[a], d.op.reads(k, w)
			r.sig = append(r.sig, reads.Y0-all.Y0, reads.X0-all.X0, all.H(), all.W())
		}
	}
	w := r.win[0]
	largest = max(largest, w.H()*w.W()*r.g.maps[0].c)
	return min(max(rowBudget/largest, minGroups), maxGroups)
}

// offsets say where the window w lies in the window all, and the size of w.
func offsets(all, w kernels.Window) [4]int {
	return [4]int{w.Y0 - all.Y0, w.X0 - all.X0, w.H(), w.W()}
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

// fits reports whether the windows begun last may join group 0.
func (r *rows) fits() bool { return slices.Equal(r.sig, r.sig0) }

// size returns the number of neurons of the window of an activation. Inlined, it would add
// 3 KB to a program.
//
//go:noinline
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
// which has its place. Their biases and errors go to the sums. take is to be called
// when all groups are filled.
func (r *rows) fill(i, g int, list []neuron) {
	d, c := &r.g.nodes[i], r.g.maps[i+1].c
	var lanes [kernels.Lanes]kernels.Row
	for l := range lanes {
		n := list[min(l, len(list)-1)] // a short group repeats its last
		lanes[l] = kernels.Row{Index: int(n.index) % c, Minus: n.minus}
		p := r.params[i][int(n.index)*kernels.RelaxParams:]
		b := float64(p[kernels.RelaxBias])
		if n.minus {
			b = -b
		}
		r.sums[g].B[l], r.sums[g].E[l] = b, float64(p[kernels.RelaxError])
	}
	if o, ok := d.op.(*relaxAffine); ok {
		o.fill(r, r.placed[g][i+1], g, &lanes)
		return
	}
	r.started[i+1] = true
	v := r.group(r.v[i+1], i+1, g)
	clear(v)
	seed(v, &lanes)
}

// seed adds the one coefficient of each row on the channels of its pixel v.
func seed(v []float32, lanes *[kernels.Lanes]kernels.Row) {
	for l, n := range lanes {
		if n.Minus {
			v[n.Index*kernels.Lanes+l]--
		} else {
			v[n.Index*kernels.Lanes+l]++
		}
	}
}

// take takes rows that fill started on the outputs of node i to what it reads.
func (r *rows) take(i, groups int) {
	if r.started[i+1] {
		r.started[i+1] = false
		r.g.nodes[i].op.back(r, i, r.v[i+1], groups)
	}
}

// run takes groups of rows backward from the outputs of node from to the input.
// visit, if not nil, is called after each node.
func (r *rows) run(from, groups int, visit func(node int)) {
	for i := from; i >= 0; i-- {
		if !r.started[i+1] {
			continue
		}
		r.bend(i, r.v[i+1], groups, nil)
		r.started[i+1] = false
		r.g.nodes[i].op.back(r, i, r.v[i+1], groups)
		if visit != nil {
			visit(i)
		}
	}
}

// bend takes the rows on the output of node i through its lines, to dst; lower, if not
// nil, has slopes of the lower lines for each row.
func (r *rows) bend(i int, dst []float32, groups int, lower []float32) {
	a := i + 1
	for g := range groups {
		v, to := r.group(r.v[a], a, g), r.group(dst, a, g)
		switch r.g.nodes[i].lines {
		case kernelLines:
			var low []float32
			if lower != nil {
				low = r.group(lower, a, g)
			}
			r.relaxGroup(to, v, a, g, r.params[i], low)
		case generalLines:
			par, s := r.params[i], &r.sums[g]
			r.each(g, a, func(at, k int) {
				var out [kernels.Lanes]float32
				bendLanes(v[at*kernels.Lanes:], (*[kernels.RelaxParams]float32)(par[k*kernels.RelaxParams:]), out[:], out[:], s)
				copy(to[at*kernels.Lanes:], out[:])
			})
		case ownLines:
			if &to[0] != &v[0] {
				copy(to, v)
			}
		}
	}
}

func (r *rows) relaxGroup(dst, v []float32, a, g int, params, lower []float32) {
	run, at := r.runOf(a, g)
	r.g.net.ISA().Relax(&r.sc, dst, v, params[at*kernels.RelaxParams:], lower, run, &r.sums[g])
}

// runOf returns where the window of an activation lies in its map, and its first neuron.
func (r *rows) runOf(a, g int) (run kernels.RelaxRun, at int) {
	w, m := r.placed[g][a], r.g.maps[a]
	return kernels.RelaxRun{Rows: w.H(), N: w.W() * m.c, Stride: m.w * m.c}, (w.Y0*m.w + w.X0) * m.c
}

// room returns where coefficients on the window w of activation a may be written: in
// place if they are its first and fill it; else, and then they are to be added.
func (r *rows) room(a int, w kernels.Window) (dst []float32, alone bool) {
	if r.started[a] || w != r.placed[0][a] {
		return r.tmp, false
	}
	r.started[a] = true
	return r.v[a], true
}

// begun makes sure that activation a has coefficients, zero so far.
func (r *rows) begun(a, groups int) {
	if !r.started[a] {
		clear(r.v[a][:groups*r.size(a)*kernels.Lanes])
		r.started[a] = true
	}
}

// spare returns room for as much as r.tmp has.
func (r *rows) spare(k int) []float32 { return r.spares[k] }

// add adds coefficients on the window w to those of activation a.
func (r *rows) add(a int, w kernels.Window, v []float32, groups int) {
	m, all := r.g.maps[a], r.placed[0][a]
	if w == all && !r.started[a] {
		r.started[a] = true
		copy(r.v[a], v[:groups*r.size(a)*kernels.Lanes])
		return
	}
	r.begun(a, groups)
	isa, n := r.g.net.ISA(), w.W()*m.c*kernels.Lanes
	for g := range groups {
		dst := r.group(r.v[a], a, g)
		for y := range w.H() {
			at := ((w.Y0+y-all.Y0)*all.W() + w.X0 - all.X0) * m.c * kernels.Lanes
			isa.Add(dst[at:at+n], v[(g*w.H()+y)*n:][:n], kernels.None, nil)
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
		if r.g.join != nil {
			r.start = start
			r.g.join(r, g, v)
		}
	}
}

// dualNorms computes ‖μ/std‖* of each lane, but for float64 rounding.
func (r *rows) dualNorms(v []float32) {
	var n [kernels.Lanes]float64
	c := r.g.maps[0].c
	for k := 0; k < len(v); k += kernels.Lanes {
		s := 1 / r.scaling.scale(k/kernels.Lanes%c)
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
