package attack

import (
	"cmp"
	"context"
	"math"
	"slices"

	"github.com/epsball/epsball/kernels"
)

// searchRun is a search at work.
type searchRun struct {
	*Searcher
	ctx   context.Context
	boxes []Box
	more  func(*Violation) bool
	over  bool // more has had enough
}

func (r *searchRun) run() error {
	r.target.known = true
	if err := r.middles(); r.over || err != nil {
		return err
	}
	r.target.known = false
	clauses := len(r.target.clauses)
	if err := r.attack(r.middle, r.eachClause(r.jobs[:0], 0, clauses), nil); r.over || err != nil {
		return err
	}
	r.target.known = true
	restarts, done := count(r.how.Restarts, searchRestarts), 0
	for round := 1; done < restarts; round *= 2 {
		if round == 2 {
			if err := r.grids(); r.over || err != nil {
				return err
			}
		}
		r.rank()
		jobs := r.jobs[:0]
		for range min(round, restarts-done) {
			jobs = r.eachClause(jobs, done, min(clauses, max(fewClauses, clauses/round)))
			done++
		}
		if err := r.attack(r.random, jobs, nil); r.over || err != nil {
			return err
		}
	}
	return r.ctx.Err()
}

// eachClause appends a run for each of the most promising clauses in each box.
func (r *searchRun) eachClause(jobs []job, restart, clauses int) []job {
	for rank := range clauses {
		for b := range r.boxes {
			c := r.order[b][rank]
			jobs = append(jobs, job{b, c, restart%2 == 1, restart})
		}
	}
	r.jobs = jobs
	return jobs
}

// rank puts the clauses of each box in order, those first that were closest to a violation.
func (r *searchRun) rank() {
	n := len(r.target.clauses)
	r.order = r.order[:0]
	for b := range r.boxes {
		value, order := r.value[b*n:(b+1)*n], make([]int, n)
		for c := range order {
			order[c] = c
		}
		slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(value[a], value[b]) })
		r.order = append(r.order, order)
	}
}

// middles evaluates the middles of the boxes, and puts the clauses in order.
func (r *searchRun) middles() error {
	x, t := make([]float32, r.target.Input().Size()), r.target
	r.value = r.value[:0]
	err := r.evaluate(len(r.boxes), func(i int) []float32 {
		for k, lo := range r.boxes[i].Lo {
			x[k] = within(lo, r.boxes[i].Hi[k], 0.5)
		}
		return x
	}, func(i int, z []float32) {
		low := math.Inf(1)
		for c := range t.clauses {
			v, _, _ := largest(t.clauses[c], z)
			if v != v {
				v = math.Inf(1)
			}
			low = min(low, v)
			r.value = append(r.value, v)
		}
		if low <= 0 {
			r.offer(i, r.cube(0.5))
		}
	})
	if err == nil && !r.over {
		r.rank()
	}
	return err
}

// cube returns the point of the unit cube with all coordinates u.
func (r *searchRun) cube(u float32) []float32 {
	p := make([]float32, r.target.Input().Size())
	for k := range p {
		p[k] = u
	}
	return p
}

// grids evaluates grids in those boxes where few inputs vary, and goes on from the best
// points of each clause.
func (r *searchRun) grids() error {
	most := gridPoints / len(r.boxes)
	t, jobs, u := r.target, r.jobs[:0], r.cube(0.5)
	var starts []float32
	for b := range r.boxes {
		axes := varying(&r.boxes[b])
		levels := gridLevels(len(axes), most)
		if levels == 0 {
			continue
		}
		points := 1
		for range axes {
			points *= levels
		}
		at := func(i int) []float32 {
			for _, k := range axes {
				u[k] = float32(i%levels) / float32(levels-1)
				i /= levels
			}
			return u
		}
		best, index := make([]float64, len(t.clauses)), make([]int, len(t.clauses))
		for c := range best {
			best[c] = math.Inf(1)
		}
		x := make([]float32, len(u))
		err := r.evaluate(points, func(i int) []float32 {
			r.stretch(x, at(i), b)
			return x
		}, func(i int, z []float32) {
			violated := false
			for c := range best {
				v, _, _ := largest(t.clauses[c], z)
				violated = violated || v <= 0
				if v < best[c] {
					best[c], index[c] = v, i
				}
			}
			if violated {
				r.offer(b, at(i))
			}
		})
		if r.over || err != nil {
			return err
		}
		for _, c := range r.order[b] {
			if best[c] < math.Inf(1) {
				jobs, starts = append(jobs, job{box: b, clause: c}), append(starts, at(index[c])...)
			}
		}
		for _, k := range axes {
			u[k] = 0.5
		}
	}
	r.jobs = jobs
	return r.attack(r.local, jobs, starts)
}

