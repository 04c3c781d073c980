package audit

import (
	"context"
	"time"
)

// limit is a caller's context that ends with a guard's budget too. Proofs ask Err
// alone, so that it needs no timer and allocates nothing.
type limit struct {
	context.Context
	now func() time.Time
	end time.Time // zero: none
}

func (l *limit) begin(ctx context.Context, now func() time.Time, start time.Time, budget time.Duration) {
	*l = limit{Context: ctx, now: now}
	if budget != Unlimited {
		l.end = start.Add(budget)
	}
}

func (l *limit) Err() error {
	if err := l.Context.Err(); err != nil {
		return err
	}
	if !l.end.IsZero() && !l.now().Before(l.end) {
		return context.DeadlineExceeded
	}
	return nil
}

// expectation is how long a method is thought to take: a maximum that decays towards
// what is seen. It never decides what is proved, only what is tried.
type expectation struct {
	time   time.Duration // 0: never tried
	missed uint          // proofs given up since one was finished
}

// took notes a proof that was finished.
func (e *expectation) took(t time.Duration) {
	e.time = max(t, e.time-(e.time-t)/8)
	e.missed = 0
}

// cut notes one that was given up after t. It would have taken longer, nobody knows
// how much: the guess doubles with each that follows, up to a thousandfold, so that a
// method too slow for the budget is seldom tried, to find that it is.
func (e *expectation) cut(t time.Duration) {
	e.missed = min(e.missed+1, 10)
	e.time = max(e.time, min(t, time.Hour)<<e.missed)
}

// skipped notes that a method was thought to take too long. A little less is believed
// of it each time, lest one slow image rule it out for ever.
func (e *expectation) skipped() { e.time -= e.time / 8 }
