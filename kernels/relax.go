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
	if run.Rows == 0 || run.N == 0 {
		return
	}
	if run.N == run.Stride {
		run = RelaxRun{1, run.N * run.Rows, run.N * run.Rows}
	}
	count := run.Rows * run.N
	reach := (run.Rows-1)*run.Stride + run.N
	dst = dst[:mustFit("destination", len(dst), count*Lanes)]
	src = src[:mustFit("source", len(src), count*Lanes)]
	params = params[:mustFit("parameters", len(params), reach*RelaxParams)]
	kernel := i.relax
	if lower != nil {
		lower = lower[:mustFit("lower slopes", len(lower), count*Lanes)]
		raceRead(lower)
		kernel = i.relaxLanes
	}
	raceRead(src)
	raceRead(params)
	raceWrite(dst)
	a := &sc.relax
	a.ParamSkip = (run.Stride - run.N) * RelaxParams * 4
	call := func(done, at, n, rows int) {
		a.Dst, a.Src = unsafe.Pointer(&dst[done*Lanes]), unsafe.Pointer(&src[done*Lanes])
		a.Params = unsafe.Pointer(&params[at*RelaxParams])
		if lower != nil {
			a.Lower = unsafe.Pointer(&lower[done*Lanes])
		}
		a.N, a.Rows = n, rows
		kernel(a)
		sums.add(&a.Sums)
	}
	if run.N >= RelaxBlock {
		for y := range run.Rows {
			for x := 0; x < run.N; x += RelaxBlock {
				call(y*run.N+x, y*run.Stride+x, min(RelaxBlock, run.N-x), 1)
			}
		}
	} else {
		for y, atOnce := 0, RelaxBlock/run.N; y < run.Rows; y += atOnce {
			call(y*run.N, y*run.Stride, run.N, min(atOnce, run.Rows-y))
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

func genericRelax(a *asm.RelaxArgs, lanes bool) {
	a.Sums = [3][Lanes]float32{}
	sumT, sumB, sumE := &a.Sums[0], &a.Sums[1], &a.Sums[2]
	par, done := 0, 0
	for range a.Rows {
		for range a.N {
			k := (*[RelaxParams]float32)(unsafe.Add(a.Params, par))
			src, dst := vector(a.Src, done), vector(a.Dst, done)
			for l, v := range src {
				p, n, low := v, v, k[RelaxLower]
				if 0 > v {
					p = 0
				}
				if 0 < v {
					n = 0
				}
				if lanes {
					low = vector(a.Lower, done)[l]
				}
				out := FMA32(n, k[RelaxUpper], float32(p*low))
				dst[l] = out
				sumT[l] = FMA32(n, k[RelaxIntercept], sumT[l])
				sumB[l] = FMA32(out, k[RelaxBias], sumB[l])
				sumE[l] = FMA32(abs32(out), k[RelaxError], sumE[l])
			}
			par, done = par+RelaxParams*4, done+vecBytes
		}
		par += a.ParamSkip
	}
}

// Row is a row of a matrix, or its opposite.
type Row struct {
	Index int
	Minus bool
}

// GatherLanes writes n lane vectors to dst. Lane l of vector k is element k of row
// list[l]. columns holds the rows as [n][rows]; it may hold more after the first n.
func (i *ISA) GatherLanes(sc *Scratch, dst, columns []float32, n, rows int, list *[Lanes]Row) {
	if n == 0 {
		return
	}
	dst = dst[:mustFit("destination", len(dst), n*Lanes)]
	columns = columns[:mustFit("columns", len(columns), n*rows)]
	for l, r := range list {
		if r.Index < 0 || r.Index >= rows {
			panic("kernels: row out of range")
		}
		sc.offset[l], sc.mask[l] = 4*r.Index, 0
		if r.Minus {
			sc.mask[l] = 1 << 31
		}
	}
	raceRead(columns)
	raceWrite(dst)
	i.gatherLanes(base(dst), base(columns), n, 4*rows, &sc.offset, &sc.mask)
}

func genericGatherLanes(dst, src unsafe.Pointer, n, stride int, offset *[8]int, sign *[8]uint32) {
	for k := range n {
		d := vector(dst, k*vecBytes)
		for l := range d {
			bits := *(*uint32)(unsafe.Add(src, k*stride+offset[l]))
			d[l] = math.Float32frombits(bits ^ sign[l])
		}
	}
}
