package main

import (
	"context"
	"fmt"

	"github.com/epsball/epsball/attack"
	"github.com/epsball/epsball/dataset"
	"github.com/epsball/epsball/kernels"
	"github.com/epsball/epsball/model"
	"github.com/epsball/epsball/net"
	"github.com/epsball/epsball/smooth"
	"github.com/epsball/epsball/verify"
)

// pass is something to time. first is what the first run gave.
type pass struct {
	first    []float32
	run      func() error
	close    func()
	winograd bool
}

// passes prepare a pass, run it once, and return it. Their first result:
//
//	forward   logits, [n][classes]
//	pgd-step  the images after one step from themselves, channels first
//	pgd       1 for each image the attack fools, else 0
//	ibp       lower bound of each image's smallest margin; so crown-ibp, crown and alpha-crown
//	train     the mean losses of two steps, the second after an update
//	smooth    the share of each class in the votes of so many noisy samples of the first image
var passes = map[string]func(*batch) (*pass, error){
	"forward":  forward,
	"pgd-step": pgdStep,
	"pgd":      pgd,
	"ibp":      bounds(verify.MethodIBP),

	"crown-ibp":   bounds(verify.MethodCROWNIBP),
	"crown":       bounds(verify.MethodCROWN),
	"alpha-crown": bounds(verify.MethodAlphaCROWN),
	"train":       trainSteps,
	"smooth":      smoothed,
}

// batch is what a pass works on.
type batch struct {
	*request
	model *model.Model
	net   *net.Network
	data  *dataset.Set
	ball  net.Ball
	pool  *kernels.Pool
}

func openPass(q *request) (*pass, error) {
	prepare, ok := passes[q.Pass]
	if !ok {
		return nil, fmt.Errorf("pass %q: unknown", q.Pass)
	}
	if q.Threads < 1 {
		return nil, fmt.Errorf("threads: %d, want at least 1", q.Threads)
	}
	b := &batch{request: q}
	var err error
	if b.model, err = model.Load(q.Model); err != nil {
		return nil, err
	}
	if b.data, err = dataset.LoadNPZ(q.Data); err != nil {
		return nil, err
	}
	if q.Eps != "" {
		if b.ball.Eps, err = net.ParseEpsilon(q.Eps); err != nil {
			return nil, err
		}
	}
	if b.net, err = net.Compile(b.model, net.Options{Backward: true, Winograd: q.Winograd}); err != nil {
		return nil, err
	}
	if err := b.net.CheckImages(b.data.X, b.data.Len()); err != nil {
		return nil, err
	}
	if err := b.net.CheckLabels(b.data.Y, b.data.Len()); err != nil {
		return nil, err
	}
	b.pool = kernels.NewPool(q.Threads)
	p, err := prepare(b)
	if err != nil {
		b.pool.Close()
		return nil, err
	}
	p.winograd = b.net.HasWinograd()
	return p, nil
}

// opened runs the pass for the first time.
func (b *batch) opened(run func() error, first func() []float32) (*pass, error) {
	if err := run(); err != nil {
		return nil, err
	}
	return &pass{first: first(), run: run, close: b.pool.Close}, nil
}

func forward(b *batch) (*pass, error) {
	r, ctx := b.net.NewRunner(b.pool), context.Background()
	logits := make([]float32, b.data.Len()*b.net.Classes())
	return b.opened(
		func() error { return r.Logits(ctx, logits, b.data.X, b.data.Len()) },
		func() []float32 { return logits })
}

