package defend

import (
	"math"

	"github.com/epsball/epsball/attack"
	"github.com/epsball/epsball/kernels"
	"github.com/epsball/epsball/model"
)

// TV replaces each channel x of the image by the u that minimises
//
//	½·‖u − x‖² + Weight · Σ ‖∇u‖₂
//
// (Rudin, Osher, Fatemi 1992; as a defence: Guo et al., "Countering Adversarial Images
// using Input Transformations", ICLR 2018, here without dropping pixels), approximately:
// by so many steps of Chambolle's dual projection (2004, equation 9) from zero, of length
// 1/4. The derivative is that of these steps.
type TV struct {
	Weight float64 // at most 100; 0: 0.1
	Steps  int     // at most 1000; 0: 20
}

const (
	usualWeight  = 0.1
	usualTVSteps = 20
)

func (d TV) Name() string      { return "tv" }
func (d TV) String() string    { return text(&d) }
func (d TV) Random() bool      { return false }
func (d *TV) Defence() Defence { return *d }

func (d *TV) Fields() []attack.Field {
	return []attack.Field{
		attack.Length("weight", "weight of the total variation (default 0.1)", &d.Weight).Shown("0.1"),
		attack.CountTo("steps", "steps towards the minimum", &d.Steps, usualTVSteps, 1000).Shown("20"),
	}
}

func (d TV) Validate(model.Shape) error {
	if err := check(&d); err != nil {
		return err
	}
	return atMost("weight", d.Weight, 100)
}

func (d TV) NewFilter(in model.Shape) Filter {
	n := in.H * in.W
	f := &tv{in: in, weight: float32(or(d.Weight, usualWeight)), steps: or(d.Steps, usualTVSteps)}
	for _, t := range []*[]float32{&f.v, &f.p[0], &f.p[1]} {
		*t = make([]float32, n)
	}
	return f
}

// tv holds the state of one channel. Divergence is the negative adjoint of the gradient.
type tv struct {
	in     model.Shape
	weight float32
	steps  int
	v      []float32    // div p − x/weight
	p      [2][]float32 // the dual variable, downwards and to the right

	undo *undo // made by the first Backward
}

func (f *tv) Forward(y, x []float32, _ *kernels.Stream) {
	hw := f.in.H * f.in.W
	for c := range f.in.C {
		x, y := x[c*hw:(c+1)*hw], y[c*hw:(c+1)*hw]
		clear(f.p[0])
		clear(f.p[1])
		for range f.steps {
			f.step(x)
		}
		f.divergence(y)
		for k, d := range y {
			y[k] = x[k] - float32(f.weight*d)
		}
	}
}

// divergence writes div p to d.
func (f *tv) divergence(d []float32) {
	h, w := f.in.H, f.in.W
	for i := range h {
		for j := range w {
			k := i*w + j
			v := float32(0)
			if i < h-1 {
				v = f.p[0][k]
			}
			if i > 0 {
				v -= f.p[0][k-w]
			}
			if j < w-1 {
				v += f.p[1][k]
			}
			if j > 0 {
				v -= f.p[1][k-1]
			}
			d[k] = v
		}
	}
}

// point writes div p − x/weight to v.
func (f *tv) point(x []float32) {
	f.divergence(f.v)
	for k, d := range f.v {
		f.v[k] = d - x[k]/f.weight
	}
}

// slope returns ∇v at pixel (i, j), and its length.
func (f *tv) slope(i, j int) (down, right, length float32) {
	k := i*f.in.W + j
	if i < f.in.H-1 {
		down = f.v[k+f.in.W] - f.v[k]
	}
	if j < f.in.W-1 {
		right = f.v[k+1] - f.v[k]
	}
	// Products of two float32 are exact in float64, fused or not.
	return down, right, float32(math.Sqrt(float64(down)*float64(down) + float64(right)*float64(right)))
}

// step is one of Chambolle's: p + ∇v/4, divided by 1 + |∇v|/4.
func (f *tv) step(x []float32) {
	f.point(x)
	for i := range f.in.H {
		for j := range f.in.W {
			k := i*f.in.W + j
			down, right, length := f.slope(i, j)
			n := 1 + length/4
			f.p[0][k] = (f.p[0][k] + down/4) / n
			f.p[1][k] = (f.p[1][k] + right/4) / n
		}
	}
}
