package bench

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/epsball/epsball/internal/plain"
	"github.com/epsball/epsball/kernels"
	"github.com/epsball/epsball/model"
	"github.com/epsball/epsball/net"
	"github.com/epsball/epsball/report"
)

// again writes a result, reads it back and returns it, having checked that it is the
// same value, with the same text, chart and repeats.
func again(t *testing.T, r *report.Bench) *report.Bench {
	var doc bytes.Buffer
	require.NoError(t, report.Write(&doc, r))
	read, err := report.Read(&doc)
	require.NoError(t, err)
	require.Equal(t, r, read)
	back := read.(*report.Bench)
	assert.Equal(t, r.Text(), back.Text())
	var stat, statBack bytes.Buffer
	require.NoError(t, WriteBenchstat(&stat, r))
	require.NoError(t, WriteBenchstat(&statBack, back))
	assert.Equal(t, stat.String(), statBack.String())
	repeats := 0
	for i := range r.Rows {
		assert.Len(t, r.Rows[i].Samples, r.Rows[i].Repeats)
		repeats += r.Rows[i].Repeats
	}
	assert.Equal(t, repeats, strings.Count(stat.String(), " ns/op"))
	assert.Equal(t, Roofline(r), Roofline(back))
	return back
}

func smallModel(t *testing.T) *model.Model {
	m, err := model.Random(&model.Architecture{Name: "small", Input: model.Shape{C: 1, H: 6, W: 6}, Layers: []model.Layer{
		{Kind: model.Conv, Out: 4, Kernel: [2]int{3, 3}, Stride: [2]int{1, 1}}, {Kind: model.ReLU}, {Kind: model.FC, Out: 10},
	}}, 1)
	require.NoError(t, err)
	return m
}

func best(t *testing.T) *kernels.ISA {
	isa, err := kernels.Choose("")
	require.NoError(t, err)
	return isa
}

func options(t *testing.T) Options {
	return Options{
		Subjects: []Subject{{Name: "my net", Model: smallModel(t)}}, ISAs: []*kernels.ISA{best(t)}, Threads: 2, Batches: []int{9, 1, 9},
		Time: time.Millisecond,
	}
}

// A run measures the rows of its options, tells of its progress, and its result
// goes through JSON.
func TestRun(t *testing.T) {
	o := options(t)
	o.Filter = "^(forward|ibp)/"
	var labels []string
	o.Progress = func(label string, done, total int) {
		labels = append(labels, label)
		assert.Equal(t, 8, total)
		assert.Less(t, done, total)
	}
	r, err := Run(context.Background(), o)
	require.NoError(t, err)
	assert.Equal(t, []int{9, 1, 9}, o.Batches, "the caller's options are changed")
	assert.Equal(t, []string{"limits of the machine", "forward/my_net/b1", "forward/my_net/b9", "ibp/my_net/b1", "ibp/my_net/b9"}, labels)
	var names []string
	for i := range r.Rows {
		names = append(names, r.Rows[i].Name)
		assert.Positive(t, r.Rows[i].GFLOPS)
	}
	assert.Equal(t, []string{
		"forward/my_net/b1/t1", "forward/my_net/b1/t2", "forward/my_net/b9/t1", "forward/my_net/b9/t2",
		"ibp/my_net/b1/t1", "ibp/my_net/b1/t2", "ibp/my_net/b9/t1", "ibp/my_net/b9/t2",
	}, names)
	assert.Equal(t, []report.Model{{Name: "my_net", Hash: o.Subjects[0].Model.Hash()}}, r.Epsball.Models)
	assert.Nil(t, again(t, r).Rows[3].BenchEdge)
}

func TestRefusedOptions(t *testing.T) {
	single, err := model.Random(&model.Architecture{Name: "x", Input: model.Shape{C: 1, H: 1, W: 2}, Layers: []model.Layer{{Kind: model.FC, Out: 1}}}, 1)
	require.NoError(t, err)
	for want, change := range map[string]func(*Options){
		"filter: error parsing":        func(o *Options) { o.Filter = "(" },
		`filter: "none" matches no`:    func(o *Options) { o.Filter = "none" },
		"batch: got 0, want 1 … 65536": func(o *Options) { o.Batches = []int{1, 0} },
		"batch: want at least one":     func(o *Options) { o.Batches = nil },
		"time: got -1s":                func(o *Options) { o.Time = -time.Second },
		"threads: got 0":               func(o *Options) { o.Threads = 0 },
		"isa: want at least one":       func(o *Options) { o.ISAs = nil },
		"edge: want the command line":  func(o *Options) { o.Edge = true },
		"model: two models are called": func(o *Options) {
			o.Subjects = append(o.Subjects, Subject{Name: "my\tnet", Model: o.Subjects[0].Model})
		},
		"model: f has 1 output": func(o *Options) { o.Subjects[0] = Subject{Name: "x", Path: "f", Model: single} },
	} {
		o := options(t)
		change(&o)
		r, err := Run(context.Background(), o)
		assert.Nil(t, r)
		var option *OptionError
		require.ErrorAs(t, err, &option, want)
		assert.ErrorContains(t, err, want)
	}
}

