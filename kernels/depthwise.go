package kernels

import (
	"math"
	"unsafe"

	"github.com/epsball/epsball/asm"
)

// Depthwise is a convolution of each channel by itself, or its adjoint, with packed
// weights. A 1×1 kernel is a factor and a summand for each channel: batch
// normalization at inference. Blocks are lane groups, [height][width][C][8], or
// single images, [height][width][C], as lanes is 8 or 1. After Pack and SetBias it is
// read-only and safe for concurrent use.
//
// A sum is the chain of fused multiply-adds that Linear computes for a convolution of
// that channel alone: it starts at the bias and adds its taps in order of (row, column)
// of the source, those on padding left out.
type Depthwise struct {
	isa     *ISA
	plan    *slide
	adjoint bool
	packed  []float32 // [tap][C]
	bias    []float32
}

// NewDepthwise returns y = W·x + b for the given geometry, with all weights zero.
func NewDepthwise(isa *ISA, s Sliding) *Depthwise { return newDepthwise(isa, s, false) }

// NewDepthwiseAdjoint returns dx = Wᵀ·dy, with all weights zero.
func NewDepthwiseAdjoint(isa *ISA, s Sliding) *Depthwise { return newDepthwise(isa, s, true) }

func newDepthwise(isa *ISA, s Sliding, adjoint bool) *Depthwise {
	return &Depthwise{isa, wholeSlide(s, adjoint), adjoint, padded(s.Taps() * s.C), padded(s.C)}
}

// padded is Alloc where kernels may read a lane vector from the last value on.
func padded(n int) []float32 { return Alloc(n + Lanes)[:n] }

// Windowed is Linear.Windowed.
func (l *Depthwise) Windowed(out, in Window) *Depthwise {
	plan := newSlide(l.plan.shape, out, in, l.adjoint)
	if !l.adjoint {
		plan.mustReach()
	}
	return &Depthwise{l.isa, plan, l.adjoint, l.packed, l.bias}
}

// With returns the map l, which Windowed made of a map of the same shape and kind as
// w, with the weights and biases of w.
func (l *Depthwise) With(w *Depthwise) Depthwise {
	if l.plan.shape != w.plan.shape || l.adjoint != w.adjoint {
		panic("kernels: weights of another map")
	}
	m := *l
	m.packed, m.bias = w.packed, w.bias
	return m
}

// Pack takes the weights, [C][KH][KW] of the convolution for a forward map and its
// adjoint alike; with abs their absolute values. It must not run while another
// goroutine uses l.
func (l *Depthwise) Pack(w []float32, abs bool) {
	s := l.plan.shape
	taps, mask := s.Taps(), float32Mask(abs)
	mustLen("weights", len(w), s.C*taps)
	for c := range s.C {
		for t, v := range w[c*taps:][:taps] {
			l.packed[t*s.C+c] = maskFloat32(v, mask)
		}
	}
}

// SetBias sets the constant each sum starts from, one for each channel.
func (l *Depthwise) SetBias(b []float32) {
	mustLen("bias", len(b), l.plan.shape.C)
	copy(l.bias, b)
}

// In and Out return the numbers of elements of one image of the source and of the
// destination.
func (l *Depthwise) In() int  { return l.plan.tap * l.plan.shape.C }
func (l *Depthwise) Out() int { return l.plan.centre * l.plan.shape.C }

// Bytes returns the memory held by the packed weights and the plan, PlanBytes by the
// plan: what Windowed maps hold of their own.
func (l *Depthwise) Bytes() int     { return 4*(cap(l.packed)+cap(l.bias)) + l.PlanBytes() }
func (l *Depthwise) PlanBytes() int { return int(unsafe.Sizeof(*l)) + l.plan.bytes() }

// Apply computes dst for the first blocks blocks of src. gate has the layout of dst and
// is read only for the epilogue Gate. Neither gate nor src may be dst.
func (l *Depthwise) Apply(sc *Scratch, dst, src []float32, blocks, lanes int, e Epilogue, gate []float32) {
	a := &sc.taps
	*a = asm.TapsArgs{Least: float32(math.Inf(-1)), W: base(l.packed), Bias: base(l.bias)}
	switch e {
	case ReLU:
		a.Least = 0
	case Gate:
		gate = gate[:mustFit("gate", len(gate), blocks*l.Out()*lanes)]
		raceRead(gate)
		a.Gated, a.GateOff = 1, int(uintptr(base(gate))-uintptr(base(dst)))
	}
	set, layout := l.isa.layerKernels(), min(1, lanes-1)
	l.plan.gather(a, dst, src, blocks, lanes, gathering{set.depth[layout], set.depthRow[layout], genericDepthValues, 0, set == &genericLayers})
}

