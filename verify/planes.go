package verify

import (
	"math"
	"slices"

	"github.com/epsball/epsball/kernels"
	"github.com/epsball/epsball/net"
)

// 9g. Upper planes of the first layer. Where a layer reads the input, of which |x_i − c_i| ≤ ρ_i
// is all that is known, the line above a ReLU, of ẑ, is not the best that is linear in x. Let z =
// Σw_i x_i + b, z̄ = b + Σ(w_i c_i + |w_i|ρ_i) its largest value, and μ_i in [0, 1], any. With
// S = Σμ_i|w_i|ρ_i
//
//	max(z, 0) ≤ Σμ_i w_i(x_i − c_i) + max(S, z̄ − S),
//
// for the sum is at least −S, and z = z̄ − Σ(|w_i|ρ_i − w_i(x_i − c_i)), whose terms in brackets are
// at least 0 and become no larger with the factor μ_i. All μ_i = h/(h − l) give the line. The
// planes with S = z̄/2 are those of Tjandraatmadja et al. 2020 (arXiv:2006.14076), and what
// lies between them: together the concave hull of max(z, 0) over the box, which is max(z, 0)
// itself at corners, where bounds are attained.
//
// With a coefficient λ < 0 a row takes λμ_i w_i to the input, c_i·λμ_i w_i off its constant, and
// λ·max(S, z̄ − S) to it. Rounding: an execution's a is at most max(z, 0) and what 8 says ẑ may be
// off by: E of 10, which counts with |λ|, has that, and its γ_{n+R} covers the sums of λμ_i w_i of
// an input, one product more than the adjoint has in place of the R readers, by |w|ρ ≤ |W|M. S is
// a float32 sum of K + 2 roundings a term, which move max(S, z̄ − S) by at most 2γ_{K+2}·S. The sums
// for an input, g, are added to those of the adjoint, v, with u|v + g|M. Σg·c goes the way of Σμc in
// 11, with γ_{m+2}|g||c|, and the constants of neurons that of t in 10. Products may lose η each (12;
// of S, 2Kη a neuron).
//
// Which μ is best differs from row to row. It is that of where the bound is attained, if planes
// are as good as they can be: let y_i in [−1, 1] be (x_i − c_i)/ρ_i there. Then a μ_i is 1 where
// x_i is what makes z small, 0 where it makes z large, and between for some one: a y is turned into
// μ_i = θ − sign(w_i)·y_i, cut to [0, 1], with the θ for which S = z̄/2, nearly. y is the mean of the
// minimising inputs of all steps so far: a subgradient method for the saddle point of bound and
// input. From y = 0, where the planes are the lines, ten steps do most of it. θ follows by steps of
// Newton's.

// hull is what takes rows through upper planes of the first layer: *planes. (As an interface, so
// that programs which do without do not carry it.)
type hull interface {
	know(w *linearWorker)
	begin(w *linearWorker, from, groups, row int, kept [][]float32) bool
	back(w *linearWorker, groups int)
	hand(w *linearWorker, groups int)
	keep(w *linearWorker, groups int)
	keepRows(w *linearWorker, rows [][]float32)
	pass(w *linearWorker, groups int)
	move(w *linearWorker, groups, step int)
}

// FirstPlanes makes linear bounds with optimised slopes bound the first layer's ReLUs from above
// by planes in the input, not by lines in what a ReLU reads: 9g. In boxes and Linf balls they become
// much tighter, where the first layer is a conv or fc. Proofs of Prove and with Options.RowsOnly do
// without: certificates state planes of leaves alone. It must not be called during
// other calls. (A choice, so that programs for devices need not carry it.)
func (v *Verifier) FirstPlanes() {
	v.planes = newPlanes
	if v.graph != nil {
		v.graph.planes = v.planes
	}
	for _, w := range v.workers {
		w.planes = newPlanes(v.graph)
	}
}

