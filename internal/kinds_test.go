package internal

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/epsball/epsball/attack"
	"github.com/epsball/epsball/internal/bench"
	"github.com/epsball/epsball/internal/golden"
	"github.com/epsball/epsball/internal/onnx"
	"github.com/epsball/epsball/internal/plain"
	"github.com/epsball/epsball/internal/redteam"
	"github.com/epsball/epsball/kernels"
	"github.com/epsball/epsball/model"
	"github.com/epsball/epsball/net"
	"github.com/epsball/epsball/report"
	"github.com/epsball/epsball/verify"
	"github.com/epsball/epsball/verify/check"
)

// specimens has a layer of each kind, as the second of three: after a tanh, so that it is
// part of no other layer's node, and before an fc.
var specimens = map[model.Kind]model.Layer{
	model.Conv:      {Kind: model.Conv, Out: 3, Kernel: [2]int{2, 2}, Stride: [2]int{1, 1}},
	model.FC:        {Kind: model.FC, Out: 5},
	model.BatchNorm: {Kind: model.BatchNorm, Eps: 1e-5},
	model.ReLU:      {Kind: model.ReLU},
	model.LeakyReLU: {Kind: model.LeakyReLU, Slope: []float32{0.1}},
	model.Sigmoid:   {Kind: model.Sigmoid},
	model.Tanh:      {Kind: model.Tanh},
	model.Clip:      {Kind: model.Clip, Min: 0.1, Max: 0.5},
	model.MaxPool:   {Kind: model.MaxPool, Kernel: [2]int{2, 2}, Stride: [2]int{1, 1}},
	model.AvgPool:   {Kind: model.AvgPool, Kernel: [2]int{2, 2}, Stride: [2]int{1, 1}},
	model.Add:       {Kind: model.Add, Inputs: []int{0, model.NetInput}},
	model.Concat:    {Kind: model.Concat, Inputs: []int{0, model.NetInput}},
	model.Normalize: {Kind: model.Normalize, Mean: []float32{0.5, 0.4}, Std: []float32{0.2, 0.3}},
}

// specimen returns a small network with a layer of a kind, and the layer's index.
func specimen(t *testing.T, kind model.Kind) (m *model.Model, layer int) {
	l, ok := specimens[kind]
	require.True(t, ok, "%s has no specimen here; see CONTRIBUTING.md, Add a layer", kind)
	a := &model.Architecture{Name: "specimen", Input: model.Shape{C: 2, H: 4, W: 3}, Layers: []model.Layer{
		{Kind: model.Tanh}, l, {Kind: model.FC, Out: 3},
	}}
	layer = 1
	if kind == model.Normalize { // the first layer, if at all
		a.Layers, layer = []model.Layer{l, a.Layers[0], a.Layers[2]}, 0
	}
	require.NoError(t, a.Validate(), kind)
	return plain.Random(a, rand.New(rand.NewPCG(1, 1))), layer
}

// place is a part of the house that has to know every kind of layer, or refuse it by name.
type place struct {
	name string
	ask  func(m *model.Model, layer int) error
}

var image = func() []float32 {
	r := rand.New(rand.NewPCG(2, 2))
	x := make([]float32, 2*4*3)
	for i := range x {
		x[i] = r.Float32()
	}
	return x
}()

