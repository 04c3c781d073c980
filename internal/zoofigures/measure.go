package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"

	"github.com/epsball/epsball/attack"
	"github.com/epsball/epsball/audit"
	"github.com/epsball/epsball/internal/input"
	"github.com/epsball/epsball/kernels"
	"github.com/epsball/epsball/model"
	"github.com/epsball/epsball/net"
	"github.com/epsball/epsball/report"
	"github.com/epsball/epsball/verify"
	"github.com/epsball/epsball/zoo"
)

// block is the number of images that are proved at once. Of models larger than manyBytes whose
// images intervals do not prove, fewer are attacked, and only the slopes of the margins' rows
// are optimised: those of all neurons take many seconds an image.
const (
	block     = 64
	manyBytes = 2 << 20
)

// measure attacks and certifies a model on the first n of its test images (0: all), at the
// radius of its card.
func measure(ctx context.Context, name, images string, n int) (*Figures, error) {
	m, err := load(name)
	if err != nil {
		return nil, err
	}
	eps, err := net.ParseEpsilon(m.Card[report.CardEps])
	if err != nil {
		return nil, fmt.Errorf("card: %w", err)
	}
	d := input.Data{Spec: "builtin:mnist", N: n}
	if m.Card[report.CardTestData] != d.Spec {
		if d.Spec = images; images == "" {
			return nil, fmt.Errorf("-images: required: a folder like the %s of its card", m.Card[report.CardTestData])
		}
	}
	isa, err := kernels.Choose("")
	if err != nil {
		return nil, err
	}
	if err := d.Load(m, name); err != nil {
		return nil, err
	}
	s, err := input.NewSubject(m, name, &d, isa, runtime.GOMAXPROCS(0))
	if err != nil {
		return nil, err
	}
	defer s.Pool.Close()
	ball := net.Ball{Norm: net.Linf, Eps: eps}
	progress := func(pass string, done, total int) {
		fmt.Fprintf(os.Stderr, "\r%-40s %d/%d   ", name+" "+pass, done, total)
	}
	defer fmt.Fprintln(os.Stderr)
	fooled := make([]bool, len(s.Y)) // by any attack, of the images that were attacked last
	attacked := func(x []float32, y []int, with ...attack.Method) (*audit.Evaluation, error) {
		return audit.Evaluate(ctx, s.Net, s.Pool, x, y, audit.Options{
			Ball: ball, Attacks: with, Progress: progress,
			Found: func(_ context.Context, _ attack.Config, _ attack.Batch, res *attack.Result) {
				for i, success := range res.Success {
					fooled[i] = fooled[i] || success
				}
			},
		})
	}
	e, err := attacked(s.X, s.Y, attack.FGSM{}, attack.PGD{Steps: 40, Seed: 1})
	if err != nil {
		return nil, err
	}
	x, y := s.X, s.Y
	hard := e.Certified < 0.5 // for intervals: auto and the proofs take about a second an image
	big := m.Bytes() > manyBytes
	if hard {
		some := 1000
		if big {
			some = 500
		}
		x, y = thin(x, y, some)
		clear(fooled)
	}
	auto, err := attacked(x, y, attack.Auto{})
	if err != nil {
		return nil, err
	}
	// What an attack has fooled cannot be proved, and trying takes longest.
	total := len(y)
	x, y = those(x, y, func(i int) bool { return !fooled[i] })
	v, err := verify.New(s.Net, s.Pool)
	if err != nil {
		return nil, err
	}
	v.JoinBalls()
	how := verify.Options{Method: verify.MethodAlphaCROWN, Ladder: true, RowsOnly: hard && big}
	p, err := audit.NewProving(v, x, y, audit.ProveOptions{Eps: eps, How: how, Block: block, Progress: progress})
	if err != nil {
		return nil, err
	}
	if err := p.Run(ctx); err != nil {
		return nil, err
	}
	certified := 0
	for i := range y {
		if p.Certified(i) {
			certified++
		}
	}
	return &Figures{
		Name: name, Hash: m.Hash(), Data: m.Card[report.CardTestData], Eps: eps.String(), N: e.N,
		Clean: e.Clean, FGSM: e.Attacks[0].Robust, PGD: e.Attacks[1].Robust, Auto: auto.Attacks[0].Robust,
		Intervals: e.Certified, Certified: float64(certified) / float64(total), HardN: total,
	}, nil
}

// thin returns at most n of the images, evenly apart: a set may be in the order of its
// classes.
func thin(x []float32, y []int, n int) ([]float32, []int) {
	step := (len(y) + n - 1) / n
	return those(x, y, func(i int) bool { return i%step == 0 })
}

// those returns the images that are wanted, and their labels.
func those(x []float32, y []int, wanted func(i int) bool) (someX []float32, someY []int) {
	for i := range y {
		if wanted(i) {
			someX, someY = append(someX, x[i*len(x)/len(y):(i+1)*len(x)/len(y)]...), append(someY, y[i])
		}
	}
	return someX, someY
}

// load returns a model that is embedded or in the folder.
func load(name string) (*model.Model, error) {
	if slices.Contains(zoo.Names(), name) {
		return zoo.Load(name)
	}
	return model.Load(filepath.Join(folder, name+".safetensors"))
}
