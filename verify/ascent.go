package verify

import (
	"math"

	"github.com/epsball/epsball/kernels"
	"github.com/epsball/epsball/model"
	"github.com/epsball/epsball/net"
)

// ascent optimises the lower slopes α of rows by projected gradient steps (Xu et al.
// 2021). Any α in [0, 1] gives a sound bound: what happens here decides how tight it
// is, nothing else. (Of a LeakyReLU: in [f, 1]. Lines of other nodes stay as they are.)
//
// A bound is the minimum of a function of the input that is linear between the ReLUs'
// lines; its derivative to α of a neuron with coefficient λ is max(λ, 0)·z, z being
// the neuron's value at the minimising input in the network of these lines. So a step
// is a pass backward, one forward from that input, and an update by Adam.
type ascent struct {
	alpha, m, s [][]float32 // of each activation: [group][window], eight rows each
	out         [][]float32 // coefficients after the ReLU; v keeps those before it
	z           [][]float32 // values at the minimising inputs
	used        []bool
	kept        [][]float32 // slopes of the best bounds, for a proof; else nil
	best        [maxGroups][kernels.Lanes]float64
	better      [maxGroups][kernels.Lanes]bool // by the last step
	forward     kernels.Linear                 // in use
}

// rider is what goes along with rows, of which it takes some neurons: leafRun. (As an
// interface, so that programs without branch and bound do not carry it.)
type rider interface {
	start(node int)
	lift(node, step int)
	put(node int)
	hand(node int)
	multipliers() bool
	keep(better *[maxGroups][kernels.Lanes]bool)
	climb(node int, rate, scale float32)
	pass(node int)
	judge(from, groups int)
}

const (
	stepSize  = 0.25
	stepDecay = 0.96
	beta1     = 0.9
	beta2     = 0.98
)

func newAscent(r *rows) *ascent {
	a := &ascent{used: make([]bool, len(r.v))}
	for _, v := range r.v {
		alloc := func() []float32 { return kernels.Alloc(len(v)) }
		a.alpha, a.m, a.s = append(a.alpha, alloc()), append(a.m, alloc()), append(a.s, alloc())
		a.out, a.z = append(a.out, alloc()), append(a.z, alloc())
	}
	return a
}

// ascend bounds groups of rows that start at the outputs of node from or before, as
// begin sets them up, by steps gradient steps. row is the first of the goal's rows that they
// are, or −1: then it stops early and keeps slopes as the attempt asks for. low then
// holds the best bounds.
func (w *linearWorker) ascend(t *attempt, from, groups, steps, row int, begin func()) {
	r, a := w.rows, w.ascent
	early := row >= 0 && t.early
	keep := row >= 0 && (t.proof != nil || t.domain != nil || t.leaves != nil && steps > 0)
	clear(a.used)
	for i := range groups {
		for l := range kernels.Lanes {
			a.best[i][l] = math.Inf(-1)
		}
	}
	planes := w.planes
	if planes != nil {
		var kept [][]float32
		if t.domain != nil && row >= 0 {
			kept = t.domain.planes
		}
		if !planes.begin(w, from, groups, row, kept) { // attempts are values: they would go to the heap
			planes = nil
		}
	}
	rate, decay1, decay2 := stepSize, 1.0, 1.0 // powers; math.Pow is not the same everywhere
	decay := stepDecay
	if t.leaves != nil {
		decay = max(decay, 1-5/float64(max(1, steps))) // long searches end as others do, too
	}
	for step := 0; ; step++ {
		clear(r.started)
		begin()
		for i := from; i >= 0; i-- {
			if !r.started[i+1] {
				continue
			}
			if step == 0 {
				r.initial(a, i, groups)
				if row < 0 && t.warm != nil {
					t.warm.recall(w, from+1, i, groups)
				}
				if row >= 0 && t.domain != nil {
					t.domain.startSlopes(w, i, groups, row)
				}
				if t.leaves != nil {
					t.leaves.start(i)
				}
			}
			if t.leaves != nil {
				t.leaves.lift(i, step)
			}
			if i == 0 && planes != nil {
				planes.back(w, groups)
			}
			r.bend(i, a.out[i+1], groups, a.alpha[i+1])
			if t.leaves != nil {
				t.leaves.put(i)
			}
			r.started[i+1] = false
			r.g.nodes[i].op.back(r, i, a.out[i+1], groups)
			if t.leaves != nil {
				t.leaves.hand(i)
			}
			if i == 0 && planes != nil {
				planes.hand(w, groups)
			}
		}
		r.finish(groups)
		done := early
		clear(a.better[:groups])
		for i := range groups {
			for l, v := range r.low[i] {
				if v > a.best[i][l] || step == 0 { // −Inf, too, is proved with some slopes
					a.best[i][l], a.better[i][l] = v, true
				}
				done = done && a.best[i][l] > 0
			}
		}
		if keep {
			for i := range groups {
				r.keep(a, i)
			}
			if t.leaves != nil {
				t.leaves.keep(&a.better)
			}
			if planes != nil {
				planes.keep(w, groups)
			}
		}
		if step == steps || done || t.stopped() || step == 0 && !r.searched(a, t.leaves) {
			break
		}
		r.corners(a, groups)
		decay1, decay2 = float64(decay1*beta1), float64(decay2*beta2)
		c1, c2 := 1-decay1, 1-decay2
		for i := range from + 1 {
			if a.used[i+1] {
				r.g.nodes[i].op.values(r, a, i, groups)
				if t.leaves != nil {
					t.leaves.climb(i, float32(rate/c1), float32(1/c2))
				}
				r.update(a, i, groups, float32(rate/c1), float32(1/c2))
				if t.leaves != nil {
					t.leaves.pass(i)
				}
				if i == 0 && planes != nil && from > 0 {
					planes.pass(w, groups)
				}
			}
		}
		if planes != nil {
			planes.move(w, groups, step)
		}
		rate = float64(rate * decay)
	}
	if t.leaves != nil {
		t.leaves.judge(from, groups)
	}
	copy(r.low[:groups], a.best[:groups])
}

