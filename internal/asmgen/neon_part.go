package main

import (
	"fmt"

	"github.com/epsball/epsball/asm"
)

func (a *neon) frame(bytes int) { a.stack = bytes }

// smallPart spills the accumulators and walks the channels: those whose word of the
// mask is negative are stored, behind their gates.
func (a *neon) smallPart(e smallEpilogue, args, mask reg) {
	count := args // once they have been read
	a.load(e.off, at(args, convArg.epilogue))
	a.load(e.gate, at(args, convArg.gateOff))
	a.compareImm(e.off, asm.EpilogueReLU)
	a.jump(notZero, "partspill")
	each := func(f func(acc vec, k int)) {
		for k := range e.p * e.v {
			f(e.acc(k/e.v, k%e.v), k)
		}
	}
	each(func(acc vec, _ int) { a.vrelu(acc, e.zero, e.held) })
	a.label("partspill")
	a.op("ADD", "$8", "RSP", addr.arm64()) // behind the place for the return address
	a.summed = false
	each(func(acc vec, k int) { a.vstore(acc, at(addr, 32*k)) })
	a.addReg(e.gate, e.outOff)
	a.op("MOVD", imm(8*e.v), count.arm64())

	word := func(base, index reg) string { return fmt.Sprintf("(%s)(%s)", base.arm64(), index.arm64()) }
	store := func(gated bool) {
		for j := range e.p {
			a.op("MOVWU", fmt.Sprintf("%d(%s)", 32*e.v*j, addr.arm64()), temp.arm64())
			if gated {
				a.op("FMOVS", word(e.ptr(j), e.gate), "F0")
				a.op("FCMPS", "$(0.0)", "F0")
				a.op("CSEL", "GT", temp.arm64(), "ZR", temp.arm64())
			}
			a.op("MOVW", temp.arm64(), word(e.ptr(j), e.outOff))
		}
	}
	a.label("partword")
	a.op("MOVWU", "("+mask.arm64()+")", temp.arm64())
	a.op("TBZ", "$31", temp.arm64(), "partnext")
	a.compareImm(e.off, asm.EpilogueGate)
	a.jump(zero, "partgate")
	store(false)
	a.jump(always, "partnext")
	a.label("partgate")
	store(true)
	a.label("partnext")
	for _, r := range []reg{mask, addr, e.outOff, e.gate} {
		a.addImm(r, 4)
	}
	a.dec(count)
	a.jump(notZero, "partword")
}
