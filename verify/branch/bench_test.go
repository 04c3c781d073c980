package branch_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/epsball/epsball/dataset/mnist"
	"github.com/epsball/epsball/kernels"
	"github.com/epsball/epsball/net"
	"github.com/epsball/epsball/verify"
	"github.com/epsball/epsball/verify/branch"
	"github.com/epsball/epsball/zoo"
)

// BenchmarkProve is a search of some 45,000 parts for balls that are hard to prove. low is what
// it has proved of the margin in the end, 0 if all: it is the same on every machine.
func BenchmarkProve(b *testing.B) {
	m, err := zoo.Load("mnist-small-pgd-0.1")
	require.NoError(b, err)
	n, err := net.Compile(m, net.Options{Backward: true})
	require.NoError(b, err)
	pool := kernels.NewPool(0)
	defer pool.Close()
	v, err := verify.New(n, pool)
	require.NoError(b, err)
	v.FirstPlanes()
	set, err := mnist.Test()
	require.NoError(b, err)
	ball := net.Ball{Norm: net.Linf, Eps: net.MustEpsilon("0.1")}
	for _, i := range []int{6, 33, 78} {
		b.Run(fmt.Sprintf("image=%d", i), func(b *testing.B) {
			var res branch.Result
			for b.Loop() {
				res, err = branch.Prove(context.Background(), v, verify.Around(ball, set.Image(i)), net.LabelProperty(set.Classes, set.Y[i]), branch.Options{Parts: 45_000})
				require.NoError(b, err)
			}
			b.ReportMetric(float64(res.Low), "low")
			b.ReportMetric(float64(res.Parts), "parts")
		})
	}
}
