package kernels

import (
	"unsafe"

	"github.com/epsball/epsball/asm"
)

// Winograd is a 3×3 convolution of stride 1, or its adjoint, by Winograd's
// minimal filtering F(4×4, 3×3) (Lavin & Gray 2016): 36 products where the plain
// loop has 144, at the price of rounding that no bound here covers: never use it
// on the way to a bound. Its results are deterministic, the same bits on every
// kernel set, but not those of Linear. After Pack and SetBias it is read-only
// and safe for concurrent use.
type Winograd struct {
	isa        *ISA
	shape      Shape
	adjoint    bool
	inC, outC  int
	inH, inW   int
	outH, outW int
	pad        int
	freq       [frequencies]*Linear // the products, as 1×1 convolutions
	bias       []float32
	zeros      []float32 // input pixels on padding
	block      int       // tiles transformed at a time
}

const (
	frequencies = 36
	winoOut     = 4 // pixels of a tile along each axis
	winoIn      = 6
)

// CanWinograd reports whether a geometry has a Winograd form.
func CanWinograd(s Shape) bool {
	return s.KH == 3 && s.KW == 3 && s.StrideH == 1 && s.StrideW == 1 && s.PadH == s.PadW
}

// NewWinograd returns the forward map or the adjoint of a convolution for which
// CanWinograd holds, with all weights zero.
func NewWinograd(isa *ISA, s Shape, adjoint bool) *Winograd {
	s.check()
	if !CanWinograd(s) {
		panic("kernels: no Winograd form")
	}
	w := &Winograd{
		isa: isa, shape: s, adjoint: adjoint, inC: s.InC, outC: s.OutC,
		inH: s.InH, inW: s.InW, outH: s.OutH(), outW: s.OutW(), pad: s.PadH,
	}
	if adjoint { // the convolution of dy with the flipped kernels
		w.inC, w.outC = w.outC, w.inC
		w.inH, w.inW, w.outH, w.outW = w.outH, w.outW, w.inH, w.inW
		w.pad = 2 - s.PadH
	}
	for f := range w.freq {
		w.freq[f] = NewForward(isa, FC(w.inC, w.outC))
	}
	w.bias, w.zeros = Alloc(w.outC), Alloc(w.inC*Lanes)
	const budget = 1 << 20 // transformed input and output of a block
	w.block = min(48, max(6, budget/(frequencies*(w.inC+w.outC)*vecBytes)/3*3))
	return w
}

// Bytes returns the memory held by the packed weights.
func (w *Winograd) Bytes() int { return frequencies * w.freq[0].Bytes() }

// Pack takes the weights of the convolution, [OutC][InC][3][3].
func (w *Winograd) Pack(weights []float32) {
	s := w.shape
	mustLen("weights", len(weights), s.Weights())
	for o := range w.outC {
		tile := o / tileChannels * tileChannels
		at, r := tile*w.inC+o-tile, min(tileChannels, w.outC-tile) // see phase
		for c := range w.inC {
			var g [9]float64
			for k := range g {
				if w.adjoint {
					g[8-k] = float64(weights[(c*s.InC+o)*9+k])
				} else {
					g[k] = float64(weights[(o*s.InC+c)*9+k])
				}
			}
			for f, v := range winogradKernel(&g) {
				w.freq[f].packed[at+c*r] = float32(v)
			}
		}
	}
}

// winogradKernel returns G·g·Gᵀ, frequency c*6+r for row r and column c, in
// float64.
func winogradKernel(g *[9]float64) (u [frequencies]float64) {
	transform := func(a, b, c float64) [winoIn]float64 {
		s, t := a+c, float64(a*0.25)+c
		return [winoIn]float64{a / 4, -(s + b) / 6, -(s - b) / 6, (t + b/2) / 6, (t - b/2) / 6, c}
	}
	var rows [3][winoIn]float64 // G applied along x
	for y := range rows {
		rows[y] = transform(g[3*y], g[3*y+1], g[3*y+2])
	}
	for c := range winoIn {
		for r, v := range transform(rows[0][c], rows[1][c], rows[2][c]) {
			u[c*winoIn+r] = v
		}
	}
	return u
}

// SetBias sets the constant added to each output channel.
func (w *Winograd) SetBias(b []float32) {
	mustLen("bias", len(b), w.outC)
	copy(w.bias, b)
}

