package golden

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/epsball/epsball/dataset"
	"github.com/epsball/epsball/internal/onnx"
	"github.com/epsball/epsball/model"
)

// Exported is a network that PyTorch exported to ONNX, with what PyTorch and ONNX
// Runtime say about it; make_layers.py states it all. Arrays are by image, row-major.
type Exported struct {
	Name  string
	Files []string // the exports of PyTorch's two exporters
	N     int
	X     []float32 // [N] images
	Label []int     // of the trained networks, else nil
	D     []float64 // [N][outputs]: of the others

	Y        []float64    // [N][outputs], those before a softmax at the end
	Runtime  [2][]float32 // the same by ONNX Runtime, of each file
	Gradient []float64    // of the summed cross-entropy, or of the sum of D·Y
}

// Import reads one of the network's files.
func (e *Exported) Import(file int, o onnx.Options) (*model.Model, error) { return o.Load(e.Files[file]) }

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
	f, err := os.Open(filepath.Join(dir, "layers.npz"))
	if err != nil {
		return nil, fmt.Errorf("golden: %w", err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("golden: %w", err)
	}
	list, err := dataset.ReadNPZ(f.Name(), f, info.Size())
	if err != nil {
		return nil, err
	}
	a := &arrays{file: f.Name(), left: map[string]dataset.NamedArray{}}
	var all []*Exported
	for _, v := range list {
		a.left[v.Name] = v
		if name, ok := strings.CutSuffix(v.Name, ".x"); ok {
			all = append(all, &Exported{Name: name, N: v.Shape[0]})
		}
	}
	slices.SortFunc(all, func(a, b *Exported) int { return strings.Compare(a.Name, b.Name) })
	for _, e := range all {
		for _, exporter := range []string{"dynamo", "script"} {
			e.Files = append(e.Files, filepath.Join(dir, "layers", e.Name+"."+exporter+".onnx.gz"))
		}
		e.X, e.Y = take[float32](a, e.Name+".x", -1), take[float64](a, e.Name+".y", -1)
		e.Gradient = take[float64](a, e.Name+".grad", len(e.X))
		both := take[float32](a, e.Name+".runtime", 2*len(e.Y))
		if len(both) == 2*len(e.Y) {
			e.Runtime = [2][]float32{both[:len(e.Y)], both[len(e.Y):]}
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
