package audit

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/epsball/epsball/verify/branch"
)

// share is a piece of what is open that is not divided: an open part of the search for a
// question, or a question whose search has not begun.
type share struct {
	question int
	part     int // of branch.State.Open; −1: the question
	low      float32
}

// shares lists what is open by its bounds, the lowest first.
func (st *DecideState) shares() (list []share, err error) {
	for _, q := range st.Open {
		var bounds []float32
		if s := st.Search[q]; s != nil {
			if bounds, err = s.Open(); err != nil {
				return nil, fmt.Errorf("search of question %d: %w", q, err)
			}
		}
		for i, low := range bounds {
			list = append(list, share{q, i, low})
		}
		if len(bounds) == 0 {
			list = append(list, share{q, -1, float32(math.Inf(-1))})
		}
	}
	slices.SortStableFunc(list, func(a, b share) int { return cmp.Compare(a.low, b.low) })
	return list, nil
}

// Shares counts what Divide can deal out: open parts of searches that have begun, and open
// questions of which none has.
func (st *DecideState) Shares() (int, error) {
	list, err := st.shares()
	return len(list), err
}

// Divide deals what is open out among n states, 1 ≤ n ≤ Shares, in turn from the lowest bound on.
// Each is what Decide can go on from. If it then says of all of them that they hold, so do all
// properties of this state; of one, it says nothing of what the others have.
func (st *DecideState) Divide(n int) ([]*DecideState, error) {
	list, err := st.shares()
	if err != nil {
		return nil, err
	}
	if st.Record {
		return nil, errors.New("shares: got a state of proofs that are taken down, which cannot be divided")
	}
	if n < 1 || n > len(list) {
		return nil, fmt.Errorf("shares: got %d, want 1 … %d, one for each part that is open", n, len(list))
	}
	out := make([]*DecideState, n)
	for k := range out {
		out[k] = &DecideState{Stage: st.Stage, Low: st.Low, Search: map[int]*branch.State{}}
	}
	to := map[int][]int{} // of the parts of questions
	for k, s := range list {
		d := out[k%n]
		if !slices.Contains(d.Open, s.question) {
			d.Open = append(d.Open, s.question)
		}
		if s.part < 0 {
			if begun := st.Search[s.question]; begun != nil {
				d.Search[s.question] = begun
			}
			continue
		}
		if to[s.question] == nil {
			to[s.question] = make([]int, len(list))
		}
		to[s.question][s.part] = k % n
	}
	for q, of := range to {
		dealt, err := st.Search[q].Deal(of, n)
		if err != nil {
			return nil, fmt.Errorf("search of question %d: %w", q, err)
		}
		for k, s := range dealt {
			if s != nil {
				out[k].Search[q] = s
			}
		}
	}
	for _, d := range out {
		slices.Sort(d.Open)
	}
	return out, nil
}

// Join returns the state of what is left of all shares that Divide has dealt out: those that were
// not proved, in any order, and at least one.
func (st *DecideState) Join(left []*DecideState) (*DecideState, error) {
	all := &DecideState{Stage: searchStage, Low: min(st.Low, 0), Witness: st.Witness, Question: st.Question, Search: map[int]*branch.State{}}
	parts := map[int][]*branch.State{}
	for k, s := range left {
		all.Stage = min(all.Stage, s.Stage)
		for _, q := range s.Open {
			begun := s.Search[q]
			switch open := slices.Contains(all.Open, q); {
			case !slices.Contains(st.Open, q):
				return nil, badState("open", "share %d: got question %d, which is not open", k, q)
			case begun != nil && begun.Share:
				parts[q] = append(parts[q], begun)
			case open:
				return nil, badState("open", "share %d: got question %d, all of which is open in another share", k, q)
			case begun != nil:
				all.Search[q] = begun
			}
			if !slices.Contains(all.Open, q) {
				all.Open = append(all.Open, q)
			}
		}
	}
	if len(all.Open) == 0 {
		return nil, badState("open", "got none, want a question")
	}
	slices.Sort(all.Open)
	for q, list := range parts {
		of := st.Search[q]
		if of == nil || all.Search[q] != nil {
			return nil, badState("search", "got shares of question %d, whose search was not divided", q)
		}
		joined, err := of.Join(list)
		if err != nil {
			return nil, fmt.Errorf("search of question %d: %w", q, err)
		}
		all.Search[q] = joined
	}
	if all.Stage < searchStage {
		clear(all.Search) // in that stage there is none
	}
	return all, nil
}
