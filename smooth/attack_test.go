package smooth_test

import (
	"context"
	"os"
	"strconv"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/epsball/epsball/attack"
	"github.com/epsball/epsball/dataset/mnist"
	"github.com/epsball/epsball/defend"
	"github.com/epsball/epsball/kernels"
	"github.com/epsball/epsball/net"
	"github.com/epsball/epsball/smooth"
	"github.com/epsball/epsball/zoo"
)

// TestAttacked: PGD through the noise (EOT) on images of 8 bits, inside the radii certified,
// changes no class; given ten times the radius it changes most. EPSBALL_IMAGES=500 has that
// many images.
func TestAttacked(t *testing.T) {
	images := 24
	if v := os.Getenv("EPSBALL_IMAGES"); v != "" {
		var err error
		images, err = strconv.Atoi(v)
		require.NoError(t, err)
	}
	m, err := zoo.Load("mnist-small-pgd-0.1")
	require.NoError(t, err)
	n, err := net.Compile(m, net.Options{Backward: true})
	require.NoError(t, err)
	pool := kernels.NewPool(0)
	defer pool.Close()
	test, err := mnist.Test()
	require.NoError(t, err)
	ctx, size := context.Background(), n.Input().Size()

	const alpha = 0.001
	o := smooth.Options{Sigma: net.MustEpsilon("0.25"), Radius: net.MustEpsilon("0.25"), Alpha: alpha, Samples: 5000, Seed: 1}
	certifier, err := smooth.New(n, pool, o)
	require.NoError(t, err)
	results, err := certifier.Certify(ctx, smooth.Batch{X: test.X[:images*size]})
	require.NoError(t, err)
	var b attack.Batch
	var class []int
	drawn := 0
	for i, r := range results {
		drawn += r.Drawn
		if r.Class != smooth.Abstain {
			b.X, b.Y, b.Index = append(b.X, test.Image(i)...), append(b.Y, r.Class), append(b.Index, i)
			class = append(class, r.Class)
		}
	}
	require.Greater(t, len(class), images*3/4)

	noisy, err := defend.New(n, defend.Chain{defend.Noise{Sigma: 0.25}}, defend.BPDA)
	require.NoError(t, err)
	o.Seed, o.Samples, o.Radius = 2, 1000, net.Epsilon{}
	judge, err := smooth.New(n, pool, o)
	require.NoError(t, err)
	changed := func(eps string) (other, unsure int) {
		ball := net.Ball{Norm: net.L2, Eps: net.MustEpsilon(eps)}
		a, err := attack.New(noisy, attack.Config{Ball: ball, Method: attack.PGD{Steps: 15, Seed: 3}, EOT: 8, Lattice: 8}, pool)
		require.NoError(t, err)
		var found attack.Result
		require.NoError(t, a.Run(ctx, b, &found))
		now, err := judge.Predict(ctx, smooth.Batch{X: found.Adv, Index: b.Index})
		require.NoError(t, err)
		moved := 0
		for i, r := range now {
			adv := found.Adv[i*size : (i+1)*size]
			require.True(t, ball.Contains(b.X[i*size:(i+1)*size], adv))
			if found.L2[i] > 0.5*ball.Eps.Float64() {
				moved++
			}
			switch r.Class {
			case class[i]:
			case smooth.Abstain:
				unsure++
			default:
				other++
			}
		}
		require.Greater(t, moved, len(now)/2, "the attack goes to the edge")
		return other, unsure
	}
	inside, unsure := changed("0.25")
	far, _ := changed("2.5")
	t.Logf("%d of %d images certified inside 0.25 with %d samples an image; of these, attacked inside it, %d changed their class and %d were unsure; inside 2.5, %d changed", len(class), images, drawn/images, inside, unsure, far)
	assert.LessOrEqual(t, float64(inside), 2*alpha*float64(len(class))+1, "claims and verdicts err with a probability of %v each", alpha)
	assert.LessOrEqual(t, unsure, len(class)/10, "a class that stays may be near to another")
	assert.Greater(t, far, len(class)/2, "an attack that could")
}
