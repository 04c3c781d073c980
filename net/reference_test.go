package net

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/epsball/epsball/kernels"
	"github.com/epsball/epsball/model"
	"github.com/stretchr/testify/require"
)

// reference is the same network in float64: plain loops over channels-first
// arrays that share no code with the package.
type reference struct {
	arch   *model.Architecture
	shapes []model.Shape
	w, b   [][]float64
	params []model.Param

	mean, variance map[int][]float64 // of batch norms in training, see train; nil: the running ones
}

func newReference(t testing.TB, m *model.Model) *reference {
	shapes, err := m.Arch.Shapes()
	require.NoError(t, err)
	r := &reference{arch: &m.Arch, shapes: shapes, params: m.Params}
	for _, p := range m.Params {
		r.w, r.b = append(r.w, widen(p.W)), append(r.b, widen(p.B))
	}
	return r
}

func widen(v []float32) []float64 {
	out := make([]float64, len(v))
	for i, x := range v {
		out[i] = float64(x)
	}
	return out
}

// forward returns the logits and which ReLUs are open.
func (r *reference) forward(x []float64) (z []float64, open []bool) {
	outs := [][]float64{x}
	for i, l := range r.arch.Layers {
		in, y := r.shapes[r.arch.InputsOf(i)[0]+1], []float64(nil)
		x = outs[r.arch.InputsOf(i)[0]+1]
		switch l.Kind {
		case model.Normalize:
			for k, v := range x {
				c := k / (in.H * in.W)
				y = append(y, (v-float64(l.Mean[c]))/float64(l.Std[c]))
			}
		case model.ReLU:
			for _, v := range x {
				open = append(open, v > 0)
				y = append(y, max(v, 0))
			}
		case model.FC:
			for o := range l.Out {
				s := r.b[i][o]
				for k, w := range r.w[i][o*len(x) : (o+1)*len(x)] {
					s += w * x[k]
				}
				y = append(y, s)
			}
		case model.Conv:
			y = r.conv(i, in, x)
		case model.Add:
			for k, v := range outs[l.Inputs[1]+1] {
				y = append(y, x[k]+v)
			}
		case model.Concat:
			for _, k := range l.Inputs {
				y = append(y, outs[k+1]...)
			}
		case model.MaxPool, model.AvgPool:
			var first []bool
			y, first = r.pool(i, in, x)
			open = append(open, first...)
		default:
			for k, v := range x {
				c := k / (in.H * in.W)
				switch l.Kind {
				case model.BatchNorm:
					mean, variance := float64(r.params[i].Mean[c]), float64(r.params[i].Var[c])
					if r.mean != nil {
						mean, variance = r.mean[i][c], r.variance[i][c]
					}
					v = (v-mean)/math.Sqrt(variance+float64(l.Eps))*r.w[i][c] + r.b[i][c]
				case model.LeakyReLU:
					open = append(open, v > 0)
					if v <= 0 {
						v *= float64(l.Slope[min(c, len(l.Slope)-1)])
					}
				case model.Clip:
					open = append(open, v > float64(l.Min), v < float64(l.Max))
					v = min(max(v, float64(l.Min)), float64(l.Max))
				case model.Sigmoid:
					v = 1 / (1 + math.Exp(-v))
				case model.Tanh:
					v = math.Tanh(v)
				default:
					panic(l.Kind)
				}
				y = append(y, v)
			}
		}
		outs = append(outs, y)
	}
	return outs[len(outs)-1], open
}

// pool returns the values of a pool and, of a maximum, which pixel of each window it is.
func (r *reference) pool(i int, in model.Shape, x []float64) (y []float64, first []bool) {
	l, out := r.arch.Layers[i], r.shapes[i+1]
	for c := range out.C {
		for oy := range out.H {
			for ox := range out.W {
				sum, most, n := 0.0, math.Inf(-1), 0
				from := len(first)
				for ky := range l.Kernel[0] {
					for kx := range l.Kernel[1] {
						iy, ix := oy*l.Stride[0]+ky-l.Padding[0], ox*l.Stride[1]+kx-l.Padding[1]
						if iy < 0 || iy >= in.H || ix < 0 || ix >= in.W {
							continue
						}
						v := x[(c*in.H+iy)*in.W+ix]
						if v > most {
							clear(first[from:])
						}
						first = append(first, v > most)
						most = max(most, v)
						sum += v
						n++
					}
				}
				if l.CountPadding {
					n = l.Kernel[0] * l.Kernel[1]
				}
				if l.Kind == model.MaxPool {
					y = append(y, most)
				} else {
					y, first = append(y, sum/float64(n)), first[:from]
				}
			}
		}
	}
	return y, first
}