// A run that is stopped has what it has measured.
func TestInterrupted(t *testing.T) {
	ctx, stop := context.WithCancel(context.Background())
	o := options(t)
	o.Progress = func(_ string, done, _ int) {
		if done > 0 {
			stop()
		}
	}
	r, err := Run(ctx, o)
	var interrupted *Interrupted
	require.ErrorAs(t, err, &interrupted)
	assert.ErrorIs(t, err, context.Canceled)
	assert.Equal(t, "interrupted: 2 of 20 rows done", err.Error())
	assert.Len(t, r.Rows, 2)
}

// Rows that spread too far are marked, counted and explained.
func TestNoisy(t *testing.T) {
	row := func(name string, spread float64) report.BenchRow {
		return report.BenchRow{Name: name, Kind: report.RowPass, ISA: "a", Threads: 1, Batch: 1, Seconds: 1, Bytes: 1, Repeats: 20, Spread: spread, Intensity: 1, GFLOPS: 1}
	}
	r := &report.Bench{Envelope: report.Envelope{ISA: "a", Threads: 1}, ISAs: []string{"a"}, Rows: []report.BenchRow{row("forward/quiet/b1/t1", report.NoisySpread), row("forward/loud/b1/t1", 0.234)}}
	markNoisy(r)
	markNoisy(r) // as often as one likes
	assert.Equal(t, 1, r.Noisy)
	assert.False(t, r.Rows[0].Noisy)
	assert.True(t, r.Rows[1].Noisy)
	text := r.Text()
	assert.Regexp(t, `(?m)^forward/loud/b1/t1 .* noisy 23\.4% `, text)
	assert.Regexp(t, `(?m)^forward/quiet/b1/t1 .*  10\.0% `, text)
	assert.Contains(t, text, "\nnoisy: the repeats of 1 of 2 rows spread by more than 10%")
	assert.True(t, strings.HasSuffix(Roofline(r).Panels[0].Points[1].Tooltip, ", noisy"))

	r.Rows = r.Rows[:1]
	markNoisy(r)
	assert.Zero(t, r.Noisy)
	assert.Empty(t, r.NoiseText())
	assert.NotContains(t, r.Text(), "noisy")
}

// The repeats of a busy machine spread: the row is marked by what is measured.
func TestSpread(t *testing.T) {
	c := &contestant{benchCase: &benchCase{kind: report.RowPass, name: "n", isa: best(t), flop: 1, bytes: 1}, peaks: []float64{1}}
	for i := range 20 {
		c.samples = append(c.samples, 1+float64(i)/100)
	}
	r := &report.Bench{Rows: []report.BenchRow{c.row()}}
	markNoisy(r)
	assert.InDelta(t, 0.1/1.095, r.Rows[0].Spread, 1e-9)
	assert.False(t, r.Rows[0].Noisy)
	for i := range c.samples {
		c.samples[i] += float64(i) / 100
	}
	r.Rows[0] = c.row()
	markNoisy(r)
	assert.True(t, r.Rows[0].Noisy)
}

// The passes that are timed must do the work they are named after.
func TestWorkload(t *testing.T) {
	n, err := net.Compile(smallModel(t), net.Options{Backward: true})
	require.NoError(t, err)
	for _, images := range []int{1, 8, 19, 50} {
		w, err := newWorkload(context.Background(), n, images, 2)
		require.NoError(t, err)
		covered := 0
		for _, c := range w.chunks {
			assert.Equal(t, covered, c.from)
			covered = c.to
		}
		assert.Equal(t, kernels.Groups(images), covered)
		for _, p := range passes {
			run, err := p.prepare(w)
			require.NoError(t, err, p.name)
			run()
			run()
		}
		w.pool.Close()
	}
}

