package attack

import (
	"context"
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/epsball/epsball/kernels"
	"github.com/epsball/epsball/net"
)

// squeezed is a network behind a defence that rounds pixels to a few levels; its
// gradient passes through as if it were not there.
type squeezed struct {
	*net.Network
	levels float32
	noise  float32 // instead: random numbers of up to this size are added
}

func (s squeezed) Passes(images int, pool *kernels.Pool) Passes {
	p := s.Network.Passes(images, pool)
	slots := net.MaxSmall
	if p.Layout() == net.LaneGroups {
		slots = s.ISA().TileGroups() * kernels.Lanes
	}
	size := s.Input().Size()
	q := squeezedPasses{p, s, size, make([]float32, p.Layout().Len(p.Layout().Blocks(slots), size))}
	if s.noise > 0 {
		return &noisyPasses{squeezedPasses: q}
	}
	return &q
}

type squeezedPasses struct {
	Passes
	s    squeezed
	size int
	x    []float32
}

func (p *squeezedPasses) Forward(x []float32, blocks int) []float32 {
	for k, v := range x[:p.Layout().Len(blocks, p.size)] {
		p.x[k] = p.s.squeeze(v)
	}
	return p.Passes.Forward(p.x, blocks)
}

func (s squeezed) squeeze(v float32) float32 {
	return float32(math.Round(float64(v*s.levels))) / s.levels
}

// noisyPasses add to each image what its slot's numbers say.
type noisyPasses struct {
	squeezedPasses
	slots []Slot
}

func (p *noisyPasses) Seat(slots []Slot) { p.slots = slots }

func (p *noisyPasses) Forward(x []float32, blocks int) []float32 {
	l := p.Layout()
	copy(p.x, x[:l.Len(blocks, p.size)])
	for i := range p.slots {
		s := &p.slots[i]
		r := noiseOf(s.Image, s.Run, s.Step, s.Draw)
		t := l.Slot(p.x, p.size, i)
		for k := 0; k < p.size*int(l); k += int(l) {
			t[k] += p.s.noise * (2*r.Float32() - 1)
		}
	}
	return p.Passes.Forward(p.x, blocks)
}

func noiseOf(image uint64, run, step, draw int) kernels.Stream {
	return kernels.NewStream(uint64(0x5eed+draw), image, uint32(run<<16|step))
}

// TestDefendedTarget: what an attack says of a defended network is true of the two
// together, whatever the batch; rechecked, and by the defence done by hand.
func TestDefendedTarget(t *testing.T) {
	const n = 45
	s := newSetup(t, tiny, 1, n, "")
	target := squeezed{Network: s.n, levels: 12}
	through := func(x []float32) []float32 {
		q := make([]float32, len(x))
		for k, v := range x {
			q[k] = target.squeeze(v)
		}
		return s.logits(t, q, len(x)/s.size)
	}
	for i, z := 0, through(s.x); i < n; i++ {
		s.y[i] = net.Argmax(z[i*5 : i*5+5])
	}
	pool := kernels.NewPool(2)
	defer pool.Close()
	for name, c := range configs() {
		c.Recheck = true
		a, err := New(target, c, pool)
		require.NoError(t, err)
		var r, part Result
		require.NoError(t, a.Run(context.Background(), Batch{X: s.x, Y: s.y}, &r))
		fooled := 0
		for i, z := 0, through(r.Adv); i < n; i++ {
			require.True(t, r.Clean[i])
			require.Equal(t, net.Argmax(z[i*5:i*5+5]), r.Label[i])
			require.Equal(t, net.MarginOf(z[i*5:i*5+5], s.y[i]), r.Margin[i])
			if r.Success[i] {
				fooled++
			}
		}
		require.Positive(t, fooled, name)
		for from := 0; from < 12; from += 4 {
			b := Batch{X: s.x[from*s.size : (from+4)*s.size], Y: s.y[from : from+4], First: from}
			require.NoError(t, a.Run(context.Background(), b, &part))
			require.Equal(t, r.Adv[from*s.size:(from+4)*s.size], part.Adv)
		}
	}
}

// TestRandomisedTarget: the numbers that an image meets are its own.
func TestRandomisedTarget(t *testing.T) {
	const n = 30
	s := newSetup(t, tiny, 2, n, "")
	target := squeezed{Network: s.n, noise: 0.05}
	pool := kernels.NewPool(2)
	defer pool.Close()
	c := Config{Ball: ball(net.Linf, "0.05"), Method: PGD{Steps: 6, Restarts: 2, Seed: 1}}
	before := s.run(t, c, Batch{X: s.x, Y: s.y}, 1).Margin
	var r, part Result
	for _, c.EOT = range []int{0, 5} {
		a, err := New(target, c, pool)
		require.NoError(t, err)
		require.NoError(t, a.Run(context.Background(), Batch{X: s.x, Y: s.y}, &r))
		require.NotEqual(t, before, r.Margin)
		before = append([]float32(nil), r.Margin...)
		for _, p := range [][2]int{{0, 1}, {3, 8}, {5, 30}} {
			b := Batch{X: s.x[p[0]*s.size : p[1]*s.size], Y: s.y[p[0]:p[1]], First: p[0]}
			require.NoError(t, a.Run(context.Background(), b, &part))
			require.Equal(t, r.Adv[p[0]*s.size:p[1]*s.size], part.Adv)
			require.Equal(t, r.Margin[p[0]:p[1]], part.Margin)
		}
		require.Zero(t, testing.AllocsPerRun(3, func() { _ = a.Run(context.Background(), Batch{X: s.x, Y: s.y}, &r) }))
	}
	c.Recheck = true
	a, err := New(target, c, pool)
	require.NoError(t, err)
	require.ErrorContains(t, a.Run(context.Background(), Batch{X: s.x, Y: s.y}, &r), "draws random numbers")
}

