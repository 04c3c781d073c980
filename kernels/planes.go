package kernels

import (
	"math"
	"unsafe"

	"github.com/epsball/epsball/asm"
)

// PlaneRun says how far apart the runs of inputs of a neuron are: of weights, and of the window.
type PlaneRun struct{ Weights, Window int }

// Planes are neurons max(z, 0), z = Σw·x + b, of a window that rows take to their inputs x by
// planes above them (verify, step 9g). The zero value has none.
type Planes struct {
	list         []asm.PlaneNeuron
	run          PlaneRun
	inputs, rows int // lane vectors that they reach, of inputs and of their own
}

// PlaneNeuron is a neuron of Planes: it reads Rows runs of N inputs, at least one, from the
// lane vector Window of a window on, and its own lane vector is Lane. W begins with the weight of
// its first input; Q has w·ρ of all, one after the other. Up is a number not below its values, Error
// what |coefficients| count, and Start the θ to begin with.
type PlaneNeuron struct {
	W, Q                  []float32
	N, Rows, Window, Lane int
	Up, Error, Start      float32
}

// Reset takes all neurons out.
func (p *Planes) Reset(run PlaneRun) { *p = Planes{list: p.list[:0], run: run} }

// Add adds a neuron.
func (p *Planes) Add(n *PlaneNeuron) {
	if n.N < 1 || n.Rows < 1 {
		panic("kernels: a neuron without inputs")
	}
	reach := func(stride int) int { return (n.Rows-1)*stride + n.N }
	_ = n.W[:mustFit("weights", len(n.W), reach(p.run.Weights))]
	_ = n.Q[:mustFit("q", len(n.Q), n.Rows*n.N)]
	p.inputs, p.rows = max(p.inputs, n.Window+reach(p.run.Window)), max(p.rows, n.Lane+1)
	p.list = append(p.list, asm.PlaneNeuron{
		W: base(n.W), Q: base(n.Q), Window: n.Window * vecBytes, Lane: n.Lane * vecBytes, N: n.N, Rows: n.Rows,
		WSkip: (p.run.Weights - n.N) * 4, Skip: (p.run.Window - n.N) * vecBytes,
		Up: n.Up, Half: n.Up / 2, Error: n.Error, Start: n.Start,
	})
}

// Len is the number of neurons.
func (p *Planes) Len() int { return len(p.list) }

// Lane is that of neuron k.
func (p *Planes) Lane(k int) int { return p.list[k].Lane / vecBytes }

// PlaneState is the number of float32 of each neuron that PlanesBack keeps.
const PlaneState = 3 * Lanes

// Start sets θ of all lanes to the neurons' Start.
func (p *Planes) Start(state []float32) {
	for k := range p.list {
		s := state[k*PlaneState:][:Lanes]
		for l := range s {
			s[l] = p.list[k].Start
		}
	}
}

// Coefficients are what PlanesBack has lifted off the rows on neuron k.
func (p *Planes) Coefficients(state []float32, k int) []float32 {
	return state[k*PlaneState+2*Lanes:][:Lanes]
}

// Theta is θ of neuron k, of the next PlanesBack.
func (p *Planes) Theta(state []float32, k int) []float32 { return state[k*PlaneState:][:Lanes] }

// Settle sets θ of all lanes to where S of PlanesBack is Up/2, nearly, whatever the coefficients are.
func (p *Planes) Settle(state, y []float32) {
	state, y = state[:mustFit("state", len(state), len(p.list)*PlaneState)], y[:mustFit("y", len(y), p.inputs*Lanes)]
	var q []float64
	var at [Lanes][]float64
	for k := range p.list {
		n := &p.list[k]
		q = q[:0]
		for l := range at {
			at[l] = at[l][:0]
		}
		planeInputs(&asm.PlanesArgs{Y: base(y)}, n, &lane{}, func(_, v, t, _ float32, _, l int) {
			if l == 0 {
				q = append(q, math.Abs(float64(v)))
			}
			at[l] = append(at[l], float64(-t))
		})
		for l := range at {
			state[k*PlaneState+l] = float32(settle(q, at[l], float64(n.Half)))
		}
	}
}

