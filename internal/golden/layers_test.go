package golden_test

import (
	"context"
	"maps"
	"math"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/epsball/epsball/internal/golden"
	"github.com/epsball/epsball/internal/onnx"
	"github.com/epsball/epsball/internal/plain"
	"github.com/epsball/epsball/kernels"
	"github.com/epsball/epsball/model"
	"github.com/epsball/epsball/net"
)

// rounding is the error allowed relative to the largest output, or gradient.
const rounding = 2e-6

// eachLayer calls f for every exported network, read from either file, with batch
// norms folded and kept.
func eachLayer(t *testing.T, f func(t *testing.T, e *golden.Exported, file int, o onnx.Options, m *model.Model)) {
	all, err := golden.Layers()
	require.NoError(t, err)
	require.Greater(t, len(all), 30)
	for _, e := range all {
		for file := range e.Files {
			for name, o := range map[string]onnx.Options{"folded": {}, "kept": {KeepBatchNorm: true}} {
				t.Run(e.Name+"/"+[]string{"dynamo", "script", "kept"}[file]+"/"+name, func(t *testing.T) {
					m, err := e.Import(file, o)
					require.NoError(t, err)
					f(t, e, file, o, m)
				})
			}
		}
	}
}

// TestLayers compares each kind of layer with PyTorch, value and gradient, and with
// ONNX Runtime.
func TestLayers(t *testing.T) {
	done := map[string]plainly{} // by hash: most files of a network hold the same
	eachLayer(t, func(t *testing.T, e *golden.Exported, file int, _ onnx.Options, m *model.Model) {
		size, outputs := m.Arch.Input.Size(), m.Arch.Classes()
		require.Len(t, e.X, e.N*size)
		require.Len(t, e.Y, e.N*outputs)
		p, ok := done[e.Name+m.Hash()]
		if !ok {
			p = evaluate(m, e)
			done[e.Name+m.Hash()] = p
		}
		near(t, e.Y, p.values, rounding, "outputs")
		near(t, e.Gradient, p.gradients, 4*rounding, "gradient")
		near(t, wide(e.Runtime[file]), p.values, rounding, "outputs of ONNX Runtime")
		near(t, wide(e.Runtime[file]), p.narrow, rounding, "outputs in float32")

		n, err := net.Compile(m, net.Options{Backward: true})
		require.NoError(t, err)
		y := make([]float32, len(e.Y))
		require.NoError(t, n.NewRunner(kernels.NewPool(1)).Logits(context.Background(), y, e.X, e.N))
		near(t, wide(e.Runtime[file]), wide(y), rounding, "outputs of the compiled network")
		near(t, e.Gradient, compiledGradient(n, e), 4*rounding, "gradient of the compiled network")
	})
}

// plainly is what package plain says of all images: outputs and gradients in float64,
// outputs in float32.
type plainly struct{ values, gradients, narrow []float64 }

func evaluate(m *model.Model, e *golden.Exported) (p plainly) {
	size := m.Arch.Input.Size()
	for i := range e.N {
		x32 := e.X[i*size : (i+1)*size]
		x := wide(x32)
		acts := plain.Values(m, x, nil)
		y := acts[len(acts)-1]
		p.values = append(p.values, y...)
		p.gradients = append(p.gradients, plain.Gradient(m, x, outputGradient(e, i, y))...)
		rows := plain.Float32(m, x32, nil)
		p.narrow = append(p.narrow, rows[len(rows)-1]...)
	}
	return p
}

// compiledGradient runs the compiled network forward and back.
func compiledGradient(n *net.Network, e *golden.Exported) []float64 {
	s, outputs, groups := n.Input(), n.Classes(), kernels.Groups(e.N)
	w := n.NewWorkspace(e.N, false)
	x := kernels.Alloc(groups * s.Size() * kernels.Lanes)
	net.PackLanes(x, e.X, s, e.N)
	z := w.Forward(x, groups)
	clear(w.LogitGradient())
	row := make([]float32, outputs)
	for i := range e.N {
		net.LaneGroups.Gather(row, z, i)
		for k, d := range outputGradient(e, i, wide(row)) {
			row[k] = float32(d)
		}
		net.LaneGroups.Scatter(w.LogitGradient(), row, i)
	}
	dx := w.Backward(groups)
	g := make([]float32, e.N*s.Size())
	for i := range e.N {
		net.LaneGroups.Unpack(g[i*s.Size():(i+1)*s.Size()], net.Group(dx, s.Size(), i/kernels.Lanes), s, i%kernels.Lanes)
	}
	return wide(g)
}

