package epsball_test

import (
	"context"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/epsball/epsball"
	"github.com/epsball/epsball/dataset/mnist"
	"github.com/epsball/epsball/zoo"
)

// workers counts the goroutines of pools.
func workers() int {
	buf := make([]byte, 1<<20)
	return strings.Count(string(buf[:runtime.Stack(buf, true)]), "(*poolState).work(")
}

// TestREADME: the lines for embedders are those of Example_embed.
func TestREADME(t *testing.T) {
	readme, err := os.ReadFile("README.md")
	require.NoError(t, err)
	example, err := os.ReadFile("example_test.go")
	require.NoError(t, err)
	_, section, ok := strings.Cut(string(readme), "\n## Embed it\n")
	require.True(t, ok)
	_, code, ok := strings.Cut(section, "```go\n")
	require.True(t, ok)
	code, _, ok = strings.Cut(code, "```")
	require.True(t, ok)
	require.Equal(t, 15, strings.Count(code, "\n"))
	require.Contains(t, string(example), "\t"+strings.ReplaceAll(strings.TrimSpace(code), "\n", "\n\t")+"\n")
}

// TestEdge: what an embedder is promised of a real network. One image at a time
// allocates nothing, one thread starts no goroutine, and Close ends those of more.
func TestEdge(t *testing.T) {
	runtime.GC() // closes what other tests dropped
	time.Sleep(10 * time.Millisecond)
	test, err := mnist.Test()
	require.NoError(t, err)
	image := test.Slice(0, 1)
	x, ctx := epsball.Batch{X: image.X}, context.Background()
	for _, few := range []bool{false, true} {
		for _, threads := range []int{1, 2} {
			before := workers()
			opts := []epsball.Option{epsball.Threads(threads)}
			if few {
				opts = append(opts, epsball.FewImages())
			}
			m, err := epsball.LoadBytes(zoo.MNISTSmallIBP(), "embedded", opts...)
			require.NoError(t, err)
			var p epsball.Prediction
			require.NoError(t, m.ClassifyInto(ctx, x, &p))
			require.Equal(t, image.Y, p.Label)
			require.Zero(t, testing.AllocsPerRun(50, func() { _ = m.ClassifyInto(ctx, x, &p) }), "threads %d", threads)

			ball := epsball.Linf(0.1)
			cert, err := m.Certify(ctx, x.With(p.Label), ball, epsball.CROWN)
			require.NoError(t, err)
			require.True(t, cert.Robust[0])
			_, err = m.Radius(ctx, x.With(p.Label), epsball.Linf(0.01), 0, epsball.IBP)
			require.NoError(t, err)
			_, err = m.Attack(ctx, x.With(p.Label), ball, epsball.FGSM{})
			require.NoError(t, err)
			require.LessOrEqual(t, workers(), before+threads-1)
			m.Close()
			require.Eventually(t, func() bool { return workers() <= before }, 5*time.Second, time.Millisecond, "they end on their own time")
		}
	}
}
