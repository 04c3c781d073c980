package audit

import (
	"context"
	"math"
	"slices"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/epsball/epsball/attack"
	"github.com/epsball/epsball/kernels"
	"github.com/epsball/epsball/model"
	"github.com/epsball/epsball/net"
)

// Targets and methods that fool those who look at robust accuracy alone.

// fooling is a target that changes what its network is given and returns.
type fooling struct {
	*net.Network
	in     func(v float32) float32 // of each pixel; nil: as it is
	slope  func(v float32) float32 // of in, as the target tells it; nil: 1
	noise  func() func() float32   // a stream of what is added to pixels; nil: nothing
	silent bool                    // about its noise
}

func (f fooling) Passes(images int, pool *kernels.Pool) attack.Passes {
	p := &foolingPasses{Passes: f.Network.Passes(images, pool), f: f}
	if f.noise != nil {
		p.next = f.noise()
		if !f.silent {
			return &drawing{p}
		}
	}
	return p
}

type foolingPasses struct {
	attack.Passes
	f    fooling
	x, y []float32
	next func() float32
}

func (p *foolingPasses) Forward(x []float32, blocks int) []float32 {
	n := p.Layout().Len(blocks, p.f.Input().Size())
	p.x = x[:n]
	p.y = append(p.y[:0], p.x...)
	for k, v := range p.y {
		if p.f.in != nil {
			p.y[k] = p.f.in(v)
		}
		if p.next != nil && k < blocks*p.f.Input().Size()*int(p.Layout()) {
			p.y[k] += p.next()
		}
	}
	return p.Passes.Forward(p.y, blocks)
}

func (p *foolingPasses) Backward(blocks int) []float32 {
	g := p.Passes.Backward(blocks)
	for k, v := range p.x {
		if p.f.slope != nil {
			g[k] *= p.f.slope(v)
		}
	}
	return g
}

// drawing says that it draws random numbers, and draws those of a slot.
type drawing struct{ *foolingPasses }

func (d *drawing) Seat(slots []attack.Slot) {
	streams := make([]kernels.Stream, len(slots))
	for k, s := range slots {
		streams[k] = kernels.NewStream(s.Seed, s.Image, uint32(s.Run<<20|s.Step<<8|s.Draw))
	}
	size, w, at := d.f.Input().Size(), int(d.Layout()), 0
	d.next = func() float32 {
		s := &streams[at/(size*w)*w+at%w]
		at++
		return 0.2 * (2*s.Float32() - 1)
	}
}

// quantised rounds pixels to four levels; its true slope is zero, its stand-in one (BPDA).
func quantised(n *net.Network, standIn bool) fooling {
	f := fooling{Network: n, in: func(v float32) float32 { return float32(math.Round(float64(v)*3)) / 3 }}
	if !standIn {
		f.slope = func(float32) float32 { return 0 }
	}
	return f
}

// rippled adds a ripple to each pixel, too small to matter and steep enough to turn every
// slope around, as shattered gradients do (Athalye et al. 2018).
func rippled(n *net.Network) fooling {
	const waves, height = 400, 0.01
	return fooling{
		Network: n,
		in:      func(v float32) float32 { return v + height*float32(math.Sin(2*math.Pi*waves*float64(v))) },
		slope: func(v float32) float32 {
			return 1 + 2*math.Pi*waves*height*float32(math.Cos(2*math.Pi*waves*float64(v)))
		},
	}
}

// random adds noise, and says so or not.
func random(n *net.Network, silent bool) fooling {
	var seed atomic.Uint64
	return fooling{Network: n, silent: silent, noise: func() func() float32 {
		s := kernels.NewStream(seed.Add(1), 0, 0)
		return func() float32 { return 0.1 * (2*s.Float32() - 1) }
	}}
}

// scaled multiplies the logits of a model, which leaves its classes as they are and the
// softmax of a loss without a gradient.
func scaled(t *testing.T, m *model.Model, by float32) *net.Network {
	m = m.Clone()
	last := &m.Params[len(m.Params)-1]
	for _, v := range [][]float32{last.W, last.B} {
		for k := range v {
			v[k] *= by
		}
	}
	return compiled(t, m)
}

