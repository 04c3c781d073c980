package net

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"

	"github.com/epsball/epsball/kernels"
	"github.com/epsball/epsball/model"
	"github.com/stretchr/testify/require"
)

// bitsNets returns the small nets and, where kernels are fast, a preset.
func bitsNets(t *testing.T, isa *kernels.ISA) []*model.Architecture {
	nets := smallNets()
	if isa.Name() != "generic" {
		nets = append(nets, preset(t, "mnist-small"))
	}
	return nets
}

// alone runs each image in a batch of its own: what every other run must repeat
// bit for bit.
func alone(n *Network, x []float32, count int, f lossOf) (z, g []float32) {
	w, size := n.NewWorkspace(1, false), n.Input().Size()
	for i := range count {
		_, zi, gi := pass(w, x[i*size:(i+1)*size], 1, func(int) (Loss, int, int) { return f(i) })
		z, g = append(z, zi...), append(g, gi...)
	}
	return z, g
}

// TestBitsAnyBatch: logits and gradients of an image do not depend on the
// size of its batch, on the pool or on the kernel set.
func TestBitsAnyBatch(t *testing.T) {
	most := 40
	if testing.Short() {
		most = 17 // one more than two lane groups
	}
	ctx := context.Background()
	for _, isa := range kernels.Available() {
		for _, a := range bitsNets(t, isa) {
			t.Run(isa.Name()+"/"+a.Name, func(t *testing.T) {
				m := randomModel(t, a, 7)
				n, size := compile(t, m, isa.Name()), a.Input.Size()
				x := randomImages(rand.New(rand.NewPCG(5, 6)), most, size)
				labels := crossEntropy(n.Classes())
				z, g := alone(compile(t, m, kernels.Available()[0].Name()), x, most, labels)
				w := n.NewWorkspace(most, false)
				for workers := 1; workers <= 3; workers++ {
					pool := kernels.NewPool(workers)
					defer pool.Close()
					run := n.NewRunner(pool)
					for count := range most + 1 {
						have := make([]float32, count*n.Classes())
						require.NoError(t, run.Logits(ctx, have, x[:count*size], count))
						requireBits(t, z[:len(have)], have, count, " images, ", workers, " workers")
					}
				}
				for count := 1; count <= most; count++ {
					if raceEnabled && count%7 != 1 {
						continue
					}
					_, zn, gn := pass(w, x[:count*size], count, labels)
					requireBits(t, z[:len(zn)], zn, "logits of ", count)
					requireBits(t, g[:len(gn)], gn, "gradients of ", count)
				}
			})
		}
	}
}

// TestBitsAnyComposition: nor on its neighbours and its lane.
func TestBitsAnyComposition(t *testing.T) {
	const images = 20
	for _, isa := range kernels.Available() {
		for _, a := range bitsNets(t, isa) {
			t.Run(isa.Name()+"/"+a.Name, func(t *testing.T) {
				r := rand.New(rand.NewPCG(8, 9))
				n, size := compile(t, randomModel(t, a, 8), isa.Name()), a.Input.Size()
				x := randomImages(r, images, size)
				labels := crossEntropy(n.Classes())
				z, g := alone(n, x, images, labels)
				w := n.NewWorkspace(40, false)
				for range 10 {
					var list []int // with repetitions
					var batch []float32
					for range 1 + r.IntN(40) {
						i := r.IntN(images)
						list = append(list, i)
						batch = append(batch, x[i*size:(i+1)*size]...)
					}
					_, zn, gn := pass(w, batch, len(list), func(k int) (Loss, int, int) { return labels(list[k]) })
					for k, i := range list {
						c := n.Classes()
						requireBits(t, z[i*c:(i+1)*c], zn[k*c:(k+1)*c], list)
						requireBits(t, g[i*size:(i+1)*size], gn[k*size:(k+1)*size], list)
					}
				}
			})
		}
	}
}

