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
		slots = net.ChunkGroups * kernels.Lanes
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
		r := kernels.NewStream(s.Seed^0x5eed, s.Image, uint32(s.Run<<16|s.Step))
		t := l.Slot(p.x, p.size, i)
		for k := 0; k < p.size*int(l); k += int(l) {
			t[k] += p.s.noise * (2*r.Float32() - 1)
		}
	}
	return p.Passes.Forward(p.x, blocks)
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
	a, err := New(target, c, pool)
	require.NoError(t, err)
	var r, part Result
	require.NoError(t, a.Run(context.Background(), Batch{X: s.x, Y: s.y}, &r))
	plain := s.run(t, c, Batch{X: s.x, Y: s.y}, 1)
	require.NotEqual(t, plain.Margin, r.Margin)
	for _, p := range [][2]int{{0, 1}, {3, 8}, {5, 30}} {
		b := Batch{X: s.x[p[0]*s.size : p[1]*s.size], Y: s.y[p[0]:p[1]], First: p[0]}
		require.NoError(t, a.Run(context.Background(), b, &part))
		require.Equal(t, r.Adv[p[0]*s.size:p[1]*s.size], part.Adv)
		require.Equal(t, r.Margin[p[0]:p[1]], part.Margin)
	}
	c.Recheck = true
	a, err = New(target, c, pool)
	require.NoError(t, err)
	require.ErrorContains(t, a.Run(context.Background(), Batch{X: s.x, Y: s.y}, &r), "draws random numbers")
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
