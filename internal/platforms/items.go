package main

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"

	"github.com/epsball/epsball/attack"
	"github.com/epsball/epsball/audit"
	"github.com/epsball/epsball/dataset"
	"github.com/epsball/epsball/dataset/mnist"
	"github.com/epsball/epsball/internal/onnx"
	"github.com/epsball/epsball/internal/plain"
	"github.com/epsball/epsball/kernels"
	"github.com/epsball/epsball/model"
	"github.com/epsball/epsball/net"
	"github.com/epsball/epsball/verify"
	"github.com/epsball/epsball/zoo"
)

var (
	ctx  = context.Background()
	pool = kernels.NewPool(2) // two workers on any number of CPUs
)

const (
	small  = "mnist-small-ibp-0.1" // trained for intervals
	robust = "mnist-small-pgd-0.1"
)

var items = []item{
	{"philox", true, random},
	{"mnist images", true, images},
	{"model files", true, modelFiles},
	{"weights of 16 bits", true, stored(model.BF16)},
	{"weights in half precision", false, stored(model.F16)},
	{"onnx files", true, onnxFiles},
	{"npz", true, npz},
	{"logits, one image", true, logits(small, 1)},
	{"logits, lanes", false, logits(small, 9)},
	{"logits, standard", false, logits("mnist-small-standard", 4)},
	{"ibp, linf", true, bounds(small, verify.MethodIBP, net.Linf, "0.1")},
	{"ibp, l2", false, bounds(small, verify.MethodIBP, net.L2, "0.5")},
	{"ibp, l1", false, bounds(small, verify.MethodIBP, net.L1, "1/3")},
	{"crown, linf", false, bounds(robust, verify.MethodCROWN, net.Linf, "0.03")},
	{"pgd, one image", true, pgd(robust, 1, 1)},
	{"pgd, linf", false, pgd(robust, 9, 3)},
	{"8-bit images", true, lattice},
	{"graphs, logits", true, graphs(graphLogits)},
	{"graphs, pgd", true, graphs(graphAttack)},
	{"graphs, apgd", true, graphs(graphAPGD)},
	{"graphs, l1", true, graphs(graphL1)},
	{"graphs, fgsm and kin", true, graphs(graphKin)},
	{"graphs, fab and decisions", true, graphs(graphNearest)},
	{"graphs, searches", true, graphs(graphSearches)},
	{"graphs, smallest distance", true, graphs(graphSmallest)},
	{"graphs, bounds", true, graphs(graphBounds)},
	{"graphs, radius", true, graphs(graphRadius)},
	{"graphs, certificates", true, graphs(graphCertificates)},
	{"defences", true, defences},
	{"winograd", true, winograd},
	{"training", true, training},
	{"optimisers", true, optimisers},
	{"guard", true, guard},
}

// random is what random starts and weights come from.
func random(p *printer) error {
	s := kernels.NewStream(1<<40+7, 3, 5)
	for range 100 {
		p.floats([]float32{s.Float32()})
	}
	return nil
}

func images(p *printer) error {
	test, err := mnist.Test()
	if err != nil {
		return err
	}
	p.floats(test.X[:200*784])
	for _, y := range test.Y {
		p.int(y)
	}
	p.note = fmt.Sprintf("%d images", test.Len())
	return nil
}

func modelFiles(p *printer) error {
	for _, name := range zoo.Overview() {
		m, err := zoo.Load(name)
		if err != nil {
			return err
		}
		data, err := m.Encode()
		if err != nil {
			return err
		}
		p.bytes(data)
		p.text(m.Hash())
		again, err := model.Decode(data, name)
		if err != nil {
			return err
		}
		if again.Hash() != m.Hash() {
			return fmt.Errorf("%s: read back as another model", name)
		}
		p.note = fmt.Sprintf("%d bytes", len(data))
	}
	return nil
}

