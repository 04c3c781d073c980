package main

// avx512 is x86-64 with AVX-512 F, DQ and VL: a lane vector is one YMM
// register, a pair one ZMM register.
type avx512 struct{ *avx2 }

func newAVX512() avx512 { return avx512{&avx2{name: "avx512"}} }

// splatOrder is the register that vsplat needs: index 0 for each lane of the
// first lane vector, 1 for the second.
const splatOrder vec = 31

func (a avx512) vecs() int { return int(splatOrder) }
func (a avx512) span() int { return 2 }

func (a avx512) splatInit(tmp reg) {
	a.op("MOVL", "$0xff00", tmp.amd64())
	a.op("KMOVW", tmp.amd64(), "K1")
	a.op("MOVL", "$1", tmp.amd64())
	a.op("VPBROADCASTD.Z", tmp.amd64(), "K1", splatOrder.pair().amd64())
}

// vsplat of a pair takes two instructions: one loads both values side by side
// to every 64 bits, and one shuffles them apart.
func (a avx512) vsplat(dst vec, m mem) {
	if !dst.isPair() {
		a.avx2.vsplat(dst, m)
		return
	}
	a.op("VBROADCASTSD", m.amd64(), dst.amd64())
	a.op("VPERMILPS", splatOrder.pair().amd64(), dst.amd64(), dst.amd64())
}

func (a avx512) vdup(dst vec, m mem) {
	if !dst.isPair() {
		a.vload(dst, m)
		return
	}
	a.op("VBROADCASTF32X8", m.amd64(), dst.amd64())
}

func (a avx512) vgate(v, gate, zero vec) {
	a.op("VCMPPS", "$30", zero.amd64(), gate.amd64(), "K1")
	a.op("VMOVAPS.Z", v.amd64(), "K1", v.amd64())
}

// laneSums16 is lane8Sum of sixteen lane vectors in eight pairs, four sums to
// each address. Each step adds halves of what it has, of two registers at once:
// first 128-bit lanes (0+4, 1+5, 2+6, 3+7), then 64 bits, then 32. That leaves
// sum i of four in lane i, so a transposition is last.
func (a avx512) laneSums16(v [8]vec, tmp vec, to [4]mem) {
	t0, t1 := tmp.pair().amd64(), (tmp + 1).pair().amd64()
	fold := func(x, y vec, low, high []string) {
		a.op(low[0], append(low[1:], y.amd64(), x.amd64(), t0)...)
		a.op(high[0], append(high[1:], y.amd64(), x.amd64(), t1)...)
		a.op("VADDPS", t1, t0, x.amd64())
	}
	for i := 0; i < 8; i += 2 {
		fold(v[i], v[i+1], []string{"VSHUFF32X4", "$0x88"}, []string{"VSHUFF32X4", "$0xdd"})
	}
	for i := 0; i < 8; i += 4 {
		fold(v[i], v[i+2], []string{"VUNPCKLPD"}, []string{"VUNPCKHPD"})
	}
	fold(v[0], v[4], []string{"VSHUFPS", "$0x88"}, []string{"VSHUFPS", "$0xdd"})
	a.op("VPMOVZXBD", "rows4<>(SB)", t0)
	a.op("VPERMPS", v[0].amd64(), t0, v[0].amd64())
	for i, m := range to {
		a.op("VEXTRACTF32X4", imm(i), v[0].amd64(), m.amd64())
	}
}

func (a avx512) vjoin(dst vec, first, second mem) {
	a.op("VMOVUPS", first.amd64(), dst.single().amd64())
	a.op("VINSERTF32X8", "$1", second.amd64(), dst.amd64(), dst.amd64())
}

func (a avx512) vsplit(src vec, first, second mem) {
	a.op("VMOVUPS", src.single().amd64(), first.amd64())
	a.op("VEXTRACTF32X8", "$1", src.amd64(), second.amd64())
}

func (a avx512) vsplatBoth(dst vec, m mem) { a.op("VBROADCASTSS", m.amd64(), dst.amd64()) }
