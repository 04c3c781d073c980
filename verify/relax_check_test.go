package verify

import (
	"context"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/epsball/epsball/kernels"
	"github.com/epsball/epsball/model"
	"github.com/epsball/epsball/net"
	"github.com/epsball/epsball/verify/cert"
	"github.com/epsball/epsball/verify/check"
)

// certified is the certificate of a proof, read back from its line.
func certified(t *testing.T, m *model.Model, x []float32, y int, ball net.Ball, p *Proof) *check.Certificate {
	t.Helper()
	c := &check.Certificate{
		Model: m.Hash(), Level: check.Executed, Data: "test", Input: check.InputHash(x), Label: y,
		Norm: ball.Norm.String(), Eps: ball.Eps.String(), Run: "test", Method: p.Method.String(),
	}
	q := cert.Proof{Method: p.Method.String(), Certified: true, Margin: float64(p.Margin)}
	for _, s := range p.Slopes {
		q.Slopes = append(q.Slopes, cert.Slopes{For: check.ForAll, ReLU: s.Layer, Alpha: [][]float32{s.Alpha}})
		if s.Rows != nil {
			q.Slopes = append(q.Slopes, cert.Slopes{For: check.ForRows, ReLU: s.Layer, Alpha: s.Rows})
		}
	}
	q.Fill(c)
	line, err := cert.Append(nil, c)
	require.NoError(t, err)
	back, err := check.Parse(line[:len(line)-1])
	require.NoError(t, err)
	return back
}

// TestCheckerAgrees: the checker, which shares no code, proves what this package proves
// of networks of every layer, by the same margins but for rounding, or better ones. (Very
// few are worse: the checker's intervals are better where a layer on the input has an add,
// in L2 and L1, and lines of a better interval can give a worse margin.)
func TestCheckerAgrees(t *testing.T) {
	pool := kernels.NewPool(1)
	defer pool.Close()
	r := rand.New(rand.NewPCG(9, 9))
	archs := append(layerArchitectures(), deeper()...)
	for range trials(t, 100) {
		archs = append(archs, randomLayers(r))
	}
	proved, near, worse, all := 0, 0, 0, 0
	for i, a := range archs {
		m := newLayers(t, a, uint64(i), r)
		x := randomImage(a.Input.Size(), r)
		ball := net.Ball{Norm: net.Norm(r.IntN(3)), Eps: net.MustEpsilon([]string{"0.001", "0.01", "0.05"}[r.IntN(3)])}
		for method := MethodCROWNIBP; method <= MethodAlphaCROWN; method++ {
			v := newLayersCROWN(t, m, pool, net.Options{}, Config{Method: method, Iterations: 3, RowsOnly: true})
			if v == nil {
				continue
			}
			k, err := check.New(m)
			require.NoError(t, err)
			for y := range a.Classes() {
				p, err := v.Prove(context.Background(), ball, x, y)
				require.NoError(t, err)
				c := certified(t, m, x, y, ball, p)
				if c.Margin <= 0 {
					c.Margin = 0
				}
				out, err := k.Check(context.Background(), c, x, y)
				require.NoError(t, err)
				scale := 1 + math.Abs(float64(p.Margin))
				require.GreaterOrEqual(t, out.Margin, float64(p.Margin)-5e-3*scale, "%s %v %v label %d", a.CanonicalJSON(), method, ball, y)
				if p.Certified {
					require.True(t, out.Valid, "%s %v: %s", a.CanonicalJSON(), method, out.Reason)
					proved++
				}
				all++
				if out.Margin < float64(p.Margin)-1e-4*scale {
					worse++
				}
				if out.Margin < float64(p.Margin)+1e-3*scale {
					near++
				}
			}
		}
	}
	t.Logf("%d margins, %d as near as 1e-3, %d worse by 1e-4, %d proved", all, near, worse, proved)
	require.LessOrEqual(t, worse, all/2000)
	require.Greater(t, proved, len(archs)/2)
	require.Greater(t, near, all/2)
}

// TestGoldenLayers: without intervals on the way, linear bounds are those of auto_LiRPA
// in float64 but for rounding, and never beyond them, in networks of the layers for which
// it takes the same lines.
func TestGoldenLayers(t *testing.T) {
	ref := goldenArrays(t, "layer_bounds.npz")
	ball := net.Ball{Eps: net.MustEpsilon("0.05")}
	for _, name := range []string{"mobile", "branches"} {
		m, err := model.Load("../testdata/golden/bounds-" + name + ".safetensors")
		require.NoError(t, err)
		x, y := ref[name+".x"].([]float32), ref[name+".y"].([]int32)
		size, classes := m.Arch.Input.Size(), m.Arch.Classes()
		for k := range 4 {
			method, errors := MethodCROWNIBP+Method(k%2), k < 2
			v := newCROWN(t, m, 1, Config{Method: method})
			if !errors {
				for i := range v.g.nodes {
					v.g.nodes[i].relax.exec, v.g.nodes[i].relax.back = 0, 0
				}
			}
			w := newRelaxer(v.g)
			w.pure = true
			low := make([]float32, classes-1)
			for n, label := range y {
				w.load(x[n*size:(n+1)*size], ball, ball.Box())
				w.attempt(method, statement{y: int(label)}, low, 0)
				k := 0
				for j, want := range ref[name+"."+method.String()+".margin"].([]float64)[n*classes:][:classes] {
					if j != int(label) {
						near(t, want, float64(low[k]), -1, errors, "%s %v image %d class %d", name, method, n, j)
						k++
					}
				}
			}
		}
	}
}
