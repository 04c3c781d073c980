package main

import "cmp"

// segments is the loop that ConvRxP and SmallPxV share: over the segments of the
// inputs of some pixels and, within each, over k, four at a time.
//
// off counts −SegLen … 0 along a segment, in bytes, while the pixels' pointers
// stand at its end; or, where an index costs an instruction, off counts SegLen … 0
// and the pointers walk. segs counts the segments down.
type segments struct {
	args, segs, off reg
	ptr             []reg // one a pixel, at the start of the first segment
	in              int   // bytes of input a step
	weights         []reg // walk the packed weights
	weight          int   // bytes of weights a step
	unroll          int   // steps of one turn of the inner loop; 0: unroll
	// turn emits some steps of k, one or unroll of them; at is where pixel j has its
	// input of step u.
	turn func(steps int, at func(j, u int) mem)
}

// eachStep is a turn of steps that know nothing of each other.
func eachStep(step func(u int, in func(j int) mem)) func(int, func(j, u int) mem) {
	return func(steps int, at func(j, u int) mem) {
		for u := range steps {
			step(u, func(j int) mem { return at(j, u) })
		}
	}
}

// unroll is the number of steps of one turn of the inner loop.
const unroll = 4

func (s *segments) emit(t target) {
	indexed, unroll := t.indexed(), cmp.Or(s.unroll, unroll)
	// turn emits steps and moves on; off has already moved if it is an index.
	turn := func(steps int) {
		s.turn(steps, func(j, u int) mem {
			switch {
			case !indexed:
				return at(s.ptr[j], s.in*u)
			case steps == 1:
				return atIndex(s.ptr[j], s.off, 0)
			}
			return atIndex(s.ptr[j], s.off, s.in*(u-unroll))
		})
		for _, w := range s.weights {
			t.addImm(w, s.weight*steps)
		}
		if !indexed {
			for _, p := range s.ptr {
				t.addImm(p, s.in*steps)
			}
		}
	}
	t.label("seg")
	t.load(s.off, at(s.args, convArg.segLen))
	sign, beyond, within := 1, greater, lessEqual
	if indexed {
		for _, p := range s.ptr {
			t.addReg(p, s.off)
		}
		t.neg(s.off)
	} else {
		sign, beyond, within = -1, less, greaterEqual
	}
	t.addImm(s.off, sign*s.in*unroll)
	t.jump(beyond, "rest")
	t.label("kloop")
	turn(unroll)
	t.addImm(s.off, sign*s.in*unroll)
	t.jump(within, "kloop")
	t.label("rest")
	t.addImm(s.off, -sign*s.in*unroll)
	t.jump(zero, "segend")
	t.label("single")
	turn(1)
	t.addImm(s.off, sign*s.in)
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
