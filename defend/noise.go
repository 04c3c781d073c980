package defend

import (
	"github.com/epsball/epsball/attack"
	"github.com/epsball/epsball/kernels"
	"github.com/epsball/epsball/model"
)

// Noise adds to each pixel a number of its own from the normal distribution with mean 0
// and standard deviation Sigma. Pixels may leave [0, 1] (Cohen, Rosenfeld, Kolter,
// "Certified Adversarial Robustness via Randomized Smoothing", ICML 2019, equation 1; but
// the network sees one sample, and does not vote over many).
type Noise struct {
	Sigma float64 // in pixel units, at most 10; 0: 0.1
}

const usualNoise = 0.1

func (d Noise) Name() string      { return "noise" }
func (d Noise) String() string    { return text(&d) }
func (d Noise) Random() bool      { return true }
func (d *Noise) Defence() Defence { return *d }

func (d *Noise) Fields() []attack.Field {
	return []attack.Field{attack.Length("sigma", "standard deviation in pixel units (default 0.1)", &d.Sigma).Shown("0.1")}
}

func (d Noise) Validate(model.Shape) error {
	if err := check(&d); err != nil {
		return err
	}
	return atMost("sigma", d.Sigma, 10)
}

func (d Noise) NewFilter(model.Shape) Filter { return noise(or(d.Sigma, usualNoise)) }

type noise float32

func (n noise) Forward(y, x []float32, r *kernels.Stream) {
	for k, v := range x {
		y[k] = v + float32(float32(n)*r.Norm())
	}
}

func (n noise) Backward(gx, gy, _ []float32, _ *kernels.Stream) { copy(gx, gy) }
