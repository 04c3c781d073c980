package check_test

import (
	"math"
	"math/big"
	"math/rand/v2"

	"github.com/epsball/epsball/model"
)

// taps calls f(kernel position, input element) for the taps on the input of output o in
// channel c of the input, channels first, in the order of the kernel.
func taps(l *model.Layer, in, out model.Shape, o, c int, f func(t, k int)) {
	y, x, d := o/out.W%out.H, o%out.W, l.Dilations()
	for ky := range l.Kernel[0] {
		for kx := range l.Kernel[1] {
			iy, ix := y*l.Stride[0]+ky*d[0]-l.Padding[0], x*l.Stride[1]+kx*d[1]-l.Padding[1]
			if iy >= 0 && iy < in.H && ix >= 0 && ix < in.W {
				f(ky*l.Kernel[1]+kx, (c*in.H+iy)*in.W+ix)
			}
		}
	}
}

// terms calls f(weight index, input index) for every term of output o of a conv or an
// fc, channels first.
func terms(l *model.Layer, in, out model.Shape, o int, f func(w, k int)) {
	if l.Kind == model.FC {
		for k := range in.Size() {
			f(o*in.Size()+k, k)
		}
		return
	}
	oc, each := o/(out.H*out.W), in.C/l.GroupCount()
	for c := range each {
		taps(l, in, out, o, oc/(l.Out/l.GroupCount())*each+c, func(t, k int) {
			f((oc*each+c)*l.Kernel[0]*l.Kernel[1]+t, k)
		})
	}
}

// pool returns the elements that output o of a pool sees, and what to divide by.
func pool(l *model.Layer, in, out model.Shape, o int) (list []int, divisor int) {
	taps(l, in, out, o, o/(out.H*out.W), func(_, k int) { list = append(list, k) })
	if l.CountPadding {
		return list, l.Kernel[0] * l.Kernel[1]
	}
	return list, len(list)
}

func rat(v float64) *big.Rat { return new(big.Rat).SetFloat64(v) }

// float is v with room for all bits of sums and products in small networks.
func float(v float64) *big.Float { return new(big.Float).SetPrec(2048).SetFloat64(v) }

// exactCurve is sigmoid, or tanh, within 2⁻²⁵⁰.
func exactCurve(kind model.Kind, x *big.Float) *big.Float {
	const precision = 400
	z := new(big.Float).SetPrec(precision).Abs(x)
	if kind == model.Tanh {
		z.Add(z, z)
	}
	e := float(0).SetPrec(precision)
	if z.Cmp(float(400)) < 0 { // e⁻ᶻ = (e^(−z/2¹⁶))^(2¹⁶)
		z.SetMantExp(z, -16)
		term := float(1).SetPrec(precision)
		e.Add(e, term)
		for n := range 30 {
			e.Add(e, term.Mul(term, z).Quo(term, float(-float64(n+1))))
		}
		for range 16 {
			e.Mul(e, e)
		}
	}
	v := float(0).Quo(float(0).Sub(float(1), e), float(0).Add(float(1), e)) // tanh of z/2
	if x.Sign() < 0 {
		v.Neg(v)
	}
	if kind == model.Sigmoid {
		v.Add(v, float(1)).Quo(v, float(2))
	}
	return v
}

// exactOutputs evaluates a model exactly, but for quotients, which err by 2⁻²⁰⁴⁸ of
// themselves, and curves.
func exactOutputs(m *model.Model, x []*big.Rat) []*big.Rat {
	shapes, err := m.Arch.Shapes()
	if err != nil {
		panic(err)
	}
	acts := [][]*big.Float{nil}
	for _, v := range x {
		acts[0] = append(acts[0], float(0).SetRat(v))
	}
	for i := range m.Arch.Layers {
		l, from, out := &m.Arch.Layers[i], m.Arch.InputsOf(i), shapes[i+1]
		in, a, p := shapes[from[0]+1], acts[from[0]+1], &m.Params[i]
		z := make([]*big.Float, 0, out.Size())
		if l.Kind == model.Concat {
			for _, k := range from {
				z = append(z, acts[k+1]...)
			}
		}
		scale, shift := []float32(nil), []float32(nil)
		if l.Kind == model.BatchNorm {
			scale, shift = p.Affine(l.Eps)
		}
		for o := len(z); o < out.Size(); o++ {
			v := float(0)
			switch c := o / (out.H * out.W); l.Kind {
			case model.Normalize:
				v.Quo(v.Sub(a[o], float(float64(l.Mean[c]))), float(float64(l.Std[c])))
			case model.BatchNorm:
				v.Add(v.Mul(a[o], float(float64(scale[c]))), float(float64(shift[c])))
			case model.ReLU:
				if a[o].Sign() > 0 {
					v.Set(a[o])
				}
			case model.LeakyReLU:
				if v.Set(a[o]); v.Sign() < 0 {
					v.Mul(v, float(float64(l.Slope[c%len(l.Slope)])))
				}
			case model.Clip:
				if v.Set(a[o]); v.Cmp(float(float64(l.Min))) < 0 {
					v = float(float64(l.Min))
				} else if v.Cmp(float(float64(l.Max))) > 0 {
					v = float(float64(l.Max))
				}
			case model.Sigmoid, model.Tanh:
				v = exactCurve(l.Kind, a[o])
			case model.MaxPool:
				list, _ := pool(l, in, out, o)
				v.Set(a[list[0]])
				for _, k := range list {
					if a[k].Cmp(v) > 0 {
						v.Set(a[k])
					}
				}
			case model.AvgPool:
				list, n := pool(l, in, out, o)
				for _, k := range list {
					v.Add(v, a[k])
				}
				v.Quo(v, float(float64(n)))
			case model.Add:
				v.Add(a[o], acts[from[1]+1][o])
			default:
				v = float(float64(p.B[c]))
				product := float(0)
				terms(l, in, out, o, func(w, k int) {
					v.Add(v, product.Mul(float(float64(p.W[w])), a[k]))
				})
			}
			z = append(z, v)
		}
		acts = append(acts, z)
	}
	var outputs []*big.Rat
	for _, v := range acts[len(acts)-1] {
		r, _ := v.Rat(nil)
		outputs = append(outputs, r)
	}
	return outputs
}

