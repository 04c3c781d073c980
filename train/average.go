package train

import (
	"math"

	"github.com/epsball/epsball/model"
)

// Defaults that a 0 in Config stands for.
const (
	defaultDecay    = 0.999
	defaultSWAStart = 0.75
)

// average is a mean of the weights over the steps of training. Running statistics of batch
// norms are averaged as weights are.
type average struct {
	c     *Config
	from  int           // steps before the first one that counts
	every int           // steps between those that count
	w     []model.Param // the weights being trained
	mean  []model.Param // nil until something counts
	count int           // of what is in mean
}

// newAverage returns nil without an average.
func newAverage(c *Config, w []model.Param, perEpoch int) *average {
	a := &average{c: c, w: w, every: 1}
	start := c.AverageStart
	switch averageKind.choice(c) {
	case "none":
		return nil
	case "swa":
		a.every = perEpoch
		if start == 0 {
			start = defaultSWAStart
		}
	}
	a.from = int(math.Ceil(start * float64(c.Epochs*perEpoch)))
	return a
}

// begin makes room.
func (a *average) begin() { a.mean = cloneParams(a.w) }

func cloneParams(p []model.Param) []model.Param { return (&model.Model{Params: p}).Clone().Params }

// step takes up the weights after a number of steps. The mean is that of epochs' ends (SWA,
// Izmailov et al. 2018), or one of which step n keeps AverageDecay, but at most n/(n + 9)
// (EMA, as TensorFlow's ExponentialMovingAverage).
func (a *average) step(done int) {
	if a == nil || done < a.from || done%a.every != 0 {
		return
	}
	a.count++
	if a.mean == nil {
		a.begin()
		return
	}
	share := 1 / float64(a.count)
	if averageKind.choice(a.c) == "ema" {
		decay := a.c.AverageDecay
		if decay == 0 {
			decay = defaultDecay
		}
		// So that few steps do not leave much of the first weights.
		share = 1 - min(decay, float64(a.count)/float64(a.count+9))
	}
	for i := range a.mean {
		m, w := &a.mean[i], &a.w[i]
		blend(m.W, w.W, float32(share))
		blend(m.B, w.B, float32(share))
		blend(m.Mean, w.Mean, float32(share))
		blend(m.Var, w.Var, float32(share))
	}
}

// blend moves mean towards w by a share of the way.
func blend(mean, w []float32, share float32) {
	w = w[:len(mean)]
	for i, m := range mean {
		mean[i] = m + float32(share*(w[i]-m))
	}
}
