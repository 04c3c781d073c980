package plain

import (
	"math"
	"math/rand/v2"

	"github.com/epsball/epsball/model"
)

// Tolerance is the largest absolute error of a sigmoid or a tanh that certificates
// allow for.
const Tolerance = 0x1p-20

// Float32 is Float64 as executed in float32: every product and sum rounds, the
// terms of each sum come in an order that r shuffles (nil: as they stand). With r,
// half of the adds are terms of their branch's sums, averages are divided or
// multiplied by a reciprocal, some batch norms fused, and sigmoids and tanhs as wrong
// as Tolerance lets them be.
func Float32(m *model.Model, x []float32, r *rand.Rand) [][]float64 {
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
		case model.Add:
			b, skip, ok := m.Arch.Residual(i)
			fused := r != nil && r.IntN(2) == 0 && ok
			for k, v := range acts[skip+1] {
				next[k] = float32(acts[b+1][k] + v)
				if fused {
					next[k] = sum(b, k, v)
				}
			}
		case model.Concat:
			next = next[:0]
			for _, k := range l.Inputs {
				next = append(next, acts[k+1]...)
			}
		case model.Conv, model.FC:
			for o := range next {
				next[o] = sum(i, o)
			}
		case model.BatchNorm:
			scale, shift := m.Params[i].Affine(l.Eps)
			fused := r == nil || r.IntN(2) == 0
			for k, v := range act {
				c := k / (in.H * in.W)
				if next[k] = float32(scale[c]*v) + shift[c]; fused {
					next[k] = fma32(scale[c], v, shift[c])
				}
			}
		case model.MaxPool:
			for o := range next {
				next[o] = act[largest(l, in, out, o, act)]
			}
		case model.AvgPool:
			inverse := r != nil && r.IntN(2) == 0
			for o := range next {
				terms = terms[:0]
				EachPixel(l, in, out, o, func(k int) { terms = append(terms, act[k]) })
				n := float32(divisor(l, len(terms)))
				if s := sum32(terms, r); inverse {
					next[o] = s * (1 / n)
				} else {
					next[o] = s / n
				}
			}
		default:
			for k, v := range act {
				next[k] = element32(l, v, k/(in.H*in.W), r)
			}
		}
		acts = append(acts, next)
	}
	outs := listed(&m.Arch, acts)
	wide := make([][]float64, len(outs))
	for i := range outs {
		wide[i] = widen(outs[i])
	}
	return wide
}

// element32 is element's value, rounded once.
func element32(l model.Layer, x float32, channel int, r *rand.Rand) float32 {
	y, _ := element(l, float64(x), channel) // of two float32, a product is exact
	if r == nil || l.Kind != model.Sigmoid && l.Kind != model.Tanh {
		return float32(y)
	}
	least := -1.0
	if l.Kind == model.Sigmoid {
		least = 0
	}
	const room = Tolerance - 0x1p-24 // for the rounding to float32
	switch r.IntN(3) {
	case 0:
		y += room
	case 1:
		y -= room
	default:
		y += (2*r.Float64() - 1) * room
	}
	return float32(min(max(y, least), 1))
}

// fma32 returns a·b + c, rounded once.
func fma32(a, b, c float32) float32 {
	p := float64(a) * float64(b) // exact
	s := p + float64(c)
	// The sum in float64 may round to a tie of float32 that the exact one is not: it is
	// made odd in its last place where it is not exact.
	t := s - p
	if rest := (p - (s - t)) + (float64(c) - t); rest != 0 {
		if bits := math.Float64bits(s); bits&1 == 0 {
			if (rest > 0) == (s > 0) {
				bits++
			} else {
				bits--
			}
			s = math.Float64frombits(bits)
		}
	}
	return float32(s)
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
