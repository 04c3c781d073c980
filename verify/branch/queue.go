package branch

import (
	"container/heap"
	"math"
)

// item is what is open: a part or a cell.
type item interface {
	bound() float32
	bytes() int // of memory
}

// frontier holds what is open of a tree.
type frontier[T item] struct {
	queue queue[T]
	stack []T // goes before the queue, the last one first: where memory is short
	held  int // bytes, an estimate
}

// put adds x, on the stack if the search is to go deep.
func (f *frontier[T]) put(x T, deep bool) {
	f.held += x.bytes()
	if deep {
		f.stack = append(f.stack, x)
	} else {
		heap.Push(&f.queue, x)
	}
}

// take removes what is to be divided next; there must be something.
func (f *frontier[T]) take() (x T) {
	if n := len(f.stack) - 1; n >= 0 {
		x = f.stack[n]
		clear(f.stack[n:])
		f.stack = f.stack[:n]
	} else {
		x = heap.Pop(&f.queue).(T)
	}
	f.held -= x.bytes()
	return x
}

// next is what take would return.
func (f *frontier[T]) next() T {
	if n := len(f.stack); n > 0 {
		return f.stack[n-1]
	}
	return f.queue[0]
}

func (f *frontier[T]) len() int { return len(f.queue) + len(f.stack) }

// all lists what is open.
func (f *frontier[T]) all() []T { return append(append(make([]T, 0, f.len()), f.stack...), f.queue...) }

// low is the lowest bound; +Inf: of none.
func (f *frontier[T]) low() float32 {
	low := float32(math.Inf(1))
	if len(f.queue) > 0 {
		low = f.queue[0].bound()
	}
	for _, x := range f.stack {
		low = min(low, x.bound())
	}
	return low
}

// queue has the lowest bound first.
type queue[T item] []T

// Len and the others are what package heap asks for.
func (q queue[T]) Len() int           { return len(q) }
func (q queue[T]) Less(i, j int) bool { return q[i].bound() < q[j].bound() }
func (q queue[T]) Swap(i, j int)      { q[i], q[j] = q[j], q[i] }
func (q *queue[T]) Push(x any)        { *q = append(*q, x.(T)) }
func (q *queue[T]) Pop() any {
	n := len(*q) - 1
	x := (*q)[n]
	clear((*q)[n:])
	*q = (*q)[:n]
	return x
}
