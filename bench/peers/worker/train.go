package main

import (
	"context"
	"errors"
	"slices"

	"github.com/epsball/epsball/dataset"
	"github.com/epsball/epsball/train"
)

const (
	// copies is how often the batch is repeated to make up a training set. The
	// trainer does more work once an epoch (it checks all weights); this makes
	// an epoch long enough for that not to count.
	copies = 16

	// timedLR is the learning rate of the steps that are timed: so small that
	// thousands of them on one batch leave the work as it is, with no gradient
	// vanishing into denormal numbers.
	timedLR = 1e-6
)

// trainSteps lets a trainer take one step a call: its progress callback waits
// for the next call.
func trainSteps(b *batch) (*pass, error) {
	first, err := firstLosses(b)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	call, done, ended := make(chan struct{}), make(chan error, 1), make(chan struct{})
	c := b.trainConfig(1<<20, timedLR)
	c.Progress = func(train.Progress) {
		done <- nil
		<-call
	}
	t, err := train.New(b.model, repeated(b.data, copies), c)
	if err != nil {
		cancel()
		return nil, err
	}
	go func() {
		defer close(ended)
		<-call
		_, _, err := t.Run(ctx)
		done <- err
	}()
	step := func() error {
		select {
		case call <- struct{}{}:
			return <-done
		case <-ended:
			return errors.New("training has ended")
		}
	}
	end := func() {
		cancel()
		_ = step() // the trainer notices that ctx has ended
		<-ended
		b.pool.Close()
	}
	if err := step(); err != nil {
		end()
		return nil, err
	}
	return &pass{first: first, run: step, close: end}, nil
}

// firstLosses takes two steps on the batch alone, an epoch each.
func firstLosses(b *batch) ([]float32, error) {
	t, err := train.New(b.model, b.data, b.trainConfig(2, b.LR))
	if err != nil {
		return nil, err
	}
	_, epochs, err := t.Run(context.Background())
	if err != nil {
		return nil, err
	}
	var losses []float32
	for _, e := range epochs {
		losses = append(losses, float32(e.Loss))
	}
	return losses, nil
}

func (b *batch) trainConfig(epochs int, lr float64) train.Config {
	c := train.DefaultConfig(train.Standard)
	c.Epochs, c.BatchSize, c.Threads = epochs, b.data.Len(), b.Threads
	c.LR, c.LRFinal, c.Winograd = lr, lr, b.Winograd
	return c
}

func repeated(s *dataset.Set, n int) *dataset.Set {
	r := *s
	r.X, r.Y = slices.Repeat(s.X, n), slices.Repeat(s.Y, n)
	return &r
}
