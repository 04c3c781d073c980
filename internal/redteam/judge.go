package redteam

import (
	"fmt"
	"math"
	"math/big"
	"math/rand/v2"
)

// Claim is what a method says of a case.
type Claim struct {
	Name   string
	Layers []Interval

	// Lower bounds of output Y minus every other, of the smallest of these, and of
	// Case.Rows. NaN and −Inf claim nothing.
	Margins []float64
	Worst   *float64 // nil: none
	Rows    []float64

	// Real claims are of real numbers alone, not of executions.
	Real bool
}

// Interval bounds the outputs of a layer of the architecture, channels first. NaN and
// infinities claim nothing.
type Interval struct {
	Layer        int
	Lower, Upper []float32
}

// Report counts what was judged.
type Report struct {
	Networks, Executions, Overflows, Comparisons int

	Violations []Violation
}

// Violation is a claim that a point of the ball breaks.
type Violation struct{ Case, Claim, What string }

func (v Violation) String() string { return v.Case + ": " + v.Claim + ": " + v.What }

// Add counts another report.
func (r *Report) Add(o Report) {
	r.Networks += o.Networks
	r.Executions += o.Executions
	r.Overflows += o.Overflows
	r.Comparisons += o.Comparisons
	r.Violations = append(r.Violations, o.Violations...)
}

func (r Report) String() string {
	return fmt.Sprintf("%d networks, %d executions (%d overflow), %d comparisons, %d violations",
		r.Networks, r.Executions, r.Overflows, r.Comparisons, len(r.Violations))
}

// judge holds claims against evaluations of one case.
type judge struct {
	*Case
	n      *network
	e      executor
	claims []Claim
	report Report
	found  map[string]bool // claims known to be broken
}

// Judge compares claims with evaluations at points of the ball, as many as effort says.
func (c *Case) Judge(claims []Claim, effort int) Report {
	r := rand.New(rand.NewPCG(c.Seed, 99))
	n := newNetwork(c.Model)
	j := &judge{Case: c, n: n, e: executor{network: n, Rand: r}, claims: claims, found: map[string]bool{}}
	j.report.Networks = 1
	j.at(c.point32(c.X), nil)
	for range effort {
		j.attack()
	}
	return j.report
}

// target is an activation's output, or, at the last, a margin, and its sign.
func (j *judge) target() (act int, seed map[int]float64) {
	r := j.e.Rand
	act = j.n.last
	size := j.n.sizes[act]
	switch {
	case j.Rows != nil && r.IntN(3) == 0:
		seed = map[int]float64{}
		for o, c := range j.Rows[r.IntN(len(j.Rows))] {
			seed[o] = -float64(c)
		}
		return act, seed
	case size > 1 && r.IntN(3) > 0:
		other := (j.Y + 1 + r.IntN(size-1)) % size
		return act, map[int]float64{j.Y: -1, other: 1}
	case len(j.n.outs) > 0 && r.IntN(3) > 0:
		act = j.n.outs[r.IntN(len(j.n.outs))]
	}
	return act, map[int]float64{r.IntN(j.n.sizes[act]): float64(2*r.IntN(2) - 1)}
}

// attack picks a target and evaluates where it seems largest.
func (j *judge) attack() {
	act, seed := j.target()
	x := make([]float64, len(j.X))
	for k, v := range j.X {
		x[k] = float64(v)
	}
	push := j.n.gradients(j.n.wide(x), act, seed, false)
	j.at(j.point32(j.X), push)
	if j.Ball.Eps.Float64() == 0 {
		return
	}
	var g []float64
	switch j.e.IntN(8) {
	case 0, 1:
		g = anywhere(len(j.X), j.e.Rand)
	case 2, 3, 4:
		g = push[0]
	default:
		g = j.n.gradients(j.n.wide(x), act, seed, true)[0]
	}
	if j.e.IntN(2) == 0 { // what does not matter to exact numbers may to executions
		for k, v := range g {
			if v == 0 {
				g[k] = math.Copysign(math.SmallestNonzeroFloat64, float64(j.e.IntN(2))-0.5)
			}
		}
	}
	share := 1.0
	if j.e.IntN(4) == 0 {
		share = j.e.Float64()
	}
	for _, p := range j.along(g, share) {
		for k := range x {
			x[k], _ = p.real[k].Float64()
		}
		push = j.n.gradients(j.n.wide(x), act, seed, false)
		j.at(p, push)
	}
}

