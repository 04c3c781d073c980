package kernels

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
	"time"
	"unsafe"
)

// vekPGDStep is a PGD step as a chain of vek calls, s and t being scratch; nil where
// vek does not build (on riscv64).
var vekPGDStep func(x, g, lo, hi, s, t []float32)

// BenchmarkConv times the layers of the reference nets: forward, adjoint and
// weight gradient, as GFLOP/s and as a fraction of the peak measured beside.
func BenchmarkConv(b *testing.B) {
	layers := []Shape{
		{1, 28, 28, 16, 4, 4, 2, 2, 0, 0},
		{16, 13, 13, 32, 4, 4, 1, 1, 0, 0},
		{3, 32, 32, 64, 3, 3, 1, 1, 1, 1},
		{64, 32, 32, 64, 3, 3, 1, 1, 1, 1},
		{64, 32, 32, 128, 3, 3, 2, 2, 1, 1},
		{128, 16, 16, 128, 3, 3, 1, 1, 1, 1},
		FC(3200, 100), FC(100, 10),
	}
	isa := mustChoose(b)
	for _, s := range layers {
		for _, groups := range []int{1, 3, 4} {
			x, y := Alloc(groups*s.In()*Lanes), Alloc(groups*s.Out()*Lanes)
			dw, db := make([]float32, s.Weights()), make([]float32, s.OutC)
			fwd, adj, wg, sc := NewForward(isa, s), NewAdjoint(isa, s), NewWeightGrad(isa, s), new(Scratch)
			for _, p := range []struct {
				name string
				run  func()
			}{
				{"forward", func() { fwd.Apply(sc, y, x, groups, ReLU, nil) }},
				{"adjoint", func() { adj.Apply(sc, x, y, groups, None, nil) }},
				{"weights", func() {
					for t := range wg.Tasks() {
						from, to := wg.Channels(t)
						wg.Apply(sc, dw[from*s.FanIn():to*s.FanIn()], db[from:to], y, x, groups, t)
					}
				}},
			} {
				b.Run(fmt.Sprintf("%s/%dx%dx%d-%d_%dx%ds%d/b%d", p.name, s.InC, s.InH, s.InW, s.OutC, s.KH, s.KW, s.StrideH, groups*Lanes), func(b *testing.B) {
					peak := isa.PeakGFLOPS(20 * time.Millisecond)
					b.ResetTimer()
					for b.Loop() {
						p.run()
					}
					gf := 2 * float64(s.MACs()) * float64(groups*Lanes) * float64(b.N) / b.Elapsed().Seconds() / 1e9
					b.ReportMetric(gf, "GFLOP/s")
					b.ReportMetric(gf/peak, "of-peak")
				})
			}
		}
	}
}

// BenchmarkElementwise times one PGD step and one interval pass, in GB/s of
// memory touched, beside the same PGD step as a chain of vek calls.
func BenchmarkElementwise(b *testing.B) {
	isa, sc := mustChoose(b), new(Scratch)
	for _, n := range []int{2 << 10, 96 << 10, 4 << 20} {
		x, g, lo, hi := Alloc(n), Alloc(n), Alloc(n), Alloc(n)
		s, t, params := Alloc(n), Alloc(n), Alloc(n/Lanes*RelaxParams)
		for i := range params {
			params[i] = 0.5
		}
		alpha := Alloc(n)
		for i := range alpha {
			alpha[i] = 1 // values stay what they are
		}
		for i := range x {
			x[i], g[i], lo[i], hi[i] = 0.5, float32(i%7)-3.5, 0.4, 0.6
		}
		for _, p := range []struct {
			name  string
			bytes int // touched for each element
			run   func()
		}{
			{"pgd-step", 20, func() { isa.PGDStep(x, g, lo, hi, 0.01) }},
			{"pgd-step-vek", 20, func() { vekPGDStep(x, g, lo, hi, s, t) }},
			{"adam-step", 28, func() {
				isa.AdamStep(sc, x, g, s, t, AdamConstants{0.9, 0.1, 0.999, 0.001, 1e-6, 1e-8})
			}},
			{"climb-slopes", 36, func() { // where every slope moves
				isa.ClimbSlopes(sc, lo, x, alpha, s, t, params, RelaxRun{1, n / Lanes, n / Lanes}, ClimbConstants{0.9, 0.1, 0.98, 0.02, 1e-6, 1, 1e-12})
			}},
			{"interval", 16, func() { isa.IntervalAffine(sc, s, t, IntervalConstants{Rel: 1e-7, MulR: 1, MulC: 1e-7, ReLU: true}) }},
		} {
			if p.name == "pgd-step-vek" && vekPGDStep == nil {
				continue
			}
			b.Run(fmt.Sprintf("%s/%dKiB", p.name, n*4>>10), func(b *testing.B) {
				for b.Loop() {
					p.run()
				}
				b.ReportMetric(float64(p.bytes*n)*float64(b.N)/b.Elapsed().Seconds()/1e9, "GB/s")
			})
		}
	}
}

