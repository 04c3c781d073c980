package kernels

import (
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
)

// meet returns a task of which n run at the same time, each on a worker of its own.
func meet(n int, f func(worker, task int)) func(worker, task int) {
	var all sync.WaitGroup
	all.Add(n)
	return func(worker, task int) {
		all.Done()
		all.Wait()
		f(worker, task)
	}
}

// TestPoolOnStartsFirst: start has run on each helper before its first task, once.
func TestPoolOnStartsFirst(t *testing.T) {
	const workers = 4
	before := settledGoroutines()
	var started atomic.Int32
	p := NewPoolOn(workers, func() { started.Add(1) })
	var seen [workers]int32
	for range 3 {
		p.Run(workers, meet(workers, func(worker, _ int) { seen[worker] = started.Load() }))
		require.EqualValues(t, workers-1, started.Load())
		for w, n := range seen {
			require.EqualValues(t, workers-1, n, "worker %d", w)
		}
	}
	p.Close()
	waitGoroutines(t, before, func() {})
}

// TestPoolPassesPanicsOn, from any worker, and works afterwards.
func TestPoolPassesPanicsOn(t *testing.T) {
	const workers = 3
	p := NewPool(workers)
	defer p.Close()
	culprit := errors.New("a bug of ours")
	for bad := range workers {
		var ran atomic.Int32
		var e *TaskPanic
		func() {
			defer func() { e, _ = recover().(*TaskPanic) }()
			p.Run(workers, meet(workers, func(worker, _ int) {
				ran.Add(1)
				if worker == bad {
					panic(culprit)
				}
			}))
		}()
		require.NotNil(t, e, "worker %d", bad)
		require.Equal(t, culprit, e.Value)
		require.True(t, strings.Contains(e.Error(), "TestPoolPassesPanicsOn"), "no stack of the task: %s", e)
		require.EqualValues(t, workers, ran.Load())
	}
	var sum atomic.Int64
	p.Run(100, func(_, task int) { sum.Add(int64(task)) })
	require.EqualValues(t, 4950, sum.Load())
}

// TestPoolPanicLeavesNoTask: those after one that panics run.
func TestPoolPanicLeavesNoTask(t *testing.T) {
	p := NewPool(2)
	defer p.Close()
	var ran atomic.Int64
	require.Panics(t, func() {
		p.Run(50, func(_, task int) {
			ran.Add(1)
			if task%2 == 0 {
				panic(task)
			}
		})
	})
	require.EqualValues(t, 50, ran.Load())
}
