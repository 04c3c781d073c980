package attack

import (
	"fmt"
	"math"
	"sync/atomic"

	"github.com/epsball/epsball/kernels"
	"github.com/epsball/epsball/model"
	"github.com/epsball/epsball/net"
)

// violator is the network of two outputs that a Searcher attacks: label 0 says that a
// clause holds. Images of a batch are jobs.
type violator struct {
	*net.Network
	boxes   []boxOf
	clauses [][]row

	jobs  []job
	slack float64      // label 0 holds as long as rows are above −slack
	known bool         // what is at the middles of boxes
	first atomic.Int64 // job that has found a violation; later ones give up
	steps int64
}

// job is a run: for one clause in one box.
type job struct {
	box, clause int
	hinge       bool // climb all rows that are above 0, not only the largest
	restart     int
}

// boxOf is a box in the order of a slot, [H][W][C].
type boxOf struct{ lo, hi []float32 }

// row is one of a property: its terms, and the constant.
type row struct {
	k []int
	c []float32
	d float64
}

// aim takes what to search.
func (t *violator) aim(boxes []Box, p *net.Property) error {
	outputs, in := t.Network.Classes(), t.Input()
	if p == nil {
		return fmt.Errorf("property: none, want one (net.LabelProperty makes that of a label)")
	}
	if err := p.Validate(outputs); err != nil {
		return err
	}
	for i := range boxes {
		if err := net.CheckBox(boxes[i].Lo, boxes[i].Hi, in.Size()); err != nil {
			return fmt.Errorf("box %d: %w", i, err)
		}
	}
	t.boxes, t.clauses, t.steps = t.boxes[:0], t.clauses[:0], 0
	for _, b := range boxes {
		o := boxOf{make([]float32, in.Size()), make([]float32, in.Size())}
		net.Singles.Pack(o.lo, b.Lo, in, 0)
		net.Singles.Pack(o.hi, b.Hi, in, 0)
		t.boxes = append(t.boxes, o)
	}
	var rows []row
	for i := range len(p.C) / outputs {
		var r row
		if p.D != nil {
			r.d = float64(p.D[i])
		}
		for k, c := range p.C[i*outputs : (i+1)*outputs] {
			if c != 0 {
				r.k, r.c = append(r.k, k), append(r.c, c)
			}
		}
		rows = append(rows, r)
	}
	for _, n := range p.ClauseRows(outputs) {
		t.clauses, rows = append(t.clauses, rows[:n]), rows[n:]
	}
	return nil
}

// release forgets what was searched.
func (t *violator) release() {
	clear(t.boxes)
	clear(t.clauses)
	t.boxes, t.clauses, t.jobs = t.boxes[:0], t.clauses[:0], nil
}

// value returns the row at outputs z, and the sum of the magnitudes of its terms. A
// product of two float32 is exact in float64.
func (r *row) value(z []float32) (v, size float64) {
	v, size = r.d, math.Abs(r.d)
	for i, k := range r.k {
		p := float64(r.c[i]) * float64(z[k])
		v += p
		size += math.Abs(p)
	}
	return v, size
}

// largest returns the largest row of a clause, which is to be lowered to 0, its index and
// the sum of the magnitudes of its terms; NaN if one is.
func largest(clause []row, z []float32) (v float64, at int, size float64) {
	v = math.Inf(-1)
	for i := range clause {
		w, s := clause[i].value(z)
		if w != w {
			return w, i, s
		}
		if w > v {
			v, at, size = w, i, s
		}
	}
	return v, at, size
}

// lowest returns the clause whose largest row is lowest, and that row; −1 if all are NaN.
func (t *violator) lowest(z []float32) (v float64, clause int) {
	v, clause = math.Inf(1), -1
	for c := range t.clauses {
		if w, _, _ := largest(t.clauses[c], z); w < v {
			v, clause = w, c
		}
	}
	return v, clause
}

// Classes implements Target: the clause holds, or is violated.
func (*violator) Classes() int { return 2 }

// CheckLabels implements Target.
func (*violator) CheckLabels(y []int, n int) error {
	if len(y) != n {
		return fmt.Errorf("labels: %d, want one for each of %d runs", len(y), n)
	}
	for i, v := range y {
		if v != 0 {
			return fmt.Errorf("labels: label of run %d is %d, want 0", i, v)
		}
	}
	return nil
}

// Passes implements Target.
func (t *violator) Passes(images int, pool *kernels.Pool) Passes {
	p := &violatorPasses{Passes: t.Network.Passes(images, pool), t: t, in: t.Input(), size: t.Input().Size()}
	p.room = t.ISA().TileGroups() * kernels.Lanes
	if p.Layout() == net.Singles {
		p.room = net.MaxSmall
	}
	outputs, blocks := t.Network.Classes(), p.Layout().Blocks(p.room)
	p.x = kernels.Alloc(p.Layout().Len(blocks, p.size))
	p.z, p.dz = kernels.Alloc(p.Layout().Len(blocks, 2)), kernels.Alloc(p.Layout().Len(blocks, 2))
	p.out = make([]float32, outputs)
	p.rows = make([]float32, p.room*outputs)
	return p
}

