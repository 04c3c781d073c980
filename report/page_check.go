package report

import (
	"bytes"
	"fmt"
	"image/png"

	"github.com/epsball/epsball/audit"
)

// Check names the first field of a page, one read from a file, that fits no other or
// cannot be drawn.
func (r *Page) Check() error {
	switch {
	case r.N < 1:
		return fmt.Errorf("n: got %d, want at least 1", r.N)
	case r.Classes < 2:
		return fmt.Errorf("classes: got %d, want at least 2", r.Classes)
	case len(r.Models) == 0:
		return fmt.Errorf("models: none, want at least one")
	case len(r.Attacks) == 0:
		return fmt.Errorf("attacks: none, want at least one")
	case !(r.Resolution > 0):
		return fmt.Errorf("resolution: got %g, want more than 0", r.Resolution)
	case r.Tried < 0 || r.Tried > maxTried:
		return fmt.Errorf("tried: got %d, want 0 … %d", r.Tried, maxTried)
	case r.At() < 0:
		return fmt.Errorf("radii: want eps_exact, %q, among them", r.EpsExact)
	}
	for k, radius := range r.Radii {
		if !(radius.Eps > 0) || k > 0 && radius.Eps <= r.Radii[k-1].Eps {
			return fmt.Errorf("radii[%d]: got %g, want them above 0 and ascending", k, radius.Eps)
		}
	}
	for k := range r.Images {
		if err := r.Images[k].Picture.check(); err != nil {
			return fmt.Errorf("images[%d].picture: %w", k, err)
		}
	}
	for k := range r.Models {
		if err := r.checkModel(&r.Models[k]); err != nil {
			return fmt.Errorf("models[%d].%w", k, err)
		}
	}
	if t := r.Timings; t != nil {
		if len(t.Models) != len(r.Models) {
			return fmt.Errorf("timings.models: got %d, want one a model, %d", len(t.Models), len(r.Models))
		}
		for k := range t.Models {
			if len(t.Models[k].Steps) != len(r.Attacks) {
				return fmt.Errorf("timings.models[%d].attack_steps: got %d, want one an attack, %d", k, len(t.Models[k].Steps), len(r.Attacks))
			}
		}
	}
	return nil
}

// maxTried bounds the length of a curve of radii.
const maxTried = 1 << 20

func (r *Page) checkModel(m *PageModel) error {
	if err := checkFraction(m.Clean); err != nil {
		return fmt.Errorf("clean: %w", err)
	}
	if m.Points != nil && len(m.Points) != len(r.Radii) {
		return fmt.Errorf("points: got %d, want one a radius, %d", len(m.Points), len(r.Radii))
	}
	for k := range m.Points {
		p := &m.Points[k]
		if len(p.NotFooled) != len(r.Attacks) {
			return fmt.Errorf("points[%d].not_fooled: got %d, want one an attack, %d", k, len(p.NotFooled), len(r.Attacks))
		}
		for _, f := range append([]*float64{p.Standing, p.Certified}, p.NotFooled...) {
			if err := checkFraction(f); err != nil {
				return fmt.Errorf("points[%d]: %w", k, err)
			}
		}
		if p.Standing != nil && p.Certified != nil && *p.Certified > *p.Standing {
			return fmt.Errorf("points[%d]: got certified %g and standing %g, which contradict each other", k, *p.Certified, *p.Standing)
		}
	}
	if m.Certified != nil && len(m.Certified) != r.N {
		return fmt.Errorf("certified_radii: got %d, want one an image, %d", len(m.Certified), r.N)
	}
	for k, steps := range m.Certified {
		if steps < -1 || steps > r.Tried {
			return fmt.Errorf("certified_radii[%d]: got %d, want −1 … %d", k, steps, r.Tried)
		}
	}
	if m.Confusion != nil && len(m.Confusion) != r.Classes {
		return fmt.Errorf("confusion: got %d rows, want one a class, %d", len(m.Confusion), r.Classes)
	}
	for k, row := range m.Confusion {
		if len(row) != r.Classes+1 {
			return fmt.Errorf("confusion[%d]: got %d columns, want one a class and one, %d", k, len(row), r.Classes+1)
		}
		for _, n := range row {
			if n < 0 {
				return fmt.Errorf("confusion[%d]: got %d, want at least 0", k, n)
			}
		}
	}
	for k, c := range m.Checks {
		for j, f := range c.Checks {
			if _, ok := said[f.Verdict]; !ok {
				return fmt.Errorf("checks[%d].checks[%d].verdict: got %q, want one of %s, %s, %s, %s, %s", k, j, f.Verdict, audit.OK, audit.Warn, audit.Fail, audit.Stopped, audit.Skipped)
			}
		}
	}
	if h := m.History; h != nil && h.Why == "" {
		if err := checkEpochs(h.Epochs); err != nil {
			return fmt.Errorf("history: %w", err)
		}
	}
	return r.checkPictures(m)
}

// checkPictures looks at what a page shows as pictures.
func (r *Page) checkPictures(m *PageModel) error {
	if m.Gallery != nil && len(m.Gallery) != len(r.Images) {
		return fmt.Errorf("gallery: got %d, want one an image, %d", len(m.Gallery), len(r.Images))
	}
	for k := range m.Gallery {
		for _, p := range []*Picture{&m.Gallery[k].Adversarial, &m.Gallery[k].Difference} {
			if err := p.check(); err != nil {
				return fmt.Errorf("gallery[%d]: %w", k, err)
			}
		}
	}
	if g := m.Gradients; g != nil {
		if len(g.Pictures) != len(r.Images) {
			return fmt.Errorf("gradients.pictures: got %d, want one an image, %d", len(g.Pictures), len(r.Images))
		}
		for k := range g.Pictures {
			if err := g.Pictures[k].check(); err != nil {
				return fmt.Errorf("gradients.pictures[%d]: %w", k, err)
			}
		}
	}
	if f := m.Filters; f != nil && len(f.Shape) == 0 {
		return fmt.Errorf("filters.shape: none, want that of a weight")
	} else if f != nil && f.Why == "" {
		if err := f.Picture.check(); err != nil {
			return fmt.Errorf("filters.picture: %w", err)
		}
	}
	return nil
}

func checkFraction(f *float64) error {
	if f != nil && !(*f >= 0 && *f <= 1) {
		return fmt.Errorf("got %g, want a fraction, 0 … 1", *f)
	}
	return nil
}

// check decodes a picture: a page shows no other files.
func (p *Picture) check() error {
	img, err := png.DecodeConfig(bytes.NewReader(p.PNG))
	if err != nil {
		return fmt.Errorf("png: want a PNG file: %w", err)
	}
	if img.Width != p.Width || img.Height != p.Height {
		return fmt.Errorf("got a PNG file of %d×%d, want the width and height that are given, %d×%d", img.Width, img.Height, p.Width, p.Height)
	}
	return nil
}
