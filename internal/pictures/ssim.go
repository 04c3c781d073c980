package pictures

import (
	"math"

	"github.com/epsball/epsball/model"
)

// The window of SSIM: Gaussian, of standard deviation 1.5.
const (
	window = 11
	sigma  = 1.5
)

// SSIM returns the mean structural similarity of two images, channels first, pixels in
// [0, 1] (Wang, Bovik, Sheikh & Simoncelli 2004, Image quality assessment: from error
// visibility to structural similarity, equation 13): 1 for equal ones. As in the paper, the
// window is an 11×11 Gaussian of standard deviation 1.5 that lies within the image,
// K₁ = 0.01, K₂ = 0.03 and L = 1. Of several channels it is the mean. Images below 11×11
// have none, and ok is false.
func SSIM(x, y []float32, in model.Shape) (ssim float64, ok bool) {
	if in.H < window || in.W < window {
		return 0, false
	}
	n := in.H * in.W
	for c := range in.C {
		ssim += channelSSIM(x[c*n:(c+1)*n], y[c*n:(c+1)*n], in.H, in.W) / float64(in.C)
	}
	return ssim, true
}

func channelSSIM(x, y []float32, h, w int) float64 {
	mean := func(of func(i int) float64) []float64 {
		f := make([]float64, h*w)
		for i := range f {
			f[i] = of(i)
		}
		return blur(f, h, w)
	}
	a, b := func(i int) float64 { return float64(x[i]) }, func(i int) float64 { return float64(y[i]) }
	mx, my := mean(a), mean(b)
	xx := mean(func(i int) float64 { return a(i) * a(i) })
	yy := mean(func(i int) float64 { return b(i) * b(i) })
	xy := mean(func(i int) float64 { return a(i) * b(i) })
	const c1, c2 = 0.01 * 0.01, 0.03 * 0.03
	sum := 0.0
	for i := range mx {
		m, mm := mx[i]*my[i], mx[i]*mx[i]+my[i]*my[i]
		sum += (2*m + c1) * (2*(xy[i]-m) + c2) / ((mm + c1) * (xx[i] + yy[i] - mm + c2))
	}
	return sum / float64(len(mx))
}

// blur averages an image in the window around each pixel where the window fits.
func blur(f []float64, h, w int) []float64 {
	var g [window]float64
	sum := 0.0
	for i := range g {
		d := float64(i - window/2)
		g[i] = math.Exp(-d * d / (2 * sigma * sigma))
		sum += g[i]
	}
	wide, high := w-window+1, h-window+1
	rows := make([]float64, h*wide)
	for i := range h {
		for j := range wide {
			for k, v := range g {
				rows[i*wide+j] += v / sum * f[i*w+j+k]
			}
		}
	}
	out := make([]float64, high*wide)
	for i := range high {
		for j := range wide {
			for k, v := range g {
				out[i*wide+j] += v / sum * rows[(i+k)*wide+j]
			}
		}
	}
	return out
}