// violatorPasses are those of a network between the unit cube and a clause.
type violatorPasses struct {
	Passes
	t     *violator
	in    model.Shape
	size  int
	room  int    // slots
	slots []Slot // of the blocks at hand

	x     []float32 // inputs of the network
	z, dz []float32 // two logits of each slot, and their gradient
	out   []float32 // outputs of one slot
	rows  []float32 // gradient of what label 0 says to the outputs, of each slot
}

// Observe implements Observer.
func (p *violatorPasses) Observe(slots []Slot) { p.slots = slots }

// Logits implements Passes.
func (p *violatorPasses) Logits() []float32 { return p.z }

// LogitGradient implements Passes.
func (p *violatorPasses) LogitGradient() []float32 { return p.dz }

// Forward implements Passes.
func (p *violatorPasses) Forward(u []float32, blocks int) []float32 {
	l := p.Layout()
	for i := range p.slots {
		if !p.slots[i].Empty() {
			p.stretch(u, i)
		}
	}
	p.Passes.Forward(p.x, blocks)
	for i := range p.slots {
		pair := [2]float32{1, 0}
		if !p.slots[i].Empty() {
			pair[0] = p.judge(i)
		}
		l.Scatter(p.z, pair[:], i)
	}
	return p.z
}

// stretch puts the input that the point u of slot i stands for into p.x.
func (p *violatorPasses) stretch(u []float32, i int) {
	l := p.Layout()
	box := &p.t.boxes[p.t.jobs[p.slots[i].image].box]
	x, u := l.Slot(p.x, p.size, i), l.Slot(u, p.size, i)
	for k, lo := range box.lo {
		x[k*int(l)] = within(lo, box.hi[k], u[k*int(l)])
	}
}

// within returns the number at share u of [lo, hi]: in there, lo for 0 and hi for 1.
func within(lo, hi, u float32) float32 {
	if u == 1 {
		return hi
	}
	v := float64(lo) + float64((float64(hi)-float64(lo))*float64(u))
	return min(max(float32(v), lo), hi)
}

// judge returns what label 0 says of slot i, and keeps its gradient to the outputs. A
// point that violates another clause than the one aimed at is as good, but for slack.
func (p *violatorPasses) judge(i int) float32 {
	t := p.t
	job := t.jobs[p.slots[i].image]
	p.Layout().Gather(p.out, p.Passes.Logits(), i)
	g := p.rows[i*len(p.out):][:len(p.out)]
	clear(g)
	clause := t.clauses[job.clause]
	v, at, _ := largest(clause, p.out)
	if v != v {
		return math.MaxFloat32
	}
	for r := range clause {
		if w, _ := clause[r].value(p.out); r == at || job.hinge && w > 0 {
			for j, k := range clause[r].k {
				g[k] += clause[r].c[j]
			}
		}
	}
	switch judged := p.slots[i].judged; {
	case !judged && t.known:
		return math.MaxFloat32
	case judged && t.slack == 0:
		if low, c := t.lowest(p.out); c >= 0 && low <= 0 {
			v = low
			t.note(p.slots[i].image)
		} else if t.first.Load() < int64(p.slots[i].image) {
			return -math.MaxFloat32 // what it would find is not wanted
		}
	}
	return level(v + t.slack)
}

// level rounds to a finite float32, negative where v ≤ 0 and positive elsewhere.
func level(v float64) float32 {
	f := float32(min(max(v, -math.MaxFloat32), math.MaxFloat32))
	if f == 0 {
		f = float32(math.Copysign(math.SmallestNonzeroFloat32, v))
		if v == 0 {
			f = -math.SmallestNonzeroFloat32
		}
	}
	return f
}

// note records that a job has found a violation, if it is the first.
func (t *violator) note(job int) {
	for {
		old := t.first.Load()
		if old <= int64(job) || t.first.CompareAndSwap(old, int64(job)) {
			return
		}
	}
}

// Backward implements Passes.
func (p *violatorPasses) Backward(blocks int) []float32 {
	l, dout := p.Layout(), p.Passes.LogitGradient()
	for i := range p.slots {
		d := l.Slot(p.dz, 2, i)[0]
		for k, g := range p.rows[i*len(p.out):][:len(p.out)] {
			p.out[k] = 0
			if d != 0 {
				p.out[k] = float32(d * g)
			}
		}
		l.Scatter(dout, p.out, i)
	}
	grad := p.Passes.Backward(blocks)
	for i := range p.slots {
		if p.slots[i].Empty() {
			continue
		}
		box := &p.t.boxes[p.t.jobs[p.slots[i].image].box]
		g := l.Slot(grad, p.size, i)
		for k, lo := range box.lo {
			if w := float64(box.hi[k]) - float64(lo); w > 0 {
				g[k*int(l)] = float32(float64(g[k*int(l)]) * w)
			} else {
				g[k*int(l)] = 0
			}
		}
	}
	return grad
}
