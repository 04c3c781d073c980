package attack

// blending looks for a first misclassified point with labels alone: uniform noise that is
// misclassified, mixed into the image in ever larger parts until the mix is.
// Foolbox (LinearSearchBlendedUniformNoiseAttack) starts its decision-based attacks
// so.
type blending struct {
	tries int // noises so far
	part  int // of the noise in the point, in 1/blendParts; 0: a noise is to be drawn
}

const (
	blendTries = 1000
	blendParts = 50
)

// next is told whether the point at hand is misclassified. When found is true, it is the
// one looked for; over means that no noise is left to try.
func (b *blending) next(fools bool) (found, over bool) {
	switch {
	case b.tries == 0: // the image
	case b.part == 0 && !fools:
	case b.part == 0:
		b.part = 1
		return false, false
	case fools:
		return true, false
	default:
		b.part++
		return false, false // the last mix is the noise, which is misclassified
	}
	if b.tries == blendTries {
		return false, true
	}
	b.tries++
	return false, false
}

// move goes to the next noise or mix. noise is a tensor that keeps the noise.
func (b *blending) move(sp *Space, s *Slot, noise []float32) {
	x, c, n := sp.Layout.Slot(sp.X, sp.Size, s.Place), sp.Layout.Slot(sp.Centre, sp.Size, s.Place), sp.Layout.Slot(noise, sp.Size, s.Place)
	if b.part > 0 {
		sp.between(x, c, n, float64(b.part)/blendParts)
		return
	}
	for k := 0; k < sp.Size*int(sp.Layout); k += int(sp.Layout) {
		n[k] = s.Stream.Float32()
		x[k] = n[k]
	}
}

// box returns v in float32, at least 0 and at most 1.
func box(v float64) float32 { return float32(min(max(v, 0), 1)) }

// apart is the distance of a slot's point in t from its image, in the norm of the ball.
func (s *Space) apart(t []float32, at *Slot) float64 {
	x, c := s.Layout.Slot(t, s.Size, at.Place), s.Layout.Slot(s.Centre, s.Size, at.Place)
	var sum sums
	for k := 0; k < s.Size*int(s.Layout); k += int(s.Layout) {
		sum.add(float64(x[k]) - float64(c[k]))
	}
	return sum.norm(s.Ball.Norm)
}
