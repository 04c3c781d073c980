package train

import (
	"math"
	"slices"

	"github.com/epsball/epsball/model"
)

// reference computes the objectives in float64, straight from their definition.
type reference struct {
	arch       *model.Architecture
	params     []param64
	boxes      []param64 // params, but the statistics that are constants to boxes
	eps, kappa float64
}

// param64 is model.Param; w and b are what a step changes.
type param64 struct{ w, b, mean, variance []float64 }

func newReference(m *model.Model, eps, kappa float64) reference {
	f := reference{arch: &m.Arch, eps: eps, kappa: kappa}
	for _, p := range m.Params {
		f.params = append(f.params, param64{widen(p.W), widen(p.B), widen(p.Mean), widen(p.Var)})
	}
	return f.fix(f)
}

// fix takes the statistics of g for those of boxes from now on.
func (f reference) fix(g reference) reference {
	f.boxes = g.apart().params
	for i := range f.boxes {
		f.boxes[i].w, f.boxes[i].b = f.params[i].w, f.params[i].b
	}
	return f
}

// apart has the weights of f and statistics of its own.
func (f reference) apart() reference {
	f.params = slices.Clone(f.params)
	for i := range f.params {
		p := &f.params[i]
		p.mean, p.variance = slices.Clone(p.mean), slices.Clone(p.variance)
	}
	return f
}

