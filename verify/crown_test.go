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
)

func (v *CROWN) compiled() *net.Network { return v.g.net }

func newCROWN(t testing.TB, m *model.Model, threads int, c Config) *CROWN {
	t.Helper()
	n, err := net.Compile(m, net.Options{})
	require.NoError(t, err)
	pool := kernels.NewPool(threads)
	t.Cleanup(pool.Close)
	v, err := NewCROWN(n, pool, c)
	require.NoError(t, err)
	return v
}

func deeper() []*model.Architecture {
	return append(architectures()[:11:11],
		&model.Architecture{Name: "padded", Input: model.Shape{C: 2, H: 6, W: 7}, Layers: []model.Layer{
			conv(3, 3, 1, 1), relu, conv(4, 3, 2, 1), relu, conv(3, 2, 1, 1), relu, fc(5), relu, fc(3),
		}},
		&model.Architecture{Name: "strided", Input: model.Shape{C: 1, H: 9, W: 8}, Layers: []model.Layer{
			conv(4, 3, 2, 2), relu, conv(5, 4, 3, 1), conv(3, 1, 1, 0), relu, fc(3),
		}})
}

// TestRelaxedSoundness looks for points outside the bounds of every method.
func TestRelaxedSoundness(t *testing.T) {
	rounds := 60
	if testing.Short() {
		rounds = 8
	}
	for _, a := range deeper() {
		t.Run(a.Name, func(t *testing.T) {
			r := rand.New(rand.NewPCG(17, 7))
			for round := range rounds {
				m, err := model.Random(a, uint64(round))
				require.NoError(t, err)
				twist(m, r)
				v := newCROWN(t, m, 1, Config{Method: Method(1 + round%3), Iterations: 3})
				x := randomImage(a.Input.Size(), r)
				ball := net.Ball{Norm: net.Norm(r.IntN(3)), Eps: net.MustEpsilon(epsilons[r.IntN(len(epsilons))])}
				bad := search(t, v, m, ball, x, r.IntN(a.Classes()), r, 24)
				require.Nil(t, bad, "round %d, %v, %v", round, ball, v.cfg.Method)
			}
		})
	}
}

// TestWindowsAreDense: bounds of neurons by rows on windows are those of the neuron as
// the output of a network cut short, where rows cover whole maps.
func TestWindowsAreDense(t *testing.T) {
	for _, a := range deeper() {
		m, err := model.Random(a, 3)
		require.NoError(t, err)
		v := newCROWN(t, m, 1, Config{Method: MethodCROWN})
		w := newRelaxer(v.g)
		x := randomImage(a.Input.Size(), rand.New(rand.NewPCG(5, 5)))
		for _, norm := range []net.Norm{net.Linf, net.L2, net.L1} {
			ball := net.Ball{Norm: norm, Eps: net.MustEpsilon("0.05")}
			w.bothSides = true
			w.load(x, ball, ball.Box())
			w.bounds(true, 0)
			for i := range w.g.nodes {
				if !w.g.nodes[i].relu || i == len(w.g.nodes)-1 {
					continue
				}
				cut := *w.g
				cut.nodes, cut.maps = append([]node(nil), w.g.nodes[:i+1]...), w.g.maps[:i+2]
				cut.nodes[i].relu, cut.nodes[i].bends = false, nil
				c := newRelaxer(&cut)
				c.bothSides = true
				c.load(x, ball, ball.Box())
				c.bounds(true, 0)
				outs := cut.outputs()
				low := make([]float32, 2*outs)
				spec := &Spec{C: make([]float32, 2*outs*outs)}
				for o := range outs {
					spec.C[2*o*outs+o], spec.C[(2*o+1)*outs+o] = 1, -1
				}
				c.prove(statement{spec: spec}, low, false, 0)
				iv := w.intervalOf(i)
				plainIV := c.intervalOf(i)
				for o := range outs {
					lo, hi := max(low[2*o], plainIV.Lower[o]), min(-low[2*o+1], plainIV.Upper[o])
					if plainIV.Lower[o] >= 0 || plainIV.Upper[o] <= 0 {
						continue // known by its interval
					}
					scale := 1e-4 * (1 + math.Abs(float64(lo)) + math.Abs(float64(hi)))
					require.InDelta(t, lo, iv.Lower[o], scale, "%s %v layer %d output %d", a.Name, norm, i, o)
					require.InDelta(t, hi, iv.Upper[o], scale, "%s %v layer %d output %d", a.Name, norm, i, o)
				}
			}
		}
	}
}

