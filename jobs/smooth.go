package jobs

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/epsball/epsball/attack"
	"github.com/epsball/epsball/defend"
	"github.com/epsball/epsball/internal/runlog"
	"github.com/epsball/epsball/net"
	"github.com/epsball/epsball/smooth"
)

// KindSmooth is the kind of Smooth.
const KindSmooth = "smooth"

// Smooth says how each image is certified by randomised smoothing, as smooth.Options do.
// Nothing that comes of it is a proof. Lengths are in their textual form, such as 1/2; "" is
// one that is not given.
type Smooth struct {
	Predict bool    `json:"predict,omitempty"` // the class alone
	Sigma   string  `json:"sigma"`
	Radius  string  `json:"radius,omitempty"` // the one decided; else the largest is found
	Samples int     `json:"samples"`
	Select  int     `json:"select,omitempty"` // not of Predict
	Alpha   float64 `json:"alpha"`
	Seed    uint64  `json:"seed"`
	Defence string  `json:"defence,omitempty"` // in front of the network, and smoothed with it

	// Winograd runs 3×3 convolutions by Winograd's algorithm (net.Options). With its roundings
	// the network is another one, which is smoothed as well as any.
	Winograd bool `json:"winograd,omitempty"`

	noise *smooth.Noise // of Sigma, once there is work
}

// Kind returns KindSmooth.
func (c *Smooth) Kind() string { return KindSmooth }

// Repeatable is true: a sample depends on the seed, the image and its index alone.
func (c *Smooth) Repeatable() bool { return true }

// Validate checks the settings.
func (c *Smooth) Validate() error {
	if _, err := c.Options(); err != nil {
		return err
	}
	_, err := c.chain()
	return err
}

// Options are the options of package smooth.
func (c *Smooth) Options() (o smooth.Options, err error) {
	switch {
	case c.Alpha == 0:
		return o, errors.New("alpha: got 0, want a probability above 0 and at most 0.5")
	case c.Samples == 0:
		return o, errors.New("samples: got 0, want at least 1")
	case c.Predict && (c.Radius != "" || c.Select != 0):
		return o, errors.New("predict: want no radius and no select with it")
	case !c.Predict && c.Select == 0:
		return o, errors.New("select: got 0, want at least 1")
	}
	o = smooth.Options{Alpha: c.Alpha, Select: c.Select, Samples: c.Samples, Seed: c.Seed}
	if o.Sigma, err = net.ParseEpsilon(c.Sigma); err != nil {
		return o, fmt.Errorf("sigma: got %.80q: %w", c.Sigma, err)
	}
	if c.Radius != "" {
		if o.Radius, err = net.ParseEpsilon(c.Radius); err == nil && o.Radius.IsZero() {
			err = errors.New("want more than 0")
		}
		if err != nil {
			return o, fmt.Errorf("radius: got %.80q: %w", c.Radius, err)
		}
	}
	return o, o.Validate()
}

// chain is the defence.
func (c *Smooth) chain() (defend.Chain, error) {
	if c.Defence == "" {
		return nil, nil
	}
	chain, err := defend.Parse(c.Defence)
	if err != nil {
		return nil, fmt.Errorf("defence: got %.80q: %w", c.Defence, err)
	}
	if chain.Random() {
		return nil, fmt.Errorf("defence: got %.80q, which draws random numbers: what is smoothed must say the same of the same image", c.Defence)
	}
	return chain, nil
}

// RunText is what the results depend on besides model and data.
func (c *Smooth) RunText() string {
	run := fmt.Sprintf("sigma %s, samples %d, alpha %v, seed %d", c.Sigma, c.Samples, c.Alpha, c.Seed)
	switch {
	case c.Predict:
		run = "predict, " + run
	case c.Radius != "":
		run = fmt.Sprintf("decide, %s, select %d, radius %s", run, c.Select, c.Radius)
	default:
		run = fmt.Sprintf("certify, %s, select %d", run, c.Select)
	}
	if c.Defence != "" {
		run += ", defence " + c.Defence
	}
	if c.Winograd {
		run += ", winograd"
	}
	return run
}

