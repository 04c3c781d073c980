package onnx

import (
	"math"
	"slices"

	"github.com/epsball/epsball/model"
)

// affine is x·scale + shift for each element of an activation, in float64: the
// constants that wait for a layer to take them in.
type affine struct {
	scale, shift []float64

	// The same as (x − mean) / std, if it is that exactly; see stage.
	mean, std []float32
	stage     int
	alone     bool     // no other node reads the activation itself
	by        []string // nodes it stands for

	norm *norm // the batch norm it is, if it is nothing else; nil
}

// norm is a batch norm as a file has it, one value for each channel of a view.
type norm struct {
	model.Param
	eps float32
}

// Stages of affine: what it may still become.
const (
	stageNone = iota // x
	stageMean        // x − mean
	stageStd         // (x − mean) / std
	stageFree        // something else
)

// Operations with constants.
const (
	opAdd  = '+'
	opSub  = '-' // x − c
	opFrom = 'r' // c − x
	opMul  = '*'
	opDiv  = '/'
	opNorm = 'b' // x·c + d
)

func newAffine(n int, alone bool) *affine {
	f := &affine{scale: make([]float64, n), shift: make([]float64, n), alone: alone}
	for i := range f.scale {
		f.scale[i] = 1
	}
	return f
}

func (f *affine) clone() *affine {
	g := *f
	g.scale, g.shift = slices.Clone(f.scale), slices.Clone(f.shift)
	g.mean, g.std = slices.Clone(f.mean), slices.Clone(f.std)
	return &g
}

// apply appends an operation with the constants c and, for opNorm, d.
func (f *affine) apply(op byte, c, d []float64) {
	f.track(op, c)
	f.norm = nil
	for i, c := range c {
		switch s, t := &f.scale[i], &f.shift[i]; op {
		case opAdd:
			*t += c
		case opSub:
			*t -= c
		case opFrom:
			*s, *t = -*s, c-*t
		case opMul:
			*s, *t = *s*c, *t*c
		case opDiv:
			*s, *t = *s/c, *t/c
		case opNorm:
			*s, *t = *s*c, float64(*t*c)+d[i]
		}
	}
}

// track follows the form (x − mean) / std, in which only the constants of the
// file occur.
func (f *affine) track(op byte, c []float64) {
	f32 := func(g func(float64) float64) []float32 {
		v := make([]float32, len(c))
		for i, x := range c {
			v[i] = float32(g(x))
		}
		return v
	}
	inverse := func(x float64) float64 { return 1 / x }
	same := func(x float64) float64 { return x }
	switch {
	case op == opSub && f.stage == stageNone:
		f.mean, f.stage = f32(same), stageMean
	case op == opAdd && f.stage == stageNone:
		f.mean, f.stage = f32(func(x float64) float64 { return -x }), stageMean
	case op == opDiv && f.stage <= stageMean:
		f.std, f.stage = f32(same), stageStd
	case op == opMul && f.stage <= stageMean && !slices.ContainsFunc(c, func(x float64) bool { return !isPower(x) }):
		f.std, f.stage = f32(inverse), stageStd
	default:
		f.mean, f.std, f.stage = nil, nil, stageFree
	}
}

// isPower reports whether x is a power of two whose inverse is a float32 as well.
func isPower(x float64) bool {
	frac, exp := math.Frexp(x)
	return frac == 0.5 && exp > -120 && exp < 120
}

// reordered returns the affine of the elements order.
func (f *affine) reordered(order []int32) *affine {
	g := *f
	g.scale, g.shift = pick(f.scale, order), pick(f.shift, order)
	g.mean, g.std = pick(f.mean, order), pick(f.std, order)
	return &g
}

func pick[T any](v []T, order []int32) []T {
	if v == nil {
		return nil
	}
	w := make([]T, len(order))
	for i, p := range order {
		w[i] = v[p]
	}
	return w
}

func (f *affine) shifts() bool {
	return f != nil && slices.ContainsFunc(f.shift, func(x float64) bool { return x != 0 })
}

func (f *affine) identity() bool {
	return !f.shifts() && !slices.ContainsFunc(f.scale, func(x float64) bool { return x != 1 })
}

// perChannel returns one value for each channel, if they are the same within each.
func perChannel[T comparable](v []T, s model.Shape) ([]T, bool) {
	area := s.H * s.W
	w := make([]T, s.C)
	for i := range w {
		w[i] = v[i*area]
		for _, x := range v[i*area : (i+1)*area] {
			if x != w[i] {
				return nil, false
			}
		}
	}
	return w, true
}

