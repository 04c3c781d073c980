package model

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestPythonGolden loads a file that the Python package safetensors wrote
// (testdata/model/make_tiny.py).
func TestPythonGolden(t *testing.T) {
	m, err := Load("../testdata/model/tiny.safetensors")
	require.NoError(t, err)
	assert.Equal(t, Architecture{Name: "tiny", Input: Shape{2, 5, 4}, Layers: []Layer{
		{Kind: Normalize, Mean: []float32{0.5, 0.25}, Std: []float32{0.25, 2}},
		{Kind: Conv, Out: 3, Kernel: [2]int{3, 2}, Stride: [2]int{2, 1}, Padding: [2]int{1, 0}},
		{Kind: ReLU},
		{Kind: Conv, Out: 2, Kernel: [2]int{2, 2}, Stride: [2]int{1, 1}},
		{Kind: ReLU},
		{Kind: FC, Out: 3},
	}}, m.Arch)
	assert.Equal(t, map[string]string{"origin": `make_tiny.py, ε ≤ "½"`}, m.Card)
	start := 0
	want := func(n int) []float32 {
		v := make([]float32, n)
		for i := range v {
			v[i] = float32((i*5+start)%17-8) / 16
		}
		start++
		return v
	}
	assert.Equal(t, []Param{
		{}, {W: want(36), B: want(3)}, {}, {W: want(24), B: want(2)}, {}, {W: want(24), B: want(3)},
	}, m.Params)
	assert.Equal(t, "fdaa69571d5c693183fb67d24159768b917f8c467841e5423aef13c062a9da3f", m.Hash())
}

// python returns a Python that has the packages, or skips the test.
func python(t *testing.T, packages ...string) string {
	exe := os.Getenv("EPSBALL_PYTHON")
	if exe == "" {
		exe = "python3"
	}
	script := "import " + strings.Join(packages, ", ")
	if out, err := exec.Command(exe, "-c", script).CombinedOutput(); err != nil {
		t.Skipf("%s cannot import %s (set EPSBALL_PYTHON to a Python that can): %v\n%s",
			exe, strings.Join(packages, ", "), err, out)
	}
	return exe
}

func runPython(t *testing.T, exe, script string, args ...string) string {
	cmd := exec.Command(exe, append([]string{"-"}, args...)...)
	cmd.Stdin = strings.NewReader(script)
	var errs bytes.Buffer
	cmd.Stderr = &errs
	out, err := cmd.Output()
	require.NoError(t, err, errs.String())
	return string(out)
}

// TestPythonSafetensors lets Python load a file written here, recompute its
// hash, and write it back.
func TestPythonSafetensors(t *testing.T) {
	exe := python(t, "numpy", "safetensors.numpy")
	m := testModel(t)
	dir := t.TempDir()
	ours, theirs := filepath.Join(dir, "ours.safetensors"), filepath.Join(dir, "theirs.safetensors")
	require.NoError(t, m.Save(ours))
	hash := runPython(t, exe, `
import hashlib, json, sys
import numpy as np
from safetensors import safe_open
from safetensors.numpy import save_file

tensors = {}
with safe_open(sys.argv[1], framework="numpy") as f:
    metadata = f.metadata()
    for name in f.keys():
        tensors[name] = f.get_tensor(name)
        assert tensors[name].dtype == np.float32
save_file(tensors, sys.argv[2], metadata=metadata)
h = hashlib.sha256(metadata["architecture"].encode())
for i, layer in enumerate(json.loads(metadata["architecture"])["layers"]):
    if layer["type"] in ("conv", "fc"):
        h.update(tensors[f"layers.{i}.weight"].astype("<f4").tobytes())
        h.update(tensors[f"layers.{i}.bias"].astype("<f4").tobytes())
print(h.hexdigest())
`, ours, theirs)
	assert.Equal(t, m.Hash(), strings.TrimSpace(hash))
	back, err := Load(theirs)
	require.NoError(t, err)
	assert.Equal(t, m, back)
}

