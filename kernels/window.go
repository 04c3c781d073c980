package kernels

import "fmt"

// Window is a rectangle of pixels of a map, from (Y0, X0) on up to (Y1, X1), which
// it leaves out.
type Window struct{ Y0, Y1, X0, X1 int }

// H and W return the size.
func (w Window) H() int { return w.Y1 - w.Y0 }
func (w Window) W() int { return w.X1 - w.X0 }

// Reads returns the input pixels that the outputs in w depend on; padding is no
// pixel. It is empty if they depend on none.
func (s Shape) Reads(w Window) Window {
	axis := func(o0, o1, in, k, stride, pad int) (int, int) {
		i0, i1 := max(0, o0*stride-pad), min(in, (o1-1)*stride-pad+k)
		return i0, max(i0, i1)
	}
	var r Window
	r.Y0, r.Y1 = axis(w.Y0, w.Y1, s.InH, s.KH, s.StrideH, s.PadH)
	r.X0, r.X1 = axis(w.X0, w.X1, s.InW, s.KW, s.StrideW, s.PadW)
	return r
}

// Same returns a key that is equal for windows of outputs, each with its window of
// inputs, whose plans are equal.
func (s Shape) Same(out, in Window) [6]int {
	return [6]int{
		out.H(), out.W(), in.H(), in.W(),
		in.Y0 - (out.Y0*s.StrideH - s.PadH), in.X0 - (out.X0*s.StrideW - s.PadW),
	}
}

// Windowed returns the adjoint l for a source that is zero outside the window out
// of the layer's outputs and holds those alone, and for a destination that is the
// window in of the layer's inputs. For a forward map l it returns the outputs in out
// from inputs of which the source holds those in in, which must be all they depend
// on. It shares the weights of l.
func (l *Linear) Windowed(out, in Window) *Linear {
	s := l.shape
	if out.H() < 1 || out.W() < 1 || in.H() < 1 || in.W() < 1 {
		panic(fmt.Sprintf("kernels: window %v of outputs, %v of inputs", out, in))
	}
	n := &Linear{
		isa: l.isa, shape: s, adjoint: l.adjoint, inC: l.inC, outC: l.outC, packed: l.packed, bias: l.bias,
		in: s.InC * in.H() * in.W(), out: s.OutC * out.H() * out.W(),
	}
	if !l.adjoint {
		need := s.Reads(out)
		if need.Y0 < in.Y0 || need.Y1 > in.Y1 || need.X0 < in.X0 || need.X1 > in.X1 {
			panic(fmt.Sprintf("kernels: window %v of inputs lacks some of %v", in, need))
		}
		move := func(s span, by int) span {
			s.in -= by
			return s
		}
		n.plan(out.H(), out.W(), in.W(), 1, 1,
			func(o int) span { return move(forwardSpan(s.InH, s.KH, s.StrideH, s.PadH, out.Y0+o), in.Y0) },
			func(o int) span { return move(forwardSpan(s.InW, s.KW, s.StrideW, s.PadW, out.X0+o), in.X0) },
			func(int) []int { return ascending(s.KH) }, func(int) []int { return ascending(s.KW) })
		return n
	}
	n.in, n.out = n.out, n.in
	n.plan(in.H(), in.W(), out.W(), s.StrideH, s.StrideW,
		func(i int) span { return windowSpan(s.KH, s.StrideH, s.PadH, out.Y0, out.Y1, in.Y0+i) },
		func(i int) span { return windowSpan(s.KW, s.StrideW, s.PadW, out.X0, out.X1, in.X0+i) },
		func(p int) []int { return adjointTaps(s.KH, s.StrideH, p) },
		func(p int) []int { return adjointTaps(s.KW, s.StrideW, p) })
	return n
}

// With returns the map l, which Windowed made of a map of the same shape and kind as
// w, with the weights and biases of w.
func (l *Linear) With(w *Linear) Linear {
	if l.shape != w.shape || l.adjoint != w.adjoint {
		panic("kernels: weights of another map")
	}
	m := *l
	m.packed, m.bias = w.packed, w.bias
	return m
}

// Biased returns the map with the weights of l, which both share, and the biases b.
func (l *Linear) Biased(b []float32) *Linear {
	m := *l
	m.bias = Alloc(l.outC)
	m.SetBias(b)
	return &m
}

// windowSpan is adjointSpan for the outputs o0 … o1−1, from which in counts.
func windowSpan(k, stride, pad, o0, o1, i int) span {
	// Moving both ends by whole strides changes no phase.
	i -= stride * o0
	p := ((i+pad)%stride + stride) % stride
	if i+pad < 0 {
		return span{phase: p}
	}
	return adjointSpan(k, stride, pad, o1-o0, i)
}