// constantOp applies an operation with constants, one for each element of the
// view's source in the source's order: to the layer that computes it if it can,
// else to the view.
func (im *importer) constantOp(n *node, a *act, op byte, c, d []float64) (*act, error) {
	if err := im.charge(2 * int64(len(c))); err != nil {
		return nil, err
	}
	if a.src != netInput && a.sole && a.affine == nil && a.pad == [4]int{} {
		if l := im.layers[a.src]; l.affine() {
			k, ok := perChannel(c, l.shape)
			var m []float64
			if d != nil && ok {
				m, ok = perChannel(d, l.shape)
			}
			if ok {
				l.fold(op, k, m)
				l.by = append(l.by, n.label())
				return a, nil
			}
		}
	}
	b := *a
	if a.affine == nil {
		b.affine = newAffine(len(c), a.sole)
	} else {
		b.affine = a.affine.clone()
	}
	b.affine.apply(op, c, d)
	b.affine.by = append(slices.Clip(b.affine.by), n.label())
	return &b, nil
}

// settle makes layers of what a view waits to apply. The result is the view of a
// layer's output, or of the input, itself.
func (im *importer) settle(n *node, a *act) (*act, error) {
	if a.affine == nil && a.pad == [4]int{} {
		return a, nil
	}
	a, err := im.placed(a)
	if err != nil {
		return nil, err
	}
	if a, err = im.normalized(a); err != nil || a.affine == nil && a.pad == [4]int{} {
		return a, err
	}
	s := im.shapeOf(a)
	if a.affine != nil && a.affine.norm != nil && a.pad == [4]int{} {
		if b, ok := im.batchNorm(a, a.affine.norm); ok {
			return b, nil
		}
	}
	if err := im.charge(int64(s.C) * int64(s.C)); err != nil {
		return nil, err
	}
	scale, shift := make([]float64, s.C), make([]float64, s.C)
	for i := range scale {
		scale[i] = 1
	}
	if f := a.affine; f != nil {
		var ok, ok2 bool
		scale, ok = perChannel(f.scale, s)
		shift, ok2 = perChannel(f.shift, s)
		if !ok || !ok2 {
			return nil, n.errorf("input", "got constants that differ within a channel of %v, expected one for each channel or a fully connected layer to take them in", s)
		}
	}
	w := make([]float32, s.C*s.C)
	for i := range s.C {
		w[i*s.C+i] = 1
	}
	var l *layer
	if s.H*s.W == 1 && a.pad == [4]int{} {
		l = &layer{Layer: model.Layer{Kind: model.FC, Out: s.C}, in: []int{a.src}, shape: s, w: w, bias: make([]float64, s.C)}
	} else {
		win := newWindow(1, 1)
		win.pads = a.pad
		if l, err = im.conv(n, &act{src: a.src}, s, w, make([]float64, s.C), win); err != nil {
			return nil, err
		}
	}
	l.fold(opNorm, scale, shift)
	if a.affine != nil {
		l.by = a.affine.by
	}
	b := *a
	b.src, b.affine, b.pad, b.sole = im.push(l), nil, [4]int{}, true
	return &b, nil
}

// normalized returns the view with its constants taken in by a normalize layer,
// if it is of the input and they are of that form; else the view as it is. An
// affine that does nothing is dropped.
func (im *importer) normalized(a *act) (*act, error) {
	f := a.affine
	if f == nil {
		return a, nil
	}
	if err := im.charge(int64(len(f.scale))); err != nil {
		return nil, err
	}
	b := *a
	b.affine = nil
	// Files of our own keep even a normalize layer that does nothing.
	if ours := im.producer == producer; f.identity() && (!ours || a.src != netInput) {
		return &b, nil
	}
	if a.src != netInput || !f.alone || f.stage != stageMean && f.stage != stageStd {
		return a, nil
	}
	s := im.in.shape
	mean, std := make([]float32, s.C), make([]float32, s.C)
	ok, ok2 := true, true
	if f.mean != nil {
		mean, ok = perChannel(f.mean, s)
	}
	for i := range std {
		std[i] = 1
	}
	if f.std != nil {
		std, ok2 = perChannel(f.std, s)
	}
	const smallest = 0x1p-126 // std of a normalize layer
	if !ok || !ok2 || slices.ContainsFunc(std, func(x float32) bool { return x < smallest }) {
		return a, nil
	}
	if im.norm == nil {
		im.norm = &layer{Layer: model.Layer{Kind: model.Normalize, Mean: mean, Std: std}, in: []int{netInput}, shape: s}
		im.normAt = im.push(im.norm)
	} else if !slices.Equal(im.norm.Mean, mean) || !slices.Equal(im.norm.Std, std) {
		return a, nil
	}
	b.src = im.normAt
	return &b, nil
}
