package page

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/epsball/epsball/internal/plot"
	"github.com/epsball/epsball/internal/show"
	"github.com/epsball/epsball/report"
)

// percent writes a fraction, "–" if it is not known.
func percent(f *float64) string {
	if f == nil {
		return show.Missing
	}
	return plot.Percent(*f)
}

// points writes a difference of fractions.
func points(f float64) string {
	t := strings.TrimSuffix(plot.Percent(f), "%")
	if t == "1" {
		return "1 point"
	}
	return t + " points"
}

// number writes up to three digits.
func number(v float64) string { return fmt.Sprintf("%.3g", v) }

// wilson is the 95 % interval of a fraction that was found on n images (Wilson 1927).
func wilson(f float64, n int) (lo, hi float64) {
	const z = 1.959963985
	m := float64(n)
	mid := (f + z*z/(2*m)) / (1 + z*z/m)
	half := z / (1 + z*z/m) * math.Sqrt(f*(1-f)/m+z*z/(4*m*m))
	return max(0, mid-half), min(1, mid+half)
}

// interval writes a fraction with its interval.
func interval(f *float64, n int) string {
	if f == nil {
		return show.Missing
	}
	lo, hi := wilson(*f, n)
	return fmt.Sprintf("%s (%.1f–%.1f)", plot.Percent(*f), 100*lo, 100*hi)
}

// ball names the ball of figures that show one radius.
func ball(r *report.Page) string { return fmt.Sprintf("ε = %s (%s)", r.EpsExact, r.Norm) }

// weakest is the lowest fraction that one of the attacks leaves, and its name.
func weakest(r *report.Page, m *report.PageModel) (left *float64, name string) {
	names := attackNames(r)
	for a, f := range r.Point(m).NotFooled {
		if f != nil && (left == nil || *f <= *left) {
			left, name = f, names[a]
		}
	}
	return left, name
}

func title(r *report.Page) string {
	if len(r.Models) == 1 {
		return "What " + r.Models[0].Name + " withstands"
	}
	return fmt.Sprintf("What %d models withstand", len(r.Models))
}

// lead says what the page is.
func lead(r *report.Page) string {
	return fmt.Sprintf("On %s: what is classified correctly, what attacks leave of that in the ball of %s, and what is proved.", images(r), ball(r))
}

// trained says how a model was trained, as its card has it.
func trained(m *report.PageModel) string {
	method, eps := m.Card[report.CardMethod], m.Card[report.CardEps]
	switch {
	case method == "":
		return show.Missing
	case eps == "" || eps == "0" || method == "standard":
		return method
	}
	return method + ", ε " + eps
}

// of makes a list of a sentence a model, without those that have nothing to say.
func of(r *report.Page, say func(m *report.PageModel) string) block {
	var b block
	for i := range r.Models {
		if s := say(&r.Models[i]); s != "" {
			b.List = append(b.List, s)
		}
	}
	return b
}

// tradeoffFound says what robustness costs here.
func tradeoffFound(r *report.Page) string {
	var accurate, robust *report.PageModel
	var most *float64
	for i := range r.Models {
		m := &r.Models[i]
		left, _ := weakest(r, m)
		if m.Clean == nil || left == nil {
			return ""
		}
		if accurate == nil || *m.Clean > *accurate.Clean {
			accurate = m
		}
		if most == nil || *left > *most || *left == *most && *m.Clean > *robust.Clean {
			robust, most = m, left
		}
	}
	if len(r.Models) < 2 {
		return ""
	}
	var ties []string
	for i := range r.Models {
		if left, _ := weakest(r, &r.Models[i]); *left == *most && &r.Models[i] != robust {
			ties = append(ties, r.Models[i].Name)
		}
	}
	_, name := weakest(r, robust)
	s := fmt.Sprintf("%s keeps the most, as do %s", robust.Name, join(ties))
	switch len(ties) {
	case 0:
		s = robust.Name + " keeps the most"
	case 1:
		s = fmt.Sprintf("%s keeps the most, as does %s", robust.Name, ties[0])
	}
	s += fmt.Sprintf(": %s are not fooled by %s.", percent(most), name)
	cost := *accurate.Clean - *robust.Clean
	if cost <= 0 {
		return s + fmt.Sprintf(" No model here classifies more images correctly than its %s.", percent(robust.Clean))
	}
	other, otherName := weakest(r, accurate)
	s += fmt.Sprintf(" It classifies %s of the images correctly, %s less than the most accurate model, %s, of which %s leaves %s.",
		percent(robust.Clean), points(cost), accurate.Name, otherName, percent(other))
	if lo, _ := wilson(*accurate.Clean, r.N); *robust.Clean >= lo {
		s += fmt.Sprintf(" A difference in clean accuracy as small as that may be chance on %s.", show.Count(r.N, "image"))
	}
	return s
}

