package train

import (
	"github.com/epsball/epsball/kernels"
	"github.com/epsball/epsball/net"
)

// Copy k of an image lies in the image's lane. The lane groups of all copies of a lane group
// of images follow one another, so what is done to the copies of a point is the same in all
// lanes, and no image's copies are in two parts.

// copiesOf returns the number of copies of each point.
func (a *inner) copiesOf(c *Config) int {
	if a == nil || a.copies == nil {
		return 1
	}
	return a.copies(c)
}

// makeCopies gives p room for copies of its points.
func (s *stepper) makeCopies(p *part) {
	p.seen = p.adv
	if s.o.needs.attack.copies != nil {
		p.seen, p.noise = kernels.Alloc(len(p.adv)*s.copies), kernels.Alloc(len(p.adv)*s.copies)
	}
}

// slot returns where copy k of image i of a part lies.
func (s *stepper) slot(i, k int) int {
	return (i/kernels.Lanes*s.copies+k)*kernels.Lanes + i%kernels.Lanes
}

// gatherCopies reads the logits of all copies of image i, and scatterCopies writes them.
func (s *stepper) gatherCopies(z, logits []float32, i int) {
	classes := len(z) / s.copies
	for k := range s.copies {
		net.LaneGroups.Gather(z[k*classes:][:classes], logits, s.slot(i, k))
	}
}

func (s *stepper) scatterCopies(logits, z []float32, i int) {
	classes := len(z) / s.copies
	for k := range s.copies {
		net.LaneGroups.Scatter(logits, z[k*classes:][:classes], s.slot(i, k))
	}
}

// drawNoise draws the noise of the copies of image i of p from its stream.
func (s *stepper) drawNoise(p *part, i int) {
	if p.noise == nil {
		return
	}
	size, blur := s.net.Input().Size(), s.attack().blur
	for k := range s.copies {
		at := s.slot(i, k)/kernels.Lanes*size*kernels.Lanes + i%kernels.Lanes
		for range size {
			p.noise[at] = blur(s.c, &p.stream)
			at += kernels.Lanes
		}
	}
}

// see adds the noise of the copies to the points.
func (s *stepper) see(p *part) {
	if p.noise == nil {
		return
	}
	size, at := s.net.Input().Size()*kernels.Lanes, 0
	for from := 0; from < len(p.adv); from += size {
		x := p.adv[from : from+size]
		for range s.copies {
			seen, noise := p.seen[at:][:len(x)], p.noise[at:][:len(x)]
			for j, v := range x {
				seen[j] = v + noise[j]
			}
			at += size
		}
	}
}

// sumCopies returns the gradient to the points: the sum of those to their copies, in place.
func (s *stepper) sumCopies(grad []float32) []float32 {
	if s.copies == 1 {
		return grad
	}
	size, at := s.net.Input().Size()*kernels.Lanes, 0
	for from := 0; from < len(grad); from += size * s.copies {
		sum := grad[at:][:size]
		copy(sum, grad[from:])
		for k := 1; k < s.copies; k++ {
			for j, g := range grad[from+k*size:][:size] {
				sum[j] += g
			}
		}
		at += size
	}
	return grad[:at]
}
