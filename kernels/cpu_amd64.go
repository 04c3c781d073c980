//go:build !purego

package kernels

import "github.com/epsball/epsball/asm"

// doublePumped reports whether 512-bit instructions run as two halves, so that the
// shuffles of conv512 cost FMAs and win nothing: AMD's Zen 4.
func doublePumped() bool {
	const zen3And4 = 0x19
	return vendor() == amd && family() == zen3And4
}

const (
	amd   = "AuthenticAMD"
	hygon = "HygonGenuine"
)

func vendor() string {
	_, b, c, d := asm.CPUID(0, 0)
	var name [12]byte
	for i := range 4 {
		name[i], name[4+i], name[8+i] = byte(b>>(8*i)), byte(d>>(8*i)), byte(c>>(8*i))
	}
	return string(name[:])
}

func family() uint32 {
	a, _, _, _ := asm.CPUID(1, 0)
	f := a >> 8 & 0xf
	if f == 0xf {
		f += a >> 20 & 0xff
	}
	return f
}

// sizeOfL2 returns the bytes of the L2 cache of one core, or 0 (deterministic cache
// parameters: Intel's leaf 4 and AMD's of the same form; AMD's older leaf otherwise).
func sizeOfL2() int {
	leaf := uint32(4)
	if v := vendor(); v == amd || v == hygon {
		leaf = 0x8000001d
	}
	base := leaf & 0x80000000
	if most, _, _, _ := asm.CPUID(base, 0); most < leaf {
		if base == 0 {
			return 0
		}
		_, _, c, _ := asm.CPUID(0x80000006, 0)
		return int(c>>16) << 10
	}
	for sub := range uint32(8) {
		a, b, c, _ := asm.CPUID(leaf, sub)
		const none, instructions = 0, 2
		switch kind := a & 31; {
		case kind == none:
			return 0
		case kind != instructions && a>>5&7 == 2:
			return int(b>>22+1) * int(b>>12&0x3ff+1) * int(b&0xfff+1) * int(c+1)
		}
	}
	return 0
}
