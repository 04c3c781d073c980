package smooth

import (
	"context"
	"fmt"
	"math"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/epsball/epsball/kernels"
	"github.com/epsball/epsball/model"
	"github.com/epsball/epsball/net"
)

const side = 6

// linear returns a network of two classes with logits 0 and w·x − t, and w: what it says of
// x + σG is known.
func linear(t testing.TB) (n *net.Network, w []float32, offset float64) {
	m, err := model.Random(&model.Architecture{Input: model.Shape{C: 1, H: side, W: side}, Layers: []model.Layer{{Kind: model.FC, Out: 2}}}, 3)
	require.NoError(t, err)
	row := m.Params[0].W
	clear(row[:side*side])
	w = row[side*side:]
	for i := range w {
		offset -= float64(w[i]) / 2
	}
	m.Params[0].B = []float32{0, float32(offset)}
	n, err = net.Compile(m, net.Options{Backward: true})
	require.NoError(t, err)
	return n, w, offset
}

// pictures returns n images of 8 bits.
func pictures(n, size int) []float32 {
	x := make([]float32, n*size)
	s := kernels.NewStream(8, 0, 0)
	for i := range x {
		x[i] = float32(s.Intn(256)) / 255
	}
	return x
}

func options(o Options) Options {
	if o.Sigma.IsZero() {
		o.Sigma = net.MustEpsilon("0.25")
	}
	return o
}

func smoother(t testing.TB, n *net.Network, workers int, o Options) *Smoother {
	pool := kernels.NewPool(workers)
	t.Cleanup(pool.Close)
	s, err := New(n, pool, options(o))
	require.NoError(t, err)
	return s
}

// TestLinear: of a linear classifier the robust radius is the distance to the plane. At
// α = 0.05 no more than so many radii are larger, and all are near it.
func TestLinear(t *testing.T) {
	n, w, offset := linear(t)
	const images, alpha = 200, 0.05
	x := pictures(images, side*side)
	length := 0.0
	for _, v := range w {
		length = math.Hypot(length, float64(v))
	}
	distance := func(i int) (class int, d float64) {
		z := offset
		for k, v := range x[i*side*side:][:side*side] {
			z += float64(w[k]) * float64(v)
		}
		if z > 0 {
			class = 1
		}
		return class, math.Abs(z) / length
	}
	s := smoother(t, n, 2, Options{Alpha: alpha, Select: 500, Samples: 2000, Seed: 1})
	results, err := s.Certify(context.Background(), Batch{X: x})
	require.NoError(t, err)
	wrong, gap, certified := 0, 0.0, 0
	for i, r := range results {
		class, d := distance(i)
		require.Equal(t, 2000, r.Samples)
		require.Equal(t, 2500, r.Drawn)
		require.Equal(t, 2000, r.Votes[0]+r.Votes[1])
		if r.Class == Abstain {
			require.Zero(t, r.Radius)
			require.Less(t, d, 0.06, "image %d", i)
			continue
		}
		certified++
		require.Positive(t, r.Radius)
		require.LessOrEqual(t, r.Radius, s.Largest())
		if r.Class != class || r.Radius > d {
			wrong++
		}
		gap += d - r.Radius
	}
	t.Logf("%d of %d radii are too large (claim: at most %v of them)", wrong, certified, alpha)
	assert.Greater(t, certified, images*8/10)
	assert.LessOrEqual(t, float64(wrong), alpha*images+3*math.Sqrt(alpha*images))
	assert.Less(t, gap/float64(certified), 0.03)

	// A radius that is decided: none is given to an image nearer to the plane but by error,
	// and far fewer samples are drawn.
	d := smoother(t, n, 2, Options{Alpha: alpha, Samples: 2000, Radius: net.MustEpsilon("0.1"), Seed: 2})
	results, err = d.Certify(context.Background(), Batch{X: x})
	require.NoError(t, err)
	wrong, certified = 0, 0
	samples := 0
	for i, r := range results {
		class, far := distance(i)
		samples += r.Samples
		if r.Class == Abstain {
			require.Zero(t, r.Radius)
			require.False(t, far > 0.2, "image %d at %v", i, far)
			continue
		}
		certified++
		require.InDelta(t, 0.1, r.Radius, 1e-15)
		require.LessOrEqual(t, r.Radius, 0.1, "never above the one asked for")
		if r.Class != class || far < 0.1 {
			wrong++
		}
	}
	t.Logf("%d of %d decided are too near; %d samples an image on average", wrong, certified, samples/images)
	assert.LessOrEqual(t, float64(wrong), alpha*images+3*math.Sqrt(alpha*images))
	assert.Greater(t, certified, images/4)
	assert.Less(t, samples, images*2000*2/3)

	// Predict names the class, or abstains near the plane.
	p := smoother(t, n, 2, Options{Alpha: alpha, Samples: 500, Seed: 3})
	results, err = p.Predict(context.Background(), Batch{X: x})
	require.NoError(t, err)
	wrong = 0
	for i, r := range results {
		class, far := distance(i)
		switch {
		case r.Class == Abstain:
			require.Less(t, far, 0.1)
		case r.Class != class:
			wrong++
		}
		require.Zero(t, r.Radius)
	}
	assert.LessOrEqual(t, wrong, 2)
}

