package net

import (
	"github.com/epsball/epsball/kernels"
	"github.com/epsball/epsball/model"
)

// Grouped is a convolution whose channels fall into groups, a dense one for each, of
// the channels of its group; or one group of all, whose taps lie apart.
type Grouped struct {
	Shape  kernels.Shape // of one group; with a dilation, zeros are between its taps
	Groups int

	taps             kernels.Shape // of one group, without the zeros
	dilation         [2]int
	param            *model.Param
	macs             int64
	weights          []float32
	lanes, adjoint   []*kernels.Linear // of each group; nil for SmallBatches
	small, smallBack []*kernels.Small  // nil for LargeBatches
}

func (n *Network) newGrouped(i int, in model.Shape) *Grouped {
	l := n.model.Arch.Layers[i]
	g := &Grouped{Groups: l.GroupCount(), dilation: l.Dilations(), param: &n.model.Params[i]}
	in.C /= g.Groups
	l.Out /= g.Groups
	g.taps = Geometry(l, in)
	g.Shape = g.taps.Dilate(g.dilation[0], g.dilation[1])
	g.weights = g.param.Rows()
	if g.dilated() {
		g.weights = make([]float32, g.Groups*g.Shape.Weights())
	}
	windows := sliding(&l, in)
	windows.C = 1
	g.macs = windows.MACs() * int64(in.C) * int64(l.Out) * int64(g.Groups)
	for range g.Groups {
		if n.HasLanes() {
			g.lanes = append(g.lanes, kernels.NewForward(n.isa, g.Shape))
		}
		if n.HasSmall() {
			g.small = append(g.small, kernels.NewSmall(n.isa, g.Shape))
		}
		if n.options.Backward && n.HasLanes() {
			g.adjoint = append(g.adjoint, kernels.NewAdjoint(n.isa, g.Shape))
		}
		if n.options.Backward && n.HasSmall() {
			g.smallBack = append(g.smallBack, kernels.NewSmallAdjoint(n.isa, g.Shape))
		}
	}
	return g
}

// Weights and Bias return those of one group, [OutC][InC][KH][KW] and [OutC]: not to be
// changed.
func (g *Grouped) Weights(group int) []float32 {
	n := g.Shape.Weights()
	return g.weights[group*n : (group+1)*n]
}

func (g *Grouped) Bias(group int) []float32 {
	return g.param.B[group*g.Shape.OutC : (group+1)*g.Shape.OutC]
}

// Taps returns Shape without the zeros of a dilation.
func (g *Grouped) Taps() kernels.Shape { return g.taps }

func (g *Grouped) dilated() bool { return g.dilation != [2]int{1, 1} }

// Lanes, Small and Adjoint return the maps of one group: W·x + b on lanes and on single
// images, without the node's ReLU, and Wᵀ·dy on lanes; nil for batches or passes that
// the network was not compiled for.
func (g *Grouped) Lanes(group int) *kernels.Linear   { return of(g.lanes, group) }
func (g *Grouped) Small(group int) *kernels.Small    { return of(g.small, group) }
func (g *Grouped) Adjoint(group int) *kernels.Linear { return of(g.adjoint, group) }

func of[T any](maps []*T, group int) *T {
	if maps == nil {
		return nil
	}
	return maps[group]
}

func (g *Grouped) parts() int { return g.Groups }

func (g *Grouped) pack(k int) {
	w, b := g.Weights(k), g.Bias(k)
	if n := g.taps.Weights(); g.dilated() {
		kernels.DilateWeights(w, g.param.Rows()[k*n:(k+1)*n], g.taps, g.dilation[0], g.dilation[1])
	}
	if g.lanes != nil {
		g.lanes[k].Pack(w, false)
		g.lanes[k].SetBias(b)
	}
	if g.small != nil {
		g.small[k].Pack(w, false)
		g.small[k].SetBias(b)
	}
	if g.adjoint != nil {
		g.adjoint[k].Pack(w, false)
	}
	if g.smallBack != nil {
		g.smallBack[k].Pack(w, false)
	}
}

func (g *Grouped) bytes() int {
	n := 0
	for k := range g.Groups {
		if g.lanes != nil {
			n += g.lanes[k].Bytes()
		}
		if g.small != nil {
			n += g.small[k].Bytes()
		}
		if g.adjoint != nil {
			n += g.adjoint[k].Bytes()
		}
		if g.smallBack != nil {
			n += g.smallBack[k].Bytes()
		}
	}
	return n
}

// spare is the room that the passes need, twice, for the channels of one group.
func (g *Grouped) spare() int { return max(g.Shape.In(), g.Shape.Out()) } // none for one group

func (g *Grouped) forward(w *Workspace, n *Node, dst []float32) {
	g.each(w, dst, w.act(n.In[0]), g.Shape.OutC, g.Shape.InC, g.Shape.OutH()*g.Shape.OutW(), g.Shape.InH*g.Shape.InW,
		func(k int, dst, src []float32) {
			if w.layout == Singles {
				g.small[k].Apply(&w.sc[0], dst, src, w.blocks, epilogue(n.ReLU), nil, 0, 1)
			} else {
				g.lanes[k].Apply(&w.sc[0], dst, src, w.blocks, epilogue(n.ReLU), nil)
			}
		})
}

func (g *Grouped) backward(w *Workspace, i int, dout []float32, least int) {
	k := w.net.nodes[i].In[0]
	if k < least {
		return
	}
	w.handNew(w.net.hands[i][0], k, func(dst []float32) {
		g.each(w, dst, dout, g.Shape.InC, g.Shape.OutC, g.Shape.InH*g.Shape.InW, g.Shape.OutH()*g.Shape.OutW(),
			func(k int, dst, src []float32) {
				if w.layout == Singles {
					g.smallBack[k].Apply(&w.sc[0], dst, src, w.blocks, kernels.None, nil, 0, 1)
				} else {
					g.adjoint[k].Apply(&w.sc[0], dst, src, w.blocks, kernels.None, nil)
				}
			})
	})
}

// each calls f for every group with the channels of src that are its own, and puts the
// channels that f gives in their places in dst.
func (g *Grouped) each(w *Workspace, dst, src []float32, to, from, toPixels, fromPixels int, f func(k int, dst, src []float32)) {
	if g.Groups == 1 {
		f(0, dst, src)
		return
	}
	lanes := int(w.layout)
	in, out := w.spare[0][:w.length(from*fromPixels)], w.spare[1][:w.length(to*toPixels)]
	for k := range g.Groups {
		kernels.SelectChannels(in, src, w.blocks*fromPixels, from*g.Groups, k*from, from, lanes)
		f(k, out, in)
		kernels.PlaceChannels(dst, out, w.blocks*toPixels, to*g.Groups, k*to, to, lanes)
	}
}
