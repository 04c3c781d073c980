package epsball_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/epsball/epsball"
	"github.com/epsball/epsball/dataset/mnist"
	"github.com/epsball/epsball/zoo"
)

// TestIntoAllocatesNothing: the variants that take their results' memory keep their
// word, for single images and for batches.
func TestIntoAllocatesNothing(t *testing.T) {
	if testing.Short() {
		t.Skip("takes seconds without vector kernels")
	}
	file, err := zoo.Load("mnist-small-ibp-0.1")
	require.NoError(t, err)
	m, err := epsball.New(file, epsball.Threads(1))
	require.NoError(t, err)
	defer m.Close()
	test, err := mnist.Test()
	require.NoError(t, err)
	ctx := context.Background()
	for _, n := range []int{1, 24} {
		images := test.Slice(0, n)
		x := epsball.Batch{X: images.X, Y: images.Y}
		var p epsball.Prediction
		var adv epsball.Attacked
		var cert epsball.Certificate
		var how epsball.Method = epsball.PGD{Steps: 3} // made once: an interface takes memory
		ball := epsball.Linf(0.1)
		for name, f := range map[string]func() error{
			"classify": func() error { return m.ClassifyInto(ctx, x, &p) },
			"lattice":  func() error { return m.AttackInto(ctx, x, ball, how, &adv, epsball.Lattice(8), epsball.FirstIndex(7)) },
			"attack":   func() error { return m.AttackInto(ctx, x, ball, how, &adv) },
			"certify":  func() error { return m.CertifyInto(ctx, x, ball, epsball.IBP, &cert) },
			"crown":    func() error { return m.CertifyInto(ctx, x, ball, epsball.CROWN, &cert) },
		} {
			require.NoError(t, f())
			require.Zero(t, testing.AllocsPerRun(3, func() { err = f() }), "%s of %d", name, n)
			require.NoError(t, err)
		}
	}
}
