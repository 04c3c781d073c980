package main

func emitActivation(t target) {
	clip(t)
	clipGrad(t)
	leaky(t)
	gate(t)
	sShaped(t, false)
	sShaped(t, true)
	sigmoidGrad(t)
	tanhGrad(t)
}

// eachVector emits a loop over n lane vectors at the given pointers; body computes
// vector 0 from what load leaves in 0, 1, … of all pointers but the first, dst.
func eachVector(t target, n reg, pointers []reg, body func()) {
	t.comment("a lane vector a turn; its pointers and constants are in the registers loaded above")
	t.label("loop")
	for i, p := range pointers[1:] {
		t.vload(vec(i), at(p, 0))
	}
	body()
	t.vstore(0, at(pointers[0], 0))
	for _, p := range pointers {
		t.addImm(p, 32)
	}
	t.dec(n)
	t.jump(notZero, "loop")
	t.ret()
}

func clip(t target) {
	const dst, src, n reg = 0, 1, 2
	const lo, hi vec = 6, 7
	t.text("Clip", "is v = lo > src ? lo : src; dst = hi < v ? hi : v for n lane vectors.",
		"dst, src unsafe.Pointer, n int, lo, hi float32", 32)
	t.loadArg(dst, "dst", 0)
	t.loadArg(src, "src", 8)
	t.loadArg(n, "n", 16)
	t.splatArg(lo, "lo", 24)
	t.splatArg(hi, "hi", 28)
	eachVector(t, n, []reg{dst, src}, func() {
		t.vmax(0, lo, 0)
		t.vmin(0, hi, 0)
	})
}

func clipGrad(t target) {
	const dst, dy, x, n reg = 0, 1, 2, 3
	const lo, hi vec = 6, 7
	t.text("ClipGrad", "is dst = lo < x and x < hi ? dy : +0 for n lane vectors.",
		"dst, dy, x unsafe.Pointer, n int, lo, hi float32", 40)
	t.loadArg(dst, "dst", 0)
	t.loadArg(dy, "dy", 8)
	t.loadArg(x, "x", 16)
	t.loadArg(n, "n", 24)
	t.splatArg(lo, "lo", 32)
	t.splatArg(hi, "hi", 36)
	eachVector(t, n, []reg{dst, dy, x}, func() {
		t.vless(2, lo, 1)
		t.vless(1, 1, hi)
		t.vand(0, 0, 2)
		t.vand(0, 0, 1)
	})
}

func leaky(t target) {
	const dst, src, x, slope, n reg = 0, 1, 2, 3, 4
	const zeroV vec = 7
	t.text("Leaky", "is dst = x > 0 ? src : src*slope for n lane vectors.",
		"dst, src, x, slope unsafe.Pointer, n int", 40)
	t.loadArg(dst, "dst", 0)
	t.loadArg(src, "src", 8)
	t.loadArg(x, "x", 16)
	t.loadArg(slope, "slope", 24)
	t.loadArg(n, "n", 32)
	t.vzero(zeroV)
	eachVector(t, n, []reg{dst, src, x, slope}, func() {
		t.vmul(2, 0, 2)
		t.vless(1, zeroV, 1)
		t.vselect(0, 1, 0, 2)
	})
}

func gate(t target) {
	const dst, src, by, n reg = 0, 1, 2, 3
	const zeroV vec = 7
	t.text("Gate", "is dst = by > 0 ? src : +0 for n lane vectors.",
		"dst, src, by unsafe.Pointer, n int", 32)
	t.loadArg(dst, "dst", 0)
	t.loadArg(src, "src", 8)
	t.loadArg(by, "by", 16)
	t.loadArg(n, "n", 24)
	t.vzero(zeroV)
	eachVector(t, n, []reg{dst, src, by}, func() { t.vgate(0, 1, zeroV) })
}

// The lane vectors of the table that Sigmoid and Tanh take, in this order: −log₂e,
// what rounds, the two parts of −ln 2, 1, the largest argument, the polynomial.
const (
	expLog2e = iota
	expRound
	expLn2Hi
	expLn2Lo
	expOne
	expMost
	expTaylor
	expTerms = 6
)

