package kernels

import (
	"math"
	"runtime"
	"unsafe"

	"github.com/epsball/epsball/asm"
)

// The kernels in pure Go: the meaning of every other set, bit for bit.

var generic = &ISA{
	name:       "generic",
	convPair:   genericConvPair,
	winogradIn: genericWinogradIn, winogradOut: genericWinogradOut,
	pgdStep:     genericPGDStep,
	selectMask:  genericSelect,
	affine:      genericAffine,
	box:         genericBox,
	boxEnd:      genericBoxEnd,
	pause:       func(int) {},
	adamStep:    genericAdamStep,
	transpose4:  genericTranspose4,
	dealRows:    genericDealRows,
	gatherRows:  genericGatherRows,
	gatherLanes: genericGatherLanes,
	relax:       func(a *asm.RelaxArgs) { genericRelax(a, false, 1) },
	relaxLanes:  func(a *asm.RelaxArgs) { genericRelax(a, true, 1) },
	relaxEach:   func(a *asm.RelaxArgs) { genericRelax(a, false, Lanes) },
	climbSlopes: genericClimbSlopes,
	add:         genericAdd,
	addGate:     genericAddGate,
	boxAdd:      genericBoxAdd,
	peakFMA:     genericPeakFMA,
	readMemory:  genericReadMemory,
}

// Tables are filled here, in place: as values they take 2 KB more of a program. They have every
// tile that any set may have.
func init() {
	for r := range generic.conv {
		c := &generic.conv[r]
		c.pixels = narrowPixels[r]
		for p := range c.at {
			c.at[p] = genericConv(r, p)
		}
	}
	fillSmall(&generic.small, false, Float32)
	fillSmall(&generic.both, true, Float32)
	for i, wt := range []Weights{BFloat16, Float16} {
		fillSmall(&generic.small16[i], false, wt)
		fillSmall(&generic.both16[i], true, wt)
	}
	for g := 1; g < len(generic.sparse); g++ {
		generic.sparse[g] = genericSparse(g)
	}
}

type lane = [Lanes]float32

func vector(p unsafe.Pointer, off int) *lane { return (*lane)(unsafe.Add(p, off)) }

// distant is vector for an offset that leads into another slice, which checkptr
// takes for an error.
//
//go:nocheckptr
func distant(p unsafe.Pointer, off int) *lane { return (*lane)(unsafe.Add(p, off)) }

func epilogue(v float32, e Epilogue, gate float32) float32 {
	switch {
	case e == ReLU && 0 > v, e == Gate && !(gate > 0):
		return 0
	}
	return v
}

//go:noinline
func genericConv(r, p int) func(*asm.ConvArgs) {
	return func(a *asm.ConvArgs) {
		for {
			genericTiles(a, r, p)
			if a.Batches == 1 {
				return
			}
			a.Batches--
			for j := range p {
				at := (*[2]int32)(unsafe.Add(a.Table, a.Next))
				a.In[j], a.Out[j] = unsafe.Add(a.InBase, int(at[0])*vecBytes), unsafe.Add(a.OutBase, int(at[1])*vecBytes)
				a.Next += int(unsafe.Sizeof(*at))
			}
		}
	}
}

// genericTiles computes the tiles of one batch of pixels.
func genericTiles(a *asm.ConvArgs, r, p int) {
	wTile := 0 // byte offset of the tile's weights
	for t := range a.Tiles {
		for i := range r {
			bias := *(*float32)(unsafe.Add(a.Bias, 4*(t*r+i)))
			for j := range p {
				acc := lane{bias, bias, bias, bias, bias, bias, bias, bias}
				in, w := 0, wTile+4*i
				for range a.Segs {
					for range a.SegLen / vecBytes {
						wk := *(*float32)(unsafe.Add(a.W, w))
						x := vector(a.In[j], in)
						for l := range acc {
							acc[l] = FMA32(x[l], wk, acc[l])
						}
						in += vecBytes
						w += 4 * r
					}
					in += a.SegSkip
					w += a.WSegSkip
				}
				off := vecBytes * (t*r + i)
				out := vector(a.Out[j], off)
				for l, v := range acc {
					var gate float32
					if a.Epilogue == asm.EpilogueGate {
						gate = distant(a.Out[j], off+a.GateOff)[l]
					}
					out[l] = epilogue(v, Epilogue(a.Epilogue), gate)
				}
			}
		}
		wTile += a.Segs*(a.SegLen/vecBytes*4*r+a.WSegSkip) + a.WTileSkip
	}
}

