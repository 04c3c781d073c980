package net

import (
	"github.com/epsball/epsball/kernels"
	"github.com/epsball/epsball/model"
)

// permuted reports whether Weights are in another order than the model's.
func (a *Affine) permuted() bool {
	return a.Shape.InC == a.in.Size() && a.in.H*a.in.W > 1 && a.in.C > 1
}

// Columns returns the shape that a row of the model's weights runs over, for AddUnmapped.
func (a *Affine) Columns() model.Shape {
	if a.permuted() {
		return a.in
	}
	return columns(a.Shape)
}

// Weights returns W, [OutC][InC][KH][KW], with the columns of an FC layer in the order
// of Flatten. It must not be changed. If the model stores weights in another way, it is
// a new copy. If the network is compiled for LargeBatches from float32 rows, it is the
// same memory in each call, which Reload fills.
func (a *Affine) Weights() []float32 {
	if a.rows != nil {
		return a.rows
	}
	return a.newRows(a.Shape.OutC).fill(0)
}

// weightRows is room for some rows of Weights.
type weightRows struct {
	a           *Affine
	rows, model []float32 // in our order and, if it is another, in the model's
}

func (a *Affine) newRows(n int) *weightRows {
	r := &weightRows{a: a, rows: make([]float32, n*a.Shape.FanIn())}
	if a.permuted() {
		r.model = make([]float32, len(r.rows))
	}
	return r
}

// fill returns as many rows as there is room for, or as there are, from row from on.
func (r *weightRows) fill(from int) []float32 {
	rows := r.rows[:min(len(r.rows), r.a.Shape.Weights()-from*r.a.Shape.FanIn())]
	if r.model == nil {
		r.a.param.Floats(rows, from)
		return rows
	}
	r.a.param.Floats(r.model[:len(rows)], from)
	MapColumns(r.a.isa, rows, r.model[:len(rows)], r.a.in)
	return rows
}

// reloadPart is a share of an operation's weights, see kernels.Linear.PackPart.
type reloadPart struct {
	op   weighted
	part int
}

// ReloadTasks returns the number of parts of Reload.
func (n *Network) ReloadTasks() int { return len(n.parts) }

// Reload packs part task of the weights again, after a trainer has changed those of the
// model in place. Nothing else may use the network meanwhile, except Reload of other
// parts.
func (n *Network) Reload(task int) {
	p := n.parts[task]
	p.op.pack(p.part)
}

func (a *Affine) parts() int {
	if a.parted() {
		return a.Shape.PackParts()
	}
	return 1
}

func (a *Affine) pack(part int) {
	if !a.parted() {
		a.packAll()
		return
	}
	if a.permuted() {
		from, to := a.Shape.PackRows(part)
		row := a.Shape.FanIn()
		MapColumns(a.isa, a.rows[from*row:to*row], a.param.W[from*row:to*row], a.in)
	}
	a.lanes.PackPart(a.rows, false, part)
	if part == 0 {
		a.lanes.SetBias(a.B)
	}
	if a.adjoint != nil {
		a.adjoint.PackPart(a.rows, false, part)
	}
}

// parted reports whether the weights can be packed in parts: as a trainer has them.
func (a *Affine) parted() bool { return a.small == nil && a.lanes != nil && a.rows != nil }

// packAll is pack of a layer that is not parted.
func (a *Affine) packAll() {
	if a.small != nil {
		a.packSmall()
	}
	if a.lanes == nil && a.smallBack == nil && a.winograd == nil {
		return
	}
	w := a.Weights()
	if a.lanes != nil {
		a.lanes.Pack(w, false)
		a.lanes.SetBias(a.B)
	}
	if a.adjoint != nil {
		a.adjoint.Pack(w, false)
	}
	if a.smallBack != nil {
		a.smallBack.Pack(w, false)
	}
	if a.winograd != nil {
		a.winograd.Pack(w)
		a.winograd.SetBias(a.B)
	}
	if a.winogradBack != nil {
		a.winogradBack.Pack(w)
	}
}

var weightTypes = [...]kernels.Weights{model.F32: kernels.Float32, model.BF16: kernels.BFloat16, model.F16: kernels.Float16}

// packAs returns the type in which a layer's kernels for a few images hold its
// weights: 16 bits where the model has them so and memory is what the layer waits
// for. Convolutions use a weight for many pixels and would pay for the expansion.
func (a *Affine) packAs() kernels.Weights {
	w := weightTypes[a.param.Storage().Type]
	if a.Shape != kernels.FC(a.Shape.InC, a.Shape.OutC) || !a.isa.Has(w) {
		return kernels.Float32
	}
	return w
}

// inPlace returns kernels on the model's own tiles; nil if they are of another type
// than w, or this machine cannot use them as they lie.
func (a *Affine) inPlace(w kernels.Weights) *kernels.Small {
	s := a.param.Stored
	if s == nil || !s.Storage().Tiles || weightTypes[s.Storage().Type] != w {
		return nil
	}
	return kernels.NewSmallInPlace(a.isa, a.Shape, w, s.Data())
}

// packSmall packs a few rows at a time: a copy of all of them may be all the memory
// there is.
func (a *Affine) packSmall() {
	const some = 16
	a.small.SetBias(a.B)
	switch {
	case a.small.InPlace() > 0:
	case a.rows != nil:
		a.small.Pack(a.rows, false)
	default:
		r := a.newRows(min(some, a.Shape.OutC))
		for from := 0; from < a.Shape.OutC; from += some {
			a.small.PackRows(r.fill(from), from)
		}
	}
}

// InPlace returns the bytes of weights that the network uses where the model has them,
// such as in a mapped file. Bytes does not count them.
func (n *Network) InPlace() int {
	s := 0
	for _, l := range n.layers {
		if l.small != nil {
			s += l.small.InPlace()
		}
	}
	return s
}

// Bytes returns the memory held by packed weights, without that of the model.
func (n *Network) Bytes() int {
	s := 0
	for i := range n.nodes {
		if op, ok := n.nodes[i].Op.(weighted); ok {
			s += op.bytes()
		}
	}
	return s
}

func (a *Affine) bytes() int {
	s := 0
	if a.lanes != nil {
		s += a.lanes.Bytes()
	}
	if a.adjoint != nil {
		s += a.adjoint.Bytes()
	}
	if a.small != nil {
		s += a.small.Bytes()
	}
	if a.smallBack != nil {
		s += a.smallBack.Bytes()
	}
	if a.winograd != nil {
		s += a.winograd.Bytes()
	}
	if a.winogradBack != nil {
		s += a.winogradBack.Bytes()
	}
	if a.permuted() {
		s += 4 * len(a.rows)
	}
	return s
}
