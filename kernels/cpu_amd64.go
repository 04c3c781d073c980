//go:build !purego

package kernels

// queryCPU executes CPUID.
//
//go:noescape
func queryCPU(leaf, sub uint32) (a, b, c, d uint32)

// cpuFamily returns the vendor's name as CPUID spells it and the family.
func cpuFamily() (vendor string, family int) {
	_, b, c, d := queryCPU(0, 0)
	var s [12]byte
	for i, v := range [3]uint32{b, d, c} {
		for k := range 4 {
			s[4*i+k] = byte(v >> (8 * k))
		}
	}
	a, _, _, _ := queryCPU(1, 0)
	if family = int(a >> 8 & 15); family == 15 {
		family += int(a >> 20 & 255)
	}
	return string(s[:]), family
}

// cacheOfCore returns the bytes of the L2 cache of one core, 0 if the CPU does not
// tell.
func cacheOfCore() int {
	const leaf = 0x80000006 // Intel's and AMD's alike
	if most, _, _, _ := queryCPU(0x80000000, 0); most < leaf {
		return 0
	}
	_, _, c, _ := queryCPU(leaf, 0)
	return int(c>>16) << 10
}
