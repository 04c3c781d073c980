package onnx

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io/fs"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/epsball/epsball/internal/plain"
	"github.com/epsball/epsball/kernels"
	"github.com/epsball/epsball/model"
	"github.com/epsball/epsball/net"
	"github.com/epsball/epsball/zoo"
)

const goldenDir = "../../testdata/golden/onnx"

// golden is what testdata/golden/make_onnx.py wrote.
type golden struct {
	Nets map[string]struct {
		Input     []int
		Layout    string
		Outputs   [][]float64
		Tolerance float64
	}
	Refused map[string][]string
	Exports map[string]struct {
		SHA256  string
		Outputs [][]float64
	}
}

func loadGolden(t testing.TB) *golden {
	data, err := os.ReadFile(filepath.Join(goldenDir, "golden.json"))
	require.NoError(t, err)
	g := new(golden)
	require.NoError(t, json.Unmarshal(data, g))
	require.NotEmpty(t, g.Nets)
	return g
}

// pixels are those of make_onnx.py.
func pixels(k, n int) []float32 {
	x := make([]float32, n)
	for i := range x {
		u := uint32(i)*2654435761 + uint32(k)*40503 + 12345
		u ^= u >> 16
		u *= 0x45d9f3b
		u ^= u >> 16
		x[i] = float32(u>>8) / (1 << 24)
	}
	return x
}

// channelsFirst turns an image [H][W][C] into [C][H][W].
func channelsFirst(x []float32, s model.Shape) []float32 {
	y := make([]float32, len(x))
	for p := range s.H * s.W {
		for c := range s.C {
			y[c*s.H*s.W+p] = x[p*s.C+c]
		}
	}
	return y
}

// outputs runs a model on one image, by the compiled network and by the plain one,
// which have to agree.
func outputs(t testing.TB, m *model.Model, x []float32) []float32 {
	wide := make([]float64, len(x))
	for i, v := range x {
		wide[i] = float64(v)
	}
	acts := plain.Values(m, wide, nil)
	want := acts[len(acts)-1]
	n, err := net.Compile(m, net.Options{})
	require.NoError(t, err)
	got := make([]float32, m.Arch.Classes())
	require.NoError(t, n.NewRunner(kernels.NewPool(1)).Logits(context.Background(), got, x, 1))
	near(t, want, got, rounding)
	return got
}

// near compares outputs with those of another float32 implementation: relative to
// the largest, a few roundings.
func near(t testing.TB, want []float64, got []float32, tolerance float64) {
	t.Helper()
	require.Len(t, got, len(want))
	scale := 1.0
	for _, v := range want {
		scale = max(scale, math.Abs(v))
	}
	for i, v := range want {
		require.InDelta(t, v, float64(got[i]), tolerance*scale, "output %d", i)
	}
}

const rounding = 2e-6

// find returns the file of a golden network, or skips the test where it is not
// there: networks of others are not part of this repository.
func find(t *testing.T, name string) string {
	path := filepath.Join(goldenDir, name+".onnx")
	if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
		return path
	}
	list, err := filepath.Glob(filepath.Join("..", "..", "..", "shared", "data", "vnncomp", "*", "onnx", name+".onnx.gz"))
	require.NoError(t, err)
	if len(list) == 0 {
		t.Skip("no network " + name + " in ../shared/data/vnncomp")
	}
	return list[0]
}

// TestONNXRuntime: networks of every operator, of exporters and of VNN-COMP
// compute what ONNX Runtime says.
func TestONNXRuntime(t *testing.T) {
	for name, want := range loadGolden(t).Nets {
		t.Run(name, func(t *testing.T) {
			m, err := Load(find(t, name))
			require.NoError(t, err)
			size := 1
			for _, d := range want.Input {
				size *= d
			}
			require.Equal(t, size, m.Arch.Input.Size())
			tolerance := rounding
			if want.Tolerance > 0 {
				tolerance = want.Tolerance
			}
			for k, y := range want.Outputs {
				x := pixels(k, size)
				if want.Layout == "HWC" {
					x = channelsFirst(x, m.Arch.Input)
				}
				near(t, y, outputs(t, m, x), tolerance)
			}
			roundTrip(t, m)
		})
	}
}

// roundTrip: a model that is written and read again is the same, bit for bit.
func roundTrip(t *testing.T, m *model.Model) []byte {
	t.Helper()
	data, err := Encode(m)
	require.NoError(t, err)
	again, err := Encode(m)
	require.NoError(t, err)
	require.Equal(t, again, data, "bytes are not determined by the model")
	got, err := Decode(data, "again.onnx")
	require.NoError(t, err)
	require.Equal(t, string(m.Arch.CanonicalJSON()), string(got.Arch.CanonicalJSON()))
	require.Equal(t, m.Hash(), got.Hash(), "weights differ")
	card := maps.Clone(m.Card)
	maps.DeleteFunc(card, func(k, _ string) bool { return slices.Contains(graphKeys, k) }) // of another graph
	if len(card) == 0 {
		card = nil
	}
	require.Equal(t, card, got.Card)
	return data
}

