package kernels

import (
	"fmt"
	"runtime"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"
)

// Pool runs tasks on a fixed number of workers, the caller among them. A
// fork-join allocates nothing. Run may be called from several goroutines; the
// calls take turns. A pool of one worker owns no goroutine.
//
// Waking a sleeping goroutine takes longer than a layer of a small network. So a
// worker without work, and a caller whose tasks are all taken, watch for a short
// while before they sleep.
type Pool struct{ s *poolState }

// An idle worker keeps its CPU for idleWatch, which is longer than the part of a
// pass that is not shared; while others work on a run, for up to busyWatch: one
// that was woken too late for a run should not sleep again before the next.
const (
	idleWatch = 50 * time.Microsecond
	busyWatch = 2 * time.Millisecond
)

type poolState struct {
	mu      sync.Mutex
	f       func(worker, task int)
	tasks   uint64
	start   func()   // nil, or what a helper does first, on a thread of its own
	helpers []helper // the workers but the caller
	failed  atomic.Pointer[TaskPanic]
	spin    atomic.Bool // there is a CPU for each worker
	closed  atomic.Bool
	done    chan struct{} // wakes the caller

	// Contended, hence on cache lines of their own.
	_       [64]byte
	ticket  atomic.Uint64 // number of the run << 32 | tasks that nobody has taken
	_       [56]byte
	left    atomic.Int64 // tasks that have not returned
	waiting atomic.Bool  // the caller sleeps
	_       [48]byte
}

// helper is a worker other than the caller.
type helper struct {
	asleep atomic.Bool
	wake   chan struct{}
	_      [48]byte
}

const ticketTasks = 1<<32 - 1

// NewPool returns a pool of n workers; n < 1 means GOMAXPROCS. Close ends its
// goroutines; a pool that becomes unreachable is closed by the runtime.
func NewPool(n int) *Pool { return NewPoolOn(n, nil) }

// NewPoolOn is NewPool with workers, the caller excepted, that each keep an
// operating system's thread to themselves and call start on it before their first
// task. A host written in another language sets the threads' floating-point mode
// so: those that Go makes inherit the mode of the one that loaded it.
func NewPoolOn(n int, start func()) *Pool {
	if n < 1 {
		n = runtime.GOMAXPROCS(0)
	}
	s := &poolState{start: start, helpers: make([]helper, n-1), done: make(chan struct{}, 1)}
	for i := range s.helpers {
		s.helpers[i].wake = make(chan struct{}, 1)
		go s.work(i + 1)
	}
	p := &Pool{s}
	runtime.AddCleanup(p, (*poolState).close, s)
	return p
}

// Workers returns the number of workers.
func (p *Pool) Workers() int { return len(p.s.helpers) + 1 }

// Run calls f(worker, task) once for each task in [0, tasks), and returns when
// all calls have returned. Calls with the same worker never overlap. Which
// worker runs a task is left open: results must not depend on it. If a call panics,
// Run does so too once the others have returned, with a *TaskPanic.
func (p *Pool) Run(tasks int, f func(worker, task int)) {
	s := p.s
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.helpers) == 0 || tasks <= 1 {
		for t := range tasks {
			f(0, t)
		}
		return
	}
	workers := p.Workers()
	s.spin.Store(workers <= runtime.GOMAXPROCS(0) && workers <= runtime.NumCPU())
	s.f, s.tasks = f, uint64(tasks)
	s.left.Store(int64(tasks))
	run := s.ticket.Load()>>32 + 1
	s.ticket.Store(run<<32 | uint64(tasks))
	sleepers := tasks - 1
	for i := range s.helpers {
		if h := &s.helpers[i]; sleepers > 0 && h.asleep.CompareAndSwap(true, false) {
			h.wake <- struct{}{}
			sleepers--
		}
	}
	s.help(0)
	s.join()
	s.f = nil
	runtime.KeepAlive(p)
	if e := s.failed.Swap(nil); e != nil {
		panic(e)
	}
}

// TaskPanic is what a task of a pool panicked with, and where.
type TaskPanic struct {
	Value any
	Stack []byte
}

func (e *TaskPanic) Error() string { return fmt.Sprintf("%v\n\n%s", e.Value, e.Stack) }

// help is drain for tasks that may panic: those that are left run nevertheless.
func (s *poolState) help(worker int) {
	for !s.drained(worker) {
	}
}

func (s *poolState) drained(worker int) (all bool) {
	defer func() {
		if !all {
			s.failed.CompareAndSwap(nil, &TaskPanic{recover(), debug.Stack()})
			s.ended()
		}
	}()
	s.drain(worker)
	return true
}

// drain takes tasks of the current run until none is left. A task that is taken
// belongs to that run, for it cannot end before.
func (s *poolState) drain(worker int) {
	for {
		v := s.ticket.Load()
		left := v & ticketTasks
		if left == 0 {
			return
		}
		if !s.ticket.CompareAndSwap(v, v-1) {
			continue
		}
		s.f(worker, int(s.tasks-left))
		s.ended()
	}
}

// ended counts a task that has returned.
func (s *poolState) ended() {
	if s.left.Add(-1) == 0 && s.waiting.CompareAndSwap(true, false) {
		s.done <- struct{}{}
	}
}

// join waits for the tasks that helpers have taken.
func (s *poolState) join() {
	if s.watch(func() bool { return s.left.Load() == 0 }) {
		return
	}
	s.waiting.Store(true)
	if s.left.Load() == 0 && s.waiting.CompareAndSwap(true, false) {
		return // nobody will say so
	}
	<-s.done
}

// watch waits a short while until ready returns true, which it returns.
func (s *poolState) watch(ready func() bool) bool {
	if !s.spin.Load() {
		return ready()
	}
	pause := available[0].pause
	start := time.Now()
	for busy := start; ; {
		for range 16 {
			if ready() {
				return true
			}
			pause(1)
		}
		now := time.Now()
		if s.left.Load() > 0 && now.Sub(start) < busyWatch {
			busy = now
		}
		if now.Sub(busy) > idleWatch {
			return ready()
		}
	}
}

func (s *poolState) work(worker int) {
	if s.start != nil {
		runtime.LockOSThread() // the thread ends with the goroutine
		s.start()
	}
	h := &s.helpers[worker-1]
	ready := func() bool { return s.ticket.Load()&ticketTasks != 0 || s.closed.Load() }
	for {
		s.help(worker)
		if s.closed.Load() {
			return
		}
		if s.watch(ready) {
			continue
		}
		h.asleep.Store(true)
		if ready() && h.asleep.CompareAndSwap(true, false) {
			continue // nobody will wake it
		}
		<-h.wake
	}
}

// Close ends the workers. Run must not be called after or during Close.
func (p *Pool) Close() { p.s.close() }

func (s *poolState) close() {
	s.closed.Store(true)
	for i := range s.helpers {
		if h := &s.helpers[i]; h.asleep.CompareAndSwap(true, false) {
			h.wake <- struct{}{}
		}
	}
}
