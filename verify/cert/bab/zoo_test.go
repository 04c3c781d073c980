package bab_test

import (
	"bytes"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/epsball/epsball/dataset"
	_ "github.com/epsball/epsball/dataset/mnist"
	"github.com/epsball/epsball/net"
	"github.com/epsball/epsball/verify"
	"github.com/epsball/epsball/verify/branch"
	"github.com/epsball/epsball/verify/cert/bab"
	"github.com/epsball/epsball/verify/check"
	"github.com/epsball/epsball/zoo"
)

// TestZoo: an image that linear bounds do not decide. EPSBALL_IMAGES asks for more of them,
// and shows what certificates cost.
func TestZoo(t *testing.T) {
	if testing.Short() {
		t.Skip("-short")
	}
	from, to := 5, 6
	if n, err := strconv.Atoi(os.Getenv("EPSBALL_IMAGES")); err == nil {
		from, to = 0, n
	}
	m, err := zoo.Load("mnist-small-pgd-0.1")
	require.NoError(t, err)
	set, err := dataset.Load("builtin:mnist")
	require.NoError(t, err)
	k, v := checker(t, m), verifier(t, m, 2)
	for i := from; i < to; i++ {
		x, y := set.Image(i), set.Y[i]
		rec, start := &branch.Record{}, time.Now()
		o := branch.Options{Record: rec, Parts: 60000}
		res, err := branch.Prove(t.Context(), v, verify.Around(net.Ball{Eps: net.MustEpsilon("0.1")}, x), verify.LabelProperty(10, y), o)
		require.NoError(t, err)
		t.Logf("image %d: %+v in %v", i, res, time.Since(start))
		if !res.Proved {
			require.NotEqual(t, 5, i)
			continue
		}
		start = time.Now()
		lines, err := bab.Lines(t.Context(), k, &check.Certificate{
			Model: m.Hash(), Level: check.Executed, Data: "builtin:mnist", Index: i, Input: check.InputHash(x),
			Label: y, Norm: "linf", Eps: "0.1", Run: "test",
		}, x, rec, 2)
		require.NoError(t, err)
		longest := 0
		for line := range bytes.SplitSeq(lines, []byte("\n")) {
			longest = max(longest, len(line))
		}
		t.Logf("%d lines, %d bytes, the longest %d, written in %v", bytes.Count(lines, []byte("\n")), len(lines), longest, time.Since(start))
		if i == from {
			require.True(t, follow(t, k, lines, x, y).Valid)
			require.False(t, follow(t, k, lines, set.Image(i+1), y).Valid)
		}
	}
}
