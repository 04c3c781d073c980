package main

import (
	"bytes"
	"fmt"
	"strings"
)

// avx2 is x86-64 with AVX2 and FMA3: a lane vector is one YMM register. What
// AVX-512 writes the same way it takes from here, so ZMM registers have a name.
type avx2 struct {
	name  string
	buf   bytes.Buffer
	decls []stub
}

// laneConsts are the constants of the kernels: 32 bits splatted to a lane vector,
// or 64-bit words.
var laneConsts = []struct{ name, bits string }{
	{"abs8", "7fffffff"},
	{"sign8", "80000000"},
	{"half8", "3f000000"},
	{"one8", "3f800000"},
	{"quarter8", "3e800000"},
	{"least8", "35800000"}, // 2^-20
	{"two8", "40000000"},
	{"four8", "40800000"},
	{"eight8", "41000000"},
	{"minusTwo8", "c0000000"},
	{"minusFour8", "c0800000"},
	{"minusFive8", "c0a00000"},
	{"rows4", "0d0905010c080400 0f0b07030e0a0602"},
}

func newAVX2() *avx2 { return &avx2{name: "avx2"} }

func (a *avx2) isa() string    { return a.name }
func (a *avx2) suffix() string { return a.name + "_amd64" }
func (a *avx2) vecs() int      { return 16 }
func (a *avx2) span() int      { return 1 }
func (a *avx2) indexed() bool  { return true }

// gprs leaves out SP and BP. R14 (g) and R15 are free in ABI0 functions.
var gprs = [...]string{"AX", "BX", "CX", "DX", "SI", "DI", "R8", "R9", "R10", "R11", "R12", "R13", "R14", "R15"}

func (r reg) amd64() string { return gprs[r] }
func (v vec) xmm() string   { return fmt.Sprintf("X%d", v.single()) }

func (v vec) amd64() string {
	if v.isPair() {
		return fmt.Sprintf("Z%d", v.single())
	}
	return fmt.Sprintf("Y%d", v)
}

func (m mem) amd64() string {
	s := "(" + m.base.amd64() + ")"
	if m.disp != 0 {
		s = fmt.Sprint(m.disp) + s
	}
	if m.index >= 0 {
		s += "(" + m.index.amd64() + "*1)"
	}
	return s
}

func (a *avx2) op(name string, operands ...string) {
	a.buf.WriteString(strings.TrimRight(fmt.Sprintf("\t%-12s %s", name, strings.Join(operands, ", ")), " ") + "\n")
}

func imm(n int) string { return fmt.Sprintf("$%d", n) }

func (a *avx2) text(name, doc, params string, argBytes int) {
	name += strings.ToUpper(a.name)
	a.decls = append(a.decls, stub{name, doc, params})
	fmt.Fprintf(&a.buf, "\n// func %s(%s)\nTEXT ·%s(SB), NOSPLIT, $0-%d\n", name, params, name, argBytes)
}

func (a *avx2) comment(format string, args ...any) {
	fmt.Fprintf(&a.buf, "\t// "+format+"\n", args...)
}

func (a *avx2) regName(r reg) string { return r.amd64() }

func (a *avx2) vecNames(first vec, n int) string {
	bank := "Y"
	if first.isPair() {
		bank = "Z"
	}
	return runNames(bank, int(first.single()), int(first.single())+n-1)
}

func (a *avx2) loadArg(dst reg, name string, off int) {
	a.op("MOVQ", fmt.Sprintf("%s+%d(FP)", name, off), dst.amd64())
}

func (a *avx2) splatArg(dst vec, name string, off int) {
	a.op("VBROADCASTSS", fmt.Sprintf("%s+%d(FP)", name, off), dst.amd64())
}

func (a *avx2) label(name string) {
	if strings.HasSuffix(name, "loop") {
		a.op("PCALIGN", "$32")
	}
	fmt.Fprintf(&a.buf, "%s:\n", name)
}

func (a *avx2) jump(c cond, label string) {
	a.op(map[cond]string{always: "JMP", zero: "JZ", notZero: "JNZ", less: "JLT", lessEqual: "JLE", greater: "JGT", greaterEqual: "JGE"}[c], label)
}

func (a *avx2) ret()   { a.op("VZEROUPPER"); a.op("RET") }
func (a *avx2) pause() { a.op("PAUSE") }

