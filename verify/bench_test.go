package verify

import (
	"context"
	"fmt"
	"math/rand/v2"
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/epsball/epsball/dataset/mnist"
	"github.com/epsball/epsball/kernels"
	"github.com/epsball/epsball/model"
	"github.com/epsball/epsball/net"
	"github.com/epsball/epsball/zoo"
)

// BenchmarkCertify measures one thread: ms an image of each method on the standard
// built-in model at ε = 0.02 and on random weights, where nearly every neuron is
// unstable.
func BenchmarkCertify(b *testing.B) {
	const batch = 32
	standard, err := zoo.Load("mnist-small-standard")
	require.NoError(b, err)
	test, err := mnist.Test()
	require.NoError(b, err)
	digits := test.Slice(0, batch)
	arch, err := model.Preset("mnist-small")
	require.NoError(b, err)
	random, err := model.Random(arch, 1)
	require.NoError(b, err)
	for _, c := range []struct {
		name string
		m    *model.Model
		eps  string
	}{{"standard", standard, "0.02"}, {"random", random, "0.1"}} {
		for method := range Methods() {
			b.Run(fmt.Sprintf("%s/%v", c.name, Method(method)), func(b *testing.B) {
				benchCertify(b, c.m, Options{Method: Method(method)}, c.eps, Batch{digits.X, digits.Y})
			})
		}
	}
}

// BenchmarkLarge is one image of cifar-large with random weights.
func BenchmarkLarge(b *testing.B) {
	arch, err := model.Preset("cifar-large")
	require.NoError(b, err)
	m, err := model.Random(arch, 1)
	require.NoError(b, err)
	x := randomImage(arch.Input.Size(), rand.New(rand.NewPCG(1, 2)))
	for _, eps := range []string{"1/255", "8/255"} {
		for _, method := range []Method{MethodCROWNIBP, MethodCROWN} {
			b.Run(fmt.Sprintf("%s/%v", eps[:1], method), func(b *testing.B) {
				benchCertify(b, m, Options{Method: method}, eps, Batch{x, []int{3}})
			})
		}
	}
}

// BenchmarkDeep proves an image of a network whose windows are of many sizes, for ten
// seconds at most, and reports the memory that the verifier then holds.
func BenchmarkDeep(b *testing.B) {
	for _, c := range []struct{ layers, size int }{{30, 32}, {60, 81}} {
		b.Run(fmt.Sprintf("%dx%d", c.layers, c.size), func(b *testing.B) {
			m := deep(b, c.layers, c.size)
			x := make([]float32, m.Arch.Input.Size())
			for i := range x {
				x[i] = 0.5
			}
			heap := func() float64 {
				var s runtime.MemStats
				runtime.GC()
				runtime.ReadMemStats(&s)
				return float64(s.HeapAlloc)
			}
			for range b.N {
				before := heap()
				v := newCROWN(b, m, 1, Options{Method: MethodCROWN})
				ctx, stop := context.WithTimeout(context.Background(), 10*time.Second)
				err := v.Certify(ctx, net.Ball{Eps: net.MustEpsilon("0.01")}, Batch{x, []int{0}}, new(Result))
				stop()
				if err != nil {
					require.ErrorIs(b, err, context.DeadlineExceeded)
				}
				b.ReportMetric((heap()-before)/1e6, "MB")
				runtime.KeepAlive(v)
			}
		})
	}
}

