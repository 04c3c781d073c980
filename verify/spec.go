package verify

import (
	"math"

	"github.com/epsball/epsball/kernels"
	"github.com/epsball/epsball/net"
)

// maxMerged is the number of classes up to which the last layer is merged with
// the specification: classes·(classes−1)/2 rows.
const maxMerged = 128

// spec bounds the margins between the logits of the last layer.
type spec struct {
	classes int
	merged  bool
	rows    intervalMap // D, β for each pair i < j, or the logits themselves; |D| from e
	logits  linear      // |W| from |b|: V of step 4 (merged)
	bound   bound
	dual    dual // of each row, if the last layer is the first
}

func newSpec(n *net.Network, a *net.Affine, extra int) (spec, error) {
	s := spec{classes: n.Classes(), merged: n.Classes() <= maxMerged}
	fan := a.Shape.FanIn()
	var err error
	if s.bound, err = newBound(fan, extra); err != nil {
		return s, err
	}
	w, b := a.W, a.B
	if s.merged {
		w, b = pairRows(w, b, fan)
		s.logits = newLinear(n, kernels.FC(fan, s.classes), a.W, absAll(a.B), true)
	}
	shape := kernels.FC(fan, len(b))
	s.rows = newIntervalMap(n, newLinear(n, shape, w, b, false), shape, w, s.bound.radiusBias(b))
	if len(n.Layers()) == 1 {
		s.dual = dualNorms(n, w, shape)
		for _, d := range [][]float32{s.dual.l2, s.dual.max} {
			for i := range d { // of W_i − W_j, not of its rounded D
				d[i] = up32(float64(d[i]) * (1 + slack))
			}
		}
	}
	return s, nil
}

// pairRows returns W_i − W_j and b_i − b_j for all i < j.
func pairRows(w, b []float32, fan int) (dw, db []float32) {
	for i := range b {
		for j := i + 1; j < len(b); j++ {
			for k := range fan {
				dw = append(dw, w[i*fan+k]-w[j*fan+k])
			}
			db = append(db, b[i]-b[j])
		}
	}
	return dw, db
}

// pair is the index of the row of i < j among those of c classes.
func pair(i, j, c int) int { return i*(2*c-i-1)/2 + j - i - 1 }

func absAll(s []float32) []float32 {
	out := make([]float32, len(s))
	for i, v := range s {
		out[i] = float32(math.Abs(float64(v)))
	}
	return out
}

// rowCount returns the number of rows that are bounded.
func (s *spec) rowCount() int {
	if s.merged {
		return s.classes * (s.classes - 1) / 2
	}
	return s.classes
}

// low returns a proved lower bound of z_y − z_j from C, R, V of one image, whose
// elements lie stride apart.
func (s *spec) low(c, r, v []float32, stride, y, j int) float32 {
	at := func(t []float32, i int) float64 { return float64(t[i*stride]) }
	if !s.merged { // each logit has its own bounds, executed ones by step 2
		return lowOf(at(c, y), at(r, y), at(c, j), at(r, j))
	}
	ey, ej := s.bound.executed(at(v, y)), s.bound.executed(at(v, j))
	if y < j {
		p := pair(y, j, s.classes)
		return lowOf(at(c, p), at(r, p), ey, ej)
	}
	p := pair(j, y, s.classes)
	return lowOf(-at(c, p), at(r, p), ey, ej)
}