// network is n, or what Winograd makes of it.
func (c *Smooth) network(n *net.Network) (*net.Network, error) {
	if !c.Winograd {
		return n, nil
	}
	fast, err := net.Compile(n.Model(), net.Options{ISA: n.ISA().Name(), Backward: n.HasBackward(), Winograd: true})
	if err == nil && !fast.HasWinograd() {
		err = errors.New("winograd: the network has no layer for it, a 3×3 convolution of stride 1 with at least 16 channels in and out")
	}
	return fast, err
}

// SmoothWork draws samples for the images of a subject.
type SmoothWork struct {
	Smoother *smooth.Smoother
	Log      *runlog.Smooth
	Drawn    int // samples, by Draw

	s       *Subject
	predict bool
	rest    []int // positions of the images that Draw looks at
}

// Work prepares the sampling.
func (c *Smooth) Work(s *Subject) (Work, error) { return c.NewWork(s) }

// NewWork is Work. It refuses images that are not of 8 bits.
func (c *Smooth) NewWork(s *Subject) (*SmoothWork, error) {
	o, err := c.Options()
	if err != nil {
		return nil, err
	}
	chain, err := c.chain()
	if err != nil {
		return nil, err
	}
	if c.noise == nil || c.noise.Sigma().Cmp(o.Sigma) != 0 {
		if c.noise, err = smooth.NewNoise(o.Sigma); err != nil {
			return nil, err
		}
	}
	o.Noise = c.noise
	n, err := c.network(s.Net)
	if err != nil {
		return nil, err
	}
	var base attack.Target = n
	if chain != nil {
		if base, err = defend.New(n, chain, defend.BPDA); err != nil {
			return nil, fmt.Errorf("defence: %w", err)
		}
	}
	w := &SmoothWork{s: s, predict: c.Predict}
	w.Log = runlog.NewSmooth(runlog.Of{Model: s.Model, Data: s.Data, Run: c.RunText(), First: s.First}, s.X, s.Y, s.Net.Classes())
	if s.Progress != nil {
		o.Progress = func(done, _ int) { s.Progress(KindSmooth, len(s.Y)-len(w.rest)+done, len(s.Y)) }
	}
	o.Finished = func(k int, r *smooth.Result) error {
		w.Drawn += r.Drawn
		return w.Log.Finish(w.rest[k], r)
	}
	if w.Smoother, err = smooth.New(base, s.Pool, o); err != nil {
		return nil, err
	}
	if err := w.Smoother.Check(smooth.Batch{X: s.X, First: s.First}); err != nil {
		return nil, fmt.Errorf("data %s: %w", s.Data, err)
	}
	return w, nil
}

// Draw looks at the images that Log does not have.
func (w *SmoothWork) Draw(ctx context.Context) (err error) {
	w.rest, w.Drawn = w.rest[:0], 0
	b := smooth.Batch{Index: []int{}}
	size := w.s.Net.Input().Size()
	for i, done := range w.Log.Done {
		if !done {
			w.rest = append(w.rest, i)
			b.X, b.Index = append(b.X, w.s.X[i*size:(i+1)*size]...), append(b.Index, w.s.First+i)
		}
	}
	if w.predict {
		_, err = w.Smoother.Predict(ctx, b)
	} else {
		_, err = w.Smoother.Certify(ctx, b)
	}
	return err
}

// Run looks at the images that the journal at path does not have.
func (w *SmoothWork) Run(ctx context.Context, path string) error {
	if err := w.Log.Resume(path); err != nil {
		return err
	}
	w.Log.Keep()
	return errors.Join(w.Draw(ctx), w.Log.Close())
}

// Read takes results that another run has written down.
func (w *SmoothWork) Read(r io.Reader) error { return w.Log.Read(r) }
