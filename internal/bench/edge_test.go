package bench

import (
	"context"
	"math"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/epsball/epsball/internal/bench/worker"
	"github.com/epsball/epsball/kernels"
	"github.com/epsball/epsball/report"
)

// asWorker makes this program a worker.
const asWorker = "edge-worker"

func TestMain(m *testing.M) {
	if len(os.Args) == 2 && os.Args[1] == asWorker {
		if worker.Serve(os.Stdin, os.Stdout, "test") != nil {
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func edgeOptions(t *testing.T) Options {
	return Options{
		Subjects: []Subject{{Name: "m", Model: smallModel(t)}}, ISAs: []*kernels.ISA{best(t)}, Threads: 1, Time: 10 * time.Millisecond,
		NoPin: true, Edge: true, Worker: []string{os.Args[0], asWorker},
	}
}

// A network that lies in no file is timed in processes that load one, and the rows
// stand beside the text.
func TestEdge(t *testing.T) {
	r, err := Run(context.Background(), edgeOptions(t))
	require.NoError(t, err)
	require.Empty(t, r.Skipped)
	require.Len(t, r.Rows, 1+len(edgeStored))
	for i := range r.Rows {
		row := &r.Rows[i]
		require.NotNil(t, row.BenchEdge)
		assert.Equal(t, "test", row.Version)
		assert.Positive(t, row.Startup)
		assert.Zero(t, row.Allocs)
		assert.Equal(t, row.Spread > report.NoisySpread, row.Noisy)
		assert.Contains(t, r.Text(), row.Name)
	}
	again(t, r)
}

// A worker that does not start leaves its rows out.
func TestEdgeNoWorker(t *testing.T) {
	o := edgeOptions(t)
	o.Worker = []string{os.Args[0], "-test.nosuchflag"}
	r, err := Run(context.Background(), o)
	require.NoError(t, err)
	assert.Empty(t, r.Rows)
	require.Len(t, r.Skipped, 1+len(edgeStored))
	assert.Contains(t, r.Text(), "skipped edge/m/b1/t1")
}

// Wrong logits are found, and the row is not timed.
func TestEdgeWrongLogits(t *testing.T) {
	b, err := newBench(edgeOptions(t))
	require.NoError(t, err)
	defer b.close()
	e := &edgeBench{bench: b, inputs: make([]edgeFile, 1), dir: t.TempDir()}
	in, err := e.input(context.Background(), 0)
	require.NoError(t, err)
	in.logits[0] += 1e-6
	for variant := range edgeStored {
		s, err := e.stored(context.Background(), 0, variant, in)
		require.NoError(t, err)
		s.logits[0] += 1e-6
	}
	list, err := b.cases()
	require.NoError(t, err)
	r := &report.Bench{}
	require.NoError(t, e.measureGroup(context.Background(), list, r))
	assert.Empty(t, r.Rows)
	require.Len(t, r.Skipped, 3)
	for _, s := range r.Skipped {
		assert.Contains(t, s.Reason, "logits differ by")
	}
	assert.Equal(t, []string{"edge/m/b1/t1", "edge/m/b1/t1/bf16", "edge/m/b1/t1/tiles"}, e.wrong)
}

func TestAgree(t *testing.T) {
	nan := float32(math.NaN())
	for _, c := range []struct {
		ours, theirs []float32
		exact, ok    bool
	}{
		{[]float32{1, -2}, []float32{1, -2}, true, true},
		{[]float32{1, -2}, []float32{1, -2.0001}, true, false},
		{[]float32{1, -2}, []float32{1, -2.0001}, false, true},
		{[]float32{1, -2}, []float32{1.001, -2}, false, false},
		{[]float32{1, -2}, []float32{nan, -2}, false, false},
		{[]float32{1, -2}, []float32{1}, false, false},
	} {
		_, ok := agree(c.ours, c.theirs, c.exact)
		assert.Equal(t, c.ok, ok, c)
	}
}

func TestPercentile(t *testing.T) {
	var ns []int64
	for i := range 200 {
		ns = append(ns, int64(i+1)*1e9)
	}
	assert.Equal(t, []float64{1, 100, 190, 198, 200}, []float64{
		percentile(ns, 0), percentile(ns, 50), percentile(ns, 95), percentile(ns, 99), percentile(ns, 100),
	})
	assert.Equal(t, 1.0, percentile(ns[:1], 99))
}

func TestQuietest(t *testing.T) {
	assert.Equal(t, []int{1, 3, 4}, quietest([]float64{0.5, 0, 0.4, 0.1, 0}, 3))
	assert.Equal(t, []int{0}, quietest([]float64{0.5}, 3))
}