// steep puts a sigmoid in front of a model that is flat but for pixels near 1/2: a masked
// gradient.
func steep(t *testing.T, m *model.Model) *net.Network {
	a := m.Arch
	a.Layers = append([]model.Layer{
		{Kind: model.Conv, Out: 1, Kernel: [2]int{1, 1}, Stride: [2]int{1, 1}},
		{Kind: model.Sigmoid},
	}, a.Layers...)
	out, err := model.Random(&a, 1)
	require.NoError(t, err)
	copy(out.Params[2:], m.Params)
	for k := range out.Params[0].W {
		out.Params[0].W[k], out.Params[0].B[k] = 2000, -1000
	}
	return compiled(t, out)
}

// probable ends in two outputs σ(z) and σ(−z), which add up to 1.
func probable(t *testing.T, m *model.Model) *net.Network {
	a := m.Arch
	a.Layers = append(slices.Clone(a.Layers[:len(a.Layers)-1]), model.Layer{Kind: model.FC, Out: 2}, model.Layer{Kind: model.Sigmoid})
	out, err := model.Random(&a, 1)
	require.NoError(t, err)
	p := out.Params[len(out.Params)-2]
	for k := range len(p.W) / 2 {
		p.W[len(p.W)/2+k] = -p.W[k]
	}
	p.B[1] = -p.B[0]
	return compiled(t, out)
}

func compiled(t *testing.T, m *model.Model) *net.Network {
	n, err := net.Compile(m, net.Options{Backward: true})
	require.NoError(t, err)
	return n
}

// crooked is a method of its own for whole batches: PGD, and then what spoil makes of it.
type crooked struct {
	attack.PGD
	spoil func(r *crookedRun, b attack.Batch, res *attack.Result)
}

func (c crooked) NewRun(t attack.Target, cfg attack.Config, pool *kernels.Pool) (attack.Run, error) {
	cfg.Method, cfg.Progress = c.PGD, nil
	a, err := attack.New(t, cfg, pool)
	return &crookedRun{a, t, cfg, pool, c.spoil}, err
}

type crookedRun struct {
	a     *attack.Attacker
	t     attack.Target
	cfg   attack.Config
	pool  *kernels.Pool
	spoil func(r *crookedRun, b attack.Batch, res *attack.Result)
}

func (r *crookedRun) Run(ctx context.Context, b attack.Batch, res *attack.Result) error {
	if err := r.a.Run(ctx, b, res); err != nil {
		return err
	}
	r.spoil(r, b, res)
	return nil
}

// forgetful returns the image for every other one that it fooled.
func forgetful(r *crookedRun, b attack.Batch, res *attack.Result) {
	size := r.t.Input().Size()
	for i := range b.Y {
		if res.Success[i] && (b.First+i)%2 == 0 {
			copy(res.Adv[i*size:(i+1)*size], b.X[i*size:(i+1)*size])
			res.Success[i], res.Label[i] = false, b.Y[i]
		}
	}
}

// unleashed moves every point by a fixed length, whatever the ball.
func unleashed(r *crookedRun, b attack.Batch, res *attack.Result) {
	for k, v := range b.X {
		if res.Adv[k] = v + 0.4; v > 0.5 {
			res.Adv[k] = v - 0.4
		}
	}
	p, _ := Predict(context.Background(), r.t, r.pool, res.Adv, len(b.Y))
	for i, y := range b.Y {
		res.Label[i], res.Success[i] = p[i], res.Clean[i] && p[i] != y
	}
}

// sociable lets an image's result depend on its place in the batch.
func sociable(r *crookedRun, b attack.Batch, res *attack.Result) {
	size := r.t.Input().Size()
	for i := 1; i < len(b.Y); i += 2 {
		copy(res.Adv[i*size:(i+1)*size], b.X[i*size:(i+1)*size])
		res.Success[i], res.Label[i] = false, b.Y[i]
	}
}
