package train

import (
	"context"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/epsball/epsball/kernels"
)

// TestChanges: shifts and flips take all their values, each as often as the next, and
// depend on seed and place alone.
func TestChanges(t *testing.T) {
	c := Config{Seed: 3, Shift: 2, Flip: true}
	seen := map[change]int{}
	const n = 50 * 1000
	for place := range uint64(n) {
		a := c.changeOf(place)
		seen[a]++
		assert.Equal(t, a, c.changeOf(place))
	}
	require.Len(t, seen, 5*5*2)
	for a, k := range seen {
		assert.InDelta(t, n/50, k, 160, "%+v", a) // 5 standard deviations
		assert.LessOrEqual(t, max(a.down, -a.down, a.right, -a.right), 2)
	}
	other := Config{Seed: 4, Shift: 2, Flip: true}
	same := 0
	for place := range uint64(1000) {
		if other.changeOf(place) == c.changeOf(place) {
			same++
		}
	}
	assert.Less(t, same, 60)
	assert.Zero(t, (&Config{Seed: 3}).changeOf(7))
}

func TestPackChanged(t *testing.T) {
	// Two channels of 2×3.
	img := []float32{1, 2, 3, 4, 5, 6, 10, 20, 30, 40, 50, 60}
	for _, w := range []struct {
		change
		want []float32
	}{
		{change{}, []float32{1, 2, 3, 4, 5, 6, 10, 20, 30, 40, 50, 60}},
		{change{down: 1}, []float32{0, 0, 0, 1, 2, 3, 0, 0, 0, 10, 20, 30}},
		{change{down: -1, right: 1}, []float32{0, 4, 5, 0, 0, 0, 0, 40, 50, 0, 0, 0}},
		{change{right: -2}, []float32{3, 0, 0, 6, 0, 0, 30, 0, 0, 60, 0, 0}},
		{change{flip: true}, []float32{3, 2, 1, 6, 5, 4, 30, 20, 10, 60, 50, 40}},
		{change{right: 1, flip: true}, []float32{0, 3, 2, 0, 6, 5, 0, 30, 20, 0, 60, 50}},
	} {
		d := make([]float32, len(img)*kernels.Lanes)
		packChanged(d, img, 2, 2, 3, w.change)
		got := make([]float32, 0, len(img))
		for c := range 2 {
			for q := range 6 {
				got = append(got, d[(q*2+c)*kernels.Lanes])
			}
		}
		assert.Equal(t, w.want, got, "%+v", w.change)
	}
}

// TestAugmentedStep: a step sees each image changed by the place that it has in training,
// and other changes in the next epoch.
func TestAugmentedStep(t *testing.T) {
	m := tinyNet(t)
	d, c := noise(m, 20), quick(PGD)
	c.Shift, c.Flip, c.BatchSize = 1, true, 20
	s := newTestStepper(t, m, d, &c)
	in, moved := m.Arch.Input, 0
	for step := range 2 {
		require.NoError(t, s.losses(context.Background(), step, point{lr: 1e-3, eps: 0, kappa: 1}, inOrder(20)))
		for i, got := range s.unpack(20) {
			a := c.changeOf(uint64(step*20 + i))
			if a != (change{}) {
				moved++
			}
			lane := make([]float32, in.Size()*kernels.Lanes)
			packChanged(lane, d.Image(i), in.C, in.H, in.W, a)
			for ch := range in.C {
				for q := range in.H * in.W {
					require.Equal(t, lane[(q*in.C+ch)*kernels.Lanes], got[ch*in.H*in.W+q])
				}
			}
		}
	}
	assert.Greater(t, moved, 25)
}
