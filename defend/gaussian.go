package defend

import (
	"github.com/epsball/epsball/attack"
	"github.com/epsball/epsball/kernels"
	"github.com/epsball/epsball/model"
)

// Gaussian replaces each pixel by the mean of those around it, weighted by a Gaussian
// that is cut off at four standard deviations, of each channel by itself. The image is
// reflected at its edges.
type Gaussian struct {
	Sigma float64 // standard deviation, in pixels, at most 32; 0: 1
}

const usualSigma = 1

func (d Gaussian) Name() string      { return "gaussian" }
func (d Gaussian) String() string    { return text(&d) }
func (d Gaussian) Random() bool      { return false }
func (d *Gaussian) Defence() Defence { return *d }

func (d *Gaussian) Fields() []attack.Field {
	return []attack.Field{attack.Length("sigma", "standard deviation in pixels (default 1)", &d.Sigma).Shown("1")}
}

func (d Gaussian) Validate(model.Shape) error {
	if err := check(&d); err != nil {
		return err
	}
	return atMost("sigma", d.Sigma, 32)
}

func (d Gaussian) NewFilter(in model.Shape) Filter {
	sigma := or(d.Sigma, usualSigma)
	radius := int(float64(4*sigma) + 0.5)
	f := &gaussian{window: newWindow(in, -radius, 2*radius+1), half: make([]float32, in.H*in.W), sum: make([]float64, in.H*in.W)}
	w, sum := make([]float64, f.size), 0.0
	for k := range w {
		t := float64(k-radius) / sigma
		w[k] = float64(kernels.Exp(float32(float64(t*t) / -2)))
		sum += w[k]
	}
	for _, v := range w {
		f.weights = append(f.weights, float32(v/sum))
	}
	return f
}

// gaussian adds up products of two float32 in float64, where they are exact, so that
// fused additions have the same bits.
type gaussian struct {
	window
	weights []float32
	half    []float32 // a plane that is smoothed in one direction
	sum     []float64 // of a plane of gradients
}

func (f *gaussian) Forward(y, x []float32, _ *kernels.Stream) {
	h, w, n := f.in.H, f.in.W, f.size
	for c := range f.in.C {
		x, y := x[c*h*w:(c+1)*h*w], y[c*h*w:(c+1)*h*w]
		for i := range h {
			for j := range w {
				sum := 0.0
				for k, row := range f.rows[i*n : (i+1)*n] {
					sum += float64(f.weights[k]) * float64(x[row*w+j])
				}
				f.half[i*w+j] = float32(sum)
			}
		}
		for i := range h {
			for j := range w {
				sum := 0.0
				for k, col := range f.cols[j*n : (j+1)*n] {
					sum += float64(f.weights[k]) * float64(f.half[i*w+col])
				}
				y[i*w+j] = float32(sum)
			}
		}
	}
}

// Backward is Forward transposed.
func (f *gaussian) Backward(gx, gy, _ []float32, _ *kernels.Stream) {
	h, w, n := f.in.H, f.in.W, f.size
	for c := range f.in.C {
		gx, gy := gx[c*h*w:(c+1)*h*w], gy[c*h*w:(c+1)*h*w]
		clear(f.sum)
		for i := range h {
			for j := range w {
				for k, col := range f.cols[j*n : (j+1)*n] {
					f.sum[i*w+col] += float64(f.weights[k]) * float64(gy[i*w+j])
				}
			}
		}
		for k, v := range f.sum {
			f.half[k] = float32(v)
		}
		clear(f.sum)
		for i := range h {
			for j := range w {
				for k, row := range f.rows[i*n : (i+1)*n] {
					f.sum[row*w+j] += float64(f.weights[k]) * float64(f.half[i*w+j])
				}
			}
		}
		for k, v := range f.sum {
			gx[k] = float32(v)
		}
	}
}