// BenchmarkPack times what a trainer does to the weights after each update, in
// GB/s read and written.
func BenchmarkPack(b *testing.B) {
	isa := mustChoose(b)
	for _, s := range []Shape{FC(3200, 100), FC(32768, 512), {128, 16, 16, 128, 3, 3, 1, 1, 1, 1}} {
		w, d := Alloc(s.Weights()), Alloc(s.Weights())
		fwd, adj := NewForward(isa, s), NewAdjoint(isa, s)
		for _, p := range []struct {
			name string
			run  func()
		}{
			{"forward", func() { fwd.Pack(w, false) }},
			{"adjoint", func() { adj.Pack(w, true) }},
			{"transpose", func() {
				for n := s.FanIn(); len(w) >= n; n += s.FanIn() {
					isa.Transpose(d[n-s.FanIn():n], w[n-s.FanIn():n], 128, s.FanIn()/128)
				}
			}},
		} {
			b.Run(fmt.Sprintf("%s/%d-%d_%dx%d", p.name, s.InC, s.OutC, s.KH, s.KW), func(b *testing.B) {
				for b.Loop() {
					p.run()
				}
				b.ReportMetric(float64(8*len(w))*float64(b.N)/b.Elapsed().Seconds()/1e9, "GB/s")
			})
		}
	}
}

// BenchmarkSmall times the layers of the reference nets on one image.
func BenchmarkSmall(b *testing.B) {
	isa := mustChoose(b)
	for _, s := range []Shape{
		{1, 28, 28, 16, 4, 4, 2, 2, 0, 0},
		{16, 13, 13, 32, 4, 4, 1, 1, 0, 0},
		{3, 32, 32, 64, 3, 3, 1, 1, 1, 1},
		{64, 32, 32, 64, 3, 3, 1, 1, 1, 1},
		{128, 16, 16, 128, 3, 3, 1, 1, 1, 1},
		FC(3200, 100), FC(100, 10), FC(32768, 512),
	} {
		x, y, w := Alloc(s.In()), Alloc(s.Out()), Alloc(s.Weights())
		fillRandom(rand.New(rand.NewPCG(1, 1)), w)
		l, sc := NewSmall(isa, s), new(Scratch)
		l.Pack(w, false) // zeros might share one page
		b.Run(fmt.Sprintf("%dx%dx%d-%d_%dx%ds%d", s.InC, s.InH, s.InW, s.OutC, s.KH, s.KW, s.StrideH), func(b *testing.B) {
			peak := isa.PeakGFLOPS(20 * time.Millisecond)
			for b.Loop() {
				l.Apply(sc, y, x, 1, ReLU, nil, 0, 1)
			}
			gf := 2 * float64(s.MACs()) * float64(b.N) / b.Elapsed().Seconds() / 1e9
			b.ReportMetric(gf, "GFLOP/s")
			b.ReportMetric(gf/peak, "of-peak")
			b.ReportMetric(2*gf, "GB/s-weights-fc")
		})
	}
}

