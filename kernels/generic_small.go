package kernels

import (
	"unsafe"

	"github.com/epsball/epsball/asm"
)

// fillSmall has the kernels that Small asks for.
func fillSmall(f *smallSet, both bool, wt Weights) {
	list := [][2]int{{8, 1}, {6, 2}, {3, 2}, {2, 2}, {1, 2}, {1, 4}}
	if both {
		list = [][2]int{{8, 1}, {6, 2}, {4, 2}, {2, 2}, {2, 4}}
	}
	for _, pv := range list {
		f[pv[0]][pv[1]] = genericSmall(pv[0], pv[1], both, wt)
	}
}

// genericSmall is SmallPxV in pure Go, or with both BothPxV, for weights of type wt.
// Inlined it would be compiled once for each entry of the table.
//
//go:noinline
func genericSmall(p, v int, both bool, wt Weights) func(*asm.ConvArgs) {
	value := func(b unsafe.Pointer, off int) float32 { return *(*float32)(unsafe.Add(b, off)) }
	width, size := min(8*v, smallTile), wt.bytes()
	return func(a *asm.ConvArgs) {
		wBase := 0
		for t := range a.Tiles {
			for j := range p {
				bias, mask := a.Bias, float32Mask(false)
				if both && j >= p/2 {
					bias, mask = a.AbsBias, float32Mask(true)
				}
				for c := range 8 * v {
					acc := value(bias, 4*(t*8*v+c))
					in, w := 0, wBase+size*(c%width)+c/width*a.WTile
					for range a.Segs {
						for range a.SegLen / 4 {
							acc = FMA32(maskFloat32(wt.at(unsafe.Add(a.W, w)), mask), value(a.In[j], in), acc)
							in += 4
							w += size * width
						}
						in += a.SegSkip
						w += a.WSegSkip
					}
					if t == a.Tiles-1 && a.Mask != nil && *(*int32)(unsafe.Add(a.Mask, 4*c)) >= 0 {
						continue
					}
					off := 4 * (t*8*v + c)
					var gate float32
					if a.Epilogue == asm.EpilogueGate {
						gate = distantValue(a.Out[j], off+a.GateOff)
					}
					*(*float32)(unsafe.Add(a.Out[j], off)) = epilogue(acc, Epilogue(a.Epilogue), gate)
				}
			}
			wBase += a.Segs*(a.SegLen/4*size*width+a.WSegSkip) + a.WTileSkip
		}
	}
}

// distantValue is distant for one value.
//
//go:nocheckptr
func distantValue(p unsafe.Pointer, off int) float32 { return *(*float32)(unsafe.Add(p, off)) }