// TestDraws: with several draws a rule sees their mean, and follows the gradient there.
func TestDraws(t *testing.T) {
	const n, draws = 20, 3
	s := newSetup(t, tiny, 2, n, "")
	target := squeezed{Network: s.n, noise: 0.05}
	pool := kernels.NewPool(1)
	defer pool.Close()
	c := Config{Ball: ball(net.L2, "0.3"), Method: FGSM{Loss: net.Margin}, EOT: draws}
	a, err := New(target, c, pool)
	require.NoError(t, err)
	p := s.n.NewSmallWorkspace(1, pool)
	for i := range n {
		var logits [draws][]float32
		var noisy [draws][]float32
		mean := make([]float32, 5)
		for d := range draws {
			noisy[d] = append([]float32(nil), s.image(s.x, i)...)
			r := noiseOf(uint64(i), 0, 0, d)
			packed := make([]float32, s.size)
			p.Layout().Pack(packed, noisy[d], s.n.Input(), 0)
			for k := range packed {
				packed[k] += 0.05 * (2*r.Float32() - 1)
			}
			noisy[d] = packed
			logits[d] = append([]float32(nil), p.Forward(packed, 1)[:5]...)
			for j, v := range logits[d] {
				mean[j] += v
			}
		}
		for j := range mean {
			mean[j] *= 1 / float32(draws)
		}
		// An image that is misclassified leaves with the mean's margin.
		label := net.Argmax(mean)
		wrong := (label + 1) % 5
		var r Result
		b := Batch{X: s.image(s.x, i), Y: []int{wrong}, First: i}
		require.NoError(t, a.Run(context.Background(), b, &r))
		require.False(t, r.Clean[0])
		require.Equal(t, net.MarginOf(mean, wrong), r.Margin[0])

		// The step goes along the mean gradient.
		dz := make([]float32, 5)
		net.Margin.Gradient(dz, mean, label, net.Untargeted)
		grad := make([]float64, s.size)
		norm := 0.0
		for d := range draws {
			p.Forward(noisy[d], 1)
			copy(p.LogitGradient(), dz)
			for k, v := range p.Backward(1)[:s.size] {
				grad[k] += float64(v)
			}
		}
		for _, v := range grad {
			norm += v * v
		}
		b.Y = []int{label}
		require.NoError(t, a.Run(context.Background(), b, &r))
		adv := make([]float32, s.size)
		p.Layout().Pack(adv, r.Adv, s.n.Input(), 0)
		centre := make([]float32, s.size)
		p.Layout().Pack(centre, b.X, s.n.Input(), 0)
		if r.L2[0] == 0 {
			continue // the step made the margin no lower
		}
		for k, v := range grad {
			want := min(max(float64(centre[k])+0.3*v/math.Sqrt(norm), 0), 1)
			require.InDelta(t, want, adv[k], 1e-5)
		}
	}
}

// liar is a network whose passes err in every tenth forward pass.
type liar struct{ *net.Network }

func (l liar) Passes(images int, pool *kernels.Pool) Passes {
	return &liarPasses{Passes: l.Network.Passes(images, pool)}
}

type liarPasses struct {
	Passes
	calls int
}

func (p *liarPasses) Forward(x []float32, blocks int) []float32 {
	z := p.Passes.Forward(x, blocks)
	if p.calls++; p.calls%10 == 0 {
		for k := range z {
			z[k] = -z[k]
		}
	}
	return z
}

// TestRecheck: points whose logits come out otherwise in a fresh pass are an error.
func TestRecheck(t *testing.T) {
	s := newSetup(t, tiny, 3, 20, "")
	pool := kernels.NewPool(1)
	for _, n := range []int{20, 3} {
		b := Batch{X: s.x[:n*s.size], Y: s.y[:n]}
		for _, m := range []Method{PGD{Steps: 15}, shrink{steps: 15}} {
			c := Config{Ball: ball(net.Linf, "0.02"), Method: m, Recheck: true}
			honest, err := New(s.n, c, pool)
			require.NoError(t, err)
			require.NoError(t, honest.Run(context.Background(), b, new(Result)))
			a, err := New(liar{s.n}, c, pool)
			require.NoError(t, err)
			require.ErrorContains(t, a.Run(context.Background(), b, new(Result)), "recheck: the point found for image")
		}
	}
}
