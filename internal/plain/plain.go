// Package plain evaluates models in the plainest way: nested loops over
// channels-first tensors, in float64 or in float32 with any order of
// summation. It shares no code with package net and is the yardstick of tests.
package plain

import (
	"math"

	"github.com/epsball/epsball/model"
)

// Float64 returns, for one image, in float64, the output of every conv and fc
// layer, before its ReLU and after the add that package net joins with it, of every
// other add, and at the end the network's outputs, if the last layer is of another
// kind.
func Float64(m *model.Model, x []float32) [][]float64 {
	return Eval(m, widen(x), nil)
}

// Eval is Float64 on float64 pixels. visit, if not nil, sees each term list
// of a sum of a conv, an fc or a batchnorm: products and bias.
func Eval(m *model.Model, x []float64, sum func(terms []float64) float64) [][]float64 {
	return listed(&m.Arch, Values(m, x, sum))
}

// Values is Eval for all activations: the pixels, and the output of each layer.
func Values(m *model.Model, x []float64, sum func(terms []float64) float64) [][]float64 {
	if sum == nil {
		sum = func(terms []float64) (s float64) {
			for _, t := range terms {
				s += t
			}
			return s
		}
	}
	shapes, err := m.Arch.Shapes()
	if err != nil {
		panic(err)
	}
	acts := [][]float64{x}
	var terms []float64
	for i, l := range m.Arch.Layers {
		in, out := m.Arch.InputShape(i, shapes), shapes[i+1]
		act := acts[m.Arch.InputsOf(i)[0]+1]
		next := make([]float64, out.Size())
		switch l.Kind {
		case model.Normalize:
			for k, v := range act {
				c := k / (in.H * in.W)
				next[k] = (v - float64(l.Mean[c])) / float64(l.Std[c])
			}
		case model.Add:
			for k, v := range acts[l.Inputs[1]+1] {
				next[k] = act[k] + v
			}
		case model.Concat:
			next = next[:0]
			for _, k := range l.Inputs {
				next = append(next, acts[k+1]...)
			}
		case model.Conv, model.FC:
			rows := m.Params[i].Rows()
			for o := range next {
				terms = append(terms[:0], 0)
				Each(l, in, out, o, func(w, k int) {
					terms = append(terms, float64(rows[w])*act[k])
				})
				terms[0] = float64(m.Params[i].B[o/(out.H*out.W)])
				next[o] = sum(terms)
			}
		case model.BatchNorm:
			scale, shift := m.Params[i].Affine(l.Eps)
			for k, v := range act {
				c := k / (in.H * in.W)
				terms = append(terms[:0], float64(shift[c]), float64(scale[c])*v)
				next[k] = sum(terms)
			}
		case model.MaxPool:
			for o := range next {
				next[o] = act[largest(l, in, out, o, act)]
			}
		case model.AvgPool:
			for o := range next {
				s, n := 0.0, 0
				EachPixel(l, in, out, o, func(k int) { s, n = s+act[k], n+1 })
				next[o] = s / float64(divisor(l, n))
			}
		default:
			for k, v := range act {
				next[k], _ = element(l, v, k/(in.H*in.W))
			}
		}
		acts = append(acts, next)
	}
	return acts
}

// listed picks what Eval returns.
func listed[T any](a *model.Architecture, acts [][]T) (outs [][]T) {
	last := len(a.Layers) - 1
	for i, l := range a.Layers {
		weighed := l.Kind == model.Conv || l.Kind == model.FC
		if l.Kind == model.Add || weighed && !branch(a, i) || i == last && !weighed {
			outs = append(outs, acts[i+1])
		}
	}
	return outs
}

// element computes one of the functions of a single number, and its derivative.
func element(l model.Layer, x float64, channel int) (y, slope float64) {
	switch l.Kind {
	case model.ReLU:
		if x > 0 {
			return x, 1
		}
		return 0, 0
	case model.LeakyReLU:
		if x > 0 {
			return x, 1
		}
		s := float64(l.Slope[channel%len(l.Slope)])
		return s * x, s
	case model.Clip:
		lo, hi := float64(l.Min), float64(l.Max)
		if x > lo && x < hi {
			return x, 1
		}
		return min(max(x, lo), hi), 0
	case model.Sigmoid:
		y = 1 / (1 + math.Exp(-x))
		return y, y * (1 - y)
	case model.Tanh:
		y = math.Tanh(x)
		return y, 1 - y*y
	}
	panic("plain: " + l.Kind + " is not computed")
}

// largest returns the index of the first of a window's pixels that is its maximum.
func largest[T float32 | float64](l model.Layer, in, out model.Shape, o int, act []T) int {
	best := -1
	EachPixel(l, in, out, o, func(k int) {
		if best < 0 || act[k] > act[best] {
			best = k
		}
	})
	return best
}

// divisor is what an avgpool divides a window of n real pixels by.
func divisor(l model.Layer, n int) int {
	if l.CountPadding {
		return l.Kernel[0] * l.Kernel[1]
	}
	return n
}

// branch reports whether an add takes layer i as its branch.
func branch(a *model.Architecture, i int) bool {
	for k, l := range a.Layers[i:] {
		if l.Kind == model.Add {
			if b, _, ok := a.Residual(i + k); ok && b == i {
				return true
			}
		}
	}
	return false
}

// Each calls f(weight index, input index) for every term of output o of a conv or an
// fc.
func Each(l model.Layer, in, out model.Shape, o int, f func(w, k int)) {
	if l.Kind == model.FC {
		for k := range in.Size() {
			f(o*in.Size()+k, k)
		}
		return
	}
	oc := o / (out.H * out.W)
	channels := in.C / l.GroupCount()
	first := oc / (l.Out / l.GroupCount()) * channels
	for c := range channels {
		window(l, in, out, o, func(tap, pixel int) {
			f((oc*channels+c)*l.Kernel[0]*l.Kernel[1]+tap, (first+c)*in.H*in.W+pixel)
		})
	}
}

// EachPixel calls f(input index) for every real pixel of output o's window, of a
// pool, in (y, x) order.
func EachPixel(l model.Layer, in, out model.Shape, o int, f func(k int)) {
	c := o / (out.H * out.W)
	window(l, in, out, o, func(_, pixel int) { f(c*in.H*in.W + pixel) })
}

// window calls f(tap, pixel) for the taps of output o that are not on padding.
func window(l model.Layer, in, out model.Shape, o int, f func(tap, pixel int)) {
	y, x := o/out.W%out.H, o%out.W
	d := l.Dilations()
	for ky := range l.Kernel[0] {
		for kx := range l.Kernel[1] {
			iy, ix := y*l.Stride[0]+ky*d[0]-l.Padding[0], x*l.Stride[1]+kx*d[1]-l.Padding[1]
			if iy >= 0 && iy < in.H && ix >= 0 && ix < in.W {
				f(ky*l.Kernel[1]+kx, iy*in.W+ix)
			}
		}
	}
}

func widen(v []float32) []float64 {
	w := make([]float64, len(v))
	for i, x := range v {
		w[i] = float64(x)
	}
	return w
}