// sShaped emits the sigmoid or the hyperbolic tangent.
//
// Vectors: 0 x, 1 |x|, 2 r and then m, 3 2^k, 4 the polynomial, 5 scratch, 6 where tanh
// subtracts from 1, 7 2^k + m·2^k = e; 8 … 14 constants.
func sShaped(t target, tanh bool) {
	const dst, src, n, table reg = 0, 1, 2, 3
	const x, a, r, u, p, tmp, large, e vec = 0, 1, 2, 3, 4, 5, 6, 7
	const log2e, round, hi, lo, one, abs, sign vec = 8, 9, 10, 11, 12, 13, 14
	name, doc := "Sigmoid", "is 1/(1 + e^-src)"
	if tanh {
		name, doc = "Tanh", "is tanh(src)"
	}
	t.text(name, doc+` for n lane vectors: the steps of package kernels' function of that name, with
the constants in table.`, "dst, src unsafe.Pointer, n int, table unsafe.Pointer", 32)
	t.loadArg(dst, "dst", 0)
	t.loadArg(src, "src", 8)
	t.loadArg(n, "n", 16)
	t.loadArg(table, "table", 24)
	explain(t, `%s |x|, %s r and then m, %s 2^k, %s polynomial, %s scratch, %s mask of 1 < 2|x|, %s e^-|x| or e^-2|x|; %s ... constants.`,
		a, r, u, p, tmp, large, e, log2e)
	constant := func(dst vec, i int) { t.vload(dst, at(table, 32*i)) }
	for i, c := range []vec{log2e, round, hi, lo, one} {
		constant(c, i)
	}
	t.vconst(abs, "abs8")
	t.vconst(sign, "sign8")
	eachVector(t, n, []reg{dst, src}, func() {
		t.vand(a, x, abs)
		if tanh {
			t.vadd(a, a, a)
			t.vless(large, one, a)
		}
		constant(tmp, expMost)
		t.vmin(a, tmp, a)
		t.comment("2^k and r = -a - k·ln 2")
		t.vmove(u, round)
		t.vfma(u, a, log2e)
		t.vsub(p, u, round)
		t.vxor(r, a, sign)
		t.vfma(r, p, hi)
		t.vfma(r, p, lo)
		t.vexponent(u, u)
		t.comment("e^r = 1 + m")
		constant(p, expTaylor)
		even, odd := p, tmp
		for i := 1; i < expTerms; i++ {
			constant(odd, expTaylor+i)
			t.vfma(odd, even, r)
			even, odd = odd, even
		}
		t.vmul(odd, r, r)
		t.vfma(r, even, odd)
		t.vmove(e, u)
		t.vfma(e, u, r)
		if !tanh {
			t.vselect(p, x, e, one)
			t.vadd(e, one, e)
			t.vdiv(x, p, e)
			return
		}
		t.vsub(p, one, u)
		t.vxor(u, u, sign)
		t.vfma(p, u, r)
		t.vadd(tmp, e, e)
		t.vselect(p, large, tmp, p)
		t.vadd(e, one, e)
		t.vdiv(p, p, e)
		t.vsub(tmp, one, p)
		t.vselect(p, large, tmp, p)
		t.vand(x, x, sign)
		t.vor(x, x, p)
	})
}

func sigmoidGrad(t target) {
	sShapedGrad(t, "SigmoidGrad", "is dst = dy*(y*(1 - y)) for n lane vectors.", func(one vec) {
		t.vsub(2, one, 1)
		t.vmul(1, 1, 2)
		t.vmul(0, 0, 1)
	})
}

func tanhGrad(t target) {
	sShapedGrad(t, "TanhGrad", "is dst = dy*(1 - y*y) for n lane vectors, each operation rounded.", func(one vec) {
		t.vmul(1, 1, 1)
		t.vsub(1, one, 1)
		t.vmul(0, 0, 1)
	})
}

func sShapedGrad(t target, name, doc string, body func(one vec)) {
	const dst, dy, y, n reg = 0, 1, 2, 3
	const one vec = 7
	t.text(name, doc, "dst, dy, y unsafe.Pointer, n int", 32)
	t.loadArg(dst, "dst", 0)
	t.loadArg(dy, "dy", 8)
	t.loadArg(y, "y", 16)
	t.loadArg(n, "n", 24)
	t.vconst(one, "one8")
	eachVector(t, n, []reg{dst, dy, y}, func() { body(one) })
}
