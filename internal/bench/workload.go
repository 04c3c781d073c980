package bench

import (
	"context"

	"github.com/epsball/epsball/attack"
	"github.com/epsball/epsball/kernels"
	"github.com/epsball/epsball/net"
	"github.com/epsball/epsball/verify"
)

// pass is something to time on a batch.
type pass struct {
	name     string
	flops    float64 // operations an image for each multiply-add of the forward pass
	nodes    []nodeTraffic
	winograd bool // also runs on a network compiled with Winograd's convolutions
	prepare  func(*workload) (run func(), err error)
}

var passes = []pass{
	{"forward", 2, []nodeTraffic{forwardTraffic}, true, (*workload).forward},
	{"backward-input", 2, []nodeTraffic{backwardTraffic}, true, (*workload).backwardInput},
	{"pgd-step", 4, []nodeTraffic{forwardTraffic, backwardTraffic}, true, (*workload).pgdStep},
	{"ibp", 4, []nodeTraffic{intervalTraffic}, false, (*workload).ibp},
	{"train-step", 6, []nodeTraffic{forwardTraffic, backwardTraffic, weightTraffic}, false, (*workload).trainStep},
}

// workload is a batch for a network, split into chunks of lane groups as the
// passes of the library split it.
type workload struct {
	ctx    context.Context
	net    *net.Network
	pool   *kernels.Pool
	n      int
	groups int
	chunks []chunk
	x      []float32 // channels first
	y      []int     // as predicted, so that no loss is far from usual
}

type chunk struct {
	from, to int       // lane groups
	z, dz    []float32 // scratch, one element a class
}

func (c chunk) groups() int { return c.to - c.from }

// workloadBall is the ball of the passes that need one.
var workloadBall = net.Ball{Norm: net.Linf, Eps: net.MustEpsilon("0.1")}

func newWorkload(ctx context.Context, n *net.Network, images, threads int) (*workload, error) {
	w := &workload{ctx: ctx, net: n, pool: kernels.NewPool(threads), n: images, groups: kernels.Groups(images)}
	w.x = make([]float32, images*n.Input().Size())
	random := kernels.NewStream(1, 0, 0)
	for i := range w.x {
		w.x[i] = random.Float32()
	}
	logits, classes := make([]float32, images*n.Classes()), n.Classes()
	if err := n.NewRunner(w.pool).Logits(ctx, logits, w.x, images); err != nil {
		w.pool.Close()
		return nil, err
	}
	w.y = make([]int, images)
	for i := range w.y {
		w.y[i] = max(0, net.Argmax(logits[i*classes:(i+1)*classes])) // −1: NaN
	}
	count := net.Chunks(w.net.ISA(), w.groups, threads)
	for i := range count {
		from, to := net.Chunk(w.groups, count, i)
		w.chunks = append(w.chunks, chunk{from, to, make([]float32, n.Classes()), make([]float32, n.Classes())})
	}
	return w, nil
}

// pack returns the images in the batch-lane layout.
func (w *workload) pack() []float32 {
	size := w.net.Input().Size()
	lanes := kernels.Alloc(w.groups * kernels.Lanes * size)
	net.PackLanes(lanes, w.x, w.net.Input(), w.n)
	return lanes
}

// packSingles returns them as single images.
func (w *workload) packSingles() []float32 {
	in := w.net.Input()
	t := kernels.Alloc(net.Singles.Len(w.n, in.Size()))
	for i := range w.n {
		net.Singles.Pack(t, w.x[i*in.Size():(i+1)*in.Size()], in, i)
	}
	return t
}

// cut returns a chunk's part of a tensor with size elements an image.
func (c chunk) cut(t []float32, size int) []float32 {
	return t[c.from*size*kernels.Lanes : c.to*size*kernels.Lanes]
}

// labels returns the labels of a chunk's images.
func (w *workload) labels(c chunk) []int {
	return w.y[c.from*kernels.Lanes : min(c.to*kernels.Lanes, w.n)]
}

// run calls f for each chunk on the workers, unless the context has ended.
func (w *workload) run(f func(worker, i int)) func() {
	task := func(worker, i int) {
		if w.ctx.Err() == nil {
			f(worker, i)
		}
	}
	return func() { w.pool.Run(len(w.chunks), task) }
}

// once calls f, which uses the workers itself, unless the context has ended.
func (w *workload) once(f func()) func() {
	return func() {
		if w.ctx.Err() == nil {
			f()
		}
	}
}

func (w *workload) forward() (func(), error) {
	r := w.net.NewRunner(w.pool)
	logits := make([]float32, w.n*w.net.Classes())
	return func() { _ = r.Logits(w.ctx, logits, w.x, w.n) }, nil // the caller looks at ctx
}