// settling is how many steps of θ come nearly to rest where y has moved a little.
const settling = 3

// stepsBefore is as how many steps what a row has kept counts against new ones.
const stepsBefore = 14

// planesOf returns the planes of a worker, if they hold in the loaded region.
func planesOf(w *linearWorker) *planes {
	if p, ok := w.planes.(*planes); ok && w.first != nil && !p.lines {
		return p
	}
	return nil
}

// planes is the hull of a worker.
type planes struct {
	shape kernels.Shape
	flat  bool
	w     [][]float32 // of each output channel: [KH][KW][InC]

	factor, tiny float32 // for the sum S of a neuron: what rounding asks for

	own    firstLayer
	lists  [maxGroups]*kernels.Planes // neurons of each group that are open, in memory order
	some   [maxGroups]kernels.Planes
	states [maxGroups][]float32 // of the neurons of each group

	y, g, best []float32 // of each group, on the window of the input; best: of the best bounds
	post       []float32 // on that of the layer: values behind the planes
	theta      [maxGroups][]float32
	state, all []float32                          // what states and theta are of
	settle     int                                // steps of θ before the next pass, of all rows
	solve      bool                               // θ is to be found anew
	lines      bool                               // leaves are bounded as they are stated without planes
	begun      [maxGroups * kernels.Lanes]float32 // of each lane: how many steps y has behind it
}

// newPlanes returns nil where the first node is not a conv or fc with a ReLU.
func newPlanes(g *graph) hull {
	d := &g.nodes[0]
	o, ok := d.op.(*relaxAffine)
	if !ok || !d.relu || o.affine.Skip >= 0 || o.affine.Src != 0 {
		return nil
	}
	s := o.shape
	fan := s.FanIn()
	p := &planes{shape: s, flat: o.flat, tiny: float32(4 * float64(fan) * eta)}
	p.factor = up32(1 + 2*gamma(fan+relaxExtra) + 4*u)
	for c := range s.OutC {
		p.w = append(p.w, o.rows[c*fan:][:fan])
	}
	return p
}

// firstLayer is what planes know of a loaded region where they hold: imageState.first.
type firstLayer struct {
	centres []float32 // parameters of inputs: −c, and what its sums err by
	sums    []float32 // the same: what v + g errs by

	q    []float32   // w·ρ of each input of each open neuron, one after the other
	open []openPlane // these, in memory order
}

// openPlane is a neuron, with what depends on a window left out.
type openPlane struct {
	kernels.PlaneNeuron
	k, y, x int // in its map; the first pixel that it reads
}

// know finds what planes of the loaded region need, whose first node is settled.
func (p *planes) know(w *linearWorker) {
	if w.norm != net.Linf || w.plain && !w.leafy {
		return
	}
	f := &p.own
	w.first = f
	m, out := w.g.maps[0], w.g.maps[1]
	f.q, f.open = f.q[:0], f.open[:0]
	f.centres, f.sums = slices.Grow(f.centres[:0], len(w.input))[:len(w.input)], slices.Grow(f.sums[:0], len(w.input))[:len(w.input)]
	ofC := keep(termInput, gammaChain)
	for k := range w.actLo[0] {
		at := k * kernels.RelaxParams
		c := w.input[at+kernels.RelaxBias]
		setParams(f.centres[at:], 1, 1, 0, -c, over(float64(ofC*math.Abs(float64(c)))))
		setParams(f.sums[at:], 1, 1, 0, 0, over(float64(u*max(math.Abs(float64(w.actLo[0][k])), math.Abs(float64(w.actHi[0][k]))))))
	}
	bias, run := w.g.nodes[0].op.(*relaxAffine).affine.B, p.run(m.w*m.c)
	for k := range out.size() {
		par := w.params[0][k*kernels.RelaxParams:][:kernels.RelaxParams]
		n := p.of(w, k)
		if par[kernels.RelaxIntercept] == 0 || n.Rows < 1 || n.N < 1 {
			continue
		}
		z := float64(bias[k%out.c])
		size, sum := math.Abs(z), 0.0
		for y := range n.Rows {
			for i := range n.N {
				v, in := n.W[y*run.Weights+i], w.input[((n.y+y)*m.w*m.c+n.x*m.c+i)*kernels.RelaxParams:][:kernels.RelaxParams]
				f.q = append(f.q, v*in[kernels.RelaxError])
				c, e := float64(v)*float64(in[kernels.RelaxBias]), math.Abs(float64(v))*float64(in[kernels.RelaxError]) // exact
				z += c + e
				size += math.Abs(c) + e
				sum += e
			}
		}
		n.Up, n.Error = up32(z+float64(size*0x1p-36)), par[kernels.RelaxError]
		n.Start = n.Up / 2 / max(float32(sum), 1e-30)
		f.open = append(f.open, n)
	}
	q := f.q
	for i := range f.open { // now that it stays where it is
		n := &f.open[i]
		n.Q, q = q[:n.Rows*n.N], q[n.Rows*n.N:]
	}
}

