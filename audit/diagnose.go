package audit

import (
	"context"
	"fmt"
	"math"
	"sync/atomic"

	"github.com/epsball/epsball/attack"
	"github.com/epsball/epsball/kernels"
	"github.com/epsball/epsball/net"
)

// Finding is the outcome of one check of an attack's result.
type Finding struct {
	Name    string `json:"name"`
	OK      bool   `json:"ok"`
	Detail  string `json:"detail"`            // such as "5 of 7 images"
	Stopped bool   `json:"stopped,omitempty"` // the context ended before the check could fail
}

// The checks of Diagnose, in order.
const (
	CheckFinite      = "finite"
	CheckInside      = "inside"
	CheckPredictions = "predictions"
)

// Diagnose checks the result of an attack on the images and labels of b without the
// attack's own code. Every point must be finite and lie in the ball and in [0, 1],
// compared exactly, and a fresh forward pass must give the classes that the result
// names. It looks at the images that are begun: what is said of those must hold even if
// the attack was interrupted. If there are none, there are no findings. It ends early
// with ctx; checks that had not failed by then are Stopped. progress, if not nil, is
// called from any goroutine with the name of the check.
func Diagnose(ctx context.Context, t attack.Target, pool *kernels.Pool, ball net.Ball, b attack.Batch, res *attack.Result, progress func(check string, done, total int)) []Finding {
	d := diagnosis{t: t, pool: pool, b: b, res: res, size: t.Input().Size(), progress: progress}
	if d.progress == nil {
		d.progress = func(string, int, int) {}
	}
	for _, begun := range res.Begun {
		if begun {
			d.begun++
		}
	}
	if d.begun == 0 {
		return []Finding{}
	}
	finite := d.each(ctx, CheckFinite, "", func(i int) bool {
		for _, v := range d.image(res.Adv, i) {
			if math.IsNaN(float64(v)) || math.IsInf(float64(v), 0) {
				return false
			}
		}
		return true
	})
	inside := d.each(ctx, CheckInside, " in "+ball.String()+" and [0,1]", func(i int) bool {
		return ball.Contains(d.image(b.X, i), d.image(res.Adv, i))
	})
	return []Finding{finite, inside, d.predictions(ctx)}
}

// diagnosis is one under way.
type diagnosis struct {
	t        attack.Target
	pool     *kernels.Pool
	b        attack.Batch
	res      *attack.Result
	size     int // of an image
	begun    int // images
	progress func(check string, done, total int)
}

func (d *diagnosis) image(x []float32, i int) []float32 { return x[i*d.size : (i+1)*d.size] }

// predictions compares with a fresh forward pass what the attack says of the images
// and of the adversarial ones.
func (d *diagnosis) predictions(ctx context.Context) Finding {
	adv, err := d.predict(ctx, d.res.Adv)
	var clean []int
	if err == nil {
		clean, err = d.predict(ctx, d.b.X)
	}
	if ctx.Err() != nil {
		return Finding{CheckPredictions, false, "stopped before the forward pass was done", true}
	}
	if err != nil {
		return Finding{CheckPredictions, false, "forward pass: " + err.Error(), false}
	}
	return d.each(ctx, CheckPredictions, " the same in a fresh forward pass", func(i int) bool {
		y := d.b.Y[i]
		return adv[i] == d.res.Label[i] && (clean[i] == y) == d.res.Clean[i] &&
			d.res.Success[i] == (clean[i] == y && d.fooled(i, adv[i]))
	})
}

// fooled reports whether class pred is a success for image i.
func (d *diagnosis) fooled(i, pred int) bool {
	if d.b.Targets != nil {
		return pred == d.b.Targets[i]
	}
	return pred != d.b.Y[i]
}

// predict returns the classes of the images that are begun.
func (d *diagnosis) predict(ctx context.Context, x []float32) ([]int, error) {
	some, at := x, []int(nil)
	if d.begun < len(d.res.Begun) {
		some = nil
	}
	for i, begun := range d.res.Begun {
		if !begun {
			continue
		}
		at = append(at, i)
		if d.begun < len(d.res.Begun) {
			some = append(some, d.image(x, i)...)
		}
	}
	index := make([]int, len(at))
	for k, i := range at {
		index[k] = d.b.ImageIndex(i)
	}
	p, err := attack.Predict(ctx, d.t, d.pool, attack.Batch{X: some, Index: index})
	if err != nil {
		return nil, err
	}
	pred := make([]int, len(d.res.Begun))
	for k, i := range at {
		pred[i] = p[k]
	}
	return pred, nil
}

// each runs ok on every image that is begun, on all workers. Its detail reads
// "5 of 7 images" and then what.
func (d *diagnosis) each(ctx context.Context, name, what string, ok func(i int) bool) Finding {
	var looked, good atomic.Int64
	const block = 16
	n := len(d.res.Begun)
	d.pool.Run((n+block-1)/block, func(_, task int) {
		for i := task * block; i < min((task+1)*block, n); i++ {
			if !d.res.Begun[i] || ctx.Err() != nil {
				continue
			}
			d.progress(name, int(looked.Add(1)), d.begun)
			if ok(i) {
				good.Add(1)
			}
		}
	})
	images := fmt.Sprintf("%d images", d.begun)
	if d.begun == 1 {
		images = "1 image"
	}
	l, g := int(looked.Load()), int(good.Load())
	if l < d.begun && g == l {
		return Finding{name, false, fmt.Sprintf("stopped after %d of %s", l, images), true}
	}
	return Finding{name, g == d.begun, fmt.Sprintf("%d of %s%s", g, images, what), false}
}

// Predict returns the class of each of n images, −1 where the logits hold NaN.
func Predict(ctx context.Context, t attack.Target, pool *kernels.Pool, x []float32, n int) ([]int, error) {
	if err := t.CheckImages(x, n); err != nil {
		return nil, err
	}
	return attack.Predict(ctx, t, pool, attack.Batch{X: x})
}