// settle returns θ with Σq·(θ − y, cut to [0, 1]) = want, nearly.
func settle(q, y []float64, want float64) float64 {
	from, to, total := -1.0, 2.0, 0.0
	for _, v := range q {
		total += v
	}
	if !(total > 0) {
		return 0
	}
	theta := min(max(want/total, from), to)
	for range 64 {
		sum, slope := 0.0, 0.0
		for i, v := range q {
			t := theta - y[i]
			if t > 0 && t < 1 {
				slope += v
			}
			sum += float64(v * min(max(t, 0), 1))
		}
		short := want - sum
		if !(math.Abs(short) > float64(total*0x1p-30)) {
			break
		}
		if short > 0 {
			from = theta
		} else {
			to = theta
		}
		if theta += short / slope; !(theta > from && theta < to) {
			theta = (from + to) / 2
		}
	}
	return theta
}

// PlanesBack takes coefficients λ < 0 of eight rows to the inputs. With μ = θ − sign(w)·y of each
// row and input, cut to [0, 1], θ of rows with λ < 0 is moved to where S = Σ|q|μ would be Up/2, by a
// step of Newton's. Then
//
//	g += (λ·w)·μ,  T += λ·h,  E += |λ|·Error,  h = max(S, Up − S)·factor + tiny.
//
// If lift, λ is what is negative of the rows on the neurons, which is taken off them first; else what
// it was the last time. y and g have a lane vector for each input of the window, rows for each
// neuron of theirs.
func (i *ISA) PlanesBack(sc *Scratch, p *Planes, state, rows, y, g []float32, factor, tiny float32, lift bool, sums *RelaxSums) {
	rows, g = rows[:mustFit("rows", len(rows), p.rows*Lanes)], g[:mustFit("inputs", len(g), p.inputs*Lanes)]
	raceWrite(rows)
	raceWrite(g)
	kernel, _ := i.planes()
	for from := 0; from < len(p.list); from += RelaxBlock {
		a := p.args(sc, state, y, from)
		a.Row, a.X, a.Factor, a.Tiny = base(rows), base(g), factor, tiny
		if lift {
			a.Lift = 1
		}
		kernel(a)
		for l := range Lanes {
			sums.T[l] += float64(a.Sums[0][l])
			sums.E[l] += float64(a.Sums[1][l])
		}
		*a = asm.PlanesArgs{}
	}
}

// PlanesAhead gives the neurons of rows that PlanesBack has lifted their values at the corners of
// the box |x − c| ≤ ρ that minimise v·x: those of its planes.
func (i *ISA) PlanesAhead(sc *Scratch, p *Planes, state, values, y, v []float32) {
	values, v = values[:mustFit("values", len(values), p.rows*Lanes)], v[:mustFit("inputs", len(v), p.inputs*Lanes)]
	raceWrite(values)
	raceRead(v)
	_, kernel := i.planes()
	for from := 0; from < len(p.list); from += RelaxBlock {
		a := p.args(sc, state, y, from)
		a.Value, a.X = base(values), base(v)
		kernel(a)
		*a = asm.PlanesArgs{}
	}
}

// planes returns the kernels of a set: apart from it, so that programs without branch and bound do
// not carry them.
func (i *ISA) planes() (back, ahead func(*asm.PlanesArgs)) {
	if back, ahead = nativePlanes(i); back != nil {
		return back, ahead
	}
	return genericPlanesBack, genericPlanesAhead
}

// args are those of a call for the neurons from the given one on whose terms form one chain.
func (p *Planes) args(sc *Scratch, state, y []float32, from int) *asm.PlanesArgs {
	state, y = state[:mustFit("state", len(state), len(p.list)*PlaneState)], y[:mustFit("y", len(y), p.inputs*Lanes)]
	raceWrite(state)
	raceRead(y)
	sc.planes = asm.PlanesArgs{
		Neurons: unsafe.Pointer(&p.list[from]), Own: base(state[from*PlaneState:]), Y: base(y), Count: min(RelaxBlock, len(p.list)-from),
	}
	return &sc.planes
}

