package verify

import (
	"sync"

	"github.com/epsball/epsball/kernels"
)

// planBudget bounds the memory of a verifier's plans, in bytes. Networks that people
// train need a few MB; a deep one on a large map has millions of different windows.
const planBudget = 64 << 20

// plans keeps the maps on windows that were used last, whatever the layer: layers of
// one shape share them. It is safe for concurrent use.
type plans struct {
	mu         sync.Mutex
	young, old map[planKey]*kernels.Linear
	bytes      int // of young
	budget     int // of both
}

// planKey is the same for windows with the same plan.
type planKey struct {
	shape   kernels.Shape
	adjoint bool
	windows [6]int // Shape.Same
	reads   [4]int // of a forward map: what it needs of its source
}

func newPlans() *plans {
	return &plans{young: map[planKey]*kernels.Linear{}, budget: planBudget}
}

// get returns the map of k, or nil.
func (p *plans) get(k *planKey) *kernels.Linear {
	p.mu.Lock()
	defer p.mu.Unlock()
	l := p.young[*k]
	if l == nil {
		if l = p.old[*k]; l != nil {
			p.keep(k, l)
		}
	}
	return l
}

// put keeps the map of k. Maps that have not been used for long are dropped.
func (p *plans) put(k *planKey, l *kernels.Linear) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.keep(k, l)
}

func (p *plans) keep(k *planKey, l *kernels.Linear) {
	const entry = 256 // about what a key takes in a map
	n := l.PlanBytes() + entry
	if p.bytes > 0 && p.bytes+n > p.budget/2 {
		p.old, p.young, p.bytes = p.young, map[planKey]*kernels.Linear{}, 0
	}
	p.young[*k] = l
	p.bytes += n
}
