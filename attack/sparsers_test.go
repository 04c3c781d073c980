package attack

import (
	"context"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/epsball/epsball/kernels"
	"github.com/epsball/epsball/net"
)

// TestSparseRSGolden follows the runs of make_sparsers.py proposal by proposal.
func TestSparseRSGolden(t *testing.T) {
	arrays, runs := readGolden(t, "sparsers.npz")
	require.Len(t, runs, 4)
	for _, run := range runs {
		t.Run(run, func(t *testing.T) {
			follow(t, arrays, run, SparseRS{Queries: 150, Seed: 22, Targeted: strings.HasSuffix(run, ".targeted")}, net.L0)
		})
	}
}

// TestExchanged: the schedule of the paper for 10,000 queries and 150 pixels.
func TestExchanged(t *testing.T) {
	for i, want := range map[int]int{1: 22, 50: 22, 51: 11, 201: 9, 501: 7, 1001: 5, 2001: 4, 4001: 3, 6001: 3, 8001: 2, 10000: 2} {
		require.Equal(t, want, exchanged(0.3, 150, i, 10000), i)
	}
	require.Equal(t, 1, exchanged(0.3, 2, 1, 10000))
	require.Equal(t, 11, exchanged(0.3, 150, 1, 100))
}

// TestSparseRSCounts: all points that are tried differ in k pixels, of all channels
// together in as many values as the ball allows at most; also from a given start that is
// spread over more pixels.
func TestSparseRSCounts(t *testing.T) {
	const n = 12
	s := newSetup(t, tiny, 2, n, "")
	start := append([]float32(nil), s.x...)
	for i := range start {
		if i%4 == 0 { // one channel of a pixel: 15 of 30 pixels
			start[i] = 1 - start[i]/2
		}
	}
	for eps, k := range map[string]int{"0": 0, "1": 0, "2": 1, "9.5": 4, "58": 29, "60": 30, "1000": 30} {
		for _, b := range []Batch{{X: s.x, Y: s.y}, {X: s.x, Y: s.y, Start: start}} {
			m := &recorder{SparseRS{Queries: 20, Seed: 3}, tiny.Input, map[uint64][]visit{}}
			c := Config{Ball: ball(net.L0, eps), Method: m, Recheck: true}
			a, err := New(s.n, c, kernels.NewPool(1))
			require.NoError(t, err)
			require.NoError(t, a.Run(context.Background(), b, new(Result)))
			for i := range n {
				for at, v := range m.seen[uint64(i)] {
					x := s.image(s.x, i)
					require.True(t, c.Ball.Contains(x, v.x))
					pixels := 0
					for p := range 30 {
						if x[p] != v.x[p] || x[30+p] != v.x[30+p] {
							pixels++
						}
					}
					if b.Start == nil {
						require.Equal(t, k, pixels)
					} else if at > 0 {
						require.LessOrEqual(t, pixels, k)
					}
				}
			}
		}
	}
}