// BenchmarkTogether bounds one image on two workers, which divide its rows, and, in turn, on
// one: the shortest time of each, and their ratio. It needs a machine with two idle cores.
func BenchmarkTogether(b *testing.B) {
	standard, err := zoo.Load("mnist-small-standard")
	require.NoError(b, err)
	test, err := mnist.Test()
	require.NoError(b, err)
	arch, err := model.Preset("cifar-large")
	require.NoError(b, err)
	large, err := model.Random(arch, 1)
	require.NoError(b, err)
	digit := test.Slice(0, 1)
	for _, c := range []struct {
		name string
		m    *model.Model
		o    Options
		eps  string
		x    Batch
	}{
		{"standard", standard, Options{Method: MethodCROWNIBP}, "0.02", Batch{digit.X, digit.Y}},
		{"standard", standard, Options{Method: MethodCROWN}, "0.02", Batch{digit.X, digit.Y}},
		{"standard-rows", standard, Options{Method: MethodAlphaCROWN, RowsOnly: true}, "0.02", Batch{digit.X, digit.Y}},
		{"standard", standard, Options{Method: MethodAlphaCROWN}, "0.02", Batch{digit.X, digit.Y}},
		{"large", large, Options{Method: MethodCROWN}, "1/255", Batch{randomImage(arch.Input.Size(), rand.New(rand.NewPCG(1, 2))), []int{3}}},
	} {
		b.Run(fmt.Sprintf("%s/%v", c.name, c.o.Method), func(b *testing.B) {
			ball := net.Ball{Eps: net.MustEpsilon(c.eps)}
			var res Result
			var best [2]time.Duration
			v := []*prover{newCROWN(b, c.m, 1, c.o), newCROWN(b, c.m, 2, c.o)}
			for b.Loop() {
				for k := range v {
					start := time.Now()
					require.NoError(b, v[k].Certify(context.Background(), ball, c.x, &res))
					if d := time.Since(start); best[k] == 0 || d < best[k] {
						best[k] = d
					}
				}
			}
			b.ReportMetric(best[0].Seconds()*1e3, "ms/alone")
			b.ReportMetric(best[1].Seconds()*1e3, "ms/together")
			b.ReportMetric(best[0].Seconds()/best[1].Seconds(), "ratio")
		})
	}
}

// BenchmarkLanes bounds 32 images by CROWN-IBP on one thread, in shared lanes and, in turn, each
// on its own: the shortest time of each in ms an image, and their ratio.
func BenchmarkLanes(b *testing.B) {
	test, err := mnist.Test()
	require.NoError(b, err)
	digits := test.Slice(0, 32)
	batch, n := Batch{digits.X, digits.Y}, float64(len(digits.Y))
	for _, c := range []struct{ name, eps string }{
		{"mnist-small-standard", "0.02"}, {"mnist-small-ibp-0.1", "0.1"}, {"mnist-small", "0.1"}, {"mnist-medium", "0.1"},
	} {
		b.Run(c.name, func(b *testing.B) {
			m, err := zoo.Load(c.name)
			if arch, unknown := model.Preset(c.name); unknown == nil {
				m, err = model.Random(arch, 1)
			}
			require.NoError(b, err)
			o, ball, ctx := Options{Method: MethodCROWNIBP}, net.Ball{Eps: net.MustEpsilon(c.eps)}, context.Background()
			v := newCROWN(b, m, 1, o).Verifier
			var res Result
			alone := func() { // Certify without certifyLanes
				call, err := v.beginImages(ctx, &o, batch)
				require.NoError(b, err)
				defer call.end()
				call.ball, call.res = area{norm: ball.Norm, box: ball.Box()}, &res
				res.resize(call.n)
				require.NoError(b, v.ibp())
				require.NoError(b, v.intervals.run(call, certifyChunk))
				call.all()
				require.NoError(b, call.run(certifyOne))
			}
			var best [2]time.Duration
			for b.Loop() {
				for k, run := range []func(){func() { require.NoError(b, v.Certify(ctx, o, ball, batch, &res)) }, alone} {
					start := time.Now()
					run()
					if d := time.Since(start); best[k] == 0 || d < best[k] {
						best[k] = d
					}
				}
			}
			require.True(b, sharedLanes(v))
			b.ReportMetric(best[0].Seconds()*1e3/n, "ms/shared")
			b.ReportMetric(best[1].Seconds()*1e3/n, "ms/alone")
			b.ReportMetric(best[1].Seconds()/best[0].Seconds(), "ratio")
		})
	}
}

func benchCertify(b *testing.B, m *model.Model, c Options, eps string, batch Batch) {
	v := newCROWN(b, m, 1, c)
	var res Result
	ball := net.Ball{Eps: net.MustEpsilon(eps)}
	run := func() { require.NoError(b, v.Certify(context.Background(), ball, batch, &res)) }
	run()
	b.ReportAllocs()
	for b.Loop() {
		run()
	}
	_, certified := res.Count()
	n := float64(len(batch.Y))
	b.ReportMetric(b.Elapsed().Seconds()*1e3/float64(b.N)/n, "ms/image")
	b.ReportMetric(float64(certified)/n, "certified")
	mean := 0.0
	for _, v := range res.Margin {
		mean += float64(v) / n
	}
	b.ReportMetric(mean, "margin")
}

