package net

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/epsball/epsball/kernels"
	"github.com/epsball/epsball/model"
)

// normNets are those with batch norms, in places that smallNets have none too.
func normNets() []*model.Architecture {
	nets := []*model.Architecture{
		{Name: "norms-of-one-activation", Input: model.Shape{C: 2, H: 5, W: 4}, Layers: []model.Layer{
			batchNorm, conv(4, 3, 2, 1, 1, 1, 0), relu, batchNorm, from(2, batchNorm), relu, add(3, 5), // 6: 2 is read twice, 3 by a sum alone
			{Kind: model.Concat, Inputs: []int{6, 2, 3}}, conv(3, 2, 2, 1, 1, 0, 0), batchNorm, from(9, relu), add(9, 10), fc(4), batchNorm, // ends in one
		}},
		{Name: "norm-on-a-map", Input: model.Shape{C: 2, H: 3, W: 2}, Layers: []model.Layer{
			conv(3, 2, 1, 1, 1, 0, 0), batchNorm, {Kind: model.Tanh}, conv(3, 1, 1, 1, 1, 0, 0), batchNorm, relu, // outputs in another order, through a ReLU
		}},
	}
	for _, a := range smallNets() {
		if slices.ContainsFunc(a.Layers, func(l model.Layer) bool { return l.Kind == model.BatchNorm }) {
			nets = append(nets, a)
		}
	}
	return nets
}

// trainingPass runs a batch cut into parts of the given numbers of lane groups through
// one trace, and returns the logits, [image][class].
func trainingPass(n *Network, w *Workspace, b *BatchStatistics, x []float32, images int, parts []int) []float32 {
	groups, size, classes := kernels.Groups(images), n.input.Size(), n.Classes()
	packed := kernels.Alloc(groups * size * kernels.Lanes)
	PackLanes(packed, x, n.input, images)
	var all []*BatchPart
	var pixels [][]float32
	for at, k := 0, 0; at < groups; k++ {
		to := min(groups, at+parts[k%len(parts)])
		all, pixels = append(all, b.Part(w.View(at, to), at)), append(pixels, packed[at*size*kernels.Lanes:])
		at = to
	}
	for s := range b.Segments() {
		for k, p := range all {
			p.Forward(pixels[k], s)
		}
		b.ReduceForward(s)
	}
	z, d := make([]float32, images*classes), make([]float32, classes)
	clear(w.LogitGradient())
	for _, p := range all {
		clear(p.w.LogitGradient()) // outputs in another order have a copy
		for i := range p.w.Images() {
			image := p.from*kernels.Lanes + i
			if image >= images {
				break
			}
			zi := z[image*classes:][:classes]
			LaneGroups.Gather(zi, p.w.Logits(), i)
			CrossEntropy.Gradient(d, zi, image%classes, Untargeted)
			LaneGroups.Scatter(p.w.LogitGradient(), d, i)
		}
	}
	for s := b.Segments() - 1; s >= 0; s-- {
		for _, p := range all {
			p.Backward(s)
		}
		b.ReduceBackward(s)
	}
	return z
}

