package main

import (
	"bytes"
	"fmt"
	"strings"
)

// reg is a general register, numbered from 0; a target maps it to a name.
type reg int

// vec is a lane vector: eight float32, in as many machine registers as the
// ISA needs. Where a register has room for two, pair names all of it: one
// instruction then serves two neighbours in memory, each as if it were alone.
type vec int

const pairBit vec = 1 << 8

func (v vec) pair() vec    { return v | pairBit }
func (v vec) single() vec  { return v &^ pairBit }
func (v vec) isPair() bool { return v&pairBit != 0 }

// unit is a run of n lane vectors in one register; first counts the ones before.
type unit struct{ first, n int }

// units deals n neighbouring lane vectors to registers of t: pairs where it has
// them, and what is left alone.
func units(t target, n int) []unit {
	var list []unit
	for i := 0; i < n; i += t.span() {
		list = append(list, unit{i, min(t.span(), n-i)})
	}
	return list
}

// of is the part of v that the unit fills.
func (u unit) of(v vec) vec {
	if u.n == 2 {
		return v.pair()
	}
	return v
}

// mem is the address base + index + disp; index < 0 means none.
type mem struct {
	base, index reg
	disp        int
}

func at(base reg, disp int) mem             { return mem{base, -1, disp} }
func atIndex(base, index reg, disp int) mem { return mem{base, index, disp} }

type cond int

const (
	always cond = iota
	zero
	notZero
	less
	lessEqual
	greater
	greaterEqual
)

// target is an ISA as the kernel descriptions see it. Jumps test the result
// of the last addImm, addReg, dec or compareImm.
type target interface {
	isa() string    // as users name it: "avx2"
	suffix() string // of file names: "avx2_amd64"
	vecs() int      // registers for lane vectors
	span() int      // lane vectors one of them can hold: 1, or 2 with pairs
	indexed() bool  // instructions take base + index + disp at no cost

	text(name, doc, params string, argBytes int)
	comment(format string, args ...any)
	regName(r reg) string             // as the assembler knows it
	vecNames(first vec, n int) string // the machine registers of n lane vectors
	loadArg(dst reg, name string, off int)
	splatArg(dst vec, name string, off int)
	label(name string)
	jump(c cond, label string)
	ret()
	pause()

	load(dst reg, m mem)
	load32(dst reg, m mem) // sign-extended
	store(src reg, m mem)
	prefetch(m mem) // a hint: the address may be anywhere
	prefetchL2(m mem)
	move(dst, src reg)
	clear(dst reg)
	addImm(dst reg, imm int)
	addReg(dst, src reg)
	addMem(dst reg, m mem)
	neg(dst reg)
	shiftLeft(dst reg, n int)
	shiftRight(dst reg, n int)
	dec(dst reg)
	compareImm(r reg, imm int)

	vload(dst vec, m mem)
	vloadBF16(dst vec, m mem) // eight bfloat16 as float32, exactly
	vloadF16(dst vec, m mem)  // eight binary16 as float32, exactly; subnormals too
	vstore(src vec, m mem)
	splatInit(tmp reg)     // must come before vsplat of a pair
	vsplat(dst vec, m mem) // one float32 from memory to every lane; the next one to the pair's second
	vdup(dst vec, m mem)   // one lane vector from memory, to both of a pair
	vmove(dst, src vec)
	vzero(dst vec)
	vadd(dst, a, b vec)
	vsub(dst, a, b vec)
	vmul(dst, a, b vec)
	vdiv(dst, a, b vec) // a / b
	vsqrt(dst, a vec)
	vfma(acc, a, b vec)                           // acc = a*b + acc, one rounding
	vfmaMem(acc, a vec, m mem)                    // acc = a*mem + acc; not for byElement
	vmax(dst, a, b vec)                           // a > b ? a : b, lane by lane
	vmin(dst, a, b vec)                           // a < b ? a : b
	vrelu(v, zero, tmp vec)                       // v = 0 > v ? 0 : v; tmp is lost
	vand(dst, a, b vec)                           // bitwise
	vor(dst, a, b vec)                            // bitwise
	vxor(dst, a, b vec)                           // bitwise
	vandNot(dst, mask, v vec)                     // ^mask & v
	vgate(v, gate, zero vec)                      // v = gate > 0 ? v : +0; gate is lost
	vnonzero(dst, a, zero vec)                    // all ones where a < 0 or a > 0 (not for NaN)
	vless(dst, a, b vec)                          // all ones where a < b
	vequal(dst, a, b vec)                         // all ones where a = b (not for NaN)
	vexponent(dst, a vec)                         // the last 9 bits become the first
	vaddInt(dst, a, b vec)                        // of 32 bits
	vsubInt(dst, a, b vec)                        // of 32 bits
	vgather(dst, tmp vec, base reg, index [8]reg) // lane l from base + index[l]
	vselect(dst, mask, yes, no vec)               // mask's sign bit picks yes or no
	vconst(dst vec, name string)                  // a named constant of the file
	vtranspose4(v, tmp [4]vec)                    // v[i] = elements i and i+4 of all four; tmp is lost
	vstoreHalf(src vec, high int, m mem)
	lane8Sum(v, tmp vec, m mem) // ((0+4)+(2+6)) + ((1+5)+(3+7)) to memory

	source() []byte
	stubs() []stub
}

// pairs is a target with room for two lane vectors in a register.
type pairs interface {
	target
	vjoin(dst vec, first, second mem) // a pair of two places in memory
	vsplit(src vec, first, second mem)
	vsplatBoth(dst vec, m mem) // one float32 to every lane of a pair
}

// byElement is a target whose FMAs take one factor from an element of a register, so
// that weights need no splat. Its lane vectors are two halves: registers 2v and 2v+1.
type byElement interface {
	target
	loadWords(dst half, n int, m mem) // n ≤ 4 float32 from memory to the first elements
	loadHalfBF16(dst half, m mem)     // four values of 16 bits, as vloadBF16
	loadHalfF16(dst half, m mem)
	fmaElement(acc, x vec, w half, element int) // acc = x*w[element] + acc
	fmaHalf(acc, x, w half, element int)        // the same of four lanes
	mulElement(dst, x vec, w half, element int) // x*w[element]
	absHalf(h half)                             // |h|
}

// masked is a target that loads and stores some lanes alone: those whose mask is
// negative. The others get zeros and are not read.
type masked interface {
	vstoreMask(src, mask vec, m mem)
	vloadMask(dst, mask vec, m mem)
}

// byWord is a target that is not: it ends SmallPxV's last tile word by word, in a
// frame on the stack of 32 bytes for each accumulator.
type byWord interface {
	frame(bytes int) // of the next kernel
	smallPart(e smallEpilogue, args, mask reg)
}

// stub is the Go declaration of a kernel.
type stub struct{ name, doc, params string }

func stubFile(isa string, stubs []stub) []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "// Code generated by internal/asmgen. DO NOT EDIT.\n\n//go:build !purego\n\npackage asm\n\nimport \"unsafe\"\n")
	for _, s := range stubs {
		fmt.Fprintf(&b, "\n// %s %s\n//\n//go:noescape\nfunc %s(%s)\n", s.name, strings.ReplaceAll(s.doc, "\n", "\n// "), s.name, s.params)
	}
	return b.Bytes()
}
