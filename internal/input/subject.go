package input

import (
	"context"
	"fmt"
	"slices"

	"github.com/epsball/epsball/attack"
	"github.com/epsball/epsball/audit"
	"github.com/epsball/epsball/dataset"
	"github.com/epsball/epsball/kernels"
	"github.com/epsball/epsball/model"
	"github.com/epsball/epsball/net"
)

// Subject is one model with data that fits it, ready to run.
type Subject struct {
	Name  string
	Model *model.Model
	Net   *net.Network // for all passes
	Pool  *kernels.Pool

	Defended attack.Target // Net behind a defence; nil: there is none

	X []float32
	Y []int
}

// NewSubject compiles a model for data already loaded.
func NewSubject(m *model.Model, spec string, d *Data, isa *kernels.ISA, threads int) (*Subject, error) {
	set, err := d.Fit(m, spec)
	if err != nil {
		return nil, err
	}
	n, err := net.Compile(m, net.Options{ISA: isa.Name(), Backward: true})
	if err != nil {
		return nil, err
	}
	return &Subject{Name: Name(spec), Model: m, Net: n, Pool: kernels.NewPool(threads), X: set.X, Y: set.Y}, nil
}

// Widest returns the index of the model that says most of the images that all share: a
// vector says less than an image.
func Widest(models []*model.Model) int {
	return max(0, slices.IndexFunc(models, func(m *model.Model) bool {
		return max(m.Arch.Input.C, m.Arch.Input.H, m.Arch.Input.W) < m.Arch.Input.Size()
	}))
}

// Target is the network as deployed.
func (s *Subject) Target() attack.Target {
	if s.Defended != nil {
		return s.Defended
	}
	return s.Net
}

// Predict returns the class of each of n images, −1 where the logits hold NaN.
func (s *Subject) Predict(ctx context.Context, x []float32, n int) ([]int, error) {
	return audit.Predict(ctx, s.Target(), s.Pool, x, n)
}

// PredictAt is Predict for images of the data set at certain places, which pick the
// random numbers of a defence that draws any.
func (s *Subject) PredictAt(ctx context.Context, x []float32, index []int) ([]int, error) {
	return attack.Predict(ctx, s.Target(), s.Pool, attack.Batch{X: x, Index: index})
}

// FillLabels gives images without a label the class predicted for them; offset
// is the index of the first image.
func (s *Subject) FillLabels(ctx context.Context, offset int) error {
	y := append([]int{}, s.Y...)
	var pred []int
	for i, label := range y {
		if label != dataset.Unknown {
			continue
		}
		if pred == nil {
			var err error
			if pred, err = attack.Predict(ctx, s.Target(), s.Pool, attack.Batch{X: s.X, First: offset}); err != nil {
				return err
			}
		}
		if pred[i] < 0 {
			return fmt.Errorf("image %d: no label, and the model's logits are NaN", offset+i)
		}
		y[i] = pred[i]
	}
	s.Y = y
	return nil
}