// TestBitsViews: disjoint views on different goroutines give what the whole
// workspace gives.
func TestBitsViews(t *testing.T) {
	const images = 5 * kernels.Lanes
	for _, a := range smallNets() {
		n, size := compile(t, randomModel(t, a, 9), ""), a.Input.Size()
		c, labels := n.Classes(), crossEntropy(n.Classes())
		x := randomImages(rand.New(rand.NewPCG(1, 9)), images, size)
		for _, keep := range []bool{false, true} {
			_, wantZ, wantG := pass(n.NewWorkspace(images, keep), x, images, labels)
			w := n.NewWorkspace(images, keep)
			z, g := make([]float32, len(wantZ)), make([]float32, len(wantG))
			var wg sync.WaitGroup
			for _, part := range [][2]int{{0, 1}, {1, 4}, {4, 5}} {
				view, from, to := w.View(part[0], part[1]), part[0]*kernels.Lanes, part[1]*kernels.Lanes
				require.Equal(t, to-from, view.Images())
				wg.Go(func() {
					_, zn, gn := pass(view, x[from*size:to*size], to-from, func(k int) (Loss, int, int) { return labels(from + k) })
					copy(z[from*c:to*c], zn)
					copy(g[from*size:to*size], gn)
				})
			}
			wg.Wait()
			requireBits(t, wantZ, z, a.Name)
			requireBits(t, wantG, g, a.Name)
			shared := unpackAll(w.Logits(), model.Shape{C: c, H: 1, W: 1}, images)
			requireBits(t, wantZ, shared, "views share the workspace's buffers")
		}
	}
}

// TestViewsAreDisjoint: no buffer of one view overlaps any of another, also of
// another layer, so that views may be at different layers at one time.
func TestViewsAreDisjoint(t *testing.T) {
	for _, a := range []*model.Architecture{smallNets()[3], smallNets()[8]} {
		testViewsAreDisjoint(t, compile(t, randomModel(t, a, 1), ""))
	}
}

func testViewsAreDisjoint(t *testing.T, n *Network) {
	for _, keep := range []bool{false, true} {
		w := n.NewWorkspace(6*kernels.Lanes, keep)
		all := func(v *Workspace) [][]float32 {
			return slices.Concat(v.acts, v.grads, [][]float32{v.sum, v.out, v.dout})
		}
		mark := func(v *Workspace, with float32) {
			for _, b := range all(v) {
				for i := range b[:cap(b)] {
					b[:cap(b)][i] = with
				}
			}
		}
		views := []*Workspace{w.View(0, 2), w.View(2, 3), w.View(3, 6).View(0, 1), w.View(3, 6).View(1, 3)}
		for i, v := range views {
			mark(v, float32(i))
		}
		for i, v := range views {
			for layer, b := range all(v) {
				for _, have := range b {
					require.EqualValues(t, i, have, "keep %v, layer %d", keep, layer%len(v.acts))
				}
			}
		}
	}
}

func unpackAll(t []float32, s model.Shape, n int) []float32 {
	out := make([]float32, n*s.Size())
	for i := range n {
		LaneGroups.Unpack(out[i*s.Size():(i+1)*s.Size()], Group(t, s.Size(), i/kernels.Lanes), s, i%kernels.Lanes)
	}
	return out
}

// TestBitsWeightGradient: parts in any order, on one goroutine or several,
// after Backward or BackwardToWeights, with any kernel set.
func TestBitsWeightGradient(t *testing.T) {
	const images = 21
	groups := kernels.Groups(images)
	for k, a := range smallNets() {
		m := randomModel(t, a, 10)
		x := randomImages(rand.New(rand.NewPCG(2, 9)), images, a.Input.Size())
		var want []model.Param
		for _, isa := range kernels.Available() {
			n := compile(t, m, isa.Name())
			w := n.NewWorkspace(images, true)
			pass(w, x, images, crossEntropy(n.Classes()))
			wg := n.NewWeightGradient()
			r := rand.New(rand.NewPCG(uint64(k), 0))
			for round := range 4 {
				if round == 3 {
					w.BackwardToWeights(groups)
				}
				for _, p := range wg.Params { // what was there before does not matter
					for _, s := range [][]float32{p.W, p.B} {
						for i := range s {
							s[i] = 99
						}
					}
				}
				order := r.Perm(wg.Tasks())
				var group sync.WaitGroup
				goroutines := 1 + round
				for part := range goroutines {
					group.Go(func() {
						sc := new(kernels.Scratch)
						for i := part; i < len(order); i += goroutines {
							wg.Apply(sc, w, groups, order[i])
						}
					})
				}
				group.Wait()
				if want == nil {
					for _, p := range wg.Params {
						want = append(want, model.Param{W: slices.Clone(p.W), B: slices.Clone(p.B)})
					}
				}
				for i, p := range wg.Params {
					requireBits(t, want[i].W, p.W, a.Name, " weights of layer ", i)
					requireBits(t, want[i].B, p.B, a.Name, " biases of layer ", i)
				}
			}
		}
	}
}