// BenchmarkRadius searches for the radii of 16 images by alpha-crown on one thread, with slopes
// kept from radius to radius and without, in turn: how many times as fast, and the mean radii.
func BenchmarkRadius(b *testing.B) {
	m, err := zoo.Load("mnist-small-pgd-0.1")
	require.NoError(b, err)
	n, err := net.Compile(m, net.Options{})
	require.NoError(b, err)
	test, err := mnist.Test()
	require.NoError(b, err)
	digits := test.Slice(0, 16)
	names := [...]string{"anew", "kept", "anew-planes", "kept-planes"}
	var took [len(names)]time.Duration
	var mean [len(names)]float64
	for b.Loop() {
		for i := range names {
			pool := kernels.NewPool(1)
			v, err := New(n, pool)
			require.NoError(b, err)
			if i%2 == 1 {
				v.KeepSlopes()
			}
			if i >= 2 {
				v.FirstPlanes()
			}
			var res RadiusResult
			begin := time.Now()
			require.NoError(b, v.Radius(context.Background(), Options{Method: MethodAlphaCROWN, Ladder: true},
				net.Linf, net.MustEpsilon("0.001"), net.MustEpsilon("0.3"), Batch{digits.X, digits.Y}, &res))
			took[i] += time.Since(begin)
			mean[i] = 0
			for _, r := range res.Radius {
				mean[i] += r / float64(len(res.Radius))
			}
			pool.Close()
		}
	}
	for i, name := range names {
		b.ReportMetric(took[i].Seconds()/took[0].Seconds(), "time-"+name)
		b.ReportMetric(mean[i], "mean-radius-"+name)
	}
}

// BenchmarkRounding says what bounds give away to rounding: of the distance from a margin's value
// at the image to its bound by CROWN, the parts that are there for an execution in any order and
// for our own rows; with errors by the signs of terms and, plain, as certificates state them.
func BenchmarkRounding(b *testing.B) {
	dense := func(in int, widths ...int) *model.Architecture {
		a := &model.Architecture{Name: "dense", Input: model.Shape{C: in, H: 1, W: 1}}
		for _, w := range widths {
			a.Layers = append(a.Layers, fc(w), relu)
		}
		a.Layers = append(a.Layers, fc(10))
		return a
	}
	for _, c := range []struct {
		name, eps string
		arch      *model.Architecture // of random weights; nil: the zoo's
	}{
		{"mnist-small-pgd-0.1", "0.02", nil},
		{"mnist-small-pgd-0.1", "0.001", nil},
		{"3072-2048-2048-10", "1/255", dense(3072, 2048, 2048)},
		{"3072-2048-2048-10", "1/2550", dense(3072, 2048, 2048)},
	} {
		b.Run(c.name+"/"+c.eps, func(b *testing.B) {
			m, err := zoo.Load(c.name)
			if c.arch != nil {
				m, err = model.Random(c.arch, 1)
			}
			require.NoError(b, err)
			x := randomImage(m.Arch.Input.Size(), rand.New(rand.NewPCG(1, 2)))
			n, err := net.Compile(m, net.Options{})
			require.NoError(b, err)
			y := labels(b, n, x, 1)
			margin := func(t errorTerm, eps string, plain bool) float64 {
				removed = t
				defer func() { removed = noTerm }()
				pool := kernels.NewPool(2)
				defer pool.Close()
				v, err := New(n, pool)
				require.NoError(b, err)
				var res Result
				require.NoError(b, v.Certify(context.Background(), Options{Method: MethodCROWN, RowsOnly: plain}, net.Ball{Eps: net.MustEpsilon(eps)}, Batch{x, y}, &res))
				return float64(res.Margin[0])
			}
			for b.Loop() {
				bound, at, plain := margin(noTerm, c.eps, false), margin(noTerm, "0", false), margin(noTerm, c.eps, true)
				b.ReportMetric(100*(margin(termExecuted, c.eps, false)-bound)/(at-bound), "%-executed")
				b.ReportMetric(100*(margin(termBack, c.eps, false)-bound)/(at-bound), "%-rows")
				b.ReportMetric(100*(margin(termExecuted, c.eps, true)-plain)/(at-bound), "%-executed-plain")
			}
		})
	}
}