// searched reports whether steps change anything: slopes of a node that rows pass, or multipliers.
func (r *rows) searched(a *ascent, leaves rider) bool {
	if leaves != nil && leaves.multipliers() {
		return true
	}
	for i := range r.g.nodes {
		if d := &r.g.nodes[i]; a.used[i+1] && d.lines == kernelLines && (d.relu || d.bent) {
			return true
		}
	}
	return false
}

var allLanes = [kernels.Lanes]bool{true, true, true, true, true, true, true, true}

// keep copies the slopes of those lanes of group g that are better.
func (r *rows) keep(a *ascent, g int) {
	if a.kept == nil {
		for _, v := range a.alpha {
			a.kept = append(a.kept, kernels.Alloc(len(v)))
		}
	}
	for act, used := range a.used {
		if used {
			copyLanes(r.group(a.kept[act], act, g), r.group(a.alpha[act], act, g), &a.better[g])
		}
	}
}

// copyLanes copies some lanes of lane vectors.
func copyLanes(to, from []float32, lanes *[kernels.Lanes]bool) {
	if *lanes == allLanes {
		copy(to, from)
		return
	}
	for lane, b := range lanes {
		for k := lane; b && k < len(from); k += kernels.Lanes {
			to[k] = from[k]
		}
	}
}

// initial sets the slopes of node i to those of CROWN.
func (r *rows) initial(a *ascent, i, groups int) {
	a.used[i+1] = true
	n := groups * r.size(i+1) * kernels.Lanes
	clear(a.m[i+1][:n])
	clear(a.s[i+1][:n])
	for g := range groups {
		alpha := r.group(a.alpha[i+1], i+1, g)
		r.each(g, i+1, func(at, k int) {
			v := r.params[i][k*kernels.RelaxParams+kernels.RelaxLower]
			for l := range kernels.Lanes {
				alpha[at*kernels.Lanes+l] = v
			}
		})
	}
}

// each calls f for every neuron of the window of an activation: where it lies in the
// window and in the map.
func (r *rows) each(g, a int, f func(at, k int)) {
	w, m := r.placed[g][a], r.g.maps[a]
	at := 0
	for y := w.Y0; y < w.Y1; y++ {
		for k := (y*m.w + w.X0) * m.c; k < (y*m.w+w.X1)*m.c; k++ {
			f(at, k)
			at++
		}
	}
}

// corners finds the inputs that the bounds are attained at.
func (r *rows) corners(a *ascent, groups int) {
	for g := range groups {
		v, z := r.group(r.v[0], 0, g), r.group(a.z[0], 0, g)
		if r.norm == net.Linf {
			r.each(g, 0, func(at, k int) {
				p := r.input[k*kernels.RelaxParams:]
				c, e := p[kernels.RelaxBias], p[kernels.RelaxError]
				end := math.Float32bits(c - e)
				other := end ^ math.Float32bits(c+e)
				from, to := (*[kernels.Lanes]float32)(v[at*kernels.Lanes:]), (*[kernels.Lanes]float32)(z[at*kernels.Lanes:])
				for l := range from { // c - e, or with the sign bit set c + e
					minus := uint32(int32(math.Float32bits(from[l])) >> 31)
					to[l] = math.Float32frombits(end ^ other&minus)
				}
			})
			continue
		}
		r.dualCorners(g, v, z)
	}
}

