package train

import (
	"math"

	"github.com/epsball/epsball/kernels"
	"github.com/epsball/epsball/verify"
)

// bend is a ReLU or LeakyReLU of a node, and its lines at the images of a lane group.
type bend struct {
	slope []float32 // below zero: of all channels, or of each; nil: 0
	lines kernels.Lines
}

func newBend(slope []float32, size int) *bend {
	alloc := func() []float32 { return kernels.Alloc(size * kernels.Lanes) }
	return &bend{slope, kernels.Lines{Lower: alloc(), Upper: alloc(), Intercept: alloc()}}
}

// at is the slope of neuron k below zero.
func (b *bend) at(k int) float32 {
	if len(b.slope) == 0 {
		return 0
	}
	return b.slope[k%len(b.slope)]
}

// set takes the lines of the boxes [c − r, c + r] = [l, u] (Zhang et al. 2020; lower slopes
// are those of CROWN, Zhang et al. 2018): above, where l < 0 < u, the chord; below, slope 1
// where u > −l, else that of the function below zero, f.
func (b *bend) set(c, r []float32) {
	low, up, at := b.lines.Lower, b.lines.Upper, b.lines.Intercept
	r, low, up, at = r[:len(c)], low[:len(c)], up[:len(c)], at[:len(c)]
	if len(b.slope) == 0 {
		reluLines(low, up, at, c, r)
		return
	}
	for k := 0; k < len(c); k += kernels.Lanes {
		f := b.at(k / kernels.Lanes)
		for i := k; i < k+kernels.Lanes; i++ {
			l, u := c[i]-r[i], c[i]+r[i]
			switch {
			case l >= 0:
				low[i], up[i], at[i] = 1, 1, 0
			case u <= 0:
				low[i], up[i], at[i] = f, f, 0
			default:
				s := (u - float32(f*l)) / (u - l)
				low[i], up[i], at[i] = f, s, float32((f-s)*l)
				if u > -l {
					low[i] = 1
				}
			}
		}
	}
}

// reluLines is set for f = 0. Which case it is looks random to the processor: with
// l⁻ = min(l, 0) and u⁺ = max(u, 0), s = u⁺/(u⁺ − l⁻) and t = −s·l⁻ hold in all of them.
func reluLines(low, up, at, c, r []float32) {
	for i, m := range c {
		l, u := m-r[i], m+r[i]
		below, above := whereNegative(l, l), whereNegative(u, -u)
		d := above - below
		s := above / d
		if d == 0 {
			s = 0
		}
		low[i], up[i], at[i] = whereNegative(1, -l-u), s, -float32(s*below)
	}
}

// whereNegative returns v where the sign bit of s is set, else 0.
func whereNegative(v, s float32) float32 {
	return math.Float32frombits(math.Float32bits(v) & uint32(int32(math.Float32bits(s))>>31))
}

// gradient takes the gradients to upper slopes and intercepts to the box, to whose own it
// adds them. With d = u − l, s = (u − f·l)/d and t = (f − s)·l
//
//	∂s/∂l = (1 − f)·u/d²,  ∂s/∂u = −(1 − f)·l/d²,  ∂t = (f − s)·∂l − l·∂s.
func (b *bend) gradient(c, r, dc, dr, ofUpper, ofIntercept []float32) {
	r, dc, dr = r[:len(c)], dc[:len(c)], dr[:len(c)]
	ofUpper, ofIntercept = ofUpper[:len(c)], ofIntercept[:len(c)]
	up := b.lines.Upper[:len(c)]
	for k := 0; k < len(c); k += kernels.Lanes {
		f := b.at(k / kernels.Lanes)
		for i := k; i < k+kernels.Lanes; i++ {
			l, u := c[i]-r[i], c[i]+r[i]
			if l >= 0 || u <= 0 {
				continue
			}
			d, t := u-l, ofIntercept[i]
			q := float32((ofUpper[i]-float32(t*l))/d) * (1 - f)
			dl := float32(q*(u/d)) + float32(t*(f-up[i]))
			du := -float32(q * (l / d))
			dc[i] += dl + du
			dr[i] += du - dl
		}
	}
}

// group returns lane group g of a view's tensor of size neurons.
func group(t []float32, size, g int) []float32 {
	return t[g*size*kernels.Lanes:][:size*kernels.Lanes]
}

// groupOf is a pre-activation of lane group g.
func groupOf(p *verify.PreActivation, size, g int) verify.PreActivation {
	return verify.PreActivation{
		Node: p.Node, C: group(p.C, size, g), R: group(p.R, size, g), DC: group(p.DC, size, g), DR: group(p.DR, size, g),
	}
}