// stored is a file with weights of 16 bits in tiles, used where they lie.
func stored(t model.DType) func(p *printer) error {
	return func(p *printer) error {
		m, err := zoo.Load(small)
		if err != nil {
			return err
		}
		if m, err = m.Store(func(int) model.Storage { return model.Storage{Type: t, Tiles: true} }); err != nil {
			return err
		}
		data, err := m.Encode()
		if err != nil {
			return err
		}
		p.bytes(data)
		view, err := model.View(data, "memory")
		if err != nil {
			return err
		}
		p.text(view.Hash())
		n, err := net.Compile(view, net.Options{Batches: net.SmallBatches})
		if err != nil {
			return err
		}
		x, err := digits(2)
		if err != nil {
			return err
		}
		p.note = fmt.Sprintf("%d bytes", len(data))
		if err := addLogits(p, n, x.X, 2); err != nil {
			return err
		}
		size := n.Input().Size()
		return addBounds(p, n, verify.MethodIBP, net.Ball{Eps: net.MustEpsilon("0.1")}, x.X[:size], x.Y[0])
	}
}

func onnxFiles(p *printer) error {
	m, err := zoo.Load(small)
	if err != nil {
		return err
	}
	data, err := onnx.Encode(m)
	if err != nil {
		return err
	}
	p.bytes(data)
	again, err := onnx.Decode(data, "memory.onnx")
	if err != nil {
		return err
	}
	p.text(again.Hash())
	return nil
}

func npz(p *printer) error {
	x, err := digits(3)
	if err != nil {
		return err
	}
	var b bytes.Buffer
	if err := dataset.WriteNPZ(&b, []dataset.NamedArray{{Name: "x", Shape: []int{3, 1, 28, 28}, Data: x.X}}); err != nil {
		return err
	}
	p.bytes(b.Bytes())
	arrays, err := dataset.ReadNPZ("memory.npz", bytes.NewReader(b.Bytes()), int64(b.Len()))
	if err != nil {
		return err
	}
	p.floats(arrays[0].Data.([]float32))
	return nil
}

func digits(n int) (*dataset.Set, error) {
	test, err := mnist.Test()
	if err != nil {
		return nil, err
	}
	return test.Slice(0, n), nil
}

// builtin compiles a model of the zoo.
func builtin(name string, o net.Options) (*net.Network, error) {
	m, err := zoo.Load(name)
	if err != nil {
		return nil, err
	}
	return net.Compile(m, o)
}

func logits(name string, count int) func(p *printer) error {
	return func(p *printer) error {
		n, err := builtin(name, net.Options{})
		if err != nil {
			return err
		}
		x, err := digits(count)
		if err != nil {
			return err
		}
		return addLogits(p, n, x.X, count)
	}
}

func addLogits(p *printer, n *net.Network, x []float32, count int) error {
	out := make([]float32, count*n.Classes())
	err := n.NewRunner(pool).Logits(ctx, out, x, count)
	p.floats(out)
	return err
}

func bounds(name string, m verify.Method, norm net.Norm, eps string) func(p *printer) error {
	return func(p *printer) error {
		n, err := builtin(name, net.Options{Batches: net.SmallBatches})
		if err != nil {
			return err
		}
		x, err := digits(1)
		if err != nil {
			return err
		}
		return addBounds(p, n, m, net.Ball{Norm: norm, Eps: net.MustEpsilon(eps)}, x.X, x.Y[0])
	}
}

// addBounds takes every interval and margin of an image.
func addBounds(p *printer, n *net.Network, m verify.Method, ball net.Ball, x []float32, y int) error {
	prover, err := verify.New(n, pool)
	if err != nil {
		return err
	}
	prover.JoinBalls()
	prover.FirstPlanes()
	intervals, margins, err := prover.Bounds(ctx, verify.Options{Method: m, Iterations: 4}, verify.Around(ball, x), y)
	if err != nil {
		return err
	}
	for _, i := range intervals {
		p.floats(i.Lower)
		p.floats(i.Upper)
	}
	p.floats(margins)
	least := margins[(y+1)%len(margins)]
	for j, v := range margins {
		if j != y {
			least = min(least, v)
		}
	}
	p.note = fmt.Sprintf("margin %.4g", least)
	return nil
}

func pgd(name string, count, steps int) func(p *printer) error {
	return func(p *printer) error {
		n, err := builtin(name, net.Options{Backward: true})
		if err != nil {
			return err
		}
		x, err := digits(count)
		if err != nil {
			return err
		}
		return addAttack(p, n, x.X, x.Y, net.Ball{Eps: net.MustEpsilon("0.15")}, usualPGD(steps))
	}
}

