package verify

import (
	"github.com/epsball/epsball/kernels"
	"github.com/epsball/epsball/model"
	"github.com/epsball/epsball/net"
)

// affineInterval is that of a dense conv or fc, with what is added to it: steps 2, 5
// and 6.
type affineInterval struct {
	affine *net.Affine
	maps   intervalMap // W, and |W| starting from e
	dual   dual        // if the layer reads the input

	*affineGradient // nil until it is to be trained
}

func (p *program) newAffine(a *net.Affine, b rounding) *affineInterval {
	w := linear{lanes: a.Lanes(), macs: a.Shape.MACs()}
	w.small, _ = a.Small(1, 1)
	i := &affineInterval{affine: a, maps: newIntervalMap(p.net, w, a.Shape, a.Weights, b.radiusBias(a.B))}
	if !p.plain && a.Src == 0 {
		i.dual = dualNorms(p.net, a.Weights(), a.Shape)
	}
	return i
}

func (*affineInterval) form() form                { return centred }
func (*affineInterval) room() (tensors, size int) { return 0, 0 }
func (i *affineInterval) bytes() int              { return i.maps.magnitudes() }
func (i *affineInterval) norms() *dual            { return &i.dual }

func (i *affineInterval) both(p *pass, dstC, srcC, dstR, srcR []float32) {
	p.applyBoth(&i.maps, dstC, srcC, dstR, srcR)
}

func (i *affineInterval) forward(p *pass, _ *net.Node, c, r []float32) {
	a := i.affine
	p.rows(i, a.Src, a.Shape.Out(), c, r)
	if a.Skip >= 0 {
		p.net.ISA().IntervalAdd(&p.sc[0], c, r, p.c[a.Skip][:len(c)], p.r[a.Skip][:len(c)], p.adding())
	}
}

func (i *affineInterval) backward(v *IntervalView, _ int, dc, dr []float32) {
	a, sc := i.affine, &v.sc[0]
	v.hand(a.Src, func(c, r []float32) {
		a.Adjoint().Apply(sc, c, dc, v.blocks, kernels.None, nil)
		i.absAdjoint.Apply(sc, r, dr, v.blocks, kernels.None, nil)
	})
	if a.Skip >= 0 {
		v.handOn(a.Skip, dc, dr)
	}
}

// affineGradient is what training takes besides.
type affineGradient struct {
	absAdjoint *kernels.Linear
	grad       *kernels.WeightGrad
	cols       model.Shape // of a row of weights
	dbias      []float32
}

func newAffineGradient(n *net.Network, a *net.Affine) *affineGradient {
	g := &affineGradient{grad: kernels.NewWeightGrad(n.ISA(), a.Shape), cols: a.Columns(), dbias: make([]float32, len(a.B))}
	g.absAdjoint = kernels.NewAdjoint(n.ISA(), a.Shape)
	g.absAdjoint.Pack(a.Weights(), true)
	return g
}

func (i *affineInterval) learn(n *net.Network, _ *net.Node) {
	i.affineGradient = newAffineGradient(n, i.affine)
}

func (i *affineInterval) packs() int { return i.affine.Shape.PackParts() }

func (i *affineInterval) pack(part int) {
	w := i.affine.Weights()
	i.maps.abs.PackPart(w, true, part)
	i.absAdjoint.PackPart(w, true, part)
}

func (i *affineInterval) tasks() int { return i.grad.Tasks() }

func (i *affineInterval) gradient(sc *kernels.Scratch, t *Intervals, node int, w, d *model.Param, groups, part int) {
	row := i.cols.Size()
	from, to := i.grad.Channels(part)
	dw, db := sc.Room((to-from)*row), i.dbias[from:to]
	i.grad.Apply(sc, dw, db, t.dc[node+1], t.c[i.affine.Src], groups, part)
	addTo(d.B[from:to], db)
	for o := from; o < to; o++ {
		net.AddUnmapped(d.W[o*row:][:row], dw[(o-from)*row:], i.cols)
	}
	i.grad.Apply(sc, dw, db, t.dr[node+1], t.r[i.affine.Src], groups, part) // the radius has no bias
	for o := from; o < to; o++ {
		addSigned(d.W[o*row:][:row], w.W[o*row:][:row], dw[(o-from)*row:], i.cols)
	}
}
