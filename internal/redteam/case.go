package redteam

import (
	"fmt"
	"hash/fnv"
	"math"
	"math/rand/v2"
	"slices"

	"github.com/epsball/epsball/internal/plain"
	"github.com/epsball/epsball/model"
	"github.com/epsball/epsball/net"
)

// Case is a hostile network, an image and a ball around it.
type Case struct {
	Family string
	Seed   uint64
	Model  *model.Model
	X      []float32
	Ball   net.Ball
	Y      int         // the label
	Rows   [][]float32 // of a specification: lower bounds of Rows·outputs are wanted, too
}

func (c *Case) String() string { return fmt.Sprintf("%s/%d (%v)", c.Family, c.Seed, c.Ball) }

// Family draws cases of one kind.
type Family struct {
	Name  string
	draw  func(b *builder)
	Large bool // its networks take seconds
}

// Families lists all, in the order in which runs take turns.
func Families() []Family { return families }

// LayerFamilies lists those of pools, activations, batchnorm, concat, groups and dilation.
func LayerFamilies() []Family { return layerFamilies }

// Draw returns the case of a seed.
func (f Family) Draw(seed uint64) *Case {
	h := fnv.New64a()
	h.Write([]byte(f.Name))
	b := &builder{Rand: rand.New(rand.NewPCG(h.Sum64(), seed)), y: -1}
	f.draw(b)
	for i, p := range b.m.Params {
		if b.m.Arch.Layers[i].Kind == model.BatchNorm { // its factor must be finite, too
			for k, w := range p.W {
				p.W[k], p.B[k] = max(-1e18, min(1e18, w)), max(-1e18, min(1e18, p.B[k]))
			}
		}
		for k, w := range p.W {
			p.W[k] = max(-math.MaxFloat32, min(math.MaxFloat32, w))
		}
	}
	if err := b.m.Validate(); err != nil {
		panic(fmt.Sprintf("%s/%d: %v", f.Name, seed, err))
	}
	c := &Case{Family: f.Name, Seed: seed, Model: b.m, X: b.x, Y: b.y, Rows: b.rows}
	if c.X == nil {
		c.X = Image(b.m.Arch.Input.Size(), b.Rand)
	}
	if c.Ball = Ball(net.Norm(b.IntN(3)), b.Rand); b.eps != "" {
		c.Ball = net.Ball{Norm: b.norm, Eps: net.MustEpsilon(b.eps)}
	}
	if c.Y < 0 {
		c.Y = b.label(c)
	}
	if c.Rows == nil {
		c.Rows = b.specification(c)
	}
	return c
}

// builder is what a family draws with; what it leaves open is drawn at the end.
type builder struct {
	*rand.Rand
	m    *model.Model
	x    []float32
	norm net.Norm
	eps  string
	y    int
	rows [][]float32
}

var (
	radii      = []string{"0", "1e-45", "1e-9", "1e-6", "0.001", "2/255", "8/255", "0.1", "1/3", "1"}
	largeRadii = []string{"0", "1e-45", "1e-6", "0.01", "128/255", "1", "10/3", "28"}
)

// Ball draws a ball of a norm with a hostile radius.
func Ball(norm net.Norm, r *rand.Rand) net.Ball {
	list := radii
	if norm != net.Linf && r.IntN(2) == 0 {
		list = largeRadii
	}
	return net.Ball{Norm: norm, Eps: net.MustEpsilon(list[r.IntN(len(list))])}
}

// Image draws pixels with a liking for 0, 1 and what is next to them.
func Image(n int, r *rand.Rand) []float32 {
	x := make([]float32, n)
	kind := r.IntN(4)
	for i := range x {
		switch k := r.IntN(8); {
		case kind == 0:
			x[i] = float32(r.IntN(2))
		case k == 0:
			x[i] = []float32{0, 1, 0x1p-149, 1 - 0x1p-24, 0x1p-24, 0x1p-126, 0.5}[r.IntN(7)]
		case k < 4:
			x[i] = float32(r.IntN(256)) / 255
		default:
			x[i] = r.Float32()
		}
	}
	return x
}

// specification draws rows: margins times anything, or numbers.
func (b *builder) specification(c *Case) [][]float32 {
	n := c.Model.Arch.Classes()
	rows := [][]float32{make([]float32, n), make([]float32, n)}
	gain := ldexp(1, []int{0, 0, 60, -60, -140}[b.IntN(5)])
	rows[0][c.Y], rows[0][(c.Y+1)%n] = gain, -gain
	for o := range rows[1] {
		if b.IntN(3) > 0 {
			rows[1][o] = float32(b.NormFloat64())
		}
	}
	return rows
}

// label is mostly what the network says of the image, so that there is something to
// certify.
func (b *builder) label(c *Case) int {
	n := newNetwork(c.Model)
	x := make([]float64, len(c.X))
	for k, v := range c.X {
		x[k] = float64(v)
	}
	z := n.wide(x)[n.last]
	if b.IntN(4) == 0 {
		return b.IntN(len(z))
	}
	best := 0
	for o, v := range z {
		if v > z[best] {
			best = o
		}
	}
	return best
}

// start takes an architecture and draws weights as a trainer would.
func (b *builder) start(a *model.Architecture) {
	m, err := model.Random(a, b.Uint64())
	if err != nil {
		panic(err)
	}
	b.m = m
}

// layers starts a network of a list of layers.
func (b *builder) layers(in model.Shape, l ...model.Layer) {
	b.start(&model.Architecture{Name: "redteam", Input: in, Layers: l})
}

// set writes the weights and biases of layer i.
func (b *builder) set(i int, w, bias []float32) {
	if len(w) != len(b.m.Params[i].W) || len(bias) != len(b.m.Params[i].B) {
		panic(fmt.Sprintf("layer %d: %d weights and %d biases", i, len(b.m.Params[i].W), len(b.m.Params[i].B)))
	}
	b.m.Params[i].W, b.m.Params[i].B = w, bias
}

// graph draws a network with adds everywhere: at the input, at activations, at
// projections, at what several layers read.
func (b *builder) graph() {
	for {
		a := plain.RandomGraph(b.Rand)
		if a.Validate() == nil && a.Classes() > 1 {
			b.start(a)
			return
		}
	}
}

func conv(out, k, s, p int) model.Layer {
	return model.Layer{Kind: model.Conv, Out: out, Kernel: [2]int{k, k}, Stride: [2]int{s, s}, Padding: [2]int{p, p}}
}

func fc(out int) model.Layer { return model.Layer{Kind: model.FC, Out: out} }

// from is l with its input.
func from(k int, l model.Layer) model.Layer {
	l.Inputs = []int{k}
	return l
}

func add(p, q int) model.Layer { return model.Layer{Kind: model.Add, Inputs: []int{p, q}} }

func flat(n int) model.Shape { return model.Shape{C: 1, H: 1, W: n} }

var relu = model.Layer{Kind: model.ReLU}

// fill returns n times v.
func fill(n int, v float32) []float32 { return slices.Repeat([]float32{v}, n) }