func (a *avx2) load(dst reg, m mem)       { a.op("MOVQ", m.amd64(), dst.amd64()) }
func (a *avx2) load32(dst reg, m mem)     { a.op("MOVLQSX", m.amd64(), dst.amd64()) }
func (a *avx2) store(src reg, m mem)      { a.op("MOVQ", src.amd64(), m.amd64()) }
func (a *avx2) prefetch(m mem)            { a.op("PREFETCHT0", m.amd64()) }
func (a *avx2) prefetchL2(m mem)          { a.op("PREFETCHT1", m.amd64()) }
func (a *avx2) move(dst, src reg)         { a.op("MOVQ", src.amd64(), dst.amd64()) }
func (a *avx2) clear(dst reg)             { a.op("XORQ", dst.amd64(), dst.amd64()) }
func (a *avx2) addImm(dst reg, n int)     { a.op("ADDQ", imm(n), dst.amd64()) }
func (a *avx2) addReg(dst, src reg)       { a.op("ADDQ", src.amd64(), dst.amd64()) }
func (a *avx2) addMem(dst reg, m mem)     { a.op("ADDQ", m.amd64(), dst.amd64()) }
func (a *avx2) neg(dst reg)               { a.op("NEGQ", dst.amd64()) }
func (a *avx2) shiftLeft(dst reg, n int)  { a.op("SHLQ", imm(n), dst.amd64()) }
func (a *avx2) shiftRight(dst reg, n int) { a.op("SHRQ", imm(n), dst.amd64()) }
func (a *avx2) dec(dst reg)               { a.op("DECQ", dst.amd64()) }
func (a *avx2) compareImm(r reg, n int)   { a.op("CMPQ", r.amd64(), imm(n)) }
func (a *avx2) vload(dst vec, m mem)      { a.op("VMOVUPS", m.amd64(), dst.amd64()) }
func (a *avx2) vstore(src vec, m mem)     { a.op("VMOVUPS", src.amd64(), m.amd64()) }

func (a *avx2) vloadBF16(dst vec, m mem) {
	a.op("VPMOVZXWD", m.amd64(), dst.amd64())
	a.op("VPSLLD", "$16", dst.amd64(), dst.amd64())
}

func (a *avx2) vloadF16(dst vec, m mem) { a.op("VCVTPH2PS", m.amd64(), dst.amd64()) }

func (a *avx2) vstoreMask(src, mask vec, m mem) {
	a.op("VMASKMOVPS", src.amd64(), mask.amd64(), m.amd64())
}

func (a *avx2) vloadMask(dst, mask vec, m mem) {
	a.op("VMASKMOVPS", m.amd64(), mask.amd64(), dst.amd64())
}
func (a *avx2) splatInit(reg)         {}
func (a *avx2) vsplat(dst vec, m mem) { a.op("VBROADCASTSS", m.amd64(), dst.amd64()) }
func (a *avx2) vdup(dst vec, m mem)   { a.vload(dst, m) }
func (a *avx2) vmove(dst, src vec)    { a.op("VMOVAPS", src.amd64(), dst.amd64()) }
func (a *avx2) vzero(dst vec)         { a.op("VXORPS", dst.xmm(), dst.xmm(), dst.xmm()) }
func (a *avx2) vadd(dst, x, y vec)    { a.op("VADDPS", y.amd64(), x.amd64(), dst.amd64()) }
func (a *avx2) vsub(dst, x, y vec)    { a.op("VSUBPS", y.amd64(), x.amd64(), dst.amd64()) }
func (a *avx2) vmul(dst, x, y vec)    { a.op("VMULPS", y.amd64(), x.amd64(), dst.amd64()) }
func (a *avx2) vdiv(dst, x, y vec)    { a.op("VDIVPS", y.amd64(), x.amd64(), dst.amd64()) }
func (a *avx2) vsqrt(dst, x vec)      { a.op("VSQRTPS", x.amd64(), dst.amd64()) }
func (a *avx2) vfma(acc, x, y vec)    { a.op("VFMADD231PS", y.amd64(), x.amd64(), acc.amd64()) }

func (a *avx2) vfmaMem(acc, x vec, m mem)   { a.op("VFMADD231PS", m.amd64(), x.amd64(), acc.amd64()) }
func (a *avx2) vmax(dst, x, y vec)          { a.op("VMAXPS", y.amd64(), x.amd64(), dst.amd64()) }
func (a *avx2) vmin(dst, x, y vec)          { a.op("VMINPS", y.amd64(), x.amd64(), dst.amd64()) }
func (a *avx2) vrelu(v, zero, _ vec)        { a.vmax(v, zero, v) }
func (a *avx2) vand(dst, x, y vec)          { a.op("VANDPS", y.amd64(), x.amd64(), dst.amd64()) }
func (a *avx2) vor(dst, x, y vec)           { a.op("VORPS", y.amd64(), x.amd64(), dst.amd64()) }
func (a *avx2) vxor(dst, x, y vec)          { a.op("VXORPS", y.amd64(), x.amd64(), dst.amd64()) }
func (a *avx2) vandNot(dst, mask, v vec)    { a.op("VANDNPS", v.amd64(), mask.amd64(), dst.amd64()) }
func (a *avx2) vconst(dst vec, name string) { a.op("VMOVUPS", name+"<>(SB)", dst.amd64()) }

