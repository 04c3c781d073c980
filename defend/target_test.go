package defend

import (
	"context"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/epsball/epsball/attack"
	"github.com/epsball/epsball/kernels"
	"github.com/epsball/epsball/model"
	"github.com/epsball/epsball/net"
)

type setup struct {
	n    *net.Network
	in   model.Shape
	size int
	x    []float32
	y    []int
}

func newSetup(t testing.TB, in model.Shape, count int, isa string) *setup {
	m, err := model.Random(&model.Architecture{Name: "tiny", Input: in, Layers: []model.Layer{
		{Kind: model.Conv, Out: 5, Kernel: [2]int{3, 3}, Stride: [2]int{1, 1}, Padding: [2]int{1, 1}},
		{Kind: model.ReLU},
		{Kind: model.FC, Out: 5},
	}}, 1)
	require.NoError(t, err)
	n, err := net.Compile(m, net.Options{Backward: true, ISA: isa})
	require.NoError(t, err)
	s := &setup{n, in, in.Size(), randomImage(model.Shape{C: count, H: in.Size(), W: 1}, rand.New(rand.NewPCG(1, 1))), make([]int, count)}
	z := s.logits(t, n, s.x)
	for i := range s.y {
		s.y[i] = net.Argmax(z[i*5 : i*5+5])
	}
	return s
}

func (s *setup) logits(t testing.TB, of attack.Target, x []float32) []float32 {
	pool := kernels.NewPool(1)
	z := make([]float32, len(x)/s.size*5)
	require.NoError(t, attack.Logits(context.Background(), of, pool, z, attack.Batch{X: x}))
	return z
}

// by passes images through the filters of a chain, one by one.
func (s *setup) by(c Chain, x []float32) []float32 {
	out := make([]float32, len(x))
	for i := range len(x) / s.size {
		at := append([]float32{}, x[i*s.size:(i+1)*s.size]...)
		for _, d := range c {
			next := make([]float32, s.size)
			d.NewFilter(s.in).Forward(next, at, nil)
			at = next
		}
		copy(out[i*s.size:], at)
	}
	return out
}

var tiny = model.Shape{C: 1, H: 7, W: 6}

func parse(t testing.TB, text string) Chain {
	c, err := Parse(text)
	require.NoError(t, err)
	return c
}

func linf(eps string) net.Ball { return net.Ball{Norm: net.Linf, Eps: net.MustEpsilon(eps)} }

