package net

import (
	"fmt"
	"math"
	"strings"

	"github.com/epsball/epsball/kernels"
)

// Loss is a function of the logits that an attack ascends: large means
// misclassified (or, with a target, classified as the target).
type Loss int

const (
	// CrossEntropy is −log softmax(z)_y; targeted: log softmax(z)_t.
	CrossEntropy Loss = iota
	// Margin is max_{j≠y} z_j − z_y (Carlini & Wagner 2017, f6 without
	// clipping); targeted: z_t − max_{j≠t} z_j.
	Margin
	// DLR is the difference of logits ratio, −(z_y − max_{j≠y} z_j)/(z_π1 −
	// z_π3); targeted: −(z_y − z_t)/(z_π1 − (z_π3+z_π4)/2) (Croce & Hein 2020,
	// eqs. 6 and 7). With a target and 3 classes the denominator is z_π1 − z_π3; with
	// 2 classes, which leave none, DLR is Margin.
	DLR
)

// Losses lists the names ParseLoss knows.
func Losses() []string { return []string{"ce", "margin", "dlr"} }

func (l Loss) String() string { return Losses()[l] }

// ParseLoss returns the loss of the given name.
func ParseLoss(name string) (Loss, error) {
	for i, s := range Losses() {
		if s == name {
			return Loss(i), nil
		}
	}
	return 0, fmt.Errorf("loss %q: want one of %s", name, strings.Join(Losses(), ", "))
}

// Untargeted is the target of an untargeted loss.
const Untargeted = -1

// Gradient writes the loss's gradient to the logits z of one image with label
// y (and target, or Untargeted) into dst and returns the loss. dst and z have
// one element a class. The bits are the same on every platform.
func (l Loss) Gradient(dst, z []float32, y, target int) float32 {
	clear(dst)
	switch l {
	case CrossEntropy:
		if target >= 0 {
			v := softmaxGradient(dst, z, target)
			for i := range dst {
				dst[i] = -dst[i]
			}
			return -v
		}
		return softmaxGradient(dst, z, y)
	case Margin:
		if target >= 0 {
			j := argmaxExcept(z, target)
			dst[target], dst[j] = 1, -1
			return z[target] - z[j]
		}
		j := argmaxExcept(z, y)
		dst[j], dst[y] = 1, -1
		return z[j] - z[y]
	case DLR:
		if len(z) < 3 {
			return Margin.Gradient(dst, z, y, target)
		}
		return dlrGradient(dst, z, y, target)
	}
	panic("net: unknown loss")
}

// softmaxGradient is that of −log softmax(z)_y: softmax(z) − 1_y.
func softmaxGradient(dst, z []float32, y int) float32 {
	top := z[0]
	for _, v := range z[1:] {
		if v > top {
			top = v
		}
	}
	var sum float32
	for i, v := range z {
		dst[i] = kernels.Exp(v - top)
		sum += dst[i]
	}
	for i := range dst {
		dst[i] /= sum
	}
	// The other classes' share: 1 − softmax_y would cancel when it is near 1.
	var rest float32
	for i, v := range dst {
		if i != y {
			rest += v
		}
	}
	dst[y] = -rest
	return kernels.Log(sum) - (z[y] - top)
}

func dlrGradient(dst, z []float32, y, target int) float32 {
	const tiny = 1e-12 // the reference implementation's guard of the quotient
	order := [4]int{-1, -1, -1, -1}
	for i := range order {
		for j, v := range z {
			if j != order[0] && j != order[1] && j != order[2] && (order[i] < 0 || v > z[order[i]]) {
				order[i] = j
			}
		}
	}
	var num, den float32
	add := func(i int, n, d float32) { // num += n·z_i, den += d·z_i
		num += float32(n * z[i])
		den += float32(d * z[i])
	}
	terms := [8]struct {
		i    int
		n, d float32
	}{}
	k := 0
	put := func(i int, n, d float32) {
		terms[k].i, terms[k].n, terms[k].d = i, n, d
		k++
		add(i, n, d)
	}
	put(y, -1, 0)
	if target < 0 {
		target = argmaxExcept(z, y)
		order[3] = -1
	}
	put(target, 1, 0)
	put(order[0], 0, 1)
	if order[3] >= 0 {
		put(order[2], 0, -0.5)
		put(order[3], 0, -0.5)
	} else {
		put(order[2], 0, -1)
	}
	den += tiny
	loss := num / den
	for _, t := range terms[:k] { // quotient rule
		dst[t.i] += float32(t.n/den) - float32(float32(loss*t.d)/den)
	}
	return loss
}

// argmaxExcept returns the index of the largest element but y, the first of
// equals.
func argmaxExcept(z []float32, y int) int {
	best := -1
	for j, v := range z {
		if j != y && (best < 0 || v > z[best]) {
			best = j
		}
	}
	return best
}

// Argmax returns the index of the largest element, the first of equals: the
// predicted class. It returns −1 if an element is NaN.
func Argmax(z []float32) int {
	best := 0
	for j, v := range z {
		if v != v {
			return -1
		}
		if v > z[best] {
			best = j
		}
	}
	return best
}

// MarginOf returns z_y − max_{j≠y} z_j, NaN if an element is NaN.
func MarginOf(z []float32, y int) float32 {
	for _, v := range z {
		if v != v {
			return float32(math.NaN())
		}
	}
	return z[y] - z[argmaxExcept(z, y)]
}
