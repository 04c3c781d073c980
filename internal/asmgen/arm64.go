package main

import (
	"fmt"
	"strings"
)

// half is one of the 32 vector registers of arm64: half a lane vector.
type half int

func (h half) String() string      { return fmt.Sprintf("v%d", int(h)) }
func (h half) of(as string) string { return h.String() + "." + as }

// word is an instruction that Go's assembler has no name for, beside what it says
// in GNU syntax. A test decodes the one and compares it with the other.
type word struct {
	bits uint32
	text string
}

// Fields of an instruction: destination, first and second source.
func (h half) d() uint32 { return uint32(h) }
func (h half) n() uint32 { return uint32(h) << 5 }
func (h half) m() uint32 { return uint32(h) << 16 }

func xreg(r reg) string { return fmt.Sprintf("x%d", int(r)) }
func wreg(r reg) string { return fmt.Sprintf("w%d", int(r)) }
func (r reg) n() uint32 { return uint32(r) << 5 }
func (r reg) d() uint32 { return uint32(r) }

// threeSame are the operations on two registers, element by element.
var threeSame = map[string]struct {
	bits uint32
	as   string
}{
	"fadd":  {0x4e20d400, "4s"},
	"fsub":  {0x4ea0d400, "4s"},
	"fmul":  {0x6e20dc00, "4s"},
	"fdiv":  {0x6e20fc00, "4s"},
	"fmla":  {0x4e20cc00, "4s"},
	"fcmgt": {0x6ea0e400, "4s"},
	"fcmeq": {0x4e20e400, "4s"},
	"add":   {0x4ea08400, "4s"},
	"sub":   {0x6ea08400, "4s"},
	"and":   {0x4e201c00, "16b"},
	"bic":   {0x4e601c00, "16b"}, // n and not m
	"orr":   {0x4ea01c00, "16b"},
	"eor":   {0x6e201c00, "16b"},
	"bsl":   {0x6e601c00, "16b"}, // d ? n : m
	"bit":   {0x6ea01c00, "16b"}, // m ? n : d
	"bif":   {0x6ee01c00, "16b"}, // m ? d : n
	"trn1":  {0x4e802800, "4s"},
	"trn2":  {0x4e806800, "4s"},
	"trn1d": {0x4ec02800, "2d"},
	"trn2d": {0x4ec06800, "2d"},
}

func encThree(op string, d, n, m half) word {
	o := threeSame[op]
	name := op
	if o.as == "2d" {
		name = op[:len(op)-1]
	}
	return word{o.bits | m.m() | n.n() | d.d(), fmt.Sprintf("%s %s, %s, %s", name, d.of(o.as), n.of(o.as), m.of(o.as))}
}

// twoMisc are the operations on one register.
var twoMisc = map[string]struct {
	bits uint32
	text string // D and N stand for the registers' numbers
}{
	"fsqrt":  {0x6ea1f800, "fsqrt vD.4s, vN.4s"},
	"fabs":   {0x4ea0f800, "fabs vD.4s, vN.4s"},
	"fcmgt0": {0x4ea0c800, "fcmgt vD.4s, vN.4s, #0"},
	"fcmlt0": {0x4ea0e800, "fcmlt vD.4s, vN.4s, #0"},
	"shl23":  {0x4f375400, "shl vD.4s, vN.4s, #23"},
	"sshr31": {0x4f210400, "sshr vD.4s, vN.4s, #31"},
	"dup":    {0x4e040400, "dup vD.4s, vN.s[0]"},
	"faddp":  {0x7e30d800, "faddp sD, vN.2s"},
	"shll":   {0x2e613800, "shll vD.4s, vN.4h, #16"},
	"shll2":  {0x6e613800, "shll2 vD.4s, vN.8h, #16"},
	"fcvtl":  {0x0e217800, "fcvtl vD.4s, vN.4h"},
	"fcvtl2": {0x4e217800, "fcvtl2 vD.4s, vN.8h"},
}

func encTwo(op string, d, n half) word {
	o := twoMisc[op]
	text := strings.NewReplacer("D", fmt.Sprint(int(d)), "N", fmt.Sprint(int(n))).Replace(o.text)
	return word{o.bits | n.n() | d.d(), text}
}

