package verify

import (
	"sync"

	"github.com/epsball/epsball/kernels"
)

// planBudget bounds the memory of a verifier's plans, in bytes: of dense maps; those of
// depthwise convolutions and pools have a quarter. Networks that people train need a few
// MB; a deep one on a large map has millions of different windows.
const planBudget = 64 << 20

// plans keeps the maps on windows that were used last, whatever the layer: layers of
// one shape share them. It is safe for concurrent use.
type plans[K comparable, V planned] struct {
	mu         sync.Mutex
	young, old map[K]V
	bytes      int // of young
	budget     int // of both
}

type planned interface {
	comparable
	PlanBytes() int
}

// planKey is the same for windows with the same plan.
type planKey struct {
	shape   kernels.Shape
	adjoint bool
	windows [6]int // Shape.Same
	reads   [4]int // of a forward map: what it needs of its source
}

// slideKey is planKey for depthwise convolutions and means.
type slideKey struct {
	shape   kernels.Sliding
	mean    bool
	counted bool // padding counts
	adjoint bool
	windows [6]int
	reads   [4]int
	at      [2]int // of the outputs, where the number of a mean's pixels depends on it
}

// slidePlan is one of both.
type slidePlan struct {
	depthwise *kernels.Depthwise
	mean      *kernels.Pooling
}

// PlanBytes returns the memory that the plan holds.
func (p *slidePlan) PlanBytes() int {
	if p.mean != nil {
		return p.mean.Bytes()
	}
	return p.depthwise.PlanBytes()
}

func newPlans[K comparable, V planned](budget int) *plans[K, V] {
	return &plans[K, V]{young: map[K]V{}, budget: budget}
}

// get returns the map of k, or nil.
func (p *plans[K, V]) get(k *K) V {
	p.mu.Lock()
	defer p.mu.Unlock()
	var none V
	l := p.young[*k]
	if l == none {
		if l = p.old[*k]; l != none {
			p.keep(k, l)
		}
	}
	return l
}

// put keeps the map of k. Maps that have not been used for long are dropped.
func (p *plans[K, V]) put(k *K, l V) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.keep(k, l)
}

func (p *plans[K, V]) keep(k *K, l V) {
	const entry = 256 // about what a key takes in a map
	n := l.PlanBytes() + entry
	if p.bytes > 0 && p.bytes+n > p.budget/2 {
		p.old, p.young, p.bytes = p.young, map[K]V{}, 0
	}
	p.young[*k] = l
	p.bytes += n
}