func (r *reference) conv(i int, in model.Shape, x []float64) []float64 {
	l, out := r.arch.Layers[i], r.shapes[i+1]
	y := make([]float64, out.Size())
	for o := range out.C {
		for oy := range out.H {
			for ox := range out.W {
				s := r.b[i][o]
				channels := in.C / l.GroupCount()
				group := o / (out.C / l.GroupCount())
				for c := range channels {
					for ky := range l.Kernel[0] {
						iy := oy*l.Stride[0] + ky*l.Dilations()[0] - l.Padding[0]
						if iy < 0 || iy >= in.H {
							continue
						}
						row := x[((group*channels+c)*in.H+iy)*in.W:][:in.W]
						w := r.w[i][((o*channels+c)*l.Kernel[0]+ky)*l.Kernel[1]:]
						for kx := range l.Kernel[1] {
							if ix := ox*l.Stride[1] + kx*l.Dilations()[1] - l.Padding[1]; ix >= 0 && ix < in.W {
								s += w[kx] * row[ix]
							}
						}
					}
				}
				y[(o*out.H+oy)*out.W+ox] = s
			}
		}
	}
	return y
}

// refLoss is each loss from its definition.
func refLoss(l Loss, z []float64, y, target int) float64 {
	best := func(except int) float64 {
		b := math.Inf(-1)
		for j, v := range z {
			if j != except {
				b = max(b, v)
			}
		}
		return b
	}
	order := slices.Clone(z)
	slices.SortFunc(order, func(a, b float64) int { return -compare(a, b) })
	switch {
	case l == CrossEntropy:
		sum := 0.0
		for _, v := range z {
			sum += math.Exp(v - order[0])
		}
		if target >= 0 {
			return z[target] - order[0] - math.Log(sum)
		}
		return -(z[y] - order[0] - math.Log(sum))
	case l == Margin && target >= 0:
		return z[target] - best(target)
	case l == Margin:
		return best(y) - z[y]
	case target >= 0:
		return -(z[y] - z[target]) / (order[0] - (order[2]+order[3])/2)
	}
	return -(z[y] - best(y)) / (order[0] - order[2])
}

func compare(a, b float64) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

// ranks is the order of the logits, which a kink of Margin or DLR changes.
func ranks(z []float64) []int {
	r := make([]int, len(z))
	for i := range r {
		r[i] = i
	}
	slices.SortStableFunc(r, func(a, b int) int { return -compare(z[a], z[b]) })
	return r
}

// allLosses lists every loss, untargeted and targeted.
var allLosses = []struct {
	loss     Loss
	targeted bool
}{{CrossEntropy, false}, {CrossEntropy, true}, {Margin, false}, {Margin, true}, {DLR, false}, {DLR, true}}

func lossName(l Loss, targeted bool) string {
	if targeted {
		return l.String() + ".targeted"
	}
	return l.String()
}

func randomModel(t testing.TB, a *model.Architecture, seed uint64) *model.Model {
	m, err := model.Random(a, seed)
	require.NoError(t, err)
	r := rand.New(rand.NewPCG(seed, 99))
	for i := range m.Params {
		for c := range m.Params[i].Mean { // the statistics of a batchnorm
			p := &m.Params[i]
			p.Mean[c], p.Var[c] = r.Float32()-0.5, 0.2+r.Float32()
			p.W[c], p.B[c] = 0.5+r.Float32(), r.Float32()-0.5
		}
	}
	return m
}

func preset(t testing.TB, name string) *model.Architecture {
	a, err := model.Preset(name)
	require.NoError(t, err)
	return a
}

func compile(t testing.TB, m *model.Model, isa string) *Network {
	n, err := Compile(m, Options{ISA: isa, Backward: true})
	require.NoError(t, err)
	return n
}

// randomImages draws multiples of 1/255, with many zeros and ones.
func randomImages(r *rand.Rand, n, size int) []float32 {
	x := make([]float32, n*size)
	for i := range x {
		x[i] = float32(min(255, max(0, r.IntN(340)-42))) / 255
	}
	return x
}

