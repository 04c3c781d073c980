package net

import (
	"fmt"
	"math"
	"strings"

	"github.com/epsball/epsball/internal/exact"
	"github.com/epsball/epsball/kernels"
)

// Norm measures the distance between two images, over all their pixels.
type Norm int

const (
	Linf Norm = iota // largest absolute difference of a pixel
	L2               // root of the sum of squared differences
	L1               // sum of absolute differences
	L0               // number of values that differ; for attacks only
)

// Norms lists the names ParseNorm knows.
func Norms() []string { return []string{"linf", "l2", "l1", "l0"} }

func (n Norm) String() string { return Norms()[n] }

// ParseNorm returns the norm of the given name.
func ParseNorm(name string) (Norm, error) {
	for i, s := range Norms() {
		if s == name {
			return Norm(i), nil
		}
	}
	return 0, fmt.Errorf("norm %q: want one of %s", name, strings.Join(Norms(), ", "))
}

// Ball is the threat model: all images x′ around a centre x with ‖x′ − x‖ ≤ Eps whose
// pixels lie in [0, 1]. Distances are real numbers: Eps and the norm are exact. The
// ball has two float32 boxes. One is rounded inward for attacks, so that what is found
// lies in the ball; one is rounded outward for proofs, so that nothing is missed.
type Ball struct {
	Norm Norm
	Eps  Epsilon
}

// Validate refuses an unknown norm, and an Linf ball with ε > 1: it contains all
// images, so it is a mistake of units.
func (b Ball) Validate() error {
	if b.Norm < Linf || b.Norm > L0 {
		return fmt.Errorf("norm %d: want one of %s", int(b.Norm), strings.Join(Norms(), ", "))
	}
	if lo, hi := b.Eps.Bounds(); b.Norm == Linf && (lo > 1 || lo == 1 && hi > 1) {
		return fmt.Errorf("epsilon %s: want at most 1 in the linf norm (pixels are in [0, 1]; write 8/255, not 8)", b.Eps)
	}
	if _, hi := b.Eps.Bounds(); hi > 1e6 {
		return fmt.Errorf("epsilon %s: want at most 1e6", b.Eps)
	}
	return nil
}

func (b Ball) String() string { return fmt.Sprintf("%s ε=%s", b.Norm, b.Eps) }

// Largest returns a ball of the norm that holds all images of size values in [0, 1].
func (n Norm) Largest(size int) Ball {
	eps := MustEpsilon("1")
	switch n {
	case L2:
		eps = eps.Times(int(math.Ceil(math.Sqrt(float64(size)))))
	case L1, L0:
		eps = eps.Times(size)
	}
	return Ball{n, eps}
}

// Box prepares the boxes of a ball, for many images. It is read-only.
type Box struct {
	eps           Epsilon
	isa           *kernels.ISA
	e1, e2, doubt float32 // ε in two parts, what they may lack of it
}

// Box returns the boxes of b.
func (b Ball) Box() Box {
	if b.Norm == L0 { // a value that differs may be any
		if one := MustEpsilon("1"); b.Eps.Cmp(one) >= 0 {
			b.Eps = one
		} else {
			b.Eps = Epsilon{}
		}
	}
	x := Box{eps: b.Eps, isa: kernels.Default()}
	x.e1 = float32(b.Eps.f)
	x.e2 = float32(b.Eps.f - float64(x.e1))
	if lo, hi := b.Eps.Bounds(); lo != hi || float64(x.e1)+float64(x.e2) != lo {
		x.doubt = float32(0x1p-46 * max(1, b.Eps.f))
	}
	return x
}

// Inner writes, for each pixel x in [0, 1], the smallest and largest float32
// of [0, 1] ∩ [x − ε, x + ε]; for L2, L1 and L0 it bounds the ball but is not inside it.
// All slices have one length.
func (b Box) Inner(lo, hi, x []float32) { b.fill(lo, hi, x, true) }

// Outer writes the bounds of the smallest float32 box that contains [0, 1] ∩
// [x − ε, x + ε].
func (b Box) Outer(lo, hi, x []float32) { b.fill(lo, hi, x, false) }