// genericConvPair is Conv8x1: the first tiles of all pairs, and the second ones.
func genericConvPair(a *asm.ConvArgs) {
	one := *a
	tile := one.Segs * (one.SegLen/vecBytes*4*tileChannels + one.WSegSkip)
	for t := range a.Tiles {
		for half := range 2 {
			one.Tiles, one.Batches = 1, 1
			one.W = unsafe.Add(a.W, t*(tile+a.WTileSkip)+half*a.WTile)
			one.Bias = unsafe.Add(a.Bias, 4*tileChannels*(2*t+half))
			one.Out[0] = unsafe.Add(a.Out[0], vecBytes*tileChannels*(2*t+half))
			genericTiles(&one, tileChannels, 1)
		}
	}
}

//go:noinline
func genericGrad(r, k int) func(*asm.GradArgs) {
	return func(a *asm.GradArgs) {
		for t := range a.Tiles {
			for i := range r {
				for j := range k {
					var acc lane
					sums := &acc
					if a.Sums != nil {
						sums = vector(a.Sums, vecBytes*((t*r+i)*k+j))
						acc = *sums
					}
					dy, x := vecBytes*i, vecBytes*(t*k+j)
					for range a.Groups {
						for range a.Rows {
							for range a.Cols {
								dv, xv := vector(a.DY, dy), vector(a.X, x)
								for l := range acc {
									acc[l] = FMA32(xv[l], dv[l], acc[l])
								}
								dy += a.DYCol
								x += a.XCol
							}
							dy += a.DYRow
							x += a.XRow
						}
						dy += a.DYGroup
						x += a.XGroup
					}
					if a.Out == nil {
						*sums = acc
					} else {
						*(*float32)(unsafe.Add(a.Out, i*a.OutStride+4*(t*k+j))) = laneSum(&acc)
					}
				}
			}
		}
	}
}

// laneSum adds the lanes in the order of the assembly's reduction.
func laneSum(v *lane) float32 {
	return ((v[0] + v[4]) + (v[2] + v[6])) + ((v[1] + v[5]) + (v[3] + v[7]))
}

func genericPGDStep(x, g, lo, hi unsafe.Pointer, n int, alpha float32) {
	xs, gs := unsafe.Slice((*float32)(x), n*Lanes), unsafe.Slice((*float32)(g), n*Lanes)
	los, his := unsafe.Slice((*float32)(lo), n*Lanes), unsafe.Slice((*float32)(hi), n*Lanes)
	for i, v := range xs {
		var s float32
		if gs[i] > 0 {
			s = alpha
		} else if gs[i] < 0 {
			s = -alpha
		}
		v += s
		if los[i] > v {
			v = los[i]
		}
		if his[i] < v {
			v = his[i]
		}
		xs[i] = v
	}
}

func genericSelect(dst, src, mask unsafe.Pointer, n int) {
	m := (*[Lanes]uint32)(mask)
	for i := range n {
		d, s := vector(dst, i*vecBytes), vector(src, i*vecBytes)
		for l := range d {
			if m[l]>>31 != 0 {
				d[l] = s[l]
			}
		}
	}
}

func genericAffine(c, r unsafe.Pointer, n int, a *asm.IntervalArgs) {
	cs, rs := unsafe.Slice((*float32)(c), n*Lanes), unsafe.Slice((*float32)(r), n*Lanes)
	for i := range cs {
		hi, lo := cs[i]+rs[i], cs[i]-rs[i]
		hi += float32(float32(abs32(hi)*a.Rel) + a.Abs)
		lo -= float32(float32(abs32(lo)*a.Rel) + a.Abs)
		if a.ReLU != 0 {
			lo, hi = epilogue(lo, ReLU, 0), epilogue(hi, ReLU, 0)
		}
		cs[i], rs[i] = lo, hi
	}
	genericBox(c, r, n, a)
}

func genericBox(c, r unsafe.Pointer, n int, a *asm.IntervalArgs) {
	cs, rs := unsafe.Slice((*float32)(c), n*Lanes), unsafe.Slice((*float32)(r), n*Lanes)
	for i := range cs {
		lo, hi := cs[i], rs[i]
		mid := float32((lo + hi) * 0.5)
		up, down := hi-mid, mid-lo
		if !(up > down) {
			up = down
		}
		cs[i] = mid
		rs[i] = float32(float32(up*a.MulR)+float32(abs32(mid)*a.MulC)) + a.Add
	}
}

func genericAdamStep(w, g, m, v unsafe.Pointer, n int, a *asm.AdamArgs) {
	n *= Lanes
	adamValues(unsafe.Slice((*float32)(w), n), unsafe.Slice((*float32)(g), n), unsafe.Slice((*float32)(m), n), unsafe.Slice((*float32)(v), n), a)
}