var places = []place{
	{"model files", func(m *model.Model, _ int) error {
		data, err := m.Encode()
		if err != nil {
			return err
		}
		return sameModel(m)(model.Decode(data, "m.safetensors"))
	}},
	{"internal/plain", func(m *model.Model, _ int) error {
		plain.Gradient(m, wide(image), []float64{1, 2, 3})
		plain.Float32(m, image, nil)
		plain.Values(m, wide(image), nil)
		return nil
	}},
	{"internal/redteam", func(m *model.Model, _ int) error {
		c := &redteam.Case{Model: m, X: image, Ball: net.Ball{Eps: net.MustEpsilon("0.01")}}
		r := c.Judge([]redteam.Claim{{Name: "none", Margins: []float64{-1e9, -1e9, -1e9}}}, 4)
		if r.Comparisons == 0 || r.Violations != nil {
			return fmt.Errorf("%v: %v", r, r.Violations)
		}
		return nil
	}},
	{"net", func(m *model.Model, _ int) error {
		n, err := net.Compile(m, net.Options{Backward: true})
		if err != nil {
			return err
		}
		pool := kernels.NewPool(1)
		defer pool.Close()
		z := make([]float32, n.Classes())
		if err := n.NewRunner(pool).Logits(context.Background(), z, image, 1); err != nil {
			return err
		}
		acts := plain.Values(m, wide(image), nil)
		for k, want := range acts[len(acts)-1] {
			if math.Abs(float64(z[k])-want) > 1e-5*max(1, math.Abs(want)) {
				return fmt.Errorf("logit %d: got %v, want %v", k, z[k], want)
			}
		}
		if g := n.NewWeightGradient(); len(g.Params) != len(m.Params) {
			return errors.New("no gradient of the weights")
		}
		a, err := attack.New(n, attack.Config{Ball: net.Ball{Eps: net.MustEpsilon("0.01")}, Method: attack.PGD{Steps: 2}}, pool)
		if err != nil {
			return err
		}
		return a.Run(context.Background(), attack.Batch{X: image, Y: []int{net.Argmax(z)}}, new(attack.Result))
	}},
	{"verify", func(m *model.Model, _ int) error {
		n, err := net.Compile(m, net.Options{})
		if err != nil {
			return err
		}
		pool := kernels.NewPool(1)
		defer pool.Close()
		v, err := verify.New(n, pool)
		if err != nil {
			return err
		}
		ball := verify.Around(net.Ball{Eps: net.MustEpsilon("0.01")}, image)
		for method := verify.MethodIBP; method <= verify.MethodAlphaCROWN; method++ {
			_, margins, err := v.Bounds(context.Background(), verify.Options{Method: method, Iterations: 1}, ball, 0)
			if err != nil {
				return err
			}
			if low := margins[1]; low-low != 0 {
				return fmt.Errorf("%v proves a margin of %v", method, low)
			}
		}
		return nil
	}},
	{"verify/check", func(m *model.Model, _ int) error {
		c, err := check.New(m)
		if err != nil {
			return err
		}
		for _, method := range []string{check.IBP, check.CROWN} {
			v, err := c.Check(context.Background(), &check.Certificate{
				Model: m.Hash(), Level: check.Executed, Input: check.InputHash(image), Label: 0,
				Norm: "linf", Eps: "0.01", Method: method, Certified: true,
			}, image, 0)
			if err != nil {
				return err
			}
			if math.IsInf(v.Margin, 0) || math.IsNaN(v.Margin) {
				return fmt.Errorf("%s proves a margin of %v: %s", method, v.Margin, v.Reason)
			}
		}
		return nil
	}},
	{"internal/onnx", func(m *model.Model, _ int) error {
		data, err := onnx.Encode(m)
		if err != nil {
			return err
		}
		return sameModel(m)(onnx.Decode(data, "m.onnx"))
	}},
	{"internal/bench", func(m *model.Model, layer int) error {
		isa, err := kernels.Choose("")
		if err != nil {
			return err
		}
		r, err := bench.Run(context.Background(), bench.Options{
			Subjects: []bench.Subject{{Name: "m", Model: m}}, ISAs: []*kernels.ISA{isa}, Threads: 1, Batches: []int{1, 9},
			Time: time.Microsecond, Layers: true, NoPin: true,
		})
		if err != nil {
			return err
		}
		if len(r.Skipped) > 0 {
			return fmt.Errorf("skipped: %v", r.Skipped)
		}
		name := fmt.Sprintf("layer/forward/m/%s%d/b9/t1", m.Arch.Layers[layer].Kind, layer)
		if m.Arch.Layers[layer].Kind != model.Normalize && !slices.ContainsFunc(r.Rows, func(b report.BenchRow) bool { return b.Name == name }) {
			return fmt.Errorf("no row %s", name)
		}
		return nil
	}},
}