func encMove(d, n half) word {
	return word{0x4ea01c00 | n.m() | n.n() | d.d(), fmt.Sprintf("mov %s, %s", d.of("16b"), n.of("16b"))}
}

func encZero(d half) word {
	return word{0x6f00e400 | d.d(), fmt.Sprintf("movi %s, #0x0", d.of("2d"))}
}

// encSwap is n's upper 64 bits and then its lower ones.
func encSwap(d, n half) word {
	return word{0x6e004000 | n.m() | 8<<11 | n.n() | d.d(), fmt.Sprintf("ext %s, %s, %s, #8", d.of("16b"), n.of("16b"), n.of("16b"))}
}

// encElement is fmla or fmul by an element of m.
func encElement(op string, d, n, m half, element int) word {
	bits := map[string]uint32{"fmla": 0x4f801000, "fmul": 0x4f809000}[op]
	bits |= uint32(element&1)<<21 | uint32(element>>1)<<11
	return word{bits | m.m() | n.n() | d.d(), fmt.Sprintf("%s %s, %s, %s[%d]", op, d.of("4s"), n.of("4s"), m.of("s"), element)}
}

func encDupGeneral(d half, n reg) word {
	return word{0x4e040c00 | n.n() | d.d(), fmt.Sprintf("dup %s, %s", d.of("4s"), wreg(n))}
}

// encPair is ldp or stp of two registers; disp is a multiple of 16 that pairFits.
func encPair(op string, a, b half, base reg, disp int) word {
	bits := map[string]uint32{"ldp": 0xad400000, "stp": 0xad000000}[op]
	bits |= uint32(disp/16&0x7f)<<15 | b.d()<<10 | base.n() | a.d()
	return word{bits, fmt.Sprintf("%s q%d, q%d, %s", op, a, b, address(base, disp))}
}

func pairFits(disp int) bool { return disp%16 == 0 && -1024 <= disp && disp < 1024 }

// scalarLoads are the registers' names, sizes in bytes and encodings: with a scaled
// and with a signed byte offset, and with a register.
var scalarLoads = map[string]struct {
	size                      int
	scaled, unscaled, indexed uint32
}{
	"q": {16, 0x3dc00000, 0x3cc00000, 0x3ce06800},
	"d": {8, 0xfd400000, 0xfc400000, 0xfc606800},
	"s": {4, 0xbd400000, 0xbc400000, 0xbc606800},
}

// storeBit is set in the encodings of loads and not in those of stores.
const storeBit = 1 << 22

// encScalar is ldr or str of the first bytes of a register, as "q", "d" or "s".
func encScalar(op, as string, v half, base reg, disp int) word {
	s := scalarLoads[as]
	w := word{s.scaled | uint32(disp/s.size)<<10, op}
	if disp%s.size != 0 || disp < 0 {
		w = word{s.unscaled | uint32(disp&0x1ff)<<12, op[:2] + "ur"}
		if op == "str" {
			w.text = "stur"
		}
	}
	if op == "str" {
		w.bits &^= storeBit
	}
	return word{w.bits | base.n() | v.d(), fmt.Sprintf("%s %s%d, %s", w.text, as, v, address(base, disp))}
}

// scalarFits reports whether encScalar can say disp.
func scalarFits(as string, disp int) bool {
	size := scalarLoads[as].size
	return -256 <= disp && disp < 256 || disp >= 0 && disp%size == 0 && disp/size < 1<<12
}

func encIndexed(as string, v half, base, index reg) word {
	return word{
		scalarLoads[as].indexed | index.d()<<16 | base.n() | v.d(),
		fmt.Sprintf("ldr %s%d, [%s,%s]", as, v, xreg(base), xreg(index)),
	}
}

// encLoadElement loads one word to an element.
func encLoadElement(v half, element int, base reg) word {
	return word{
		0x0d408000 | uint32(element>>1)<<30 | uint32(element&1)<<12 | base.n() | v.d(),
		fmt.Sprintf("ld1 {%s}[%d], [%s]", v.of("s"), element, xreg(base)),
	}
}

func address(base reg, disp int) string {
	if disp == 0 {
		return "[" + xreg(base) + "]"
	}
	return fmt.Sprintf("[%s,#%d]", xreg(base), disp)
}