// TestTarget: what an attack says of a defended network is true of the network and the
// filters done by hand, whatever the batch, the threads and the kernel set, and steps
// allocate nothing, but for jpeg.
func TestTarget(t *testing.T) {
	const n = 40
	for _, text := range []string{"bits", "median", "gaussian:sigma=0.6", "jpeg", "tv:steps=3", "gaussian+bits:depth=4", "bits+median:size=2"} {
		var first attack.Result
		for k, isa := range kernels.Available() {
			s := newSetup(t, tiny, n, isa.Name())
			c := parse(t, text)
			target, err := New(s.n, c, BPDA)
			require.NoError(t, err)
			require.Equal(t, c, target.Chain())
			require.False(t, target.Random())
			require.Equal(t, s.logits(t, s.n, s.by(c, s.x)), s.logits(t, target, s.x))
			y := make([]int, n)
			z := s.logits(t, target, s.x)
			for i := range y {
				y[i] = net.Argmax(z[i*5 : i*5+5])
			}
			cfg := attack.Config{Ball: linf("0.1"), Method: attack.PGD{Steps: 6, Restarts: 2, Seed: 3}, Recheck: true}
			for threads := 1; threads <= 2; threads++ {
				pool := kernels.NewPool(threads)
				defer pool.Close()
				a, err := attack.New(target, cfg, pool)
				require.NoError(t, err)
				var r, part attack.Result
				require.NoError(t, a.Run(context.Background(), attack.Batch{X: s.x, Y: y}, &r))
				if k == 0 && threads == 1 {
					_, _, left := r.Count()
					require.Less(t, left, n, text)
					first = r
				}
				require.Equal(t, first.Adv, r.Adv)
				require.Equal(t, first.Margin, r.Margin)
				for i, z := 0, s.logits(t, s.n, s.by(c, r.Adv)); i < n; i++ {
					require.Equal(t, net.MarginOf(z[i*5:i*5+5], y[i]), r.Margin[i])
				}
				for _, p := range [][2]int{{0, 1}, {3, 8}, {20, 40}} {
					b := attack.Batch{X: s.x[p[0]*s.size : p[1]*s.size], Y: y[p[0]:p[1]], First: p[0]}
					require.NoError(t, a.Run(context.Background(), b, &part))
					require.Equal(t, r.Adv[p[0]*s.size:p[1]*s.size], part.Adv)
					require.Equal(t, r.Margin[p[0]:p[1]], part.Margin)
				}
			}
			if !strings.HasPrefix(text, "jpeg") {
				cfg.Recheck = false
				pool := kernels.NewPool(1)
				a, err := attack.New(target, cfg, pool)
				require.NoError(t, err)
				var r attack.Result
				for _, count := range []int{n, 3} {
					b := attack.Batch{X: s.x[:count*s.size], Y: y[:count]}
					require.NoError(t, a.Run(context.Background(), b, &r))
					require.Zero(t, testing.AllocsPerRun(3, func() { _ = a.Run(context.Background(), b, &r) }), text)
				}
			}
		}
	}
}

// gradient returns that of the first logit at each image.
func gradient(s *setup, of attack.Target, x []float32, pool *kernels.Pool) []float32 {
	count := len(x) / s.size
	p := of.Passes(count, pool)
	l := p.Layout()
	in := make([]float32, l.Len(l.Blocks(count), s.size))
	for i := range count {
		l.Pack(in, x[i*s.size:(i+1)*s.size], s.in, i)
	}
	if r, ok := p.(attack.Randomised); ok {
		slots := make([]attack.Slot, l.Blocks(count)*int(l))
		for k := range slots {
			slots[k].Image = uint64(k)
		}
		r.Seat(slots)
		p.Forward(in, l.Blocks(count))
		for k := range slots {
			slots[k].Step++ // as a worker does before Backward
		}
	} else {
		p.Forward(in, l.Blocks(count))
	}
	for i := range count {
		l.Scatter(p.LogitGradient(), []float32{1, 0, 0, 0, 0}, i)
	}
	out := make([]float32, len(x))
	for i, g := 0, p.Backward(l.Blocks(count)); i < count; i++ {
		l.Unpack(out[i*s.size:(i+1)*s.size], g, s.in, i)
	}
	return out
}

// TestGradients: BPDA is the network's gradient at the image that the network sees, sent
// back through what is differentiable; Exact stops at what rounds.
func TestGradients(t *testing.T) {
	s := newSetup(t, tiny, 20, "")
	pool := kernels.NewPool(2)
	defer pool.Close()
	for _, count := range []int{20, 2} {
		x := s.x[:count*s.size]
		for _, text := range []string{"bits", "jpeg", "jpeg+bits:depth=2", "gaussian", "bits+gaussian+median", "tv:steps=2+bits"} {
			c := parse(t, text)
			bpda, err := New(s.n, c, BPDA)
			require.NoError(t, err)
			exact, err := New(s.n, c, Exact)
			require.NoError(t, err)
			want := gradient(s, s.n, s.by(c, x), pool)
			rounds := false
			for k := len(c) - 1; k >= 0; k-- {
				f, ok := c[k].NewFilter(s.in).(Differentiable)
				rounds = rounds || !ok
				for i := 0; ok && i < count; i++ {
					g := append([]float32{}, want[i*s.size:(i+1)*s.size]...)
					f.Backward(want[i*s.size:(i+1)*s.size], g, s.by(c[:k], x[i*s.size:(i+1)*s.size]), nil)
				}
			}
			require.Equal(t, want, gradient(s, bpda, x, pool), text)
			require.NotEqual(t, make([]float32, len(x)), want)
			if rounds {
				want = make([]float32, len(x))
			}
			require.Equal(t, want, gradient(s, exact, x, pool), text)
		}
		// The derivative of a random defence is that at the numbers drawn.
		rp, err := New(s.n, parse(t, "resize-pad:least=0.4"), BPDA)
		require.NoError(t, err)
		have := gradient(s, rp, x, pool)
		for i := range count {
			k := kernels.NewStream(point(&attack.Slot{}), uint64(i), firstStream)
			f := ResizePad{Least: 0.4}.NewFilter(s.in).(Differentiable)
			seen, again := make([]float32, s.size), k
			f.Forward(seen, x[i*s.size:(i+1)*s.size], &k)
			g := gradient(s, s.n, seen, pool)
			f.Backward(seen, g, nil, &again)
			require.Equal(t, seen, have[i*s.size:(i+1)*s.size])
		}
	}
}

