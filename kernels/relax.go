package kernels

import (
	"math"
	"unsafe"

	"github.com/epsball/epsball/asm"
)

// Linear bounds go backward through ReLUs with these parameters, RelaxParams for
// each neuron, in this order.
const (
	RelaxLower     = iota // slope of the lower line α·z
	RelaxUpper            // slope of the upper line s·z + t
	RelaxIntercept        // t
	RelaxBias             // b of the affine layer
	RelaxError            // of its output
	RelaxParams
)

// RelaxBlock is the largest number of neurons whose terms form one chain in
// float32; chains are added in float64.
const RelaxBlock = 128

// RelaxSums are sums over neurons, for each row: of n·t, out·b and |out|·e.
type RelaxSums struct{ T, B, E [Lanes]float64 }

// RelaxRun says where the neurons of a window of a map lie: Rows runs of N, those
// of the map Stride neurons apart.
type RelaxRun struct{ Rows, N, Stride int }

// Relax takes the coefficients of eight rows over the neurons of a window backward
// through their ReLUs. With p and n the positive and the negative part of a
// coefficient:
//
//	out = p·α + n·s; T += n·t; B += out·b; E += |out|·e
//
// dst, which may be src, and src hold one lane vector a neuron of the window,
// without gaps, and so does lower: if not nil, its lower slopes, one for each row, take
// the place of α. params starts at the window's first neuron in the map.
func (i *ISA) Relax(sc *Scratch, dst, src, params, lower []float32, run RelaxRun, sums *RelaxSums) {
	kernel := i.relax
	if lower != nil {
		kernel = i.relaxLanes
	}
	relax(kernel, sc, dst, src, params, lower, RelaxParams, run, unsafe.Slice(sums, 1))
}

// RelaxEach is Relax for groups of eight rows, as many as there are sums, that lie in dst and
// src one after the other. Each lane has parameters of its own, in all groups the same:
// params holds lane vectors, [neuron][RelaxParams][Lanes].
func (i *ISA) RelaxEach(sc *Scratch, dst, src, params []float32, run RelaxRun, sums []RelaxSums) {
	relax(i.relaxEach, sc, dst, src, params, nil, RelaxParams*Lanes, run, sums)
}

// relax calls a kernel for chains of neurons, with so many parameters each, and for each of
// them for all groups.
func relax(kernel func(*asm.RelaxArgs), sc *Scratch, dst, src, params, lower []float32, each int, run RelaxRun, sums []RelaxSums) {
	if run.Rows == 0 || run.N == 0 {
		return
	}
	if run.N == run.Stride {
		run = RelaxRun{1, run.N * run.Rows, run.N * run.Rows}
	}
	count := run.Rows * run.N
	reach := (run.Rows-1)*run.Stride + run.N
	dst = dst[:mustFit("destination", len(dst), len(sums)*count*Lanes)]
	src = src[:mustFit("source", len(src), len(sums)*count*Lanes)]
	params = params[:mustFit("parameters", len(params), reach*each)]
	if lower != nil {
		lower = lower[:mustFit("lower slopes", len(lower), count*Lanes)]
		raceRead(lower)
	}
	raceRead(src)
	raceRead(params)
	raceWrite(dst)
	a := &sc.relax
	a.ParamSkip = (run.Stride - run.N) * each * 4
	perRow, atOnce := 1, 1 // calls of a run, or runs of a call
	if run.N >= RelaxBlock {
		perRow = (run.N + RelaxBlock - 1) / RelaxBlock
	} else {
		atOnce = RelaxBlock / run.N
	}
	for p := range (run.Rows + atOnce - 1) / atOnce * perRow {
		y, x := p/perRow*atOnce, p%perRow*RelaxBlock
		a.N, a.Rows = min(RelaxBlock, run.N-x), min(atOnce, run.Rows-y)
		done := (y*run.N + x) * Lanes
		a.Params = unsafe.Pointer(&params[(y*run.Stride+x)*each])
		if lower != nil {
			a.Lower = unsafe.Pointer(&lower[done])
		}
		for g := range sums {
			at := g*count*Lanes + done
			a.Dst, a.Src = unsafe.Pointer(&dst[at]), unsafe.Pointer(&src[at])
			kernel(a)
			sums[g].add(&a.Sums)
		}
	}
	a.Dst, a.Src, a.Params, a.Lower = nil, nil, nil, nil
}

func (s *RelaxSums) add(v *[3][Lanes]float32) {
	for l := range Lanes {
		s.T[l] += float64(v[0][l])
		s.B[l] += float64(v[1][l])
		s.E[l] += float64(v[2][l])
	}
}

// genericRelax has the parameters of a neuron, for each lane of their own or not, step
// floats apart: 1, or Lanes.
//
//go:noinline
func genericRelax(a *asm.RelaxArgs, lanes bool, step int) {
	a.Sums = [3][Lanes]float32{}
	sumT, sumB, sumE := &a.Sums[0], &a.Sums[1], &a.Sums[2]
	par, done := 0, 0
	for range a.Rows {
		for range a.N {
			k := unsafe.Slice((*float32)(unsafe.Add(a.Params, par)), RelaxParams*step)
			src, dst := vector(a.Src, done), vector(a.Dst, done)
			for l, v := range src {
				at := l * (step - 1) / (Lanes - 1)
				p, n, low := v, v, k[at]
				if 0 > v {
					p = 0
				}
				if 0 < v {
					n = 0
				}
				if lanes {
					low = vector(a.Lower, done)[l]
				}
				out := FMA32(n, k[at+step*RelaxUpper], float32(p*low))
				dst[l] = out
				sumT[l] = FMA32(n, k[at+step*RelaxIntercept], sumT[l])
				sumB[l] = FMA32(out, k[at+step*RelaxBias], sumB[l])
				sumE[l] = FMA32(abs32(out), k[at+step*RelaxError], sumE[l])
			}
			par, done = par+RelaxParams*step*4, done+vecBytes
		}
		par += a.ParamSkip
	}
}

// Row is a row of a matrix, or its opposite.
type Row struct {
	Index int
	Minus bool
}

// GatherLanes writes n lane vectors to dst. Lane l of vector k is element from+k of row
// list[l] of a matrix with rows of cols elements.
func (i *ISA) GatherLanes(sc *Scratch, dst, matrix []float32, cols, from, n int, list *[Lanes]Row) {
	if n == 0 {
		return
	}
	dst = dst[:mustFit("destination", len(dst), n*Lanes)]
	if from < 0 || from+n > cols {
		panic("kernels: elements out of range")
	}
	for l, r := range list {
		if r.Index < 0 || (r.Index+1)*cols > len(matrix) {
			panic("kernels: row out of range")
		}
		sign := uint32(0)
		if r.Minus {
			sign = 1 << 31
		}
		half := l / 4 * 8
		sc.offset[l], sc.signs[half+l%4], sc.signs[half+4+l%4] = 4*(r.Index*cols+from), sign, sign
	}
	raceRead(matrix)
	raceWrite(dst)
	i.gatherLanes(base(dst), base(matrix), n, &sc.offset, &sc.signs)
}

func genericGatherLanes(dst, src unsafe.Pointer, n int, offset *[8]int, sign *[16]uint32) {
	for k := range n {
		d := vector(dst, k*vecBytes)
		for l := range d {
			bits := *(*uint32)(unsafe.Add(src, 4*k+offset[l]))
			d[l] = math.Float32frombits(bits ^ sign[4+l])
		}
	}
}