// TestSame: the same results with any number of workers and kernel set, in any batch and
// order, for the same index and seed.
func TestSame(t *testing.T) {
	m, err := model.Random(&model.Architecture{Input: model.Shape{C: 3, H: 5, W: 4}, Layers: []model.Layer{
		{Kind: model.Conv, Out: 6, Kernel: [2]int{3, 3}, Stride: [2]int{1, 1}}, {Kind: model.ReLU}, {Kind: model.FC, Out: 4},
	}}, 1)
	require.NoError(t, err)
	const images, size = 9, 60
	x := pictures(images, size)
	for _, o := range []Options{{Samples: 700}, {Samples: 3000, Radius: net.MustEpsilon("0.05")}} {
		var want []Result
		for _, isa := range kernels.Available() {
			n, err := net.Compile(m, net.Options{ISA: isa.Name()})
			require.NoError(t, err)
			for _, workers := range []int{1, 3} {
				o.Seed = 5
				s := smoother(t, n, workers, o)
				got, err := s.Certify(context.Background(), Batch{X: x, First: 40})
				require.NoError(t, err)
				if want == nil {
					want = got
				}
				require.Equal(t, want, got, "%s, %d workers", isa.Name(), workers)
				back, err := s.Certify(context.Background(), Batch{X: append(append([]float32{}, x[5*size:6*size]...), x[2*size:3*size]...), Index: []int{45, 42}})
				require.NoError(t, err)
				require.Equal(t, []Result{want[5], want[2]}, back)
			}
		}
		n, err := net.Compile(m, net.Options{})
		require.NoError(t, err)
		o.Seed = 6
		other, err := smoother(t, n, 1, o).Certify(context.Background(), Batch{X: x, First: 40})
		require.NoError(t, err)
		require.NotEqual(t, want, other, "another seed")
	}
}

// TestVotes: the votes are those of the images that the law describes, run as any others.
func TestVotes(t *testing.T) {
	n, _, _ := linear(t)
	s := smoother(t, n, 2, Options{Samples: 100, Seed: 4, Alpha: 0.5})
	const size = side * side
	x := pictures(2, size)
	got, err := s.Predict(context.Background(), Batch{X: x, First: 7})
	require.NoError(t, err)
	ws := n.NewWorkspace(8, false)
	levels, f := make([]int32, size), &filler{isa: kernels.Default()}
	for i, r := range got {
		require.NoError(t, ToLevels(levels, x[i*size:(i+1)*size]))
		votes := make([]int, 2)
		for k := range uint32(100) {
			lanes := make([]float32, size*kernels.Lanes)
			s.noise.fill(f, lanes, levels, source{4, uint64(7 + i)}, k, 1)
			z := make([]float32, 2)
			net.LaneGroups.Gather(z, ws.Forward(lanes, 1), 0)
			votes[net.Argmax(z)]++
		}
		require.Equal(t, votes, r.Votes)
	}
}

