package train

import (
	"context"
	"fmt"
	"math"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/epsball/epsball/dataset"
	"github.com/epsball/epsball/internal/golden"
	"github.com/epsball/epsball/kernels"
	"github.com/epsball/epsball/model"
	"github.com/epsball/epsball/net"
	"github.com/epsball/epsball/verify"
)

// linear64 is a layer as a matrix: its columns, and what it gives at zero.
type linear64 struct {
	columns [][]float64
	bias    []float64
}

// linears are the layers of the reference that are linear, from what they do to unit
// vectors.
func (f reference) linears() []linear64 {
	shapes, _ := f.arch.Shapes()
	all := make([]linear64, len(f.arch.Layers))
	for i, l := range f.arch.Layers {
		switch l.Kind {
		case model.ReLU, model.LeakyReLU, model.Add:
			continue
		}
		in := f.arch.InputShape(i, shapes)
		at := func(k int) []float64 {
			b := box64{make([]float64, in.Size()), make([]float64, in.Size())}
			if k >= 0 {
				b.c[k] = 1
			}
			return refLayer(l, f.params[i], in, shapes[i+1], []box64{b}).c
		}
		all[i].bias = at(-1)
		for k := range in.Size() {
			column := at(k)
			for o := range column {
				column[o] -= all[i].bias[o]
			}
			all[i].columns = append(all[i].columns, column)
		}
	}
	return all
}

// margins64 are lower bounds of z_y − z_j by CROWN-IBP, from its definition.
func (f reference) margins64(linears []linear64, x []float32, y int) []float64 {
	f.params = f.boxes
	in := box64{}
	for _, v := range x {
		lo, hi := math.Max(0, float64(v)-f.eps), math.Min(1, float64(v)+f.eps)
		in.c, in.r = append(in.c, (lo+hi)/2), append(in.r, (hi-lo)/2)
	}
	last := len(f.arch.Layers) - 1
	acts := f.walkAll(in, last)
	classes := len(linears[last].bias)
	m := make([]float64, classes)
	for j := range m {
		rows := make([][]float64, last+2) // of each activation
		rows[last+1] = make([]float64, classes)
		rows[last+1][y]++
		rows[last+1][j]--
		for i := last; i >= 0; i-- {
			row, l := rows[i+1], f.arch.Layers[i]
			hand := func(k int, v []float64) {
				if rows[k] == nil {
					rows[k] = make([]float64, len(v))
				}
				for n := range v {
					rows[k][n] += v[n]
				}
			}
			ins := f.arch.InputsOf(i)
			switch l.Kind {
			case model.Add:
				hand(ins[0]+1, row)
				hand(ins[1]+1, row)
			case model.ReLU, model.LeakyReLU:
				b, v := acts[ins[0]+1], make([]float64, len(row))
				shapes, _ := f.arch.Shapes()
				hw := shapes[i+1].H * shapes[i+1].W
				for n, r := range row {
					lo, hi, below := b.lo(n), b.hi(n), 0.0
					if len(l.Slope) > 0 {
						below = float64(l.Slope[n/hw%len(l.Slope)])
					}
					switch {
					case lo >= 0:
						v[n] = r
					case hi <= 0:
						v[n] = below * r
					case r >= 0 && hi > -lo:
						v[n] = r
					case r >= 0:
						v[n] = below * r
					default: // y ≤ below·lo + s·(z − lo)
						s := (hi - below*lo) / (hi - lo)
						v[n] = s * r
						m[j] += r * (below*lo - s*lo)
					}
				}
				hand(ins[0]+1, v)
			default:
				v := make([]float64, len(linears[i].columns))
				for k, column := range linears[i].columns {
					for o, w := range column {
						v[k] += w * row[o]
					}
				}
				for o, b := range linears[i].bias {
					m[j] += b * row[o]
				}
				hand(ins[0]+1, v)
			}
		}
		for n, r := range rows[0] {
			m[j] += r*in.c[n] - math.Abs(r)*in.r[n]
		}
	}
	return m
}

