package verify

import (
	"math"

	"github.com/epsball/epsball/model"
	"github.com/epsball/epsball/net"
)

// maxMerged is the number of classes up to which the last layer is merged with the
// margins: classes·(classes−1)/2 rows.
const maxMerged = 128

// marginRows bounds the margins between the network's outputs. The last layer is merged
// with them where it can be; otherwise, the outputs are bounded, and differences taken.
type marginRows struct {
	outputs model.Shape
	merged  bool

	// Of a merged layer:
	affine   *net.Affine
	pairs    intervalMap // D, β for each pair i < j; |D| from e
	logits   linear      // |W| from |b|: V of step 4
	rounding rounding
	dual     dual // of each row, if the last layer is the first
}

// mergeable returns the last layer if its outputs are the rows of one matrix, few enough
// to pair them all, with nothing after it; else nil.
func mergeable(n *net.Network) *net.Affine {
	nodes, classes := n.Nodes(), n.Classes()
	last, ok := nodes[len(nodes)-1].Op.(*net.Affine)
	if ok && last.Skip < 0 && !last.ReLU && classes == last.Shape.OutC && classes > 1 && classes <= maxMerged {
		return last
	}
	return nil
}

func newMarginRows(n *net.Network, a *net.Affine, extra int) (marginRows, error) {
	s := marginRows{outputs: n.Output(), merged: true, affine: a}
	fan := a.Shape.FanIn()
	var err error
	if s.rounding, err = newRounding(fan, fan+1, extra); err != nil {
		return s, err
	}
	w, b := pairRows(a.Weights(), a.B, fan)
	s.logits = newLinear(n, a.Shape, a.Weights(), absAll(a.B), true)
	shape := a.Shape
	shape.OutC = len(b)
	s.pairs = newIntervalMap(n, newLinear(n, shape, w, b, false), shape, func() []float32 { return w }, s.rounding.radiusBias(b))
	if a.Src == 0 {
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

func (s *marginRows) norms() *dual { return &s.dual }

func (s *marginRows) both(p *pass, dstC, srcC, dstR, srcR []float32) {
	p.applyBoth(&s.pairs, dstC, srcC, dstR, srcR)
}

// rowCount returns the number of rows of a merged layer.
func (s *marginRows) rowCount() int { return s.outputs.C * (s.outputs.C - 1) / 2 }

// apart returns a proved lower bound of z_y − z_j from the centres and radii of the
// outputs of one image, [H][W][C], whose elements lie stride apart.
func (s *marginRows) apart(c, r []float32, stride, y, j int) float32 {
	at := func(t []float32, i int) float64 { // i counts channels first
		hw := s.outputs.H * s.outputs.W
		return float64(t[(i%hw*s.outputs.C+i/hw)*stride])
	}
	return lowOf(at(c, y), at(r, y), at(c, j), at(r, j))
}

// low returns a proved lower bound of z_y − z_j from C, R, V of a merged layer
// and one image, whose elements lie stride apart.
func (s *marginRows) low(c, r, v []float32, stride, y, j int) float32 {
	at := func(t []float32, i int) float64 { return float64(t[i*stride]) }
	ey, ej := s.rounding.executed(at(v, y)), s.rounding.executed(at(v, j))
	if y < j {
		p := pair(y, j, s.outputs.C)
		return lowOf(at(c, p), at(r, p), ey, ej)
	}
	p := pair(j, y, s.outputs.C)
	return lowOf(-at(c, p), at(r, p), ey, ej)
}
