package attack

import (
	"context"
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/epsball/epsball/kernels"
	"github.com/epsball/epsball/model"
	"github.com/epsball/epsball/net"
)

// shrink is a small minimisation attack, after the decoupled direction and norm of
// Rony et al. 2019: each step goes along the gradient to a ball of a radius of its own, which
// shrinks by a tenth where the point is misclassified and grows by a tenth where it is
// not. It may leave the ball.
type shrink struct {
	steps int
	seed  uint64
}

func (shrink) Name() string                 { return "shrink" }
func (shrink) String() string               { return "shrink" }
func (shrink) Validate(net.Ball, int) error { return nil }

func (m shrink) Plan() Plan {
	return Plan{Goal: SmallestDistance, Restarts: 2, Seed: m.seed, RandomStart: true}
}

func (m shrink) NewRule(s *Space) Rule {
	return &shrinkRule{s, m.steps, make([]float64, s.Slots)}
}

type shrinkRule struct {
	space  *Space
	steps  int
	radius []float64
}

func (r *shrinkRule) Start(s *Slot, x []float32) { r.space.RandomPoint(x, &s.Stream) }

func (r *shrinkRule) Judge(s *Slot, z, dz []float32) Verdict {
	switch {
	case s.Step >= r.steps:
		return RunOver
	case s.Step == 0:
		r.radius[s.Seat] = 2 * r.space.Ball.Eps.Float64()
	case s.Fools:
		r.radius[s.Seat] *= 0.9
	default:
		r.radius[s.Seat] *= 1.1
	}
	net.Margin.Gradient(dz, z, s.Y, s.Target)
	return Ascend
}

func (r *shrinkRule) Move(slots []Slot, grad []float32) {
	sp := r.space
	for i := range slots {
		s := &slots[i]
		if !s.Moves {
			continue
		}
		at := func(t []float32) []float32 { return sp.Layout.Slot(t, sp.Size, s.Place) }
		x, c, g := at(sp.X), at(sp.Centre), at(grad)
		step := func(size func(v float64) float64, scale float64) {
			for k := 0; k < sp.Size*int(sp.Layout); k += int(sp.Layout) {
				x[k] = min(max(x[k]+float32(scale*size(float64(g[k]))), 0), 1)
			}
		}
		length := r.radius[s.Seat]
		if sp.Ball.Norm == net.Linf {
			step(func(v float64) float64 {
				if v == 0 {
					return 0
				}
				return math.Copysign(1, v)
			}, length/2)
		} else if n := slotNorm(sp, g, nil); n > 0 {
			step(func(v float64) float64 { return v }, length/2/n)
		}
		scale := min(1, length/slotNorm(sp, x, c))
		for k := 0; k < sp.Size*int(sp.Layout); k += int(sp.Layout) {
			x[k] = c[k] + float32(scale*(float64(x[k])-float64(c[k])))
		}
	}
}

// slotNorm is the norm of x − c in a slot.
func slotNorm(sp *Space, x, c []float32) float64 {
	largest, sum2 := 0.0, 0.0
	for k := 0; k < sp.Size*int(sp.Layout); k += int(sp.Layout) {
		d := float64(x[k])
		if c != nil {
			d -= float64(c[k])
		}
		largest = max(largest, math.Abs(d))
		sum2 += float64(d * d)
	}
	if sp.Ball.Norm == net.Linf && c != nil {
		return largest
	}
	return math.Sqrt(sum2)
}

// recorder notes each point that a rule sees, by image and order.
type recorder struct {
	Method
	input model.Shape
	seen  map[uint64][]visit
}

type visit struct {
	x     []float32
	fools bool
}

func (m *recorder) NewRule(s *Space) Rule {
	r := recording{m.Method.NewRule(s), m, s}
	if multi, ok := r.Rule.(Multi); ok {
		return &multiRecording{r, multi.Next}
	}
	return &r
}

// multiRecording is a recording of a Multi.
type multiRecording struct {
	recording
	next func(slots []Slot, grad []float32, seed func(s *Slot, dz []float32)) bool
}

func (r *multiRecording) Next(slots []Slot, grad []float32, seed func(s *Slot, dz []float32)) bool {
	return r.next(slots, grad, seed)
}

type recording struct {
	Rule
	m     *recorder
	space *Space
}

func (r *recording) Judge(s *Slot, z, dz []float32) Verdict {
	x := make([]float32, r.space.Size)
	r.space.Layout.Unpack(x, r.space.X, r.m.input, s.Place)
	r.m.seen[s.Image] = append(r.m.seen[s.Image], visit{x, s.Fools})
	return r.Rule.Judge(s, z, dz)
}

// TestSmallestDistance: of all misclassified points in the ball that a rule visits, the
// nearest one is returned; those outside do not count.
func TestSmallestDistance(t *testing.T) {
	const n = 45
	s := newSetup(t, tiny, 1, n, "")
	s.y[3] = (s.y[3] + 1) % 5
	pool := kernels.NewPool(1)
	for _, b := range []net.Ball{ball(net.Linf, "0.05"), ball(net.L2, "0.4")} {
		m := &recorder{shrink{steps: 30, seed: 1}, tiny.Input, map[uint64][]visit{}}
		a, err := New(s.n, Config{Ball: b, Method: m, Recheck: true}, pool)
		require.NoError(t, err)
		var r Result
		require.NoError(t, a.Run(context.Background(), Batch{X: s.x, Y: s.y}, &r))
		found, outside, later := 0, 0, 0
		for i := range n {
			x, want, nearest := s.image(s.x, i), s.image(s.x, i), math.Inf(1)
			for k, v := range m.seen[uint64(i)] {
				if !v.fools {
					continue
				}
				if !b.Contains(x, v.x) {
					outside++
					continue
				}
				var linf, l2 float64
				for j, p := range v.x {
					d := math.Abs(float64(p) - float64(x[j]))
					linf, l2 = max(linf, d), l2+float64(d*d)
				}
				d := linf
				if b.Norm == net.L2 {
					d = math.Sqrt(l2)
				}
				if d < nearest {
					want, nearest = v.x, d
					later += min(1, k)
				}
			}
			require.Equal(t, want, s.image(r.Adv, i), "image %d", i)
			require.Equal(t, !math.IsInf(nearest, 1), r.Success[i])
			if r.Success[i] {
				found++
				require.Equal(t, nearest, []float64{r.Linf[i], r.L2[i]}[b.Norm])
				require.Less(t, nearest, b.Eps.Float64())
			}
		}
		require.Greater(t, found, 10)
		require.Positive(t, outside, "the rule never leaves the ball: the test shows nothing")
		require.Positive(t, later)
		require.Len(t, m.seen[4], 62) // two runs to their ends
	}
}

// stray leaves the ball with what it should keep inside.
type stray struct{ shrink }

func (m stray) Plan() Plan { return Plan{Restarts: 1, RandomStart: true} }

// TestStrayRule: a rule that leaves the ball is an error, never a result.
func TestStrayRule(t *testing.T) {
	s := newSetup(t, tiny, 1, 20, "")
	for _, norm := range []net.Norm{net.Linf, net.L2} {
		a, err := New(s.n, Config{Ball: ball(norm, "0.01"), Method: stray{shrink{steps: 5}}}, kernels.NewPool(1))
		require.NoError(t, err)
		require.ErrorContains(t, a.Run(context.Background(), Batch{X: s.x, Y: s.y}, new(Result)), "outside the ball "+norm.String())
	}
}
