package train

import (
	"context"
	"fmt"
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
		for _, batch := range []int{16, 128} {
			b.Run(fmt.Sprintf("%s/b%d", name, batch), func(b *testing.B) {
				m, err := model.Random(arch, 1)
				if err != nil {
					b.Fatal(err)
				}
				n, err := net.Compile(m, net.Options{Backward: true, Batches: net.LargeBatches})
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
				c := DefaultConfig(Standard)
				c.BatchSize = batch
				pool := kernels.NewPool(1)
				defer pool.Close()
				s, ctx := newStepper(&c, n, d, pool), context.Background()
				b.ReportAllocs()
				step := 0
				for b.Loop() {
					if err := s.losses(ctx, step, point{lr: 1e-4}, images); err != nil {
						b.Fatal(err)
					}
					if err := s.update(ctx); err != nil {
						b.Fatal(err)
					}
					step++
				}
				b.ReportMetric(float64(batch*b.N)/b.Elapsed().Seconds(), "images/s")
			})
		}
	}
}