func TestBadInput(t *testing.T) {
	n, _, _ := linear(t)
	pool := kernels.NewPool(1)
	defer pool.Close()
	for want, o := range map[string]Options{
		"sigma: got 5":      {Sigma: net.MustEpsilon("5")},
		"alpha: got -0.1":   {Alpha: -0.1},
		"alpha: got NaN":    {Alpha: math.NaN()},
		"select: got -1":    {Select: -1},
		"samples: got -5":   {Samples: -5},
		"samples: got 1000": {Samples: 100_000_000},
		"radius: got 9":     {Radius: net.MustEpsilon("9")},
	} {
		_, err := New(n, pool, options(o))
		require.ErrorContains(t, err, want)
	}
	_, err := New(n, pool, Options{})
	require.ErrorContains(t, err, "sigma: got 0")
	small, err := net.Compile(n.Model(), net.Options{Batches: net.SmallBatches})
	require.NoError(t, err)
	_, err = New(small, pool, options(Options{}))
	require.ErrorContains(t, err, "compiled for small batches")

	s := smoother(t, n, 1, Options{Samples: 10})
	x := pictures(2, side*side)
	x[side*side+3] = 0.3001
	_, err = s.Certify(context.Background(), Batch{X: x, First: 5})
	require.ErrorContains(t, err, "image 6: pixel 3 is 0.3001, want k/255")
	x[side*side+3] = float32(math.NaN())
	_, err = s.Predict(context.Background(), Batch{X: x})
	require.ErrorContains(t, err, "is NaN")
	_, err = s.Predict(context.Background(), Batch{X: x[1:]})
	require.Error(t, err)
	x[side*side+3] = 0
	_, err = s.Predict(context.Background(), Batch{X: x, Index: []int{1}})
	require.ErrorContains(t, err, "index: 1")
	r, err := s.Certify(context.Background(), Batch{})
	require.NoError(t, err)
	require.Empty(t, r)
}

// TestStopped: what ends a run leaves the images that are finished.
func TestStopped(t *testing.T) {
	n, _, _ := linear(t)
	x := pictures(200, side*side)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	finished := 0
	s := smoother(t, n, 1, Options{Samples: 100, Finished: func(int, *Result) error {
		if finished++; finished == 20 {
			cancel()
		}
		return nil
	}})
	results, err := s.Certify(ctx, Batch{X: x})
	require.ErrorIs(t, err, context.Canceled)
	done := 0
	for _, r := range results {
		if r.Samples > 0 {
			done++
		}
	}
	require.Equal(t, finished, done)
	require.Less(t, done, 200)

	failed := smoother(t, n, 1, Options{Samples: 100, Finished: func(int, *Result) error { return fmt.Errorf("disk full") }})
	_, err = failed.Certify(context.Background(), Batch{X: x})
	require.EqualError(t, err, "disk full")
}

// TestNaN: logits that are NaN vote for no class.
func TestNaN(t *testing.T) {
	n, _, _ := linear(t)
	m := *n.Model()
	m.Params = append([]model.Param{}, m.Params...)
	m.Params[0].B = []float32{0, float32(math.NaN())}
	if bad, err := net.Compile(&m, net.Options{}); err == nil {
		r, err := smoother(t, bad, 1, Options{Samples: 200}).Certify(context.Background(), Batch{X: pictures(1, side*side)})
		require.NoError(t, err)
		require.Equal(t, Abstain, r[0].Class)
		require.Equal(t, []int{0, 0}, r[0].Votes)
	} else {
		require.ErrorContains(t, err, "NaN")
	}
}

// TestNoAllocation: drawing and judging samples needs no heap.
func TestNoAllocation(t *testing.T) {
	n, _, _ := linear(t)
	s := smoother(t, n, 1, Options{})
	j := &job{levels: make([]int32, side*side), source: source{1, 2}}
	s.tasks, s.votes = []task{{j, 0, chunk(s.base)}}, make([]int32, 3)
	require.Zero(t, testing.AllocsPerRun(20, func() { s.sample(0, 0) }))
}
