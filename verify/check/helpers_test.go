package check_test

import (
	"bytes"
	"context"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/epsball/epsball/dataset"
	_ "github.com/epsball/epsball/dataset/mnist"
	"github.com/epsball/epsball/model"
	"github.com/epsball/epsball/verify/cert"
	"github.com/epsball/epsball/verify/check"
	"github.com/epsball/epsball/zoo"
)

// claim is a certificate without slopes for an image and its label.
func claim(m *model.Model, x []float32, y int, norm, eps, method string) *check.Certificate {
	return &check.Certificate{
		Model: m.Hash(), Level: check.Executed, Data: "test", Input: check.InputHash(x), Label: y,
		Norm: norm, Eps: eps, Run: "eps " + eps, Method: method, Certified: true,
	}
}

func verdict(t testing.TB, c *check.Checker, cert *check.Certificate, x []float32, y int) check.Verdict {
	t.Helper()
	v, err := c.Check(context.Background(), cert, x, y)
	require.NoError(t, err)
	require.Equal(t, v.Valid, v.Reason == "")
	return v
}

func newChecker(t testing.TB, m *model.Model) *check.Checker {
	t.Helper()
	c, err := check.New(m)
	require.NoError(t, err)
	return c
}

// line is the certificate's line without newline.
func line(t testing.TB, c *check.Certificate) []byte {
	t.Helper()
	b, err := cert.Append(nil, c)
	require.NoError(t, err)
	return bytes.TrimSuffix(b, []byte("\n"))
}

func reread(t testing.TB, c *check.Certificate) *check.Certificate {
	t.Helper()
	back, err := check.Parse(line(t, c))
	require.NoError(t, err)
	return back
}

// zooModel loads a built-in model and n test images.
func zooModel(t testing.TB, name string, n int) (*model.Model, *dataset.Set) {
	t.Helper()
	m, err := zoo.Load(name)
	require.NoError(t, err)
	set, err := dataset.Load("builtin:mnist")
	require.NoError(t, err)
	return m, set.Slice(0, n)
}

// randomSlopes states slopes for many pairs of a bounded layer and one before it that
// takes slopes: any slopes are sound. spread 0: 0 and 1; 1: bytes; 2: any.
func randomSlopes(m *model.Model, method string, rows, spread int, r *rand.Rand) []check.Slopes {
	shapes, _ := m.Arch.Shapes()
	vector := func(size int) []float32 {
		a := make([]float32, size)
		for i := range a {
			switch spread {
			case 0:
				a[i] = float32(r.IntN(2))
			case 1:
				a[i] = float32(r.IntN(256)) / 255
			default:
				a[i] = r.Float32()
			}
		}
		return a
	}
	draw := func(size int) string { return cert.Alpha(vector(size)) }
	var out []check.Slopes
	var relus []int
	done := map[int]bool{} // layers that bends read
	for i := range m.Arch.Layers {
		switch m.Arch.Layers[i].Kind {
		case model.ReLU, model.LeakyReLU, model.Clip, model.Sigmoid, model.Tanh, model.MaxPool:
		default:
			continue
		}
		of := m.Arch.InputsOf(i)[0]
		for _, k := range relus {
			if method != check.CROWNIBP && k < of && !done[of] && r.IntN(3) > 0 {
				out = append(out, check.Slopes{For: of, ReLU: k, Alpha: draw(shapes[k+1].Size())})
			}
		}
		done[of] = true
		switch m.Arch.Layers[i].Kind {
		case model.ReLU, model.LeakyReLU, model.Clip:
			relus = append(relus, i)
		}
	}
	for _, k := range relus {
		switch r.IntN(4) {
		case 0:
			var vectors [][]float32
			for range rows {
				vectors = append(vectors, vector(shapes[k+1].Size()))
			}
			out = append(out, check.Slopes{For: check.ForRows, ReLU: k, Alpha: cert.Alpha(vectors...)})
		case 1:
			out = append(out, check.Slopes{For: check.ForRows, ReLU: k, Alpha: draw(shapes[k+1].Size())})
		case 2:
			out = append(out, check.Slopes{For: check.ForAll, ReLU: k, Alpha: draw(shapes[k+1].Size())})
		default:
			out = append(out, check.Slopes{For: check.ForAll, ReLU: k, Alpha: check.Adaptive})
		}
	}
	slices.SortFunc(out, func(a, b check.Slopes) int { return b.ReLU - a.ReLU })
	return out
}

var nan, inf = float32(math.NaN()), float32(math.Inf(1))