func (w *workload) backwardInput() (func(), error) {
	if w.net.Few(w.n) {
		return w.smallBackwardInput(), nil
	}
	x := w.pack()
	size, classes := w.net.Input().Size(), w.net.Classes()
	whole := w.net.NewWorkspace(w.n, false)
	seeds := make([]float32, w.groups*kernels.Lanes*classes)
	views := make([]*net.Workspace, len(w.chunks))
	for i, c := range w.chunks {
		views[i] = whole.View(c.from, c.to)
		views[i].Forward(c.cut(x, size), c.groups())
		c.seed(c.cut(seeds, classes), views[i].Logits(), w.labels(c))
	}
	return w.run(func(_, i int) {
		c := w.chunks[i]
		copy(views[i].LogitGradient(), c.cut(seeds, classes)) // a backward pass reuses the buffer
		views[i].Backward(c.groups())
	}), nil
}

// smallBackwardInput is backwardInput on single images.
func (w *workload) smallBackwardInput() func() {
	ws := w.net.NewSmallWorkspace(w.n, w.pool)
	logits := ws.Forward(w.packSingles(), w.n)
	z, dz := make([]float32, w.net.Classes()), make([]float32, w.net.Classes())
	seeds := make([]float32, len(logits))
	for i, y := range w.y {
		net.Singles.Gather(z, logits, i)
		net.CrossEntropy.Gradient(dz, z, y, net.Untargeted)
		net.Singles.Scatter(seeds, dz, i)
	}
	return w.once(func() {
		copy(ws.LogitGradient(), seeds)
		ws.Backward(w.n)
	})
}

func (w *workload) pgdStep() (func(), error) {
	alpha := float32(workloadBall.Eps.Float64() / 4)
	newAscent := func() *attack.Ascent {
		return attack.NewAscent(w.net, attack.NewPasses(w.net, w.n, w.pool), workloadBall, net.CrossEntropy, alpha)
	}
	few, pack := w.net.Few(w.n), w.pack
	if few {
		pack = w.packSingles
	}
	x := pack()
	lo, hi := kernels.Alloc(len(x)), kernels.Alloc(len(x))
	workloadBall.Box().Inner(lo, hi, x)
	if few {
		ascent := newAscent()
		return w.once(func() { ascent.Step(x, lo, hi, nil, w.y, w.n) }), nil
	}
	size := w.net.Input().Size()
	ascents := make([]*attack.Ascent, w.pool.Workers())
	for i := range ascents {
		ascents[i] = newAscent()
	}
	return w.run(func(worker, i int) {
		c := w.chunks[i]
		ascents[worker].Step(c.cut(x, size), c.cut(lo, size), c.cut(hi, size), nil, w.labels(c), c.groups())
	}), nil
}

func (w *workload) ibp() (func(), error) {
	v, err := verify.New(w.net, w.pool)
	if err != nil {
		return nil, err
	}
	var res verify.Result
	b := verify.Batch{X: w.x, Y: w.y}
	return func() { _ = v.Certify(w.ctx, verify.Options{}, workloadBall, b, &res) }, nil // the caller looks at ctx
}

func (w *workload) trainStep() (func(), error) {
	x := w.pack()
	size := w.net.Input().Size()
	whole := w.net.NewWorkspace(w.n, true)
	views := make([]*net.Workspace, len(w.chunks))
	for i, c := range w.chunks {
		views[i] = whole.View(c.from, c.to)
	}
	back := w.run(func(_, i int) {
		c := w.chunks[i]
		views[i].Forward(c.cut(x, size), c.groups())
		c.seed(views[i].LogitGradient(), views[i].Logits(), w.labels(c))
		views[i].BackwardToWeights(c.groups())
	})
	gradient := w.net.NewWeightGradient()
	scratch := make([]kernels.Scratch, w.pool.Workers())
	weights := func(worker, task int) {
		if w.ctx.Err() == nil {
			gradient.Apply(&scratch[worker], whole, w.groups, task)
		}
	}
	return func() {
		back()
		w.pool.Run(gradient.Tasks(), weights)
	}, nil
}

// seed writes the gradient of the cross-entropy of each lane's label, zeros
// where a lane has no image.
func (c *chunk) seed(dst, logits []float32, labels []int) {
	for s := range len(dst) / len(c.z) {
		if s < len(labels) {
			net.LaneGroups.Gather(c.z, logits, s)
			net.CrossEntropy.Gradient(c.dz, c.z, labels[s], net.Untargeted)
		} else {
			clear(c.dz)
		}
		net.LaneGroups.Scatter(dst, c.dz, s)
	}
}