// TestRelaxedBits: margins and bounds are the same bits for any kernel set, batch,
// compilation and number of threads.
func TestRelaxedBits(t *testing.T) {
	archs := deeper()
	for _, a := range []*model.Architecture{archs[1], archs[5], archs[6], archs[11]} {
		m, err := model.Random(a, 8)
		require.NoError(t, err)
		r := rand.New(rand.NewPCG(2, 2))
		const n = 5
		size := a.Input.Size()
		x, y := randomImage(n*size, r), make([]int, n)
		for i := range y {
			y[i] = r.IntN(a.Classes())
		}
		for method := MethodCROWNIBP; method <= MethodAlphaCROWN; method++ {
			ball := net.Ball{Norm: net.Norm(int(method) % 3), Eps: net.MustEpsilon("0.04")}
			var want []float32
			for _, isa := range kernels.Available() {
				for _, batches := range []net.Batches{net.AllBatches, net.LargeBatches, net.SmallBatches} {
					compiled, err := net.Compile(m, net.Options{ISA: isa.Name(), Batches: batches})
					require.NoError(t, err)
					for threads := 1; threads <= 2; threads++ {
						pool := kernels.NewPool(threads)
						v, err := NewCROWN(compiled, pool, Config{Method: method, Iterations: 3})
						require.NoError(t, err)
						var res Result
						require.NoError(t, v.Certify(context.Background(), ball, Batch{x, y}, &res))
						if want == nil {
							want = append(want, res.Margin...)
						}
						require.Equal(t, want, res.Margin, "%s %v %s", a.Name, method, isa.Name())
						require.NoError(t, v.Certify(context.Background(), ball, Batch{x[size : 3*size], y[1:3]}, &res))
						require.Equal(t, want[1:3], res.Margin)
						pool.Close()
					}
				}
			}
		}
	}
}

// TestLadder: each method is at least as tight as IBP; the ladder certifies what its
// last rung does, and names the first rung that is enough.
func TestLadder(t *testing.T) {
	a := deeper()[11]
	m, err := model.Random(a, 1)
	require.NoError(t, err)
	r := rand.New(rand.NewPCG(3, 3))
	const n = 24
	x, y := randomImage(n*a.Input.Size(), r), make([]int, n)
	logits := make([]float32, n*a.Classes())
	compiled := newIBP(t, m, 1)
	require.NoError(t, compiled.net.NewRunner(compiled.pool).Logits(context.Background(), logits, x, n))
	for i := range y {
		y[i] = net.Argmax(logits[i*a.Classes() : (i+1)*a.Classes()])
	}
	certified := map[Method]int{}
	for _, eps := range []string{"0.002", "0.01", "0.02", "0.04"} {
		ball := net.Ball{Eps: net.MustEpsilon(eps)}
		var by [4]Result
		for method := range by {
			v := newCROWN(t, m, 2, Config{Method: Method(method)})
			require.NoError(t, v.Certify(context.Background(), ball, Batch{x, y}, &by[method]))
		}
		v := newCROWN(t, m, 2, Config{Method: MethodAlphaCROWN, Ladder: true})
		var res Result
		require.NoError(t, v.Certify(context.Background(), ball, Batch{x, y}, &res))
		for i := range n {
			for method := range by {
				require.GreaterOrEqual(t, by[method].Margin[i], by[0].Margin[i])
				require.Equal(t, Method(method), by[method].Method[i])
			}
			require.Equal(t, res.Margin[i] > 0, res.Certified[i])
			if by[3].Certified[i] {
				require.True(t, res.Certified[i])
			}
			if res.Certified[i] {
				certified[res.Method[i]]++
				require.True(t, by[res.Method[i]].Certified[i])
				for below := range res.Method[i] {
					require.False(t, by[below].Certified[i])
				}
			}
		}
	}
	t.Log(certified)
	require.Len(t, certified, 4, "every rung decides somewhere")
}

