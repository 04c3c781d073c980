package smooth

import "context"

// Certify finds for each image the class of the smoothed classifier and a radius inside which
// it stays that (Cohen et al. 2019, algorithm CERTIFY). Options.Select samples pick the class,
// others estimate its probability. What it says of an image is wrong with a probability of at
// most Options.Alpha. Without Options.Radius, the radius is σ·Φ⁻¹ of the lower limit, and it
// abstains if that is at most 1/2. With it, the radius is Options.Radius, or it abstains.
func (s *Smoother) Certify(ctx context.Context, b Batch) ([]Result, error) {
	d := s.estimate
	if !s.o.Radius.IsZero() {
		d = s.decideRadius
	}
	return s.all(ctx, b, func(j *job, r *Result) {
		if j.phase != picking {
			d(j, r)
			return
		}
		if j.drawn < j.want {
			return
		}
		j.class, _ = most(j.votes[:len(j.votes)-1])
		clear(j.votes)
		j.phase, j.want = counting, s.o.Select+s.o.Samples
		if !s.o.Radius.IsZero() {
			j.want = s.o.Select + s.test.next(0)
		}
	}, func(j *job) { j.want = s.o.Select })
}

// estimate ends a job when all samples are there.
func (s *Smoother) estimate(j *job, r *Result) {
	if j.drawn < j.want {
		return
	}
	class, hits := j.class, j.votes[j.class]
	j.finish(r, s.o.Samples)
	limit, radius := s.radius(hits)
	if r.Lower = limit; radius > 0 {
		r.Class, r.Radius = class, radius
	}
}

// decideRadius ends a job as soon as the radius asked for is decided.
func (s *Smoother) decideRadius(j *job, r *Result) {
	if j.drawn < j.want {
		return
	}
	n := j.counted(&s.o)
	switch s.test.look(j.votes[j.class], n) {
	case open:
		j.want = s.o.Select + s.test.next(n)
	case above:
		class := j.class
		j.finish(r, n)
		lo, _ := s.o.Radius.Bounds()
		r.Class, r.Radius = class, lo
	case below:
		j.finish(r, n)
	}
}

// Predict returns the class of the smoothed classifier for each image, or Abstain (Cohen et
// al. 2019, algorithm PREDICT). It draws Options.Samples samples and takes the class with most
// votes, unless a fair coin would give it as many more than the runner-up with a probability
// above Options.Alpha/2: the class it returns is not the most probable one with a probability
// of at most Options.Alpha (Hung, Fithian, "Rank Verification for Exponential Families",
// Annals of Statistics 2019). There is no radius.
func (s *Smoother) Predict(ctx context.Context, b Batch) ([]Result, error) {
	alpha := alphaLeft(s.o.Alpha, s.distance, s.o.Samples) / 2
	return s.all(ctx, b, func(j *job, r *Result) {
		if j.drawn < j.want {
			return
		}
		first, second := most(j.votes[:len(j.votes)-1])
		k, rival := j.votes[first], j.votes[second]
		if none := j.votes[len(j.votes)-1]; none > rival { // outputs that are NaN are a class, too
			rival = none
		}
		j.finish(r, s.o.Samples)
		if n := k + rival; k > rival && atMost(tail(k, n, 0.5, choose(n, k)), alpha) {
			r.Class = first
		}
	}, func(j *job) { j.phase, j.want = counting, s.o.Samples })
}