// run is how far apart rows of inputs are, in a window of the input with rows of so many.
func (p *planes) run(window int) kernels.PlaneRun {
	return kernels.PlaneRun{Weights: p.shape.KW * p.shape.InC, Window: window}
}

// of returns what neuron k reads.
func (p *planes) of(w *linearWorker, k int) (n openPlane) {
	s, m, out := &p.shape, w.g.maps[0], w.g.maps[1]
	n.k, n.W = k, p.w[k%out.c]
	if p.flat {
		n.Rows, n.N = 1, s.InC
		return n
	}
	n.y, n.x = k/(out.w*out.c)*s.StrideH-s.PadH, k/out.c%out.w*s.StrideW-s.PadW
	ky, kx := max(0, -n.y), max(0, -n.x)
	n.y, n.x = n.y+ky, n.x+kx
	n.Rows, n.N = min(s.KH-ky, m.h-n.y), min(s.KW-kx, m.w-n.x)*m.c
	n.W = n.W[min((ky*s.KW+kx)*m.c, len(n.W)):]
	return n
}

// begin prepares for rows that go backward from the outputs of node from, in their places, and
// reports whether they go through planes. With kept they are those of the goal from row on, and
// begin with what those of it have kept.
func (p *planes) begin(w *linearWorker, from, groups, row int, kept [][]float32) bool {
	if w.first == nil || p.lines || from < 0 {
		return false
	}
	size, neurons := 0, 0
	for g := range groups {
		if g > 0 && w.placed[g][0] == w.placed[0][0] && w.placed[g][1] == w.placed[0][1] {
			p.lists[g] = p.lists[0]
		} else {
			p.lists[g] = &p.some[g]
			p.list(w, g)
		}
		size += p.lists[g].Len() * kernels.PlaneState
		neurons += p.lists[g].Len() * kernels.Lanes
	}
	if p.y == nil {
		for _, v := range []*[]float32{&p.y, &p.g, &p.best} {
			*v = kernels.Alloc(len(w.v[0]))
		}
		p.post = kernels.Alloc(len(w.v[1]))
	}
	if len(p.state) < size {
		p.state, p.all = kernels.Alloc(size), kernels.Alloc(neurons)
	}
	state, theta := p.state, p.all
	for g := range groups {
		n := p.lists[g].Len()
		p.states[g], state = state[:n*kernels.PlaneState], state[n*kernels.PlaneState:]
		p.theta[g], theta = theta[:n*kernels.Lanes], theta[n*kernels.Lanes:]
		p.lists[g].Start(p.states[g])
	}
	clear(p.y[:groups*w.size(0)*kernels.Lanes])
	clear(p.begun[:])
	p.next(w)
	if kept != nil {
		for j := range groups * kernels.Lanes {
			p.set(w, j/kernels.Lanes, j%kernels.Lanes, kept[min(row+j, len(kept)-1)])
		}
	}
	return true
}