// observe normalises by the statistics of a batch: the mean, and the mean square from it,
// of each channel over all images and positions.
func (f reference) observe(batch [][]float32) {
	shapes, _ := f.arch.Shapes()
	for i, l := range f.arch.Layers {
		if l.Kind != model.BatchNorm {
			continue
		}
		p, hw := f.params[i], shapes[i+1].H*shapes[i+1].W
		var all [][]float64
		for _, x := range batch {
			all = append(all, f.walk(box64{widen(x), make([]float64, len(x))}, f.arch.InputsOf(i)[0]+1).c)
		}
		over := func(c int, value func(v float64) float64) (sum float64) {
			for _, a := range all {
				for _, v := range a[c*hw : (c+1)*hw] {
					sum += value(v)
				}
			}
			return sum / float64(len(all)*hw)
		}
		for c := range p.mean {
			p.mean[c] = over(c, func(v float64) float64 { return v })
			p.variance[c] = over(c, func(v float64) float64 { return (v - p.mean[c]) * (v - p.mean[c]) })
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

// box64 holds centres and radii.
type box64 struct{ c, r []float64 }

func (b box64) lo(i int) float64 { return b.c[i] - b.r[i] }
func (b box64) hi(i int) float64 { return b.c[i] + b.r[i] }

func (b box64) set(i int, lo, hi float64) { b.c[i], b.r[i] = (lo+hi)/2, (hi-lo)/2 }

func (f reference) loss(x []float32, y int) float64 {
	b := box64{}
	var clean box64
	for _, v := range x {
		lo, hi := math.Max(0, float64(v)-f.eps), math.Min(1, float64(v)+f.eps)
		b.c, b.r = append(b.c, (lo+hi)/2), append(b.r, (hi-lo)/2)
		clean.c, clean.r = append(clean.c, float64(v)), append(clean.r, 0)
	}
	bounds := f
	bounds.params = f.boxes
	return f.kappa*f.path(clean, y) + (1-f.kappa)*bounds.path(b, y)
}

// logits are those of one image.
func (f reference) logits(x []float32) []float64 {
	b := f.walk(box64{widen(x), make([]float64, len(x))}, len(f.params))
	return b.c
}

// walk bounds the output of the first layers of a network.
func (f reference) walk(b box64, layers int) box64 { return f.walkAll(b, layers)[layers] }

// walkAll bounds the input and the outputs of the first layers.
func (f reference) walkAll(b box64, layers int) []box64 {
	shapes, _ := f.arch.Shapes()
	acts := []box64{b}
	for i, l := range f.arch.Layers[:layers] {
		var in []box64
		for _, k := range f.arch.InputsOf(i) {
			in = append(in, acts[k+1])
		}
		acts = append(acts, refLayer(l, f.params[i], f.arch.InputShape(i, shapes), shapes[i+1], in))
	}
	return acts
}

// path returns the cross-entropy of the worst-case logits over the box.
func (f reference) path(b box64, y int) float64 {
	b = f.walk(b, len(f.params)-1)
	last := f.params[len(f.params)-1]
	k := len(b.c)
	v := make([]float64, len(last.b))
	for j := range v {
		if j == y {
			continue
		}
		v[j] = last.b[j] - last.b[y]
		for i := range k {
			d := last.w[y*k+i] - last.w[j*k+i]
			v[j] += math.Abs(d)*b.r[i] - d*b.c[i]
		}
	}
	sum := 0.0
	for _, a := range v {
		sum += math.Exp(a - v[y])
	}
	return math.Log(sum)
}

func refLayer(l model.Layer, p param64, in, out model.Shape, from []box64) (n box64) {
	n.c, n.r = make([]float64, out.Size()), make([]float64, out.Size())
	b, hw := from[0], in.H*in.W
	monotone := func(f func(v float64) float64) {
		for i := range n.c {
			n.set(i, f(b.lo(i)), f(b.hi(i)))
		}
	}
	switch l.Kind {
	case model.Normalize:
		for i := range n.c {
			n.c[i] = (b.c[i] - float64(l.Mean[i/hw])) / float64(l.Std[i/hw])
			n.r[i] = b.r[i] / float64(l.Std[i/hw])
		}
	case model.BatchNorm:
		for i := range n.c {
			ch := i / hw
			a := p.w[ch] / math.Sqrt(p.variance[ch]+float64(l.Eps))
			n.c[i], n.r[i] = a*(b.c[i]-p.mean[ch])+p.b[ch], math.Abs(a)*b.r[i]
		}
	case model.ReLU:
		monotone(func(v float64) float64 { return math.Max(0, v) })
	case model.Clip:
		monotone(func(v float64) float64 { return math.Min(math.Max(float64(l.Min), v), float64(l.Max)) })
	case model.Sigmoid:
		monotone(func(v float64) float64 { return 1 / (1 + math.Exp(-v)) })
	case model.Tanh:
		monotone(math.Tanh)
	case model.LeakyReLU:
		for i := range n.c {
			s := float64(l.Slope[i/hw%len(l.Slope)])
			f := func(v float64) float64 { return math.Max(v, 0) + s*math.Min(v, 0) }
			lo, hi := f(b.lo(i)), f(b.hi(i))
			lo, hi = math.Min(lo, hi), math.Max(lo, hi)
			if s < 0 && b.lo(i) < 0 && b.hi(i) > 0 {
				lo = 0
			}
			n.set(i, lo, hi)
		}
	case model.Add:
		for i := range n.c {
			n.c[i], n.r[i] = b.c[i]+from[1].c[i], b.r[i]+from[1].r[i]
		}
	case model.Concat:
		n = box64{}
		for _, b := range from {
			n.c, n.r = append(n.c, b.c...), append(n.r, b.r...)
		}
	case model.FC:
		for o := range n.c {
			n.c[o] = p.b[o]
			for i := range b.c {
				w := p.w[o*len(b.c)+i]
				n.c[o] += w * b.c[i]
				n.r[o] += math.Abs(w) * b.r[i]
			}
		}
	default:
		refWindows(l, p, in, out, b, n)
	}
	return n
}

// refWindows is refLayer of convolutions and pools.
func refWindows(l model.Layer, p param64, in, out model.Shape, b, n box64) {
	groups := max(1, l.Groups)
	if l.Kind != model.Conv {
		groups = in.C
	}
	per, taps := in.C/groups, l.Kernel[0]*l.Kernel[1]
	for at := range n.c {
		o, y, x := at/(out.H*out.W), at/out.W%out.H, at%out.W
		lo, hi, pixels := math.Inf(-1), math.Inf(-1), 0
		for t := range per * taps {
			ky, kx := t/l.Kernel[1]%l.Kernel[0], t%l.Kernel[1]
			iy := y*l.Stride[0] + ky*max(1, l.Dilation[0]) - l.Padding[0]
			ix := x*l.Stride[1] + kx*max(1, l.Dilation[1]) - l.Padding[1]
			if iy < 0 || iy >= in.H || ix < 0 || ix >= in.W {
				continue
			}
			i := ((o/(out.C/groups)*per+t/taps)*in.H+iy)*in.W + ix
			w := 1.0
			if l.Kind == model.Conv {
				w = p.w[o*per*taps+t]
			}
			n.c[at] += w * b.c[i]
			n.r[at] += math.Abs(w) * b.r[i]
			lo, hi = math.Max(lo, b.lo(i)), math.Max(hi, b.hi(i))
			pixels++
		}
		switch l.Kind {
		case model.Conv:
			n.c[at] += p.b[o]
		case model.MaxPool:
			n.set(at, lo, hi)
		case model.AvgPool:
			if l.CountPadding {
				pixels = taps
			}
			n.c[at], n.r[at] = n.c[at]/float64(pixels), n.r[at]/float64(pixels)
		}
	}
}