// planeInputs calls f for each input of a neuron and each lane: with its weight, q, t and m, where
// its lane vectors are, and the lane.
func planeInputs(a *asm.PlanesArgs, n *asm.PlaneNeuron, theta *lane, f func(w, q, t, m float32, at, l int)) {
	weight, next, at := 0, 0, n.Window
	for range n.Rows {
		for range n.N {
			w, q := *(*float32)(unsafe.Add(n.W, weight)), *(*float32)(unsafe.Add(n.Q, next))
			for l, y := range vector(a.Y, at) {
				if math.Signbit(float64(q)) {
					y = -y
				}
				t := theta[l] - y
				m := t
				if !(m > 0) {
					m = 0
				}
				f(w, q, t, min(m, 1), at, l)
			}
			weight, next, at = weight+4, next+4, at+vecBytes
		}
		weight, at = weight+n.WSkip, at+n.Skip
	}
}

// planeNeurons calls f for each neuron that has coefficients, with its state.
func planeNeurons(a *asm.PlanesArgs, f func(n *asm.PlaneNeuron, theta, height, coef *lane)) {
	list := unsafe.Slice((*asm.PlaneNeuron)(a.Neurons), a.Count)
	for k := range list {
		n := &list[k]
		of := func(i int) *lane { return vector(a.Own, (k*3+i)*vecBytes) }
		coef := of(2)
		if a.Lift != 0 {
			for l, v := range vector(a.Row, n.Lane) {
				if coef[l] = v; v > 0 {
					coef[l] = 0
				} else if v < 0 {
					v = 0
				}
				vector(a.Row, n.Lane)[l] = v
			}
		}
		if math.Float32bits(laneSum(coef)) != 0 {
			f(n, of(0), of(1), coef)
		}
	}
}

//go:noinline
func genericPlanesBack(a *asm.PlanesArgs) {
	a.Sums = [2]lane{}
	planeNeurons(a, func(n *asm.PlaneNeuron, theta, height, coef *lane) {
		var sum, slope lane
		planeInputs(a, n, theta, func(_, q, t, m float32, _, l int) {
			q = float32(math.Abs(float64(q)))
			if t == m {
				slope[l] += q
			}
			sum[l] += float32(q * m)
		})
		for l, s := range sum {
			short := n.Half - s
			step := float32(math.Copysign(0.25, float64(short)))
			if slope[l] > 0 {
				step = short / slope[l]
			} else if short == 0 {
				step = 0
			}
			to := theta[l] + step
			if !(to > -1) {
				to = -1
			}
			if coef[l] < 0 {
				theta[l] = min(to, 2)
			}
		}
		sum = lane{}
		planeInputs(a, n, theta, func(w, q, _, m float32, at, l int) {
			sum[l] += float32(float32(math.Abs(float64(q))) * m)
			vector(a.X, at)[l] += float32(float32(coef[l]*w) * m)
		})
		for l, s := range sum {
			d := n.Up - s
			if s > d {
				d = s
			}
			height[l] = float32(d*a.Factor) + a.Tiny
			a.Sums[0][l] += float32(coef[l] * height[l])
			a.Sums[1][l] += float32(float32(math.Abs(float64(coef[l]))) * n.Error)
		}
	})
}

//go:noinline
func genericPlanesAhead(a *asm.PlanesArgs) {
	planeNeurons(a, func(n *asm.PlaneNeuron, theta, height, coef *lane) {
		var sum lane
		planeInputs(a, n, theta, func(_, q, _, m float32, at, l int) {
			part := float32(q * m)
			if !math.Signbit(float64(vector(a.X, at)[l])) {
				part = -part
			}
			sum[l] += part
		})
		for l, c := range coef {
			if c < 0 {
				vector(a.Value, n.Lane)[l] = sum[l] + height[l]
			}
		}
	})
}
