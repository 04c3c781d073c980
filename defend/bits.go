package defend

import (
	"math"

	"github.com/epsball/epsball/attack"
	"github.com/epsball/epsball/kernels"
	"github.com/epsball/epsball/model"
)

// Bits rounds each pixel to the nearest multiple of 1/(2^Depth − 1), halves to even ones
// (Xu, Evans, Qi, "Feature Squeezing", NDSS 2018, section III A).
type Bits struct {
	Depth int // 1 … 8; 0: 3
}

const usualDepth = 3

func (d Bits) Name() string      { return "bits" }
func (d Bits) String() string    { return text(&d) }
func (d Bits) Random() bool      { return false }
func (d *Bits) Defence() Defence { return *d }

func (d *Bits) Fields() []attack.Field {
	return []attack.Field{attack.CountTo("depth", "bits of a pixel", &d.Depth, usualDepth, 8).Shown("3")}
}

func (d Bits) Validate(model.Shape) error { return check(&d) }

func (d Bits) NewFilter(model.Shape) Filter {
	return bits(int(1)<<or(d.Depth, usualDepth) - 1)
}

// bits is the largest value.
type bits float32

func (b bits) Forward(y, x []float32, _ *kernels.Stream) {
	for k, v := range x {
		y[k] = float32(math.RoundToEven(float64(v*float32(b)))) / float32(b)
	}
}
