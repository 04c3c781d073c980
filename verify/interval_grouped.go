package verify

import (
	"github.com/epsball/epsball/kernels"
	"github.com/epsball/epsball/model"
	"github.com/epsball/epsball/net"
)

// groupedInterval is that of a conv whose channels fall into groups, each a dense conv
// of its own: steps 2, 5 and 6 hold with the fan-in of one group.
type groupedInterval struct {
	op   *net.Grouped
	maps []intervalMap // of each group
	dual dual          // if the node reads the input

	*groupedGradient // nil until it is to be trained
}

func (p *program) newGrouped(n *net.Node, op *net.Grouped, b rounding) *groupedInterval {
	g := &groupedInterval{op: op}
	for k := range op.Groups {
		w := linear{lanes: op.Lanes(k), small: op.Small(k), macs: op.Shape.MACs()}
		g.maps = append(g.maps, newIntervalMap(p.net, w, op.Shape, func() []float32 { return op.Weights(k) }, b.radiusBias(op.Bias(k))))
	}
	if !p.plain && n.In[0] == 0 {
		g.dual = groupedNorms(p.net, op)
	}
	return g
}

func (*groupedInterval) form() form { return centred }

func (g *groupedInterval) room() (tensors, size int) {
	return 4, max(g.op.Shape.In(), g.op.Shape.Out())
}

func (g *groupedInterval) bytes() int {
	n := 0
	for k := range g.maps {
		n += g.maps[k].magnitudes()
	}
	return n
}

func (g *groupedInterval) norms() *dual { return &g.dual }

func (g *groupedInterval) both(p *pass, dstC, srcC, dstR, srcR []float32) {
	s := g.op.Shape
	inC, inR, outC, outR := p.temp(0, s.In()), p.temp(1, s.In()), p.temp(2, s.Out()), p.temp(3, s.Out())
	for k := range g.maps {
		p.take(inC, srcC, g.op.Groups, k, s.InC, s.InH*s.InW)
		p.take(inR, srcR, g.op.Groups, k, s.InC, s.InH*s.InW)
		p.applyBoth(&g.maps[k], outC, inC, outR, inR)
		p.put(dstC, outC, g.op.Groups, k, s.OutC, s.OutH()*s.OutW())
		p.put(dstR, outR, g.op.Groups, k, s.OutC, s.OutH()*s.OutW())
	}
}

// take and put copy the n channels of group k of so many, from and to whole pixels.
func (p *pass) take(dst, src []float32, groups, k, n, pixels int) {
	kernels.SelectChannels(dst, src, p.blocks*pixels, n*groups, k*n, n, int(p.layout))
}

func (p *pass) put(dst, src []float32, groups, k, n, pixels int) {
	kernels.PlaceChannels(dst, src, p.blocks*pixels, n*groups, k*n, n, int(p.layout))
}

func (g *groupedInterval) forward(p *pass, n *net.Node, c, r []float32) {
	p.rows(g, n.In[0], n.Shape.Size(), c, r)
}

func (g *groupedInterval) backward(v *IntervalView, i int, dc, dr []float32) {
	s, groups, sc := g.op.Shape, g.op.Groups, &v.sc[0]
	dout, din := v.temp(0, s.Out()), v.temp(1, s.In())
	v.hand(v.steps[i].node.In[0], func(c, r []float32) {
		for k := range groups {
			v.take(dout, dc, groups, k, s.OutC, s.OutH()*s.OutW())
			g.op.Adjoint(k).Apply(sc, din, dout, v.blocks, kernels.None, nil)
			v.put(c, din, groups, k, s.InC, s.InH*s.InW)
			v.take(dout, dr, groups, k, s.OutC, s.OutH()*s.OutW())
			g.absAdjoint[k].Apply(sc, din, dout, v.blocks, kernels.None, nil)
			v.put(r, din, groups, k, s.InC, s.InH*s.InW)
		}
	})
}