// TestPythonExample runs the converter of docs/model-format.md on a network
// built in PyTorch and compares every activation's shape and every weight.
func TestPythonExample(t *testing.T) {
	exe := python(t, "torch", "safetensors.numpy")
	code := converter(t)
	path := filepath.Join(t.TempDir(), "torch.safetensors")
	out := runPython(t, exe, code+`
import sys
import torch
from torch import nn

net = nn.Sequential(
    nn.Conv2d(2, 3, (3, 2), stride=(2, 1), padding=(1, 0), bias=False), nn.ReLU(),
    nn.Conv2d(3, 4, 2), nn.ReLU(), nn.Dropout(), nn.Flatten(),
    nn.Linear(4 * 2 * 4, 7), nn.ReLU(), nn.Linear(7, 5))
with torch.no_grad():
    for p in net.parameters():
        p.copy_((torch.arange(p.numel()) % 11 - 5).reshape(p.shape) / 8)
save_epsball(sys.argv[1], net, "example", (2, 5, 6), mean=(0.5, 0.25), std=(0.25, 0.1), card={"epochs": 3})
x = torch.zeros(1, 2, 5, 6)
print(tuple(x.shape[1:]))
for module in net:
    x = module(x)
    if isinstance(module, (nn.Conv2d, nn.ReLU, nn.Linear)):
        print(tuple(x.shape[1:]) + (1,) * (4 - x.dim()))
`, path)
	m, err := Load(path)
	require.NoError(t, err)
	shapes, err := m.Arch.Shapes()
	require.NoError(t, err)
	var want strings.Builder
	for _, s := range shapes[1:] { // PyTorch's has no normalize layer
		want.WriteString("(" + strings.Join([]string{itoa(s.C), itoa(s.H), itoa(s.W)}, ", ") + ")\n")
	}
	assert.Equal(t, want.String(), out)
	assert.Equal(t, map[string]string{"epochs": "3"}, m.Card)
	assert.Equal(t, []float32{0.25, 0.1}, m.Arch.Layers[0].Std)
	for i, p := range m.Params {
		for k, w := range p.W {
			require.Equal(t, float32(k%11-5)/8, w)
		}
		for k, b := range p.B {
			if i == 1 { // written without a bias
				require.Zero(t, b)
			} else {
				require.Equal(t, float32(k%11-5)/8, b)
			}
		}
	}
}

// converter returns the Python of docs/model-format.md.
func converter(t *testing.T) string {
	doc, err := os.ReadFile("../docs/model-format.md")
	require.NoError(t, err)
	_, code, ok := strings.Cut(string(doc), "```python\n")
	require.True(t, ok)
	code, _, ok = strings.Cut(code, "```")
	require.True(t, ok)
	return code
}

// TestPythonLayers does so with the other kinds of layers.
func TestPythonLayers(t *testing.T) {
	exe := python(t, "torch", "safetensors.numpy")
	path := filepath.Join(t.TempDir(), "torch.safetensors")
	runPython(t, exe, converter(t)+`
import sys
import torch
from torch import nn

net = nn.Sequential(
    nn.Conv2d(2, 4, 3, padding=2, dilation=2, groups=2), nn.BatchNorm2d(4, eps=1e-3), nn.PReLU(4),
    nn.MaxPool2d(2), nn.AvgPool2d(3, 1, 1), nn.AvgPool2d(3, 1, 1, count_include_pad=False), nn.AvgPool2d(2),
    nn.LeakyReLU(0.1), nn.Hardtanh(-0.5, 0.75), nn.ReLU6(), nn.Sigmoid(), nn.Tanh(), nn.Flatten(),
    nn.Linear(4 * 2 * 2, 3), nn.BatchNorm1d(3))
with torch.no_grad():
    net[1].running_mean += 0.5
    net[1].running_var += 2
    net[2].weight += torch.arange(4)
save_epsball(sys.argv[1], net, "layers", (2, 8, 8))
`, path)
	m, err := Load(path)
	require.NoError(t, err)
	assert.Equal(t, `{"name":"layers","input":[2,8,8],"layers":[`+
		`{"type":"conv","out":4,"kernel":[3,3],"stride":[1,1],"padding":[2,2],"dilation":[2,2],"groups":2},`+
		`{"type":"batchnorm","eps":0.001},{"type":"leakyrelu","slope":[0.25,1.25,2.25,3.25]},`+
		`{"type":"maxpool","kernel":[2,2],"stride":[2,2],"padding":[0,0]},`+
		`{"type":"avgpool","kernel":[3,3],"stride":[1,1],"padding":[1,1],"count_padding":true},`+
		`{"type":"avgpool","kernel":[3,3],"stride":[1,1],"padding":[1,1]},`+
		`{"type":"avgpool","kernel":[2,2],"stride":[2,2],"padding":[0,0]},{"type":"leakyrelu","slope":[0.1]},`+
		`{"type":"clip","min":-0.5,"max":0.75},{"type":"clip","min":0,"max":6},{"type":"sigmoid"},{"type":"tanh"},`+
		`{"type":"fc","out":3},{"type":"batchnorm","eps":1e-05}]}`, string(m.Arch.CanonicalJSON()))
	assert.Equal(t, Param{W: filled(4, 1), B: filled(4, 0), Mean: filled(4, 0.5), Var: filled(4, 3)}, m.Params[1])
}
