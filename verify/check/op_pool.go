package check

import "math"

// avgPool is the sum of a window's elements on the input over their number, or over
// that of the whole window.
type avgPool struct {
	window
	divisors []float64 // of each output pixel
}

func newAvgPool(w window, countPadding bool) *avgPool {
	o := &avgPool{w, make([]float64, w.out.H*w.out.W)}
	if countPadding {
		for k := range o.divisors {
			o.divisors[k] = float64(w.size())
		}
	} else {
		o.pixels(whole(o.out), func(out, _ int) { o.divisors[out]++ })
	}
	return o
}

// interval allows for a sum of n elements, in any order, and a division by n or a
// product with a rounded 1/n, before or after: each element passes n + 1 roundings at
// most, as a term of a conv with n products does.
func (o *avgPool) interval(s *state, i int, b *bounds) error {
	n := &s.nodes[i]
	p := &s.bounds[n.in[0]]
	channels := n.shape.C
	sum := b.m // until close
	o.pixels(whole(o.out), func(out, in int) {
		for c := range channels {
			b.lo[out*channels+c] += p.lo[in*channels+c]
			b.hi[out*channels+c] += p.hi[in*channels+c]
			sum[out*channels+c] += p.m[in*channels+c]
		}
	})
	for pixel, d := range o.divisors {
		for k := pixel * channels; k < (pixel+1)*channels; k++ {
			b.lo[k] /= d
			b.hi[k] /= d
			e := n.rounding(sum[k]/d, poolError)
			if err := s.widen(b, k, sum[k]/d, e, sum[k]+float64(d*e.e)); err != nil {
				return err
			}
		}
	}
	return nil
}

func (o *avgPool) backward(s *state, i int) float64 {
	f, channels := &s.forms[i], o.in.C
	in := s.grow(s.nodes[i].in[0], o.seen(f.region))
	o.pixels(f.region, func(out, from int) {
		for c := range channels {
			in[from*channels+c] += f.a[out*channels+c] / o.divisors[out]
		}
	})
	return 0
}

// maxPool is the largest element of a window on the input.
//
// Lines. Let i be the first element of the largest upper bound, b the largest upper
// bound of the others. If lᵢ ≥ b the output is xᵢ. Else max(x) ≤ max(xᵢ, b), which is
// convex in xᵢ, and so not above the chord from (lᵢ, b) to (uᵢ, uᵢ). And max(x) ≥ xⱼ for
// any j: that with the largest l + u leaves the smallest volume; of those within a
// thousandth of the window's width, so that rounding does not decide, the first. (Taps
// are in the order of the kernel, rows first.)
type maxPool struct{ window }

// planes are those of each output, over one element of the input each.
type planes struct {
	low, high        []int // elements; low's plane is that element
	slope, intercept []float64
}

// taps calls f with the elements that each output sees.
func (o *maxPool) taps(f func(out int, in []int)) {
	in := make([][]int, o.out.H*o.out.W)
	o.pixels(whole(o.out), func(out, from int) { in[out] = append(in[out], from) })
	for out, pixels := range in {
		list := make([]int, len(pixels))
		for c := range o.in.C {
			for k, pixel := range pixels {
				list[k] = pixel*o.in.C + c
			}
			f(out*o.in.C+c, list)
		}
	}
}

// ends returns, of the elements that an output sees, the first of the largest upper
// bound, the largest upper bound of the others, −Inf if there are none, and the largest
// lower bound.
func (b *bounds) ends(in []int) (first int, second, low float64) {
	first, second, low = in[0], math.Inf(-1), b.lo[in[0]]
	for _, k := range in[1:] {
		low = max(low, b.lo[k])
		if b.hi[k] > b.hi[first] {
			first, second = k, b.hi[first]
		} else {
			second = max(second, b.hi[k])
		}
	}
	return first, second, low
}

func (o *maxPool) interval(s *state, i int, b *bounds) error {
	p, size := &s.bounds[s.nodes[i].in[0]], len(b.lo)
	n := &planes{make([]int, size), make([]int, size), make([]float64, size), make([]float64, size)}
	b.planes = n
	o.taps(func(k int, in []int) {
		n.low[k], n.high[k], n.slope[k], n.intercept[k] = p.planesOf(in)
		_, _, b.lo[k] = p.ends(in)
		b.hi[k] = p.hi[n.high[k]]
		b.d[k] = s.g * (max(p.m[n.high[k]], p.m[n.low[k]]) + math.Abs(n.intercept[k]))
	})
	return nil
}

// planesOf are the planes of the elements that an output sees: through element low, and
// slope·x + intercept of element high.
func (b *bounds) planesOf(in []int) (low, high int, slope, intercept float64) {
	first, second, largest := b.ends(in)
	l, u := b.lo[first], b.hi[first]
	if l >= second {
		return first, first, 1, 0
	}
	slope = max(0, min(1, (u-second)/(u-l)))
	intercept = max(up(second-down(float64(slope*l))), up(u-down(float64(slope*u))))
	return b.centre(in, u-largest), first, slope, intercept
}

// elements lists those that output k sees.
func (o *maxPool) elements(k int) (in []int) {
	c, pixel := k%o.in.C, k/o.in.C
	y, x := pixel/o.out.W, pixel%o.out.W
	o.pixels(region{y, y + 1, x, x + 1}, func(_, from int) { in = append(in, from*o.in.C+c) })
	return in
}

// centre returns the first element of the largest l + u, but for a part of the width.
func (b *bounds) centre(in []int, width float64) int {
	most := math.Inf(-1)
	for _, k := range in {
		most = max(most, b.lo[k]+b.hi[k])
	}
	for _, k := range in {
		if b.lo[k]+b.hi[k] >= most-width*0x1p-10 {
			return k
		}
	}
	return in[0] // of NaN, which close refuses
}

func (o *maxPool) backward(s *state, i int) (constant float64) {
	if s.fixes != nil {
		constant = s.takePairs(i, o)
	}
	f, n := &s.forms[i], s.bounds[i].planes
	in := s.grow(s.nodes[i].in[0], o.seen(f.region))
	s.each(i, func(from, to int) {
		for k := from; k < to; k++ {
			switch v := f.a[k]; {
			case v == 0:
			case v < 0:
				in[n.high[k]] += float64(v * n.slope[k])
				constant += float64(v * n.intercept[k])
			default:
				in[n.low[k]] += v
			}
		}
	})
	return constant
}

// open tells, by the bounds as they are now, which elements of windows without a
// largest one may be the largest.
func (o *maxPool) open(s *state, i int) func(k int, l, u float64) bool {
	p := &s.bounds[s.nodes[i].in[0]]
	may := make([]bool, len(p.lo))
	o.taps(func(_ int, in []int) {
		if first, second, low := p.ends(in); p.lo[first] < second {
			for _, k := range in {
				may[k] = may[k] || p.hi[k] > low
			}
		}
	})
	return func(k int, _, _ float64) bool { return may[k] }
}

func (*maxPool) same(b *bounds, k int) bool {
	return b.planes.low[k] == b.planes.high[k] && b.planes.slope[k] == 1 && b.planes.intercept[k] == 0
}
