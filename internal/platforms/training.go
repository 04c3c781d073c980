package main

import (
	"fmt"

	"github.com/epsball/epsball/model"
	"github.com/epsball/epsball/train"
)

// training takes the weights after some steps of each objective.
func training(p *printer) error {
	for _, method := range train.Methods() {
		c := train.DefaultConfig(method)
		c.Epochs, c.BatchSize, c.LR = 2, 12, 3e-3
		if method.Radius() {
			c.WarmupEpochs, c.RampEpochs = 0, 1
		}
		if c.PGDSteps > 0 {
			c.PGDSteps = 2
		}
		if err := trained(p, c); err != nil {
			return err
		}
	}
	perturbed := train.DefaultConfig(train.TRADES)
	perturbed.Epochs, perturbed.BatchSize, perturbed.LR, perturbed.RampEpochs, perturbed.PGDSteps = 2, 12, 3e-3, 1, 2
	perturbed.AWP, perturbed.LabelSmoothing = 0.01, 0.1
	return trained(p, perturbed)
}

// optimisers does so with each optimiser, and all that goes with it.
func optimisers(p *printer) error {
	for _, set := range []func(c *train.Config){
		func(c *train.Config) {
			c.Optimizer, c.Momentum, c.Nesterov, c.Schedule, c.Average = "sgd", 0.9, true, "one-cycle", "ema"
			c.Shift, c.Flip = 2, true
		},
		func(c *train.Config) {
			c.Optimizer, c.WeightDecay, c.Clip, c.Schedule, c.RampShape = "adamw", 0.1, 0.1, "cosine", "smooth"
			c.Validation, c.Keep, c.BatchSize = 0.25, "best", 6
		},
		func(c *train.Config) {
			c.WeightDecay, c.L1, c.Schedule, c.Average, c.AverageStart = 0.01, 1e-3, "step", "swa", 0.5
		},
	} {
		c := train.DefaultConfig(train.PGD)
		c.Epochs, c.BatchSize, c.LR, c.PGDSteps, c.RampEpochs = 3, 12, 3e-3, 1, 2
		set(&c)
		if err := trained(p, c); err != nil {
			return err
		}
	}
	return nil
}

// trained trains on 24 digits.
func trained(p *printer, c train.Config) error {
	x, err := digits(24)
	if err != nil {
		return err
	}
	m, err := model.Random(&model.Architecture{Name: "trained", Input: model.Shape{C: 1, H: 28, W: 28}, Layers: []model.Layer{
		{Kind: model.Conv, Out: 3, Kernel: [2]int{5, 5}, Stride: [2]int{4, 4}}, {Kind: model.ReLU}, {Kind: model.FC, Out: 10},
	}}, 1)
	if err != nil {
		return err
	}
	c.Threads = 2
	t, err := train.New(m, x, c)
	if err != nil {
		return err
	}
	after, history, err := t.Run(ctx)
	if err != nil {
		return err
	}
	p.text(after.Hash())
	for _, e := range history {
		p.float64(e.Loss)
		p.float64(e.LR)
		if v := e.Validation; v != nil {
			p.float64(v.PGD)
			p.float64(v.Certified)
		}
	}
	p.note = fmt.Sprintf("loss %.6g", history[len(history)-1].Loss)
	return nil
}