// list makes that of a group.
func (p *planes) list(w *linearWorker, g int) {
	m, in, out, win, list := w.g.maps[0], w.placed[g][0], w.g.maps[1], w.placed[g][1], &p.some[g]
	list.Reset(p.run(in.W() * m.c))
	open := w.first.(*firstLayer).open
	for y := win.Y0; y < win.Y1; y++ {
		first, end := (y*out.w+win.X0)*out.c, (y*out.w+win.X1)*out.c
		i, _ := slices.BinarySearchFunc(open, first, func(n openPlane, k int) int { return n.k - k })
		for ; i < len(open) && open[i].k < end; i++ {
			n := open[i].PlaneNeuron // a team shares the others
			n.Lane = (y-win.Y0)*win.W()*out.c + open[i].k - first
			if !p.flat {
				n.Window = ((open[i].y-in.Y0)*in.W() + open[i].x - in.X0) * m.c
			}
			list.Add(&n)
		}
	}
}

// kept returns y and θ of the best bound of a lane.
func (p *planes) kept(w *linearWorker, g, l int) []float32 {
	from, theta := w.group(p.best, 0, g), p.theta[g]
	out := make([]float32, 0, (len(from)+len(theta))/kernels.Lanes)
	for _, v := range [][]float32{from, theta} {
		for k := l; k < len(v); k += kernels.Lanes {
			out = append(out, v[k])
		}
	}
	return out
}

// keepRows is kept of the rows of the goal that went backward last, if they went through planes.
func (p *planes) keepRows(w *linearWorker, rows [][]float32) {
	if w.first != nil && w.ascent.used[1] {
		for j := range rows {
			rows[j] = p.kept(w, j/kernels.Lanes, j%kernels.Lanes)
		}
	}
}

// set lets a lane begin with what another row has kept, on the same window; θ may be missing.
func (p *planes) set(w *linearWorker, g, l int, kept []float32) {
	to, list := w.group(p.y, 0, g), p.lists[g]
	n := len(to) / kernels.Lanes
	theta := kept[min(n, len(kept)):]
	if len(theta) > 0 && len(theta) != list.Len() { // other neurons are open
		return
	}
	for k, v := range kept[:n] {
		to[k*kernels.Lanes+l] = v
	}
	for k, v := range theta {
		list.Theta(p.states[g], k)[l] = v
	}
	p.begun[g*kernels.Lanes+l] = stepsBefore
}

// yByte is y in a byte, fromByte what that says.
func yByte(y float32) uint8 { return uint8(float32((y+1)*127.5) + 0.5) }

func fromByte(b uint8) float32 { return float32(b)/127.5 - 1 }

// pack keeps y of a lane in bytes; unpack lets all lanes begin with those of other rows.
func (p *planes) pack(w *linearWorker, g, l int, to []uint8) {
	y := w.group(p.y, 0, g)
	for k := range to {
		to[k] = yByte(y[k*kernels.Lanes+l])
	}
}

func (p *planes) unpack(w *linearWorker, g, l int, from []uint8) {
	y := w.group(p.y, 0, g)
	for k, v := range from {
		y[k*kernels.Lanes+l] = fromByte(v)
	}
	p.begun[g*kernels.Lanes+l], p.settle = stepsBefore, 2
}

// back takes what is negative off the rows on the first layer, and to p.g.
func (p *planes) back(w *linearWorker, groups int) {
	step := func(lift bool, sums []kernels.RelaxSums) {
		clear(p.g[:groups*w.size(0)*kernels.Lanes])
		for g := range groups {
			w.g.net.ISA().PlanesBack(&w.sc, p.lists[g], p.states[g], w.group(w.v[1], 1, g), w.group(p.y, 0, g), w.group(p.g, 0, g), p.factor, p.tiny, lift, &sums[g])
		}
	}
	if p.solve {
		for g := range groups {
			p.lists[g].Settle(p.states[g], w.group(p.y, 0, g))
		}
	}
	for k := range p.settle {
		var ignored [maxGroups]kernels.RelaxSums
		step(k == 0, ignored[:])
	}
	step(p.settle == 0, w.sums[:groups])
	p.next(w)
}

