package smooth

import (
	"errors"
	"fmt"
	"math"

	"github.com/epsball/epsball/attack"
	"github.com/epsball/epsball/kernels"
	"github.com/epsball/epsball/net"
)

// Options say how a classifier is smoothed. Zero values mean the defaults.
type Options struct {
	Sigma net.Epsilon // standard deviation of the noise, in pixel units: above 0, at most 4

	// Alpha is the probability, over the noise drawn, that what is said of one image is
	// wrong; 0: 0.001. Of m images, one or more are wrong with a probability of at most
	// m·Alpha (Bonferroni).
	Alpha float64

	Select  int // samples that pick the class to certify; 0: 100
	Samples int // samples of each image that estimate its probability, at most; 0: 100,000

	// Radius, if not zero, is the one L2 radius that Certify decides, in pixel units: it
	// stops as soon as the answer is known. Otherwise it draws all samples and finds the
	// largest radius.
	Radius net.Epsilon

	Seed uint64 // of the noise

	// Noise, if not nil, is that of Sigma, made before: it takes a while to make.
	Noise *Noise

	// Progress, if not nil, is called with how many images are done.
	Progress func(done, total int)

	// Finished, if not nil, is called on the caller's goroutine when image i is done.
	// Its error ends the run.
	Finished func(i int, r *Result) error
}

// The defaults of Options, those of Cohen et al. 2019, section 4.
const (
	DefaultAlpha   = 0.001
	DefaultSelect  = 100
	DefaultSamples = 100_000
)

// Abstain is the class of a Result that says nothing.
const Abstain = -1

// Result is what is known of one image. It is no proof: it is wrong with a probability of at
// most Options.Alpha.
type Result struct {
	// Class is that of the smoothed classifier; Abstain if too few samples agree.
	Class int

	// Radius is the L2 radius, in pixel units, inside which the smoothed classifier says
	// Class of all images of 8 bits; 0 where it abstains, and from Predict.
	Radius float64

	// Lower is the lower confidence limit of the probability of Class under the exact
	// law of the noise, where Certify found the radius by it; else 0.
	Lower float64

	Votes   []int // of the samples counted, one a class
	Samples int   // counted; those whose logits hold NaN vote for no class
	Drawn   int   // in all, those that picked the class among them
}

// Smoother smooths one base classifier. It must be used by one goroutine at a time.
type Smoother struct {
	base     attack.Target
	pool     *kernels.Pool
	o        Options
	noise    *Noise
	distance float64 // of the noise drawn for one image from its exact law
	test     test    // of Options.Radius
	workers  []*worker

	// The round being run.
	tasks []task
	votes []int32 // one for each class and task, and one for none
	run   func(worker, t int)
}

// withDefaults returns the options with the defaults filled in.
func (o Options) withDefaults() Options {
	if o.Alpha == 0 {
		o.Alpha = DefaultAlpha
	}
	if o.Select == 0 {
		o.Select = DefaultSelect
	}
	if o.Samples == 0 {
		o.Samples = DefaultSamples
	}
	return o
}

// Validate returns an error that names the option out of range, as New would. Whether Radius
// can be certified also depends on the images' size, and is left to New.
func (o Options) Validate() error {
	o = o.withDefaults()
	if err := checkAlpha(o.Alpha); err != nil {
		return err
	}
	switch {
	case o.Select < 1 || o.Select > mostTrials:
		return fmt.Errorf("select: got %d samples, want 1 … %d", o.Select, mostTrials)
	case o.Samples < 1 || o.Samples > mostTrials:
		return fmt.Errorf("samples: got %d, want 1 … %d", o.Samples, mostTrials)
	}
	return checkSigma(o.Sigma)
}

// New prepares to smooth a base classifier: a network compiled for large batches, or one
// behind defences (a denoiser), but none that draws random numbers itself.
func New(base attack.Target, pool *kernels.Pool, o Options) (*Smoother, error) {
	o = o.withDefaults()
	if err := o.Validate(); err != nil {
		return nil, err
	}
	switch {
	case base.Classes() < 2:
		return nil, fmt.Errorf("network: got %d output, want at least 2 classes", base.Classes())
	case base.Few(chunk(base)):
		return nil, errors.New("network: compiled for small batches, want large ones: smoothing draws many samples of each image")
	}
	noise := o.Noise
	if noise == nil {
		var err error
		if noise, err = NewNoise(o.Sigma); err != nil {
			return nil, err
		}
	} else if noise.sigma.Cmp(o.Sigma) != 0 {
		return nil, fmt.Errorf("noise: got some of sigma %s, want %s", noise.sigma, o.Sigma)
	}
	s := &Smoother{base: base, pool: pool, o: o, noise: noise, distance: noise.Distance(base.Input().Size())}
	s.test = test{alpha: o.Alpha, samples: o.Samples, threshold: math.Nextafter(threshold(o.Sigma, o.Radius)+s.distance, 2)}
	if !o.Radius.IsZero() && s.test.threshold >= 1 {
		return nil, fmt.Errorf("radius: got %s, which no number of samples certifies with noise of sigma %s", o.Radius, o.Sigma)
	}
	for range pool.Workers() {
		w, err := newWorker(base, pool)
		if err != nil {
			return nil, err
		}
		s.workers = append(s.workers, w)
	}
	s.run = s.sample
	return s, nil
}

// Options returns the options, with the defaults filled in.
func (s *Smoother) Options() Options { return s.o }

// Largest returns the largest radius that the samples can certify: that of an image all of
// whose samples agree.
func (s *Smoother) Largest() float64 {
	_, r := s.radius(s.o.Samples)
	return r
}

// radius returns the lower limit for hits of all samples, under the exact law of the noise,
// and the radius that it certifies.
func (s *Smoother) radius(hits int) (limit, radius float64) {
	l, err := Lower(hits, s.o.Samples, s.o.Alpha)
	if err != nil { // hits is a count of samples, and New has seen the rest
		return 0, 0
	}
	l = max(0, math.Nextafter(l-s.distance, -1))
	return l, Radius(s.o.Sigma, l)
}
