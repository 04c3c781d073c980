package main

// The operations of neon on vectors.

func (a *neon) pair(op string, v vec, m mem) {
	base, disp := a.place(m, pairFits)
	h := v.halves()
	a.word(encPair(op, h[0], h[1], base, disp), h[:]...)
}

func (a *neon) vload(dst vec, m mem)  { a.pair("ldp", dst, m) }
func (a *neon) vstore(src vec, m mem) { a.pair("stp", src, m) }
func (a *neon) vdup(dst vec, m mem)   { a.vload(dst, m) }
func (a *neon) splatInit(reg)         {}

func (a *neon) scalar(op, as string, h half, m mem) {
	base, disp := a.place(m, func(disp int) bool { return scalarFits(as, disp) })
	a.word(encScalar(op, as, h, base, disp), h)
}

func (a *neon) vsplat(dst vec, m mem) {
	h := dst.halves()
	a.scalar("ldr", "s", h[0], m)
	a.word(encTwo("dup", h[1], h[0]), h[1])
	a.word(encTwo("dup", h[0], h[0]), h[0])
}

// loadWords loads n ≤ 4 float32 from memory to the first elements of a register.
func (a *neon) loadWords(dst half, n int, m mem) {
	as := []string{1: "s", 2: "d", 3: "d", 4: "q"}[n]
	a.scalar("ldr", as, dst, m)
	if n == 3 {
		base, disp := a.place(mem{m.base, m.index, m.disp + 8}, func(disp int) bool { return disp == 0 })
		if disp != 0 {
			panic("place gave an offset")
		}
		a.word(encLoadElement(dst, 2, base), dst)
	}
}

// widen loads 16-bit values as float32: eight for a lane vector, by what takes the
// lower four of a register and what takes the upper four, or four for a half.
func (a *neon) widen(low, high string, dst vec, m mem) {
	h := dst.halves()
	a.scalar("ldr", "q", h[0], m)
	a.word(encTwo(high, h[1], h[0]), h[1])
	a.word(encTwo(low, h[0], h[0]))
}

func (a *neon) widenHalf(low string, dst half, m mem) {
	a.scalar("ldr", "d", dst, m)
	a.word(encTwo(low, dst, dst))
}

func (a *neon) vloadBF16(dst vec, m mem)     { a.widen("shll", "shll2", dst, m) }
func (a *neon) vloadF16(dst vec, m mem)      { a.widen("fcvtl", "fcvtl2", dst, m) }
func (a *neon) loadHalfBF16(dst half, m mem) { a.widenHalf("shll", dst, m) }
func (a *neon) loadHalfF16(dst half, m mem)  { a.widenHalf("fcvtl", dst, m) }

func (a *neon) fmaElement(acc, x vec, w half, element int) {
	for i, h := range acc.halves() {
		a.fmaHalf(h, x.halves()[i], w, element)
	}
}

func (a *neon) fmaHalf(acc, x, w half, element int) {
	a.word(encElement("fmla", acc, x, w, element), acc, x, w)
}

func (a *neon) mulElement(dst, x vec, w half, element int) {
	for i, h := range dst.halves() {
		a.word(encElement("fmul", h, x.halves()[i], w, element), h, w)
	}
}

func (a *neon) absHalf(h half) { a.word(encTwo("fabs", h, h), h) }

// three emits an operation on both halves.
func (a *neon) three(op string, dst, x, y vec) {
	for i, d := range dst.halves() {
		n, m := x.halves()[i], y.halves()[i]
		a.word(encThree(op, d, n, m), d, n, m)
	}
}

func (a *neon) two(op string, dst, x vec) {
	for i, d := range dst.halves() {
		n := x.halves()[i]
		a.word(encTwo(op, d, n), d, n)
	}
}

func (a *neon) vmove(dst, src vec) {
	for i, d := range dst.halves() {
		a.word(encMove(d, src.halves()[i]), d)
	}
}

func (a *neon) vzero(dst vec) {
	for _, d := range dst.halves() {
		a.word(encZero(d), d)
	}
}

func (a *neon) vadd(dst, x, y vec)       { a.three("fadd", dst, x, y) }
func (a *neon) vsub(dst, x, y vec)       { a.three("fsub", dst, x, y) }
func (a *neon) vmul(dst, x, y vec)       { a.three("fmul", dst, x, y) }
func (a *neon) vdiv(dst, x, y vec)       { a.three("fdiv", dst, x, y) }
func (a *neon) vsqrt(dst, x vec)         { a.two("fsqrt", dst, x) }
func (a *neon) vfma(acc, x, y vec)       { a.three("fmla", acc, x, y) }
func (a *neon) vand(dst, x, y vec)       { a.three("and", dst, x, y) }
func (a *neon) vor(dst, x, y vec)        { a.three("orr", dst, x, y) }
func (a *neon) vxor(dst, x, y vec)       { a.three("eor", dst, x, y) }
func (a *neon) vandNot(dst, mask, v vec) { a.three("bic", dst, v, mask) }
func (a *neon) vaddInt(dst, x, y vec)    { a.three("add", dst, x, y) }
func (a *neon) vsubInt(dst, x, y vec)    { a.three("sub", dst, x, y) }

