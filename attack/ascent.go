package attack

import (
	"math"

	"github.com/epsball/epsball/kernels"
	"github.com/epsball/epsball/net"
)

// Ascent is the step shared by all attacks: the loss's gradient to the pixels,
// a step uphill, the projection to the ball and the pixel box. Its tensors lie
// in the batch-lane layout. It belongs to the goroutine of its workspace.
type Ascent struct {
	ws    *net.Workspace
	isa   *kernels.ISA
	norm  net.Norm
	loss  net.Loss
	alpha float32
	eps   float64 // L2 only: rounded down
	size  int
	z, dz []float32
}

// NewAscent returns a step rule on a workspace of a network compiled with
// backward passes: steps of length alpha in the norm of ball.
func NewAscent(n *net.Network, ws *net.Workspace, ball net.Ball, loss net.Loss, alpha float32) *Ascent {
	a := &Ascent{ws: ws, isa: n.ISA(), norm: ball.Norm, loss: loss, alpha: alpha, size: n.Input().Size()}
	a.eps, _ = ball.Eps.Bounds()
	a.z, a.dz = make([]float32, n.Classes()), make([]float32, n.Classes())
	return a
}

// Step does one whole step for trainers: forward, gradient of the loss for
// labels (one a lane; negative: leave the lane's pixels alone), backward, and
// the projected step on x in place. lo and hi are the inner box of the ball
// (net.Box.Inner); orig holds the centres, for L2 balls alone.
func (a *Ascent) Step(x, lo, hi, orig []float32, labels []int, groups int) {
	a.ws.Forward(x, groups)
	for s := range groups * kernels.Lanes {
		y := -1
		if s < len(labels) {
			y = labels[s]
		}
		a.seed(s, y, net.Untargeted)
	}
	a.climb(x, lo, hi, orig, groups)
}

// seed sets the logit gradient of slot s; none if y < 0.
func (a *Ascent) seed(s, y, target int) {
	c := len(a.z)
	g, l := s/kernels.Lanes, s%kernels.Lanes
	if y < 0 {
		clear(a.dz)
	} else {
		net.GatherLane(a.z, net.Group(a.ws.Logits(), c, g), l)
		a.loss.Gradient(a.dz, a.z, y, target)
	}
	net.ScatterLane(net.Group(a.ws.LogitGradient(), c, g), a.dz, l)
}

// climb carries the seeded gradients back and moves x. Lanes whose gradient is
// zero stay where they are.
func (a *Ascent) climb(x, lo, hi, orig []float32, groups int) {
	grad := a.ws.Backward(groups)
	n := groups * a.size * kernels.Lanes
	if a.norm == net.Linf {
		a.isa.PGDStep(x[:n], grad[:n], lo[:n], hi[:n], a.alpha)
		return
	}
	for g := range groups {
		a.climbL2(net.Group(x, a.size, g), net.Group(grad, a.size, g),
			net.Group(lo, a.size, g), net.Group(hi, a.size, g), net.Group(orig, a.size, g))
	}
}

type lanes64 = [kernels.Lanes]float64

// climbL2 is x ← P(x + α·g/‖g‖₂), lane by lane, in float64 with every product
// rounded explicitly: the same bits everywhere.
func (a *Ascent) climbL2(x, g, lo, hi, orig []float32) {
	var norm2 lanes64
	for i := 0; i < len(g); i += kernels.Lanes {
		for l, v := range g[i : i+kernels.Lanes] {
			norm2[l] += float64(float64(v) * float64(v))
		}
	}
	var step lanes64
	for l, v := range norm2 {
		if v > 0 && !math.IsInf(v, 0) {
			step[l] = float64(a.alpha) / math.Sqrt(v)
		}
	}
	for i := 0; i < len(g); i += kernels.Lanes {
		for l := range kernels.Lanes {
			if step[l] != 0 {
				x[i+l] += float32(step[l] * float64(g[i+l]))
			}
		}
	}
	a.projectL2(x, lo, hi, orig)
}

// projectL2 scales x − orig into the ball, each pixel rounded towards orig so
// that no rounding leads out again, and clamps it to the inner box, which only
// brings x nearer to orig.
func (a *Ascent) projectL2(x, lo, hi, orig []float32) {
	var norm2 lanes64
	for i := 0; i < len(x); i += kernels.Lanes {
		for l := range kernels.Lanes {
			d := float64(x[i+l]) - float64(orig[i+l])
			norm2[l] += float64(d * d)
		}
	}
	limit := a.eps * (1 - 1e-9) // spares the float64 norm its rounding
	var scale lanes64
	for l, v := range norm2 {
		scale[l] = 1
		if n := math.Sqrt(v); n > limit {
			scale[l] = limit / n
		}
	}
	for i := 0; i < len(x); i += kernels.Lanes {
		for l := range kernels.Lanes {
			k := i + l
			if scale[l] != 1 {
				x[k] = towards(orig[k], float64((float64(x[k])-float64(orig[k]))*scale[l]))
			}
			x[k] = min(max(x[k], lo[k]), hi[k])
		}
	}
}

// towards returns c + d in float32, rounded towards c.
func towards(c float32, d float64) float32 {
	f := float32(float64(c) + d)
	if math.Abs(float64(f)-float64(c)) > math.Abs(d) {
		f = math.Nextafter32(f, c)
	}
	return f
}
