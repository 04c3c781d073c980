package cert

import "github.com/epsball/epsball/verify/check"

// Proof is what a verifier knows of one image, in plain slices.
type Proof struct {
	Method    string // that decided, such as check.CROWN
	Certified bool
	Margin    float64 // a proved lower bound of the smallest margin, or 0 if it is not known
	Slopes    []Slopes
}

// Slopes are the slopes of the free lines of one layer that the bounds of a layer
// used. State those of adaptive methods, too: where u and −l differ by rounding alone,
// a checker may choose otherwise. Slopes of neurons that are not unstable do not
// matter; zeros are shortest. But state 1 where l is 0 or hardly above it: a checker's may
// be below.
type Slopes struct {
	For   int         // index of the bounded layer, check.ForAll or check.ForRows
	ReLU  int         // index of the relu, leakyrelu or clip layer
	Alpha [][]float32 // channels first: one vector, or with check.ForRows one for each row; nil: adaptive
}

// Fill sets the part of a certificate that says how it was proved.
func (p *Proof) Fill(c *check.Certificate) {
	c.Method, c.Certified, c.Margin, c.Slopes = p.Method, p.Certified, 0, nil
	if !p.Certified {
		return
	}
	c.Margin = Margin(p.Margin)
	for _, s := range p.Slopes {
		alpha := check.Adaptive
		if s.Alpha != nil {
			alpha = Alpha(s.Alpha...)
		}
		c.Slopes = append(c.Slopes, check.Slopes{For: s.For, ReLU: s.ReLU, Alpha: alpha})
	}
}
