package redteam

import (
	"math"

	"github.com/epsball/epsball/model"
)

// naive is a verifier as it is on paper: CROWN (Zhang et al. 2018) for boxes, on networks of
// sums and ReLUs, in float64 without a thought for rounding, its own or that of executions.
type naive struct {
	n      *network
	lo, hi [][]float64 // of each activation
}

// naiveMargin returns what it says is a lower bound of the label's output less every other.
func naiveMargin(c *Case) float64 {
	v := naive{n: newNetwork(c.Model)}
	v.lo, v.hi = make([][]float64, len(v.n.sizes)), make([][]float64, len(v.n.sizes))
	eps := c.Ball.Eps.Float64()
	for _, x := range c.X {
		v.lo[0], v.hi[0] = append(v.lo[0], max(0, float64(x)-eps)), append(v.hi[0], min(1, float64(x)+eps))
	}
	for i := range v.n.steps {
		s := &v.n.steps[i]
		for o := range v.n.sizes[s.out] {
			lo, hi := v.below(s.out, map[int]float64{o: 1}), -v.below(s.out, map[int]float64{o: -1})
			if s.kind == model.ReLU {
				lo, hi = max(0, v.lo[s.in][o]), max(0, v.hi[s.in][o])
			}
			v.lo[s.out], v.hi[s.out] = append(v.lo[s.out], lo), append(v.hi[s.out], hi)
		}
	}
	least := math.Inf(1)
	for o := range v.n.sizes[v.n.last] {
		if o == c.Y {
			continue
		}
		least = min(least, v.below(v.n.last, map[int]float64{c.Y: 1, o: -1}))
	}
	return least
}

// below bounds Σ row·activation from below, backward to the input.
func (v *naive) below(act int, row map[int]float64) (low float64) {
	coef := make([][]float64, len(v.n.sizes))
	at := func(a int) []float64 {
		if coef[a] == nil {
			coef[a] = make([]float64, v.n.sizes[a])
		}
		return coef[a]
	}
	for o, c := range row {
		at(act)[o] = c
	}
	for i := len(v.n.steps) - 1; i >= 0; i-- {
		s := &v.n.steps[i]
		if coef[s.out] == nil {
			continue
		}
		in := at(s.in)
		for o, c := range coef[s.out] {
			switch {
			case c == 0:
			case s.kind == model.ReLU:
				l, h := v.lo[s.in][o], v.hi[s.in][o]
				switch {
				case l >= 0:
					in[o] += c
				case h <= 0:
				case c > 0:
					if h > -l {
						in[o] += c
					}
				default:
					slope := h / (h - l)
					in[o] += c * slope
					low -= c * slope * l
				}
			default:
				low += c * float64(s.bias[o])
				for t := s.start[o]; t < s.start[o+1]; t++ {
					in[s.k[t]] += c * float64(s.w[t])
				}
				if s.skip >= 0 {
					at(s.skip)[o] += c
				}
			}
		}
	}
	for k, c := range at(0) {
		low += min(c*v.lo[0][k], c*v.hi[0][k])
	}
	return low
}

// naiveIntervals is a verifier that executes intervals (Gowal et al. 2018) in float32, as an
// implementation executes a network, in some order of sums.
func naiveIntervals(c *Case, order Order) float32 {
	n := newNetwork(c.Model)
	e := executor{network: n}
	lo, hi := make([][]float32, len(n.sizes)), make([][]float32, len(n.sizes))
	eps := float32(c.Ball.Eps.Float64())
	for _, x := range c.X {
		lo[0], hi[0] = append(lo[0], max(0, x-eps)), append(hi[0], min(1, x+eps))
	}
	for i := range n.steps {
		s := &n.steps[i]
		for o := range n.sizes[s.out] {
			if s.kind == model.ReLU {
				lo[s.out], hi[s.out] = append(lo[s.out], max(0, lo[s.in][o])), append(hi[s.out], max(0, hi[s.in][o]))
				continue
			}
			low, high := e.all(nil, s, o, lo), e.all(nil, s, o, hi)
			for k := range low {
				if low[k].w < 0 {
					low[k], high[k] = high[k], low[k]
				}
			}
			lo[s.out], hi[s.out] = append(lo[s.out], order.sum(low)), append(hi[s.out], order.sum(high))
		}
	}
	least := float32(math.MaxFloat32)
	for o, h := range hi[n.last] {
		if o != c.Y {
			least = min(least, lo[n.last][c.Y]-h)
		}
	}
	return least
}
