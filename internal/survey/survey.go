// Package survey looks at models from all sides, on the same images: what the page of
// report shows.
package survey

import (
	"context"
	"fmt"
	"maps"
	"math"
	"slices"
	"time"

	"github.com/epsball/epsball/attack"
	"github.com/epsball/epsball/audit"
	"github.com/epsball/epsball/internal/input"
	"github.com/epsball/epsball/model"
	"github.com/epsball/epsball/net"
	"github.com/epsball/epsball/report"
	"github.com/epsball/epsball/verify"
)

// Options say how a survey is made.
type Options struct {
	Norm    net.Norm
	Eps     net.Epsilon
	Radii   []net.Epsilon   // ascending, Eps among them
	Attacks []attack.Method // at least one; the last is taken for the strongest

	// How says by which method is proved, at multiples of Resolution up to the last of
	// Radii.
	How        verify.Options
	Resolution net.Epsilon

	Checks     audit.Level
	Surrogates func(s *input.Subject) ([]audit.Surrogate, error) // for the checks; nil: none

	Gallery int         // number of images shown
	Shape   model.Shape // of images as pictures
	First   int         // index of the first image

	// Progress, if not nil, is called from any goroutine.
	Progress func(model, pass string, done, total int)
}

// Validate names the first field that makes no sense.
func (o *Options) Validate() error {
	switch {
	case len(o.Attacks) == 0:
		return fmt.Errorf("attacks: none, want at least one")
	case o.Resolution.IsZero():
		return fmt.Errorf("resolution: got 0, want more")
	case o.Gallery < 0:
		return fmt.Errorf("gallery: got %d, want at least 0", o.Gallery)
	case !slices.ContainsFunc(o.Radii, func(r net.Epsilon) bool { return r.Cmp(o.Eps) == 0 }):
		return fmt.Errorf("radii: want %s among them", o.Eps)
	case !slices.IsSortedFunc(o.Radii, net.Epsilon.Cmp):
		return fmt.Errorf("radii: want them ascending")
	}
	for _, r := range o.Radii {
		if err := (net.Ball{Norm: o.Norm, Eps: r}).Validate(); err != nil {
			return fmt.Errorf("radii: %w", err)
		}
	}
	return nil
}

// ball is that of a radius.
func (o *Options) ball(at int) net.Ball { return net.Ball{Norm: o.Norm, Eps: o.Radii[at]} }

// at is the place of Eps.
func (o *Options) at() int {
	return slices.IndexFunc(o.Radii, func(r net.Epsilon) bool { return r.Cmp(o.Eps) == 0 })
}

// Run looks at all subjects, which have the same images and labels, and fills in page but
// for its envelope. If ctx ends, the page holds what was done, names what was left, and
// the error is the context's; else an error leaves a page that is not to be used. An image
// both attacked and certified is an *audit.Contradiction.
func Run(ctx context.Context, subjects []*input.Subject, o Options, page *report.Page) error {
	if err := o.Validate(); err != nil {
		return err
	}
	if len(subjects) == 0 {
		return fmt.Errorf("models: none, want at least one")
	}
	if o.Progress == nil {
		o.Progress = func(string, string, int, int) {}
	}
	began := time.Now()
	s := &survey{Options: o, page: page}
	s.describe(subjects)
	err := s.run(ctx)
	page.Timings.Seconds = time.Since(began).Seconds()
	return err
}

// survey is one under way.
type survey struct {
	Options
	page  *report.Page
	looks []*look
}

// describe fills in what is known before anything runs.
func (s *survey) describe(subjects []*input.Subject) {
	p, one := s.page, subjects[0]
	p.Norm, p.Eps, p.EpsExact = s.Norm.String(), s.Eps.Float64(), s.Eps.String()
	p.N, p.Offset, p.Classes, p.Input = len(one.Y), s.First, one.Net.Classes(), s.Shape.String()
	p.Radii, p.Attacks = []report.PageRadius{}, []string{}
	for _, r := range s.Radii {
		exact := r.String()
		if r.Cmp(s.Eps) == 0 {
			exact = p.EpsExact
		}
		p.Radii = append(p.Radii, report.PageRadius{Eps: r.Float64(), Exact: exact})
	}
	for _, m := range s.Attacks {
		p.Attacks = append(p.Attacks, m.String())
	}
	p.Bounds, p.Resolution = s.How.Method.String(), s.Resolution.Float64()
	p.Tried, _ = s.Radii[len(s.Radii)-1].Steps(s.Resolution, math.MaxInt32)
	p.Gain = 5
	if s.Norm == net.Linf && !s.Eps.IsZero() {
		p.Gain = 0.5 / p.Eps // the largest change is just black or white
	}
	p.Images, p.Models, p.Timings = []report.PageImage{}, make([]report.PageModel, len(subjects)), &report.PageTimings{Models: make([]report.PageTiming, len(subjects))}
	for i, sub := range subjects {
		m := &p.Models[i]
		m.Network = report.Describe(sub.Name, &sub.Model.Arch)
		m.Hash, m.Card = sub.Model.Hash(), maps.Clone(sub.Model.Card)
		delete(m.Card, report.CardHistory) // that of PageModel.History
		p.Timings.Models[i].Steps = make([]float64, len(s.Attacks))
		s.looks = append(s.looks, newLook(s, sub, m, &p.Timings.Models[i]))
	}
}

// pass is a part of the work that ^C leaves done or undone.
type pass struct {
	look *look
	name string
	run  func(ctx context.Context) error
}

// run runs all passes. The cheap ones come first, for all models.
func (s *survey) run(ctx context.Context) error {
	var passes []pass
	each := func(name string, run func(l *look) func(context.Context) error) {
		for _, l := range s.looks {
			passes = append(passes, pass{l, name, run(l)})
		}
	}
	each("clean", func(l *look) func(context.Context) error { return l.clean })
	passes = append(passes, pass{nil, "images", s.choose})
	each("first layer", func(l *look) func(context.Context) error { return l.filters })
	each("gradients", func(l *look) func(context.Context) error { return l.gradients })
	for _, l := range s.looks {
		passes = append(passes, l.passes()...)
	}
	for k, p := range passes {
		err := p.run(ctx)
		if err == nil {
			continue
		}
		if ctx.Err() == nil {
			return p.failed(err)
		}
		for _, left := range passes[k:] {
			s.page.Left = append(s.page.Left, left.text())
		}
		for _, l := range s.looks {
			l.report()
		}
		return ctx.Err()
	}
	return nil
}

// text names a pass in a list.
func (p *pass) text() string {
	if p.look == nil {
		return p.name
	}
	return p.look.s.Name + ": " + p.name
}

func (p *pass) failed(err error) error {
	if p.look == nil {
		return err
	}
	return fmt.Errorf("model %s: %w", p.look.s.Name, err)
}
