//go:build cgo

package main

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/epsball/epsball"
	"github.com/epsball/epsball/kernels"
)

// handle is a loaded model. C holds its number.
type handle struct {
	model   *epsball.Model
	pool    *kernels.Pool
	size    int          // values of an image
	refs    atomic.Int64 // the table's and one for each call under way
	broken  atomic.Bool  // a call panicked
	scratch sync.Pool    // *epsball.Prediction

	mu     sync.Mutex
	ctx    context.Context // ends calls under way
	cancel context.CancelFunc
}

// handles maps numbers, which are never used twice, to models that are not closed.
var handles = struct {
	sync.RWMutex
	last   uintptr
	models map[uintptr]*handle
}{models: map[uintptr]*handle{}}

func newHandle(m *epsball.Model, pool *kernels.Pool) uintptr {
	c, h, w := m.Input()
	e := &handle{model: m, pool: pool, size: c * h * w}
	e.scratch.New = func() any { return new(epsball.Prediction) }
	e.refs.Store(1)
	e.ctx, e.cancel = context.WithCancel(context.Background())
	handles.Lock()
	defer handles.Unlock()
	for {
		handles.last++ // on 32 bits it comes round
		if _, used := handles.models[handles.last]; !used && handles.last != 0 {
			handles.models[handles.last] = e
			return handles.last
		}
	}
}

// acquire returns the model of a number for one call, which ends with release.
func acquire(id uintptr) (*handle, error) {
	handles.RLock()
	defer handles.RUnlock()
	h := handles.models[id]
	switch {
	case h == nil:
		return nil, errHandle
	case h.broken.Load():
		return nil, errBroken
	}
	h.refs.Add(1)
	return h, nil
}

// release lets go of a model; nil is none. The last one ends it.
func (h *handle) release() {
	if h != nil && h.refs.Add(-1) == 0 {
		h.cancel()
		h.model.Close()
		h.pool.Close()
	}
}

func closeHandle(id uintptr) error {
	handles.Lock()
	h := handles.models[id]
	delete(handles.models, id)
	handles.Unlock()
	if h == nil {
		return errHandle
	}
	h.release()
	return nil
}

// context returns what ends a call: epsball_cancel or the time limit, if any.
func (h *handle) context(limitMS uint32) (context.Context, context.CancelFunc) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if limitMS == 0 {
		return h.ctx, func() {}
	}
	return context.WithTimeout(h.ctx, time.Duration(limitMS)*time.Millisecond)
}

// interrupt ends the calls under way.
func (h *handle) interrupt() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.cancel()
	h.ctx, h.cancel = context.WithCancel(context.Background())
}
