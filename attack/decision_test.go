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

// nearestOfLinear returns the distance of the misclassified point nearest to image i of a
// setup with a linear network.
func nearestOfLinear(s *setup, z []float32, norm net.Norm, i int) float64 {
	classes := s.n.Classes()
	w, d, best := make([]float32, s.size), make([]float64, s.size), math.Inf(1)
	params := s.m.Params[0].W
	for j := range classes {
		if y := s.y[i]; j != y {
			var moved float64
			gap := float64(z[i*classes+j]) - float64(z[i*classes+y])
			for k := range w {
				w[k] = params[j*s.size+k] - params[y*s.size+k]
			}
			distance := newPlanes(norm, s.size).project(d, s.image(s.x, i), w, gap)
			for k, v := range d {
				moved += float64(w[k]) * v
			}
			if moved > -gap*(1-1e-6) { // else the plane does not meet the pixel box
				best = min(best, distance)
			}
		}
	}
	return best
}

func distances(r *Result, norm net.Norm) []float64 {
	return [][]float64{r.Linf, r.L2, r.L1}[norm]
}

// TestNearestOfLinear: the attacks find the nearest misclassified point of a linear
// network, whose distance is known, and none finds a nearer one. Those that follow the
// nearest boundary alone, or none, are tried with two classes, which have one boundary.
func TestNearestOfLinear(t *testing.T) {
	const n = 20
	two := &model.Architecture{Name: "two", Input: linear.Input, Layers: []model.Layer{fc(2)}}
	for _, c := range []struct {
		arch   *model.Architecture
		how    Method
		norms  []net.Norm
		excess float64 // of the mean distance
	}{
		{linear, FAB{Steps: 30}, []net.Norm{net.Linf, net.L2, net.L1}, 2e-3},
		{linear, FABT{Steps: 30}, []net.Norm{net.Linf, net.L2, net.L1}, 2e-3},
		{two, Bisect{Seed: 1}, []net.Norm{net.Linf, net.L2}, 5e-3},
		{two, Bisect{Seed: 1}, []net.Norm{net.L1}, 0.15}, // its steps change one pixel of 16
		{two, HopSkipJump{Steps: 15, Seed: 1}, []net.Norm{net.Linf, net.L2}, 0.02},
		{two, Boundary{Steps: 3000, Seed: 1}, []net.Norm{net.L2}, 0.02},
	} {
		s := newSetup(t, c.arch, 4, n, "")
		z := s.logits(t, s.x, n)
		for _, norm := range c.norms {
			r := s.run(t, Config{Ball: norm.Largest(s.size), Method: c.how, Recheck: true}, Batch{X: s.x, Y: s.y}, 1)
			have, best := 0.0, 0.0
			for i := range n {
				want := nearestOfLinear(s, z, norm, i)
				require.Equal(t, !math.IsInf(want, 1), r.Success[i], "%v, %v: image %d", c.how, norm, i)
				if !r.Success[i] {
					continue
				}
				d := distances(r, norm)[i]
				require.GreaterOrEqual(t, d, want*(1-1e-4)-1e-6, "%v, %v: image %d", c.how, norm, i)
				have += d
				best += want
			}
			t.Logf("%v, %v: %.5f of the smallest distance, %d steps", c.how, norm, have/best, r.ImageSteps)
			require.Less(t, have, best*(1+c.excess), "%v, %v", c.how, norm)
		}
	}
}

// labels is a network that says nothing but the class: its logits are 1 for that and 0
// for others, and it has no gradients.
type labels struct{ *net.Network }

func (l labels) HasBackward() bool { return false }

func (l labels) Passes(images int, pool *kernels.Pool) Passes {
	return &labelPasses{Passes: l.Network.Passes(images, pool), classes: l.Classes()}
}

type labelPasses struct {
	Passes
	classes int
	z       []float32
}

func (p *labelPasses) Forward(x []float32, blocks int) []float32 {
	z := p.Passes.Forward(x, blocks)
	p.z = make([]float32, len(z))
	one := make([]float32, p.classes)
	for i := range blocks * int(p.Layout()) {
		p.Layout().Gather(one, z, i)
		class := net.Argmax(one)
		clear(one)
		one[class] = 1
		p.Layout().Scatter(p.z, one, i)
	}
	return p.z
}

func (p *labelPasses) Logits() []float32 { return p.z }

func (p *labelPasses) Backward(int) []float32 { panic("gradients of a network without any") }

