package kernels

import (
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestPoolRunsEachTaskOnce, with workers that never overlap with themselves.
func TestPoolRunsEachTaskOnce(t *testing.T) {
	for workers := 1; workers <= 5; workers++ {
		p := NewPool(workers)
		require.Equal(t, workers, p.Workers())
		busy := make([]atomic.Int32, workers)
		for tasks := range 40 {
			ran := make([]int, tasks) // unsynchronised: the race detector proves exclusivity and the join
			perWorker := make([]int, workers)
			var clashes atomic.Int32
			p.Run(tasks, func(worker, task int) {
				if busy[worker].Add(1) != 1 {
					clashes.Add(1)
				}
				ran[task]++
				perWorker[worker]++
				if task%7 == 0 {
					runtime.Gosched()
				}
				busy[worker].Add(-1)
			})
			require.Zero(t, clashes.Load())
			total := 0
			for task, n := range ran {
				require.Equal(t, 1, n, "task %d of %d on %d workers", task, tasks, workers)
			}
			for _, n := range perWorker {
				total += n
			}
			require.Equal(t, tasks, total)
		}
		p.Close()
	}
}

func TestPoolDefaultSize(t *testing.T) {
	for _, n := range []int{0, -1} {
		p := NewPool(n)
		require.Equal(t, runtime.GOMAXPROCS(0), p.Workers())
		p.Close()
	}
}

// TestPoolUsesItsWorkers: tasks that wait for each other can only end if they
// run at the same time.
func TestPoolUsesItsWorkers(t *testing.T) {
	const workers = 3
	p := NewPool(workers)
	defer p.Close()
	var arrived atomic.Int32
	all := make(chan struct{})
	seen := make([]bool, workers)
	p.Run(workers, func(worker, _ int) {
		seen[worker] = true
		if arrived.Add(1) == workers {
			close(all)
		}
		select {
		case <-all:
		case <-time.After(10 * time.Second):
		}
	})
	require.Equal(t, []bool{true, true, true}, seen)
}

// TestPoolConcurrentRuns: calls from several goroutines take turns.
func TestPoolConcurrentRuns(t *testing.T) {
	p := NewPool(3)
	defer p.Close()
	var running, clashes atomic.Int32
	var wg sync.WaitGroup
	sums := make([]atomic.Int64, 6)
	for caller := range sums {
		wg.Go(func() {
			for range 50 {
				var mine atomic.Bool
				p.Run(5, func(_, task int) {
					if mine.CompareAndSwap(false, true) && running.Add(1) != 1 {
						clashes.Add(1)
					}
					if sums[caller].Add(int64(task))%10 == 0 { // 0+1+2+3+4: the last task of this call
						running.Add(-1)
					}
				})
			}
		})
	}
	wg.Wait()
	for i := range sums {
		require.EqualValues(t, 50*10, sums[i].Load())
	}
}

func TestPoolDoesNotAllocate(t *testing.T) {
	for workers := 1; workers <= 3; workers++ {
		p := NewPool(workers)
		var n atomic.Int64
		f := func(_, task int) { n.Add(int64(task)) }
		p.Run(8, f) // starts the goroutines' stacks
		require.Zero(t, testing.AllocsPerRun(100, func() { p.Run(8, f) }), "%d workers", workers)
		p.Close()
	}
}

// waitGoroutines waits until no more than want goroutines are left.
func waitGoroutines(t *testing.T, want int, step func()) {
	t.Helper()
	for end := time.Now().Add(5 * time.Second); runtime.NumGoroutine() > want; {
		require.True(t, time.Now().Before(end), "%d goroutines, want %d", runtime.NumGoroutine(), want)
		step()
		time.Sleep(time.Millisecond)
	}
}

// settledGoroutines counts goroutines once those of earlier tests have ended.
func settledGoroutines() int {
	n := runtime.NumGoroutine()
	for same := 0; same < 10; same++ {
		time.Sleep(time.Millisecond)
		if now := runtime.NumGoroutine(); now != n {
			n, same = now, 0
		}
	}
	return n
}

func TestPoolLeaksNothing(t *testing.T) {
	before := settledGoroutines()
	p := NewPool(1)
	require.Equal(t, before, runtime.NumGoroutine(), "a pool of one has no goroutine")
	p.Run(3, func(int, int) {})
	p.Close()
	for range 20 {
		p := NewPool(4)
		p.Run(9, func(int, int) {})
		p.Close()
		p.Close() // twice is once
	}
	waitGoroutines(t, before, func() {})

	for range 5 { // forgotten, not closed
		NewPool(4).Run(9, func(int, int) {})
	}
	waitGoroutines(t, before, runtime.GC)
}
