package audit

import (
	"context"
	"fmt"
	"math"

	"github.com/epsball/epsball/attack"
	"github.com/epsball/epsball/kernels"
	"github.com/epsball/epsball/net"
)

// Rounding is what becomes of the images that an attack fooled if they are saved with
// pixels k/(2^bits − 1): each value goes to the nearest.
type Rounding struct {
	Fooled  int `json:"fooled"`  // before
	Kept    int `json:"kept"`    // still misclassified, and in the ball
	Correct int `json:"correct"` // taken for their label again, or not for their target
	Outside int `json:"outside"` // of the ball; some of these may be correct, too
}

// Round rounds what an attack on the images of b found, and looks at it anew. An attack on
// the lattice itself (attack.Config.Lattice) keeps everything.
func Round(ctx context.Context, t attack.Target, pool *kernels.Pool, ball net.Ball, b attack.Batch, res *attack.Result, bits int) (Rounding, error) {
	size := t.Input().Size()
	var r Rounding
	var x []float32
	var at, index []int
	for i, ok := range res.Success {
		if ok {
			at, index = append(at, i), append(index, b.ImageIndex(i))
			x = append(x, res.Adv[i*size:(i+1)*size]...)
		}
	}
	r.Fooled = len(at)
	if r.Fooled == 0 {
		return r, nil
	}
	roundTo(x, bits)
	pred, err := attack.Predict(ctx, t, pool, attack.Batch{X: x, Index: index})
	if err != nil {
		return r, err
	}
	for k, i := range at {
		fools := pred[k] != b.Y[i]
		if b.Targets != nil {
			fools = pred[k] == b.Targets[i]
		}
		inside := ball.Contains(b.X[i*size:(i+1)*size], x[k*size:(k+1)*size])
		switch {
		case fools && inside:
			r.Kept++
		case !fools:
			r.Correct++
		}
		if !inside {
			r.Outside++
		}
	}
	return r, nil
}

// roundTo rounds pixels to the nearest k/(2^bits − 1), as readers of files decode it.
func roundTo(x []float32, bits int) {
	top := float32(int(1)<<bits - 1)
	for i, v := range x {
		x[i] = float32(math.Round(float64(v)*float64(top))) / top
	}
}

// Grid says how the lattice of pixels k/(2^bits − 1) lies to images and their balls.
type Grid struct {
	Off    int `json:"off"`    // images that are not on the lattice
	Out    int `json:"out"`    // of these, images whose ball has no point of the lattice: no attack is possible
	Levels int `json:"levels"` // Linf: whole steps 1/(2^bits − 1) in ε; 0: other norms, or images off the lattice
}

// NewGrid looks at n images. The ball is that of the attack (attack.LatticeBall).
func NewGrid(ball net.Ball, bits int, x []float32, n int) Grid {
	var g Grid
	size := len(x) / max(1, n)
	near := make([]float32, size)
	for i := range n {
		img := x[i*size : (i+1)*size]
		copy(near, img)
		roundTo(near, bits)
		off := false
		for k, v := range near {
			off = off || v != img[k]
		}
		if off {
			g.Off++
			if !ball.Contains(img, near) {
				g.Out++
			}
		}
	}
	if ball.Norm == net.Linf && g.Off == 0 {
		top := int(1)<<bits - 1
		g.Levels, _ = ball.Eps.Steps(net.MustEpsilon(fmt.Sprintf("1/%d", top)), top)
	}
	return g
}
