package redteam

import (
	"cmp"
	"fmt"
	"math"
	"slices"

	"github.com/epsball/epsball/model"
)

// Order is a way to execute a network in float32 that a compiler, a library or a processor
// might take, the same for all sums: an order of their terms, fused or not.
type Order struct {
	Name  string
	Fused bool
	sort  func(t []term) // nil: bias, then products as they are stored
	lanes int            // partial sums that take turns; 0: one
}

func (o Order) String() string {
	if o.Fused {
		return o.Name + ", fused"
	}
	return o.Name
}

// Orders lists those that traps are sprung by.
func Orders() (list []Order) {
	by := func(less func(a, b term) int) func(t []term) {
		return func(t []term) { slices.SortStableFunc(t, less) }
	}
	for _, fused := range []bool{false, true} {
		list = append(list,
			Order{"as stored", fused, nil, 0},
			Order{"bias last", fused, func(t []term) { copy(t, append(slices.Clone(t[1:]), t[0])) }, 0},
			Order{"backwards", fused, slices.Reverse[[]term], 0},
			Order{"largest first", fused, byMagnitude, 0},
			Order{"smallest first", fused, func(t []term) { byMagnitude(t); slices.Reverse(t) }, 0},
			Order{"falling", fused, by(func(a, b term) int { return cmp.Compare(b.value, a.value) }), 0},
			Order{"rising", fused, by(func(a, b term) int { return cmp.Compare(a.value, b.value) }), 0},
			Order{"in 4 lanes", fused, nil, 4},
			Order{"in 8 lanes", fused, nil, 8},
		)
	}
	return list
}

// sum executes one sum. It reorders t.
func (o Order) sum(t []term) float32 {
	if o.sort != nil {
		o.sort(t)
	}
	lanes := make([]float32, max(1, o.lanes))
	for k, v := range t {
		s := &lanes[k%len(lanes)]
		if o.Fused {
			*s = fma(v.w, v.x, *s)
		} else {
			*s += float32(v.w * v.x)
		}
	}
	for n := len(lanes) / 2; n > 0; n /= 2 {
		for k := range n {
			lanes[k] += lanes[k+n]
		}
	}
	return lanes[0]
}

// run executes the network of sums and ReLUs in an order. The terms of a part take its
// place in the sum that reads it; the part itself becomes NaN. It is false if anything
// overflows.
func (n *network) run(x []float32, order Order) ([][]float32, bool) {
	acts := make([][]float32, len(n.sizes))
	acts[0] = x
	e := executor{network: n}
	parts := map[int]bool{}
	for i := range n.steps {
		if s := &n.steps[i]; s.part {
			parts[s.skip] = true
		}
	}
	for i := range n.steps {
		s := &n.steps[i]
		in, z := acts[s.in], make([]float32, n.sizes[s.out])
		for o := range z {
			switch {
			case s.kind == model.ReLU:
				z[o] = max(0, in[o])
			case s.kind != model.FC:
				panic(fmt.Sprintf("redteam: no order of %s", s.kind))
			case parts[s.out]:
				z[o] = float32(math.NaN())
				continue
			default:
				z[o] = order.sum(e.all(nil, s, o, acts))
			}
			if z[o]-z[o] != 0 {
				return nil, false
			}
		}
		acts[s.out] = z
	}
	return acts, true
}
