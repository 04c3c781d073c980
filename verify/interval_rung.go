package verify

import (
	"fmt"
	"math"

	"github.com/epsball/epsball/kernels"
	"github.com/epsball/epsball/net"
)

// intervalRung verifies labels by interval bound propagation in centre-radius form
// (Gowal et al. 2018), the last layer merged with the margins, sound in float32.
type intervalRung struct {
	*program // all nodes but one that is merged with the margins
	margins  marginRows
	pool     *kernels.Pool
	workers  []*intervalWorker // on lanes, one for each of the pool
	few      *intervalWorker   // on single images, its layers split over the pool
}

// newIntervalRung packs |W| of every layer, if the network is compiled for large
// batches.
func newIntervalRung(n *net.Network, pool *kernels.Pool) (*intervalRung, error) {
	nodes, last := n.Nodes(), mergeable(n)
	if last != nil {
		nodes = nodes[:len(nodes)-1]
	}
	p, err := newProgram(n, nodes, false)
	if err != nil {
		return nil, err
	}
	v := &intervalRung{program: p, pool: pool, margins: marginRows{outputs: n.Output()}}
	if last == nil {
		p.feed(0, rounding{})
		return v, nil
	}
	if v.margins, err = newMarginRows(n, last, extra(&n.Nodes()[last.Node], extraMargin)); err != nil {
		return nil, fmt.Errorf("layer %s: %w", last.Name, err)
	}
	p.feed(last.Src, v.margins.rounding)
	return v, nil
}

// lanes and singles make the workers for a kind of batch, when the first comes.
func (v *intervalRung) lanes() []*intervalWorker {
	for len(v.workers) < v.pool.Workers() {
		v.workers = append(v.workers, newIntervalWorker(v, net.LaneGroups, v.net.ISA().TileGroups()*kernels.Lanes, 1))
	}
	return v.workers
}

func (v *intervalRung) singles() *intervalWorker {
	if v.few == nil {
		v.few = newIntervalWorker(v, net.Singles, net.MaxSmall, v.pool.Workers())
	}
	return v.few
}

// run does the call's part for intervals, which chunk is, for chunks of its images that
// fit into a worker.
func (v *intervalRung) run(c *call, chunk func(c *call, w *intervalWorker, from, to int)) error {
	if v.net.Few(c.n) {
		for i := 0; i < c.n && c.ctx.Err() == nil; i += net.MaxSmall {
			chunk(c, v.singles(), i, min(i+net.MaxSmall, c.n))
		}
		return c.ctx.Err()
	}
	v.lanes()
	c.chunk, c.chunks = chunk, net.Chunks(v.net.ISA(), kernels.Groups(c.n), v.pool.Workers())
	v.pool.Run(c.chunks, c.onChunk)
	return c.ctx.Err()
}

// runChunk is a task of run.
func (c *call) runChunk(worker, task int) {
	if c.ctx.Err() != nil {
		return
	}
	from, to := net.Chunk(kernels.Groups(c.n), c.chunks, task)
	c.chunk(c, c.v.intervals.workers[worker], from*kernels.Lanes, min(to*kernels.Lanes, c.n))
}

// certifyChunk certifies images by intervals, those of one norm at once.
func certifyChunk(c *call, w *intervalWorker, from, to int) {
	for first := from; first < to; {
		norm, i := c.norm(first), first
		for ; i < to && c.norm(i) == norm; i++ {
			a := c.area(i)
			w.load(i-first, &a)
		}
		w.propagate(norm, i-first, nil)
		for k := first; k < i; k++ {
			m := w.margin(k-first, c.y[k])
			c.res.Margin[k], c.res.Certified[k], c.res.Done[k] = m, m > 0, true
		}
		first = i
	}
}

// nodes returns the intervals of the nodes for one region, and a lower bound of z_y −
// z_j for every j (+Inf at y). The last node's interval is missing where it is merged
// with the margins.
func (v *intervalRung) nodes(a *area, y int) ([]Interval, []float32) {
	var w *intervalWorker
	if v.net.Few(1) {
		w = v.singles()
	} else {
		w = v.lanes()[0]
	}
	var out []Interval
	w.load(0, a)
	w.propagate(a.norm, 1, func(i int, c, r []float32) { out = append(out, v.interval(i, c, r, int(w.layout))) })
	w.prepare(0)
	margins := make([]float32, v.margins.outputs.Size())
	for j := range margins {
		margins[j] = float32(math.Inf(1))
		if j != y {
			margins[j] = w.low(0, y, j)
		}
	}
	return out, margins
}

// interval turns what forward gives of node i for slot 0, whose elements lie stride
// apart, into bounds.
func (v *intervalRung) interval(i int, c, r []float32, stride int) Interval {
	s := &v.steps[i]
	m := s.node.Shape
	hw, form := m.H*m.W, s.form()
	iv := Interval{make([]float32, m.Size()), make([]float32, m.Size())}
	for p := range hw {
		for ch := range m.C {
			k := (p*m.C + ch) * stride
			lo, hi := c[k], r[k]
			if form != ends {
				lo, hi = endsOf(lo, hi)
			}
			iv.Lower[ch*hw+p], iv.Upper[ch*hw+p] = lo, hi
		}
	}
	return iv
}
