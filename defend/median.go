package defend

import (
	"github.com/epsball/epsball/attack"
	"github.com/epsball/epsball/kernels"
	"github.com/epsball/epsball/model"
)

// Median replaces each pixel by the median of a square window around it, of each channel
// by itself (Xu, Evans, Qi, "Feature Squeezing", NDSS 2018, section III B). With an even
// Size there is one more row and column above and on the left, and the median is the
// upper one of the two. The image is reflected at its edges. The derivative is that of
// the pixel that is the median.
type Median struct {
	Size int // pixels of the window's side, 1 … 15; 0: 3
}

const usualSize = 3

func (d Median) Name() string      { return "median" }
func (d Median) String() string    { return text(&d) }
func (d Median) Random() bool      { return false }
func (d *Median) Defence() Defence { return *d }

func (d *Median) Fields() []attack.Field {
	return []attack.Field{attack.CountTo("size", "side of the window", &d.Size, usualSize, 15).Shown("3")}
}

func (d Median) Validate(model.Shape) error { return check(&d) }

func (d Median) NewFilter(in model.Shape) Filter {
	size := or(d.Size, usualSize)
	return &median{newWindow(in, -(size / 2), size), make([]float32, 0, size*size), make([]int, 0, size*size)}
}

type median struct {
	window
	v  []float32 // sorted pixels of a window, the lower half of them
	at []int     // where they are
}

func (f *median) Forward(y, x []float32, _ *kernels.Stream) {
	f.each(x, func(k, at int) { y[k] = x[at] })
}

func (f *median) Backward(gx, gy, x []float32, _ *kernels.Stream) {
	clear(gx)
	f.each(x, func(k, at int) { gx[at] += gy[k] })
}

// each calls do with each pixel and the one that is the median around it.
func (f *median) each(x []float32, do func(k, at int)) {
	k, hw := 0, f.in.H*f.in.W
	for c := range f.in.C {
		plane := x[c*hw : (c+1)*hw]
		for i := range f.in.H {
			for j := range f.in.W {
				do(k, c*hw+f.of(plane, f.rows[i*f.size:(i+1)*f.size], f.cols[j*f.size:(j+1)*f.size]))
				k++
			}
		}
	}
}

// of returns where in the plane the median of some rows and columns is. Of equal pixels,
// the first comes first.
func (f *median) of(plane []float32, rows, cols []int) int {
	half := f.size*f.size/2 + 1
	v, at := f.v[:0], f.at[:0]
	for _, i := range rows {
		for _, j := range cols {
			p := i*f.in.W + j
			k := len(v)
			if k == half { // the largest so far cannot be the median any more
				if plane[p] >= v[k-1] {
					continue
				}
				k--
				v, at = v[:k], at[:k]
			}
			v, at = append(v, plane[p]), append(at, p)
			for ; k > 0 && v[k-1] > plane[p]; k-- {
				v[k], at[k] = v[k-1], at[k-1]
			}
			v[k], at[k] = plane[p], p
		}
	}
	return at[half-1]
}
