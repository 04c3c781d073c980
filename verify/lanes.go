package verify

import (
	"math"
	"slices"

	"github.com/epsball/epsball/kernels"
	"github.com/epsball/epsball/net"
)

// imageLanes bounds up to eight images at once by CROWN-IBP, one a lane, with the buffers of
// its worker: intervals go forward in lanes, and then rows go backward, a group being one row
// of the goal for all of the images. So nine rows of eight images take nine groups, where
// image by image they take sixteen.
//
// Each lane computes what a linearWorker does for that image, operation by operation: the bits
// of a bound do not depend on which images go together, or whether any do.
type imageLanes struct {
	w      *linearWorker
	maps   laneMaps
	lo, hi [][]float32 // of each activation: its box, [H][W][C][Lanes]
	params [][]float32 // of each node, as RelaxEach has them
	stop   [][]float32 // of activations: parameters of boxes where rows may stop; nil elsewhere

	c, r, m                []float32 // of a source: centre, radius, magnitude
	cOut, rOut, vOut, dOut []float32
	less                   [kernels.Lanes]float64 // underflow of all nodes
	low                    [kernels.Lanes][]float32
	goals                  [kernels.Lanes]goal
}

// laneParams are the parameters of a neuron, as RelaxEach has them.
type laneParams [kernels.RelaxParams * kernels.Lanes]float32

// laneMaps are those of each node on lanes.
type laneMaps []struct {
	ahead *kernels.Linear // W from b
	abs   *kernels.Linear // |W| from e of step 2
	v     *kernels.Linear // the same |W| from |b|
}

// bytes is the memory of what no relaxAffine counts.
func (m laneMaps) bytes() int {
	n := 0
	for i := range m {
		n += m[i].abs.Bytes()
	}
	return n
}

// onLanes reports whether images may go together: all nodes are dense layers, none behind the
// rows of the goal bends, and the network is compiled for lanes.
func (g *graph) onLanes() bool {
	return !g.whole && g.net.HasLanes() && !g.nodes[len(g.nodes)-1].relu
}

// packLanes packs what imageLanes needs, once.
func (g *graph) packLanes() {
	g.packAhead()
	g.lanes.Do(func() {
		maps := make(laneMaps, len(g.nodes))
		for i := range maps {
			o := g.nodes[i].op.(*relaxAffine)
			b := o.affine.B
			abs := newLanes(g.net, o.shape, o.affine.Weights(), o.interval.radiusBias(b), true)
			maps[i].ahead, maps[i].abs, maps[i].v = o.ahead, abs, abs.Biased(absAll(b))
		}
		g.laneMaps = maps
	})
}

func newImageLanes(w *linearWorker) *imageLanes {
	g := w.g
	p := &imageLanes{w: w, maps: g.laneMaps.(laneMaps), stop: make([][]float32, len(g.maps))}
	alloc := func(n int) []float32 { return kernels.Alloc(n * kernels.Lanes) }
	largest := 0
	for a, m := range g.maps {
		n := m.size()
		largest = max(largest, n)
		p.lo, p.hi = append(p.lo, alloc(n)), append(p.hi, alloc(n))
		if a > 0 {
			p.params = append(p.params, alloc(n*kernels.RelaxParams))
		}
	}
	for _, a := range append(g.stopsOf(), 0) {
		p.stop[a] = alloc(g.maps[a].size() * kernels.RelaxParams)
	}
	for _, b := range []*[]float32{&p.c, &p.r, &p.m, &p.cOut, &p.rOut, &p.vOut, &p.dOut} {
		*b = alloc(largest)
	}
	return p
}

// load puts an image, a box, into a lane.
func (p *imageLanes) load(lane int, a *area, s goal) {
	w := p.w
	in := w.g.net.Input()
	size := in.Size()
	lo, hi, centre := w.c[:size], w.r[:size], w.m[:size]
	w.scaling.load(a, lo, hi, centre)
	net.LaneGroups.Pack(p.lo[0], lo, in, lane)
	net.LaneGroups.Pack(p.hi[0], hi, in, lane)
	p.goals[lane] = s
	p.less[lane] = keep(termUnderflow, eta*8*float64(size))
}

