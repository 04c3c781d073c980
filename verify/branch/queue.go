package branch

import "container/heap"

// queue holds what is open, the lowest bound first.
type queue[T interface{ bound() float32 }] []T

func (q *queue[T]) put(x T) { heap.Push(q, x) }
func (q *queue[T]) take() T { return heap.Pop(q).(T) }

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