// varying lists the inputs that vary in a box, or more than a grid can have.
func varying(b *Box) (axes []int) {
	for k, lo := range b.Lo {
		if b.Hi[k] > lo && len(axes) <= gridInputs {
			axes = append(axes, k)
		}
	}
	return axes
}

// gridLevels returns how many points of each of d inputs make a grid of at most so many
// points; 0: no grid, which has at least the corners.
func gridLevels(d, most int) int {
	if d < 1 || d > gridInputs {
		return 0
	}
	levels := int(math.Pow(float64(most), 1/float64(d)) + 1e-9)
	if levels < 2 {
		return 0
	}
	return levels
}

// evaluate calls got with the outputs at n inputs, channels first, in their order, until
// the search is over.
func (r *searchRun) evaluate(n int, input func(i int) []float32, got func(i int, z []float32)) error {
	p := r.point
	if !r.target.Few(n) {
		if len(r.passes.lanes) == 0 {
			r.passes.lanes = append(r.passes.lanes, r.target.Passes(n, r.pool))
		}
		p = r.passes.lanes[0].(*violatorPasses)
	}
	z := make([]float32, n*len(p.out))
	for from := 0; from < n; from += p.room {
		if err := r.ctx.Err(); err != nil {
			return err
		}
		some := min(p.room, n-from)
		for i := range some {
			p.Layout().Pack(p.x, input(from+i), p.in, i)
		}
		p.Passes.Forward(p.x, p.Layout().Blocks(some))
		for i := range some {
			p.Layout().Gather(z[i*len(p.out):][:len(p.out)], p.Passes.Logits(), i)
		}
		for i := range some { // got may use the passes
			if !r.over {
				got(from+i, z[i*len(p.out):][:len(p.out)])
			}
		}
	}
	return nil
}

// attack runs jobs, from the points starts of the unit cube or nil, and offers what they
// find. After one that is not wanted, the later ones of its batch run again: they have
// been cut short.
func (r *searchRun) attack(a *Attacker, jobs []job, starts []float32) error {
	size := r.target.Input().Size()
	most := min(max(1<<20/size, r.target.ISA().TileGroups()*kernels.Lanes), 256)
	for from := 0; from < len(jobs); {
		some := jobs[from:min(from+most, len(jobs))]
		r.target.first.Store(math.MaxInt64)
		var at []float32
		if starts != nil {
			at = starts[from*size : (from+len(some))*size]
		}
		err := r.batched(a, some, at)
		found := r.target.first.Load()
		for i, j := range some[:min(int64(len(some)), found)] {
			if best := &r.value[j.box*len(r.target.clauses)+j.clause]; r.res.Begun[i] {
				*best = min(*best, float64(r.res.Margin[i]))
			}
		}
		if found == math.MaxInt64 {
			if err != nil {
				return err
			}
			from += len(some)
			continue
		}
		u := slices.Clone(r.res.Adv[int(found)*size : (int(found)+1)*size])
		if r.offer(some[found].box, u); r.over || err != nil {
			return r.unless(err)
		}
		from += int(found) + 1
	}
	return nil
}