// bound bounds the rows of the loaded images' goals. It reports whether it came to the end.
func (p *imageLanes) bound(t *attempt, rows int) bool {
	w := p.w
	w.frame = nil // what it knows of sparse rows is gone
	w.plain = t.plain
	for l := range p.low {
		p.low[l] = append(p.low[l][:0], make([]float32, rows)...)
	}
	for i := range w.g.nodes {
		if t.stopped() {
			return false
		}
		p.forward(i)
	}
	for a, q := range p.stop {
		if q != nil {
			inputLanes(q, p.lo[a], p.hi[a])
		}
	}
	last := len(w.g.nodes) - 1
	atOnce := w.begin(last, w.g.maps[last+1].full())
	for from := 0; from < rows; from += atOnce {
		if t.stopped() {
			return false
		}
		p.prove(from, min(rows, from+atOnce))
	}
	return true
}

// forward is linearWorker's, of node i, and its settle.
func (p *imageLanes) forward(i int) {
	w, d, maps := p.w, &p.w.g.nodes[i], &p.maps[i]
	o := d.op.(*relaxAffine)
	n := len(p.lo[o.affine.Src])
	c, r, m := p.c[:n], p.r[:n], p.m[:n]
	copy(c, p.lo[o.affine.Src])
	copy(r, p.hi[o.affine.Src])
	var sumM, sumZ [kernels.Lanes]float64
	var mixed [kernels.Lanes]bool // of lanes with numbers below 0; if plain, all
	for k := 0; k < n; k += kernels.Lanes {
		c, r, m := (*[kernels.Lanes]float32)(c[k:]), (*[kernels.Lanes]float32)(r[k:]), (*[kernels.Lanes]float32)(m[k:])
		for l := range m {
			mixed[l] = mixed[l] || w.plain || !(c[l] >= 0)
			v := max(abs32(c[l]), abs32(r[l]))
			m[l] = v
			sumM[l] += float64(v)
		}
	}
	w.g.net.ISA().IntervalBox(&w.sc, c, r, o.interval.interval(false))
	maps.ahead.Apply(&w.sc, p.cOut, c, 1, kernels.None, nil)
	maps.abs.Apply(&w.sc, p.rOut, r, 1, kernels.None, nil)
	maps.v.Apply(&w.sc, p.vOut, m, 1, kernels.None, nil)
	if !w.plain {
		maps.ahead.Apply(&w.sc, p.dOut, m, 1, kernels.None, nil)
	}
	p.settle(i, o, &mixed, &sumZ)
	neurons := w.g.maps[i+1].size()
	for l := range p.less {
		p.less[l] += d.rounding.underflow(sumM[l], sumZ[l], neurons)
	}
}

// settle is linearWorker's sumsOf and settle.
func (p *imageLanes) settle(i int, o *relaxAffine, mixed *[kernels.Lanes]bool, sumZ *[kernels.Lanes]float64) {
	w, d, a := p.w, &p.w.g.nodes[i], o.affine
	ofMixed, _, _ := d.rounding.errors(w.rest, a.B, false)
	ofBySign, ofD, ofSkip := d.rounding.errors(w.rest, a.B, true)
	ofLate := keep(termSkipBox, d.rounding.exec*(1+slack))
	rest := w.rest[:len(a.B)]
	use := w.sparse[i].room(w.g.maps[i+1].size())
	ch := 0
	for k := range w.g.maps[i+1].size() {
		at := k * kernels.Lanes
		c, r, v := (*[kernels.Lanes]float32)(p.cOut[at:]), (*[kernels.Lanes]float32)(p.rOut[at:]), (*[kernels.Lanes]float32)(p.vOut[at:])
		outLo, outHi := (*[kernels.Lanes]float32)(p.lo[i+1][at:]), (*[kernels.Lanes]float32)(p.hi[i+1][at:])
		q := (*laneParams)(p.params[i][k*len(laneParams{}):])
		used := false
		for lane := range c {
			l, h := c[lane]-r[lane], c[lane]+r[lane]
			l -= float32(abs32(l)*relStep) + float32(tiny)
			h += float32(abs32(h)*relStep) + float32(tiny)
			v := float64(v[lane])
			e := float64(ofBySign*v) + float64(ofD*(v+float64(abs32(p.dOut[at+lane])))) + rest[ch]
			if mixed[lane] {
				e = float64(ofMixed*v) + rest[ch]
			}
			if a.Skip >= 0 {
				sl, sh := float64(p.lo[a.Skip][at+lane]), float64(p.hi[a.Skip][at+lane])
				m := max(math.Abs(sl), math.Abs(sh))
				late := float64(ofLate * m)
				l, h = widenOut(float64(l)+sl-late, float64(h)+sh+late)
				e += float64(ofSkip * m)
			}
			q[kernels.RelaxBias*kernels.Lanes+lane], q[kernels.RelaxError*kernels.Lanes+lane] = a.B[ch], float32(float64(e*(1+slack)))
			sumZ[lane] += max(-float64(l), float64(h))
			low, up, t := float32(1), float32(1), float32(0)
			switch {
			case !d.relu || l >= 0:
			case h <= 0:
				low, up, l, h = 0, 0, 0, 0
			default:
				low, up, t = reluLines(l, h)
				l = max(l, 0)
			}
			q[kernels.RelaxLower*kernels.Lanes+lane], q[kernels.RelaxUpper*kernels.Lanes+lane], q[kernels.RelaxIntercept*kernels.Lanes+lane] = low, up, t
			outLo[lane], outHi[lane] = l, h
			used = used || low != 0 || up != 0
		}
		use[k] = used
		if ch++; ch == len(rest) {
			ch = 0
		}
	}
	w.choose(i, o)
}

