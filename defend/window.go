package defend

import (
	"github.com/epsball/epsball/model"
)

// mirror returns the pixel of a line of n that stands for place i, which may lie outside:
// the line is reflected at its ends, and the last pixel appears twice (d c b a | a b c d |
// d c b a).
func mirror(i, n int) int {
	i %= 2 * n
	if i < 0 {
		i += 2 * n
	}
	return min(i, 2*n-1-i)
}

// window holds which pixels lie in the window around each: for rows and for columns,
// those at offsets from, from+1, … from+size−1.
type window struct {
	in         model.Shape
	size       int
	rows, cols []int // of pixel i, entry k is [i·size+k]
}

func newWindow(in model.Shape, from, size int) window {
	list := func(n int) []int {
		at := make([]int, 0, n*size)
		for i := range n {
			for k := range size {
				at = append(at, mirror(i+from+k, n))
			}
		}
		return at
	}
	return window{in, size, list(in.H), list(in.W)}
}