func (a *neon) vfmaMem(vec, vec, mem) { panic("asmgen: FMAs of arm64 take no memory") }

// choose leaves yes where test holds and no elsewhere.
func (a *neon) choose(dst, yes, no vec, test func(mask half, i int)) {
	for i, d := range dst.halves() {
		y, n := yes.halves()[i], no.halves()[i]
		mask := d
		if dst == yes || dst == no {
			mask = a.scratch()
		}
		test(mask, i)
		switch dst {
		case yes:
			a.word(encThree("bif", d, n, mask), d)
		case no:
			a.word(encThree("bit", d, y, mask), d)
		default:
			a.word(encThree("bsl", d, y, n), d)
		}
	}
}

func (a *neon) vmax(dst, x, y vec) {
	a.choose(dst, x, y, func(mask half, i int) {
		a.word(encThree("fcmgt", mask, x.halves()[i], y.halves()[i]))
	})
}

func (a *neon) vmin(dst, x, y vec) {
	a.choose(dst, x, y, func(mask half, i int) {
		a.word(encThree("fcmgt", mask, y.halves()[i], x.halves()[i]))
	})
}

func (a *neon) vselect(dst, mask, yes, no vec) {
	a.choose(dst, yes, no, func(sign half, i int) {
		a.word(encTwo("sshr31", sign, mask.halves()[i]))
	})
}

func (a *neon) vrelu(v, _, tmp vec) {
	for i, h := range v.halves() {
		mask := tmp.halves()[i]
		a.word(encTwo("fcmlt0", mask, h), mask)
		a.word(encThree("bic", h, h, mask), h)
	}
}

func (a *neon) vgate(v, gate, _ vec) {
	a.two("fcmgt0", gate, gate)
	a.vand(v, v, gate)
}

func (a *neon) vnonzero(dst, x, _ vec) {
	a.two("fabs", dst, x)
	a.two("fcmgt0", dst, dst)
}

func (a *neon) vequal(dst, x, y vec) { a.three("fcmeq", dst, x, y) }
func (a *neon) vexponent(dst, x vec) { a.two("shl23", dst, x) }
func (a *neon) vless(dst, x, y vec)  { a.three("fcmgt", dst, y, x) }

func (a *neon) vconst(dst vec, name string) {
	for _, c := range laneConsts {
		if c.name == name {
			a.op("MOVD", "$0x"+c.bits, temp.arm64())
			a.dupGeneral(dst)
			return
		}
	}
	panic("asmgen: no constant " + name)
}

func (a *neon) vgather(dst, _ vec, base reg, index [8]reg) {
	for lane, x := range index {
		h, e := dst.halves()[lane/4], lane%4
		if e == 0 {
			a.word(encIndexed("s", h, base, x), h)
			continue
		}
		at, _ := a.place(atIndex(base, x, 0), func(int) bool { return true })
		a.word(encLoadElement(h, e, at), h)
	}
}

func (a *neon) vtranspose4(v, tmp [4]vec) {
	for i := range 2 {
		r := func(v vec) half { return v.halves()[i] }
		for j := 0; j < 4; j += 2 {
			a.word(encThree("trn1", r(tmp[j]), r(v[j]), r(v[j+1])), r(tmp[j]))
			a.word(encThree("trn2", r(tmp[j+1]), r(v[j]), r(v[j+1])), r(tmp[j+1]))
		}
		for j := range 2 {
			a.word(encThree("trn1d", r(v[j]), r(tmp[j]), r(tmp[j+2])))
			a.word(encThree("trn2d", r(v[j+2]), r(tmp[j]), r(tmp[j+2])))
		}
	}
}

func (a *neon) vstoreHalf(src vec, high int, m mem) { a.scalar("str", "q", src.halves()[high], m) }

func (a *neon) lane8Sum(v, tmp vec, m mem) {
	h, t := v.halves(), tmp.halves()[0]
	a.word(encThree("fadd", h[0], h[0], h[1]))
	a.word(encSwap(t, h[0]), t)
	a.word(encThree("fadd", h[0], h[0], t))
	a.word(encTwo("faddp", h[0], h[0]))
	a.scalar("str", "s", h[0], m)
}
