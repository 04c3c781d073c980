package verify

import (
	"math"
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/epsball/epsball/dataset"
	"github.com/epsball/epsball/internal/onnx"
	"github.com/epsball/epsball/kernels"
	"github.com/epsball/epsball/model"
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
		eps := strconv.FormatFloat(ref[name+"/eps"].([]float64)[0], 'f', -1, 64)
		ball := net.Ball{Eps: net.MustEpsilon(eps)}
		size, outputs := m.Arch.Input.Size(), m.Arch.Classes()
		var spec *Property
		rows := outputs - 1
		if outputs == 1 { // a regression
			spec, rows = &Property{C: []float32{1}}, 1
		}
		intervals := ref[name+"/IBP"].([]float64)
		for method := MethodIBP; method <= MethodCROWN; method++ {
			want := ref[name+"/"+map[Method]string{MethodIBP: "IBP", MethodCROWNIBP: "CROWN-IBP", MethodCROWN: "CROWN"}[method]].([]float64)
			if method == MethodIBP {
				if spec == nil {
					intervalsNear(t, m, ball, x, y, want, name)
				}
				continue
			}
			for _, errors := range []bool{false, true} {
				v := newCROWN(t, m, 1, Options{Method: method, Property: spec})
				if !errors {
					for i := range v.graph.nodes {
						v.graph.nodes[i].rounding.exec, v.graph.nodes[i].rounding.back = 0, 0
					}
				}
				w := newLinearWorker(v.graph)
				low := make([]float32, rows)
				for n, label := range y {
					w.attempted(method, ball, x[n*size:(n+1)*size], goal{property: spec, y: int(label)}, true, low)
					for k, have := range low {
						at := n*rows + k
						scale := 1 + math.Abs(want[at]) + math.Abs(intervals[at]) // of the sums that are rounded
						most := 0.05
						if !errors {
							most = 1e-2 // intervals on the way cover rounding, too
						}
						require.InDelta(t, want[at], have, most*scale, "%s %v image %d row %d", name, method, n, k)
						if errors {
							require.LessOrEqual(t, float64(have), want[at]+1e-12*scale, "%s %v image %d row %d", name, method, n, k)
						}
					}
				}
			}
		}
	}
}

// intervalsNear does the same for IBP.
func intervalsNear(t *testing.T, m *model.Model, ball net.Ball, x []float32, y []int64, want []float64, name string) {
	t.Helper()
	n, err := net.Compile(m, net.Options{})
	require.NoError(t, err)
	v, err := newIntervals(n, kernels.NewPool(1))
	require.NoError(t, err)
	size := n.Input().Size()
	for i, label := range y {
		_, low, err := v.Bounds(ball, x[i*size:(i+1)*size], int(label))
		require.NoError(t, err)
		k := i * (len(low) - 1)
		for j, have := range low {
			if j != int(label) {
				scale := 1 + math.Abs(want[k])
				require.GreaterOrEqual(t, float64(have), want[k]-0.05*scale, "%s ibp image %d class %d", name, i, j)
				if name != "marabou_small" { // where auto_LiRPA does not merge MatMul and Add with the rows
					require.LessOrEqual(t, float64(have), want[k]+1e-12*scale, "%s ibp image %d class %d", name, i, j)
				}
				k++
			}
		}
	}
}