// TestRandom: an image meets numbers of its own, others at each draw, and others again
// when it is judged; with as many draws, chance matters less.
func TestRandom(t *testing.T) {
	const n = 30
	s := newSetup(t, tiny, n, "")
	ctx := context.Background()
	for _, text := range []string{"noise:sigma=0.3", "resize-pad:least=0.6", "bits+noise+resize-pad"} {
		target, err := New(s.n, parse(t, text), BPDA)
		require.NoError(t, err)
		require.True(t, target.Random())
		z := s.logits(t, target, s.x)
		require.Equal(t, z, s.logits(t, target, s.x))
		require.NotEqual(t, z[:5], s.logits(t, target, append(append([]float32{}, s.x[s.size:2*s.size]...), s.x[:s.size]...))[5:], "numbers of another image")
		for eot := 1; eot <= 4; eot += 3 {
			var first attack.Result
			for threads := 1; threads <= 2; threads++ {
				pool := kernels.NewPool(threads)
				defer pool.Close()
				a, err := attack.New(target, attack.Config{Ball: linf("0.2"), Method: attack.PGD{Steps: 5, Restarts: 2, Seed: 1}, EOT: eot}, pool)
				require.NoError(t, err)
				var r, part attack.Result
				require.NoError(t, a.Run(ctx, attack.Batch{X: s.x, Y: s.y}, &r))
				if threads == 1 {
					first = r
				}
				require.Equal(t, first.Adv, r.Adv)
				for _, p := range [][2]int{{0, 1}, {3, 8}, {5, 30}} {
					b := attack.Batch{X: s.x[p[0]*s.size : p[1]*s.size], Y: s.y[p[0]:p[1]], First: p[0]}
					require.NoError(t, a.Run(ctx, b, &part))
					require.Equal(t, r.Adv[p[0]*s.size:p[1]*s.size], part.Adv)
					require.Equal(t, r.Margin[p[0]:p[1]], part.Margin)
				}
				require.Zero(t, testing.AllocsPerRun(2, func() { _ = a.Run(ctx, attack.Batch{X: s.x, Y: s.y}, &r) }), text)

				seen := append([]float32{}, r.Margin...)
				require.NoError(t, attack.Judge(ctx, target, pool, attack.Batch{X: s.x, Y: s.y}, &r))
				require.NotEqual(t, seen, r.Margin, "judged by numbers that the attack has not seen")
				again := append([]float32{}, r.Margin...)
				require.NoError(t, attack.Judge(ctx, target, pool, attack.Batch{X: s.x, Y: s.y}, &r))
				require.Equal(t, again, r.Margin)
				for i := range n {
					require.Equal(t, r.Clean[i], net.Argmax(z[i*5:i*5+5]) == s.y[i])
					require.Equal(t, r.Success[i], r.Clean[i] && r.Label[i] != s.y[i])
				}
			}
		}
	}
	seen := map[uint64]bool{}
	for run := -1; run < 5; run++ {
		for step := range 20 {
			for draw := range 20 {
				seen[point(&attack.Slot{Run: run, Step: step, Draw: draw})] = true
			}
		}
	}
	require.Len(t, seen, 6*20*20)
}

