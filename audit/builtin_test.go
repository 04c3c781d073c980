package audit

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/epsball/epsball/dataset/mnist"
	"github.com/epsball/epsball/internal/testsize"
	"github.com/epsball/epsball/net"
	"github.com/epsball/epsball/zoo"
)

// TestKeystoneBuiltin attacks real images at the edge of the radius certified
// for each by each built-in model.
func TestKeystoneBuiltin(t *testing.T) {
	test, err := mnist.Test()
	require.NoError(t, err)
	count, names, resolution := 12, zoo.Overview(), "1/2000"
	if testsize.Small() {
		count, names, resolution = 1, names[2:], "1/50"
	}
	for i, name := range names {
		m, err := zoo.Load(name)
		require.NoError(t, err)
		for _, norm := range []net.Norm{net.Linf, net.L2} {
			images := test.Slice(100*i, 100*i+count)
			certified, attacked := keystone(t, m, norm, images.X, resolution, 1)
			t.Logf("%s %v: %d certified, %d attacked", name, norm, certified, attacked)
			if count > 1 {
				require.Positive(t, certified)
			}
		}
	}
}
