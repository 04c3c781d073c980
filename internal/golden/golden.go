// Package golden loads the reference vectors of testdata/golden, for tests:
// tiny networks and what PyTorch says about them. make_golden.py, beside the
// vectors, states what each array means.
package golden

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/epsball/epsball/dataset"
	"github.com/epsball/epsball/model"
)

// Epsilon is the Linf radius of the PGD trajectories and of the bounds, Alpha
// the step of PGD.
const (
	Epsilon         = "0.1"
	Alpha   float32 = 0.025
)

// Targeted, after a loss's name, marks its targeted variant in Case.Losses.
const Targeted = ".targeted"

// Names lists the cases.
func Names() []string { return []string{"strided", "padded", "dense", "residual"} }

// Case is a model, N images and the references, channels first, row-major, all
// in float64 but the images.
type Case struct {
	Model  *model.Model
	N      int
	X      []float32 // [N] images
	Y      []int
	Target []int // never the label

	Logits []float64 // [N][classes]
	Losses map[string]Loss
	Params []Param     // gradient of the summed cross-entropy, by layer of the architecture
	PGD    [][]float32 // the N images after each step
	Bounds []Bounds    // by layer of the architecture, empty but for conv, fc and add
	Margin []float64   // [N][classes]: lower bounds of z_y − z_j from merged rows
}

// Loss holds the value for each image and the gradient to its pixels.
type Loss struct{ Value, Gradient []float64 }

// Param has the layout of model.Param.
type Param struct{ W, B []float64 }

// Bounds holds interval bounds of a layer's output before its ReLU, [N][outputs].
type Bounds struct{ Lower, Upper []float64 }

// Load reads a case by name. It looks for testdata in the folder of go.mod, at
// or above the working directory.
func Load(name string) (*Case, error) {
	root, err := moduleRoot()
	if err != nil {
		return nil, err
	}
	path := filepath.Join(root, "testdata", "golden", name)
	m, err := model.Load(path + ".safetensors")
	if err != nil {
		return nil, err
	}
	a, err := readArrays(path + ".npz")
	if err != nil {
		return nil, err
	}
	c := &Case{Model: m}
	a.fill(c)
	if a.err != nil {
		return nil, a.err
	}
	return c, nil
}

// File returns the arrays of a file of testdata/golden, such as "fab.npz".
func File(name string) ([]dataset.NamedArray, error) {
	root, err := moduleRoot()
	if err != nil {
		return nil, err
	}
	return readFile(filepath.Join(root, "testdata", "golden", name))
}

func readFile(path string) ([]dataset.NamedArray, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("golden: %w", err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("golden: %w", err)
	}
	return dataset.ReadNPZ(path, f, info.Size())
}

// readArrays reads the arrays of a file.
func readArrays(path string) (*arrays, error) {
	list, err := readFile(path)
	if err != nil {
		return nil, err
	}
	a := &arrays{file: path, left: map[string]dataset.NamedArray{}}
	for _, v := range list {
		a.left[v.Name] = v
	}
	return a, nil
}

func (a *arrays) fill(c *Case) {
	layers := c.Model.Arch.Layers
	c.Y, c.Target = a.ints("y"), a.ints("target")
	c.N = len(c.Y)
	size := c.N * c.Model.Arch.Input.Size()
	c.X = take[float32](a, "x", size)
	if x := take[float32](a, "pgd", -1); size > 0 {
		for ; len(x) >= size; x = x[size:] {
			c.PGD = append(c.PGD, x[:size])
		}
	}
	logits := c.N * c.Model.Arch.Classes()
	c.Logits, c.Margin = take[float64](a, "logits", logits), take[float64](a, "ibp.margin", logits)
	c.Losses = map[string]Loss{}
	for _, l := range []string{"ce", "margin", "dlr"} {
		for _, s := range []string{l, l + Targeted} {
			c.Losses[s] = Loss{take[float64](a, "loss."+s, c.N), take[float64](a, "grad."+s, size)}
		}
	}
	c.Params, c.Bounds = make([]Param, len(layers)), make([]Bounds, len(layers))
	for i, l := range layers {
		if l.Kind == model.Add || l.HasParams() {
			lower := take[float64](a, fmt.Sprint("ibp.lower.", i), -1)
			c.Bounds[i] = Bounds{lower, take[float64](a, fmt.Sprint("ibp.upper.", i), len(lower))}
		}
		if !l.HasParams() {
			continue
		}
		p := c.Model.Params[i]
		c.Params[i] = Param{take[float64](a, fmt.Sprint("weight.", i), len(p.W)), take[float64](a, fmt.Sprint("bias.", i), len(p.B))}
	}
	for name := range a.left {
		a.fail(name, errors.New("unknown array"))
	}
}

// arrays hands each array out once and keeps the first error.
type arrays struct {
	file string
	left map[string]dataset.NamedArray
	err  error
}

func (a *arrays) fail(name string, err error) {
	if a.err == nil {
		a.err = fmt.Errorf("golden: %s(%s): %w", a.file, name, err)
	}
}

// take returns the named array of n values, of any number for n < 0.
func take[T any](a *arrays, name string, n int) []T {
	v, ok := a.left[name].Data.([]T)
	if !ok || n >= 0 && len(v) != n {
		a.fail(name, fmt.Errorf("want %d values of %T, have %d of %T", n, *new(T), len(v), a.left[name].Data))
	}
	delete(a.left, name)
	return v
}

func (a *arrays) ints(name string) []int {
	v := take[int32](a, name, -1)
	out := make([]int, len(v))
	for i, x := range v {
		out[i] = int(x)
	}
	return out
}

func moduleRoot() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", fmt.Errorf("golden: %w", err)
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir, nil
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return "", errors.New("golden: no go.mod at or above the working directory")
		}
		dir = parent
	}
}