func (b Box) fill(lo, hi, x []float32, inner bool) {
	lo, hi = lo[:len(x)], hi[:len(x)]
	n := len(x) / kernels.Lanes * kernels.Lanes
	b.isa.BoxEnd(lo[:n], x[:n], -b.e1, -b.e2, b.doubt, inner)
	b.isa.BoxEnd(hi[:n], x[:n], b.e1, b.e2, b.doubt, !inner)
	for i, v := range x {
		if i >= n || lo[i] != lo[i] {
			lo[i] = b.lower(v, inner)
		}
		if i >= n || hi[i] != hi[i] {
			hi[i] = b.upper(v, inner)
		}
	}
}

// lower and upper are the ends of one pixel's interval, exactly.
func (b Box) lower(v float32, inner bool) float32 {
	if inner {
		return max(0, b.up(v, -1))
	}
	return max(0, b.down(v, -1))
}

func (b Box) upper(v float32, inner bool) float32 {
	if inner {
		return min(1, b.down(v, 1))
	}
	return min(1, b.up(v, 1))
}

// EpsHi returns the smallest float64 not below ε.
func (b Box) EpsHi() float64 { return b.eps.hi }

// down rounds the exact x + sign·ε to float32, downward. The sum is formed in
// two float64, s + e, with an error below 2⁻¹⁰⁰ (none if ε is a float64), which
// nearly always decides; fractions do otherwise.
func (b Box) down(x float32, sign float64) float32 {
	s, e := twoSum(float64(x), sign*b.eps.lo)
	s, e = twoSum(s, e+sign*b.eps.rest)
	f := float32(s)
	above := (s - float64(f)) + e // of the sum over f
	switch {
	case math.Abs(above) < 0x1p-100*max(1, b.eps.hi) && b.eps.lo != b.eps.hi:
		return b.downExactly(x, sign)
	case above >= 0:
		return f
	case f > 0:
		return math.Float32frombits(math.Float32bits(f) - 1)
	}
	return math.Nextafter32(f, float32(math.Inf(-1)))
}

func (b Box) downExactly(x float32, sign float64) float32 {
	v, negative := exact.Offset(x, b.eps.r, sign < 0)
	d, same := v.Floor()
	if !negative {
		f := float32(d)
		if float64(f) > d {
			f = math.Nextafter32(f, float32(math.Inf(-1)))
		}
		return f
	}
	if !same {
		d = math.Nextafter(d, math.Inf(1))
	}
	f := float32(d)
	if float64(f) < d {
		f = math.Nextafter32(f, float32(math.Inf(1)))
	}
	return -f
}

func (b Box) up(x float32, sign float64) float32 { return -b.down(-x, -sign) }

// twoSum returns s and err with s = fl(a+b) and s + err = a + b exactly
// (Knuth). It has no product, so no compiler fuses any of it.
func twoSum(a, b float64) (s, err float64) {
	s = a + b
	t := s - b
	return s, (a - t) + (b - (s - t))
}

// Contains reports whether the image x lies in the ball around centre, exactly:
// float64 decides where its error leaves no doubt, fractions elsewhere.
func (b Ball) Contains(centre, x []float32) bool {
	if len(centre) != len(x) {
		return false
	}
	var largest, sum, sum2 float64
	differ := 0
	for i, v := range x {
		c := centre[i]
		if !(v >= 0 && v <= 1 && c >= 0 && c <= 1) {
			return false
		}
		if v != c {
			differ++
		}
		d := math.Abs(float64(v) - float64(c))
		largest = max(largest, d)
		sum += d
		sum2 += float64(d * d)
	}
	distance := largest
	switch b.Norm {
	case L2:
		distance = math.Sqrt(sum2)
	case L1:
		distance = sum
	case L0:
		return float64(differ) <= b.Eps.lo // exact up to 2⁵³
	}
	doubt := float64(len(x)+8) * 0x1p-52 // of differences, squares, their sum, ε and the root
	switch eps := b.Eps.Float64(); {
	case distance < eps*(1-doubt):
		return true
	case distance > eps*(1+doubt): // no square of a float32 difference vanishes
		return false
	}
	return b.containsExactly(centre, x)
}

func (b Ball) containsExactly(centre, x []float32) bool {
	sum := exact.NewSum(b.Norm == L2)
	for i, v := range x {
		if v == centre[i] {
			continue
		}
		if b.Norm == Linf {
			sum = exact.NewSum(false) // each pixel by itself
		}
		if sum.Add(v, centre[i]); b.Norm == Linf && sum.Cmp(b.Eps.r) > 0 {
			return false
		}
	}
	return sum.Cmp(b.Eps.r) <= 0
}
