package epsball_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/epsball/epsball"
	"github.com/epsball/epsball/attack"
	"github.com/epsball/epsball/kernels"
	"github.com/epsball/epsball/model"
	"github.com/epsball/epsball/net"
	"github.com/epsball/epsball/verify"
	"github.com/epsball/epsball/zoo"
)

// The headline benchmarks: one thread, the three reference nets with random
// weights, at batch 1, 16 and 128. Each reports images/s (image-steps/s for a
// PGD step), GFLOP/s and the fraction of the FMA peak, which is measured before
// and after each run, in the same process. Operations an image: forward 2·MACs,
// PGD step and IBP 4·MACs, those with padding left out; for Winograd those of the
// direct form.
//
//	go test -run '^$' -bench .

func BenchmarkForward(b *testing.B) {
	headline(b, 2, func(b *testing.B, n *net.Network, pool *kernels.Pool, x []float32, batch int) func() {
		r, z, ctx := n.NewRunner(pool), make([]float32, batch*n.Classes()), context.Background()
		return func() {
			if err := r.Logits(ctx, z, x, batch); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func BenchmarkPGDStep(b *testing.B) {
	headline(b, 4, func(b *testing.B, n *net.Network, pool *kernels.Pool, x []float32, batch int) func() {
		passes := attack.NewPasses(n, batch, pool)
		in, layout := n.Input(), passes.Layout()
		size, blocks := in.Size(), layout.Blocks(batch)
		tensor := func() []float32 { return kernels.Alloc(layout.Len(blocks, size)) }
		images, lo, hi := tensor(), tensor(), tensor()
		for i := range batch {
			layout.Pack(images, x[i*size:(i+1)*size], in, i)
		}
		ball := net.Ball{Eps: net.MustEpsilon("0.1")}
		ball.Box().Inner(lo, hi, images)
		step := attack.NewAscent(n, passes, ball, net.CrossEntropy, 0.025)
		labels := make([]int, batch)
		if layout == net.Singles {
			return func() { step.Step(images, lo, hi, nil, labels, blocks) }
		}
		chunks := net.Chunks(n.ISA(), blocks, 1)
		return func() {
			for i := range chunks {
				from, to := net.Chunk(blocks, chunks, i)
				cut := func(t []float32) []float32 { return t[from*size*kernels.Lanes : to*size*kernels.Lanes] }
				step.Step(cut(images), cut(lo), cut(hi), nil, labels[from*kernels.Lanes:min(to*kernels.Lanes, batch)], to-from)
			}
		}
	})
}

func BenchmarkIBP(b *testing.B) {
	headline(b, 4, func(b *testing.B, n *net.Network, pool *kernels.Pool, x []float32, batch int) func() {
		v, err := verify.New(n, pool)
		if err != nil {
			b.Fatal(err)
		}
		in, ball, ctx := verify.Batch{X: x, Y: make([]int, batch)}, net.Ball{Eps: net.MustEpsilon("0.1")}, context.Background()
		var res verify.Result
		return func() {
			if err := v.Certify(ctx, verify.Options{}, ball, in, &res); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// headline runs one pass on every net and batch; prepare returns one call.
func headline(b *testing.B, opsPerMAC float64, prepare func(*testing.B, *net.Network, *kernels.Pool, []float32, int) func()) {
	for _, name := range model.Presets() {
		a, err := model.Preset(name)
		if err != nil {
			b.Fatal(err)
		}
		m, err := model.Random(a, 1)
		if err != nil {
			b.Fatal(err)
		}
		variants := []net.Options{{Backward: true}}
		if name == "cifar-large" && !strings.Contains(b.Name(), "IBP") {
			variants = append(variants, net.Options{Backward: true, Winograd: true})
		}
		for _, o := range variants {
			n, err := net.Compile(m, o)
			if err != nil {
				b.Fatal(err)
			}
			suffix := ""
			if n.HasWinograd() {
				suffix = "/winograd"
			}
			batches(b, name, suffix, n, opsPerMAC, prepare)
		}
	}
}

func batches(b *testing.B, name, suffix string, n *net.Network, opsPerMAC float64, prepare func(*testing.B, *net.Network, *kernels.Pool, []float32, int) func()) {
	for _, batch := range []int{1, 16, 128} {
		b.Run(fmt.Sprintf("%s/b%d%s", name, batch, suffix), func(b *testing.B) {
			pool := kernels.NewPool(1)
			defer pool.Close()
			x := make([]float32, batch*n.Input().Size())
			s := kernels.NewStream(1, 0, 0)
			for i := range x {
				x[i] = s.Float32()
			}
			call := prepare(b, n, pool, x, batch)
			call()
			b.ReportAllocs()
			peak := n.ISA().PeakGFLOPS(20 * time.Millisecond)
			for b.Loop() {
				call()
			}
			seconds := b.Elapsed().Seconds()
			peak = max(peak, n.ISA().PeakGFLOPS(20*time.Millisecond))
			images := float64(batch*b.N) / seconds
			gflops := opsPerMAC * float64(n.MACs()) * images / 1e9
			b.ReportMetric(images, "images/s")
			b.ReportMetric(gflops, "GFLOP/s")
			b.ReportMetric(gflops/peak, "of-peak")
		})
	}
}

// BenchmarkLoad is what an embedded model takes before its first prediction.
func BenchmarkLoad(b *testing.B) {
	for name, opts := range map[string][]epsball.Option{"all": nil, "few": {epsball.FewImages()}} {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(zoo.MNISTSmallIBP())))
			for b.Loop() {
				m, err := epsball.LoadBytes(zoo.MNISTSmallIBP(), "embedded", append(opts, epsball.Threads(1))...)
				if err != nil {
					b.Fatal(err)
				}
				m.Close()
			}
		})
	}
}