// TestSpec: class margins as a specification of one's own are the same.
func TestSpec(t *testing.T) {
	a := deeper()[9] // ends in a map: outputs are channels first
	m, err := model.Random(a, 2)
	require.NoError(t, err)
	x := randomImage(a.Input.Size(), rand.New(rand.NewPCG(6, 1)))
	ball := net.Ball{Eps: net.MustEpsilon("0.01")}
	outs, y := a.Classes(), 3
	spec := &Spec{D: make([]float32, outs-1)}
	for j := range outs {
		if j != y {
			row := make([]float32, outs)
			row[y], row[j] = 1, -1
			spec.C = append(spec.C, row...)
		}
	}
	for method := range Methods() {
		_, want, err := newCROWN(t, m, 1, Config{Method: Method(method)}).Bounds(ball, x, y)
		require.NoError(t, err)
		v := newCROWN(t, m, 1, Config{Method: Method(method), Spec: spec})
		_, have, err := v.Bounds(ball, x, 0)
		require.NoError(t, err)
		require.Equal(t, append(append([]float32(nil), want[:y]...), want[y+1:]...), have)
		var res Result
		require.NoError(t, v.Certify(context.Background(), ball, Batch{X: x}, &res))
		require.Equal(t, worst(have), res.Margin[0])
		for i := range spec.D {
			spec.D[i] = 100
		}
		_, have, err = v.Bounds(ball, x, 0)
		require.NoError(t, err)
		require.Greater(t, worst(have), worst(want[:y])+90)
		clear(spec.D)
	}
	for _, bad := range []*Spec{{}, {C: make([]float32, outs+1)}, {C: make([]float32, outs), D: make([]float32, 2)}, {C: append(make([]float32, outs-1), float32(math.NaN()))}} {
		n, err := net.Compile(m, net.Options{})
		require.NoError(t, err)
		_, err = NewCROWN(n, kernels.NewPool(1), Config{Spec: bad})
		require.ErrorContains(t, err, "specification")
	}
}

// TestProof: the slopes are in [0, 1], and the bounds those of Certify.
func TestProof(t *testing.T) {
	a := deeper()[11]
	m, err := model.Random(a, 1)
	require.NoError(t, err)
	x := randomImage(a.Input.Size(), rand.New(rand.NewPCG(1, 1)))
	ball := net.Ball{Eps: net.MustEpsilon("0.03")}
	for method := range Methods() {
		v := newCROWN(t, m, 1, Config{Method: Method(method), RowsOnly: true})
		p, err := v.Prove(context.Background(), ball, x, 1)
		require.NoError(t, err)
		var res Result
		require.NoError(t, v.Certify(context.Background(), ball, Batch{x, []int{1}}, &res))
		require.InDelta(t, res.Margin[0], p.Margin, 1e-4)
		require.Equal(t, Method(method), p.Method)
		require.Len(t, p.Rows, a.Classes()-1)
		if method == 0 {
			require.Empty(t, p.Slopes)
			continue
		}
		require.Len(t, p.Slopes, 4)
		between := 0
		for _, s := range p.Slopes {
			require.Equal(t, method == 3, s.Rows != nil)
			for _, row := range append([][]float32{s.Alpha}, s.Rows...) {
				require.Len(t, row, v.g.maps[s.node+1].size())
				for _, al := range row {
					require.True(t, al >= 0 && al <= 1)
					if al > 0 && al < 1 {
						between++
					}
				}
			}
		}
		require.Equal(t, method == 3, between > 0)
	}
}

// TestProofOfOneLayer: rows of intervals alone go through the last ReLU, whose lines a
// checker sets itself.
func TestProofOfOneLayer(t *testing.T) {
	a := &model.Architecture{Name: "one", Input: model.Shape{C: 1, H: 1, W: 3}, Layers: []model.Layer{fc(3), relu}}
	m, err := model.Random(a, 1)
	require.NoError(t, err)
	x := []float32{0.2, 0.5, 0.8}
	for method := range Methods() {
		v := newCROWN(t, m, 1, Config{Method: Method(method)})
		p, err := v.Prove(context.Background(), net.Ball{Eps: net.MustEpsilon("0.1")}, x, 0)
		require.NoError(t, err)
		require.Equal(t, method > 0, len(p.Slopes) > 0)
	}
}

