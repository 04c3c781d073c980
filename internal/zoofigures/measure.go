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

// block is the number of images that are proved at once.
const block = 64

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
	fooled := make([]bool, len(s.Y)) // by any attack
	e, err := audit.Evaluate(ctx, s.Net, s.Pool, s.X, s.Y, audit.Options{
		Ball: ball, Attacks: []attack.Method{attack.FGSM{}, attack.PGD{Steps: 40, Seed: 1}, attack.Auto{}}, Progress: progress,
		Found: func(_ context.Context, _ attack.Config, _ attack.Batch, res *attack.Result) {
			for i, success := range res.Success {
				fooled[i] = fooled[i] || success
			}
		},
	})
	if err != nil {
		return nil, err
	}
	v, err := verify.New(s.Net, s.Pool)
	if err != nil {
		return nil, err
	}
	how := verify.Options{Method: verify.MethodAlphaCROWN}
	p, err := audit.NewProving(v, s.X, s.Y, audit.ProveOptions{Eps: eps, How: how, Block: block, Progress: progress})
	if err != nil {
		return nil, err
	}
	if err := p.Run(ctx); err != nil {
		return nil, err
	}
	certified := 0
	for i := range s.Y {
		switch {
		case p.Certified(i) && fooled[i]:
			return nil, &audit.Contradiction{Image: i, Ball: ball}
		case p.Certified(i):
			certified++
		}
	}
	return &Figures{
		Name: name, Hash: m.Hash(), Data: m.Card[report.CardTestData], Eps: eps.String(), N: e.N,
		Clean: e.Clean, FGSM: e.Attacks[0].Robust, PGD: e.Attacks[1].Robust, Auto: e.Attacks[2].Robust,
		Intervals: e.Certified, Certified: float64(certified) / float64(e.N),
	}, nil
}

// load returns a model that is embedded or in the folder.
func load(name string) (*model.Model, error) {
	if slices.Contains(zoo.Names(), name) {
		return zoo.Load(name)
	}
	return model.Load(filepath.Join(folder, name+".safetensors"))
}