// TestNodes: each node is timed by what it computes, and counted as it is defined.
func TestNodes(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 1))
	kinds := map[string]bool{}
	for range 60 {
		m := plain.Random(plain.RandomLayers(r), r)
		n, err := net.Compile(m, net.Options{Backward: true})
		require.NoError(t, err)
		shapes, err := m.Arch.Shapes()
		require.NoError(t, err)
		for i := range n.Nodes() {
			node := &n.Nodes()[i]
			l, in, macs := m.Arch.Layers[node.Index], m.Arch.InputShape(node.Index, shapes), 0
			kinds[fmt.Sprintf("%T", node.Op)] = true
			switch l.Kind {
			case model.Conv, model.FC:
				for o := range shapes[node.Index+1].Size() {
					plain.Each(l, in, shapes[node.Index+1], o, func(int, int) { macs++ })
				}
			case model.BatchNorm:
				macs = in.Size()
			}
			require.EqualValues(t, macs, node.MACs(), node.Name)
			weights := 0
			if w := l.WeightShape(in); w != nil {
				weights = m.Params[node.Index].Count()
			}
			require.Equal(t, weights, weightsOf(n, i))
			for _, images := range []int{1, 20} {
				require.GreaterOrEqual(t, backwardTraffic(n, i, images), forwardTraffic(n, i, images))
				if _, ok := node.Op.(*net.Affine); ok {
					continue
				}
				nodeDoesItsPart(t, n, i, images)
			}
		}
	}
	require.Len(t, kinds, 7, "%v", kinds) // operations of package net
}

// nodeDoesItsPart runs what is timed of a node against a whole pass.
func nodeDoesItsPart(t *testing.T, n *net.Network, i, images int) {
	for k := range layerOps {
		op := &layerOps[k]
		if op.weights && weightsOf(n, i) == 0 {
			continue
		}
		task := op.task(context.Background(), n, n.ISA(), i, images, 2)
		task.run()
		task.run()
		task.pool.Close()
	}
	// ForwardNode computes what a pass did, anew.
	w := n.NewWorkspace(8, false)
	x := kernels.Alloc(w.Layout().Len(1, n.Input().Size()))
	for k := range x {
		x[k] = float32(k%17) / 16
	}
	w.Forward(x, 1)
	act := w.Activation(i + 1)
	want := slices.Clone(act)
	clear(act)
	w.ForwardNode(i, 1)
	require.Equal(t, want, act)
}

func TestThreadCounts(t *testing.T) {
	assert.Equal(t, []int{1}, threadCounts(1))
	assert.Equal(t, []int{1, 2, 4, 6}, threadCounts(6))
}

func TestCompare(t *testing.T) {
	row := func(isa, variant string, threads int, seconds float64) report.BenchRow {
		name := strings.TrimSuffix(fmt.Sprintf("forward/g/b1/t%d/%s", threads, variant), "/")
		return report.BenchRow{Name: name, Kind: report.RowPass, ISA: isa, Variant: variant, Threads: threads, Seconds: seconds, Bytes: 1}
	}
	r := &report.Bench{Envelope: report.Envelope{ISA: "a"}, Rows: []report.BenchRow{
		row("a", direct, 1, 8), row("a", direct, 2, 5), row("a", winograd, 2, 4), row("b", direct, 2, 10), row("b", direct, 1, 20),
	}}
	compare(r)
	var speedups, ratios []float64
	for _, x := range r.Rows {
		speedups, ratios = append(speedups, x.Speedup), append(ratios, x.Ratio)
	}
	assert.Equal(t, []float64{0, 1.6, 0, 2, 0}, speedups)
	assert.Equal(t, []float64{0, 0, 1.25, 0.5, 0.4}, ratios)
}

// A result without rows has a roofline, too.
func TestEmptyRoofline(t *testing.T) {
	r := &report.Bench{
		Envelope: report.Envelope{ISA: "i", Threads: 1}, CPU: `<b>&"x"`,
		Peaks: []report.BenchPeak{{ISA: "i", Threads: 1, GFLOPS: 100}}, Read: []report.BenchRead{{Level: "L1", Bytes: 9, Threads: 1, GBps: 50}},
	}
	var b strings.Builder
	require.NoError(t, Roofline(r).WriteSVG(&b))
	assert.Contains(t, b.String(), "&lt;b&gt;")
}

func TestBenchmarkName(t *testing.T) {
	for row, want := range map[string]string{
		"pgd-step/mnist-small/b1/t1": "BenchmarkPGDStep/mnist-small/b1/t1", "ibp/a-b/b1/t1": "BenchmarkIBP/a-b/b1/t1", "edge/m/b1/t1": "BenchmarkEdge/m/b1/t1",
	} {
		assert.Equal(t, want, benchmarkName(row))
	}
}
