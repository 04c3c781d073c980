package verify

import (
	"math"

	"github.com/epsball/epsball/kernels"
	"github.com/epsball/epsball/model"
	"github.com/epsball/epsball/net"
)

// Intervals carries boxes through a network and gradients back, for training (Gowal et
// al. 2018): the pass of IBP in float32 without a thought for rounding, so that its bounds
// prove nothing. It stops before the network's last node, which the trainer merges with
// its loss. It holds the tensors of a whole batch on lanes; views of disjoint lane groups
// may be used by different goroutines.
type Intervals struct {
	*program

	// Centre and radius of each activation, and the gradients to them; those to the output
	// of a node are to what precedes its ReLU once Backward has passed it. The input has
	// none.
	c, r, dc, dr [][]float32

	gradients []intervalTask
	reloads   []intervalTask
	norms     []*depthwiseInterval // with a UseBatch
	out       int                  // the activation that the last node reads
	keeps     bool                 // views have PreActivations
}

// intervalTask is a part of what is to be done for a node.
type intervalTask struct {
	step, part int
	learner
}

// learner is an interval with weights to be learnt.
type learner interface {
	learn(n *net.Network, node *net.Node) // makes what that takes besides
	packs() int
	pack(part int) // takes over changed weights
	tasks() int
	// gradient adds a part of the gradient to the weights w of the node to d.
	gradient(sc *kernels.Scratch, t *Intervals, node int, w, d *model.Param, groups, part int)
}

// NewIntervals returns the pass for batches of the given number of lane groups. The
// network must be compiled with Backward for large batches. Whoever packs it anew calls
// Reload then.
func NewIntervals(n *net.Network, groups int) (*Intervals, error) {
	nodes := n.Nodes()
	last := &nodes[len(nodes)-1]
	p, err := newProgram(n, nodes[:len(nodes)-1], true)
	if err != nil {
		return nil, err
	}
	t := &Intervals{program: p, out: last.In[0]}
	for k := range nodes {
		alloc := func(on bool) []float32 {
			if !on {
				return nil
			}
			return kernels.Alloc(net.LaneGroups.Len(groups, p.size(k)))
		}
		t.c, t.r = append(t.c, alloc(true)), append(t.r, alloc(true))
		t.dc, t.dr = append(t.dc, alloc(k > 0)), append(t.dr, alloc(k > 0))
	}
	for i := range p.steps {
		l, ok := p.steps[i].interval.(learner)
		if !ok {
			continue
		}
		l.learn(n, p.steps[i].node)
		for part := range l.tasks() {
			t.gradients = append(t.gradients, intervalTask{i, part, l})
		}
		for part := range l.packs() {
			t.reloads = append(t.reloads, intervalTask{i, part, l})
		}
	}
	return t, nil
}

// UseBatch makes batchnorms normalise by the statistics of a batch, as constants, in
// place of the running ones.
func (t *Intervals) UseBatch(b *net.BatchStatistics) {
	for i := range t.steps {
		d, ok := t.steps[i].interval.(*depthwiseInterval)
		if !ok {
			continue
		}
		if d.batch = b.Of(d.op); d.batch != nil {
			t.norms = append(t.norms, d)
		}
	}
}

// ReloadBatch takes over the statistics of a batch, before Forward.
func (t *Intervals) ReloadBatch() {
	for _, d := range t.norms {
		d.pack(0)
	}
}

// ReloadTasks returns the number of parts of Reload.
func (t *Intervals) ReloadTasks() int { return len(t.reloads) }

// Reload takes over a part of the network's weights, after its own Reload has renewed
// them; the parts are independent.
func (t *Intervals) Reload(task int) { t.reloads[task].pack(t.reloads[task].part) }

// GradientTasks returns the number of parts of AddGradient.
func (t *Intervals) GradientTasks() int { return len(t.gradients) }

// AddGradient computes a part of the gradient, summed over the first groups lane groups
// after Backward of all their views, and adds it to p, which is laid out as the model.
// Parts are independent.
func (t *Intervals) AddGradient(sc *kernels.Scratch, p []model.Param, groups, task int) {
	g := &t.gradients[task]
	i := t.steps[g.step].node.Index
	g.gradient(sc, t, g.step, &t.net.Model().Params[i], &p[i], groups, g.part)
}

// IntervalView is a view of some lane groups, with scratch space of its own.
type IntervalView struct {
	pass
	dc, dr  [][]float32
	sum     [2][]float32 // gradients to be added to others
	reached []bool       // has gradients
	out     int

	pre     []PreActivation // nil: none are kept
	keeping bool            // in the passes being run
	trace   func(node int, c, r []float32)
}