// DepthwiseGrad computes the gradient of a depthwise convolution's weights and bias. It
// is read-only and safe for concurrent use.
type DepthwiseGrad struct {
	isa  *ISA
	plan *slide
	ones []float32
}

// depthChannels is the number of channels of a part of DepthwiseGrad.
const depthChannels = 16

// NewDepthwiseGrad returns the weight gradient of the given geometry.
func NewDepthwiseGrad(isa *ISA, s Sliding) *DepthwiseGrad {
	w := &DepthwiseGrad{isa: isa, plan: wholeSlide(s, false), ones: Alloc(depthGradVecs * Lanes)}
	for i := range w.ones {
		w.ones[i] = 1
	}
	return w
}

// Tasks returns the number of independent parts, each of some channels, that Apply
// can compute; Channels returns those of a part.
func (w *DepthwiseGrad) Tasks() int { return ceilDiv(w.plan.shape.C, depthChannels) }

// Channels returns the channels [from, to) of a part.
func (w *DepthwiseGrad) Channels(task int) (from, to int) {
	return task * depthChannels, min(w.plan.shape.C, (task+1)*depthChannels)
}

// DepthGradTxV of T taps and V lane vectors: three at once, then one.
const (
	depthGradTaps = 3
	depthGradVecs = 4
)

// Apply computes part task of the gradient summed over all images of the given lane
// groups: dw is [C][KH][KW], db is [C], of the part's channels alone; lanes without an
// image must hold zeros in dy. Each of eight lanes is one chain over (group, row, column)
// of dy, and the lanes are added in a fixed order, so the result does not depend on how
// tasks are spread over threads.
func (w *DepthwiseGrad) Apply(sc *Scratch, dw, db, dy, x []float32, groups, task int) {
	s := w.plan.shape
	from, to := w.Channels(task)
	n, taps := to-from, s.Taps()
	mustLen("weight gradient", len(dw), n*taps)
	mustLen("bias gradient", len(db), n)
	mustFit("output gradient", len(dy), groups*s.Out()*Lanes)
	mustFit("input", len(x), groups*s.In()*Lanes)
	raceRead(dy)
	raceRead(x)
	raceWrite(dw)
	raceWrite(db)
	// Tap.W counts the weights of all channels, so the sums have room for them.
	sums := sc.gradSums((taps + 1) * s.C * Lanes)
	for t := range taps + 1 {
		clear(sums[(t*s.C+from)*Lanes:][:n*Lanes])
	}
	a := &sc.taps
	*a = asm.TapsArgs{}
	sc.tap[0] = asm.Tap{W: 4 * taps * s.C} // that of the bias, whose input is 1
	pixel, kernels := s.C*vecBytes, &w.isa.layerKernels().depthGrad
	for g := range groups {
		first, input := base(dy[g*s.Out()*Lanes:]), base(x[g*s.In()*Lanes:])
		w.plan.each(func(c *slideCell, r slideRun) {
			for v := from; v < to; {
				vecs := depthGradVecs
				if to-v < vecs {
					vecs = 1
				}
				a.Y, a.DstStep, a.Pixels = unsafe.Add(first, pixel*r.centre+v*vecBytes), pixel*r.step, r.n
				a.W = unsafe.Pointer(&sums[v*Lanes])
				a.Src, a.SrcStep = base(w.ones), 0
				a.Taps = unsafe.Pointer(&sc.tap[0])
				kernels[1][vecs](a)
				for t := 0; t < len(c.lanes); {
					at := depthGradTaps
					if len(c.lanes)-t < at {
						at = 1
					}
					a.Taps = unsafe.Pointer(&c.lanes[t])
					a.Src, a.SrcStep = unsafe.Add(input, pixel*r.tap+v*vecBytes), pixel*r.move
					kernels[at][vecs](a)
					t += at
				}
				v += vecs
			}
		})
	}
	*a = asm.TapsArgs{}
	for c := range n {
		for t := range taps {
			dw[c*taps+t] = laneSum((*lane)(sums[(t*s.C+from+c)*Lanes:]))
		}
		db[c] = laneSum((*lane)(sums[(taps*s.C+from+c)*Lanes:]))
	}
}
