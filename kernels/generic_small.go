package kernels

import (
	"unsafe"

	"github.com/epsball/epsball/asm"
)

// genericSmall is SmallPxV in pure Go, or with both BothPxV. Inlined it would be
// compiled once for each entry of the table.
//
//go:noinline
func genericSmall(p, v int, both bool) func(*asm.ConvArgs) {
	value := func(b unsafe.Pointer, off int) float32 { return *(*float32)(unsafe.Add(b, off)) }
	width := min(8*v, smallTile)
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
					in, w := 0, wBase+4*(c%width)+c/width*a.WTile
					for range a.Segs {
						for range a.SegLen / 4 {
							acc = FMA32(maskFloat32(value(a.W, w), mask), value(a.In[j], in), acc)
							in += 4
							w += 4 * width
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
			wBase += a.Segs*(a.SegLen/4*4*width+a.WSegSkip) + a.WTileSkip
		}
	}
}

// distantValue is distant for one value.
//
//go:nocheckptr
func distantValue(p unsafe.Pointer, off int) float32 { return *(*float32)(unsafe.Add(p, off)) }
