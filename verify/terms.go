package verify

import (
	"fmt"

	"github.com/epsball/epsball/net"
)

// bound holds the constants of one node that adds products up, or numbers.
type rounding struct {
	fanIn int
	delta float64
}

// newRounding derives the constants of a node in a sum of so many terms; extra is what
// its δ covers beyond the fan-in: terms is one more than that, or larger (step 6).
func newRounding(fanIn, terms, extra int) (rounding, error) {
	if fanIn > maxFan {
		return rounding{}, fmt.Errorf("fan-in %d: rounding is bounded up to %d", fanIn, maxFan)
	}
	if terms > 2*maxFan {
		return rounding{}, fmt.Errorf("part of a sum of %d terms: rounding is bounded up to %d", terms, 2*maxFan)
	}
	beyond := max(0, terms-extraLayer-fanIn)
	return rounding{fanIn, gamma(fanIn + extra + int(keep(termWholeSum, float64(beyond))))}, nil
}

const (
	extraLayer  = 2  // step 2 needs 1
	extraMargin = 4  // step 4 needs 2
	extraFirst  = 16 // step 5 needs 15
)

// fanInOf returns the number K of products, or of pixels of a mean, that an output of
// an operation adds up; adds reports whether it is such an operation, or an add.
func fanInOf(op net.Operation) (fanIn int, adds bool) {
	switch op := op.(type) {
	case *net.Affine:
		return op.Shape.FanIn(), true
	case *net.Depthwise:
		return op.Sliding.Taps(), true
	case *net.Grouped:
		return op.Shape.FanIn(), true
	case *net.Pool:
		return op.Sliding.Taps(), op.Mean
	case *net.Sum:
		return 0, true
	}
	return 0, false
}

// addsOf returns the activations that a node adds, as they are, to its other terms:
// those of an add.
func addsOf(n *net.Node) []int {
	switch op := n.Op.(type) {
	case *net.Sum:
		return n.In
	case *net.Affine:
		if op.Skip >= 0 {
			return n.In[1:]
		}
	}
	return nil
}

// sumTerms returns for each node the number T of terms of the sum it is part of
// (step 6); 0 for those that add nothing up.
func sumTerms(nodes []net.Node) []int {
	readers := readersOf(nodes)
	terms, sum := make([]int, len(nodes)), make([]int, len(nodes))
	for i := range nodes {
		n := &nodes[i]
		sum[i] = i
		k, adds := fanInOf(n.Op)
		if !adds {
			continue
		}
		if _, only := n.Op.(*net.Sum); !only {
			terms[i] = k + 1
		}
		for _, a := range addsOf(n) {
			before := a - 1
			if before < 0 || readers[a] > 1 || nodes[before].ReLU || terms[before] == 0 {
				terms[i]++
				continue
			}
			terms[i] += terms[before] // its terms, then
			for j := range i {
				if sum[j] == before {
					sum[j] = i
				}
			}
		}
	}
	for i := range terms {
		terms[i] = terms[sum[i]]
	}
	return terms
}

// readersOf returns how many nodes read or add each activation; one that reads and
// adds the same counts twice.
func readersOf(nodes []net.Node) []int {
	readers := make([]int, len(nodes)+1)
	for i := range nodes {
		for _, a := range nodes[i].In {
			readers[a]++
		}
	}
	return readers
}
