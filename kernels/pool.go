package kernels

import (
	"runtime"
	"sync"
	"sync/atomic"
)

// Pool runs tasks on a fixed number of workers, the caller among them. A
// fork-join allocates nothing. Run may be called from several goroutines; the
// calls take turns. A pool of one worker owns no goroutine.
type Pool struct{ s *poolState }

type poolState struct {
	mu    sync.Mutex
	f     func(worker, task int)
	tasks int64
	start []chan struct{} // one for each worker but the caller
	done  chan struct{}
	once  sync.Once

	_    [64]byte // keeps the contended counter on its own cache line
	next atomic.Int64
	_    [64]byte
}

// NewPool returns a pool of n workers; n < 1 means GOMAXPROCS. Close ends its
// goroutines; a pool that becomes unreachable is closed by the runtime.
func NewPool(n int) *Pool {
	if n < 1 {
		n = runtime.GOMAXPROCS(0)
	}
	s := &poolState{start: make([]chan struct{}, n-1), done: make(chan struct{}, n)}
	for i := range s.start {
		s.start[i] = make(chan struct{}, 1)
		go s.work(i + 1)
	}
	p := &Pool{s}
	runtime.AddCleanup(p, (*poolState).close, s)
	return p
}

// Workers returns the number of workers.
func (p *Pool) Workers() int { return len(p.s.start) + 1 }

// Run calls f(worker, task) once for each task in [0, tasks), and returns when
// all calls have returned. Calls with the same worker never overlap. Which
// worker runs a task is left open: results must not depend on it.
func (p *Pool) Run(tasks int, f func(worker, task int)) {
	s := p.s
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.start) == 0 || tasks <= 1 {
		for t := range tasks {
			f(0, t)
		}
		return
	}
	s.f, s.tasks = f, int64(tasks)
	s.next.Store(0)
	helpers := min(len(s.start), tasks-1)
	for _, c := range s.start[:helpers] {
		c <- struct{}{}
	}
	s.drain(0)
	for range helpers {
		<-s.done
	}
	s.f = nil
	runtime.KeepAlive(p)
}

// Close ends the workers. Run must not be called after or during Close.
func (p *Pool) Close() { p.s.close() }

func (s *poolState) close() {
	s.once.Do(func() {
		for _, c := range s.start {
			close(c)
		}
	})
}

func (s *poolState) work(worker int) {
	for range s.start[worker-1] {
		s.drain(worker)
		s.done <- struct{}{}
	}
}

func (s *poolState) drain(worker int) {
	for {
		t := s.next.Add(1) - 1
		if t >= s.tasks {
			return
		}
		s.f(worker, int(t))
	}
}
