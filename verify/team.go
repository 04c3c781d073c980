package verify

import (
	"github.com/epsball/epsball/kernels"
)

// partGroups is the number of groups from which on a part is large enough: fewer make less
// use of each weight that is loaded.
const partGroups = 4

// team is the workers of a verifier that bound the rows of one region together, where there
// are too few regions to give each worker its own. The first has loaded the region; the
// others see what it knows, and carry rows backward in buffers of their own.
//
// The bits of a row do not depend on which rows go backward with it, so they do not depend
// on who takes it either.
type team struct {
	pool     *kernels.Pool
	workers  []*linearWorker // one for each of the pool
	own      []imageState    // what the others had loaded
	attempts []attempt       // the current one, for each worker

	parts  []int // of the rows: where each begins, and the end of the last
	rows   teamRows
	task   teamTask
	onTask func(worker, part int)
}

// teamRows are the rows to be bounded: of neurons of a node, or of the goal.
type teamRows struct {
	node, steps int
	list        []neuron
	low         []float32
}

// teamTask bounds a part of the rows.
type teamTask func(r *teamRows, w *linearWorker, a *attempt, from, to int)

func newTeam(pool *kernels.Pool, workers []*linearWorker) *team {
	t := &team{pool: pool, workers: workers, own: make([]imageState, len(workers)), attempts: make([]attempt, len(workers))}
	t.onTask = func(worker, part int) {
		t.task(&t.rows, t.workers[worker], &t.attempts[worker], t.parts[part], t.parts[part+1])
	}
	return t
}

// begin lets the workers work for the first one, until end.
func (t *team) begin() {
	t.workers[0].team = t
	for i, w := range t.workers[1:] {
		t.own[i+1] = w.imageState
	}
}

// end gives the workers back what they had loaded themselves.
func (t *team) end() {
	t.workers[0].team = nil
	for i, w := range t.workers[1:] {
		w.imageState, t.own[i+1] = t.own[i+1], imageState{}
		for k := range w.sparse {
			w.sparse[k].known = false
		}
	}
	t.rows = teamRows{}
	clear(t.attempts)
}

// changed tells the workers that the lines of node i are new.
func (t *team) changed(i int) {
	for _, w := range t.workers {
		w.sparse[i].known = false
	}
}

// run does a task for all parts. Each worker sees the state of the first as it is now, and
// writes to nothing of it but the bounds of the rows that it was given. It reports whether one
// gave up.
func (t *team) run(a attempt, task teamTask) (gaveUp bool) {
	first := t.workers[0]
	for i, w := range t.workers {
		t.attempts[i] = a
		if i > 0 {
			w.imageState = first.imageState
		}
		if a.steps > 0 && w.ascent == nil {
			w.ascent = newAscent(w.rows)
		}
	}
	t.task = task
	t.pool.Run(len(t.parts)-1, t.onTask)
	for i := range t.attempts {
		gaveUp = gaveUp || t.attempts[i].gaveUp
	}
	return gaveUp
}

// partsOf returns the number of parts of so many groups: as many for each worker, a few of them
// if they are large enough, so that none waits for long.
func (t *team) partsOf(groups int) int {
	n := len(t.workers)
	ceil := func(a, b int) int { return (a + b - 1) / b }
	most := max(ceil(groups, 4*n), partGroups)
	return min(ceil(ceil(groups, most), n)*n, groups)
}

// divide makes parts of a list of neurons, of about as many groups each; false: it is one.
func (t *team) divide(list []neuron, channels int) bool {
	groups := 0
	for from := 0; from < len(list); from = groupEnd(list, from, channels) {
		groups++
	}
	if groups < 2 {
		return false
	}
	parts, n := t.partsOf(groups), 0
	t.parts = t.parts[:0]
	for from := 0; from < len(list); from = groupEnd(list, from, channels) {
		if n == groups*len(t.parts)/parts {
			t.parts = append(t.parts, from)
		}
		n++
	}
	t.parts = append(t.parts, len(list))
	return true
}

// divideGoal makes parts of n rows of the goal, of which some groups go backward at once;
// false: it is one.
func (t *team) divideGoal(a attempt, n, atOnce int) bool {
	groups, most := kernels.Groups(n), atOnce
	if !a.early || a.steps == 0 { // else rows that go backward together end together
		parts := t.partsOf(groups)
		most = min(most, (groups+parts-1)/parts)
	}
	t.parts = t.parts[:0]
	for from := 0; from < n; from += most * kernels.Lanes {
		t.parts = append(t.parts, from)
	}
	t.parts = append(t.parts, n)
	return len(t.parts) > 2
}

// neurons is boundNeurons for all workers; false: there is nothing to divide.
func (t *team) neurons(a attempt, i int, list []neuron, steps int) (did, gaveUp bool) {
	if !t.divide(list, t.workers[0].g.maps[i+1].c) {
		return false, false
	}
	t.rows = teamRows{node: i, steps: steps, list: list}
	return true, t.run(a, func(r *teamRows, w *linearWorker, a *attempt, from, to int) {
		w.boundList(a, r.node, r.list[from:to], r.steps)
	})
}

// goal is prove for all workers; false: there is nothing to divide.
func (t *team) goal(a attempt, last int, low []float32, atOnce int) (did, gaveUp bool) {
	if !t.divideGoal(a, len(low), atOnce) {
		return false, false
	}
	t.rows = teamRows{node: last, low: low}
	return true, t.run(a, func(r *teamRows, w *linearWorker, a *attempt, from, to int) {
		w.begin(r.node, w.g.maps[r.node+1].full())
		w.proveRows(a, r.low, from, to)
	})
}

// groupEnd returns the end of the group that begins at from: up to eight rows of one position.
func groupEnd(list []neuron, from, channels int) int {
	to, p := from+1, int(list[from].index)/channels
	for to < len(list) && to < from+kernels.Lanes && int(list[to].index)/channels == p {
		to++
	}
	return to
}
