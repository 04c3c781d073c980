package verify

import (
	"github.com/epsball/epsball/kernels"
	"github.com/epsball/epsball/model"
	"github.com/epsball/epsball/net"
)

// depthwiseInterval is that of a depthwise conv or a batchnorm. Each channel is a
// convolution of its own: steps 2, 5 and 6 hold with K the number of taps, 1 for a
// batchnorm, whose factor and summand are the float32 weights of the network.
type depthwiseInterval struct {
	op   *net.Depthwise
	abs  *kernels.Depthwise // |W| starting from e
	dual dual               // if the node reads the input

	*depthwiseGradient // nil until it is to be trained
}

func (p *program) newDepthwise(n *net.Node, op *net.Depthwise, b rounding) *depthwiseInterval {
	d := &depthwiseInterval{op: op, abs: kernels.NewDepthwise(p.net.ISA(), op.Sliding)}
	d.abs.Pack(op.Weights(), true)
	d.abs.SetBias(b.radiusBias(op.Bias()))
	if !p.plain && n.In[0] == 0 {
		d.dual = depthwiseNorms(p.net, op)
	}
	return d
}

func (*depthwiseInterval) form() form                { return centred }
func (*depthwiseInterval) room() (tensors, size int) { return 0, 0 }
func (d *depthwiseInterval) bytes() int              { return d.abs.Bytes() }
func (d *depthwiseInterval) norms() *dual            { return &d.dual }

func (d *depthwiseInterval) both(p *pass, dstC, srcC, dstR, srcR []float32) {
	sc, lanes := &p.sc[0], int(p.layout)
	kernel := d.op.Kernel()
	if d.depthwiseGradient != nil && d.batch != nil {
		kernel = d.batch.Kernel()
	}
	kernel.Apply(sc, dstC, srcC, p.blocks, lanes, kernels.None, nil)
	d.abs.Apply(sc, dstR, srcR, p.blocks, lanes, kernels.None, nil)
}

func (d *depthwiseInterval) forward(p *pass, n *net.Node, c, r []float32) {
	p.rows(d, n.In[0], n.Shape.Size(), c, r)
}

func (d *depthwiseInterval) backward(v *IntervalView, i int, dc, dr []float32) {
	sc, lanes, adjoint := &v.sc[0], int(v.layout), d.op.Adjoint()
	if d.batch != nil {
		adjoint = d.batch.Adjoint()
	}
	v.hand(v.steps[i].node.In[0], func(c, r []float32) {
		adjoint.Apply(sc, c, dc, v.blocks, lanes, kernels.None, nil)
		d.absAdjoint.Apply(sc, r, dr, v.blocks, lanes, kernels.None, nil)
	})
}

// depthwiseGradient is what training takes besides.
type depthwiseGradient struct {
	absAdjoint *kernels.Depthwise
	grad       *kernels.DepthwiseGrad
	layer      *model.Layer
	src        int
	batch      *net.BatchNorm // in place of the running statistics, see UseBatch
}

func newDepthwiseGradient(n *net.Network, node *net.Node, op *net.Depthwise) *depthwiseGradient {
	g := &depthwiseGradient{
		absAdjoint: kernels.NewDepthwiseAdjoint(n.ISA(), op.Sliding), grad: kernels.NewDepthwiseGrad(n.ISA(), op.Sliding),
		layer: &n.Model().Arch.Layers[node.Index], src: node.In[0],
	}
	g.absAdjoint.Pack(op.Weights(), true)
	return g
}

func (d *depthwiseInterval) learn(n *net.Network, node *net.Node) {
	d.depthwiseGradient = newDepthwiseGradient(n, node, d.op)
}

func (d *depthwiseInterval) packs() int { return 1 }

func (d *depthwiseInterval) pack(int) {
	w := d.weights()
	d.abs.Pack(w, true)
	d.absAdjoint.Pack(w, true)
}

// weights are those of the last pass of training.
func (d *depthwiseInterval) weights() []float32 {
	if d.batch != nil {
		return d.batch.Scale
	}
	return d.op.Weights()
}

func (d *depthwiseInterval) tasks() int { return d.grad.Tasks() }

// gradient adds the gradient to W and, through its factor and summand, to a batchnorm
// whose statistics are constants.
func (d *depthwiseInterval) gradient(sc *kernels.Scratch, t *Intervals, node int, w, p *model.Param, groups, part int) {
	from, to := d.grad.Channels(part)
	taps, n := d.op.Sliding.Taps(), to-from
	room := sc.Room(2*n*taps + 2*n)
	dw, signed, db, none := room[:n*taps], room[n*taps:][:n*taps], room[2*n*taps:][:n], room[2*n*taps+n:]
	d.grad.Apply(sc, dw, db, t.dc[node+1], t.c[d.src], groups, part)
	d.grad.Apply(sc, signed, none, t.dr[node+1], t.r[d.src], groups, part) // the radius has no bias
	addTo(p.B[from:to], db)
	packed := d.weights()[from*taps:]
	for k := range dw {
		g := dw[k] + timesSign(signed[k], packed[k])
		if d.layer.Kind == model.BatchNorm {
			g = d.batch.WeightGradient(g, db[k], w, from+k, d.layer.Eps)
		}
		p.W[from*taps+k] += g
	}
}

// depthwiseNorms is dualNorms of a depthwise layer that reads the input.
func depthwiseNorms(n *net.Network, op *net.Depthwise) dual {
	s := op.Sliding
	d := newDual(s.C)
	for c := range s.C {
		d.set(n, c, op.Weights()[c*s.Taps():][:s.Taps()], func(int) int { return c })
	}
	return d
}