// groupedGradient is what training takes besides.
type groupedGradient struct {
	absAdjoint []*kernels.Linear
	grad       *kernels.WeightGrad
	cols       model.Shape // of a row of the model's weights, which have no zeros between taps
	dilation   [2]int
	src        int
}

func newGroupedGradient(n *net.Network, node *net.Node, op *net.Grouped) *groupedGradient {
	s := op.Shape
	l := &n.Model().Arch.Layers[node.Index]
	g := &groupedGradient{
		grad: kernels.NewWeightGrad(n.ISA(), s), cols: model.Shape{C: s.InC, H: l.Kernel[0], W: l.Kernel[1]},
		dilation: l.Dilations(), src: node.In[0],
	}
	for k := range op.Groups {
		l := kernels.NewAdjoint(n.ISA(), s)
		l.Pack(op.Weights(k), true)
		g.absAdjoint = append(g.absAdjoint, l)
	}
	return g
}

func (g *groupedInterval) learn(n *net.Network, node *net.Node) {
	g.groupedGradient = newGroupedGradient(n, node, g.op)
}

func (g *groupedInterval) packs() int { return g.op.Groups }

func (g *groupedInterval) pack(k int) {
	g.maps[k].abs.Pack(g.op.Weights(k), true)
	g.absAdjoint[k].Pack(g.op.Weights(k), true)
}

func (g *groupedInterval) tasks() int { return g.op.Groups }

func (g *groupedInterval) gradient(sc *kernels.Scratch, t *Intervals, node int, w, d *model.Param, groups, k int) {
	s, row := g.op.Shape, g.cols.Size()
	in, out := groups*s.In()*kernels.Lanes, groups*s.Out()*kernels.Lanes
	taps := s
	taps.KH, taps.KW = g.cols.H, g.cols.W
	room := sc.Room(in + out + s.Weights() + s.OutC + taps.Weights())
	x, dy, room := room[:in], room[in:][:out], room[in+out:]
	all, db, dw := room[:s.Weights()], room[s.Weights():][:s.OutC], room[s.Weights()+s.OutC:]
	for _, centre := range []bool{true, false} {
		of, dof := t.c[g.src], t.dc[node+1]
		if !centre {
			of, dof = t.r[g.src], t.dr[node+1]
		}
		kernels.SelectChannels(x, of, groups*s.InH*s.InW, s.InC*g.op.Groups, k*s.InC, s.InC, kernels.Lanes)
		kernels.SelectChannels(dy, dof, groups*s.OutH()*s.OutW(), s.OutC*g.op.Groups, k*s.OutC, s.OutC, kernels.Lanes)
		for task := range g.grad.Tasks() {
			from, to := g.grad.Channels(task)
			g.grad.Apply(sc, all[from*s.FanIn():to*s.FanIn()], db[from:to], dy, x, groups, task)
		}
		kernels.UndilateGrad(dw, all, taps, g.dilation[0], g.dilation[1])
		if centre { // the radius has no bias
			addTo(d.B[k*s.OutC:][:s.OutC], db)
		}
		for o := range s.OutC {
			at := (k*s.OutC + o) * row
			if centre {
				net.AddUnmapped(d.W[at:][:row], dw[o*row:], g.cols)
			} else {
				addSigned(d.W[at:][:row], w.W[at:][:row], dw[o*row:], g.cols)
			}
		}
	}
}

// groupedNorms is dualNorms of a grouped conv that reads the input.
func groupedNorms(n *net.Network, op *net.Grouped) dual {
	s := op.Shape
	d := newDual(op.Groups * s.OutC)
	for k := range op.Groups {
		w := op.Weights(k)
		for o := range s.OutC {
			d.set(n, k*s.OutC+o, w[o*s.FanIn():][:s.FanIn()], func(i int) int { return k*s.InC + i/(s.KH*s.KW) })
		}
	}
	return d
}