// dualCorners is corners in the dual norm: x′ − x against μ/std, of length ε.
func (r *rows) dualCorners(g int, v, z []float32) {
	r.dualNorms(v)
	channels := r.g.maps[0].c
	r.each(g, 0, func(at, k int) {
		s := 1 / r.scaling.scale(k%channels)
		c := r.dual[k*kernels.RelaxParams+kernels.RelaxBias]
		for l, n := range r.norms {
			i := at*kernels.Lanes + l
			z[i] = c
			y := float64(v[i]) * s
			switch {
			case n == 0:
			case r.norm == net.L2:
				z[i] -= float32(r.eps * y / n * s)
			case math.Abs(y) == n:
				z[i] -= float32(math.Copysign(r.eps*s, y))
			}
		}
	})
}

// addValues adds the values of an activation to those of node i, on its window.
func (r *rows) addValues(a *ascent, i, act, groups int) {
	w, all, m := r.placed[0][i+1], r.placed[0][act], r.g.maps[act]
	n := w.W() * m.c * kernels.Lanes
	for g := range groups {
		z, s := r.group(a.z[i+1], i+1, g), r.group(a.z[act], act, g)
		for y := range w.H() {
			at := ((w.Y0+y-all.Y0)*all.W() + w.X0 - all.X0) * m.c * kernels.Lanes
			r.g.net.ISA().Add(z[y*n:][:n], s[at:at+n], kernels.None, nil)
		}
	}
}

// window copies the window w of an activation whose values are z.
func (r *rows) window(dst []float32, act int, w kernels.Window, z []float32, groups int) {
	all, m := r.placed[0][act], r.g.maps[act]
	n := w.W() * m.c * kernels.Lanes
	for g := range groups {
		from := r.group(z, act, g)
		for y := range w.H() {
			at := ((w.Y0+y-all.Y0)*all.W() + w.X0 - all.X0) * m.c * kernels.Lanes
			copy(dst[(g*w.H()+y)*n:][:n], from[at:])
		}
	}
}

// update moves the slopes of node i up their gradients and turns its values into
// those after its lines.
func (r *rows) update(a *ascent, i, groups int, rate, scale float32) {
	d := &r.g.nodes[i]
	if !d.relu && !d.bent || d.lines == ownLines {
		return
	}
	o, _ := d.op.(*relaxElementwise)
	for g := range groups {
		v, z := r.group(r.v[i+1], i+1, g), r.group(a.z[i+1], i+1, g)
		alpha, m, s := r.group(a.alpha[i+1], i+1, g), r.group(a.m[i+1], i+1, g), r.group(a.s[i+1], i+1, g)
		if d.lines == kernelLines && (o == nil || o.op.Kind == model.ReLU) {
			run, at := r.runOf(i+1, g)
			k := kernels.ClimbConstants{Beta1: beta1, Rest1: 1 - beta1, Beta2: beta2, Rest2: 1 - beta2, Rate: rate, Scale: scale, Tiny: 1e-12}
			r.g.net.ISA().ClimbSlopes(&r.sc, z, v, alpha, m, s, r.params[i][at*kernels.RelaxParams:], run, k)
			continue
		}
		r.each(g, i+1, func(at, k int) {
			p := r.params[i][k*kernels.RelaxParams:][:kernels.RelaxParams]
			up, t := p[kernels.RelaxUpper], p[kernels.RelaxIntercept]
			from, to := at*kernels.Lanes, (at+1)*kernels.Lanes
			if d.lines == generalLines {
				for l := from; l < to; l++ {
					if v[l] > 0 {
						z[l] = float32(p[kernels.RelaxLower]*z[l]) + p[kernels.RelaxBias]
					} else {
						z[l] = float32(up*z[l]) + t
					}
				}
				return
			}
			if t == 0 { // stable
				for l, x := range z[from:to] {
					z[from+l] = x * up
				}
				return
			}
			least := o.slope(k) // of a LeakyReLU: ClimbSlopes has the others
			for l := from; l < to; l++ {
				x, row := z[l], v[l]
				if !(row > 0) {
					z[l] = float32(up*x) + t
					continue
				}
				z[l] = alpha[l] * x
				grad := row * x
				m[l] = float32(beta1*m[l]) + float32((1-beta1)*grad)
				s[l] = float32(beta2*s[l]) + float32((1-beta2)*float32(grad*grad))
				step := float32(rate*m[l]) / (float32(math.Sqrt(float64(s[l]*scale))) + 1e-12)
				alpha[l] = min(max(alpha[l]+step, least), 1)
				if alpha[l] != alpha[l] {
					alpha[l] = least
				}
			}
		})
	}
}
