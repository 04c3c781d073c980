package main

// segments is the loop that ConvRxP and SmallPxV share: over the segments of the
// inputs of some pixels and, within each, over k, four at a time.
//
// off counts −SegLen … 0 along a segment, in bytes, while the pixels' pointers
// stand at its end; segs counts the segments down.
type segments struct {
	args, segs, off reg
	ptr             []reg // one a pixel, at the start of the first segment
	in              int   // bytes of input a step
	weights         []reg // walk the packed weights
	weight          int   // bytes of weights a step
	// step emits one k: step u of those unrolled, inputs at disp from off.
	step func(u, disp int)
}

// unroll is the number of steps of one turn of the inner loop.
const unroll = 4

func (s *segments) emit(t target) {
	advance := func(steps int) {
		for _, w := range s.weights {
			t.addImm(w, s.weight*steps)
		}
	}
	t.label("seg")
	t.load(s.off, at(s.args, convArg.segLen))
	for _, p := range s.ptr {
		t.addReg(p, s.off)
	}
	t.neg(s.off)
	t.addImm(s.off, s.in*unroll)
	t.jump(greater, "rest")
	t.label("kloop")
	for u := range unroll {
		s.step(u, s.in*(u-unroll))
	}
	advance(unroll)
	t.addImm(s.off, s.in*unroll)
	t.jump(lessEqual, "kloop")
	t.label("rest")
	t.addImm(s.off, -s.in*unroll)
	t.jump(zero, "segend")
	t.label("single")
	s.step(0, 0)
	advance(1)
	t.addImm(s.off, s.in)
	t.jump(notZero, "single")
	t.label("segend")
	t.load(s.off, at(s.args, convArg.segSkip))
	for _, p := range s.ptr {
		t.addReg(p, s.off)
	}
	for _, w := range s.weights {
		t.addMem(w, at(s.args, convArg.wSegSkip))
	}
	t.dec(s.segs)
	t.jump(notZero, "seg")
}

// pixelRegs returns n registers from first on.
func pixelRegs(first reg, n int) []reg {
	regs := make([]reg, n)
	for j := range regs {
		regs[j] = first + reg(j)
	}
	return regs
}