// intervalMargins64 are those of interval bounds.
func (f reference) intervalMargins64(x []float32, y int) []float64 {
	f.params = f.boxes
	b := box64{}
	for _, v := range x {
		lo, hi := math.Max(0, float64(v)-f.eps), math.Min(1, float64(v)+f.eps)
		b.c, b.r = append(b.c, (lo+hi)/2), append(b.r, (hi-lo)/2)
	}
	b = f.walk(b, len(f.params)-1)
	last, k := f.params[len(f.params)-1], len(b.c)
	m := make([]float64, len(last.b))
	for j := range m {
		m[j] = last.b[y] - last.b[j]
		for i := range k {
			d := last.w[y*k+i] - last.w[j*k+i]
			m[j] += d*b.c[i] - math.Abs(d)*b.r[i]
		}
	}
	return m
}

func crossEntropy64(z []float64, y int) float64 {
	sum := 0.0
	for _, v := range z {
		sum += math.Exp(v - z[y])
	}
	return math.Log(sum)
}

// crownLoss is the objective of one image with the share β of linear bounds.
func (f reference) crownLoss(linears []linear64, x []float32, y int, beta float64) float64 {
	worst := f.margins64(linears, x, y)
	for j, v := range f.intervalMargins64(x, y) {
		worst[j] = -((1-beta)*v + beta*worst[j])
	}
	return f.kappa*crossEntropy64(f.logits(x), y) + (1-f.kappa)*crossEntropy64(worst, y)
}

// linearNets are networks of all layers that linear bounds are trained through.
func linearNets(t testing.TB) map[string]*model.Model {
	branches := random(t, model.Architecture{Input: model.Shape{C: 2, H: 4, W: 3}, Layers: []model.Layer{
		{Kind: model.Normalize, Mean: []float32{0.4, 0.5}, Std: []float32{0.5, 0.25}},
		conv(3, 3, 1, 1),
		{Kind: model.BatchNorm, Eps: 1e-3},
		{Kind: model.ReLU}, // 3
		conv(3, 3, 1, 1),
		add(4, 3),
		{Kind: model.LeakyReLU, Slope: []float32{0.25, 0, 0.5}}, // 6
		{Kind: model.Conv, Out: 3, Groups: 3, Kernel: [2]int{2, 2}, Stride: [2]int{1, 1}, Padding: [2]int{1, 1}},
		{Kind: model.AvgPool, Kernel: [2]int{2, 2}, Stride: [2]int{1, 1}},
		{Kind: model.ReLU},
		add(6, 9),
		{Kind: model.FC, Out: 5},
		{Kind: model.ReLU},
		{Kind: model.FC, Out: 4},
	}})
	return map[string]*model.Model{"tiny": tinyNet(t), "linear": linearNet(t), "branches": branches}
}

// TestCROWNIBPGradients holds whole steps against central differences of the float64
// reference.
func TestCROWNIBPGradients(t *testing.T) {
	thorough(t)
	for name, m := range linearNets(t) {
		t.Run(name, func(t *testing.T) {
			const eps, images = 0.05, 9 // a group and a partial one
			d, c := noise(m, images), DefaultConfig(CROWNIBP)
			c.BatchSize, c.TrainEps, c.BetaFinal, c.Tightness = images, net.MustEpsilon("0.1"), 0.25, 1
			s := newTestStepper(t, m, d, &c)
			at := point{lr: 1, eps: eps, kappa: 1 - 5*eps}
			beta := shareOfLinear(&c, at)
			require.NoError(t, s.losses(context.Background(), 0, at, inOrder(images)))
			require.NoError(t, s.update(context.Background()))
			f := newReference(m, at.eps, at.kappa)
			f.observe(imagesOf(d))
			f = f.fix(f)
			regular := func() float64 { return (1 - eps/0.1) * f.regular64(imagesOf(d)) }
			bounds := f
			bounds.params = f.boxes
			linears := bounds.linears()
			for i, y := range d.Y {
				require.InEpsilon(t, f.crownLoss(linears, d.Image(i), y, beta)+regular(), s.loss[i], 1e-4)
			}
			mean := func() (sum float64) {
				f.observe(imagesOf(d))
				linears := bounds.linears()
				for i, y := range d.Y {
					sum += f.crownLoss(linears, d.Image(i), y, beta)
				}
				return sum/images + regular()
			}
			for l, g := range s.grad.Params {
				checkDifferences(t, fmt.Sprintf("layer %d weight", l), f.params[l].w, g.W, mean)
				checkDifferences(t, fmt.Sprintf("layer %d bias", l), f.params[l].b, g.B, mean)
			}
		})
	}
}

