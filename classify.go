package epsball

import (
	"context"
	"fmt"

	"github.com/epsball/epsball/net"
)

// Prediction is the outcome of Classify.
type Prediction struct {
	Label  []int     // class of each image, the first of equals; −1 if a logit is NaN
	Logits []float32 // images × classes
}

// Classify predicts the class of each image of x. It does not read labels.
func (m *Model) Classify(ctx context.Context, x Batch) (*Prediction, error) {
	p := new(Prediction)
	return p, m.ClassifyInto(ctx, x, p)
}

// ClassifyInto is Classify into memory that is used again. From the second call on with
// a p for as many images, it allocates nothing.
func (m *Model) ClassifyInto(ctx context.Context, x Batch, p *Prediction) error {
	n, err := m.images(x)
	if err != nil {
		return err
	}
	c := m.net.Classes()
	if cap(p.Label) < n || cap(p.Logits) < n*c {
		p.Label, p.Logits = make([]int, n), make([]float32, n*c)
	}
	p.Label, p.Logits = p.Label[:n], p.Logits[:n*c]
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.runner.Logits(ctx, p.Logits, x.X, n); err != nil {
		return err
	}
	for i := range p.Label {
		p.Label[i] = net.Argmax(p.Logits[i*c : (i+1)*c])
	}
	return nil
}

// images returns the number of images of x.
func (m *Model) images(x Batch) (int, error) {
	size := m.net.Input().Size()
	if len(x.X)%size != 0 {
		return 0, fmt.Errorf("images: %d values, want a multiple of %d, one image of %v", len(x.X), size, m.net.Input())
	}
	return len(x.X) / size, nil
}

// check refuses what no ball or no label goes with.
func (m *Model) check(x Batch, b Ball) error {
	if b.err != nil {
		return b.err
	}
	n, err := m.images(x)
	if err == nil && len(x.Y) != n {
		err = fmt.Errorf("labels: %d, want one for each of %d images", len(x.Y), n)
	}
	return err
}