// TestBatchStatistics compares passes in training mode with a float64 reference that
// normalises by the definition: outputs, statistics, and the gradient of the summed loss
// to all parameters with central differences. Parts, and what the buffers held before,
// must not change a bit.
func TestBatchStatistics(t *testing.T) {
	const images = 19 // three lane groups, the last with three images
	for _, a := range normNets() {
		t.Run(a.Name, func(t *testing.T) {
			m := randomModel(t, a, 7)
			n := compile(t, m, "")
			r := rand.New(rand.NewPCG(8, 9))
			x := make([]float32, images*a.Input.Size())
			for i := range x {
				x[i] = r.Float32()
			}
			w, wg, b := n.NewWorkspace(images, true), n.NewWeightGradient(), n.NewBatchStatistics(images, 1)
			wg.UseBatch(b)
			var z []float32
			var before [][]float32
			for _, parts := range [][]int{{3}, {1}, {2, 1}} {
				for _, buf := range slices.Concat(w.acts, w.grads) {
					for i := range buf {
						buf[i] = float32(math.NaN())
					}
				}
				z = trainingPass(n, w, b, x, images, parts)
				got := [][]float32{z}
				for task := range wg.Tasks() {
					wg.Apply(w.Scratch(), w, kernels.Groups(images), task)
				}
				for _, p := range wg.Params {
					got = append(got, slices.Clone(p.W), slices.Clone(p.B))
				}
				for k := range before {
					requireBits(t, before[k], got[k], parts, k)
				}
				before = got
			}

			ref := newReference(t, m)
			var batch [][]float64
			for i := range images {
				batch = append(batch, widen(x[i*a.Input.Size():(i+1)*a.Input.Size()]))
			}
			want, _ := ref.train(batch)
			requireClose(t, slices.Concat(want...), z, 1e-5)
			for _, norm := range b.norms {
				i := n.nodes[norm.node].Index
				for c := range norm.Mean {
					require.InDelta(t, ref.mean[i][c], norm.Mean[c], 1e-5)
					require.InEpsilon(t, ref.variance[i][c], norm.Var[c], 1e-4)
				}
			}
			slope := func(v *float64) (float64, bool) {
				const h = 1e-5
				keep := *v
				*v = keep + h
				up, openUp := ref.train(batch)
				*v = keep - h
				down, openDown := ref.train(batch)
				*v = keep
				sum := 0.0
				for i := range images {
					sum += refLoss(CrossEntropy, up[i], i%n.Classes(), Untargeted) - refLoss(CrossEntropy, down[i], i%n.Classes(), Untargeted)
				}
				return sum / (2 * h), slices.Equal(openUp, openDown)
			}
			scale := 0.0 // a bias in front of a batch norm has a gradient of rounding alone
			for _, p := range wg.Params {
				for _, v := range slices.Concat(p.W, p.B) {
					scale = max(scale, math.Abs(float64(v)))
				}
			}
			skipped, all := 0, 0
			for i, p := range wg.Params {
				for k, at := range [][]float64{ref.w[i], ref.b[i]} {
					have := [][]float32{p.W, p.B}[k]
					for _, j := range r.Perm(len(at))[:min(12, len(at))] {
						all++
						s, ok := slope(&at[j])
						if !ok {
							skipped++
							continue
						}
						require.InDelta(t, s, float64(have[j]), 3e-5*scale, "layer %d, %d, of scale %v", i, j, scale)
					}
				}
			}
			require.LessOrEqual(t, skipped, all/3)

			running := slices.Clone(m.Params)
			for i := range running {
				running[i].Mean, running[i].Var = slices.Clone(running[i].Mean), slices.Clone(running[i].Var)
			}
			b.UpdateRunning()
			shapes, err := a.Shapes()
			require.NoError(t, err)
			for i, p := range m.Params {
				values := float64(images * shapes[i+1].H * shapes[i+1].W)
				for c := range p.Mean {
					require.InDelta(t, 0.9*float64(running[i].Mean[c])+0.1*ref.mean[i][c], p.Mean[c], 1e-6)
					require.InDelta(t, 0.9*float64(running[i].Var[c])+0.1*ref.variance[i][c]*values/(values-1), p.Var[c], 1e-6)
				}
			}
		})
	}
}

// train returns the outputs for a batch in training mode and which kinks are open, and
// leaves the statistics in mean and variance.
func (r *reference) train(batch [][]float64) (z [][]float64, open []bool) {
	for i, l := range r.arch.Layers {
		if l.Kind != model.BatchNorm {
			continue
		}
		sub := *r // the network up to the input of the batch norm
		arch := *r.arch
		arch.Layers = arch.Layers[:r.arch.InputsOf(i)[0]+1]
		sub.arch = &arch
		c, hw := r.shapes[i+1].C, r.shapes[i+1].H*r.shapes[i+1].W
		mean, variance := make([]float64, c), make([]float64, c)
		var all [][]float64
		for _, x := range batch {
			y, _ := sub.forward(x)
			all = append(all, y)
			for k, v := range y {
				mean[k/hw] += v / float64(len(batch)*hw)
			}
		}
		for _, y := range all {
			for k, v := range y {
				variance[k/hw] += (v - mean[k/hw]) * (v - mean[k/hw]) / float64(len(batch)*hw)
			}
		}
		if r.mean == nil {
			r.mean, r.variance = map[int][]float64{}, map[int][]float64{}
		}
		r.mean[i], r.variance[i] = mean, variance
	}
	for _, x := range batch {
		y, o := r.forward(x)
		z, open = append(z, y), append(open, o...)
	}
	return z, open
}