// onlyGeneric tells that this machine or build has no fast kernels, so that
// tests must be small.
func onlyGeneric() bool { return len(kernels.Available()) == 1 }

// lossOf gives the loss, label and target of one image.
type lossOf func(image int) (l Loss, y, target int)

// pass runs n images forward and backward through one workspace and returns
// losses, logits and pixel gradients, channels first.
func pass(w *Workspace, x []float32, n int, f lossOf) (loss, z, g []float32) {
	s, classes := w.net.Input(), w.net.Classes()
	groups := kernels.Groups(n)
	packed := kernels.Alloc(groups * s.Size() * kernels.Lanes)
	PackLanes(packed, x, s, n)
	logits := w.Forward(packed, groups)
	loss, z, g = make([]float32, n), make([]float32, n*classes), make([]float32, n*s.Size())
	d := make([]float32, classes)
	clear(w.LogitGradient())
	for i := range n {
		zi := z[i*classes : (i+1)*classes]
		LaneGroups.Gather(zi, logits, i)
		l, y, target := f(i)
		loss[i] = l.Gradient(d, zi, y, target)
		LaneGroups.Scatter(w.LogitGradient(), d, i)
	}
	dx := w.Backward(groups)
	for i := range n {
		LaneGroups.Unpack(g[i*s.Size():(i+1)*s.Size()], Group(dx, s.Size(), i/kernels.Lanes), s, i%kernels.Lanes)
	}
	return loss, z, g
}

// crossEntropy gives every image a label of its own.
func crossEntropy(classes int) lossOf {
	return func(i int) (Loss, int, int) { return CrossEntropy, i % classes, Untargeted }
}

// requireClose compares with an error relative to the largest element of want.
func requireClose(t *testing.T, want []float64, have []float32, tol float64, msg ...any) {
	t.Helper()
	require.Len(t, have, len(want), msg...)
	scale := 0.0
	for _, v := range want {
		scale = max(scale, math.Abs(v))
	}
	for i, v := range want {
		if e := math.Abs(float64(have[i]) - v); !(e <= tol*scale) {
			require.Failf(t, "too far", "%v: at %d want %v, have %v: off by %.3g of the largest, allowed %.3g",
				fmt.Sprint(msg...), i, v, have[i], e/scale, tol)
		}
	}
}

func requireBits(t *testing.T, want, have []float32, msg ...any) {
	t.Helper()
	require.Len(t, have, len(want), msg...)
	for i := range want {
		if math.Float32bits(want[i]) != math.Float32bits(have[i]) {
			require.Failf(t, "bits differ", "%v: at %d want %v, have %v", fmt.Sprint(msg...), i, want[i], have[i])
		}
	}
}

// TestLogits compares networks of all kinds with the float64 reference.
func TestLogits(t *testing.T) {
	type run struct {
		arch   *model.Architecture
		images int
	}
	var runs []run
	for _, a := range smallNets() {
		runs = append(runs, run{a, 11})
	}
	for _, name := range model.Presets() {
		a := preset(t, name)
		n, err := Compile(randomModel(t, a, 0), Options{})
		require.NoError(t, err)
		if n.MACs() < 1e7 || !onlyGeneric() && !raceEnabled { // the plain loops are slow too
			runs = append(runs, run{a, 1})
		}
	}
	for _, c := range runs {
		for seed := range uint64(2) {
			if c.images == 1 && seed > 0 {
				continue
			}
			m := randomModel(t, c.arch, seed)
			r := rand.New(rand.NewPCG(seed, 1))
			x := randomImages(r, c.images, c.arch.Input.Size())
			n, err := Compile(m, Options{})
			require.NoError(t, err)
			pool := kernels.NewPool(1)
			have := make([]float32, c.images*n.Classes())
			require.NoError(t, n.NewRunner(pool).Logits(t.Context(), have, x, c.images))
			pool.Close()
			ref := newReference(t, m)
			for i := range c.images {
				want, _ := ref.forward(widen(x[i*c.arch.Input.Size() : (i+1)*c.arch.Input.Size()]))
				requireClose(t, want, have[i*n.Classes():(i+1)*n.Classes()], 1e-5, c.arch.Name)
			}
		}
	}
}
