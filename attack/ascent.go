package attack

import (
	"math"

	"github.com/epsball/epsball/kernels"
	"github.com/epsball/epsball/net"
)

// Passes are a network's passes over blocks of images: a net.Workspace, whose
// blocks are groups of eight lanes, or a net.SmallWorkspace for a few images,
// whose blocks are single ones.
type Passes interface {
	Layout() net.Layout
	Scratch() *kernels.Scratch
	Forward(x []float32, blocks int) []float32
	Logits() []float32
	LogitGradient() []float32
	Backward(blocks int) []float32
}

// NewPasses returns the passes on which an Attacker runs a batch of images:
// all of it if it is small, on the workers of pool; else, on one of them, up to
// net.ChunkGroups lane groups at a time.
func NewPasses(n *net.Network, images int, pool *kernels.Pool) Passes {
	if n.Few(images) {
		return n.NewSmallWorkspace(net.MaxSmall, pool)
	}
	return n.NewWorkspace(net.ChunkGroups*kernels.Lanes, false)
}

// Ascent is the step shared by all attacks: the loss's gradient to the pixels,
// a step uphill, the projection to the ball and the pixel box. Its tensors lie
// in the layout of its passes, and it belongs to the goroutine of those.
type Ascent struct {
	ws     Passes
	layout net.Layout
	isa    *kernels.ISA
	norm   net.Norm
	loss   net.Loss
	alpha  float32
	eps    float64 // L2 only: rounded down
	size   int
	z, dz  []float32
}

// NewAscent returns a step rule on the passes of a network compiled with
// backward passes: steps of length alpha in the norm of ball.
func NewAscent(n *net.Network, ws Passes, ball net.Ball, loss net.Loss, alpha float32) *Ascent {
	a := &Ascent{ws: ws, layout: ws.Layout(), isa: n.ISA(), loss: loss, size: n.Input().Size()}
	a.aim(ball, alpha)
	a.z, a.dz = make([]float32, n.Classes()), make([]float32, n.Classes())
	return a
}

func (a *Ascent) aim(ball net.Ball, alpha float32) {
	a.norm, a.alpha = ball.Norm, alpha
	a.eps, _ = ball.Eps.Bounds()
}

// Step does one whole step, as benchmarks measure it: forward, gradient of the loss for
// labels (one a slot; negative: leave the slot's pixels alone), backward, and
// the projected step on x in place. lo and hi are the inner box of the ball
// (net.Box.Inner); orig holds the centres, for L2 balls alone.
func (a *Ascent) Step(x, lo, hi, orig []float32, labels []int, blocks int) {
	a.ws.Forward(x, blocks)
	for s := range blocks * int(a.layout) {
		y := -1
		if s < len(labels) {
			y = labels[s]
		}
		a.seed(s, y, net.Untargeted)
	}
	a.climb(x, lo, hi, orig, blocks)
}

// seed sets the logit gradient of slot s; none if y < 0.
func (a *Ascent) seed(s, y, target int) {
	if y < 0 {
		clear(a.dz)
	} else {
		a.layout.Gather(a.z, a.ws.Logits(), s)
		a.loss.Gradient(a.dz, a.z, y, target)
	}
	a.layout.Scatter(a.ws.LogitGradient(), a.dz, s)
}

// climb carries the seeded gradients back and moves x. Slots whose gradient is
// zero stay where they are.
func (a *Ascent) climb(x, lo, hi, orig []float32, blocks int) {
	grad := a.ws.Backward(blocks)
	if a.norm == net.Linf {
		n := a.layout.Len(blocks, a.size)
		a.isa.PGDStep(x[:n], grad[:n], lo[:n], hi[:n], a.alpha)
		return
	}
	for b := range blocks {
		a.climbL2(a.block(x, b), a.block(grad, b), a.block(lo, b), a.block(hi, b), a.block(orig, b))
	}
}

func (a *Ascent) block(t []float32, b int) []float32 { return a.layout.Block(t, a.size, b) }

// each64 holds a number for each image of a block.
type each64 = [net.LaneGroups]float64

// climbL2 is x ← P(x + α·g/‖g‖₂), image by image, in float64 with every product
// rounded explicitly: the same bits everywhere.
func (a *Ascent) climbL2(x, g, lo, hi, orig []float32) {
	w := int(a.layout)
	var norm2 each64
	for i := 0; i < len(g); i += w {
		for l, v := range g[i : i+w] {
			norm2[l] += float64(float64(v) * float64(v))
		}
	}
	var step each64
	for l, v := range norm2 {
		if v > 0 && !math.IsInf(v, 0) {
			step[l] = float64(a.alpha) / math.Sqrt(v)
		}
	}
	for i := 0; i < len(g); i += w {
		for l := range w {
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
	w := int(a.layout)
	var norm2 each64
	for i := 0; i < len(x); i += w {
		for l := range w {
			d := float64(x[i+l]) - float64(orig[i+l])
			norm2[l] += float64(d * d)
		}
	}
	// The float64 norm of n pixels errs by less than (n + 8)/2·2⁻⁵³ of itself.
	limit := a.eps * (1 - max(1e-9, float64(len(x)/w+8)*0x1p-53))
	var scale each64
	for l, v := range norm2 {
		scale[l] = 1
		if n := math.Sqrt(v); n > limit {
			scale[l] = limit / n
		}
	}
	for i := 0; i < len(x); i += w {
		for l := range w {
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
