package kernels

import (
	"math"
	"unsafe"

	"github.com/epsball/epsball/asm"
)

// ClimbConstants are the numbers of a step: the decays of both moments, what gradients count in
// them, the step size, what second moments are multiplied by, and what is added to their root.
type ClimbConstants struct{ Beta1, Rest1, Beta2, Rest2, Rate, Scale, Tiny float32 }

// ClimbSlopes takes values of eight rows forward through the lines of a ReLU, of which Relax has
// taken the coefficients v backward, and moves lower slopes up their gradients. Where a neuron
// is unstable, its t being positive, and v > 0
//
//	z = α·z, and α = α + Rate·m/(√(s·Scale) + Tiny) within [0, 1], 0 for NaN
//
// with the α that was, and the moments m and s of the gradient v·z updated before; elsewhere z is
// s·z + t, the upper line, which of stable neurons is both. All but params hold one lane vector a
// neuron of the window, without gaps. params starts at the window's first neuron in the map.
func (i *ISA) ClimbSlopes(sc *Scratch, z, v, alpha, m, s, params []float32, run RelaxRun, k ClimbConstants) {
	if run.Rows == 0 || run.N == 0 {
		return
	}
	n := run.Rows * run.N * Lanes
	reach := ((run.Rows-1)*run.Stride + run.N) * RelaxParams
	z, v = z[:mustFit("values", len(z), n)], v[:mustFit("coefficients", len(v), n)]
	alpha = alpha[:mustFit("slopes", len(alpha), n)]
	m, s = m[:mustFit("first moments", len(m), n)], s[:mustFit("second moments", len(s), n)]
	params = params[:mustFit("parameters", len(params), reach)]
	raceRead(v)
	raceRead(params)
	for _, b := range [][]float32{z, alpha, m, s} {
		raceWrite(b)
	}
	a := &sc.climb
	*a = asm.ClimbArgs{
		Row: base(v), Value: base(z), Slope: base(alpha), First: base(m), Second: base(s), Params: base(params),
		N: run.N, Rows: run.Rows, ParamSkip: (run.Stride - run.N) * RelaxParams * 4,
		Beta1: k.Beta1, Rest1: k.Rest1, Beta2: k.Beta2, Rest2: k.Rest2, Rate: k.Rate, Scale: k.Scale, Tiny: k.Tiny,
	}
	i.climbSlopes(a)
	*a = asm.ClimbArgs{}
}

//go:noinline
func genericClimbSlopes(a *asm.ClimbArgs) {
	par, done := 0, 0
	for range a.Rows {
		for range a.N {
			p := unsafe.Slice((*float32)(unsafe.Add(a.Params, par)), RelaxParams)
			v, z, slope := vector(a.Row, done), vector(a.Value, done), vector(a.Slope, done)
			m, s := vector(a.First, done), vector(a.Second, done)
			for l, x := range z {
				if !(v[l] > 0 && p[RelaxIntercept] > 0) {
					z[l] = float32(p[RelaxUpper]*x) + p[RelaxIntercept]
					continue
				}
				z[l] = slope[l] * x
				grad := v[l] * x
				m[l] = float32(m[l]*a.Beta1) + float32(grad*a.Rest1)
				s[l] = float32(s[l]*a.Beta2) + float32(float32(grad*grad)*a.Rest2)
				to := slope[l] + float32(m[l]*a.Rate)/(float32(math.Sqrt(float64(s[l]*a.Scale)))+a.Tiny)
				if !(to > 0) {
					to = 0
				}
				slope[l] = min(to, 1)
			}
			par, done = par+RelaxParams*4, done+vecBytes
		}
		par += a.ParamSkip
	}
}
