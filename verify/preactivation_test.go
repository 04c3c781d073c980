package verify

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/epsball/epsball/kernels"
	"github.com/epsball/epsball/model"
	"github.com/epsball/epsball/net"
)

// TestPreActivations: what is kept is what the ReLUs read, keeping it changes no bit, and
// gradients to it reach the layer in front.
func TestPreActivations(t *testing.T) {
	m, err := model.Random(&model.Architecture{Input: model.Shape{C: 1, H: 4, W: 4}, Layers: []model.Layer{
		{Kind: model.Conv, Out: 3, Kernel: [2]int{2, 2}, Stride: [2]int{1, 1}},
		{Kind: model.ReLU},
		{Kind: model.MaxPool, Kernel: [2]int{2, 2}, Stride: [2]int{1, 1}},
		{Kind: model.ReLU}, // a node of its own
		{Kind: model.FC, Out: 5},
		{Kind: model.LeakyReLU, Slope: []float32{0.25}},
		{Kind: model.FC, Out: 3},
	}}, 1)
	require.NoError(t, err)
	n, err := net.Compile(m, net.Options{Backward: true, Batches: net.LargeBatches})
	require.NoError(t, err)
	plain, err := NewIntervals(n, 2)
	require.NoError(t, err)
	kept, err := NewIntervals(n, 2)
	require.NoError(t, err)
	kept.KeepPreActivations()
	v, w := plain.View(0, 2), kept.View(0, 2)
	require.Nil(t, v.PreActivations())
	v.Keep(true) // nothing to keep
	for _, on := range []bool{false, true} {
		w.Keep(on)
		for _, view := range []*IntervalView{v, w} {
			s := kernels.NewStream(3, 0, 0)
			lo, hi := view.Box()
			for i := range lo {
				lo[i] = s.Float32()
				hi[i] = lo[i] + 0.2*s.Float32()
			}
			view.Forward()
			dc, dr := view.Gradient()
			for i := range dc {
				dc[i], dr[i] = s.Float32()-0.5, s.Float32()-0.5
			}
			for _, p := range view.PreActivations() {
				clear(p.DC)
				clear(p.DR)
			}
			view.Backward()
		}
		require.Equal(t, v.c, w.c)
		require.Equal(t, v.r, w.r)
		require.Equal(t, v.dc, w.dc, "zeros added")
		require.Equal(t, v.dr, w.dr)
	}
	pre := w.PreActivations()
	require.Len(t, pre, 3)
	for i, node := range []int{0, 2, 4} {
		require.Equal(t, node, pre[i].Node)
		slope := float32(0)
		if node == 4 {
			slope = 0.25
		}
		for k, c := range pre[i].C {
			f := func(v float32) float32 { return max(v, slope*v) }
			lo, hi := f(c-pre[i].R[k]), f(c+pre[i].R[k])
			require.InDelta(t, (lo+hi)/2, w.c[node+1][k], 1e-6)
			require.InDelta(t, (hi-lo)/2, w.r[node+1][k], 1e-6)
		}
	}
	dc, dr := w.Gradient()
	clear(dc)
	clear(dr)
	for k := range pre[0].DC {
		pre[0].DC[k], pre[0].DR[k] = float32(k), -float32(k)
	}
	w.Backward()
	require.Equal(t, pre[0].DC, w.dc[1], "the gradient in front of the ReLU, which gates nothing of it")
	require.Equal(t, pre[0].DR, w.dr[1])
	w.dc[1], w.dr[1] = nil, nil
	for k := 2; k < len(w.dc)-1; k++ {
		for i := range w.dc[k] {
			require.Zero(t, w.dc[k][i])
			require.Zero(t, w.dr[k][i])
		}
	}
}