// BenchmarkSmallWeights times the large fully connected layer of cifar-large on one
// image, which waits for its weights, in each type: the mean, and the best run in GB/s
// of weights beside the best of plain reads of the same memory, taken in turn.
func BenchmarkSmallWeights(b *testing.B) {
	isa, s := mustChoose(b), FC(32768, 512)
	w, x, y := Alloc(s.Weights()), Alloc(s.In()), Alloc(s.Out())
	r := rand.New(rand.NewPCG(1, 1))
	fillRandom(r, w)
	fillRandom(r, x)
	for _, t := range []Weights{Float32, BFloat16, Float16} {
		l, sc := NewSmall16(isa, s, t), new(Scratch)
		l.Pack(w, false)
		b.Run(t.String(), func(b *testing.B) {
			best := [2]float64{math.Inf(1), math.Inf(1)} // seconds
			for i := 0; b.Loop(); i++ {
				start := time.Now()
				l.Apply(sc, y, x, 1, ReLU, nil, 0, 1)
				best[0] = min(best[0], time.Since(start).Seconds())
				b.StopTimer()
				start = time.Now()
				isa.readMemory(unsafe.Pointer(&l.packed[0]), len(l.packed)/256, 1)
				best[1] = min(best[1], time.Since(start).Seconds())
				b.StartTimer()
			}
			b.ReportMetric(best[0]*1e3, "best-ms")
			b.ReportMetric(float64(len(l.packed))/best[0]/1e9, "GB/s")
			b.ReportMetric(float64(len(l.packed))/best[1]/1e9, "read-GB/s")
		})
	}
}

// BenchmarkWinograd times 3×3 layers both ways; operations are counted as those
// of the direct form, so more than the peak is possible.
func BenchmarkWinograd(b *testing.B) {
	isa := mustChoose(b)
	for _, s := range []Shape{
		{16, 16, 16, 16, 3, 3, 1, 1, 1, 1},
		{32, 26, 26, 32, 3, 3, 1, 1, 0, 0},
		{64, 32, 32, 64, 3, 3, 1, 1, 1, 1},
		{128, 16, 16, 128, 3, 3, 1, 1, 1, 1},
	} {
		const groups = 3
		x, y := Alloc(groups*s.In()*Lanes), Alloc(groups*s.Out()*Lanes)
		lin, wino, sc := NewForward(isa, s), NewWinograd(isa, s, false), new(Scratch)
		r := rand.New(rand.NewPCG(1, 1))
		w := make([]float32, s.Weights())
		fillRandom(r, w)
		fillRandom(r, x)
		lin.Pack(w, false)
		wino.Pack(w)
		for _, p := range []struct {
			name string
			run  func()
		}{
			{"direct", func() { lin.Apply(sc, y, x, groups, ReLU, nil) }},
			{"winograd", func() { wino.Apply(sc, y, x, groups, ReLU, nil) }},
		} {
			b.Run(fmt.Sprintf("%dx%dx%d-%d/%s", s.InC, s.InH, s.InW, s.OutC, p.name), func(b *testing.B) {
				peak := isa.PeakGFLOPS(20 * time.Millisecond)
				for b.Loop() {
					p.run()
				}
				gf := 2 * float64(s.MACs()) * groups * Lanes * float64(b.N) / b.Elapsed().Seconds() / 1e9
				b.ReportMetric(gf, "GFLOP/s")
				b.ReportMetric(gf/peak, "of-peak")
			})
		}
	}
}

// mustChoose returns the set that EPSBALL_ISA names, or the best one.
func mustChoose(b *testing.B) *ISA {
	b.Helper()
	isa, err := Choose("")
	if err != nil {
		b.Fatal(err)
	}
	return isa
}
