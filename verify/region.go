package verify

import (
	"errors"
	"fmt"

	"github.com/epsball/epsball/net"
)

// Region is a set of inputs, channels first: a box, or a ball around an image, or what
// they have in common. It is one of real numbers: ends, centre and radius are exact.
type Region struct {
	// Lo and Hi are the ends of a box, any finite numbers with Lo ≤ Hi. Without a
	// Centre they are needed; with one, nil leaves pixels in [0, 1].
	Lo, Hi []float32

	// Centre is that of Ball, with pixels in [0, 1], where the whole region then lies;
	// nil: there is no ball.
	Centre []float32
	Ball   net.Ball
}

// Around returns the ball around an image x, pixels in [0, 1].
func Around(ball net.Ball, x []float32) Region { return Region{Centre: x, Ball: ball} }

// BoxOf returns a box.
func BoxOf(lo, hi []float32) Region { return Region{Lo: lo, Hi: hi} }

// Box returns the float32 box around the region, channels first. It allocates its results.
func (r *Region) Box(n *net.Network) (lo, hi []float32, err error) {
	if err := r.validate(n); err != nil {
		return nil, nil, err
	}
	lo, hi = make([]float32, n.Input().Size()), make([]float32, n.Input().Size())
	a := r.area()
	a.outer(lo, hi)
	return lo, hi, nil
}

// IsBox reports whether the region is a box, as balls of Linf are.
func (r *Region) IsBox() bool { return r.norm() == net.Linf }

// validate names the field that makes no sense as a region of inputs of n.
func (r *Region) validate(n *net.Network) error {
	size := n.Input().Size()
	if r.Centre != nil {
		if err := checkBall(r.Ball); err != nil {
			return err
		}
		if err := n.CheckImages(r.Centre, 1); err != nil {
			return fmt.Errorf("centre: %w", err)
		}
		if r.Lo == nil && r.Hi == nil {
			return nil
		}
	} else if r.Lo == nil {
		return errors.New("region: neither a box nor a centre")
	}
	if err := net.CheckBox(r.Lo, r.Hi, size); err != nil {
		return err
	}
	if r.Centre == nil {
		return nil
	}
	lo, hi := make([]float32, size), make([]float32, size)
	a := r.area()
	a.outer(lo, hi)
	for k := range lo {
		if lo[k] > hi[k] {
			return fmt.Errorf("region: ball and box have no input %d in common", k)
		}
	}
	return nil
}

// norm returns that of the ball; a box is one of Linf.
func (r *Region) norm() net.Norm {
	if r.Centre == nil {
		return net.Linf
	}
	return r.Ball.Norm
}

// area prepares a region to be loaded.
func (r *Region) area() area {
	a := area{lo: r.Lo, hi: r.Hi, centre: r.Centre, norm: r.norm()}
	if r.Centre != nil {
		a.box = r.Ball.Box()
	}
	return a
}

// area is a region as workers load it.
type area struct {
	norm   net.Norm
	box    net.Box   // of the ball
	centre []float32 // nil: no ball
	lo, hi []float32 // nil: no box
}

// eps returns a float64 not below the radius of the ball.
func (a *area) eps() float64 {
	if a.centre == nil {
		return 0
	}
	return a.box.EpsHi()
}

// outer writes the float32 box around the region.
func (a *area) outer(lo, hi []float32) {
	if a.centre == nil {
		copy(lo, a.lo)
		copy(hi, a.hi)
		return
	}
	a.box.Outer(lo, hi, a.centre)
	for k, v := range a.lo {
		lo[k], hi[k] = max(lo[k], v), min(hi[k], a.hi[k])
	}
}

// normalizer is the normalize layer in front of a network, or none.
type normalizer struct {
	mean, std []float32
	pixels    int // of a channel
}

func newNormalizer(n *net.Network) normalizer {
	in := n.Input()
	mean, std := n.Normalization()
	return normalizer{mean, std, in.H * in.W}
}

// load writes the box of a region in front of the first node, rounded outward, and,
// unless it is nil, the centre as it is executed (5); all channels first. Of a box the
// centre is its middle, which steers the order of work, no bound.
func (z *normalizer) load(a *area, lo, hi, centre []float32) {
	a.outer(lo, hi)
	if a.centre != nil {
		copy(centre, a.centre)
	} else {
		for k := range centre {
			centre[k] = float32((float64(lo[k]) + float64(hi[k])) / 2)
		}
	}
	if z.mean == nil {
		return
	}
	for k := range lo {
		m, s := z.mean[k/z.pixels], z.std[k/z.pixels]
		lo[k], hi[k] = normalizeOut((lo[k]-m)/s, (hi[k]-m)/s)
	}
	for k, x := range centre {
		centre[k] = (x - z.mean[k/z.pixels]) / z.std[k/z.pixels]
	}
}

// normalize takes boxes in centre and radius, [group][H][W][C][lane], through the layer
// without a thought for rounding.
func (z *normalizer) normalize(c, r []float32, lanes int) {
	if z.mean == nil {
		return
	}
	for i := 0; i < len(c); i += lanes {
		ch := i / lanes % len(z.mean)
		m, s := z.mean[ch], z.std[ch]
		for k := i; k < i+lanes; k++ {
			c[k], r[k] = (c[k]-m)/s, r[k]/s
		}
	}
}

// scale returns what the layer divides a channel by.
func (z *normalizer) scale(channel int) float64 {
	if z.std == nil {
		return 1
	}
	return float64(z.std[channel])
}
