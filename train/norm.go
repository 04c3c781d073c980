package train

import (
	"math"

	"github.com/epsball/epsball/attack"
	"github.com/epsball/epsball/kernels"
	"github.com/epsball/epsball/net"
)

// norm is that of the balls that the inner attack searches.
var norm = Setting{
	Field: "norm", Flag: "norm", Usage: "norm of the balls trained on",
	Choices: []string{net.Linf.String(), net.L2.String()}, Quiet: true,
	Of: func(c *Config) any { return &c.Norm },
}

// NormTrained returns the norm in which c trains; it is Linf for methods without a choice.
func (c *Config) NormTrained() net.Norm {
	if c.Norm == net.L2.String() {
		return net.L2
	}
	return net.Linf
}

// checkNorm refuses a norm that the method has not, and a ball larger than all there is.
func (c *Config) checkNorm(o *objective, pixels int) error {
	n := c.NormTrained()
	if n == net.Linf {
		return nil
	}
	if o.radius() && !o.uses(&norm) {
		return fieldErr("norm", n, "%v, the only one that %s knows", net.Linf, o.name)
	}
	if most := math.Sqrt(float64(pixels)); c.TrainEps.Float64() > most {
		return fieldErr("trainEps", c.TrainEps, "at most %.4g in the %v norm, the distance from black to white", most, n)
	}
	return nil
}

// startInBall draws the point of one image, whose first pixel is p.adv[at], uniformly from
// an L2 ball around it: a direction from normal numbers and a length radius·u^(1/d), for a
// share u of the volume lies within that length. Pixels are then cut to the box.
func (s *stepper) startInBall(p *part, at int, radius float64) {
	size := s.net.Input().Size()
	// 1 − u is never zero; u^(1/d) = exp(log(u)/d).
	length := radius * float64(kernels.Exp(kernels.Log(1-p.stream.Float32())/float32(size)))
	norm2 := 0.0
	for i := range size {
		d := p.stream.Norm()
		p.adv[at+i*kernels.Lanes] = d
		norm2 += float64(float64(d) * float64(d))
	}
	if norm2 == 0 {
		norm2 = 1
	}
	scale := length / math.Sqrt(norm2)
	for i := range size {
		k := at + i*kernels.Lanes
		p.adv[k] = min(max(p.x[k]+float32(scale*float64(p.adv[k])), p.lo[k]), p.hi[k])
	}
}

// moveL2 takes the points x of p one step of a length along their gradients, and back into
// the L2 balls around centre and the box.
func (s *stepper) moveL2(p *part, x, grad, centre []float32, length, radius float64) {
	var each [net.LaneGroups]float64
	for l := range each {
		each[l] = length
	}
	size := s.net.Input().Size() * kernels.Lanes
	for at := 0; at < len(x); at += size {
		attack.StepL2(net.LaneGroups, x[at:at+size], grad[at:at+size], &each)
	}
	s.intoBall(p, x, centre, radius)
}

// intoBall brings points into the balls of a radius around centre, less than 0 for none,
// and into the box.
func (s *stepper) intoBall(p *part, x, centre []float32, radius float64) {
	if radius < 0 {
		for k, v := range x {
			x[k] = min(max(v, p.lo[k]), p.hi[k])
		}
		return
	}
	size := s.net.Input().Size() * kernels.Lanes
	for at := 0; at < len(x); at += size {
		end := at + size
		attack.ProjectL2(net.LaneGroups, x[at:end], p.lo[at:end], p.hi[at:end], centre[at:end], radius)
	}
}
