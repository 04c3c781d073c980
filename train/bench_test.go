package train

import (
	"context"
	"strings"
	"testing"

	"github.com/epsball/epsball/kernels"
	"github.com/epsball/epsball/model"
	"github.com/epsball/epsball/net"
)

// BenchmarkStep times whole training steps, the update of the weights and their
// packing included, on one thread: images/s.
func BenchmarkStep(b *testing.B) {
	for _, name := range model.Presets() {
		arch, err := model.Preset(name)
		if err != nil {
			b.Fatal(err)
		}
		for _, variant := range []string{"b16", "b128", "b16/winograd", "b128/winograd"} {
			batch, winograd := 16, strings.HasSuffix(variant, "winograd")
			if strings.HasPrefix(variant, "b128") {
				batch = 128
			}
			if winograd && name == "mnist-small" {
				continue // has no 3×3 layer
			}
			b.Run(name+"/"+variant, func(b *testing.B) { benchmarkStep(b, arch, Standard, batch, winograd, 0.1) })
		}
	}
}

// BenchmarkMethods times whole steps of each method on 128 images.
func BenchmarkMethods(b *testing.B) {
	arch, err := model.Preset("mnist-small")
	if err != nil {
		b.Fatal(err)
	}
	for _, method := range Methods() {
		b.Run(string(method), func(b *testing.B) { benchmarkStep(b, arch, method, 128, false, 0.1) })
		if o := objectiveOf(method); o.needs.linear != nil {
			b.Run(string(method)+"/ramp", func(b *testing.B) { benchmarkStep(b, arch, method, 128, false, 0.05) })
		}
	}
}

func benchmarkStep(b *testing.B, arch *model.Architecture, method Method, batch int, winograd bool, eps float64) {
	m, err := model.Random(arch, 1)
	if err != nil {
		b.Fatal(err)
	}
	n, err := net.Compile(m, net.Options{Backward: true, Batches: net.LargeBatches, Winograd: winograd})
	if err != nil {
		b.Fatal(err)
	}
	d := &data{x: make([]float32, batch*n.Input().Size()), y: make([]int, batch)}
	st := kernels.NewStream(1, 0, 0)
	for i := range d.x {
		d.x[i] = st.Float32()
	}
	images := make([]int32, batch)
	for i := range images {
		images[i], d.y[i] = int32(i), i%n.Classes()
	}
	c := DefaultConfig(method)
	c.BatchSize = batch
	pool := kernels.NewPool(1)
	defer pool.Close()
	s, ctx := newStepper(&c, n, d, pool), context.Background()
	b.ReportAllocs()
	step := 0
	for b.Loop() {
		if err := s.losses(ctx, step, point{lr: 1e-4, eps: eps, kappa: 0.5}, images); err != nil {
			b.Fatal(err)
		}
		if err := s.update(ctx); err != nil {
			b.Fatal(err)
		}
		step++
	}
	b.ReportMetric(float64(batch*b.N)/b.Elapsed().Seconds(), "images/s")
}