// View returns a view of groups [from, to).
func (t *Intervals) View(from, to int) *IntervalView {
	v := &IntervalView{
		pass:    pass{program: t.program, layout: net.LaneGroups, sc: make([]kernels.Scratch, 1), blocks: to - from},
		reached: make([]bool, len(t.c)), out: t.out,
	}
	v.init((to - from) * kernels.Lanes)
	most, readers := 0, readersOf(t.net.Nodes())
	for k := range t.c {
		size := t.size(k) * kernels.Lanes
		cut := func(b []float32) []float32 {
			if b == nil {
				return nil
			}
			return b[from*size : to*size : to*size]
		}
		v.c, v.r = append(v.c, cut(t.c[k])), append(v.r, cut(t.r[k]))
		v.dc, v.dr = append(v.dc, cut(t.dc[k])), append(v.dr, cut(t.dr[k]))
		if k > 0 && readers[k] > 1 {
			most = max(most, size*v.blocks)
		}
	}
	v.sum = [2][]float32{kernels.Alloc(most), kernels.Alloc(most)}
	if t.keeps {
		v.makePreActivations()
	}
	return v
}

// Box returns where the lower and upper ends of the boxes are to be written before
// Forward: pixels, [group][H][W][C][8].
func (v *IntervalView) Box() (lo, hi []float32) { return v.c[0], v.r[0] }

// Forward bounds what the network's last node reads, and returns centres and radii, which
// Box no longer holds.
func (v *IntervalView) Forward() (c, r []float32) {
	v.net.ISA().IntervalBox(&v.sc[0], v.c[0], v.r[0], noRounding)
	v.scaling.normalize(v.c[0], v.r[0], kernels.Lanes)
	if v.keeping {
		v.run(v.trace)
	} else {
		v.run(nil)
	}
	return v.c[v.out], v.r[v.out]
}

// Gradient returns where the gradients to what Forward has returned are to be written
// before Backward: zeros in lanes without an image. They are nil where that is the input.
func (v *IntervalView) Gradient() (dc, dr []float32) { return v.dc[v.out], v.dr[v.out] }

// Backward carries the gradients back to all nodes, for AddGradient.
func (v *IntervalView) Backward() {
	clear(v.reached)
	v.reached[v.out] = true
	for i := len(v.steps) - 1; i >= 0; i-- { // all are read, so their gradients are there
		s, dc, dr := &v.steps[i], v.dc[i+1], v.dr[i+1]
		if s.node.ReLU {
			gate(dc, dr, v.c[i+1], v.r[i+1])
			if v.keeping {
				v.addGradient(i, dc, dr)
			}
		}
		s.backward(v, i, dc, dr)
		if k := s.node.In[0]; v.keeping && !s.node.ReLU && k > 0 {
			v.addGradient(i, v.dc[k], v.dr[k])
		}
	}
}

// hand gives activation k the gradients that write computes.
func (v *IntervalView) hand(k int, write func(dc, dr []float32)) {
	if k == 0 { // nothing asks for the gradient to the pixels
		return
	}
	dc, dr := v.dc[k], v.dr[k]
	if !v.reached[k] {
		v.reached[k] = true
		write(dc, dr)
		return
	}
	tc, tr := v.sum[0][:len(dc)], v.sum[1][:len(dr)]
	write(tc, tr)
	v.net.ISA().Add(dc, tc, kernels.None, nil)
	v.net.ISA().Add(dr, tr, kernels.None, nil)
}

// handOn gives activation k the gradients dc and dr.
func (v *IntervalView) handOn(k int, dc, dr []float32) {
	v.hand(k, func(c, r []float32) {
		copy(c, dc)
		copy(r, dr)
	})
}

// gate takes gradients to centre and radius back through a ReLU, in place. The
// centre and radius it gave tell which bounds it let pass: c = r where the lower
// one was clamped, c = 0 where both were. Which it is looks random to the
// processor, so masks made of sign bits take the place of branches.
func gate(dc, dr, c, r []float32) {
	dr, c, r = dr[:len(dc)], c[:len(dc)], r[:len(dc)]
	for i, a := range dc {
		lo, hi := (a-dr[i])*0.5, (a+dr[i])*0.5 // gradients to the two bounds
		lo = maskNegative(lo, r[i]-c[i])
		hi = maskNegative(hi, 0-c[i])
		dc[i], dr[i] = lo+hi, hi-lo
	}
}

// maskNegative returns v where s is negative, else 0.
func maskNegative(v, s float32) float32 {
	return math.Float32frombits(math.Float32bits(v) & uint32(int32(math.Float32bits(s))>>31))
}

// addTo adds src to dst.
func addTo(dst, src []float32) {
	for i, v := range src {
		dst[i] += v
	}
}

// addSigned is net.AddUnmapped of sign(w)·src, the way of a gradient through |w|; w
// is in the model's order.
func addSigned(dst, w, src []float32, cols model.Shape) {
	hw := cols.H * cols.W
	for c := range cols.C {
		d, w := dst[c*hw:][:hw], w[c*hw:][:hw]
		for p := range d {
			d[p] += timesSign(src[p*cols.C+c], w[p])
		}
	}
}

const signBit = 1 << 31

// timesSign returns v times the sign of s, that of 0 being 1.
func timesSign(v, s float32) float32 {
	return math.Float32frombits(math.Float32bits(v) ^ math.Float32bits(s)&signBit)
}