// TestExports: ONNX Runtime has run the very bytes that are written for the
// built-in models.
func TestExports(t *testing.T) {
	g := loadGolden(t)
	require.Len(t, g.Exports, len(zoo.Overview()))
	for name, want := range g.Exports {
		m, err := zoo.Load(name)
		require.NoError(t, err)
		data := roundTrip(t, m)
		sum := sha256.Sum256(data)
		require.Equal(t, want.SHA256, hex.EncodeToString(sum[:]), "run make_onnx.py again")
		for k, y := range want.Outputs {
			near(t, y, outputs(t, m, pixels(k, m.Arch.Input.Size())), rounding)
		}
	}
}

// TestRefused: what is not supported fails with an error that says where and why.
func TestRefused(t *testing.T) {
	g := loadGolden(t)
	require.NotEmpty(t, g.Refused)
	for name, words := range g.Refused {
		path := filepath.Join(goldenDir, "refused", name+".onnx")
		_, err := Load(path)
		var fe *model.FormatError
		require.ErrorAs(t, err, &fe, name)
		require.Equal(t, path, fe.File)
		for _, w := range words {
			require.Contains(t, err.Error(), w, name)
		}
		require.NotContains(t, err.Error(), "\n")
	}
	_, err := Load(filepath.Join(goldenDir, "none.onnx"))
	require.ErrorIs(t, err, fs.ErrNotExist)
}

// TestLayers: what networks become, where it can be told exactly.
func TestLayers(t *testing.T) {
	for name, want := range map[string]string{
		"normalize":               "normalize conv relu fc",
		"normalize_channels_last": "normalize conv relu fc",
		"normalize_by_product":    "conv conv relu fc",
		"normalize_into_weights":  "conv relu",
		"image_from_vector":       "normalize conv relu fc",
		"acas_like":               "fc relu fc",
		"batch_norm_folded":       "batchnorm conv relu conv relu fc relu batchnorm",
		"batch_norm_kept":         "batchnorm conv relu batchnorm relu conv add avgpool fc tanh batchnorm",
		"matmul_add":              "fc relu fc",
		"residual":                "conv relu conv relu conv add relu conv conv add relu fc",
		"residual_dense":          "fc relu fc add relu add",
		"torch_resnet_bn":         "normalize conv relu conv relu conv add relu conv relu conv conv add relu avgpool fc",
		"max_pools":               "maxpool conv relu conv maxpool conv maxpool conv maxpool fc",
		"average_pools":           "avgpool conv relu avgpool conv conv avgpool avgpool fc",
		"activations":             "conv leakyrelu conv tanh leakyrelu leakyrelu conv clip clip relu clip fc leakyrelu sigmoid",
		"groups":                  "conv relu conv clip conv conv conv",
		"concats":                 "conv relu tanh concat batchnorm conv maxpool fc fc concat fc concat fc",
		"concat_channels_last":    "conv sigmoid concat concat avgpool fc fc concat fc concat fc",
		"relu_anywhere":           "relu conv relu conv relu add add relu",
		"relu6":                   "clip",
		"bystanders":              "normalize conv relu fc",
	} {
		m, err := Load(filepath.Join(goldenDir, name+".onnx"))
		require.NoError(t, err)
		var kinds []string
		for _, l := range m.Arch.Layers {
			kinds = append(kinds, string(l.Kind))
		}
		require.Equal(t, want, strings.Join(kinds, " "), name)
	}

	m, err := Load(filepath.Join(goldenDir, "normalize_channels_last.onnx"))
	require.NoError(t, err)
	require.Equal(t, model.Shape{C: 3, H: 4, W: 5}, m.Arch.Input)
	require.Equal(t, []float32{0.4, 0.5, 0.6}, m.Arch.Layers[0].Mean)
	require.Equal(t, []float32{0.25, 0.25, 0.25}, m.Arch.Layers[0].Std)
	require.Contains(t, m.Card[CardNotes], "channels first")
	require.Equal(t, ChannelsLast, m.Card[CardOrder])

	m, err = Load(filepath.Join(goldenDir, "conv_asymmetric.onnx"))
	require.NoError(t, err)
	l := m.Arch.Layers[0] // a 3×2 kernel with pads 0, 1 and 2, 0
	require.Equal(t, [3][2]int{{5, 3}, {2, 1}, {2, 1}}, [3][2]int{l.Kernel, l.Stride, l.Padding})

	m, err = Load(filepath.Join(goldenDir, "doubles.onnx"))
	require.NoError(t, err)
	require.Contains(t, m.Card[CardNotes], "20 of 20 doubles rounded")
	require.Equal(t, "DOUBLE", m.Card[CardType])
	m, err = Load(filepath.Join(goldenDir, "batch_norm_folded.onnx"))
	require.NoError(t, err)
	require.Contains(t, m.Card[CardNotes], "weights rounded to float32 after taking in BatchNormalization")
	for _, exact := range []string{"residual", "conv_same_upper", "halves", "normalize", "typed_tensors"} {
		m, err = Load(filepath.Join(goldenDir, exact+".onnx"))
		require.NoError(t, err)
		require.Empty(t, m.Card[CardNotes])
	}
}
