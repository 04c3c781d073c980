package main

import (
	"container/heap"
	"math"
	"math/rand/v2"
)

// job is what is simulated: shards that processors take one after the other. Times are seconds.
type job struct {
	Shards     int
	Work       float64 // of a shard, on a processor like most
	Spread     float64 // of that, from shard to shard: standard deviation of the logarithm
	Cost       float64 // of a shard besides its work
	Processors int
	Start      float64 // that the scheduler takes to start a task, one after the other
	Slow       float64 // share of processors that are stragglers
	Slower     float64 // how many times longer these take
	Life       float64 // mean time of a processor between failures; 0: they do not fail
	Down       float64 // that it then takes to come back
	Block      float64 // work that a failure loses, at most; the rest is in the journal
	Twins      bool    // when all shards are begun, free processors begin those under way once more
	Seed       uint64
}

// outcome is what came of it.
type outcome struct {
	Makespan float64
	Work     float64 // of all shards, on processors like most
	Failures int
	Twins    int     // shards begun once more
	Tail     float64 // from when a processor first found no shard to begin until the end
}

// efficiency is the share of the processors' time that the work would have taken, had it been
// divided evenly.
func (o *outcome) efficiency(j *job) float64 { return o.Work / o.Makespan / float64(j.Processors) }

// event is that a processor is free, its shard being done or not.
type event struct {
	at        float64
	processor int
	shard     int     // −1: none
	left      float64 // of its work, after a failure; 0: it is done
}

// simulate runs the job, event by event.
func simulate(j *job) outcome {
	r := rand.New(rand.NewPCG(j.Seed, 0))
	var o outcome
	work := make([]float64, j.Shards)
	for i := range work {
		work[i] = j.Work * math.Exp(j.Spread*r.NormFloat64()-j.Spread*j.Spread/2)
		o.Work += work[i]
	}
	slowdown := make([]float64, j.Processors)
	events := make(queue, 0, j.Processors)
	for p := range slowdown {
		if slowdown[p] = 1; r.Float64() < j.Slow {
			slowdown[p] = j.Slower
		}
		events = append(events, event{processor: p, shard: -1})
	}
	done := make([]bool, j.Shards)
	var again []event // shards that a failure has cut off
	var idle []int    // processors that found nothing to begin
	begun, twins, left, scheduler, tail := 0, 0, j.Shards, 0.0, -1.0
	// take returns a shard to begin, and how much of it is left; −1: there is none.
	take := func() (int, float64) {
		for n := len(again) - 1; n >= 0; n-- {
			e := again[n]
			if again = again[:n]; !done[e.shard] {
				return e.shard, e.left
			}
		}
		if begun < j.Shards {
			begun++
			return begun - 1, work[begun-1]
		}
		for j.Twins && twins < j.Shards { // the one begun first is the most likely to be stuck
			twins++
			if s := twins - 1; !done[s] {
				o.Twins++
				return s, work[s]
			}
		}
		return -1, 0
	}
	for left > 0 {
		e := heap.Pop(&events).(event)
		if e.shard >= 0 && e.left > 0 {
			heap.Push(&events, event{at: e.at + j.Down, processor: e.processor, shard: -1})
			again = append(again, e)
			if len(idle) == 0 {
				continue
			}
			e.processor, idle = idle[len(idle)-1], idle[:len(idle)-1]
		} else if e.shard >= 0 && !done[e.shard] {
			done[e.shard] = true
			left--
			o.Makespan = e.at
		}
		if tail < 0 && begun == j.Shards {
			tail = e.at
		}
		shard, todo := take()
		if shard < 0 {
			idle = append(idle, e.processor)
			continue
		}
		scheduler = max(e.at, scheduler) + j.Start
		took := j.Cost + todo*slowdown[e.processor]
		end := event{at: scheduler + took, processor: e.processor, shard: shard}
		if j.Life > 0 {
			if life := r.ExpFloat64() * j.Life; life < took {
				kept := max(0, life-j.Cost) / slowdown[e.processor]
				kept -= math.Mod(kept, max(j.Block, 1e-9))
				end.at, end.left = scheduler+life, max(todo-kept, 1e-9)
				o.Failures++
			}
		}
		heap.Push(&events, end)
	}
	if tail >= 0 {
		o.Tail = o.Makespan - tail
	}
	return o
}

// queue has the earliest event first.
type queue []event

// Len and the others are what package heap asks for.
func (q queue) Len() int { return len(q) }

func (q queue) Less(i, k int) bool {
	return q[i].at < q[k].at || q[i].at == q[k].at && q[i].processor < q[k].processor
}
func (q queue) Swap(i, k int) { q[i], q[k] = q[k], q[i] }
func (q *queue) Push(x any)   { *q = append(*q, x.(event)) }
func (q *queue) Pop() any {
	n := len(*q) - 1
	e := (*q)[n]
	*q = (*q)[:n]
	return e
}
