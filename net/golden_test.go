package net

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"math"
	"slices"
	"testing"

	"github.com/epsball/epsball/internal/golden"
	"github.com/epsball/epsball/kernels"
	"github.com/epsball/epsball/model"
	"github.com/stretchr/testify/require"
)

// goldenTol is the error allowed relative to the largest element: 2^-24 is
// 6e-8, and a result is the end of a few hundred roundings at most.
const goldenTol = 3e-6

func eachGolden(t *testing.T, f func(t *testing.T, c *golden.Case, isa *kernels.ISA, n *Network)) {
	for _, name := range golden.Names() {
		c, err := golden.Load(name)
		require.NoError(t, err)
		for _, isa := range kernels.Available() {
			t.Run(name+"/"+isa.Name(), func(t *testing.T) { f(t, c, isa, compile(t, c.Model, isa.Name())) })
		}
	}
}

func goldenLoss(c *golden.Case, l Loss, targeted bool) lossOf {
	return func(i int) (Loss, int, int) {
		if targeted {
			return l, c.Y[i], c.Target[i]
		}
		return l, c.Y[i], Untargeted
	}
}

// TestGoldenGradients compares logits, losses and gradients to the pixels with
// PyTorch's in float64.
func TestGoldenGradients(t *testing.T) {
	eachGolden(t, func(t *testing.T, c *golden.Case, _ *kernels.ISA, n *Network) {
		w := n.NewWorkspace(c.N, false)
		for _, l := range allLosses {
			name := lossName(l.loss, l.targeted)
			value, z, g := pass(w, c.X, c.N, goldenLoss(c, l.loss, l.targeted))
			requireClose(t, c.Logits, z, goldenTol, "logits")
			requireClose(t, c.Losses[name].Value, value, goldenTol, "loss ", name)
			requireClose(t, c.Losses[name].Gradient, g, goldenTol, "gradient of ", name)
		}
	})
}

func TestGoldenWeightGradients(t *testing.T) {
	eachGolden(t, func(t *testing.T, c *golden.Case, _ *kernels.ISA, n *Network) {
		w := n.NewWorkspace(c.N, true)
		pass(w, c.X, c.N, goldenLoss(c, CrossEntropy, false))
		wg := n.NewWeightGradient()
		for task := range wg.Tasks() {
			wg.Apply(w.Scratch(), w, kernels.Groups(c.N), task)
		}
		require.Len(t, wg.Params, len(c.Params))
		for i, p := range c.Params {
			requireClose(t, p.W, wg.Params[i].W, goldenTol, "weights of layer ", i)
			requireClose(t, p.B, wg.Params[i].B, goldenTol, "biases of layer ", i)
		}
	})
}

// TestGoldenPGD follows PyTorch's PGD step by step, bit for bit: the golden
// images are such that no rounding flips the sign of a gradient.
func TestGoldenPGD(t *testing.T) {
	ball := Ball{Linf, MustEpsilon(golden.Epsilon)}
	eachGolden(t, func(t *testing.T, c *golden.Case, isa *kernels.ISA, n *Network) {
		require.Len(t, c.PGD, 10)
		s, groups := n.Input(), kernels.Groups(c.N)
		w := n.NewWorkspace(c.N, false)
		buf := func() []float32 { return kernels.Alloc(groups * s.Size() * kernels.Lanes) }
		x, lo, hi, have := buf(), buf(), buf(), make([]float32, len(c.X))
		PackLanes(x, c.X, s, c.N)
		ball.Box().Inner(lo, hi, x)
		d, z := make([]float32, n.Classes()), make([]float32, n.Classes())
		for step, want := range c.PGD {
			logits := w.Forward(x, groups)
			for i := range c.N {
				group, lane := i/kernels.Lanes, i%kernels.Lanes
				LaneGroups.Gather(z, Group(logits, n.Classes(), group), lane)
				CrossEntropy.Gradient(d, z, c.Y[i], Untargeted)
				LaneGroups.Scatter(Group(w.LogitGradient(), n.Classes(), group), d, lane)
			}
			isa.PGDStep(x, w.Backward(groups), lo, hi, golden.Alpha)
			for i := range c.N {
				LaneGroups.Unpack(have[i*s.Size():(i+1)*s.Size()], Group(x, s.Size(), i/kernels.Lanes), s, i%kernels.Lanes)
			}
			requireBits(t, want, have, "step ", step)
		}
		for i := range c.N {
			k := i * s.Size()
			require.True(t, ball.Contains(c.X[k:k+s.Size()], have[k:k+s.Size()]))
		}
	})
}

// TestGoldenBits pins the very bits of logits, losses and gradients. They are
// the same on every platform; a deliberate change of an order of summation
// changes them too.
func TestGoldenBits(t *testing.T) {
	want := map[string]string{
		"strided":  "bcb9fe1cb8405c39c644c6dca7cb44f8697dde55126ef22a1d74f6c0fc042a76",
		"padded":   "284c98486469c613cce0fe48e4f32dd81e90375ebd13daf591a81cf61b91b7b9",
		"dense":    "557312ea1c1c602f99fc0251398c9045f08acc4d7b632d304da314db90672820",
		"residual": "fa640395662e04b4e72e48251cb5025a0535965e0b261931bc59b3dda9252d18",
	}
	eachGolden(t, func(t *testing.T, c *golden.Case, _ *kernels.ISA, n *Network) {
		h := sha256.New()
		add := func(values ...[]float32) {
			for _, v := range slices.Concat(values...) {
				require.NoError(t, binary.Write(h, binary.LittleEndian, math.Float32bits(v)))
			}
		}
		w := n.NewWorkspace(c.N, true)
		for _, l := range allLosses {
			add(pass(w, c.X, c.N, goldenLoss(c, l.loss, l.targeted)))
		}
		wg := n.NewWeightGradient()
		for task := range wg.Tasks() {
			wg.Apply(w.Scratch(), w, kernels.Groups(c.N), task)
		}
		for _, p := range wg.Params {
			add(p.W, p.B)
		}
		require.Equal(t, want[c.Model.Arch.Name], hex.EncodeToString(h.Sum(nil)))
	})
}

// TestGoldenBounds looks at the bounds only so far as this package can: they
// must hold what the PGD trajectory reaches.
func TestGoldenBounds(t *testing.T) {
	eachGolden(t, func(t *testing.T, c *golden.Case, _ *kernels.ISA, n *Network) {
		ref, last := newReference(t, c.Model), len(c.Model.Arch.Layers)-1
		require.Equal(t, model.FC, c.Model.Arch.Layers[last].Kind)
		k := n.Classes()
		for _, x := range append(c.PGD, c.X) {
			for i := range c.N {
				z, _ := ref.forward(widen(x[i*n.Input().Size() : (i+1)*n.Input().Size()]))
				for j, v := range z {
					require.GreaterOrEqual(t, v, c.Bounds[last].Lower[i*k+j])
					require.LessOrEqual(t, v, c.Bounds[last].Upper[i*k+j])
					require.GreaterOrEqual(t, z[c.Y[i]]-v, c.Margin[i*k+j])
				}
			}
		}
	})
}
