package attack

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/bits"

	"github.com/epsball/epsball/kernels"
	"github.com/epsball/epsball/net"
)

// RadiusResult holds one entry an image.
type RadiusResult struct {
	// Steps is the smallest radius at which the image was fooled, in units of the
	// resolution; 0: the image itself is misclassified; −1: not fooled up to the
	// largest radius.
	Steps []int
	Adv   []float32 // the point that fools it there; the image itself where Steps is −1
	Done  []bool
}

// RadiusSearch looks for the smallest radius at which each image can be fooled. It is
// an upper bound of the image's robust radius; Radius of package verify finds a lower
// one.
type RadiusSearch struct {
	Attack          Config // but for the ball's radius
	Resolution, Max net.Epsilon

	a    *Attacker
	most int
}

// NewRadiusSearch prepares a search in multiples of resolution up to max with the
// attack c, whose Ball only gives the norm. The method must leave lengths at their
// defaults, because they follow the radius.
func NewRadiusSearch(t Target, c Config, resolution, max net.Epsilon, pool *kernels.Pool) (*RadiusSearch, error) {
	if c.Method != nil && c.Method.Plan().FixedLengths {
		return nil, fmt.Errorf("%v: got a fixed step size, want none: it follows the radius", c.Method)
	}
	steps, err := net.RadiusSteps(resolution, max)
	if err != nil {
		return nil, err
	}
	c.Ball.Eps = max
	a, err := New(t, c, pool)
	if err != nil {
		return nil, err
	}
	return &RadiusSearch{Attack: c, Resolution: resolution, Max: max, a: a, most: steps}, nil
}

// state is what the search knows of one image.
type state struct {
	low  int // not fooled here, or not worth trying
	high int // fooled here; most+1: nowhere yet
}

// Run searches for each image of b. If low is not nil, it searches above low[i] steps,
// a radius at which image i is certified. The largest radius is always tried. The
// radius first doubles until the image is fooled; then bisection goes down, each attack
// starting at the last point found. Each radius returned has a witness, checked
// exactly. When ctx ends it returns the context's error; images with res.Done are then
// complete.
func (s *RadiusSearch) Run(ctx context.Context, b Batch, low []int, res *RadiusResult) error {
	n := len(b.Y)
	if b.Targets != nil || b.Start != nil {
		return errors.New("batch: targets and start points have no meaning in a search of radii")
	}
	if low != nil && len(low) != n {
		return fmt.Errorf("lower radii: %d, want one for each of %d images", len(low), n)
	}
	*res = RadiusResult{Steps: make([]int, n), Adv: append([]float32(nil), b.X...), Done: make([]bool, n)}
	states := make([]state, n)
	for i := range states {
		states[i].high = s.most + 1
		if low != nil {
			states[i].low = min(max(0, low[i]), s.most-1) // the largest radius is tried whatever is claimed
		}
	}
	for {
		k, images := s.next(states)
		if len(images) == 0 {
			break
		}
		if err := s.try(ctx, b, k, images, states, res); err != nil {
			for i, t := range states {
				res.Done[i] = t.high-t.low <= 1
			}
			s.steps(states, res)
			return err
		}
	}
	for i := range res.Done {
		res.Done[i] = true
	}
	s.steps(states, res)
	return nil
}

func (s *RadiusSearch) steps(states []state, res *RadiusResult) {
	for i, t := range states {
		res.Steps[i] = t.high
		if t.high > s.most {
			res.Steps[i] = -1
		}
	}
}

// next picks a radius and all images that are to be tried at it: those that have
// been fooled, which start at the point found, or those that have not.
func (s *RadiusSearch) next(states []state) (k int, images []int) {
	var warm bool
	for i, t := range states {
		if t.high-t.low <= 1 {
			continue
		}
		want, fooled := s.middle(t), t.high <= s.most
		if len(images) == 0 {
			k, warm = want, fooled
		}
		if want == k && fooled == warm {
			images = append(images, i)
		}
	}
	return k, images
}

// middle is the next radius for an image: between its bounds that with the most
// factors of two near the middle, which many images share.
func (s *RadiusSearch) middle(t state) int {
	if t.high > s.most {
		up := max(1, 2*t.low)
		return min(s.most, 1<<bits.Len(uint(up-1))) // the next power of two
	}
	a, b := t.low+(t.high-t.low+3)/4, t.high-(t.high-t.low+3)/4
	if a >= b {
		return (t.low + t.high) / 2
	}
	for unit := 1 << bits.Len(uint(b)); ; unit /= 2 {
		if k := b / unit * unit; k >= a {
			return k
		}
	}
}

// try attacks some images at one radius.
func (s *RadiusSearch) try(ctx context.Context, b Batch, k int, images []int, states []state, res *RadiusResult) error {
	size := s.a.target.Input().Size()
	part := Batch{Y: make([]int, len(images)), Index: make([]int, len(images))}
	warm := states[images[0]].high <= s.most
	for j, i := range images {
		part.X = append(part.X, b.X[i*size:(i+1)*size]...)
		part.Y[j], part.Index[j] = b.Y[i], int(b.index(i))
		if warm {
			part.Start = append(part.Start, res.Adv[i*size:(i+1)*size]...)
		}
	}
	if err := s.a.aim(net.Ball{Norm: s.Attack.Ball.Norm, Eps: s.Resolution.Times(k)}); err != nil {
		return err
	}
	var r Result
	if err := s.a.Run(ctx, part, &r); err != nil {
		return err
	}
	for j, i := range images {
		t := &states[i]
		switch {
		case !r.Clean[j]:
			t.high = 0
		case r.Success[j]:
			adv := r.Adv[j*size : (j+1)*size]
			t.high = s.least(k, part.X[j*size:(j+1)*size], adv, &r, j)
			t.low = min(t.low, t.high-1) // fooled where it was certified: the caller sees the contradiction
			copy(res.Adv[i*size:], adv)
		default:
			t.low = k
		}
	}
	return nil
}

// least returns the smallest radius, at most k, whose ball holds adv.
func (s *RadiusSearch) least(k int, x, adv []float32, r *Result, j int) int {
	d := r.Distance(s.Attack.Ball.Norm, j)
	for at := max(1, int(math.Floor(d/s.Resolution.Float64()))); at < k; at++ {
		if (net.Ball{Norm: s.Attack.Ball.Norm, Eps: s.Resolution.Times(at)}).Contains(x, adv) {
			return at
		}
	}
	return k
}