func sameModel(m *model.Model) func(*model.Model, error) error {
	return func(back *model.Model, err error) error {
		if err == nil && back.Hash() != m.Hash() {
			err = errors.New("another model comes back")
		}
		return err
	}
}

// TestKinds: each place knows each kind of layer, or says which it does not know.
func TestKinds(t *testing.T) {
	require.Len(t, specimens, len(model.Kinds()))
	for _, kind := range model.Kinds() {
		m, layer := specimen(t, kind)
		for _, p := range places {
			t.Run(string(kind)+"/"+p.name, func(t *testing.T) {
				if err := p.ask(m, layer); err != nil {
					require.ErrorContains(t, err, string(kind), "a kind that is refused is named")
					t.Logf("refused: %v", err)
				}
			})
		}
	}
}

// TestKindsCovered: goldens from PyTorch, random networks, hostile ones and the pages have
// each kind.
func TestKindsCovered(t *testing.T) {
	type seen map[model.Kind]bool
	note := func(s seen, m *model.Model) {
		for _, l := range m.Arch.Layers {
			s[l.Kind] = true
		}
	}
	exported, random, hostile := seen{}, seen{}, seen{}
	all, err := golden.Layers()
	require.NoError(t, err)
	for _, e := range all {
		for file := range e.Files {
			m, err := e.Import(file, onnx.Options{KeepBatchNorm: true})
			require.NoError(t, err)
			note(exported, m)
		}
	}
	r := rand.New(rand.NewPCG(3, 3))
	for range 200 {
		note(random, plain.Random(plain.RandomLayers(r), r))
	}
	for _, f := range slices.Concat(redteam.Families(), redteam.LayerFamilies()) {
		for seed := range uint64(40) {
			if !f.Large {
				note(hostile, f.Draw(seed).Model)
			}
		}
	}
	for _, kind := range model.Kinds() {
		assert.True(t, exported[kind], "testdata/golden/make_layers.py: no %s", kind)
		assert.True(t, random[kind], "plain.RandomLayers: no %s", kind)
		assert.True(t, hostile[kind], "redteam: no %s", kind)
	}
	format, proofs := page(t, "docs/model-format.md"), page(t, "docs/verification.md")
	_, table, ok := strings.Cut(proofs, "\n## Layers\n")
	require.True(t, ok)
	table, _, _ = strings.Cut(table, "\n### ")
	for _, kind := range model.Kinds() {
		assert.Contains(t, format, "| `"+string(kind)+"` |", "docs/model-format.md")
		assert.Regexp(t, `(?m)^\| ([a-z, ]*, )?`+string(kind)+`(, [a-z, ]*)? \|`, table, "docs/verification.md, Layers")
	}
}

// TestContributing: the files that the pages "Add …" name are there.
func TestContributing(t *testing.T) {
	text := page(t, "CONTRIBUTING.md")
	path := regexp.MustCompile(`[\w*./-]+/[\w*.-]*\w\.(go|py|md)\b|\b[A-Z]+\.md\b`)
	pages := 0
	for section := range strings.SplitSeq(text, "\n## ") {
		title, _, _ := strings.Cut(section, "\n")
		if !strings.HasPrefix(title, "Add ") {
			continue
		}
		pages++
		files := 0
		for _, name := range path.FindAllString(section, -1) {
			name = strings.ReplaceAll(name, "NAME", "*")
			found, err := filepath.Glob(filepath.Join("..", name))
			require.NoError(t, err)
			assert.NotEmpty(t, found, "%s: %s", title, name)
			files++
		}
		assert.Greater(t, files, 4, title)
	}
	assert.Equal(t, 7, pages)
}

func page(t *testing.T, name string) string {
	text, err := os.ReadFile(filepath.Join("..", name))
	require.NoError(t, err)
	return string(text)
}

func wide(v []float32) []float64 {
	w := make([]float64, len(v))
	for i, x := range v {
		w[i] = float64(x)
	}
	return w
}