// TestTransfer: Judge says what a defended network makes of a result on the bare one.
func TestTransfer(t *testing.T) {
	const n = 40
	s := newSetup(t, tiny, n, "")
	pool := kernels.NewPool(1)
	ctx := context.Background()
	a, err := attack.New(s.n, attack.Config{Ball: linf("0.1"), Method: attack.PGD{Steps: 9, Seed: 1}}, pool)
	require.NoError(t, err)
	b := attack.Batch{X: s.x, Y: s.y}
	var r attack.Result
	require.NoError(t, a.Run(ctx, b, &r))
	_, _, bare := r.Count()
	c := parse(t, "gaussian")
	target, err := New(s.n, c, Exact)
	require.NoError(t, err)
	adv := append([]float32{}, r.Adv...)
	r.Begun[7], r.Label[7] = false, -1
	require.NoError(t, attack.Judge(ctx, target, pool, b, &r))
	require.Equal(t, adv, r.Adv)
	require.Equal(t, -1, r.Label[7])
	clean, z := s.logits(t, s.n, s.by(c, s.x)), s.logits(t, s.n, s.by(c, r.Adv))
	other := false
	for i := range n {
		if i == 7 {
			continue
		}
		require.Equal(t, net.Argmax(z[i*5:i*5+5]), r.Label[i])
		require.Equal(t, net.MarginOf(z[i*5:i*5+5], s.y[i]), r.Margin[i])
		require.Equal(t, net.Argmax(clean[i*5:i*5+5]) == s.y[i], r.Clean[i])
		require.Equal(t, r.Clean[i] && r.Label[i] != s.y[i], r.Success[i])
		other = other || !r.Clean[i]
	}
	require.True(t, other, "the defence costs accuracy of a network that was not trained for it")
	require.Less(t, bare, n)

	gone, cancel := context.WithCancel(ctx)
	cancel()
	require.ErrorIs(t, attack.Judge(gone, target, pool, b, &r), context.Canceled)
	require.ErrorContains(t, attack.Judge(ctx, target, pool, b, new(attack.Result)), "of another batch")
}

func TestNewErrors(t *testing.T) {
	s := newSetup(t, model.Shape{C: 2, H: 4, W: 4}, 1, "")
	for want, c := range map[string]Chain{
		"defence: none":                              {},
		"defence jpeg: images of 2 channels":         {Bits{}, JPEG{}},
		"defence bits: depth: got 9, want 1 … 8":     {Bits{Depth: 9}},
		"defence median: size: got -1":               {Median{Size: -1}},
		"defence noise: sigma: got 11, want at most": {Noise{Sigma: 11}},
		"defence gaussian: sigma: got 33":            {Gaussian{Sigma: 33}},
		"defence tv: weight: got 1000":               {TV{Weight: 1000}},
		"defence tv: steps: got 1001":                {TV{Steps: 1001}},
		"defence resize-pad: least: got 2":           {ResizePad{Least: 2}},
	} {
		_, err := New(s.n, c, BPDA)
		require.ErrorContains(t, err, want)
	}
	_, err := New(s.n, Chain{Bits{}}, 7)
	require.ErrorContains(t, err, "gradient 7: want one of bpda, exact")
	require.ErrorContains(t, JPEG{}.Validate(model.Shape{C: 1, H: 1, W: 1 << 16}), "want at most 65535 a side")
	g, err := ParseGradient("exact")
	require.NoError(t, err)
	require.Equal(t, Exact, g)
	_, err = ParseGradient("naive")
	require.ErrorContains(t, err, "want one of bpda, exact")
}
