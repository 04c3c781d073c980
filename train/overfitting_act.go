package train

import (
	"context"
	"fmt"
)

var uncancelled = context.Background()

// fallback is that training goes on with PGD of 7 steps.
type fallback struct {
	Epoch int         `json:"epoch"` // from 1: the first with PGD
	Seen  Overfitting `json:"seen"`  // in the epoch that was done again
}

// goesBack reports whether weights are kept to go back to.
func (t *Trainer) goesBack() bool {
	return t.s.inspected() && overfitting.Value(&t.c) != "warn"
}

// keepFirst keeps the first weights of all.
func (t *Trainer) keepFirst() error {
	if t.step > 0 {
		return nil
	}
	return t.keep()
}

// keep keeps the state of training, if it may be gone back to.
func (t *Trainer) keep() (err error) {
	t.kept = nil
	if t.goesBack() {
		t.kept, err = t.encode()
	}
	return err
}

// act does what the epoch just done gives reason to.
func (t *Trainer) act() error {
	e := &t.history[len(t.history)-1]
	if t.fallback != nil && t.fallback.Epoch == e.Epoch {
		e.Overfitting = &t.fallback.Seen
		return nil
	}
	if e.Overfitting == nil || !e.Overfitting.alarmed() {
		return t.keep()
	}
	e.Overfitting.Action = fmt.Sprint(overfitting.Value(&t.c))
	if t.c.Alarm != nil {
		t.c.Alarm(*e)
	}
	switch e.Overfitting.Action {
	case "stop":
		step, history := t.step, t.history
		if err := t.goBack(); err != nil {
			return err
		}
		if len(t.history) == 0 {
			return fmt.Errorf("train: %w", ErrOverfitting)
		}
		t.step, t.history = step, history
		t.kept = nil
	case "fallback":
		f := &fallback{Epoch: e.Epoch, Seen: *e.Overfitting}
		if err := t.goBack(); err != nil {
			return err
		}
		t.fallBack(f)
	}
	return nil
}

// stopped reports whether catastrophic overfitting has ended the training.
func (t *Trainer) stopped() bool {
	if len(t.history) == 0 {
		return false
	}
	o := t.history[len(t.history)-1].Overfitting
	return o != nil && o.Action == "stop"
}

func (t *Trainer) fallBack(f *fallback) {
	t.fallback, t.kept = f, nil
	t.s.instead, t.s.watched = &pgdSeven, false
	clear(t.s.abnormal)
}

// goBack restores the state that was kept.
func (t *Trainer) goBack() error {
	h, m, state, err := split(t.kept)
	if err != nil {
		return err
	}
	for i, p := range m.Params {
		q := &t.model.Params[i]
		for _, c := range [...]struct{ to, from []float32 }{{q.W, p.W}, {q.B, p.B}, {q.Mean, p.Mean}, {q.Var, p.Var}} {
			copy(c.to, c.from)
		}
	}
	if err := t.restore(h); err != nil {
		return err
	}
	if err := t.load(state); err != nil {
		return err
	}
	t.s.reload()
	return nil
}

// takeKept takes the checkpoint to go back to off the end of another's state.
func (t *Trainer) takeKept(h header, state []byte) ([]byte, error) {
	want := t.goesBack() && !t.stopped()
	if h.Kept < 0 || h.Kept > len(state) || (h.Kept > 0) != want {
		return nil, fieldErr("header.kept", h.Kept, "%s", map[bool]string{true: "the bytes of a checkpoint to go back to", false: "0: there is nothing to go back to"}[want])
	}
	at := len(state) - h.Kept
	if h.Kept > 0 {
		if _, _, _, err := split(state[at:]); err != nil {
			return nil, &Error{Field: "kept", Got: err.Error(), Err: err}
		}
		t.kept = append([]byte(nil), state[at:]...)
	}
	return state[:at], nil
}

// restoreFallback goes on with the attack that the checkpoint says.
func (t *Trainer) restoreFallback(h header) error {
	if h.Fallback == nil {
		return nil
	}
	if f := h.Fallback.Epoch; f < 1 || f > t.c.Epochs || overfitting.Value(&t.c) != "fallback" || !t.s.inspected() {
		return fieldErr("header.fallback", f, "none, or an epoch of 1 … %d with overfitting fallback", t.c.Epochs)
	}
	t.fallBack(h.Fallback)
	return nil
}