// TestReload: after the weights changed in place, layers packed again (each on
// its own goroutine) make the network that compiling afresh makes.
func TestReload(t *testing.T) {
	for _, a := range smallNets() {
		m, other := randomModel(t, a, 11), randomModel(t, a, 12)
		x := randomImages(rand.New(rand.NewPCG(4, 4)), 9, a.Input.Size())
		n := compile(t, m, "")
		_, before, _ := pass(n.NewWorkspace(9, false), x, 9, crossEntropy(n.Classes()))
		for i, p := range other.Params {
			copy(m.Params[i].W, p.W)
			copy(m.Params[i].B, p.B)
			copy(m.Params[i].Mean, p.Mean)
			copy(m.Params[i].Var, p.Var)
		}
		var wg sync.WaitGroup
		for i := range n.ReloadTasks() {
			wg.Go(func() { n.Reload(i) })
		}
		wg.Wait()
		_, z, g := pass(n.NewWorkspace(9, false), x, 9, crossEntropy(n.Classes()))
		_, wantZ, wantG := pass(compile(t, other, "").NewWorkspace(9, false), x, 9, crossEntropy(n.Classes()))
		requireBits(t, wantZ, z, a.Name)
		requireBits(t, wantG, g, a.Name)
		require.NotEqual(t, before, z)
	}
}

// TestConcurrentRunners: one network, many goroutines with a runner each, two
// of them on the same pool.
func TestConcurrentRunners(t *testing.T) {
	a := smallNets()[4]
	n := compile(t, randomModel(t, a, 13), "")
	x := randomImages(rand.New(rand.NewPCG(6, 6)), 30, a.Input.Size())
	want, _ := alone(n, x, 30, crossEntropy(n.Classes()))
	pool := kernels.NewPool(3)
	defer pool.Close()
	var wg sync.WaitGroup
	results := make([][]float32, 4)
	errs := make([]error, 4)
	for i := range results {
		results[i] = make([]float32, len(want))
		wg.Go(func() {
			p := pool
			if i > 1 {
				p = kernels.NewPool(2)
				defer p.Close()
			}
			run := n.NewRunner(p)
			for range 20 {
				errs[i] = run.Logits(t.Context(), results[i], x, 30)
			}
		})
	}
	wg.Wait()
	for i, have := range results {
		require.NoError(t, errs[i])
		requireBits(t, want, have, "runner ", i)
	}
}

func TestChunks(t *testing.T) {
	for groups := range 60 {
		for workers := 1; workers <= 9; workers++ {
			n, next := Chunks(kernels.Default(), groups, workers), 0
			for i := range n {
				from, to := Chunk(groups, n, i)
				require.Equal(t, next, from)
				require.Positive(t, to-from, "an empty chunk")
				require.LessOrEqual(t, to-from, kernels.Default().TileGroups())
				next = to
			}
			require.Equal(t, groups, next, fmt.Sprint(groups, " groups, ", workers, " workers"))
		}
	}
}

func TestLanes(t *testing.T) {
	s := model.Shape{C: 3, H: 2, W: 5}
	r := rand.New(rand.NewPCG(1, 1))
	for n := range 18 {
		x := randomImages(r, n, s.Size())
		packed := make([]float32, kernels.Groups(n)*s.Size()*kernels.Lanes)
		for i := range packed {
			packed[i] = 99
		}
		PackLanes(packed, x, s, n)
		require.Equal(t, x, unpackAll(packed, s, n))
		for i := n; i < kernels.Groups(n)*kernels.Lanes; i++ {
			img := make([]float32, s.Size())
			LaneGroups.Unpack(img, Group(packed, s.Size(), i/kernels.Lanes), s, i%kernels.Lanes)
			require.Equal(t, make([]float32, s.Size()), img, "lane without an image")
		}
		if n > 0 { // [group][H][W][C][8]
			require.Equal(t, x[(n-1)*s.Size()+(2*s.H+1)*s.W+3], packed[((n-1)/kernels.Lanes*s.Size()+(1*s.W+3)*s.C+2)*kernels.Lanes+(n-1)%kernels.Lanes])
		}
	}
	src := randomImages(r, 4, s.Size())
	dst, back := make([]float32, len(src)), make([]float32, len(src))
	isa := kernels.Available()[0]
	MapColumns(isa, dst, src, s)
	UnmapColumns(isa, back, dst, s)
	require.Equal(t, src, back)
	require.Equal(t, src[s.Size()+(2*s.H+1)*s.W+3], dst[s.Size()+(1*s.W+3)*s.C+2])
}
