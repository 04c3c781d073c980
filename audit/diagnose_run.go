package audit

import (
	"context"
	"math"
	"slices"

	"github.com/epsball/epsball/attack"
)

// checkRepeatable: an image's result depends on the image, its index and the seed, not on
// the batch. It compares the attack run on a sample.
func checkRepeatable(ctx context.Context, c *Case) Finding {
	if c.transfer() {
		return skip(transferred)
	}
	r, err := c.record(ctx)
	if err != nil {
		return unable(ctx, err)
	}
	var other []int
	for k, i := range r.places {
		// Where others judge, the label is theirs.
		label := r.res.Label[k] == c.Result.Label[i] || c.Attacked != nil || c.randomised()
		if !label || !slices.Equal(c.image(r.res.Adv, k), c.image(c.Result.Adv, i)) {
			other = append(other, i)
		}
	}
	if len(other) == 0 {
		return fine("the attack run on %s alone finds the same points", count(len(r.places), "image"))
	}
	return c.say(Fail, other, "the attack run on %s alone finds other points for %d", count(len(r.places), "image"), len(other))
}

// checkSilentSuccess: a point that fools was visited, and is not in the result (Pintor et
// al. 2022, I3).
func checkSilentSuccess(ctx context.Context, c *Case) Finding {
	if c.transfer() {
		return skip(transferred)
	}
	if c.randomised() {
		return skip("the target draws random numbers: a point may fool by luck")
	}
	r, err := c.record(ctx)
	if err != nil {
		return unable(ctx, err)
	}
	var silent []int
	for k, i := range r.places {
		if r.traces[uint64(c.index(i))].fooled && !(r.res.Success[k] && c.Result.Success[i]) {
			silent = append(silent, i)
		}
	}
	if len(silent) == 0 {
		return fine("no point that fools was thrown away in %s", count(len(r.places), "run"))
	}
	return c.say(Fail, silent, "the attack visited points that fool %d of %s, and does not return them", len(silent), count(len(r.places), "image"))
}

// checkZeroGradients: an attack has nothing to follow where the gradient is exactly zero.
// It counts images that the attack left; for those fooled, it did not matter.
func checkZeroGradients(ctx context.Context, c *Case) Finding {
	r, err := c.record(ctx)
	if err != nil {
		return unable(ctx, err)
	}
	asked, zero, left, start := 0, 0, 0, 0
	var blind []int
	for k, i := range r.places {
		t := r.traces[uint64(c.index(i))]
		asked, zero = asked+t.asked, zero+t.zero
		if r.res.Success[k] || t.asked == 0 {
			continue
		}
		left++
		if t.blind {
			start++
		}
		if t.blind || 2*t.zero > t.asked {
			blind = append(blind, i)
		}
	}
	if asked == 0 {
		return skip("the attack uses no gradients")
	}
	share := 100 * float64(zero) / float64(asked)
	v := OK
	switch {
	case 2*len(blind) > left:
		v = Fail
	case len(blind) > 0 || share > 1:
		v = Warn
	}
	return c.say(v, blind, "%.1f%% of %s are zero or not finite; at the start those of %d of %s that the attack left",
		share, count(asked, "gradient"), start, count(left, "image"))
}

// Thresholds of checkRisingLoss.
const (
	leastSteps  = 10   // of a run that may have an end
	risingShare = 0.05 // of what a run gained, in its last tenth; a straight line gains 0.1
	risingMost  = 0.1  // of the images left
)

// checkRisingLoss: runs that still gain when they end need more steps (Pintor et al. 2022,
// I4). The loss is the margin of the attack's logits, whatever it climbs itself.
func checkRisingLoss(ctx context.Context, c *Case) Finding {
	switch {
	case c.Config.Method.Plan().Goal != attack.LowestMargin:
		return skip("the attack looks for the smallest distance")
	case c.randomised():
		return skip("the target draws random numbers, and so does its loss")
	}
	r, err := c.record(ctx)
	if err != nil {
		return unable(ctx, err)
	}
	left := 0
	var rising []int
	for k, i := range r.places {
		curve := r.traces[uint64(c.index(i))].curve
		if r.res.Success[k] || len(curve) <= leastSteps {
			continue
		}
		left++
		last := len(curve) - 1
		gain, late := float64(curve[last]-curve[0]), float64(curve[last]-curve[last-(last+9)/10])
		if late > risingShare*gain && !math.IsInf(gain, 0) {
			rising = append(rising, i)
		}
	}
	if left == 0 {
		return skip("the attack left no image after %d steps or more", leastSteps)
	}
	v := OK
	if float64(len(rising)) > risingMost*float64(left) {
		v = Warn
	}
	return c.say(v, rising, "the last tenth of the steps gains more than %.0f%% of the whole for %d of %s that the attack left", 100*risingShare, len(rising), count(left, "image"))
}

const transferred = "the attack ran on another target"

// transfer reports whether the attack ran on another target than the one that is judged.
func (c *Case) transfer() bool { return c.Attacked != nil && c.Attacked != c.Target }
