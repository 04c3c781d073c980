package verify

import (
	"math"

	"github.com/epsball/epsball/kernels"
	"github.com/epsball/epsball/net"
)

// relaxMean is the mean of each window.
//
// 10b. A mean of n pixels is an affine layer with weights 1/n, a bias of 0 and T ≥ n + 1:
// an execution takes each pixel through n − 1 sums and a division, or a product with a
// rounded 1/n. So 8 and 10 hold with V = mean(M). The kernel computes that, the means of
// l and of h by n − 1 sums and a division, each within γ_{n+1}·mean(M) + η of its exact
// value; a mean grows with its pixels, so all traces are between
//
//	mean(l) − γ_{n+1}V′ − (γ_T·V′ + Kη),  V′ = (V + η)(1 + 2γ_{n+1}),
//
// and the same above h. Backward a coefficient is divided once and added to those of at
// most W = ⌈KH/SH⌉·⌈KW/SW⌉ windows, n of 10 being W + 1.
type relaxMean struct {
	sliding kernels.Sliding
	pool    *kernels.Pooling
	counted bool // padding counts
	placed  bool // the number of a window's pixels depends on where it lies
}

func newRelaxMean(g *graph, p *net.Pool) *relaxMean {
	s := p.Sliding
	return &relaxMean{s, kernels.NewAvgPool(g.net.ISA(), s, p.CountPadding), p.CountPadding, !p.CountPadding && s.PadH+s.PadW > 0}
}

func (o *relaxMean) reads(_ int, w kernels.Window) kernels.Window { return o.sliding.Reads(w) }

func (o *relaxMean) key(sig []int, w kernels.Window) []int {
	k, at := o.sliding.Same(w, o.sliding.Reads(w)), o.at(w)
	return append(append(sig, k[:]...), at[0], at[1])
}

func (o *relaxMean) at(w kernels.Window) (at [2]int) {
	if o.placed {
		at = [2]int{w.Y0, w.X0}
	}
	return at
}

func (o *relaxMean) forward(w *linearWorker, i int) {
	d := &w.g.nodes[i]
	src := d.in[0]
	m, sumM := w.m[:len(w.actLo[src])], 0.0
	for k, l := range w.actLo[src] {
		m[k] = max(float32(math.Abs(float64(l))), float32(math.Abs(float64(w.actHi[src][k]))))
		sumM += float64(m[k])
	}
	o.pool.Apply(&w.sc, w.cOut, w.actLo[src], 1, 1)
	o.pool.Apply(&w.sc, w.rOut, w.actHi[src], 1, 1)
	o.pool.Apply(&w.sc, w.vOut, m, 1, 1)
	n := float64(o.sliding.Taps())
	d.rounding.errors(w.rest[:1], zeroBias, false)
	ofV := (keep(termExecuted, d.rounding.exec) + keep(termBack, d.rounding.back)) * (1 + slack) * d.rounding.chain
	ofBox := keep(termMeanBox, 2*d.rounding.exec*(1+slack)*d.rounding.chain)
	sumZ := 0.0
	for k := range w.lo[i] {
		v := float64(w.vOut[k]) + eta
		wide := float64(ofBox*v) + (2*n+4)*eta
		l, h := widenOut(float64(w.cOut[k])-wide, float64(w.rOut[k])+wide)
		w.lo[i][k], w.hi[i][k] = l, h
		setParams(w.params[i][k*kernels.RelaxParams:], 1, 1, 0, 0, over(float64(ofV*v)+w.rest[0]))
		sumZ += max(-float64(l), float64(h))
	}
	w.less += d.rounding.underflow(sumM, sumZ, len(w.lo[i]))
}

var zeroBias = []float32{0}

func (o *relaxMean) back(r *rows, i int, v []float32, groups int) {
	src, w := r.g.nodes[i].in[0], r.placed[0][i+1]
	reads := o.sliding.Reads(w)
	dst, alone := r.room(src, reads)
	p := o.pool
	if w != r.g.maps[i+1].full() || reads != r.g.maps[src].full() {
		p = r.g.meanOn(p, slideKey{shape: o.sliding, mean: true, counted: o.counted, adjoint: true, windows: o.sliding.Same(w, reads), at: o.at(w)}, w, reads)
	}
	p.Gradient(&r.sc, dst, v, nil, nil, groups, kernels.Lanes)
	if !alone {
		r.add(src, reads, dst, groups)
	}
}

func (o *relaxMean) values(r *rows, a *ascent, i, groups int) {
	src, out := r.g.nodes[i].in[0], r.placed[0][i+1]
	in := r.placed[0][src]
	k := slideKey{shape: o.sliding, mean: true, counted: o.counted, windows: o.sliding.Same(out, in), reads: offsets(in, o.sliding.Reads(out)), at: o.at(out)}
	r.g.meanOn(o.pool, k, out, in).Apply(&r.sc, a.z[i+1], a.z[src], groups, kernels.Lanes)
}