// pgdStep is a step as an attack takes it, its images already in their slots.
func pgdStep(b *batch) (*pass, error) {
	in, n := b.net.Input(), b.data.Len()
	newAscent := func() (*attack.Ascent, net.Layout) {
		passes := attack.NewPasses(b.net, n, b.pool)
		return attack.NewAscent(b.net, passes, b.ball, net.CrossEntropy, float32(b.Step)), passes.Layout()
	}
	first, layout := newAscent()
	size, blocks := in.Size(), layout.Blocks(n)
	tensor := func() []float32 { return kernels.Alloc(layout.Len(blocks, size)) }
	x, lo, hi := tensor(), tensor(), tensor()
	for i := range n {
		layout.Pack(x, b.data.X[i*size:(i+1)*size], in, i)
	}
	b.ball.Box().Inner(lo, hi, x)
	run := func() error {
		first.Step(x, lo, hi, nil, b.data.Y, n)
		return nil
	}
	if layout == net.LaneGroups {
		ascents := []*attack.Ascent{first}
		for len(ascents) < b.pool.Workers() {
			another, _ := newAscent()
			ascents = append(ascents, another)
		}
		chunks := net.Chunks(b.net.ISA(), blocks, b.pool.Workers())
		chunk := func(worker, i int) {
			from, to := net.Chunk(blocks, chunks, i)
			cut := func(t []float32) []float32 { return t[from*kernels.Lanes*size : to*kernels.Lanes*size] }
			labels := b.data.Y[from*kernels.Lanes : min(to*kernels.Lanes, n)]
			ascents[worker].Step(cut(x), cut(lo), cut(hi), nil, labels, to-from)
		}
		run = func() error {
			b.pool.Run(chunks, chunk)
			return nil
		}
	}
	return b.opened(run, func() []float32 {
		out := make([]float32, n*size)
		for i := range n {
			layout.Unpack(out[i*size:(i+1)*size], x, in, i)
		}
		return out
	})
}

// pgd is the whole attack, random start and judgement of every point included.
func pgd(b *batch) (*pass, error) {
	c := attack.Config{Ball: b.ball, Method: attack.PGD{Steps: b.Steps, StepSize: b.Step, Seed: b.Seed}}
	a, err := attack.New(b.net, c, b.pool)
	if err != nil {
		return nil, err
	}
	in, ctx := attack.Batch{X: b.data.X, Y: b.data.Y}, context.Background()
	var res attack.Result
	return b.opened(
		func() error { return a.Run(ctx, in, &res) },
		func() []float32 {
			fooled := make([]float32, b.data.Len())
			for i := range fooled {
				if res.Label[i] != b.data.Y[i] {
					fooled[i] = 1
				}
			}
			return fooled
		})
}

// smoothed draws the samples of a prediction.
func smoothed(b *batch) (*pass, error) {
	o := smooth.Options{Samples: b.Samples, Seed: b.Seed}
	var err error
	if o.Sigma, err = net.ParseEpsilon(b.Sigma); err != nil {
		return nil, err
	}
	s, err := smooth.New(b.net, b.pool, o)
	if err != nil {
		return nil, err
	}
	ctx, x := context.Background(), smooth.Batch{X: b.data.Image(0)}
	var votes []int
	return b.opened(
		func() error {
			r, err := s.Predict(ctx, x)
			if err == nil {
				votes = r[0].Votes
			}
			return err
		},
		func() []float32 {
			shares := make([]float32, len(votes))
			for c, v := range votes {
				shares[c] = float32(v) / float32(b.Samples)
			}
			return shares
		})
}

// bounds gives those of one method alone, without the rungs below it.
func bounds(m verify.Method) func(*batch) (*pass, error) {
	return func(b *batch) (*pass, error) {
		v, err := verify.New(b.net, b.pool)
		if err != nil {
			return nil, err
		}
		o := verify.Options{Method: m, Iterations: b.Steps}
		if err := v.Prepare(o); err != nil {
			return nil, err
		}
		return b.margins(v, o)
	}
}

// margins is the certification of the batch by v.
func (b *batch) margins(v *verify.Verifier, o verify.Options) (*pass, error) {
	in, ctx := verify.Batch{X: b.data.X, Y: b.data.Y}, context.Background()
	var res verify.Result
	return b.opened(
		func() error { return v.Certify(ctx, o, b.ball, in, &res) },
		func() []float32 { return res.Margin })
}