// lattice attacks 8-bit images, in balls of which rounding leads out.
func lattice(p *printer) error {
	n, err := builtin("mnist-small-standard", net.Options{Backward: true})
	if err != nil {
		return err
	}
	x, err := digits(3)
	if err != nil {
		return err
	}
	for _, b := range []net.Ball{{Norm: net.Linf, Eps: net.MustEpsilon("26/255")}, {Norm: net.L2, Eps: net.MustEpsilon("1.5")}, {Norm: net.L1, Eps: net.MustEpsilon("20")}} {
		if err := addAttackOn(p, n, x.X, x.Y, attack.Config{Ball: b, Method: usualPGD(4), Lattice: 8}); err != nil {
			return err
		}
	}
	return nil
}

func usualPGD(steps int) attack.PGD { return attack.PGD{Steps: steps, Seed: 5, Restarts: 2} }

func addAttack(p *printer, t attack.Target, x []float32, y []int, ball net.Ball, how attack.Method) error {
	return addAttackOn(p, t, x, y, attack.Config{Ball: ball, Method: how})
}

func addAttackOn(p *printer, t attack.Target, x []float32, y []int, c attack.Config) error {
	a, err := attack.New(t, c, pool)
	if err != nil {
		return err
	}
	var res attack.Result
	if err := a.Run(ctx, attack.Batch{X: x, Y: y}, &res); err != nil {
		return err
	}
	p.floats(res.Adv)
	p.floats(res.Margin)
	p.note = fmt.Sprintf("%d of %d fooled", p.bools(res.Success), len(y))
	return nil
}

func winograd(p *printer) error {
	conv := model.Layer{Kind: model.Conv, Out: 16, Kernel: [2]int{3, 3}, Stride: [2]int{1, 1}, Padding: [2]int{1, 1}}
	m, err := model.Random(&model.Architecture{Name: "winograd", Input: model.Shape{C: 16, H: 7, W: 6}, Layers: []model.Layer{
		conv, {Kind: model.ReLU}, conv, {Kind: model.FC, Out: 3},
	}}, 4)
	if err != nil {
		return err
	}
	n, err := net.Compile(m, net.Options{Winograd: true})
	if err != nil {
		return err
	}
	if !n.HasWinograd() {
		return fmt.Errorf("no layer is computed by Winograd's algorithm")
	}
	return addLogits(p, n, pixels(rand.New(rand.NewPCG(1, 1)), 9*16*7*6), 9)
}

// guard classifies with a certificate, however long it takes.
func guard(p *printer) error {
	n, err := builtin(small, net.Options{Batches: net.SmallBatches})
	if err != nil {
		return err
	}
	x, err := digits(1)
	if err != nil {
		return err
	}
	g, err := audit.NewGuard(n, pool, audit.GuardOptions{Threshold: net.MustEpsilon("0.1"), Budget: audit.Unlimited})
	if err != nil {
		return err
	}
	var v audit.Verdict
	if err := g.Classify(ctx, x.X, &v); err != nil {
		return err
	}
	p.floats(v.Logits)
	p.floats([]float32{v.Margin})
	p.bools([]bool{v.Flagged, v.Certified})
	p.note = fmt.Sprintf("%d, flagged %v", v.Label, v.Flagged)
	return nil
}

func pixels(r *rand.Rand, n int) []float32 {
	x := make([]float32, n)
	for i := range x {
		x[i] = float32(r.IntN(256)) / 255
	}
	return x
}

// graphs calls f for small random networks of every kind of layer.
func graphs(f func(p *printer, g *graph) error) func(p *printer) error {
	return func(p *printer) error {
		seen := 0
		for seed := uint64(1); seen < 6; seed++ {
			r := rand.New(rand.NewPCG(seed, 3))
			m, err := model.Random(plain.RandomGraph(r), seed)
			if err != nil || m.Arch.Classes() < 2 { // not every draw is an architecture
				continue
			}
			seen++
			n, err := net.Compile(m, net.Options{Backward: true})
			if err != nil {
				return err
			}
			g := &graph{m: m, n: n, size: m.Arch.Input.Size(), x: pixels(r, 12*m.Arch.Input.Size())}
			for i := range 12 {
				g.y = append(g.y, i%m.Arch.Classes())
			}
			if err := f(p, g); err != nil {
				return fmt.Errorf("network %d: %w", seed, err)
			}
		}
		return nil
	}
}