// meanOn returns p.Windowed(out, in), which is that of k.
func (g *graph) meanOn(p *kernels.Pooling, k slideKey, out, in kernels.Window) *kernels.Pooling {
	s := g.slides.get(&k)
	if s == nil {
		s = &slidePlan{mean: p.Windowed(out, in)}
		g.slides.put(&k, s)
	}
	return s.mean
}

// relaxMax is the maximum of each window.
//
// 9a. A maximum is exact, executed or not. Let xᵢ be the pixel with the largest upper
// bound, the first of equals, and b the largest upper bound of the others. If lᵢ ≥ b, the
// output is xᵢ in all traces. Else
//
//	xⱼ ≤ max(x) ≤ max(xᵢ, b) ≤ s·xᵢ + t
//
// for any j, and for any s and t with s·lᵢ + t ≥ b, s·hᵢ + t ≥ hᵢ, for max(xᵢ, b) is convex
// in xᵢ. j is the first pixel whose l + h is the largest, but for a thousandth of the
// output's width, so that rounding does not choose: the middle of what the output may be
// is then closest to its lower plane's. With s about (hᵢ − b)/(hᵢ − lᵢ), in [0, 1], t is
// computed from the rounded s in float64 and rounded up. It has either sign, so n·t is
// added as 9b says.
//
// Backward a coefficient p goes to xⱼ as it is, n as fl(ns) to xᵢ, |fl(ns) − ns| ≤ u|fl(ns)|
// + η/2. A pixel that belongs to several windows, and whose activation has R readers, adds
// them up: E = γ_{n+R}·M with the larger M of both, n being W + 1.
type relaxMax struct {
	sliding kernels.Sliding
	pool    *kernels.Pooling
	from    extent
	to      extent
}

// pick says which pixels the planes of an output go through.
type pick struct{ lowY, lowX, highY, highX int32 }

func newRelaxMax(g *graph, p *net.Pool) *relaxMax {
	s := p.Sliding
	return &relaxMax{s, kernels.NewMaxPool(g.net.ISA(), s), extent{s.InH, s.InW, s.C}, extent{s.OutH(), s.OutW(), s.C}}
}

func (o *relaxMax) reads(_ int, w kernels.Window) kernels.Window { return o.sliding.Reads(w) }

func (o *relaxMax) key(sig []int, w kernels.Window) []int {
	k := o.sliding.Same(w, o.sliding.Reads(w))
	return append(sig, k[:]...)
}

// window is the pixels of an output's window.
type maxWindow struct{ y0, y1, x0, x1 int }

func (o *relaxMax) window(y, x int) maxWindow {
	w := o.sliding.Reads(kernels.Window{Y0: y, Y1: y + 1, X0: x, X1: x + 1})
	return maxWindow{w.Y0, w.Y1, w.X0, w.X1}
}

// ends returns the first element of the largest upper bound in a window of channel c,
// the largest of the others' upper bounds, −Inf if there are none, and the largest lower
// bound; NaN and Inf give NaN.
func (o *relaxMax) ends(w maxWindow, c int, lo, hi []float32) (first int, second, low float32) {
	first = -1
	second, low = float32(math.Inf(-1)), float32(math.Inf(-1))
	bad := float32(0)
	for y := w.y0; y < w.y1; y++ {
		for x := w.x0; x < w.x1; x++ {
			k := (y*o.from.w+x)*o.from.c + c
			l, h := lo[k], hi[k]
			bad += (l - l) + (h - h)
			low = max(low, l)
			switch {
			case first < 0:
				first = k
			case h > hi[first]:
				first, second = k, hi[first]
			default:
				second = max(second, h)
			}
		}
	}
	return first, second + bad, low + bad
}

// centre returns the first element of the largest l + h, but for a part of the width.
func (o *relaxMax) centre(w maxWindow, c int, lo, hi []float32, width float64) int {
	most := math.Inf(-1)
	for pass := range 2 {
		for y := w.y0; y < w.y1; y++ {
			for x := w.x0; x < w.x1; x++ {
				k := (y*o.from.w+x)*o.from.c + c
				sum := float64(lo[k]) + float64(hi[k])
				if pass == 0 {
					most = max(most, sum)
				} else if sum >= most-width*0x1p-10 {
					return k
				}
			}
		}
	}
	return (w.y0*o.from.w+w.x0)*o.from.c + c // of NaN
}