func abs32(v float32) float32 { return math.Float32frombits(math.Float32bits(v) &^ signBit) }

// inputLanes is inputParams for lanes.
func inputLanes(p, lo, hi []float32) {
	ofC := keep(termInput, gammaChain)
	for k := 0; k < len(lo); k += kernels.Lanes {
		q := (*laneParams)(p[k*kernels.RelaxParams:])
		for l := range kernels.Lanes {
			low, high := float64(lo[k+l]), float64(hi[k+l])
			c := float32((low + high) / 2)
			r := max(high-float64(c), float64(c)-low)
			q[kernels.RelaxLower*kernels.Lanes+l], q[kernels.RelaxUpper*kernels.Lanes+l], q[kernels.RelaxIntercept*kernels.Lanes+l] = 1, 1, 0
			q[kernels.RelaxBias*kernels.Lanes+l], q[kernels.RelaxError*kernels.Lanes+l] = c, over(r+float64(ofC*math.Abs(float64(c))))
		}
	}
}

// prove bounds rows from … to − 1 of all images, which go backward at once: a group each.
func (p *imageLanes) prove(from, to int) {
	w := p.w
	last := len(w.g.nodes) - 1
	end, m, groups := &w.g.nodes[last], w.g.maps[last+1], to-from
	for g := range groups {
		w.place(g)
	}
	clear(w.v[last+1][:groups*m.size()*kernels.Lanes])
	w.started[last+1] = true
	for g := range groups {
		for l := range p.goals {
			w.sums[g].B[l] = p.goals[l].fill(w.group(w.v[last+1], last+1, g), l, from+g, m)
		}
	}
	for l := range p.low {
		for j := from; j < to; j++ {
			p.low[l][j] = float32(math.Inf(-1))
		}
	}
	for i := last; i >= 0; i-- {
		if !w.started[i+1] {
			continue
		}
		p.relax(w.v[i+1], w.v[i+1], i+1, groups, p.params[i])
		w.started[i+1] = false
		w.g.nodes[i].op.back(w.rows, i, w.v[i+1], groups)
		if i == last && end.stops {
			p.raise(groups, from, end.in)
		}
	}
	p.raise(groups, from, []int{0})
}

// relax takes groups of rows backward through the lines of activation a. (All groups have the
// window of the first.)
func (p *imageLanes) relax(dst, v []float32, a, groups int, params []float32) {
	w := p.w
	run, at := w.runOf(a, 0)
	w.g.net.ISA().RelaxEach(&w.sc, dst, v, params[at*kernels.RelaxParams*kernels.Lanes:], run, w.sums[:groups])
}

// raise raises low to the bounds of the rows over the boxes of the activations acts, all that
// they have coefficients on.
func (p *imageLanes) raise(groups, from int, acts []int) {
	w, before := p.w, p.w.sums
	for k, a := range acts {
		if !slices.Contains(acts[:k], a) {
			p.relax(w.tmp, w.v[a], a, groups, p.stop[a])
		}
	}
	for g := range groups {
		for l := range p.low {
			low := &p.low[l][from+g]
			*low = max(*low, down32(rowLow(&w.sums[g], l, 0, p.less[l])))
		}
	}
	w.sums = before
}