// TestStatisticsOfCopies: copies that equal their images have the images' statistics and
// logits and, each with its share of the gradient, their gradients.
func TestStatisticsOfCopies(t *testing.T) {
	const images, copies, groups = 11, 3, 2
	for _, a := range normNets() {
		n := compile(t, randomModel(t, a, 7), "")
		size := LaneGroups.Len(1, a.Input.Size())
		x := kernels.Alloc(groups * size)
		PackLanes(x, randomImages(rand.New(rand.NewPCG(2, 3)), images, a.Input.Size()), a.Input, images)
		var want []float32
		for _, copies := range []int{1, copies} {
			repeated := kernels.Alloc(groups * copies * size)
			for g := range groups * copies {
				copy(repeated[g*size:], Group(x, a.Input.Size(), g/copies))
			}
			w, wg, b := n.NewWorkspace(groups*copies*kernels.Lanes, true), n.NewWeightGradient(), n.NewBatchStatistics(images, copies)
			wg.UseBatch(b)
			p := b.Part(w, 0)
			for s := range b.Segments() {
				p.Forward(repeated, s)
				b.ReduceForward(s)
			}
			var got []float32
			d, z := make([]float32, n.Classes()), make([]float32, n.Classes())
			clear(w.LogitGradient())
			for i := range groups * copies * kernels.Lanes {
				image := i/(copies*kernels.Lanes)*kernels.Lanes + i%kernels.Lanes
				if image >= images {
					continue
				}
				LaneGroups.Gather(z, w.Logits(), i)
				CrossEntropy.Gradient(d, z, image%n.Classes(), Untargeted)
				for j := range d {
					d[j] /= float32(copies)
				}
				LaneGroups.Scatter(w.LogitGradient(), d, i)
				if i/kernels.Lanes%copies == copies-1 {
					got = append(got, z...)
				}
			}
			for s := b.Segments() - 1; s >= 0; s-- {
				p.Backward(s)
				b.ReduceBackward(s)
			}
			for task := range wg.Tasks() {
				wg.Apply(w.Scratch(), w, groups*copies, task)
			}
			for _, p := range wg.Params {
				got = append(got, slices.Concat(p.W, p.B)...)
			}
			if want == nil {
				want = got
			}
			require.Len(t, got, len(want))
			for i, v := range want {
				require.InDelta(t, v, got[i], 1e-4*(1+math.Abs(float64(v))), "%s: value %d", a.Name, i)
			}
		}
	}
}

// TestEvaluationAfterTraining: passes in training mode leave those in evaluation mode as
// they were, and need no memory.
func TestEvaluationAfterTraining(t *testing.T) {
	const images = 16
	a := normNets()[0]
	n := compile(t, randomModel(t, a, 3), "")
	x := randomImages(rand.New(rand.NewPCG(1, 1)), images, a.Input.Size())
	w, b := n.NewWorkspace(images, true), n.NewBatchStatistics(images, 1)
	_, want, gradient := pass(w, x, images, crossEntropy(4))
	z := trainingPass(n, w, b, x, images, []int{1})
	require.NotEqual(t, want, z)
	_, have, again := pass(w, x, images, crossEntropy(4))
	requireBits(t, want, have)
	requireBits(t, gradient, again)
	if raceEnabled {
		return // the race detector allocates
	}
	p, packed := b.Part(w.View(0, 2), 0), kernels.Alloc(images*a.Input.Size())
	require.Zero(t, testing.AllocsPerRun(20, func() {
		for s := range b.Segments() {
			p.Forward(packed, s)
			b.ReduceForward(s)
		}
		for s := b.Segments() - 1; s >= 0; s-- {
			p.Backward(s)
			b.ReduceBackward(s)
		}
	}))
	require.Panics(t, func() { b.Part(w.View(0, 2), 1) })
}

// TestChannelSums: exact where float64 is, and lanes without an image do not count.
func TestChannelSums(t *testing.T) {
	const channels, pixels = 3, 5
	r := rand.New(rand.NewPCG(4, 4))
	a, b := make([]float32, pixels*channels*kernels.Lanes), make([]float32, pixels*channels*kernels.Lanes)
	for lanes := 1; lanes <= kernels.Lanes; lanes++ {
		for i := range a {
			a[i], b[i] = float32(r.IntN(1<<20)-1<<19), float32(r.IntN(1<<20)-1<<19)
		}
		sums, products := []float64{1, 2, 3}, []float64{4, 5, 6}
		wantS, wantP := slices.Clone(sums), slices.Clone(products)
		for i := range a {
			if i%kernels.Lanes < lanes {
				wantS[i/kernels.Lanes%channels] += float64(a[i])
				wantP[i/kernels.Lanes%channels] += float64(a[i]) * float64(b[i])
			}
		}
		channelSums(sums, products, a, b, lanes)
		require.Equal(t, wantS, sums)
		require.Equal(t, wantP, products)
	}
}
