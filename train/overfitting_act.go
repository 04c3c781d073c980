package train

import (
	"bytes"
	"fmt"
	"slices"
)

// Alarm returns the catastrophic overfitting that was acted on, or nil.
func (t *Trainer) Alarm() *Alarm {
	if t.alarm == nil {
		return nil
	}
	a := *t.alarm
	return &a
}

// goesBack reports whether a state is kept to go back to.
func (t *Trainer) goesBack() bool {
	return t.alarm == nil && t.s.inspected() && overfitting.choice(&t.c) != "warn"
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
	if t.alarm != nil && t.alarm.Epoch == e.Epoch {
		seen := t.alarm.Seen
		e.Overfitting = &seen // of the epoch that this one is done instead of
	}
	if e.Overfitting == nil || t.alarm != nil || !e.Overfitting.alarmed() {
		return t.keep()
	}
	e.Overfitting.Action = overfitting.choice(&t.c)
	if t.c.Alarm != nil {
		t.c.Alarm(*e)
	}
	if !t.goesBack() {
		return nil
	}
	alarm := &Alarm{Epoch: e.Epoch, Seen: *e.Overfitting}
	if err := t.goBack(); err != nil {
		return err
	}
	if alarm.Epoch == 1 && alarm.Seen.Action == "stop" {
		return fmt.Errorf("train: %w", ErrOverfitting)
	}
	t.heed(alarm)
	return nil
}

// heed ends the training, or has it go on with another attack.
func (t *Trainer) heed(a *Alarm) {
	t.alarm, t.kept = a, nil
	if a.Seen.Action == "fallback" {
		t.s.instead, t.s.watched = t.s.o.needs.attack.longer(), false
		clear(t.s.abnormal)
	}
}

// halted reports whether catastrophic overfitting has ended the training.
func (t *Trainer) halted() bool { return t.alarm != nil && t.alarm.Seen.Action == "stop" }

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
	if t.average != nil {
		t.average.mean, t.average.count = nil, 0
	}
	t.best = nil
	saved := t.saved
	if err := t.restore(h); err != nil {
		return err
	}
	t.saved = saved
	if err := t.load(state); err != nil {
		return err
	}
	t.s.reload()
	return nil
}

// takeKept takes the checkpoint to go back to off the end of another's state.
func (t *Trainer) takeKept(h header, state []byte) ([]byte, error) {
	want := "0: there is nothing to go back to"
	if t.goesBack() {
		want = "the bytes of a checkpoint to go back to"
	}
	if h.Kept < 0 || h.Kept > len(state) || (h.Kept > 0) != t.goesBack() {
		return nil, fieldErr("header.kept", h.Kept, "%s", want)
	}
	at := len(state) - h.Kept
	if h.Kept == 0 {
		return state, nil
	}
	kept, m, _, err := split(state[at:])
	if err != nil {
		return nil, &Error{Field: "kept", Got: err.Error(), Err: err}
	}
	if !bytes.Equal(m.Arch.CanonicalJSON(), t.model.Arch.CanonicalJSON()) || kept.Step > h.Step {
		return nil, fieldErr("kept", "a checkpoint of another training", "an earlier one of this")
	}
	t.kept = slices.Clone(state[at:])
	return state[:at], nil
}

// restoreAlarm goes on as the checkpoint says.
func (t *Trainer) restoreAlarm(h header) error {
	a := h.Alarm
	if a == nil {
		return nil
	}
	policy := overfitting.choice(&t.c)
	if a.Epoch < 1 || a.Epoch > t.c.Epochs || a.Seen.Action != policy || !t.goesBack() {
		return fieldErr("header.alarm", fmt.Sprintf("%s in epoch %d", a.Seen.Action, a.Epoch), "none, or %s in one of the %d epochs", policy, t.c.Epochs)
	}
	t.heed(a)
	return nil
}
