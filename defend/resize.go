package defend

import (
	"math"

	"github.com/epsball/epsball/attack"
	"github.com/epsball/epsball/kernels"
	"github.com/epsball/epsball/model"
)

// ResizePad shrinks the image to a random height, its width in proportion, and puts it at
// a random place on black (Xie et al., "Mitigating Adversarial Effects Through
// Randomization", ICLR 2018). There the image is enlarged, for a network with larger
// images; here it keeps the size that the network takes. Pixels are interpolated
// linearly.
type ResizePad struct {
	Least float64 // smallest height, as a share of the image's; 0: 0.8
}

const usualLeast = 0.8

func (d ResizePad) Name() string      { return "resize-pad" }
func (d ResizePad) String() string    { return text(&d) }
func (d ResizePad) Random() bool      { return true }
func (d *ResizePad) Defence() Defence { return *d }

func (d *ResizePad) Fields() []attack.Field {
	return []attack.Field{attack.Share("least", "smallest height, as a share of the image's", &d.Least, usualLeast).Shown("0.8")}
}

func (d ResizePad) Validate(model.Shape) error { return check(&d) }

func (d ResizePad) NewFilter(in model.Shape) Filter {
	least := int(math.Ceil(or(d.Least, usualLeast) * float64(in.H)))
	return &resizePad{in: in, least: min(max(least, 1), in.H), rows: make([]tap, in.H), cols: make([]tap, in.W)}
}

type resizePad struct {
	in         model.Shape
	least      int
	rows, cols []tap
}

// tap says that a row or column of the small image lies between two of the large one.
type tap struct {
	lo, hi int
	share  float32 // of hi
}

// taps writes those of m pixels that were n; their centres lie where they did.
func taps(t []tap, m, n int) {
	for i := range t[:m] {
		at := (2*i+1)*n - m // place · 2m
		if at < 0 {
			at = 0
		}
		lo := at / (2 * m)
		t[i] = tap{lo, min(lo+1, n-1), float32(at%(2*m)) / float32(2*m)}
	}
}

// draw picks size and place.
func (f *resizePad) draw(r *kernels.Stream) (h, w, top, left int) {
	h = f.least + r.Intn(f.in.H-f.least+1)
	w = max(1, (2*f.in.W*h+f.in.H)/(2*f.in.H))
	top, left = r.Intn(f.in.H-h+1), r.Intn(f.in.W-w+1)
	taps(f.rows, h, f.in.H)
	taps(f.cols, w, f.in.W)
	return h, w, top, left
}

func (f *resizePad) Forward(y, x []float32, r *kernels.Stream) {
	h, w, top, left := f.draw(r)
	clear(y)
	for c := range f.in.C {
		plane := c * f.in.H * f.in.W
		for i, row := range f.rows[:h] {
			lo, hi := x[plane+row.lo*f.in.W:], x[plane+row.hi*f.in.W:]
			to := y[plane+(top+i)*f.in.W+left:]
			for j, col := range f.cols[:w] {
				to[j] = mix(mix(lo[col.lo], lo[col.hi], col.share), mix(hi[col.lo], hi[col.hi], col.share), row.share)
			}
		}
	}
}

// mix is the point between a and b, at b for share 1.
func mix(a, b, share float32) float32 { return float32(a*(1-share)) + float32(b*share) }

func (f *resizePad) Backward(gx, gy, _ []float32, r *kernels.Stream) {
	h, w, top, left := f.draw(r)
	clear(gx)
	for c := range f.in.C {
		plane := c * f.in.H * f.in.W
		for i, row := range f.rows[:h] {
			lo, hi := gx[plane+row.lo*f.in.W:], gx[plane+row.hi*f.in.W:]
			from := gy[plane+(top+i)*f.in.W+left:]
			for j, col := range f.cols[:w] {
				a, b := from[j]*(1-row.share), from[j]*row.share
				lo[col.lo] += float32(a * (1 - col.share))
				lo[col.hi] += float32(a * col.share)
				hi[col.lo] += float32(b * (1 - col.share))
				hi[col.hi] += float32(b * col.share)
			}
		}
	}
}
