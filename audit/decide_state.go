package audit

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/epsball/epsball/verify/branch"
)

// DecideState is how far Decide has come. It holds for the network and the questions alone:
// see branch.State.
type DecideState struct {
	Stage int     // 0 … 4: that is under way
	Open  []int   // numbers of the questions that are not proved, in order
	Low   float32 // lower bound of the properties of the others; +Inf if there are none

	// Witness is an input that violates the property of the question of number Question at
	// one level alone; nil if none was found.
	Witness  []float32
	Question int

	Search map[int]*branch.State // of questions of Open; not there: not begun

	// Record tells that proofs are taken down: Proofs has those of questions that are not open any
	// more, but for those that bounds of the whole box proved.
	Record bool
	Proofs map[int]*branch.Record
}

func (d *decider) save() error {
	if d.o.Save == nil {
		return nil
	}
	st := &DecideState{Stage: d.stage, Open: d.open, Low: d.low, Search: maps.Clone(d.found), Record: d.o.Record}
	for i, p := range d.proofs {
		if p != nil {
			if st.Proofs == nil {
				st.Proofs = map[int]*branch.Record{}
			}
			st.Proofs[i] = p
		}
	}
	if w := d.decision.Witness; w != nil {
		st.Witness, st.Question = w.X, d.decision.Question
	}
	return d.o.Save(st)
}

// resume goes back to where a state was taken.
func (d *decider) resume(ctx context.Context, st *DecideState) error {
	switch {
	case st.Stage < 0 || st.Stage > searchStage:
		return badState("stage", "got %d, want 0 … %d", st.Stage, searchStage)
	case len(st.Open) == 0:
		return badState("open", "got none, want a question")
	case st.Low != st.Low:
		return badState("low", "got NaN, want a number")
	case len(st.Search) > 0 && st.Stage != searchStage:
		return badState("search", "got one in stage %d, want it in stage %d alone", st.Stage, searchStage)
	}
	if st.Record != d.o.Record {
		return badState("record", "got %v, want %v: whether proofs are taken down", st.Record, d.o.Record)
	}
	for q, p := range st.Proofs {
		if !st.Record || p == nil || q < 0 || q >= len(d.questions) || slices.Contains(st.Open, q) {
			return badState("proofs", "got one of question %d, want those of a record, of questions that are not open", q)
		}
		d.proofs[q] = p
	}
	for q, s := range st.Search {
		if s == nil || !slices.Contains(st.Open, q) {
			return badState("search", "got one of question %d, want those of open ones", q)
		}
	}
	last := -1
	for i, q := range st.Open {
		if q <= last || q >= len(d.questions) {
			return badState(fmt.Sprintf("open[%d]", i), "got %d, want numbers in order below %d", q, len(d.questions))
		}
		last = q
	}
	d.stage, d.open, d.low, d.found = st.Stage, st.Open, st.Low, map[int]*branch.State{}
	maps.Copy(d.found, st.Search)
	if s := st.Search[st.Open[0]]; s != nil {
		d.decision.Low, d.decision.Parts, d.decision.Depth = s.Low, s.Parts, s.Depth
	}
	if st.Witness == nil {
		return nil
	}
	if st.Question < 0 || st.Question >= len(d.questions) {
		return badState("question", "got %d, want 0 … %d", st.Question, len(d.questions)-1)
	}
	q := &d.questions[st.Question]
	w, err := CheckWitness(ctx, d.net, &q.Box, q.Refutes, st.Witness, d.pool)
	if err != nil && ctx.Err() == nil {
		return badState("witness", "%w", err)
	}
	d.take(w, st.Question, "attack")
	return nil
}

func badState(field, format string, args ...any) error {
	return &branch.StateError{Field: field, Err: fmt.Errorf(format, args...)}
}
