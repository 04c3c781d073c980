package defend

import (
	"fmt"
	"strings"

	"github.com/epsball/epsball/attack"
	"github.com/epsball/epsball/kernels"
	"github.com/epsball/epsball/model"
)

// Defence is a preprocessing step: Bits, Median, Gaussian, JPEG, TV, ResizePad, Noise, or
// one of your own. It is a value that does not change. The zero value of each has the
// usual settings.
type Defence interface {
	// Name is that of the registry, String the whole textual form, which Parse reads:
	// "jpeg:quality=75".
	Name() string
	String() string

	// Validate names the first setting that makes no sense, or what images of that shape
	// lack.
	Validate(in model.Shape) error

	// Random reports whether it draws random numbers.
	Random() bool

	// NewFilter returns the defence at work on images of that shape.
	NewFilter(in model.Shape) Filter
}

// Filter is a Defence at work. It has memory of its own, and belongs to one goroutine at
// a time. Images are channels first. What it does to an image depends on the image and
// on the random numbers of r alone.
type Filter interface {
	// Forward writes to y what becomes of the image x.
	Forward(y, x []float32, r *kernels.Stream)
}

// Differentiable is a Filter whose derivative leads an attack uphill. The derivative of
// the others is zero almost everywhere.
type Differentiable interface {
	Filter

	// Backward writes to gx the gradient at x of a function whose gradient at the
	// filter's output is gy. r draws the numbers that Forward drew.
	Backward(gx, gy, x []float32, r *kernels.Stream)
}

// Chain is defences that work one after the other, the first on the image.
type Chain []Defence

// String returns the textual form, which Parse reads: "jpeg:quality=75+bits:depth=3".
func (c Chain) String() string {
	names := make([]string, len(c))
	for i, d := range c {
		names[i] = d.String()
	}
	return strings.Join(names, "+")
}

// Validate names the first defence that cannot work on images of that shape, and why.
func (c Chain) Validate(in model.Shape) error {
	if len(c) == 0 {
		return fmt.Errorf("defence: none, want one such as JPEG{}")
	}
	for _, d := range c {
		if err := d.Validate(in); err != nil {
			return fmt.Errorf("defence %s: %w", d.Name(), err)
		}
	}
	return nil
}

// Random reports whether any of them draws random numbers.
func (c Chain) Random() bool {
	for _, d := range c {
		if d.Random() {
			return true
		}
	}
	return false
}

// text and check do for a defence what attack.Text and attack.CheckFields do for a method.
// A plus sign joins defences, so the text has 1e7, not 1e+07.
func text(d Settings) string {
	return strings.ReplaceAll(attack.Text(d.Defence().Name(), d.Fields()), "e+", "e")
}

func check(d Settings) error { return attack.CheckFields(d.Fields()) }

// or is v, or the usual value if v is 0.
func or[T int | float64](v, usual T) T {
	if v == 0 {
		return usual
	}
	return v
}

// atMost is the error of a length that is too large.
func atMost(name string, v, most float64) error {
	if v > most {
		return fmt.Errorf("%s: got %v, want at most %v", name, v, most)
	}
	return nil
}
