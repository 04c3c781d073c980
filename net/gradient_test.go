package net

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/epsball/epsball/kernels"
	"github.com/epsball/epsball/model"
	"github.com/stretchr/testify/require"
)

// fdTol is the error allowed relative to the largest component: that of
// float32, since the float64 differences err by some 1e-9.
const fdTol = 1e-5

// difference is the central difference quotient of a loss of the reference
// network when *v moves, or ok = false if a ReLU or the order of the logits
// switches on the way: no derivative there.
func (r *reference) difference(x []float64, v *float64, l Loss, y, target int) (d float64, ok bool) {
	const h = 1e-5
	keep := *v
	*v = keep + h
	up, openUp := r.forward(x)
	*v = keep - h
	down, openDown := r.forward(x)
	*v = keep
	if !slices.Equal(openUp, openDown) || !slices.Equal(ranks(up), ranks(down)) {
		return 0, false
	}
	return (refLoss(l, up, y, target) - refLoss(l, down, y, target)) / (2 * h), true
}

// differences compares have, a gradient to the values of at, at the indices
// chosen by pick; losses sums over images.
func (r *reference) differences(t *testing.T, have []float32, at []float64, pick []int, f func(v *float64) (float64, bool), msg string) {
	t.Helper()
	scale, skipped := 0.0, 0
	for _, v := range have {
		scale = max(scale, math.Abs(float64(v)))
	}
	for _, k := range pick {
		want, ok := f(&at[k])
		if !ok {
			skipped++
			continue
		}
		require.InDelta(t, want, float64(have[k]), fdTol*scale+1e-9, "%s, component %d; largest %v", msg, k, scale)
	}
	require.LessOrEqual(t, skipped, len(pick)/10+1, "%s: too many kinks", msg)
}

func upTo(n int) []int {
	s := make([]int, n)
	for i := range s {
		s[i] = i
	}
	return s
}

// TestInputGradient compares the gradient of each loss to each pixel with
// differences of the float64 reference.
func TestInputGradient(t *testing.T) {
	const images = 3
	for _, a := range smallNets() {
		t.Run(a.Name, func(t *testing.T) {
			m := randomModel(t, a, 3)
			r, ref := rand.New(rand.NewPCG(1, 2)), newReference(t, m)
			n := compile(t, m, "")
			w := n.NewWorkspace(images, false)
			size, classes := a.Input.Size(), n.Classes()
			x := make([]float32, images*size) // not multiples of 1/255: any kink of those would be hit again
			for i := range x {
				x[i] = r.Float32()
			}
			for _, l := range allLosses {
				label := func(i int) (Loss, int, int) {
					if l.targeted {
						return l.loss, i % classes, (i + 1) % classes
					}
					return l.loss, i % classes, Untargeted
				}
				value, _, g := pass(w, x, images, label)
				for i := range images {
					at := widen(x[i*size : (i+1)*size])
					_, y, target := label(i)
					z, _ := ref.forward(at)
					require.InEpsilon(t, refLoss(l.loss, z, y, target), value[i], 1e-4, lossName(l.loss, l.targeted))
					ref.differences(t, g[i*size:(i+1)*size], at, upTo(size), func(v *float64) (float64, bool) {
						return ref.difference(at, v, l.loss, y, target)
					}, lossName(l.loss, l.targeted))
				}
			}
		})
	}
}

// TestWeightGradient compares the gradient of the summed loss to weights and
// biases of every layer with differences of the float64 reference.
func TestWeightGradient(t *testing.T) {
	const images, sample = 10, 24 // two lane groups, the second mostly empty
	for _, a := range smallNets() {
		t.Run(a.Name, func(t *testing.T) {
			m := randomModel(t, a, 5)
			r, ref := rand.New(rand.NewPCG(3, 4)), newReference(t, m)
			n := compile(t, m, "")
			w, wg := n.NewWorkspace(images, true), n.NewWeightGradient()
			size, classes := a.Input.Size(), n.Classes()
			x := make([]float32, images*size)
			for i := range x {
				x[i] = r.Float32()
			}
			for _, l := range []Loss{CrossEntropy, Margin} {
				label := func(i int) (Loss, int, int) { return l, i % classes, Untargeted }
				pass(w, x, images, label)
				for task := range wg.Tasks() {
					wg.Apply(w.Scratch(), w, kernels.Groups(images), task)
				}
				total := func(v *float64) (sum float64, ok bool) {
					for i := range images {
						d, ok := ref.difference(widen(x[i*size:(i+1)*size]), v, l, i%classes, Untargeted)
						if !ok {
							return 0, false
						}
						sum += d
					}
					return sum, true
				}
				for i, p := range wg.Params {
					if !a.Layers[i].HasParams() {
						require.Empty(t, p.W)
						require.Empty(t, p.B)
						continue
					}
					weights := r.Perm(len(p.W))
					ref.differences(t, p.W, ref.w[i], weights[:min(sample, len(weights))], total, fmt.Sprint(l, " weights of layer ", i))
					ref.differences(t, p.B, ref.b[i], upTo(len(p.B)), total, fmt.Sprint(l, " biases of layer ", i))
				}
			}
		})
	}
}

// TestNoInfluence: pixels that no output reads have gradient zero, and the
// buffers' earlier contents do not matter.
func TestNoInfluence(t *testing.T) {
	a := &model.Architecture{Name: "skipping", Input: model.Shape{C: 1, H: 5, W: 5}, Layers: []model.Layer{
		conv(3, 2, 2, 3, 3, 0, 0), relu, fc(3),
	}}
	n := compile(t, randomModel(t, a, 1), "")
	w := n.NewWorkspace(4, false)
	for _, b := range slices.Concat(w.acts, w.grads) {
		for i := range b {
			b[i] = float32(math.NaN())
		}
	}
	x := randomImages(rand.New(rand.NewPCG(1, 1)), 4, 25)
	_, _, g := pass(w, x, 4, crossEntropy(3))
	for i := range 4 {
		for k := range 5 {
			require.Zero(t, g[i*25+10+k], "row 2")
			require.Zero(t, g[i*25+5*k+2], "column 2")
		}
		require.NotZero(t, g[i*25])
	}
}
