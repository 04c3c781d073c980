package branch

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/epsball/epsball/internal/plain"
	"github.com/epsball/epsball/model"
	"github.com/epsball/epsball/net"
	"github.com/epsball/epsball/verify"
)

// BenchmarkKinds is a search of 2,000 parts over balls around eight random inputs of random
// networks whose bends are of a kind. gap is how far the lower bound of the property has come
// from that of CROWN, 0, to the lowest value that a random corner has, 1: the mean, the same on
// every machine. So it says what splits of the kind are worth, with ReLU for comparison.
func BenchmarkKinds(b *testing.B) {
	for _, kind := range []model.Kind{model.ReLU, model.LeakyReLU, model.Clip, model.Sigmoid, model.Tanh, model.MaxPool} {
		b.Run(string(kind), func(b *testing.B) {
			gap := 0.0
			for b.Loop() {
				gap = 0
				for seed := range uint64(8) {
					gap += closed(b, kind, seed) / 8
				}
			}
			b.ReportMetric(gap, "gap")
		})
	}
}

// closed searches once, and returns what it has closed of the gap.
func closed(b *testing.B, kind model.Kind, seed uint64) float64 {
	const inputs, outputs, eps = 16, 3, 0.1
	r := rand.New(rand.NewPCG(seed, 23))
	a := &model.Architecture{Name: string(kind), Input: model.Shape{C: 1, H: 4, W: 4}}
	bend := model.Layer{Kind: kind}
	switch kind {
	case model.LeakyReLU:
		bend.Slope = []float32{0.1}
	case model.Clip:
		bend.Max = 1
	case model.MaxPool:
		bend.Kernel, bend.Stride = [2]int{2, 2}, [2]int{1, 1}
		conv := model.Layer{Kind: model.Conv, Out: 3, Kernel: [2]int{2, 2}, Stride: [2]int{1, 1}}
		a.Layers = []model.Layer{conv, bend, dense(outputs)}
	}
	if kind != model.MaxPool {
		a.Layers = []model.Layer{dense(12), bend, dense(12), bend, dense(outputs)}
	}
	m := plain.Random(a, r)
	v := verifier(b, m, 1)
	x, corner := make([]float32, inputs), make([]float32, inputs)
	for k := range x {
		x[k] = r.Float32()
	}
	attained := math.Inf(1)
	for range 2000 {
		for k, c := range x {
			corner[k] = min(max(c+float32(2*r.IntN(2)-1)*eps, 0), 1)
		}
		acts := plain.Float64(m, corner)
		z := acts[len(acts)-1]
		for _, other := range z[1:] {
			attained = min(attained, z[0]-other)
		}
	}
	g, p := verify.Around(net.Ball{Eps: net.MustEpsilon("0.1")}, x), verify.LabelProperty(outputs, 0)
	root, err := v.Root(g, p)
	require.NoError(b, err)
	require.NoError(b, v.BoundDomains(b.Context(), verify.Options{Method: verify.MethodCROWN}, 0, root))
	low := float64(root.Margin())
	d := float32(-attained) // so that the property is as far from being proved as it can be
	p.D = []float32{d, d}
	res, err := Prove(b.Context(), v, g, p, Options{FewInputs: -1, Parts: 2000, Root: verify.Options{Method: verify.MethodCROWN}})
	require.NoError(b, err)
	if res.Proved {
		return 1
	}
	return (float64(res.Low) - float64(d) - low) / (attained - low)
}
