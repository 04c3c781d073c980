package train

import (
	"math"

	"github.com/epsball/epsball/kernels"
	"github.com/epsball/epsball/model"
)

// blockSize is the number of weights of one task.
const blockSize = 16384

// optimiser changes the weights by their gradients. All operations are rounded one by
// one, so that all machines train the same weights. Blocks are independent of each other.
type optimiser struct {
	c      *Config
	rule   *rule
	state  [][]model.Param // the rule's, each laid out as the weights
	blocks []block
	now    update
}

// rule is how an optimiser uses a gradient. Each has a file.
type rule struct {
	name    string
	states  int  // arrays of state, of one number a weight each
	coupled bool // weight decay is added to the gradient
	prepare func(u *update, c *Config, lr float64, t int)
	step    func(u *update, isa *kernels.ISA, sc *kernels.Scratch, b *block)
}

var rules = []*rule{&adam, &adamW, &sgd}

// block is a run of weights with its gradient and the rule's state.
type block struct {
	w, g    []float32
	state   [2][]float32
	decays  bool    // weight decay and the L1 penalty act on it
	squares float64 // of the gradient, summed
}

// update holds the numbers of one step.
type update struct {
	shorten        float32 // what clipping multiplies gradients with
	adam           kernels.AdamConstants
	shrink         float32 // what decoupled weight decay multiplies weights with
	rate, momentum float32
	nesterov       bool
}

// newOptimiser returns the optimiser of a model's weights with gradients g, which keep
// their places in memory.
func newOptimiser(c *Config, m *model.Model, g []model.Param) *optimiser {
	o := &optimiser{c: c, rule: rules[0]}
	for _, r := range rules {
		if r.name == optimizer.choice(c) {
			o.rule = r
		}
	}
	for range o.rule.states {
		o.state = append(o.state, zeros(m.Params))
	}
	for i, p := range m.Params {
		var w, b [2][]float32
		for k, s := range o.state {
			w[k], b[k] = s[i].W, s[i].B
		}
		o.split(p.W, g[i].W, w, m.Arch.Layers[i].HasMatrix())
		o.split(p.B, g[i].B, b, false)
	}
	return o
}

func zeros(like []model.Param) []model.Param {
	z := make([]model.Param, len(like))
	for i, p := range like {
		z[i] = model.Param{W: make([]float32, len(p.W)), B: make([]float32, len(p.B))}
	}
	return z
}

func (o *optimiser) split(w, g []float32, state [2][]float32, decays bool) {
	for at := 0; at < len(w); at += blockSize {
		end := min(at+blockSize, len(w))
		b := block{w: w[at:end], g: g[at:end], decays: decays}
		for k := range o.state {
			b.state[k] = state[k][at:end]
		}
		o.blocks = append(o.blocks, b)
	}
}

// prepare sets the numbers of update t (from 1).
func (o *optimiser) prepare(lr float64, t int) {
	o.now = update{shorten: 1}
	o.rule.prepare(&o.now, o.c, lr, t)
}

// measures reports whether updates need measure and limit.
func (o *optimiser) measures() bool { return o.c.L1 > 0 || o.c.Clip > 0 }

// measure adds the gradient of the L1 penalty to that of block i, and sums its squares.
func (o *optimiser) measure(i int) {
	b := &o.blocks[i]
	if l1 := float32(o.c.L1); l1 > 0 && b.decays {
		for k, w := range b.w {
			if w != 0 {
				b.g[k] += timesSign(l1, w)
			}
		}
	}
	b.squares = squares(b.g)
}

// limit shortens the gradient if its Euclidean norm over all weights is above Clip
// (Pascanu et al. 2013). Squares are summed by block, then in the blocks' order.
func (o *optimiser) limit() {
	if o.c.Clip == 0 {
		return
	}
	sum := 0.0
	for i := range o.blocks {
		sum += o.blocks[i].squares
	}
	if norm := math.Sqrt(sum); norm > o.c.Clip {
		o.now.shorten = float32(o.c.Clip / norm)
	}
}

// update takes one step on block i.
func (o *optimiser) update(isa *kernels.ISA, sc *kernels.Scratch, i int) {
	b := &o.blocks[i]
	if o.now.shorten != 1 {
		scaleBy(b.g, o.now.shorten)
	}
	if decay := float32(o.c.WeightDecay); decay > 0 && b.decays && o.rule.coupled {
		for k, w := range b.w {
			b.g[k] += float32(decay * w)
		}
	}
	o.rule.step(&o.now, isa, sc, b)
}

// each calls f for every array of state in the order of the weights.
func (o *optimiser) each(f func([]float32)) {
	for _, s := range o.state {
		eachArray(s, f)
	}
}

// eachArray calls f for every array of the layers.
func eachArray(params []model.Param, f func([]float32)) {
	for i := range params {
		p := &params[i]
		f(p.W)
		f(p.B)
		f(p.Mean)
		f(p.Var)
	}
}