func TestCROWNDoesNotAllocate(t *testing.T) {
	a := deeper()[11]
	m, err := model.Random(a, 1)
	require.NoError(t, err)
	x := randomImage(3*a.Input.Size(), rand.New(rand.NewPCG(1, 1)))
	for method := range Methods() {
		v := newCROWN(t, m, 1, Config{Method: Method(method), Iterations: 2})
		var res Result
		ball := net.Ball{Eps: net.MustEpsilon("0.03")}
		b, ctx := Batch{x, []int{0, 1, 2}}, context.Background()
		var err error
		certify := func() { err = v.Certify(ctx, ball, b, &res) }
		certify()
		require.NoError(t, err)
		require.Zero(t, testing.AllocsPerRun(5, certify), "%v", Method(method))
	}
}

// TestRelaxedFailsClosed: what overflows is not certified, by any method.
func TestRelaxedFailsClosed(t *testing.T) {
	for _, scale := range []float32{1e13, 1e25, 1e38} {
		a := deeper()[2]
		m, err := model.Random(a, 3)
		require.NoError(t, err)
		for i := range m.Params {
			for k := range m.Params[i].W {
				m.Params[i].W[k] *= scale
			}
		}
		x := randomImage(9, rand.New(rand.NewPCG(1, 1)))
		for method := range Methods() {
			for norm := range 3 {
				v := newCROWN(t, m, 1, Config{Method: Method(method)})
				for y := range 5 {
					var res Result
					require.NoError(t, v.Certify(context.Background(), net.Ball{Norm: net.Norm(norm), Eps: net.MustEpsilon("0.1")}, Batch{x, []int{y}}, &res))
					require.False(t, res.Certified[0], "%v %v: margin %v", scale, Method(method), res.Margin[0])
					p, err := v.Prove(context.Background(), net.Ball{Norm: net.Norm(norm), Eps: net.MustEpsilon("0.1")}, x, y)
					require.NoError(t, err)
					require.False(t, p.Certified)
				}
			}
		}
	}
}

// TestConfig names what makes no sense.
func TestConfig(t *testing.T) {
	for i, name := range Methods() {
		m, err := ParseMethod(name)
		require.NoError(t, err)
		require.Equal(t, Method(i), m)
	}
	_, err := ParseMethod("deeppoly")
	require.ErrorContains(t, err, "ibp, crown-ibp, crown, alpha-crown")
	for _, c := range []struct {
		c    Config
		want string
	}{{Config{Method: 4}, "method"}, {Config{Method: -1}, "method"}, {Config{Iterations: -1}, "iterations"}} {
		require.ErrorContains(t, c.c.Validate(3), c.want)
	}
	require.ErrorContains(t, (&Config{}).Validate(1), "at least 2 classes")
	require.NoError(t, (&Config{Spec: &Spec{C: []float32{1}}}).Validate(1))
}

// TestPlantedUnsoundRows: the search finds rows that are a little too small on their
// way back, or it would prove nothing about them.
func TestPlantedUnsoundRows(t *testing.T) {
	r := rand.New(rand.NewPCG(8, 9))
	for _, a := range []*model.Architecture{deeper()[2], deeper()[5], deeper()[11]} {
		found := 0
		const rounds = 20
		for round := range rounds {
			m, err := model.Random(a, uint64(round))
			require.NoError(t, err)
			v := newCROWN(t, m, 1, Config{Method: MethodCROWN})
			x := randomImage(a.Input.Size(), r)
			ball := net.Ball{Eps: net.MustEpsilon("1e-4")}
			require.Nil(t, search(t, v, m, ball, x, 0, r, 16))
			d := v.g.nodes[1].op.(*relaxAffine)
			w := append([]float32(nil), d.affine.Weights()...)
			for i := range w {
				w[i] *= 0.99
			}
			d.adjoint.Pack(w, false)
			if search(t, v, m, ball, x, 0, r, 16) != nil {
				found++
			}
		}
		require.Greater(t, found, rounds/4, a.Name)
	}
}
