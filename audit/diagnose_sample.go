package audit

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"github.com/epsball/epsball/attack"
)

// sets are the places in the batch of images by what the attack made of them.
type sets struct {
	begun     []int
	fooled    []int
	proved    []int // not attacked, for a proof says that it is in vain
	survivors []int // correct, and not fooled by the whole attack; the closest to it first
}

func newSets(c *Case) (s sets) {
	r := c.Result
	for i, begun := range r.Begun {
		switch {
		case !begun:
			continue
		case r.Clean[i] && r.Success[i]:
			s.fooled = append(s.fooled, i)
		case i < len(r.Proved) && r.Proved[i]:
			s.proved = append(s.proved, i)
		case r.Clean[i] && r.Done[i]:
			s.survivors = append(s.survivors, i)
		}
		s.begun = append(s.begun, i)
	}
	slices.SortStableFunc(s.survivors, func(i, j int) int { return cmp.Compare(r.Margin[i], r.Margin[j]) })
	return s
}

// first returns the first of the images, at most n of them, or eight times as many in full
// checks.
func (c *Case) first(images []int, n int) []int {
	if c.Level == LevelFull {
		n *= 8
	}
	return images[:min(n, len(images))]
}

// left returns a sample of what the attack left, those nearest to being fooled: a twelfth,
// within limits.
func (c *Case) left() []int {
	return c.first(c.survivors, min(max(8, len(c.survivors)/12), 32))
}

// pick returns the images of x at some places.
func (c *Case) pick(x []float32, places []int) []float32 {
	size := c.Target.Input().Size()
	var some []float32
	for _, i := range places {
		some = append(some, x[i*size:(i+1)*size]...)
	}
	return some
}

// image returns one image of x.
func (c *Case) image(x []float32, i int) []float32 {
	size := c.Target.Input().Size()
	return x[i*size : (i+1)*size]
}

// part returns the batch of some images, with the random numbers that they had.
func (c *Case) part(places []int) attack.Batch {
	b := attack.Batch{X: c.pick(c.Batch.X, places), Y: make([]int, len(places)), Index: make([]int, len(places))}
	for k, i := range places {
		b.Y[k], b.Index[k] = c.Batch.Y[i], c.index(i)
		if c.Batch.Targets != nil {
			b.Targets = append(b.Targets, c.Batch.Targets[i])
		}
	}
	return b
}

// again returns the batch of some images as the attack had them.
func (c *Case) again(places []int) attack.Batch {
	b := c.part(places)
	if c.Batch.Start != nil {
		b.Start = c.pick(c.Batch.Start, places)
	}
	for _, i := range places {
		if c.Batch.Robust != nil {
			b.Robust = append(b.Robust, c.Batch.Robust[i])
		}
	}
	return b
}

// attack runs an attack on some images, and returns the places of those fooled.
func (c *Case) attack(ctx context.Context, t attack.Target, cfg attack.Config, places []int) ([]int, *attack.Result, error) {
	return c.run(ctx, t, cfg, places, c.part(places))
}

func (c *Case) run(ctx context.Context, t attack.Target, cfg attack.Config, places []int, b attack.Batch) ([]int, *attack.Result, error) {
	a, err := attack.New(t, cfg, c.Pool)
	if err != nil {
		return nil, nil, &refused{err}
	}
	res := new(attack.Result)
	if err := a.Run(ctx, b, res); err != nil {
		return nil, nil, err
	}
	var fooled []int
	for k, i := range places {
		if res.Success[k] {
			fooled = append(fooled, i)
		}
	}
	return fooled, res, nil
}

// refused is the error of an attack that does not go with the ball or the target.
type refused struct{ err error }

func (r *refused) Error() string { return r.err.Error() }
func (r *refused) Unwrap() error { return r.err }

// config is that of the attack, with another method.
func (c *Case) config(m attack.Method) attack.Config {
	cfg := c.Config
	cfg.Method, cfg.Progress, cfg.Recheck = m, nil, false
	return cfg
}

// oneStep reports whether the attack moves an image once. Nobody takes it for a measure of
// robustness, so that others are stronger is no more than a warning.
func (c *Case) oneStep(ctx context.Context) bool {
	r, err := c.record(ctx)
	if err != nil {
		return false
	}
	longest := 0
	for _, t := range r.traces {
		longest = max(longest, t.longest)
	}
	return longest <= 1
}

// Thresholds of comparisons, in points of accuracy.
const (
	tolerance = 0.2 // how much better another attack may be: what auto-attack grants its black box
	illusion  = 5.0 // with most of what the attack left: its robustness is not there
)

// compare says what it means that something else fools broke, of the images looked at,
// which the attack left.
func (c *Case) compare(what string, looked, broke []int) Finding {
	of := fmt.Sprintf("%d of %s that the attack left", len(broke), count(len(looked), "image"))
	if len(broke) == 0 {
		return fine("%s fools %s", what, of)
	}
	v, points := OK, c.points(len(broke))
	if points > tolerance {
		v = Warn
	}
	return c.say(v, broke, "%s fools %s: robust accuracy is at least %.1f points too high", what, of, points)
}

func (c *Case) points(images int) float64 { return 100 * float64(images) / float64(len(c.begun)) }

// rival compares with another attack in the same ball. If it fools most of the images
// looked at, and most of others that were not as near to it, the finding is a failure.
func (c *Case) rival(ctx context.Context, what string, t attack.Target, m attack.Method, looked []int) Finding {
	switch {
	case c.anywhere():
		return noBall
	case len(looked) == 0:
		return nothingLeft
	}
	broke, _, err := c.attack(ctx, t, c.config(m), looked)
	if err != nil {
		return unable(ctx, err)
	}
	f := c.compare(what, looked, broke)
	if f.Verdict != Warn || 2*len(broke) <= len(looked) || c.oneStep(ctx) {
		return f
	}
	all := c.spread(len(looked))
	broke, _, err = c.attack(ctx, t, c.config(m), all)
	if err != nil {
		return unable(ctx, err)
	}
	share := float64(len(broke)) / float64(len(all))
	if len(broke) >= 3 && share > 0.5 && share*c.points(len(c.survivors)) > illusion {
		f = c.say(Fail, broke, "%s fools %d of %s, drawn from all that the attack left: their robustness is not there", what, len(broke), count(len(all), "image"))
	}
	return f
}

// spread returns n images from all that the attack left.
func (c *Case) spread(n int) []int {
	var some []int
	for k := range n {
		some = append(some, c.survivors[k*len(c.survivors)/n])
	}
	return some
}

var (
	nothingLeft = Finding{Verdict: Skipped, Detail: "the attack left no image"}
	noBall      = Finding{Verdict: Skipped, Detail: "the attack has no ball"}
	oneForAll   = Finding{Verdict: Skipped, Detail: "the attack has one perturbation for all images"}
)

// anywhere reports whether the ball has no meaning for the attack.
func (c *Case) anywhere() bool { return c.Config.Method.Plan().Anywhere }

// shared reports whether the attack looks for one perturbation for all images: what it does
// on a sample is another attack, and attacks of single images do better.
func (c *Case) shared() bool {
	_, universal := c.Config.Method.(attack.Universal)
	return universal
}

// unable is the finding of a check whose attack did not run.
func unable(ctx context.Context, err error) Finding {
	if r, ok := err.(*refused); ok {
		return skip("%v", r)
	}
	return broken(ctx, err)
}

func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}
