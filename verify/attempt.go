package verify

import (
	"context"
	"math"
	"slices"
)

// attempt is one method tried on one region: what belongs to it alone, handed down to
// the passes of a linearWorker.
type attempt struct {
	ctx  context.Context // nil: none
	goal goal

	backward  bool // bound neurons by rows
	intervals bool // stop the goal's rows at boxes
	steps     int  // gradient steps for slopes; 0: none
	rowsOnly  bool // optimise the slopes of the goal's rows alone
	early     bool // stop optimising when the goal's rows are proved
	bothSides bool // bound stable neurons from both sides
	boxes     bool // no rows through nodes that are not linear, whatever the norm
	plain     bool // as imageState has it
	pure      bool // rows alone, no interval: tests compare with other implementations

	proof  *Proof  // wanted; else nil
	domain *Domain // the part of the region to be bounded; nil: all of it
	from   int     // its first node to be bounded by rows
	warm   keeper  // slopes of another attempt on the same image; nil: none
	leaves rider   // parts of the loaded frame, one a lane; nil: none

	gaveUp bool // the context ended within, and bounds are incomplete
	empty  bool // no evaluation belongs to the domain
}

// newAttempt returns that of the method m.
func newAttempt(ctx context.Context, o *Options, m Method, s goal) attempt {
	return attempt{
		ctx: ctx, goal: s, backward: m >= MethodCROWN, intervals: m == MethodIBP, steps: o.steps(m),
		rowsOnly: o.RowsOnly, plain: o.RowsOnly, early: o.Ladder,
	}
}

// stopped reports whether to give the region up. Passes ask between chunks of rows, so
// that a run ends soon where an image takes seconds.
func (t *attempt) stopped() bool {
	if !t.gaveUp && t.ctx != nil && t.ctx.Err() != nil {
		t.gaveUp = true
	}
	return t.gaveUp
}

// try loads a region and returns a lower bound of its goal; low holds those of the rows.
func (w *linearWorker) try(t *attempt, a *area) float32 {
	n := t.goal.rows(w.g.outputs())
	w.proved = slices.Grow(w.proved[:0], n)[:n]
	w.load(a)
	w.attempt(t, w.proved)
	return t.goal.margin(w.proved)
}

// attempt bounds the rows of the goal for the loaded region; −Inf if it is stopped, +Inf
// if its domain is empty.
func (w *linearWorker) attempt(t *attempt, low []float32) {
	w.plain, w.leafy = t.plain || t.pure, false
	if t.steps > 0 && w.ascent == nil {
		w.g.packAhead()
		w.ascent = newAscent(w.rows)
	}
	w.boundNodes(t)
	if !t.empty && !t.stopped() {
		w.prove(t, low)
	}
	if t.empty || t.gaveUp {
		v := math.Inf(-1)
		if t.empty {
			v = math.Inf(1)
		}
		for i := range low {
			low[i] = float32(v)
		}
	}
}
