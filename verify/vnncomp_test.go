package verify

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/epsball/epsball/dataset"
	"github.com/epsball/epsball/internal/onnx"
	"github.com/epsball/epsball/kernels"
	"github.com/epsball/epsball/net"
)

// TestVNNCOMP: bounds of networks that others trained, read from ONNX, are those of
// auto_LiRPA in float64 (testdata/golden/make_vnncomp.py) but for rounding: close to
// them without the errors of executions, never beyond them with those.
func TestVNNCOMP(t *testing.T) {
	const folder = "../../shared/data/vnncomp"
	if _, err := os.Stat(folder); err != nil {
		t.Skip("needs the networks of VNN-COMP in ../shared")
	}
	if len(kernels.Available()) == 1 {
		t.Skip("takes minutes without vector kernels")
	}
	f, err := os.Open("../testdata/golden/vnncomp.npz")
	require.NoError(t, err)
	defer f.Close()
	info, err := f.Stat()
	require.NoError(t, err)
	list, err := dataset.ReadNPZ(f.Name(), f, info.Size())
	require.NoError(t, err)
	ref := map[string]any{}
	for _, v := range list {
		ref[v.Name] = v.Data
	}
	for name, file := range map[string]string{
		"mnist_fc_256x2": "mnist_fc_2022/onnx/mnist-net_256x2.onnx.gz",
		"mnist_fc_256x4": "mnist_fc_2022/onnx/mnist-net_256x4.onnx.gz",
		"marabou_small":  "marabou_cifar10_2021/onnx/cifar10_small.onnx.gz",
		"resnet_2b":      "cifar10_resnet_2021/onnx/resnet_2b.onnx.gz",
		"collins":        "collins_rul_cnn_2022/onnx/NN_rul_small_window_20.onnx.gz",
	} {
		m, err := onnx.Load(filepath.Join(folder, file))
		require.NoError(t, err)
		x, y := ref[name+"/x"].([]float32), ref[name+"/y"].([]int64)
		eps := map[float64]string{0.01: "0.01", 0.005: "0.005", 0.002: "0.002"}[ref[name+"/eps"].([]float64)[0]]
		ball := net.Ball{Eps: net.MustEpsilon(eps)}
		size, outputs := m.Arch.Input.Size(), m.Arch.Classes()
		var spec *Spec
		rows := outputs - 1
		if outputs == 1 { // a regression
			spec, rows = &Spec{C: []float32{1}}, 1
		}
		for method := MethodIBP; method <= MethodCROWN; method++ {
			want := ref[name+"/"+map[Method]string{MethodIBP: "IBP", MethodCROWNIBP: "CROWN-IBP", MethodCROWN: "CROWN"}[method]].([]float64)
			for _, errors := range []bool{false, true} {
				v := newCROWN(t, m, 1, Config{Method: max(method, MethodCROWNIBP), Spec: spec})
				if !errors {
					for i := range v.g.nodes {
						v.g.nodes[i].relax.exec, v.g.nodes[i].relax.back = 0, 0
					}
				}
				w := newRelaxer(v.g)
				low := make([]float32, rows)
				for n, label := range y {
					w.pure = true
					w.load(x[n*size:(n+1)*size], ball, ball.Box())
					w.attempt(method, statement{spec: spec, y: int(label)}, low, 0)
					for k, have := range low {
						near(t, want[n*rows+k], float64(have), -1, errors || method == MethodIBP, "%s %v image %d row %d", name, method, n, k)
					}
				}
			}
		}
	}
}
