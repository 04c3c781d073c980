package verify

import (
	"context"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/epsball/epsball/kernels"
	"github.com/epsball/epsball/model"
	"github.com/epsball/epsball/net"
)

// TestLayouts: margins, radii and bounds are the same bits on lanes and on
// single images, in both norms, for every kernel set.
func TestLayouts(t *testing.T) {
	const most = net.MaxSmall + 3
	r := rand.New(rand.NewPCG(4, 4))
	for _, a := range architectures() {
		m, err := model.Random(a, 6)
		require.NoError(t, err)
		size := a.Input.Size()
		x, y := randomImage(most*size, r), make([]int, most)
		for i := range y {
			y[i] = r.IntN(a.Classes())
		}
		for _, norm := range []net.Norm{net.Linf, net.L2} {
			var want *outcome
			for _, isa := range kernels.Available() {
				for _, batches := range []net.Batches{net.LargeBatches, net.SmallBatches, net.AllBatches} {
					n, err := net.Compile(m, net.Options{ISA: isa.Name(), Batches: batches})
					require.NoError(t, err)
					for threads := 1; threads <= 2; threads++ {
						pool := kernels.NewPool(threads)
						defer pool.Close()
						v, err := newIntervals(n, pool)
						require.NoError(t, err)
						for count := 1; count <= most; count++ {
							have := outcomeOf(t, v, norm, Batch{x[:count*size], y[:count]})
							if want == nil {
								want = outcomeOf(t, v, norm, Batch{x, y})
							}
							require.Equal(t, want.margins[:count], have.margins)
							require.Equal(t, want.steps[:count], have.steps)
							require.Equal(t, want.bounds, have.bounds)
							require.Equal(t, want.lows, have.lows)
						}
					}
				}
			}
		}
	}
}

// outcome is all that can be asked about a batch; bounds are the first image's.
type outcome struct {
	margins []float32
	steps   []int
	bounds  []Interval
	lows    []float32
}

func outcomeOf(t *testing.T, v *prover, norm net.Norm, b Batch) *outcome {
	t.Helper()
	ball, ctx := net.Ball{Norm: norm, Eps: net.MustEpsilon("0.01")}, context.Background()
	var cert Result
	require.NoError(t, v.Certify(ctx, ball, b, &cert))
	var radii RadiusResult
	require.NoError(t, v.Radius(ctx, norm, net.MustEpsilon("1/100"), net.MustEpsilon("0.5"), b, &radii))
	o := &outcome{margins: cert.Margin, steps: radii.Steps}
	var err error
	o.bounds, o.lows, err = v.Bounds(ball, b.X[:len(b.X)/len(b.Y)], b.Y[0])
	require.NoError(t, err)
	return o
}