// securityFound says where a model's accuracy goes, and how much is open.
func securityFound(r *report.Page) block {
	return of(r, func(m *report.PageModel) string {
		var half string
		wide, at := 0.0, -1
		for k := range m.Points {
			p := &m.Points[k]
			if p.Standing == nil {
				continue
			}
			if half == "" && *p.Standing < *m.Clean/2 {
				half = fmt.Sprintf("%s: from ε = %s on, attacks fool more than half of the images that it classifies correctly", m.Name, r.Radii[k].Exact)
			}
			if p.Certified != nil && *p.Standing-*p.Certified > wide {
				wide, at = *p.Standing-*p.Certified, k
			}
		}
		if half == "" {
			if m.Points == nil || m.Points[len(m.Points)-1].Standing == nil {
				return ""
			}
			half = fmt.Sprintf("%s: up to ε = %s, attacks fool less than half of the images that it classifies correctly", m.Name, r.Radii[len(r.Radii)-1].Exact)
		}
		if at < 0 {
			return half + ". Every image is either fooled or proved."
		}
		return half + fmt.Sprintf(". The gap to what is certified is widest at ε = %s: %s.", r.Radii[at].Exact, points(wide))
	})
}

// radiiFound tells the middle of the certified radii.
func radiiFound(r *report.Page) block {
	return of(r, func(m *report.PageModel) string {
		if m.Certified == nil {
			return ""
		}
		at, top := median(m.Certified), 0
		for _, k := range m.Certified {
			if k == r.Tried {
				top++
			}
		}
		s := fmt.Sprintf("%s: half of the images have a certified radius of %s or more", m.Name, number(float64(max(0, at))*r.Resolution))
		if at <= 0 {
			s = fmt.Sprintf("%s: for half of the images no radius above 0 is proved", m.Name)
		}
		if top > 0 {
			s += fmt.Sprintf(", and %s the largest one that was tried", show.Count(top, "image"))
		}
		return s + "."
	})
}

// median is a value that at least half of the list reaches.
func median(list []int) int {
	return slices.Sorted(slices.Values(list))[len(list)/2]
}

// trainingFound tells how training ended.
func trainingFound(r *report.Page) block {
	return of(r, func(m *report.PageModel) string {
		h := m.History
		switch {
		case h == nil:
			return m.Name + ": no history recorded."
		case len(h.Epochs) == 0:
			return m.Name + ": the history in its card cannot be read: " + h.Why + "."
		}
		first, last := &h.Epochs[0], &h.Epochs[len(h.Epochs)-1]
		s := fmt.Sprintf("%s: %s", m.Name, show.Count(len(h.Epochs), "epoch"))
		if first.Loss != 0 || last.Loss != 0 {
			s += fmt.Sprintf(", loss from %s to %s", number(first.Loss), number(last.Loss))
		}
		if last.Clean > 0 {
			s += fmt.Sprintf(". In the last epoch, %s of the training images are classified correctly", percent(&last.Clean))
		}
		if v := last.Validation; v != nil {
			s += fmt.Sprintf(". Of %s held back, %s are classified correctly, %s are not fooled by PGD, and %s are certified", show.Count(v.Images, "image"), percent(&v.Clean), percent(&v.PGD), percent(&v.Certified))
		}
		return s + "."
	})
}

// galleryFound counts the images that are fooled.
func galleryFound(r *report.Page) block {
	return of(r, func(m *report.PageModel) string {
		if len(m.Gallery) == 0 {
			return ""
		}
		fooled, sure := 0, 0.0
		for k := range m.Gallery {
			if g := &m.Gallery[k]; g.Fooled {
				fooled++
				sure += g.After
			}
		}
		s := fmt.Sprintf("%s is fooled on %d of %s", m.Name, fooled, show.Count(len(m.Gallery), "image"))
		if fooled > 0 {
			s += fmt.Sprintf("; its mean confidence in the wrong class is %s", plot.Percent(round(sure/float64(fooled))))
		}
		return s + "."
	})
}

// round keeps three digits after the point.
func round(v float64) float64 { return math.Round(1000*v) / 1000 }

// confusionFound tells what is taken for what most often.
func confusionFound(r *report.Page) block {
	return of(r, func(m *report.PageModel) string {
		if m.Confusion == nil {
			return ""
		}
		wrong, most, from, to := 0, 0, 0, 0
		for y, row := range m.Confusion {
			for k, n := range row {
				if k == y {
					continue
				}
				wrong += n
				if n > most {
					most, from, to = n, y, k
				}
			}
		}
		if wrong == 0 {
			return m.Name + " misclassifies no image."
		}
		other := fmt.Sprint(to)
		if to == r.Classes {
			other = "no class, because its logits are no numbers"
		}
		return fmt.Sprintf("%s misclassifies %s. Most often, label %d is taken for %s (%s).", m.Name, show.Count(wrong, "image"), from, other, show.Count(most, "time"))
	})
}
