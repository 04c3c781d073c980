package attack

import (
	"math"

	"github.com/epsball/epsball/kernels"
)

// projectL0 clamps each image of a block to the box and keeps its largest changes, as
// many as the ball allows; of equal ones, those that come first in the block.
func (s *Space) projectL0(x, lo, hi, centre []float32) {
	most := int(min(s.eps, float64(s.Size)))
	for k, v := range x {
		x[k] = min(max(v, lo[k]), hi[k])
	}
	for l := range int(s.Layout) {
		s.keepLargest(x[l:], centre[l:], most)
	}
}

func (s *Space) keepLargest(x, centre []float32, most int) {
	w, keys, changed := int(s.Layout), s.sparse.keys, 0
	for i := range keys {
		if keys[i] = change(x[i*w], centre[i*w]); keys[i] > 0 {
			changed++
		}
	}
	if changed <= most {
		return
	}
	least, spare := uint32(infinity), 0 // with most = 0, all go
	if most > 0 {
		least, spare = kthLargest(keys, most), most
	}
	for i := 0; i < len(x); i += w {
		if change(x[i], centre[i]) > least {
			spare--
		}
	}
	for i := 0; i < len(x); i += w {
		switch d := change(x[i], centre[i]); {
		case d > least:
		case d == least && spare > 0:
			spare--
		default:
			x[i] = centre[i]
		}
	}
}

// change is the bits of |v − c|, which are 0 for no change alone, and ordered as it.
func change(v, c float32) uint32 { return math.Float32bits(v-c) &^ (1 << 31) }

// randomL0 gives ⌊ε⌋ values of x, drawn from all, random values of [0, 1].
func randomL0(x []float32, s *kernels.Stream, eps float64) {
	need := int(min(eps, float64(len(x))))
	for k := range x {
		if s.Intn(len(x)-k) < need {
			x[k] = s.Float32()
			need--
		}
	}
}
