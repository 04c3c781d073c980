package golden

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/epsball/epsball/internal/onnx"
	"github.com/epsball/epsball/model"
)

// Exported is a network that PyTorch exported to ONNX, with what PyTorch and ONNX
// Runtime say about it; make_layers.py states it all. Arrays are by image, row-major.
type Exported struct {
	Name  string
	Files []string // of PyTorch's two exporters, and with batch norms that these fold
	N     int
	X     []float32 // [N] images
	Label []int     // of the trained networks, else nil
	D     []float64 // [N][outputs]: of the others

	Y        []float64   // [N][outputs], those before a softmax at the end
	Runtime  [][]float32 // the same by ONNX Runtime, of each file
	Gradient []float64   // of the summed cross-entropy, or of the sum of D·Y
}

// Import reads one of the network's files.
func (e *Exported) Import(file int, o onnx.Options) (*model.Model, error) {
	return o.Load(e.Files[file])
}

// Trained lists the names of the exported networks that were trained on MNIST: a LeNet
// with max pools and batch norms, a network of sigmoids and tanh, a small MobileNet and
// a ResNet.
func Trained() []string { return []string{"lenet", "sigmoid", "mobilenet", "resnet"} }

// Layers reads all exported networks, in the order of their names: those of a layer or
// two, and the trained ones.
func Layers() ([]*Exported, error) {
	root, err := moduleRoot()
	if err != nil {
		return nil, err
	}
	dir := filepath.Join(root, "testdata", "golden")
	a, err := readArrays(filepath.Join(dir, "layers.npz"))
	if err != nil {
		return nil, err
	}
	var all []*Exported
	for key, v := range a.left {
		if name, ok := strings.CutSuffix(key, ".x"); ok {
			all = append(all, &Exported{Name: name, N: v.Shape[0]})
		}
	}
	slices.SortFunc(all, func(a, b *Exported) int { return strings.Compare(a.Name, b.Name) })
	for _, e := range all {
		runtime, ok := a.left[e.Name+".runtime"]
		if !ok || runtime.Shape[0] > 3 {
			return nil, fmt.Errorf("golden: %s: got no outputs of ONNX Runtime for %s, or of more than 3 files", a.file, e.Name)
		}
		for _, exporter := range []string{"dynamo", "script", "kept"}[:runtime.Shape[0]] {
			e.Files = append(e.Files, filepath.Join(dir, "layers", e.Name+"."+exporter+".onnx.gz"))
		}
		e.X, e.Y = take[float32](a, e.Name+".x", -1), take[float64](a, e.Name+".y", -1)
		e.Gradient = take[float64](a, e.Name+".grad", len(e.X))
		outputs := take[float32](a, e.Name+".runtime", len(e.Files)*len(e.Y))
		for y := range slices.Chunk(outputs, max(1, len(e.Y))) {
			e.Runtime = append(e.Runtime, y)
		}
		if slices.Contains(Trained(), e.Name) {
			e.Label = a.ints(e.Name + ".label")
		} else {
			e.D = take[float64](a, e.Name+".d", len(e.Y))
		}
	}
	for name := range a.left {
		a.fail(name, errors.New("unknown array"))
	}
	return all, a.err
}