// at evaluates at one point, exactly and in float32.
func (j *judge) at(p point, push [][]float64) {
	real := j.n.exact(p.real)
	near := make([][]float64, len(real))
	for a, list := range real {
		for _, z := range list {
			f, _ := z.Float64()
			near[a] = append(near[a], f)
		}
	}
	j.compare("exact", near, real)
	if p.float32 == nil {
		return
	}
	for k := range 3 {
		if k == 2 {
			push = nil
		}
		j.report.Executions++
		acts, ok := j.e.execute(p.float32, push)
		if !ok {
			j.report.Overflows++
			continue
		}
		for a, list := range acts {
			near[a] = near[a][:0]
			for _, v := range list {
				near[a] = append(near[a], float64(v))
			}
		}
		j.compare("executed", near, nil)
	}
}

// most is the number of outputs of a layer that one evaluation is compared with, taking
// turns: those of large ones are much alike.
const most = 64

// compare holds all claims against one evaluation: near as float64, and, unless nil,
// in real numbers.
func (j *judge) compare(how string, near [][]float64, real [][]*big.Float) {
	last := near[j.n.last]
	for c := range j.claims {
		claim := &j.claims[c]
		if claim.Real && real == nil {
			continue
		}
		value := func(a, o int) *big.Float {
			if real != nil {
				return real[a][o]
			}
			return exactly(near[a][o])
		}
		for _, iv := range claim.Layers {
			a := iv.Layer + 1
			size := len(near[a])
			first := j.report.Executions * most
			for k := range min(size, most) {
				k = (first + k) % size
				f := near[a][k]
				what := func() string { return fmt.Sprintf("%s, layer %d, output %d", how, iv.Layer, k) }
				j.below(claim, float64(iv.Lower[k]), f, func() *big.Float { return value(a, k) }, what)
				j.below(claim, -float64(iv.Upper[k]), -f, func() *big.Float { return exactly(0).Neg(value(a, k)) }, what)
			}
		}
		j.rows(claim, how, last, func(o int) *big.Float { return value(j.n.last, o) })
		for o, f := range last {
			if o == j.Y {
				continue
			}
			f = last[j.Y] - f
			margin := func() *big.Float { return exactly(0).Sub(value(j.n.last, j.Y), value(j.n.last, o)) }
			what := func() string { return fmt.Sprintf("%s, margin over %d", how, o) }
			if math.Abs(f) < 0x1p-40*math.Abs(last[j.Y]) { // near is not near enough
				f, _ = margin().Float64()
			}
			if claim.Margins != nil {
				j.below(claim, claim.Margins[o], f, margin, what)
			}
			if claim.Worst != nil {
				j.below(claim, *claim.Worst, f, margin, what)
			}
		}
	}
}

// rows holds lower bounds of the case's rows against outputs.
func (j *judge) rows(claim *Claim, how string, near []float64, value func(o int) *big.Float) {
	for r, bound := range claim.Rows {
		sum, all := 0.0, 0.0
		for o, c := range j.Rows[r] {
			sum += float64(c) * near[o]
			all += math.Abs(float64(c) * near[o])
		}
		exact := func() *big.Float {
			s := exactly(0)
			for o, c := range j.Rows[r] {
				s.Add(s, exactly(0).Mul(exactly(float64(c)), value(o)))
			}
			return s
		}
		if !(math.Abs(sum) > 0x1p-20*all) {
			sum, _ = exact().Float64()
		}
		j.below(claim, bound, sum, exact, func() string { return fmt.Sprintf("%s, row %d", how, r) })
	}
}

// below requires bound ≤ z; near is z but for a relative error below 2⁻⁹.
func (j *judge) below(c *Claim, bound, near float64, z func() *big.Float, what func() string) {
	if math.IsNaN(bound) || math.IsInf(bound, 0) || math.IsNaN(near) { // no claim, or not computed
		return
	}
	j.report.Comparisons++
	if bound < near-math.Abs(near)*0x1p-8 || z().Cmp(exactly(bound)) >= 0 || j.found[c.Name] {
		return
	}
	j.found[c.Name] = true
	f, _ := z().Float64()
	j.report.Violations = append(j.report.Violations, Violation{j.String(), c.Name, fmt.Sprintf("%s: bound %v, value %v", what(), bound, f)})
}