// next prepares for the next pass.
func (p *planes) next(w *linearWorker) {
	if p.settle, p.solve = 0, false; w.plain { // a checker finds θ anew
		p.settle = settling
	}
}

// hand adds p.g to the rows on the input.
func (p *planes) hand(w *linearWorker, groups int) {
	w.begun(0, groups)
	f := w.first.(*firstLayer)
	for g := range groups {
		v, add, tmp := w.group(w.v[0], 0, g), w.group(p.g, 0, g), w.group(w.tmp, 0, 0)
		w.relaxGroup(tmp, add, 0, g, f.centres, nil)
		w.g.net.ISA().Add(v, add, kernels.None, nil)
		w.relaxGroup(tmp, v, 0, g, f.sums, nil)
	}
}

// lane returns lane vector k.
func lane(v []float32, k int) []float32 { return v[k*kernels.Lanes:][:kernels.Lanes] }

// keep keeps y and θ of the lanes that are better.
func (p *planes) keep(w *linearWorker, groups int) {
	for g := range groups {
		better := &w.ascent.better[g]
		copyLanes(w.group(p.best, 0, g), w.group(p.y, 0, g), better)
		for k := range p.lists[g].Len() {
			copyLanes(lane(p.theta[g], k), p.lists[g].Theta(p.states[g], k), better)
		}
	}
}

// ahead finds the values behind the planes at the minimising inputs.
func (p *planes) ahead(w *linearWorker, groups int) {
	for g := range groups {
		w.g.net.ISA().PlanesAhead(&w.sc, p.lists[g], p.states[g], w.group(p.post, 1, g), w.group(p.y, 0, g), w.group(w.v[0], 0, g))
	}
}

// pass gives the neurons their values behind the planes.
func (p *planes) pass(w *linearWorker, groups int) {
	p.ahead(w, groups)
	p.give(w, groups)
}

// give gives the neurons what ahead found.
func (p *planes) give(w *linearWorker, groups int) {
	for g := range groups {
		z, post, list := w.group(w.ascent.z[1], 1, g), w.group(p.post, 1, g), p.lists[g]
		for k := range list.Len() {
			at := list.Lane(k)
			to, from := lane(z, at), lane(post, at)
			for l, c := range list.Coefficients(p.states[g], k) {
				if c < 0 {
					to[l] = from[l]
				}
			}
		}
	}
}

// value is what ahead found of a neuron.
func (p *planes) value(w *linearWorker, g, at int) []float32 {
	return lane(w.group(p.post, 1, g), at)
}

// move takes y nearer to the minimising inputs.
func (p *planes) move(w *linearWorker, groups, step int) {
	for g := range groups {
		y, v := w.group(p.y, 0, g), w.group(w.v[0], 0, g)
		var rates [kernels.Lanes]float32
		for l := range rates {
			rates[l] = 1 / (float32(step+2) + p.begun[g*kernels.Lanes+l])
		}
		for k := range len(v) / kernels.Lanes {
			to := lane(y, k)
			for l, x := range lane(v, k) {
				to[l] += float32(rates[l] * (float32(math.Copysign(1, float64(-x))) - to[l]))
			}
		}
	}
}

// restore gives the rows on the first layer what was taken off them.
func (p *planes) restore(w *linearWorker, groups int) {
	for g := range groups {
		v, list := w.group(w.v[1], 1, g), p.lists[g]
		for k := range list.Len() {
			to := lane(v, list.Lane(k))
			for l, c := range list.Coefficients(p.states[g], k) {
				to[l] += c
			}
		}
	}
}
