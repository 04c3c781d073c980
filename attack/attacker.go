package attack

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"sync/atomic"

	"github.com/epsball/epsball/kernels"
	"github.com/epsball/epsball/net"
)

// Batch is what to attack.
type Batch struct {
	X       []float32 // n images, channels first, pixels in [0, 1]
	Y       []int     // their labels
	Targets []int     // nil, or the class each is to be taken for (Config.Targeted)
	First   int       // index of the first image: picks the random numbers

	// Index picks the random numbers of each image instead; nil: First, First+1, …
	Index []int

	// Start holds the points where the first restarts begin, one an image, brought
	// into the ball; nil: Config.RandomStart decides.
	Start []float32

	// Finished, if not nil, is called when image i is done, its entries in the result
	// are final, with the gradient steps it took; from any goroutine.
	Finished func(i, steps int)
}

// Result is what an attack found, one entry an image.
type Result struct {
	Adv     []float32 // the worst point found, in ball and box; the image itself if it was wrong from the start
	Label   []int     // the class predicted there; −1 if the logits hold NaN
	Margin  []float32 // logit of the label minus the largest other there
	Clean   []bool    // the image itself is classified correctly
	Success []bool    // Clean, and Adv is misclassified (or, with targets given, taken for its target)
	Linf    []float64 // distance of Adv from the image
	L2      []float64
	Done    []bool // false where a cancelled run did not get to the end

	// Begun is true where the entries above hold what was found, if only so far:
	// where Done is, and where a cancelled run had attacked the image without success.
	Begun []bool

	// ImageSteps is the number of gradient steps taken by all images.
	ImageSteps int64
}

// Count returns the numbers of images that are done, correct from the start,
// and still correct after the attack.
func (r *Result) Count() (done, clean, robust int) {
	for i, d := range r.Done {
		if d {
			done++
			if r.Clean[i] {
				clean++
				if !r.Success[i] {
					robust++
				}
			}
		}
	}
	return done, clean, robust
}

// Tally counts the images of a run by what is known of them. Of those that a
// cancelled run did not finish it holds no more than is true: the fooled ones
// finish first, so a fraction of the finished ones says little.
type Tally struct {
	Wrong     int // misclassified as they are
	Fooled    int
	Robust    int // not fooled, and the attack is through
	Resisting int // correct, and not fooled so far
	NotBegun  int
}

// Tally counts the images by what is known of them.
func (r *Result) Tally() Tally {
	var t Tally
	for i := range r.Done {
		switch {
		case !r.Begun[i]:
			t.NotBegun++
		case !r.Clean[i]:
			t.Wrong++
		case r.Success[i]:
			t.Fooled++
		case r.Done[i]:
			t.Robust++
		default:
			t.Resisting++
		}
	}
	return t
}

// CleanRange returns the least and the most images that are classified correctly.
func (t Tally) CleanRange() (least, most int) {
	least = t.Fooled + t.Robust + t.Resisting
	return least, least + t.NotBegun
}

// RobustRange returns the least and the most images that the whole attack leaves
// correct.
func (t Tally) RobustRange() (least, most int) {
	return t.Robust, t.Robust + t.Resisting + t.NotBegun
}

func (r *Result) resize(n, size int) {
	if cap(r.Done) < n || cap(r.Adv) < n*size {
		*r = Result{
			Adv: make([]float32, n*size), Label: make([]int, n), Margin: make([]float32, n),
			Clean: make([]bool, n), Success: make([]bool, n),
			Linf: make([]float64, n), L2: make([]float64, n), Done: make([]bool, n), Begun: make([]bool, n),
		}
	}
	r.Adv, r.Label, r.Margin = r.Adv[:n*size], r.Label[:n], r.Margin[:n]
	r.Clean, r.Success, r.Done, r.Begun = r.Clean[:n], r.Success[:n], r.Done[:n], r.Begun[:n]
	r.Linf, r.L2 = r.Linf[:n], r.L2[:n]
	for _, flags := range [][]bool{r.Clean, r.Success, r.Done, r.Begun} {
		clear(flags)
	}
	for _, d := range [][]float64{r.Linf, r.L2} {
		clear(d)
	}
	for i := range r.Label {
		r.Label[i], r.Margin[i] = -1, float32(math.NaN())
	}
	r.ImageSteps = 0
}

// Attacker runs one attack on one network. It must be used by one goroutine at
// a time.
type Attacker struct {
	net     *net.Network
	cfg     Config
	box     net.Box
	pool    *kernels.Pool
	workers []*worker // on lanes, one for each of the pool
	few     *worker   // on single images, its layers split over the pool
	f       func(worker, task int)

	// The batch being attacked.
	ctx      context.Context
	b        Batch
	res      *Result
	n        int
	capacity int          // slots a worker fills
	next     atomic.Int64 // first image no worker has taken
	done     atomic.Int64
	steps    atomic.Int64
}

