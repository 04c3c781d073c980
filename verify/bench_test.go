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
