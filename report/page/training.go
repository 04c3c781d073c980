package page

import (
	"fmt"
	"strings"

	"github.com/epsball/epsball/internal/plot"
	"github.com/epsball/epsball/report"
	"github.com/epsball/epsball/train"
)

// training draws how all models were trained.
func training(r *report.Page) (list []named) {
	for i := range r.Models {
		list = append(list, trainingOf(&r.Models[i], i)...)
	}
	return list
}

// trainingOf draws how model i was trained: loss, accuracies, and what the schedules did.
func trainingOf(m *report.PageModel, i int) (list []named) {
	h := m.History
	if h == nil || len(h.Epochs) == 0 {
		return nil
	}
	chart := func(what, title string, y plot.Axis, series ...series) {
		c := &plot.Curves{Title: m.Name + ": " + strings.ToLower(title), X: plot.Axis{Label: "epoch"}, Y: y}
		for k, s := range series {
			if curve, ok := s.curve(h.Epochs, k+1); ok {
				c.Curves = append(c.Curves, curve)
			}
		}
		if len(c.Curves) > 0 {
			list = append(list, named{fmt.Sprintf("training-%d-%s", i+1, what), title, c, 0})
		}
	}
	fraction := plot.Axis{Label: "images", Max: 1, Format: plot.Percent}
	chart("loss", "Loss", plot.Axis{Label: "loss"}, series{"training loss", func(e *report.Epoch) float64 { return e.Loss }, false})
	chart("accuracy", "Accuracy", fraction,
		series{"training, clean", func(e *report.Epoch) float64 { return e.Clean }, false},
		series{"training, at the method's points", func(e *report.Epoch) float64 { return e.Robust }, false},
		series{"held back, clean", func(e *report.Epoch) float64 { return held(e).Clean }, true},
		series{"held back, PGD", func(e *report.Epoch) float64 { return held(e).PGD }, true},
		series{"held back, certified", func(e *report.Epoch) float64 { return held(e).Certified }, true})
	chart("radius", "Radius", plot.Axis{Label: "ε"}, series{"ε", func(e *report.Epoch) float64 { return e.Eps }, false})
	chart("rate", "Learning rate", plot.Axis{Label: "learning rate"}, series{"learning rate", func(e *report.Epoch) float64 { return e.LR }, false})
	return list
}

// held is what is known of images held back, zeros if nothing is.
func held(e *report.Epoch) train.Validation {
	if e.Validation == nil {
		return train.Validation{}
	}
	return *e.Validation
}

// series is one number of each epoch.
type series struct {
	name string
	of   func(e *report.Epoch) float64
	held bool // of images that were not trained on
}

// curve is that of a series; it is left out if all epochs have 0, which stands for what was not recorded.
func (s *series) curve(epochs []report.Epoch, color int) (c plot.Curve, ok bool) {
	c = plot.Curve{Name: s.name, Color: color, Dashed: s.held, Points: len(epochs) < 3}
	for k := range epochs {
		y := s.of(&epochs[k])
		c.X, c.Y = append(c.X, float64(epochs[k].Epoch)), append(c.Y, y)
		ok = ok || y != 0
	}
	return c, ok
}