// outputGradient returns the gradient to the outputs y of image i.
func outputGradient(e *golden.Exported, i int, y []float64) []float64 {
	d := make([]float64, len(y))
	if e.Label == nil {
		copy(d, e.D[i*len(y):])
		return d
	}
	most, sum := math.Inf(-1), 0.0
	for _, v := range y {
		most = max(most, v)
	}
	for k, v := range y {
		d[k] = math.Exp(v - most)
		sum += d[k]
	}
	for k := range d {
		d[k] /= sum
	}
	d[e.Label[i]]--
	return d
}

// TestLayersRoundTrip: what is imported and exported again is the same model; batch
// norms that are kept, then folded, are those folded on import.
func TestLayersRoundTrip(t *testing.T) {
	eachLayer(t, func(t *testing.T, e *golden.Exported, file int, o onnx.Options, m *model.Model) {
		data, err := onnx.Encode(m)
		require.NoError(t, err)
		back, err := onnx.Decode(data, "back.onnx")
		require.NoError(t, err)
		require.Equal(t, string(m.Arch.CanonicalJSON()), string(back.Arch.CanonicalJSON()))
		require.Equal(t, m.Hash(), back.Hash())
		card := maps.Clone(m.Card) // what is written ends without the softmax
		delete(card, onnx.CardEnd)
		require.Equal(t, card, back.Card)
		data, err = m.Encode()
		require.NoError(t, err)
		file2, err := model.Decode(data, "back.safetensors")
		require.NoError(t, err)
		require.Equal(t, m, file2)
		if o.KeepBatchNorm {
			folded, _, err := m.Fold()
			require.NoError(t, err)
			other, err := e.Import(file, onnx.Options{})
			require.NoError(t, err)
			require.Equal(t, other.Hash(), folded.Hash())
		}
	})
}

// TestTrainedLayers: what the trained networks become.
func TestTrainedLayers(t *testing.T) {
	want := map[string]string{
		"lenet":     "normalize conv batchnorm relu maxpool conv batchnorm relu maxpool fc relu fc",
		"sigmoid":   "conv sigmoid avgpool conv tanh fc sigmoid fc",
		"mobilenet": "conv batchnorm clip" + strings.Repeat(" conv batchnorm clip conv batchnorm clip", 3) + " avgpool fc",
		"resnet": "normalize conv batchnorm relu conv batchnorm relu conv batchnorm add relu " +
			"conv batchnorm relu conv batchnorm conv batchnorm add relu avgpool fc",
	}
	require.Len(t, want, len(golden.Trained()))
	eachLayer(t, func(t *testing.T, e *golden.Exported, file int, o onnx.Options, m *model.Model) {
		kinds := want[e.Name]
		if kinds == "" {
			return
		}
		if file < 2 || !o.KeepBatchNorm {
			kinds = strings.ReplaceAll(kinds, " batchnorm", "")
		}
		var have []string
		for _, l := range m.Arch.Layers {
			have = append(have, string(l.Kind))
		}
		require.Equal(t, kinds, strings.Join(have, " "))
	})
}

func wide(v []float32) []float64 {
	w := make([]float64, len(v))
	for i, x := range v {
		w[i] = float64(x)
	}
	return w
}

func near(t *testing.T, want, have []float64, tolerance float64, what string) {
	t.Helper()
	require.Len(t, have, len(want), what)
	scale := 0.0
	for _, v := range want {
		scale = max(scale, math.Abs(v))
	}
	for i, v := range want {
		if e := math.Abs(v - have[i]); !(e <= tolerance*scale) {
			require.Failf(t, "too far", "%s: at %d want %v, have %v: off by %.3g of the largest, allowed %.3g", what, i, v, have[i], e/scale, tolerance)
		}
	}
}