// TestLabelsAlone: decision-based attacks find the same points whether they are given
// logits and gradients or labels alone, and ask no more often than they may.
func TestLabelsAlone(t *testing.T) {
	const n = 20
	s := newSetup(t, tiny, 6, n, "")
	forward, err := net.Compile(s.m, net.Options{})
	require.NoError(t, err)
	for _, c := range []Config{
		{Ball: net.L2.Largest(s.size), Method: HopSkipJump{Queries: 700, Seed: 3}},
		{Ball: net.Linf.Largest(s.size), Method: HopSkipJump{Queries: 700, Seed: 3}},
		{Ball: net.L2.Largest(s.size), Method: Boundary{Queries: 700, Seed: 3}},
	} {
		want := s.run(t, c, Batch{X: s.x, Y: s.y}, 1)
		require.LessOrEqual(t, want.ImageSteps, int64(n*700))
		require.Greater(t, want.ImageSteps, int64(n*650))
		for _, target := range []Target{labels{s.n}, forward} {
			a, err := New(target, c, kernels.NewPool(1))
			require.NoError(t, err)
			var r Result
			require.NoError(t, a.Run(context.Background(), Batch{X: s.x, Y: s.y}, &r))
			require.Equal(t, want.Adv, r.Adv)
			require.Equal(t, want.Success, r.Success)
			require.Equal(t, want.ImageSteps, r.ImageSteps)
		}
	}
}

// TestGivenStart: decision-based attacks go on from a misclassified start point.
func TestGivenStart(t *testing.T) {
	const n = 10
	s := newSetup(t, tiny, 6, n, "")
	for _, how := range []Method{HopSkipJump{Queries: 60}, Boundary{Queries: 60}} {
		c := Config{Ball: net.L2.Largest(s.size), Method: how}
		first := s.run(t, Config{Ball: c.Ball, Method: FABT{Steps: 3}}, Batch{X: s.x, Y: s.y}, 1)
		r := s.run(t, c, Batch{X: s.x, Y: s.y, Start: first.Adv}, 1)
		for i := range n {
			require.True(t, first.Success[i] && r.Success[i])
			require.LessOrEqual(t, r.L2[i], first.L2[i])
		}
	}
}

// TestShares: a share is that of the last trials, once there are enough since the
// lengths have changed.
func TestShares(t *testing.T) {
	s := shares{size: 30}
	for i := range 29 {
		s.add(i%2 == 0)
		_, ok := s.share()
		require.False(t, ok)
	}
	s.add(true)
	share, ok := s.share()
	require.True(t, ok)
	require.Equal(t, 16.0/30, share)
	s.add(false) // instead of the first, a hit
	share, _ = s.share()
	require.Equal(t, 15.0/30, share)
	s.n = 0
	for range 30 {
		_, ok = s.share()
		require.False(t, ok)
		s.add(true)
	}
	share, _ = s.share()
	require.Equal(t, 1.0, share)
}

// TestBoundaryAdapts: lengths grow where labels let them, and shrink where not.
func TestBoundaryAdapts(t *testing.T) {
	after := func(onSphere, hit func(i int) bool, looks int) boundaryState {
		b := boundaryState{spherical: 1, source: 1}
		b.onSphere.size, b.reached.size = 100, 30
		for i := range looks {
			b.hit = hit(i)
			b.adapt(onSphere(i))
		}
		return b
	}
	always, never := func(int) bool { return true }, func(int) bool { return false }
	third, sixth := func(i int) bool { return i%3 == 0 }, func(i int) bool { return i%6 == 0 }
	b := after(third, sixth, 100) // both as they should be
	require.Equal(t, []float64{1, 1}, []float64{b.spherical, b.source})
	b = after(third, always, 30)
	require.Equal(t, []float64{1, 1.5}, []float64{b.spherical, b.source})
	b = after(third, never, 30)
	require.Equal(t, []float64{1, 1 / 1.5}, []float64{b.spherical, b.source})
	b = after(always, sixth, 100)
	require.Equal(t, []float64{1.5, 1.5}, []float64{b.spherical, b.source})
	b = after(never, sixth, 100)
	require.Equal(t, []float64{1 / 1.5, 1 / 1.5}, []float64{b.spherical, b.source})
}

// TestBlending: noises until one is misclassified, then ever larger parts of it.
func TestBlending(t *testing.T) {
	var b blending
	for try := 1; try <= 3; try++ {
		found, over := b.next(false)
		require.Equal(t, []any{false, false, try, 0}, []any{found, over, b.tries, b.part})
	}
	for part := 1; part < 8; part++ {
		found, over := b.next(part == 1)
		require.Equal(t, []any{false, false, part}, []any{found, over, b.part})
	}
	found, _ := b.next(true)
	require.True(t, found)

	b = blending{}
	for range blendTries {
		_, over := b.next(false)
		require.False(t, over)
	}
	_, over := b.next(false)
	require.True(t, over)
}
