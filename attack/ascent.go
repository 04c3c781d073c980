package attack

import "github.com/epsball/epsball/net"

// Ascent is a single gradient step of PGD, for benchmarks: the gradient of the loss to
// the pixels, a step uphill, and the projection to the ball and the pixel box. Its
// tensors have the layout of its passes. It belongs to the goroutine of those.
type Ascent struct {
	ws    Passes
	space *Space
	loss  net.Loss
	alpha float32
	z, dz []float32
}

// NewAscent returns a step rule on the passes of a target that has gradients: steps
// of length alpha in the norm of ball.
func NewAscent(t Target, ws Passes, ball net.Ball, loss net.Loss, alpha float32) *Ascent {
	return &Ascent{ws, newSpace(t, ws, ball), loss, alpha, make([]float32, t.Classes()), make([]float32, t.Classes())}
}

// Step does one whole step: forward, gradient of the loss for
// labels (one a slot; negative: leave the slot's pixels alone), backward, and
// the projected step on x in place. lo and hi are the inner box of the ball
// (net.Box.Inner); orig holds the centres, for L2 balls alone.
func (a *Ascent) Step(x, lo, hi, orig []float32, labels []int, blocks int) {
	a.ws.Forward(x, blocks)
	for s := range blocks * int(a.space.Layout) {
		if s < len(labels) && labels[s] >= 0 {
			a.space.Layout.Gather(a.z, a.ws.Logits(), s)
			a.loss.Gradient(a.dz, a.z, labels[s], net.Untargeted)
		} else {
			clear(a.dz)
		}
		a.space.Layout.Scatter(a.ws.LogitGradient(), a.dz, s)
	}
	a.space.climb(x, a.ws.Backward(blocks), lo, hi, orig, a.alpha, blocks)
}
