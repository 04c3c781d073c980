package train

import (
	"github.com/epsball/epsball/kernels"
	"github.com/epsball/epsball/net"
)

// passPart computes the losses of a part and their gradients at all layers.
func (s *stepper) passPart(p *part) {
	if s.ctx.Err() != nil {
		return
	}
	first := p.from * kernels.Lanes
	end := min(p.to*kernels.Lanes, len(s.images))
	images, labels := s.images[first:end], s.labels[first:end]
	groups := p.to - p.from
	s.pack(p, images)
	scale := float32(1 / float64(len(s.images)))
	if s.c.Method == PGD {
		s.perturb(p, first, labels)
	}
	z := p.ws.Forward(p.x, groups)
	right := s.clean
	if s.c.Method == PGD {
		right = s.robust
	}
	dz := p.ws.LogitGradient()
	clear(dz[:groups*kernels.Lanes*len(p.z)]) // lanes without an image stay zero
	for i, y := range labels {
		net.LaneGroups.Gather(p.z, z, i)
		loss := net.CrossEntropy.Gradient(p.dz, p.z, y, net.Untargeted)
		s.loss[first+i] = loss * float32(s.at.kappa)
		right[first+i] = net.Argmax(p.z) == y
		a := scale * float32(s.at.kappa)
		for j := range p.dz {
			p.dz[j] *= a
		}
		net.LaneGroups.Scatter(dz, p.dz, i)
	}
	p.ws.BackwardToWeights(groups)
	if s.bounds() {
		s.passBounds(p, first, images, labels, scale)
	}
}

// perturb replaces p's images by adversarial examples: projected gradient ascent
// from a random start in the ball. It records which clean images are classified
// right.
func (s *stepper) perturb(p *part, first int, labels []int) {
	groups := p.to - p.from
	z := p.ws.Forward(p.x, groups)
	for i, y := range labels {
		net.LaneGroups.Gather(p.z, z, i)
		s.clean[first+i] = net.Argmax(p.z) == y
	}
	box(p.lo, p.hi, p.x, s.at.eps)
	size := s.net.Input().Size()
	for i := range labels {
		id := uint64(s.step)*uint64(len(s.images)) + uint64(first+i)
		stream := kernels.NewStream(s.c.Seed, id, streamStart)
		at := (i/kernels.Lanes)*size*kernels.Lanes + i%kernels.Lanes
		for range size {
			p.x[at] = p.lo[at] + float32(stream.Float32()*(p.hi[at]-p.lo[at]))
			at += kernels.Lanes
		}
	}
	for range s.c.PGDSteps {
		if s.ctx.Err() != nil {
			return
		}
		p.ascent.Step(p.x, p.lo, p.hi, nil, labels, groups)
	}
}

// passBounds adds the loss on the interval bounds of p's images.
func (s *stepper) passBounds(p *part, first int, images []int32, labels []int, scale float32) {
	size := s.net.Input().Size()
	sc := p.ws.Scratch()
	box(cut(s.iv.c[0], size, p.from, p.to), cut(s.iv.r[0], size, p.from, p.to), p.x, s.at.eps)
	s.iv.forward(sc, s.net, p.from, p.to, labels)
	weight := float32(1 - s.at.kappa)
	a := scale * weight
	n := len(p.z)
	for i, y := range labels {
		v, dv := s.iv.v[(first+i)*n:][:n], s.iv.dv[(first+i)*n:][:n]
		loss := net.CrossEntropy.Gradient(dv, v, y, net.Untargeted)
		s.loss[first+i] += float32(loss * weight)
		certified := true
		for j := range dv {
			dv[j] *= a
			certified = certified && (j == y || v[j] < 0)
		}
		s.robust[first+i] = certified
	}
	s.iv.backward(sc, p.from, p.to, labels, p.margin)
}

// pack copies images into p's lanes; lanes after the last get zeros.
func (s *stepper) pack(p *part, images []int32) {
	in := s.net.Input()
	size, hw := in.Size(), in.H*in.W
	for l := range (p.to - p.from) * kernels.Lanes {
		d := p.x[l/kernels.Lanes*size*kernels.Lanes+l%kernels.Lanes:]
		if l >= len(images) {
			for i := range size {
				d[i*kernels.Lanes] = 0
			}
			continue
		}
		img := s.data.x[int(images[l])*size:][:size]
		for c := range in.C {
			for q, v := range img[c*hw : (c+1)*hw] {
				d[(q*in.C+c)*kernels.Lanes] = v
			}
		}
	}
}

// box writes the bounds of [0, 1] ∩ [x − ε, x + ε], rounded to nearest: training
// has no use for the last bit.
func box(lo, hi, x []float32, eps float64) {
	e := float32(eps)
	lo, hi = lo[:len(x)], hi[:len(x)]
	for i, v := range x {
		lo[i], hi[i] = max(0, v-e), min(1, v+e)
	}
}