func adamValues(w, g, m, v []float32, a *asm.AdamArgs) {
	g, m, v = g[:len(w)], m[:len(w)], v[:len(w)]
	for i, gi := range g {
		mi := float32(m[i]*a.Beta1) + float32(gi*a.Rest1)
		vi := float32(v[i]*a.Beta2) + float32(float32(gi*gi)*a.Rest2)
		m[i], v[i] = mi, vi
		root := float32(math.Sqrt(float64(vi))) // of a float32: rounded once
		w[i] -= float32(mi*a.Alpha) / float32(root+a.Tiny)
	}
}

func genericTranspose4(dst, src unsafe.Pointer, dstStride, rowStride, n int, mask uint32) {
	for i := range 4 {
		s, d := unsafe.Add(src, i*rowStride), unsafe.Add(dst, 4*i)
		for k := range 8 * n {
			*(*uint32)(unsafe.Add(d, k*dstStride)) = *(*uint32)(unsafe.Add(s, 4*k)) & mask
		}
	}
}

func genericDealRows(dst, src unsafe.Pointer, dstStride, rowStride, n int, mask uint32) {
	for k := range n {
		s := (*[16]uint32)(unsafe.Add(src, k*rowStride))
		for i, v := range s {
			*(*uint32)(unsafe.Add(dst, i/4*dstStride+16*k+4*(i%4))) = v & mask
		}
	}
}

func genericGatherRows(dst, src unsafe.Pointer, rowStride, n int) {
	type row = [4 * Lanes]float32
	for k := range n {
		*(*row)(unsafe.Add(dst, k*4*vecBytes)) = *(*row)(unsafe.Add(src, k*rowStride))
	}
}

func genericAdd(dst, src unsafe.Pointer, n int, relu uint32) {
	d, s := unsafe.Slice((*float32)(dst), n*Lanes), unsafe.Slice((*float32)(src), n*Lanes)
	e := None
	if relu != 0 {
		e = ReLU
	}
	for i := range d {
		d[i] = epilogue(d[i]+s[i], e, 0)
	}
}

func genericAddGate(dst, src, gate unsafe.Pointer, n int) {
	d, s := unsafe.Slice((*float32)(dst), n*Lanes), unsafe.Slice((*float32)(src), n*Lanes)
	g := unsafe.Slice((*float32)(gate), n*Lanes)
	for i := range d {
		d[i] = epilogue(d[i]+s[i], Gate, g[i])
	}
}

func genericBoxAdd(c, r, sc, sr unsafe.Pointer, n int, a *asm.IntervalArgs) {
	cs, rs := unsafe.Slice((*float32)(c), n*Lanes), unsafe.Slice((*float32)(r), n*Lanes)
	scs, srs := unsafe.Slice((*float32)(sc), n*Lanes), unsafe.Slice((*float32)(sr), n*Lanes)
	for i := range cs {
		cs[i] += scs[i]
		rs[i] = float32(float32((rs[i]+srs[i])*a.MulR)+float32(abs32(cs[i])*a.MulC)) + a.Add
	}
}

func abs32(v float32) float32 { return maskFloat32(v, 1<<31-1) }

func genericPeakFMA(n int) {
	var acc [24]float32
	for range n {
		for i := range acc {
			acc[i] = FMA32(0.1, 0.3, acc[i]) // of normal numbers: zeros take longer
		}
	}
}

func genericReadMemory(p unsafe.Pointer, n, reps int) {
	s := unsafe.Slice((*float32)(p), n*64)
	var sum float32
	for range reps {
		for _, v := range s {
			sum += v
		}
	}
	runtime.KeepAlive(sum) // or the loop, run for its time, is dropped
}

func genericBoxEnd(dst, x unsafe.Pointer, n int, e1, e2, doubt float32, up uint32) {
	for i := range n * Lanes {
		v := *(*float32)(unsafe.Add(x, 4*i))
		s, err := twoSum(v, e1)
		t, rest := twoSum(err, e2)
		s, err = twoSum(s, t)
		err += rest // the sum less its nearest float32
		out := (*float32)(unsafe.Add(dst, 4*i))
		if abs32(err) < doubt || abs32(s) < 0x1p-20 {
			*out = math.Float32frombits(math.MaxUint32)
			continue
		}
		bits := math.Float32bits(s)
		switch {
		case up == 0 && err < 0:
			bits--
		case up != 0 && err > 0:
			bits++
		}
		s = math.Float32frombits(bits)
		if 0 > s {
			s = 0
		}
		if 1 < s {
			s = 1
		}
		*out = s
	}
}

// twoSum returns s = fl(a+b) and a + b − s, which is a float32 (Knuth).
func twoSum(a, b float32) (s, err float32) {
	s = a + b
	t := s - a
	return s, (a - (s - t)) + (b - t)
}