// Ordered, quiet comparisons: GT_OQ (30) and NEQ_OQ (12) are false for NaN.
func (a *avx2) vgate(v, gate, zero vec) {
	a.op("VCMPPS", "$30", zero.amd64(), gate.amd64(), gate.amd64())
	a.vand(v, gate, v)
}

func (a *avx2) vnonzero(dst, x, zero vec) {
	a.op("VCMPPS", "$12", zero.amd64(), x.amd64(), dst.amd64())
}

func (a *avx2) vless(dst, x, y vec) { // LT_OQ
	a.op("VCMPPS", "$17", y.amd64(), x.amd64(), dst.amd64())
}

func (a *avx2) vequal(dst, x, y vec) { // EQ_OQ
	a.op("VCMPPS", "$0", y.amd64(), x.amd64(), dst.amd64())
}

func (a *avx2) vexponent(dst, x vec)  { a.op("VPSLLD", "$23", x.amd64(), dst.amd64()) }
func (a *avx2) vaddInt(dst, x, y vec) { a.op("VPADDD", y.amd64(), x.amd64(), dst.amd64()) }
func (a *avx2) vsubInt(dst, x, y vec) { a.op("VPSUBD", y.amd64(), x.amd64(), dst.amd64()) }

func (a *avx2) vselect(dst, mask, yes, no vec) {
	a.op("VBLENDVPS", mask.amd64(), yes.amd64(), no.amd64(), dst.amd64())
}

func (a *avx2) vtranspose4(v, tmp [4]vec) {
	pairs := func(low, high string, x, y, lowTo, highTo vec) {
		a.op(low, y.amd64(), x.amd64(), lowTo.amd64())
		a.op(high, y.amd64(), x.amd64(), highTo.amd64())
	}
	pairs("VUNPCKLPS", "VUNPCKHPS", v[0], v[1], tmp[0], tmp[1])
	pairs("VUNPCKLPS", "VUNPCKHPS", v[2], v[3], tmp[2], tmp[3])
	pairs("VUNPCKLPD", "VUNPCKHPD", tmp[0], tmp[2], v[0], v[1])
	pairs("VUNPCKLPD", "VUNPCKHPD", tmp[1], tmp[3], v[2], v[3])
}

func (a *avx2) vstoreHalf(src vec, high int, m mem) {
	if high == 0 {
		a.op("VMOVUPS", src.xmm(), m.amd64())
		return
	}
	a.op("VEXTRACTF128", "$1", src.amd64(), m.amd64())
}

func (a *avx2) vgather(dst, tmp vec, base reg, index [8]reg) {
	for half, v := range []vec{dst, tmp} {
		for l, i := range index[4*half : 4*half+4] {
			if l == 0 {
				a.op("VMOVSS", atIndex(base, i, 0).amd64(), v.xmm())
			} else {
				a.op("VINSERTPS", imm(l<<4), atIndex(base, i, 0).amd64(), v.xmm(), v.xmm())
			}
		}
	}
	a.op("VINSERTF128", "$1", tmp.xmm(), dst.amd64(), dst.amd64())
}

func (a *avx2) lane8Sum(v, tmp vec, m mem) {
	a.op("VEXTRACTF128", "$1", v.amd64(), tmp.xmm())
	a.op("VADDPS", tmp.xmm(), v.xmm(), v.xmm())
	a.op("VMOVHLPS", v.xmm(), v.xmm(), tmp.xmm())
	a.op("VADDPS", tmp.xmm(), v.xmm(), v.xmm())
	a.op("VMOVSHDUP", v.xmm(), tmp.xmm())
	a.op("VADDSS", tmp.xmm(), v.xmm(), v.xmm())
	a.op("VMOVSS", v.xmm(), m.amd64())
}

func (a *avx2) source() []byte {
	var b bytes.Buffer
	b.WriteString("// Code generated by internal/asmgen. DO NOT EDIT.\n\n//go:build !purego\n\n#include \"textflag.h\"\n")
	for _, c := range laneConsts {
		if !bytes.Contains(a.buf.Bytes(), []byte(c.name+"<>")) {
			continue
		}
		b.WriteString("\n")
		words := strings.Fields(c.bits)
		if len(words) == 1 {
			w := c.bits + c.bits
			words = []string{w, w, w, w}
		}
		for i, w := range words {
			fmt.Fprintf(&b, "DATA %s<>+%d(SB)/8, $0x%s\n", c.name, 8*i, w)
		}
		fmt.Fprintf(&b, "GLOBL %s<>(SB), RODATA|NOPTR, $%d\n", c.name, 8*len(words))
	}
	b.Write(a.buf.Bytes())
	return b.Bytes()
}

func (a *avx2) stubs() []stub { return a.decls }
