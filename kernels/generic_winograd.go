package kernels

import (
	"unsafe"

	"github.com/epsball/epsball/asm"
)

// The Winograd transforms in pure Go, in the order of the assembly.

func winogradBT(d [6]float32) [6]float32 {
	a, b := FMA32(d[2], -4, d[4]), FMA32(d[1], -4, d[3])
	c, e := d[4]-d[2], d[3]-d[1]
	return [6]float32{
		FMA32(d[0], 4, FMA32(d[2], -5, d[4])),
		a + b, a - b,
		FMA32(e, 2, c), FMA32(e, -2, c),
		FMA32(d[1], 4, FMA32(d[3], -5, d[5])),
	}
}

func winogradAT(m [6]float32) [4]float32 {
	s, d := m[1]+m[2], m[1]-m[2]
	t, f := m[3]+m[4], m[3]-m[4]
	return [4]float32{(s + m[0]) + t, FMA32(f, 2, d), FMA32(t, 4, s), FMA32(f, 8, d) + m[5]}
}

func genericWinogradIn(a *asm.WinogradArgs) {
	for k := range a.N {
		off := vecBytes * k
		for l := range Lanes {
			var rows [6][6]float32
			for y := range rows {
				for x := range 6 {
					rows[y][x] = vector(a.P[6*y+x], off)[l]
				}
				rows[y] = winogradBT(rows[y])
			}
			for x := range 6 {
				for y, v := range winogradBT([6]float32{rows[0][x], rows[1][x], rows[2][x], rows[3][x], rows[4][x], rows[5][x]}) {
					vector(a.Base, off+(x*6+y)*a.Stride)[l] = v
				}
			}
		}
	}
}

func genericWinogradOut(a *asm.WinogradArgs) {
	for k := range a.N {
		off := vecBytes * k
		bias := *(*float32)(unsafe.Add(a.Bias, 4*k))
		for l := range Lanes {
			var rows [4][6]float32
			for x := range 6 {
				var col [6]float32
				for y := range col {
					col[y] = vector(a.Base, off+(x*6+y)*a.Stride)[l]
				}
				for y, v := range winogradAT(col) {
					rows[y][x] = v
				}
			}
			for y := 3; y >= 0; y-- {
				out := winogradAT(rows[y])
				for x := 3; x >= 0; x-- {
					var gate float32
					if a.Epilogue == asm.EpilogueGate {
						gate = distant(a.P[4*y+x], off+a.GateOff)[l]
					}
					vector(a.P[4*y+x], off)[l] = epilogue(out[x]+bias, Epilogue(a.Epilogue), gate)
				}
			}
		}
	}
}