// TestLinearBoundsRefuse: models with other layers are refused, by the layer's name.
func TestLinearBoundsRefuse(t *testing.T) {
	for name, m := range map[string]*model.Model{
		`layers[5], a maxpool`: smoothResidual(t), `layers[3], a leakyrelu`: allLayers(t), `layers[0], a conv`: dilatedNet(t),
	} {
		err := acceptsLinear(m)
		require.ErrorContains(t, err, name)
		wantField(t, err, "model")
	}
	for _, m := range linearNets(t) {
		assert.NoError(t, acceptsLinear(m))
	}
}

// TestCROWNIBPGolden holds margins and a step against PyTorch's, whose margins are those of
// auto_LiRPA.
func TestCROWNIBPGolden(t *testing.T) {
	want, _ := goldenArrays(t, "crownibp.npz")
	for _, name := range golden.Names() {
		t.Run(name, func(t *testing.T) {
			g, err := golden.Load(name)
			require.NoError(t, err)
			d := &dataset.Set{X: g.X, Y: g.Y, C: g.Model.Arch.Input.C, H: g.Model.Arch.Input.H, W: g.Model.Arch.Input.W}
			for i, m := range linearMargins(t, g.Model, d, "0.05") {
				for j, v := range m {
					margin := want[name+".margin"][i*len(m)+j]
					require.InDelta(t, margin, v, 1e-4*(1+math.Abs(margin)))
				}
			}
			c := DefaultConfig(CROWNIBP)
			c.BatchSize, c.TrainEps, c.Tightness = g.N, net.MustEpsilon("0.1"), 0
			s := newTestStepper(t, g.Model, d, &c)
			// margins of −60 are rounded by as much as 1e-4 of a softmax
			goldenStep(t, s, want, name, 10, point{lr: 1e-3, eps: 0.05, kappa: 0.5})
		})
	}
}

// linearMargins are the lower bounds of z_y − z_j by linear bounds of images.
func linearMargins(t *testing.T, m *model.Model, d *dataset.Set, eps string) (margins [][]float32) {
	c := DefaultConfig(CROWNIBP)
	c.BatchSize, c.TrainEps, c.BetaFinal, c.Tightness = len(d.Y), net.MustEpsilon(eps), 1, 0
	s := newTestStepper(t, m, d, &c)
	require.NoError(t, s.losses(context.Background(), 0, point{eps: c.TrainEps.Float64()}, inOrder(len(d.Y))))
	classes := m.Arch.Classes()
	for i := range d.Y {
		var low []float32
		for _, v := range s.iv.v[i*classes:][:classes] {
			low = append(low, -v)
		}
		margins = append(margins, low)
	}
	return margins
}

// TestLinearBoundsHold: no point of the ball has a smaller margin than the bounds, and they
// are those of package verify, which rounds outward and takes the best of several, but for
// little.
func TestLinearBoundsHold(t *testing.T) {
	for name, m := range linearNets(t) {
		t.Run(name, func(t *testing.T) {
			m, _, err := m.Fold() // or else training has other statistics
			require.NoError(t, err)
			const images = 9
			eps := net.MustEpsilon("0.05")
			d := noise(m, images)
			n, err := net.Compile(m, net.Options{})
			require.NoError(t, err)
			pool := kernels.NewPool(1)
			defer pool.Close()
			v, err := verify.New(n, pool)
			require.NoError(t, err)
			f, r := newReference(m, 0, 1), kernels.NewStream(9, 0, 0)
			same := 0 // where nothing else is better
			for i, low := range linearMargins(t, m, d, "0.05") {
				y, x := d.Y[i], d.Image(i)
				at := make([]float32, len(x))
				for range 50 {
					for k, v := range x {
						at[k] = min(max(v+float32(2*r.Intn(2)-1)*0.05, 0), 1)
					}
					z := f.logits(at)
					for j, b := range low {
						require.LessOrEqual(t, float64(b), z[y]-z[j]+1e-5)
					}
				}
				region := verify.Around(net.Ball{Norm: net.Linf, Eps: eps}, x)
				_, sound, err := v.Bounds(context.Background(), verify.Options{Method: verify.MethodCROWNIBP}, region, y)
				require.NoError(t, err)
				for j, b := range low {
					if j == y {
						continue
					}
					most := 2e-3 * (1 + math.Abs(float64(b)))
					require.Greater(t, float64(sound[j]), float64(b)-most)
					if math.Abs(float64(sound[j]-b)) < most {
						same++
					}
				}
			}
			require.Greater(t, same, images*2)
		})
	}
}
