package audit

import (
	"context"
	"math"

	"github.com/epsball/epsball/attack"
	"github.com/epsball/epsball/kernels"
)

// Predict returns the class of each of n images, −1 where the logits hold NaN. A target
// that draws random numbers draws those of one fixed seed.
func Predict(ctx context.Context, t attack.Target, pool *kernels.Pool, x []float32, n int) ([]int, error) {
	return predict(ctx, t, pool, x, n, 0)
}

func predict(ctx context.Context, t attack.Target, pool *kernels.Pool, x []float32, n int, draw int) ([]int, error) {
	return attack.Predict(ctx, t, pool, attack.Batch{X: x, First: draw * n})
}

// logits returns those of n images, [n][classes]. draw selects the numbers of a target
// that draws any.
func logits(ctx context.Context, t attack.Target, pool *kernels.Pool, x []float32, n int, draw int) ([]float32, error) {
	b := attack.Batch{X: x, First: draw * n}
	z := make([]float32, n*t.Classes())
	return z, attack.Logits(ctx, t, pool, z, b)
}

// randomised reports whether the target says that it draws random numbers.
func (c *Case) randomised() bool {
	_, random := c.Target.Passes(len(c.begun), c.Pool).(attack.Randomised)
	return random
}

// checkRandomForward runs the same images twice.
func checkRandomForward(ctx context.Context, c *Case) Finding {
	looked := c.first(c.begun, 64)
	x := c.pick(c.Batch.X, looked)
	var z [2][]float32
	for k := range z {
		var err error
		if z[k], err = logits(ctx, c.Target, c.Pool, x, len(looked), k); err != nil {
			return broken(ctx, err)
		}
	}
	var differ []int
	classes := c.Target.Classes()
	for k, i := range looked {
		for j := k * classes; j < (k+1)*classes; j++ {
			if math.Float32bits(z[0][j]) != math.Float32bits(z[1][j]) {
				differ = append(differ, i)
				break
			}
		}
	}
	switch images := count(len(looked), "image"); {
	case c.randomised() && max(c.Config.EOT, c.Config.Method.Plan().EOT) > 1:
		return fine("the target draws random numbers, and the attack averages %d draws a step", max(c.Config.EOT, c.Config.Method.Plan().EOT))
	case c.randomised():
		return c.say(Warn, differ, "the target draws random numbers, and the attack follows the gradient of one draw a step: average several")
	case len(differ) > 0:
		return c.say(Fail, differ, "two forward passes differ on %d of %s, though the target does not say that it draws random numbers", len(differ), images)
	default:
		return fine("two forward passes give the same logits for %s", images)
	}
}

// checkProbabilities: outputs that are probabilities have lost what large logits say, and
// the softmax of a loss flattens them once more.
func checkProbabilities(ctx context.Context, c *Case) Finding {
	looked := c.first(c.begun, 64)
	z, err := logits(ctx, c.Target, c.Pool, c.pick(c.Batch.X, looked), len(looked), 0)
	if err != nil {
		return broken(ctx, err)
	}
	var like []int
	classes := c.Target.Classes()
	for k, i := range looked {
		sum, within := 0.0, true
		for _, v := range z[k*classes : (k+1)*classes] {
			sum += float64(v)
			within = within && v >= -1e-5 && v <= 1+1e-5
		}
		if within && math.Abs(sum-1) < 1e-4 {
			like = append(like, i)
		}
	}
	if len(like) < len(looked) {
		return fine("the outputs are no probabilities")
	}
	return c.say(Warn, like, "the outputs of %s lie in [0, 1] and add up to 1: attack the logits before the softmax", count(len(looked), "image"))
}
