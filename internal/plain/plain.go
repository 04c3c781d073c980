// Package plain evaluates models in the plainest way: nested loops over
// channels-first tensors, in float64 or in float32 with any order of
// summation. It shares no code with package net and is the yardstick of tests.
package plain

import (
	"math/rand/v2"

	"github.com/epsball/epsball/model"
)

// Float64 returns, for one image, in float64, the output of every conv and fc
// layer, before its ReLU and after the add that package net joins with it, in the
// order of net.Network.Layers, and at the end the network's outputs, if these are
// others than the last layer's.
func Float64(m *model.Model, x []float32) [][]float64 {
	return Eval(m, widen(x), nil)
}

// Eval is Float64 on float64 pixels. visit, if not nil, sees each term list
// of a sum: products and bias.
func Eval(m *model.Model, x []float64, sum func(terms []float64) float64) [][]float64 {
	if sum == nil {
		sum = func(terms []float64) (s float64) {
			for _, t := range terms {
				s += t
			}
			return s
		}
	}
	var outs [][]float64
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
		case model.ReLU:
			for k, v := range act {
				next[k] = max(v, 0)
			}
		case model.Add:
			for k, v := range acts[l.Inputs[1]+1] {
				next[k] = act[k] + v
			}
			outs = append(outs, next)
		default:
			rows := m.Params[i].Rows()
			for o := range next {
				terms = append(terms[:0], 0)
				Each(l, in, out, o, func(w, k int) {
					terms = append(terms, float64(rows[w])*act[k])
				})
				terms[0] = float64(m.Params[i].B[o/(out.H*out.W)])
				next[o] = sum(terms)
			}
			if !branch(&m.Arch, i) {
				outs = append(outs, next)
			}
		}
		acts = append(acts, next)
	}
	if m.Arch.Layers[len(m.Arch.Layers)-1].Kind == model.ReLU {
		outs = append(outs, acts[len(acts)-1])
	}
	return outs
}

// branch tells whether an add takes layer i as its branch.
func branch(a *model.Architecture, i int) bool {
	for k, l := range a.Layers[i:] {
		if l.Kind == model.Add {
			if b, _, _ := a.Residual(i + k); b == i {
				return true
			}
		}
	}
	return false
}

// Each calls f(weight index, input index) for every term of output o.
func Each(l model.Layer, in, out model.Shape, o int, f func(w, k int)) {
	if l.Kind == model.FC {
		for k := range in.Size() {
			f(o*in.Size()+k, k)
		}
		return
	}
	oc, y, x := o/(out.H*out.W), o/out.W%out.H, o%out.W
	for c := range in.C {
		for ky := range l.Kernel[0] {
			for kx := range l.Kernel[1] {
				iy, ix := y*l.Stride[0]+ky-l.Padding[0], x*l.Stride[1]+kx-l.Padding[1]
				if iy >= 0 && iy < in.H && ix >= 0 && ix < in.W {
					f(((oc*in.C+c)*l.Kernel[0]+ky)*l.Kernel[1]+kx, (c*in.H+iy)*in.W+ix)
				}
			}
		}
	}
}

// Float32 is Float64 as executed in float32: every product and sum rounds, the
// terms of each sum come in an order that r shuffles (nil: as they stand). With r,
// half of the adds are terms of their branch's sums.
func Float32(m *model.Model, x []float32, r *rand.Rand) [][]float64 {
	var outs [][]float64
	shapes, err := m.Arch.Shapes()
	if err != nil {
		panic(err)
	}
	acts := [][]float32{x}
	var terms []float32
	rows := make([][]float32, len(m.Params))
	for i := range rows {
		rows[i] = m.Params[i].Rows()
	}
	sum := func(i, o int, more ...float32) float32 { // of output o of layer i
		in, out := m.Arch.InputShape(i, shapes), shapes[i+1]
		act := acts[m.Arch.InputsOf(i)[0]+1]
		terms = append(terms[:0], m.Params[i].B[o/(out.H*out.W)])
		Each(m.Arch.Layers[i], in, out, o, func(w, k int) {
			terms = append(terms, float32(rows[i][w]*act[k]))
		})
		return sum32(append(terms, more...), r)
	}
	for i, l := range m.Arch.Layers {
		in, out := m.Arch.InputShape(i, shapes), shapes[i+1]
		act := acts[m.Arch.InputsOf(i)[0]+1]
		next := make([]float32, out.Size())
		switch l.Kind {
		case model.Normalize:
			for k, v := range act {
				c := k / (in.H * in.W)
				next[k] = float32(v-l.Mean[c]) / l.Std[c]
			}
		case model.ReLU:
			for k, v := range act {
				next[k] = max(v, 0)
			}
		case model.Add:
			b, skip, _ := m.Arch.Residual(i)
			fused := r != nil && r.IntN(2) == 0
			for k, v := range acts[skip+1] {
				next[k] = float32(acts[b+1][k] + v)
				if fused {
					next[k] = sum(b, k, v)
				}
			}
			outs = append(outs, widen(next))
		default:
			for o := range next {
				next[o] = sum(i, o)
			}
			if !branch(&m.Arch, i) {
				outs = append(outs, widen(next))
			}
		}
		acts = append(acts, next)
	}
	if m.Arch.Layers[len(m.Arch.Layers)-1].Kind == model.ReLU {
		outs = append(outs, widen(acts[len(acts)-1]))
	}
	return outs
}

func widen(v []float32) []float64 {
	w := make([]float64, len(v))
	for i, x := range v {
		w[i] = float64(x)
	}
	return w
}

// sum32 adds the terms in a random order, as a random tree half of the time.
func sum32(t []float32, r *rand.Rand) float32 {
	if r != nil {
		r.Shuffle(len(t), func(i, j int) { t[i], t[j] = t[j], t[i] })
		if r.IntN(2) == 0 {
			for len(t) > 1 {
				h := (len(t) + 1) / 2
				for i := h; i < len(t); i++ {
					t[i-h] = float32(t[i-h] + t[i])
				}
				t = t[:h]
			}
			return t[0]
		}
	}
	var s float32
	for _, v := range t {
		s = float32(s + v)
	}
	return s
}
