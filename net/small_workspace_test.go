package net

import (
	"context"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/epsball/epsball/kernels"
	"github.com/epsball/epsball/model"
)

// smallPass is pass for single images.
func smallPass(w *Workspace, x []float32, n int, f lossOf) (z, g []float32) {
	s, classes := w.net.Input(), w.net.Classes()
	packed := kernels.Alloc(Singles.Len(n, s.Size()))
	for i := range n {
		Singles.Pack(packed, x[i*s.Size():(i+1)*s.Size()], s, i)
	}
	logits := w.Forward(packed, n)
	z, g = make([]float32, n*classes), make([]float32, n*s.Size())
	d := make([]float32, classes)
	for i := range n {
		zi := z[i*classes : (i+1)*classes]
		Singles.Gather(zi, logits, i)
		l, y, target := f(i)
		l.Gradient(d, zi, y, target)
		Singles.Scatter(w.LogitGradient(), d, i)
	}
	dx := w.Backward(n)
	for i := range n {
		Singles.Unpack(g[i*s.Size():(i+1)*s.Size()], dx, s, i)
	}
	return z, g
}

// TestSmallWorkspaceBits: logits and gradients are those of lanes, for any
// number of images and workers and every kernel set, with lanes packed or not,
// and after new weights.
func TestSmallWorkspaceBits(t *testing.T) {
	nets := smallNets()
	if !raceEnabled && !testing.Short() {
		for _, name := range model.Presets() {
			nets = append(nets, preset(t, name))
		}
	}
	for _, isa := range kernels.Available() {
		for _, a := range nets {
			images := MaxSmall
			if a.Input.Size() > 100 {
				if isa.Name() == "generic" {
					continue
				}
				images = 2
			}
			t.Run(isa.Name()+"/"+a.Name, func(t *testing.T) {
				m := randomModel(t, a, 7)
				lanes, size := compile(t, m, isa.Name()), a.Input.Size()
				n, err := Compile(m, Options{ISA: isa.Name(), Backward: true, Batches: SmallBatches})
				require.NoError(t, err)
				if len(n.Layers()) > 0 {
					require.Less(t, n.Bytes(), lanes.Bytes())
				}
				x := randomImages(rand.New(rand.NewPCG(5, 6)), images, size)
				labels := crossEntropy(n.Classes())
				for range 2 {
					z, g := alone(lanes, x, images, labels)
					for workers := 1; workers <= 3; workers++ {
						pool := kernels.NewPool(workers)
						defer pool.Close()
						w := n.NewSmallWorkspace(images, pool)
						for count := 1; count <= images; count++ {
							zn, gn := smallPass(w, x[:count*size], count, labels)
							requireBits(t, z[:len(zn)], zn, "logits of ", count)
							requireBits(t, g[:len(gn)], gn, "gradients of ", count)
						}
					}
					for _, p := range m.Params {
						for i := range p.W {
							p.W[i] = -p.W[i]
						}
					}
					for i := range n.ReloadTasks() {
						n.Reload(i)
					}
					for i := range lanes.ReloadTasks() {
						lanes.Reload(i)
					}
				}
			})
		}
	}
}

func TestSmallWorkspaceDoesNotAllocate(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	for _, a := range slices.Concat(smallNets()[2:5], smallNets()[7:9]) {
		n := compile(t, randomModel(t, a, 1), "")
		for workers := 1; workers <= 2; workers++ {
			pool := kernels.NewPool(workers)
			defer pool.Close()
			w, x := n.NewSmallWorkspace(3, pool), kernels.Alloc(Singles.Len(3, a.Input.Size()))
			require.Zero(t, testing.AllocsPerRun(20, func() {
				w.Forward(x, 3)
				w.Backward(3)
			}))
		}
	}
}

// TestSmallBackwardMemory: the way back is packed for those who ask for it.
func TestSmallBackwardMemory(t *testing.T) {
	m := wide(t)
	bytes := func(o Options) int {
		n, err := Compile(m, o)
		require.NoError(t, err)
		return n.Bytes()
	}
	forward, both := bytes(Options{Batches: SmallBatches}), bytes(Options{Batches: SmallBatches, Backward: true})
	require.Greater(t, both, forward)
	lanes := bytes(Options{Backward: true, Batches: LargeBatches}) - bytes(Options{Batches: LargeBatches})
	require.Equal(t, bytes(Options{Backward: true})-bytes(Options{}), both-forward+lanes)
	large, err := Compile(m, Options{Backward: true, Batches: LargeBatches})
	require.NoError(t, err)
	require.False(t, large.HasSmall())
	require.Panics(t, func() { large.NewSmallWorkspace(1, kernels.NewPool(1)) })
	few, err := Compile(m, Options{Batches: SmallBatches})
	require.NoError(t, err)
	w := few.NewSmallWorkspace(1, kernels.NewPool(1))
	require.Panics(t, func() { w.Backward(1) })
	require.Panics(t, func() { w.Forward(nil, 2) })
	z := make([]float32, few.Classes())
	require.NoError(t, few.NewRunner(kernels.NewPool(1)).Logits(context.Background(), z, ramp(m.Arch.Input.Size()), 1))
}

func TestLayout(t *testing.T) {
	s := model.Shape{C: 3, H: 2, W: 5}
	r := rand.New(rand.NewPCG(1, 1))
	for _, l := range []Layout{Singles, LaneGroups} {
		const n = 11
		x := randomImages(r, n, s.Size())
		p := kernels.Alloc(l.Len(l.Blocks(n), s.Size()))
		require.Zero(t, len(p)%kernels.Lanes)
		for i := range n {
			l.Pack(p, x[i*s.Size():(i+1)*s.Size()], s, i)
		}
		if l == LaneGroups {
			want := kernels.Alloc(len(p))
			PackLanes(want, x, s, n)
			require.Equal(t, want, p)
		}
		back, z := make([]float32, s.Size()), make([]float32, s.Size())
		l.Move(p, s.Size(), 2, 9)
		l.Unpack(back, p, s, 2)
		require.Equal(t, x[9*s.Size():10*s.Size()], back)
		l.Gather(z, p, 9)
		l.Scatter(p, z, 1)
		l.Unpack(back, p, s, 1)
		require.Equal(t, x[9*s.Size():10*s.Size()], back)
		require.Len(t, l.Block(p, s.Size(), 1), s.Size()*int(l))
	}
}
