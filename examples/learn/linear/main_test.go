package main

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/epsball/epsball/dataset"
)

// TestResolutions: a worst change grows with the number of pixels beside a random one of
// the same size, and the attack finds all that is not proved.
func TestResolutions(t *testing.T) {
	training, err := dataset.LoadWith("../../../testdata/mnist#train", dataset.Options{N: 2000})
	require.NoError(t, err)
	test, err := dataset.LoadWith("../../../testdata/mnist#train", dataset.Options{N: 500, Offset: 2000})
	require.NoError(t, err)
	last := 0.0
	for _, block := range []int{4, 2, 1} {
		r, err := resolution(shrink(training, block), shrink(test, block), 0.05)
		require.NoError(t, err)
		require.Equal(t, 784/block/block, r.pixels)
		require.Greater(t, r.worst/r.noise, 1.8*last)
		last = r.worst / r.noise
		require.Greater(t, r.clean, 50.0)
		require.Greater(t, r.noisy, r.attacked+5)
		require.InDelta(t, r.attacked, r.proved, 0.21)
		require.LessOrEqual(t, r.proved, r.attacked+1e-9) // nothing fooled is proved
	}
}

func TestBadFlags(t *testing.T) {
	require.ErrorContains(t, study(new(strings.Builder), "nowhere", 10, 0.1), "nowhere")
	require.ErrorContains(t, study(new(strings.Builder), "../../../testdata/mnist#train", 200, 2), "psilon")
}
