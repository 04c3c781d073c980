package verify

import (
	"context"
	"errors"
	"fmt"
	"math"

	"github.com/epsball/epsball/kernels"
	"github.com/epsball/epsball/net"
)

// Batch is what to verify.
type Batch struct {
	X []float32 // n images, channels first, pixels in [0, 1]
	Y []int     // the label each is to be proved to keep
}

// With returns the images of b with the labels y.
func (b Batch) With(y []int) Batch { return Batch{b.X, y} }

// Result holds one entry an image.
type Result struct {
	Certified []bool
	// Margin is a proved lower bound of the label's logit minus every other,
	// over the ball, as executed in float32; −Inf where no bound was found.
	Margin []float32
	Done   []bool // false where a cancelled run did not get to
	// Method is the one that Margin is of: the first to certify where several were
	// tried, or the last.
	Method []Method
}

// Count returns the numbers of images done and certified.
func (r *Result) Count() (done, certified int) {
	for i, d := range r.Done {
		if d {
			done++
			if r.Certified[i] {
				certified++
			}
		}
	}
	return done, certified
}

func (r *Result) resize(n int) {
	if cap(r.Done) < n || cap(r.Method) < n {
		*r = Result{Certified: make([]bool, n), Margin: make([]float32, n), Done: make([]bool, n), Method: make([]Method, n)}
	}
	r.Certified, r.Margin, r.Done, r.Method = r.Certified[:n], r.Margin[:n], r.Done[:n], r.Method[:n]
	clear(r.Method)
	clear(r.Certified)
	clear(r.Done)
	for i := range r.Margin {
		r.Margin[i] = float32(math.Inf(-1))
	}
}

// IBP verifies by interval bound propagation in centre-radius form (Gowal et
// al. 2018), the last layer merged with the specification, sound in float32.
// It must be used by one goroutine at a time.
type IBP struct {
	*program // all nodes but one that is merged with the specification
	spec     spec
	pool     *kernels.Pool
	workers  []*worker // on lanes, one for each of the pool
	few      *worker   // on single images, its layers split over the pool
	f        func(worker, task int)

	// The batch being verified.
	ctx     context.Context
	job     job
	certify certifyJob
	b       Batch
	n       int
	chunks  int
}

// job is what happens to a chunk of images that fit into a worker.
type job interface {
	chunk(w *worker, from, to int)
}

// NewIBP prepares a network for verification. For large batches it packs |W| of
// every layer.
func NewIBP(n *net.Network, pool *kernels.Pool) (*IBP, error) {
	if n.HasWinograd() {
		return nil, errors.New("network: compiled with Winograd, whose rounding no certificate covers")
	}
	nodes, last := n.Nodes(), mergeable(n)
	if last != nil {
		nodes = nodes[:len(nodes)-1]
	}
	p, err := newProgram(n, nodes, false)
	if err != nil {
		return nil, err
	}
	v := &IBP{program: p, pool: pool, spec: spec{outputs: n.Output()}}
	if last != nil {
		if v.spec, err = newSpec(n, last, extra(&n.Nodes()[last.Node], extraMargin)); err != nil {
			return nil, fmt.Errorf("layer %s: %w", last.Name, err)
		}
		p.feed(last.Src, v.spec.bound)
	} else {
		p.feed(0, bound{})
	}
	v.f = v.chunk
	return v, nil
}

// lanes and singles make the workers for a kind of batch, when the first comes.
func (v *IBP) lanes() []*worker {
	for len(v.workers) < v.pool.Workers() {
		v.workers = append(v.workers, newWorker(v, net.LaneGroups, net.ChunkGroups*kernels.Lanes, 1))
	}
	return v.workers
}

func (v *IBP) singles() *worker {
	if v.few == nil {
		v.few = newWorker(v, net.Singles, net.MaxSmall, v.pool.Workers())
	}
	return v.few
}

// Certify tries to prove, for each image, that no image of the ball around it
// is classified other than Y. It fills res, reusing its memory, and allocates
// nothing beyond but, once for large batches and once for small ones, its buffers. When ctx ends it returns the context's error; images with
// res.Done are then complete.
func (v *IBP) Certify(ctx context.Context, ball net.Ball, b Batch, res *Result) error {
	if err := ball.Validate(); err != nil {
		return err
	}
	if err := v.check(b); err != nil {
		return err
	}
	res.resize(len(b.Y))
	v.certify = certifyJob{v, ball.Norm, ball.Box(), res}
	return v.run(ctx, b, &v.certify)
}

func (v *IBP) check(b Batch) error {
	if err := v.net.CheckImages(b.X, len(b.Y)); err != nil {
		return err
	}
	return v.net.CheckLabels(b.Y, len(b.Y))
}

func (v *IBP) run(ctx context.Context, b Batch, j job) error {
	v.ctx, v.b, v.n, v.job = ctx, b, len(b.Y), j
	if v.net.Few(v.n) {
		for i := 0; i < v.n && ctx.Err() == nil; i += net.MaxSmall {
			j.chunk(v.singles(), i, min(i+net.MaxSmall, v.n))
		}
	} else {
		v.lanes()
		v.chunks = net.Chunks(kernels.Groups(v.n), v.pool.Workers())
		v.pool.Run(v.chunks, v.f)
	}
	v.ctx, v.b, v.job = nil, Batch{}, nil
	return ctx.Err()
}

func (v *IBP) chunk(w, task int) {
	if v.ctx.Err() != nil {
		return
	}
	from, to := net.Chunk(kernels.Groups(v.n), v.chunks, task)
	v.job.chunk(v.workers[w], from*kernels.Lanes, min(to*kernels.Lanes, v.n))
}

type certifyJob struct {
	v    *IBP
	norm net.Norm
	box  net.Box
	res  *Result
}

func (j *certifyJob) chunk(w *worker, from, to int) {
	for i := from; i < to; i++ {
		w.load(i-from, i, j.norm, j.box)
	}
	w.bound(j.norm, to-from)
	for i := from; i < to; i++ {
		m := w.margin(i-from, j.v.b.Y[i])
		j.res.Margin[i], j.res.Certified[i], j.res.Done[i] = m, m > 0, true
	}
}
