package check_test

import (
	"math/big"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/epsball/epsball/model"
	"github.com/epsball/epsball/verify/check"
)

func maxPool(k, s, p int) model.Layer {
	return model.Layer{Kind: model.MaxPool, Kernel: [2]int{k, k}, Stride: [2]int{s, s}, Padding: [2]int{p, p}}
}

func avgPool(k, s, p int, countPadding bool) model.Layer {
	l := maxPool(k, s, p)
	l.Kind, l.CountPadding = model.AvgPool, countPadding
	return l
}

func leaky(slope ...float32) model.Layer { return model.Layer{Kind: model.LeakyReLU, Slope: slope} }

func clip(least, most float32) model.Layer {
	return model.Layer{Kind: model.Clip, Min: least, Max: most}
}

func concat(k ...int) model.Layer { return model.Layer{Kind: model.Concat, Inputs: k} }

func grouped(out, k, p, groups, dilation int) model.Layer {
	l := conv(out, k, 1, p)
	l.Groups = groups
	if dilation > 1 {
		l.Dilation = [2]int{dilation, dilation}
	}
	return l
}

var (
	sigmoid   = model.Layer{Kind: model.Sigmoid}
	tanh      = model.Layer{Kind: model.Tanh}
	batchNorm = model.Layer{Kind: model.BatchNorm, Eps: 1e-3}
)

// layered are networks with one kind of layer in the middle, and some with several.
func layered() []*model.Architecture {
	var list []*model.Architecture
	in := model.Shape{C: 2, H: 4, W: 3}
	for _, l := range []struct {
		name string
		l    model.Layer
	}{
		{"maxpool", maxPool(2, 1, 0)},
		{"maxpool-padded", maxPool(3, 2, 1)},
		{"avgpool", avgPool(2, 1, 0, false)},
		{"avgpool-padded", avgPool(3, 2, 1, false)},
		{"avgpool-counted", avgPool(3, 2, 1, true)},
		{"leaky", leaky(0.1)},
		{"leaky-channels", leaky(0.25, 1.75, -0.5, 1)},
		{"sigmoid", sigmoid},
		{"tanh", tanh},
		{"clip", clip(-0.25, 0.5)},
		{"relu6", clip(0, 6)},
		{"batchnorm", batchNorm},
		{"grouped", grouped(4, 3, 1, 2, 1)},
		{"depthwise", grouped(4, 2, 1, 4, 1)},
		{"dilated", grouped(2, 2, 1, 0, 2)},
		{"grouped-dilated", grouped(6, 3, 3, 2, 2)},
	} {
		list = append(list,
			&model.Architecture{Name: l.name, Input: in, Layers: []model.Layer{conv(4, 2, 1, 1), l.l, conv(4, 2, 1, 0), l.l, fc(3)}},
			&model.Architecture{Name: l.name + "-relu", Input: in, Layers: []model.Layer{conv(4, 2, 1, 0), relu, l.l, relu, fc(4), leaky(0.1), fc(2)}},
			&model.Architecture{Name: l.name + "-last", Input: in, Layers: []model.Layer{conv(4, 2, 1, 0), tanh, conv(4, 2, 1, 1), l.l}},
		)
		if l.l.Kind != model.LeakyReLU && l.l.Kind != model.Conv {
			list = append(list, &model.Architecture{Name: l.name + "-first", Input: in, Layers: []model.Layer{l.l, conv(3, 2, 1, 1), relu, fc(3)}})
		}
	}
	return append(list,
		&model.Architecture{Name: "lenet", Input: model.Shape{C: 1, H: 6, W: 6}, Layers: []model.Layer{
			conv(3, 3, 1, 1), batchNorm, relu, maxPool(2, 2, 0), conv(4, 2, 1, 0), maxPool(2, 1, 0), relu, fc(4), sigmoid, fc(3),
		}},
		&model.Architecture{Name: "mobile", Input: model.Shape{C: 2, H: 4, W: 4}, Layers: []model.Layer{
			conv(4, 1, 1, 0), batchNorm, clip(0, 6), grouped(4, 3, 1, 4, 1), batchNorm, clip(0, 6), conv(2, 1, 1, 0), batchNorm,
			from(conv(2, 1, 1, 0), -1), add(7, 8), avgPool(4, 1, 0, false), fc(3),
		}},
		&model.Architecture{Name: "dense", Input: model.Shape{C: 2, H: 3, W: 3}, Layers: []model.Layer{
			{Kind: model.Normalize, Mean: []float32{0.3, 0.5}, Std: []float32{0.2, 0.7}},
			conv(3, 3, 1, 1), relu, concat(0, 2), conv(2, 1, 1, 0), tanh, concat(3, 5, 2), maxPool(3, 1, 1), relu, fc(3),
		}},
		&model.Architecture{Name: "adds", Input: model.Shape{C: 2, H: 3, W: 3}, Layers: []model.Layer{
			conv(2, 3, 1, 1), relu, maxPool(3, 1, 1), add(1, 2), from(sigmoid, 1), add(3, 4), add(5, 5), relu, add(7, -1), fc(3),
		}},
	)
}

// drawModel draws weights, batchnorm's included.
func drawModel(t testing.TB, a *model.Architecture, seed uint64, r *rand.Rand) *model.Model {
	m, err := model.Random(a, seed)
	require.NoError(t, err, a.Name)
	for i := range m.Params {
		p := &m.Params[i]
		for c := range p.Var {
			p.W[c], p.B[c] = float32(r.NormFloat64()), float32(r.NormFloat64())
			p.Mean[c], p.Var[c] = float32(r.NormFloat64()), float32(r.ExpFloat64())
		}
	}
	return m
}

