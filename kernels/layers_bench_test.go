package kernels

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
	"time"
)

// reportBytes times run beside copies of as many bytes as it must read and write, and
// reports the best of each: bytes per second, and as a fraction of the copy's.
func reportBytes(b *testing.B, bytes int, run func()) {
	n := bytes / 8
	src, dst := Alloc(n), Alloc(n)
	fastest := [2]time.Duration{math.MaxInt64, math.MaxInt64}
	reps := max(1, (1<<16)/n) // above the clock's resolution
	for b.Loop() {
		for i, f := range []func(){run, func() { copy(dst, src) }} {
			start := time.Now()
			for range reps {
				f()
			}
			fastest[i] = min(fastest[i], time.Since(start))
		}
	}
	b.ReportMetric(float64(bytes*reps)/float64(fastest[0].Nanoseconds()), "GB/s")
	b.ReportMetric(float64(fastest[1])/float64(fastest[0]), "of-copy")
}

// BenchmarkSliding times pooling and depthwise convolutions on single images, on lane
// groups and on so many that they come from memory; bytes are those of each input, output and gradient, once.
func BenchmarkSliding(b *testing.B) {
	isa := mustChoose(b)
	for _, s := range []Sliding{
		{C: 6, InH: 28, InW: 28, KH: 2, KW: 2, StrideH: 2, StrideW: 2}, // LeNet-5
		{C: 16, InH: 24, InW: 24, KH: 2, KW: 2, StrideH: 2, StrideW: 2},
		{C: 64, InH: 32, InW: 32, KH: 3, KW: 3, StrideH: 2, StrideW: 2, PadH: 1, PadW: 1},
		{C: 64, InH: 32, InW: 32, KH: 3, KW: 3, StrideH: 1, StrideW: 1, PadH: 1, PadW: 1},
		{C: 256, InH: 8, InW: 8, KH: 8, KW: 8, StrideH: 1, StrideW: 1},
		{C: 128, InH: 16, InW: 16, KH: 1, KW: 1, StrideH: 1, StrideW: 1},
	} {
		for _, size := range []struct{ blocks, lanes int }{{1, 1}, {1, Lanes}, {ceilDiv(4<<20, s.In()*Lanes), Lanes}} {
			blocks, lanes := size.blocks, size.lanes
			in, out := blocks*s.In()*lanes, blocks*s.Out()*lanes
			x, y, dx, dy := Alloc(in), Alloc(out), Alloc(in), Alloc(out)
			fillRandom(rand.New(rand.NewPCG(1, 1)), x)
			dw, db := make([]float32, s.C*s.Taps()), make([]float32, s.C)
			most, mean, sc := NewMaxPool(isa, s), NewAvgPool(isa, s, false), new(Scratch)
			fwd, adj, grad := NewDepthwise(isa, s), NewDepthwiseAdjoint(isa, s), NewDepthwiseGrad(isa, s)
			most.Apply(sc, y, x, blocks, lanes)
			for _, p := range []struct {
				name   string
				values int
				run    func()
			}{
				{"max", in + out, func() { most.Apply(sc, y, x, blocks, lanes) }},
				{"mean", in + out, func() { mean.Apply(sc, dy, x, blocks, lanes) }},
				{"max-gradient", 2 * (in + out), func() { most.Gradient(sc, dx, dy, x, y, blocks, lanes) }},
				{"mean-gradient", in + out, func() { mean.Gradient(sc, dx, dy, nil, nil, blocks, lanes) }},
				{"depthwise", in + out, func() { fwd.Apply(sc, dy, x, blocks, lanes, ReLU, nil) }},
				{"adjoint", in + out, func() { adj.Apply(sc, dx, dy, blocks, lanes, None, nil) }},
				{"weights", in + out, func() {
					for t := range grad.Tasks() {
						from, to := grad.Channels(t)
						grad.Apply(sc, dw[from*s.Taps():to*s.Taps()], db[from:to], dy, x, blocks, t)
					}
				}},
			} {
				if p.name == "weights" && lanes == 1 {
					continue
				}
				b.Run(fmt.Sprintf("%s/%dx%dx%d_%dx%ds%d/b%d", p.name, s.C, s.InH, s.InW, s.KH, s.KW, s.StrideH, blocks*lanes), func(b *testing.B) {
					reportBytes(b, 4*p.values, p.run)
				})
			}
		}
	}
}

// BenchmarkActivations times activations and gradients in cache and out of it.
func BenchmarkActivations(b *testing.B) {
	isa := mustChoose(b)
	for _, n := range []int{2 << 10, 96 << 10, 4 << 20} {
		x, y, dy := Alloc(n), Alloc(n), Alloc(n)
		fillRandom(rand.New(rand.NewPCG(1, 1)), x)
		leaky := NewLeakyReLU(isa, []float32{0.01}, 64)
		for _, p := range []struct {
			name   string
			arrays int // read and written
			run    func()
		}{
			{"leaky", 2, func() { leaky.Apply(y, x, Lanes) }},
			{"leaky-gradient", 3, func() { leaky.Gradient(y, dy, x, Lanes) }},
			{"clip", 2, func() { isa.Clip(y, x, 0, 6) }},
			{"clip-gradient", 3, func() { isa.ClipGrad(y, dy, x, 0, 6) }},
			{"sigmoid", 2, func() { isa.Sigmoid(y, x) }},
			{"sigmoid-gradient", 3, func() { isa.SigmoidGrad(y, dy, x) }},
			{"tanh", 2, func() { isa.Tanh(y, x) }},
			{"tanh-gradient", 3, func() { isa.TanhGrad(y, dy, x) }},
		} {
			b.Run(fmt.Sprintf("%s/%dKiB", p.name, n*4>>10), func(b *testing.B) {
				reportBytes(b, 4*n*p.arrays, p.run)
			})
		}
	}
}
