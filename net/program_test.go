package net

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/epsball/epsball/internal/plain"
	"github.com/epsball/epsball/kernels"
	"github.com/epsball/epsball/model"
)

// TestShare: no two tensors that are alive at one step share a buffer, and no
// more buffers are used than tensors are alive at one time.
func TestShare(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 500 {
		n := 1 + r.IntN(12)
		born, died := make([]int, n), make([]int, n)
		for k := range n {
			born[k] = r.IntN(20) - 10
			died[k] = born[k] + r.IntN(8)
		}
		buffer := share(born, died)
		for i := range n {
			for j := range i {
				if born[i] <= died[j] && born[j] <= died[i] {
					require.NotEqual(t, buffer[i], buffer[j], "%v %v", born, died)
				}
			}
		}
		most := 0
		for step := -10; step < 20; step++ {
			alive := 0
			for k := range n {
				if born[k] <= step && step <= died[k] {
					alive++
				}
			}
			most = max(most, alive)
		}
		require.Equal(t, most, slices.Max(buffer)+1)
	}
}

// TestLists: a plain list reads one layer after the other and needs two buffers.
func TestLists(t *testing.T) {
	for _, a := range append(smallNets()[:7], preset(t, "mnist-small")) {
		n := compile(t, randomModel(t, a, 1), "")
		for i, l := range n.Layers() {
			require.Equal(t, []int{i, -1, -1}, []int{l.Src, l.Skip, l.Add})
		}
		require.Equal(t, 1, slices.Max(n.acts))
		require.Equal(t, 1, slices.Max(n.grads))
		require.Zero(t, n.sums)
	}
}

func TestGraph(t *testing.T) {
	nets := smallNets()
	n := compile(t, randomModel(t, nets[7], 1), "")
	type wiring struct {
		index, add, src, skip int
		relu                  bool
	}
	var have []wiring
	for _, l := range n.Layers() {
		have = append(have, wiring{l.Index, l.Add, l.Src, l.Skip, l.ReLU})
	}
	require.Equal(t, []wiring{
		{1, -1, 0, -1, true},
		{3, -1, 1, -1, true},
		{5, 6, 2, 1, true},
		{8, -1, 3, -1, true},
		{10, -1, 4, -1, false},
		{11, 12, 3, 5, true},
		{14, -1, 6, -1, true},
		{16, -1, 7, -1, false},
	}, have, "the later one of two branches is computed last")
	require.Equal(t, model.Shape{C: 4, H: 1, W: 1}, n.Output())

	n = compile(t, randomModel(t, nets[8], 1), "")
	require.Equal(t, model.Shape{C: 3, H: 2, W: 2}, n.Output())
	require.Equal(t, 12, n.Classes())
	require.Equal(t, 0, n.Layers()[0].Skip)
}

// TestGraphBuffers: what is left in any buffer from before does not matter.
func TestGraphBuffers(t *testing.T) {
	const images = 5
	pool := kernels.NewPool(2)
	defer pool.Close()
	poison := func(bufs ...[]float32) {
		for _, b := range bufs {
			b = b[:cap(b)]
			for i := range b {
				b[i] = float32(math.NaN())
			}
		}
	}
	for _, a := range smallNets() {
		n := compile(t, randomModel(t, a, 4), "")
		x := randomImages(rand.New(rand.NewPCG(1, 1)), images, a.Input.Size())
		labels := crossEntropy(n.Classes())
		z, g := alone(n, x, images, labels)
		for _, keep := range []bool{false, true} {
			w := n.NewWorkspace(images, keep)
			poison(slices.Concat(w.acts, w.grads, [][]float32{w.sum, w.out, w.dout})...)
			_, zn, gn := pass(w, x, images, labels)
			requireBits(t, z, zn, a.Name)
			requireBits(t, g, gn, a.Name)
		}
		w := n.NewSmallWorkspace(images, pool)
		poison(slices.Concat(w.acts, w.grads, [][]float32{w.sum, w.out, w.dout})...)
		zn, gn := smallPass(w, x, images, labels)
		requireBits(t, z, zn, a.Name)
		requireBits(t, g, gn, a.Name)
		run := n.NewRunner(pool)
		poison(run.few.acts...)
		require.NoError(t, run.Logits(t.Context(), zn, x, images))
		requireBits(t, z, zn, a.Name)
	}
}

// TestRandomGraphs compares networks of all wirings with the float64 reference and
// every path, batch and kernel set with every other, bit for bit.
func TestRandomGraphs(t *testing.T) {
	rounds, images := 150, 9
	if testing.Short() || raceEnabled {
		rounds = 25
	}
	r := rand.New(rand.NewPCG(3, 1))
	pool := kernels.NewPool(2)
	defer pool.Close()
	for round := 0; round < rounds; {
		a := plain.RandomGraph(r)
		if a.Validate() != nil {
			continue
		}
		m := randomModel(t, a, uint64(round))
		round++
		size := a.Input.Size()
		x := randomImages(r, images, size)
		var z, g []float32
		for _, isa := range kernels.Available() {
			n := compile(t, m, isa.Name())
			loss := crossEntropy(n.Classes())
			_, zn, gn := pass(n.NewWorkspace(images, round%2 == 0), x, images, loss)
			if z == nil {
				z, g = zn, gn
			}
			requireBits(t, z, zn, isa.Name())
			requireBits(t, g, gn, isa.Name())
			few := MaxSmall
			zn, gn = smallPass(n.NewSmallWorkspace(few, pool), x[:few*size], few, loss)
			requireBits(t, z[:len(zn)], zn, isa.Name())
			requireBits(t, g[:len(gn)], gn, isa.Name())
			for _, count := range []int{1, images} {
				zn = make([]float32, count*n.Classes())
				require.NoError(t, n.NewRunner(pool).Logits(t.Context(), zn, x[:count*size], count))
				requireBits(t, z[:len(zn)], zn, isa.Name())
			}
		}
		ref, scale := newReference(t, m), 0.0
		for i := range images {
			want, _ := ref.forward(widen(x[i*size : (i+1)*size]))
			for _, v := range want {
				scale = max(scale, math.Abs(v))
			}
			for j, v := range want {
				require.InDelta(t, v, float64(z[i*len(want)+j]), 1e-5*scale+1e-6, "%s", a.CanonicalJSON())
			}
		}
	}
}

// TestOutputOrder: outputs are the last activation's elements, channels first.
func TestOutputOrder(t *testing.T) {
	a := &model.Architecture{Input: model.Shape{C: 2, H: 2, W: 3}, Layers: []model.Layer{conv(2, 1, 1, 1, 1, 0, 0)}}
	m := randomModel(t, a, 1)
	m.Params[0] = model.Param{W: []float32{1, 0, 0, 1}, B: []float32{0, 0}} // the identity
	n := compile(t, m, "")
	x := ramp(12 * 9)
	for _, count := range []int{1, 9} {
		z := make([]float32, 12*count)
		require.NoError(t, n.NewRunner(kernels.NewPool(1)).Logits(t.Context(), z, x[:12*count], count))
		require.Equal(t, x[:12*count], z)
	}
}