type term struct{ w, v float32 }

// executedOutputs evaluates a model in float32: terms and bias in a random
// order, each step fused or not; curves as wrong as they may be.
func executedOutputs(m *model.Model, x []float32, r *rand.Rand) []float32 {
	shapes, _ := m.Arch.Shapes()
	acts := [][]float32{x}
	for i := range m.Arch.Layers {
		l, from, out := &m.Arch.Layers[i], m.Arch.InputsOf(i), shapes[i+1]
		in, a, p := shapes[from[0]+1], acts[from[0]+1], &m.Params[i]
		z := make([]float32, 0, out.Size())
		if l.Kind == model.Concat {
			for _, k := range from {
				z = append(z, acts[k+1]...)
			}
		}
		scale, shift := []float32(nil), []float32(nil)
		if l.Kind == model.BatchNorm {
			scale, shift = p.Affine(l.Eps)
		}
		for o := len(z); o < out.Size(); o++ {
			v := float32(0)
			switch c := o / (out.H * out.W); l.Kind {
			case model.Normalize:
				v = float32(a[o]-l.Mean[c]) / l.Std[c]
			case model.BatchNorm:
				v = sum([]term{{1, shift[c]}, {scale[c], a[o]}}, r)
			case model.ReLU:
				v = max(0, a[o])
			case model.LeakyReLU:
				if v = a[o]; v < 0 {
					v *= l.Slope[c%len(l.Slope)]
				}
			case model.Clip:
				v = min(max(a[o], l.Min), l.Max)
			case model.Sigmoid, model.Tanh:
				v = wrongCurve(l.Kind, a[o], r)
			case model.MaxPool:
				list, _ := pool(l, in, out, o)
				v = a[list[0]]
				for _, k := range list {
					v = max(v, a[k])
				}
			case model.AvgPool:
				list, n := pool(l, in, out, o)
				v = average(a, list, float32(n), r)
			case model.Add:
				v = a[o] + acts[from[1]+1][o]
			default:
				list := []term{{1, p.B[c]}}
				terms(l, in, out, o, func(w, k int) { list = append(list, term{p.W[w], a[k]}) })
				r.Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
				v = sum(list, r)
			}
			z = append(z, v)
		}
		acts = append(acts, z)
	}
	return acts[len(acts)-1]
}

// wrongCurve is a float32 within 2⁻²⁰ of sigmoid, or tanh, mostly at one end of that.
func wrongCurve(kind model.Kind, x float32, r *rand.Rand) float32 {
	v, least := math.Tanh(float64(x)), -1.0
	if kind == model.Sigmoid {
		v, least = 1/(1+math.Exp(-float64(x))), 0
	}
	const most = 0x1p-20 - 0x1p-50
	at := max(least, min(1, v+float64(r.IntN(3)-1)*most))
	f := float32(at)
	for math.Abs(float64(f)-v) > most {
		f = math.Nextafter32(f, float32(v))
	}
	return f
}

// average is the sum by n: divided, or times a rounded 1/n, before or after.
func average(a []float32, list []int, n float32, r *rand.Rand) float32 {
	of, by, after := float32(1), float32(1), float32(1)
	switch r.IntN(3) {
	case 0:
		by = n
	case 1:
		after = 1 / n
	default:
		of = 1 / n
	}
	var t []term
	for _, k := range list {
		t = append(t, term{of, a[k]})
	}
	r.Shuffle(len(t), func(i, j int) { t[i], t[j] = t[j], t[i] })
	return sum(t, r) / by * after
}

// sum adds a list's products as one chain or, half of the time, as a random tree.
func sum(list []term, r *rand.Rand) float32 {
	if n := len(list); n > 1 && r.IntN(2) == 0 {
		at := 1 + r.IntN(n-1)
		return sum(list[:at], r) + sum(list[at:], r)
	}
	var s float32
	for _, t := range list {
		if r.IntN(2) == 0 {
			s += float32(t.w * t.v)
			continue
		}
		f, _ := new(big.Rat).Add(new(big.Rat).Mul(rat(float64(t.w)), rat(float64(t.v))), rat(float64(s))).Float32()
		s = f
	}
	return s
}