// batched runs an attack on a batch of jobs.
func (r *searchRun) batched(a *Attacker, jobs []job, starts []float32) error {
	n, size := len(jobs), r.target.Input().Size()
	b := &r.batch
	for len(b.X) < n*size {
		b.X = append(b.X, 0.5)
	}
	b.Y, b.Index = b.Y[:0], b.Index[:0]
	for _, j := range jobs {
		b.Y = append(b.Y, 0)
		b.Index = append(b.Index, (j.restart*len(r.boxes)+j.box)*len(r.target.clauses)+j.clause)
	}
	r.target.jobs = jobs
	if a == r.random {
		starts = r.starts(jobs)
	}
	err := a.Run(r.ctx, Batch{X: b.X[:n*size], Y: b.Y, Index: b.Index, Start: starts}, &r.res)
	r.target.steps += r.res.ImageSteps
	return err
}

// starts returns where runs begin: anywhere in the unit cube or, every other time, in one of
// its corners. With many inputs, points drawn at random are all close to the middle in what
// layers make of them.
func (r *searchRun) starts(jobs []job) []float32 {
	size := r.target.Input().Size()
	r.from = slices.Grow(r.from[:0], len(jobs)*size)[:len(jobs)*size]
	for i, j := range jobs {
		s := kernels.NewStream(r.how.Seed, uint64(r.batch.Index[i]), 0)
		u := r.from[i*size : (i+1)*size]
		for k := range u {
			if u[k] = s.Float32(); j.restart%4 >= 2 {
				u[k] = float32(math.Round(float64(u[k])))
			}
		}
	}
	return r.from
}

// unless returns err, nil if the search is over.
func (r *searchRun) unless(err error) error {
	if r.over {
		return nil
	}
	return err
}

// stretch writes the input of a box that u stands for to x, channels first.
func (r *searchRun) stretch(x, u []float32, box int) {
	for k, lo := range r.boxes[box].Lo {
		x[k] = within(lo, r.boxes[box].Hi[k], u[k])
	}
}

// offer hands out the violation at point u of the unit cube of a box, once it is deepened.
// It uses the passes.
func (r *searchRun) offer(box int, u []float32) {
	v := r.take(box, u)
	if v == nil {
		return
	}
	if d := r.deepened(v, u); d != nil {
		v = d
	}
	r.over = !r.more(v)
}

// take returns the violation at u, nil if there is none.
func (r *searchRun) take(box int, u []float32) *Violation {
	v, p := &r.found, r.point
	v.X, v.Z = slices.Grow(v.X[:0], len(u))[:len(u)], slices.Grow(v.Z[:0], len(p.out))[:len(p.out)]
	r.stretch(v.X, u, box)
	p.Layout().Pack(p.x, v.X, p.in, 0)
	p.Passes.Forward(p.x, 1)
	p.Layout().Gather(v.Z, p.Passes.Logits(), 0)
	v.Box = box
	if v.Value, v.Clause = r.target.lowest(v.Z); v.Clause < 0 || !(v.Value <= 0) {
		return nil
	}
	return v
}

// deepened goes on from a violation at u, and returns what is deeper, or nil.
func (r *searchRun) deepened(v *Violation, u []float32) *Violation {
	if r.how.Deepen < 0 {
		return nil
	}
	share := r.how.Slack
	if share == 0 {
		share = searchSlack
	}
	clause := r.target.clauses[v.Clause]
	_, _, size := largest(clause, v.Z)
	slack := float64(share * size)
	if v.Value < -slack || slack == 0 || math.IsInf(slack, 0) {
		return nil
	}
	known := r.target.known
	r.target.slack, r.target.known = slack, true
	_ = r.batched(r.deepen, []job{{box: v.Box, clause: v.Clause}}, u) // cut short, it is less deep
	r.target.slack, r.target.known = 0, known
	if !r.res.Begun[0] {
		return nil
	}
	box, value := v.Box, v.Value
	again := slices.Clone(u)
	if d := r.take(box, r.res.Adv); d != nil && d.Value <= value {
		return d
	}
	return r.take(box, again)
}