// Apply is Linear.Apply by Winograd's algorithm.
func (w *Winograd) Apply(sc *Scratch, dst, src []float32, groups int, e Epilogue, gate []float32) {
	if groups == 0 {
		return
	}
	in, out := w.inC*w.inH*w.inW, w.outC*w.outH*w.outW
	dst = dst[:mustFit("destination", len(dst), groups*out*Lanes)]
	src = src[:mustFit("source", len(src), groups*in*Lanes)]
	raceRead(src)
	raceWrite(dst)
	a := &sc.wino
	a.Epilogue, a.GateOff = int(e), 0
	if e == Gate {
		gate = gate[:mustFit("gate", len(gate), len(dst))]
		a.GateOff = int(uintptr(base(gate)) - uintptr(base(dst)))
		raceRead(gate)
	}
	// A frequency's tiles are followed by one spare lane vector: equal strides of
	// a power of two would crowd into a few sets of the cache.
	vStride, mStride := (w.block*w.inC+1)*Lanes, (w.block*w.outC+1)*Lanes
	v, m := sc.winogradBuffers(frequencies*vStride, frequencies*mStride)
	a.Tmp = base(sc.tmp)
	tilesY, tilesX := (w.outH+winoOut-1)/winoOut, (w.outW+winoOut-1)/winoOut
	perGroup := tilesY * tilesX
	for first := 0; first < groups*perGroup; first += w.block {
		n := min(w.block, groups*perGroup-first)
		for t := range n {
			g, tile := (first+t)/perGroup, (first+t)%perGroup
			w.inputPixels(a, unsafe.Add(base(src), g*in*vecBytes), tile/tilesX, tile%tilesX)
			a.Base, a.Stride, a.N = base(v[t*w.inC*Lanes:]), 4*vStride, w.inC
			w.isa.winogradIn(a)
		}
		for f, l := range w.freq {
			l.Apply(sc, m[f*mStride:], v[f*vStride:], n, None, nil)
		}
		a.Bias = base(w.bias)
		for t := range n {
			g, tile := (first+t)/perGroup, (first+t)%perGroup
			w.outputPixels(a, unsafe.Add(base(dst), g*out*vecBytes), tile/tilesX, tile%tilesX)
			a.Base, a.Stride, a.N = base(m[t*w.outC*Lanes:]), 4*mStride, w.outC
			w.isa.winogradOut(a)
		}
	}
}

// inputPixels points P at the 6×6 input pixels of a tile, or at zeros.
func (w *Winograd) inputPixels(a *asm.WinogradArgs, src unsafe.Pointer, ty, tx int) {
	for y := range winoIn {
		iy := ty*winoOut + y - w.pad
		for x := range winoIn {
			ix := tx*winoOut + x - w.pad
			p := base(w.zeros)
			if iy >= 0 && iy < w.inH && ix >= 0 && ix < w.inW {
				p = unsafe.Add(src, (iy*w.inW+ix)*w.inC*vecBytes)
			}
			a.P[y*winoIn+x] = p
		}
	}
}

// outputPixels points P at the 4×4 output pixels of a tile; those beyond the
// image go to the tile's first pixel, which the kernel stores last.
func (w *Winograd) outputPixels(a *asm.WinogradArgs, dst unsafe.Pointer, ty, tx int) {
	at := func(y, x int) unsafe.Pointer { return unsafe.Add(dst, (y*w.outW+x)*w.outC*vecBytes) }
	for y := range winoOut {
		oy := ty*winoOut + y
		for x := range winoOut {
			ox := tx*winoOut + x
			if oy < w.outH && ox < w.outW {
				a.P[y*winoOut+x] = at(oy, ox)
			} else {
				a.P[y*winoOut+x] = at(ty*winoOut, tx*winoOut)
			}
		}
	}
}

// winogradBuffers returns room for transformed inputs and outputs; it allocates
// when a larger layer comes than before.
func (sc *Scratch) winogradBuffers(v, m int) (vs, ms []float32) {
	if len(sc.v) < v {
		sc.v = Alloc(v)
	}
	if len(sc.m) < m {
		sc.m = Alloc(m)
	}
	if sc.tmp == nil {
		sc.tmp = Alloc(frequencies * Lanes)
	}
	return sc.v, sc.m
}