func (o *relaxMax) forward(w *linearWorker, i int) {
	d := &w.g.nodes[i]
	src := d.in[0]
	lo, hi := w.actLo[src], w.actHi[src]
	outLo, outHi, par, picks := w.lo[i], w.hi[i], w.params[i], w.picks[i]
	ofM := keep(termBack, d.rounding.back)
	sumM, k := 0.0, 0
	for y := range o.to.h {
		for x := range o.to.w {
			win := o.window(y, x)
			for c := range o.to.c {
				first, second, low := o.ends(win, c, lo, hi)
				l, h := lo[first], hi[first]
				j, s, t := first, float32(1), float32(0)
				if !(l >= second) { // NaN goes on
					j = o.centre(win, c, lo, hi, float64(h)-float64(low))
					s, t = maxPlane(float64(l), float64(h), float64(second))
					h += second - second
				}
				outLo[k], outHi[k] = low, h
				m := max(math.Abs(float64(l)), math.Abs(float64(h)), math.Abs(float64(lo[j])), math.Abs(float64(hi[j])))
				setParams(par[k*kernels.RelaxParams:], 1, s, t, 0, over(float64(ofM*m)))
				q, p := j/o.from.c, first/o.from.c
				picks[k] = pick{int32(q / o.from.w), int32(q % o.from.w), int32(p / o.from.w), int32(p % o.from.w)}
				sumM += m
				k++
			}
		}
	}
	copy(w.actLo[i+1], outLo)
	copy(w.actHi[i+1], outHi)
	w.less += d.rounding.underflow(2*sumM, sumM, len(outLo))
}

// maxPlane returns s and t of 9a.
func maxPlane(l, h, b float64) (s, t float32) {
	s = float32(max(0, min(1, (h-b)/(h-l))))
	c := float64(s)
	return s, intercept(max(above(b, float64(c*l)), above(h, float64(c*h))))
}

// open marks the pixels of windows without a largest one that may be the largest.
func (o *relaxMax) open(lo, hi []float32, mark []bool) {
	for y := range o.to.h {
		for x := range o.to.w {
			win := o.window(y, x)
			for c := range o.to.c {
				first, second, low := o.ends(win, c, lo, hi)
				if lo[first] >= second {
					continue
				}
				for py := win.y0; py < win.y1; py++ {
					for px := win.x0; px < win.x1; px++ {
						if k := (py*o.from.w+px)*o.from.c + c; hi[k] > low && lo[k] < hi[k] {
							mark[k] = true
						}
					}
				}
			}
		}
	}
}

func (o *relaxMax) back(r *rows, i int, v []float32, groups int) {
	src := r.g.nodes[i].in[0]
	par, picks := r.params[i], r.picks[i]
	r.begun(src, groups)
	for g := range groups {
		from, dst := r.group(v, i+1, g), r.group(r.v[src], src, g)
		all := r.placed[g][src]
		s := &r.sums[g]
		r.each(g, i+1, func(at, k int) {
			p := picks[k]
			c := k % o.to.c
			low := ((int(p.lowY)-all.Y0)*all.W() + int(p.lowX) - all.X0) * o.to.c
			high := ((int(p.highY)-all.Y0)*all.W() + int(p.highX) - all.X0) * o.to.c
			q := (*[kernels.RelaxParams]float32)(par[k*kernels.RelaxParams:])
			lowTo, highTo := dst[(low+c)*kernels.Lanes:][:kernels.Lanes], dst[(high+c)*kernels.Lanes:][:kernels.Lanes]
			bendLanes(from[at*kernels.Lanes:], q, lowTo, highTo, s)
		})
	}
}

func (o *relaxMax) values(r *rows, a *ascent, i, groups int) {
	src := r.g.nodes[i].in[0]
	picks, par := r.picks[i], r.params[i]
	for g := range groups {
		z, from, v := r.group(a.z[i+1], i+1, g), r.group(a.z[src], src, g), r.group(r.v[i+1], i+1, g)
		all := r.placed[g][src]
		r.each(g, i+1, func(at, k int) {
			p := picks[k]
			c := k % o.to.c
			low := ((int(p.lowY)-all.Y0)*all.W()+int(p.lowX)-all.X0)*o.to.c + c
			high := ((int(p.highY)-all.Y0)*all.W()+int(p.highX)-all.X0)*o.to.c + c
			q := par[k*kernels.RelaxParams:]
			for l := range kernels.Lanes {
				if v[at*kernels.Lanes+l] > 0 {
					z[at*kernels.Lanes+l] = from[low*kernels.Lanes+l]
				} else {
					z[at*kernels.Lanes+l] = float32(q[kernels.RelaxUpper]*from[high*kernels.Lanes+l]) + q[kernels.RelaxIntercept]
				}
			}
		})
	}
}