// New prepares an attack on a network compiled with backward passes.
func New(n *net.Network, c Config, pool *kernels.Pool) (*Attacker, error) {
	if err := c.Validate(n.Classes()); err != nil {
		return nil, err
	}
	if !n.HasBackward() {
		return nil, errors.New("network: compiled without backward passes, want Options.Backward")
	}
	a := &Attacker{net: n, cfg: c, box: c.Ball.Box(), pool: pool}
	a.f = func(w, _ int) { a.workers[w].run() }
	return a, nil
}

// aim points the attacker at another ball of the same norm.
func (a *Attacker) aim(b net.Ball) {
	a.cfg.Ball, a.box = b, b.Box()
	for _, w := range append(a.workers[:len(a.workers):len(a.workers)], a.few) {
		if w != nil {
			w.asc.aim(b, a.cfg.alpha())
		}
	}
}

// lanes and singles make the buffers for a kind of batch, when the first comes.
func (a *Attacker) lanes() {
	for len(a.workers) < a.pool.Workers() {
		const slots = net.ChunkGroups * kernels.Lanes
		a.workers = append(a.workers, newWorker(a, a.net.NewWorkspace(slots, false), slots))
	}
}

func (a *Attacker) singles() {
	if a.few == nil {
		a.few = newWorker(a, a.net.NewSmallWorkspace(net.MaxSmall, a.pool), net.MaxSmall)
	}
}

// Run attacks the batch and fills res, reusing its memory: with a res of equal
// size it allocates nothing but, once for large batches and once for small ones,
// its buffers. When ctx ends it returns the context's error within a few steps;
// images with res.Done are then complete, those with res.Begun hold the best point
// found so far.
func (a *Attacker) Run(ctx context.Context, b Batch, res *Result) error {
	n := len(b.Y)
	if err := a.net.CheckImages(b.X, n); err != nil {
		return err
	}
	if err := a.net.CheckLabels(b.Y, n); err != nil {
		return err
	}
	if b.Targets != nil {
		if err := a.checkTargets(b); err != nil {
			return err
		}
	}
	if b.Start != nil {
		if err := a.net.CheckImages(b.Start, n); err != nil {
			return fmt.Errorf("start points: %w", err)
		}
	}
	if b.Index != nil && len(b.Index) != n {
		return fmt.Errorf("indices: %d, want one for each of %d images", len(b.Index), n)
	}
	if b.First < 0 || len(b.Index) > 0 && slices.Min(b.Index) < 0 {
		return fmt.Errorf("first index: %d, want ≥ 0", b.First)
	}
	res.resize(n, a.net.Input().Size())
	copy(res.Adv, b.X)
	a.ctx, a.b, a.res, a.n = ctx, b, res, n
	a.next.Store(0)
	a.done.Store(0)
	a.steps.Store(0)
	if a.net.Few(n) {
		a.singles()
		a.capacity = net.MaxSmall
		a.few.run()
	} else {
		a.lanes()
		groups, workers := kernels.Groups(n), a.pool.Workers()
		a.capacity = kernels.Lanes * min(net.ChunkGroups, max(1, (groups+workers-1)/workers))
		a.pool.Run(min(workers, groups), a.f)
	}
	res.ImageSteps = a.steps.Load()
	a.ctx, a.b, a.res = nil, Batch{}, nil
	return ctx.Err()
}

func (a *Attacker) checkTargets(b Batch) error {
	if !a.cfg.Targeted {
		return errors.New("targets: given to an untargeted attack, want Config.Targeted")
	}
	if err := a.net.CheckLabels(b.Targets, len(b.Y)); err != nil {
		return fmt.Errorf("targets: %w", err)
	}
	for i, t := range b.Targets {
		if t == b.Y[i] {
			return fmt.Errorf("targets: that of image %d is its label %d, want another class", i, t)
		}
	}
	return nil
}

// index returns what picks the random numbers of image i.
func (b *Batch) index(i int) uint64 {
	if b.Index != nil {
		return uint64(b.Index[i])
	}
	return uint64(b.First) + uint64(i)
}

// take returns the next image that no worker has, or −1.
func (a *Attacker) take() int {
	if i := a.next.Add(1) - 1; i < int64(a.n) {
		return int(i)
	}
	return -1
}

// finish records the outcome of image i.
func (a *Attacker) finish(i, steps int, clean, success bool, label int, margin float32) {
	a.record(i, clean, success, label, margin)
	a.res.Done[i] = true
	if a.b.Finished != nil {
		a.b.Finished(i, steps)
	}
	if d := a.done.Add(1); a.cfg.Progress != nil {
		a.cfg.Progress(int(d))
	}
}

// record notes what is known of image i, whose best point is in the result.
func (a *Attacker) record(i int, clean, success bool, label int, margin float32) {
	r := a.res
	size := a.net.Input().Size()
	adv, x := r.Adv[i*size:(i+1)*size], a.b.X[i*size:(i+1)*size]
	var linf, l2 float64
	for k, v := range adv {
		d := math.Abs(float64(v) - float64(x[k]))
		linf = max(linf, d)
		l2 += float64(d * d)
	}
	r.Clean[i], r.Success[i], r.Label[i], r.Margin[i] = clean, success, label, margin
	r.Linf[i], r.L2[i] = linf, math.Sqrt(l2)
	r.Begun[i] = true
}