// TestSoundnessOfLayers is TestSoundness on networks of all kinds of layers.
func TestSoundnessOfLayers(t *testing.T) {
	r := rand.New(rand.NewPCG(11, 2))
	var sum soundness
	for n, a := range layered() {
		for seed := range uint64(2) {
			m := drawModel(t, a, seed, r)
			twist(m, int(seed+uint64(n))%6, r)
			sum.judge(t, m, r)
		}
	}
	t.Logf("%+v", sum)
	require.Greater(t, sum.trials, 2500)
	require.Greater(t, sum.positive, 100)
}

// TestLayersAreTight: on networks of each kind crown is tighter than intervals, and a
// small ball's bound is near what the network says of the image.
func TestLayersAreTight(t *testing.T) {
	r := rand.New(rand.NewPCG(11, 3))
	for _, a := range layered() {
		t.Run(a.Name, func(t *testing.T) {
			m := drawModel(t, a, 7, r)
			k := newChecker(t, m)
			x := make([]float32, a.Input.Size())
			exact := make([]*big.Rat, len(x))
			for i := range x {
				x[i] = r.Float32()
				exact[i] = rat(float64(x[i]))
			}
			c := claim(m, x, 0, "linf", "0", check.CROWN)
			c.Level, c.Label, c.Rows, c.Offsets = check.Real, -1, [][]float64{make([]float64, a.Classes())}, []float64{0}
			for j := range c.Rows[0] {
				c.Rows[0][j] = r.NormFloat64()
			}
			centre, _ := valueOf(c, exactOutputs(m, exact)).Float64()
			at := func(method, eps string) float64 {
				c.Method, c.Eps = method, eps
				return verdict(t, k, c, x, check.Unknown).Margin
			}
			require.InDelta(t, centre, at(check.CROWN, "0"), 1e-9)
			require.InDelta(t, centre, at(check.IBP, "0"), 1e-9)
			require.InDelta(t, centre, at(check.CROWN, "1e-7"), 1e-3)
			require.GreaterOrEqual(t, at(check.CROWN, "0.05"), at(check.CROWNIBP, "0.05")-0.05*max(1, centre))
			require.GreaterOrEqual(t, at(check.CROWNIBP, "0.05"), at(check.IBP, "0.05"))
			if slices.ContainsFunc(a.Layers, func(l model.Layer) bool { return l.Kind == model.ReLU }) {
				require.Greater(t, at(check.CROWN, "0.05"), at(check.IBP, "0.05"))
			}
			c.Level = check.Executed
			require.InDelta(t, centre, at(check.CROWN, "0"), 1e-2)
			require.Less(t, at(check.CROWN, "0"), centre)
		})
	}
}

// TestStatedSlopes: leakyrelu and clip take slopes, which make a difference; other bends
// take none.
func TestStatedSlopes(t *testing.T) {
	r := rand.New(rand.NewPCG(11, 4))
	for _, l := range []model.Layer{relu, leaky(0.1), leaky(3, 0.5, -2), clip(0, 6), clip(-9, 0), tanh, sigmoid, maxPool(1, 1, 0), batchNorm} {
		takes := slices.Contains([]model.Kind{model.ReLU, model.LeakyReLU, model.Clip}, l.Kind)
		most := 0
		for seed := range uint64(10) {
			a := &model.Architecture{Input: model.Shape{C: 3, H: 1, W: 1}, Layers: []model.Layer{fc(3), l, fc(3), relu, fc(2)}}
			m := drawModel(t, a, seed, r)
			k := newChecker(t, m)
			x := []float32{0.5, 0.5, 0.5}
			margins := map[float64]bool{}
			for _, alpha := range []string{check.Adaptive, "u8:AAAA", "u8:////", "u8:gICA"} {
				c := claim(m, x, 0, "linf", "0.5", check.CROWN)
				c.Slopes = []check.Slopes{{For: check.ForRows, ReLU: 1, Alpha: alpha}}
				v := verdict(t, k, c, x, 0)
				require.Equal(t, !takes, strings.Contains(v.Reason, "relu: got layer 1"), v.Reason)
				margins[v.Margin] = true
			}
			most = max(most, len(margins))
		}
		require.Equal(t, takes, most > 2, l.Kind)
	}
}

// TestOverflowOfLayers: what an execution may overflow in, its result aside, is refused.
func TestOverflowOfLayers(t *testing.T) {
	for _, l := range []model.Layer{avgPool(2, 1, 0, false), leaky(1, 3), leaky(-3, 1), batchNorm, maxPool(2, 1, 0), clip(-1, 1), concat(0, 0)} {
		for _, sign := range []float32{1, -1} {
			a := &model.Architecture{Input: model.Shape{C: 1, H: 2, W: 2}, Layers: []model.Layer{conv(2, 1, 1, 0), l}}
			m := drawModel(t, a, 1, rand.New(rand.NewPCG(11, 11)))
			m.Params[0].W, m.Params[0].B = []float32{sign * 2e38, sign * 2e38}, []float32{0, 0}
			for c := range m.Params[1].W {
				m.Params[1].W[c] = 3
			}
			k := newChecker(t, m)
			x := []float32{1, 1, 1, 1}
			c := claim(m, x, -1, "linf", "0", check.IBP)
			c.Rows, c.Offsets = [][]float64{make([]float64, a.Classes())}, []float64{1}
			c.Rows[0][0] = 1e-38
			v := verdict(t, k, c, x, check.Unknown)
			over := slices.Contains([]model.Kind{model.AvgPool, model.LeakyReLU, model.BatchNorm}, l.Kind)
			require.Equal(t, over, strings.Contains(v.Reason, "overflow"), "%s: %s", l.Kind, v.Reason)
			c.Level = check.Real
			require.NotContains(t, verdict(t, k, c, x, check.Unknown).Reason, "overflow")
		}
	}
}
