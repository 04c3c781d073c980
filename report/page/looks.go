package page

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/epsball/epsball/attack"
	"github.com/epsball/epsball/audit"
	"github.com/epsball/epsball/internal/plot"
	"github.com/epsball/epsball/internal/show"
	"github.com/epsball/epsball/report"
)

// Sizes of pictures, in pixels of the page.
const (
	smallPicture = 84
	tilePicture  = 280
)

func gallerySection(r *report.Page) (section, error) {
	s := section{ID: "section-gallery", Title: "Images under attack"}
	if r.NoPictures != "" || len(r.Images) == 0 {
		s.Blocks = text("No images are shown: " + or(r.NoPictures, "none were asked for") + ".")
		return s, nil
	}
	if !slices.ContainsFunc(r.Models, func(m report.PageModel) bool { return m.Gallery != nil }) {
		s.Blocks = text("There is nothing to show yet: the run was interrupted before.")
		return s, nil
	}
	s.Blocks = text(fmt.Sprintf("The images are the same for all models. The left picture of a model is the image after the strongest attack that fools the model at %s; if no attack does, it is the point that came closest. "+
		"The right picture is the difference from the original, amplified %s times around gray: dark pixels became darker, bright pixels brighter. The percentages are the model's confidence (softmax) in its prediction. It may be high and the prediction wrong.",
		ball(r), number(r.Gain)))
	s.Blocks = append(s.Blocks, galleryFound(r))
	var list []exhibit
	for k := range r.Images {
		img := &r.Images[k]
		e := exhibit{Title: fmt.Sprintf("Image %d, class %d", img.Index, img.Label), Original: shown(&img.Picture, smallPicture, fmt.Sprintf("Image %d as it is, label %d", img.Index, img.Label))}
		e.Original.Caption = fmt.Sprintf("label %d", img.Label)
		for i := range r.Models {
			m := &r.Models[i]
			if m.Gallery == nil {
				continue
			}
			g := &m.Gallery[k]
			what := fmt.Sprintf("image %d for %s", img.Index, m.Name)
			x := exhibited{Model: m.Name, Shots: []shot{
				shown(&g.Adversarial, smallPicture, fmt.Sprintf("The attacked %s, taken for a %s", what, class(g.Is))),
				shown(&g.Difference, smallPicture, fmt.Sprintf("Difference of %s, %s times amplified; the largest change is %s in norm %s", what, number(r.Gain), number(g.Distance), r.Norm)),
			}}
			before := fmt.Sprintf("%s (%s)", class(g.Was), plot.Percent(round(g.Before)))
			after := fmt.Sprintf("%s (%s)", class(g.Is), plot.Percent(round(g.After)))
			switch {
			case g.Was != img.Label:
				x.Text = fmt.Sprintf("wrong as it is: %s; after %s %s", before, methodName(g.Attack), after)
			case g.Fooled:
				x.Text, x.Flag = fmt.Sprintf("fooled by %s: %s → %s", methodName(g.Attack), before, after), true
			default:
				x.Text = fmt.Sprintf("not fooled: %s → %s", before, after)
			}
			e.Models = append(e.Models, x)
		}
		list = append(list, e)
	}
	s.Blocks = append(s.Blocks, block{Gallery: list})
	return s, nil
}

func or(s, empty string) string {
	if s == "" {
		return empty
	}
	return s
}

// class names a predicted class.
func class(k int) string {
	if k < 0 {
		return "nothing"
	}
	return fmt.Sprint(k)
}

// methodName is the name of a method without its options.
func methodName(text string) string {
	if s, err := attack.ParseSpec(text); err == nil {
		return s.Name
	}
	return text
}

func filtersSection(r *report.Page) (section, error) {
	s := section{ID: "section-filters", Title: "First layers", Blocks: text(
		"These are the filters of each model's first layer. Gray is 0, white is positive, black is negative; weights are scaled by the model's largest. If every pixel changes by at most ε, the output of a filter changes by at most ε·‖w‖₁. " +
			"Adversarial training on MNIST was seen to leave few filters that matter, and these pass single pixels on to a threshold (Madry et al. 2018).",
	)}
	s.Blocks = append(s.Blocks, of(r, func(m *report.PageModel) string {
		f := m.Filters
		if f == nil {
			return ""
		}
		return fmt.Sprintf("%s: the mean of ‖w‖₁ is %s over %s; %s of the weights are smaller than 1/20 of the largest.", m.Name, number(f.Reach), show.Count(f.Shape[0], "filter"), plot.Percent(round(f.Near)))
	}))
	var shots []shot
	for i := range r.Models {
		m := &r.Models[i]
		f := m.Filters
		switch {
		case f == nil:
			continue
		case f.Why != "":
			s.Blocks = append(s.Blocks, block{Text: m.Name + ": " + f.Why + "."})
			continue
		}
		p := shown(&f.Picture, tilePicture, fmt.Sprintf("%d filters of the first layer of %s, in rows of %d", f.Shown, m.Name, f.Columns))
		p.Name, p.Caption = m.Name, fmt.Sprintf("%d of %s, weights %s", f.Shown, show.Count(f.Shape[0], "filter"), show.Dims(f.Shape))
		shots = append(shots, p)
	}
	s.Blocks = append(s.Blocks, block{Shots: shots})
	return s, nil
}

func gradientsSection(r *report.Page) (section, error) {
	s := section{ID: "section-gradients", Title: "Which pixels matter", Blocks: text(
		"The pictures show the gradient of the margin loss (the largest other logit minus the logit of the label) to the pixels of the images above. White: brightening the pixel helps to fool the model. Black: darkening it does. Gray: the pixel does not matter. "+
			"Each picture is scaled by its largest value. Gradients of robust networks were seen to follow the shapes in the image, those of standard networks to look like noise (Tsipras et al. 2019).",
		"Margin and gradient also tell at which radius an image would be fooled if the network were linear. It is not, so this is a rough guess.")}
	s.Blocks = append(s.Blocks, of(r, func(m *report.PageModel) string {
		if m.Gradients == nil || m.Gradients.Linear == 0 {
			return ""
		}
		return fmt.Sprintf("%s: the median image would be fooled at ε = %s.", m.Name, number(m.Gradients.Linear))
	}))
	if len(r.Images) == 0 {
		return s, nil
	}
	for i := range r.Models {
		m := &r.Models[i]
		if m.Gradients == nil {
			continue
		}
		var shots []shot
		for k := range m.Gradients.Pictures {
			img := &r.Images[k]
			p := shown(&m.Gradients.Pictures[k], smallPicture, fmt.Sprintf("Gradient of %s at image %d, label %d", m.Name, img.Index, img.Label))
			p.Name = fmt.Sprintf("class %d", img.Label)
			shots = append(shots, p)
		}
		s.Blocks = append(s.Blocks, block{Head: m.Name}, block{Shots: shots})
	}
	return s, nil
}

// verdicts are the words for what checks say.
var verdicts = map[audit.Outcome]string{
	audit.OK: "ok", audit.Warn: "warning", audit.Fail: "failed", audit.Stopped: "not decided", audit.Skipped: "left out",
}

func checksSection(r *report.Page) (section, error) {
	s := section{ID: "section-checks", Title: "Checks of the attacks", Blocks: text(
		"An attack may fail because it is weak, not because the network is robust: gradients may vanish, it may stop too early, or noise may find more than it does. So each attack at " + ball(r) + " was checked. " +
			"A fresh forward pass verifies what the attack found, and samples are searched for signs of weakness. A warning means that true robustness may be lower than shown. A failed check means that a result is wrong or says nothing.")}
	counts := plot.Table{Caption: "Checks by verdict", Head: []string{"model and attack", "ok", "warnings", "failed", "left out"}}
	noted := plot.Table{Caption: "Warnings and failures", Head: []string{"model and attack", "check", "verdict", "finding"}}
	var all []table
	for i := range r.Models {
		m := &r.Models[i]
		for _, c := range m.Checks {
			name := m.Name + ", " + methodName(c.Attack)
			by := map[audit.Outcome]int{}
			t := plot.Table{Caption: m.Name + ", " + c.Attack, Head: []string{"check", "verdict", "finding"}}
			for _, f := range c.Checks {
				by[f.Verdict]++
				t.Rows = append(t.Rows, []string{f.Name, verdicts[f.Verdict], f.Detail})
				if f.Verdict == audit.Warn || f.Verdict == audit.Fail || f.Verdict == audit.Stopped {
					noted.Rows = append(noted.Rows, []string{name, f.Name, verdicts[f.Verdict], f.Detail})
				}
			}
			counts.Rows = append(counts.Rows, []string{name, fmt.Sprint(by[audit.OK]), fmt.Sprint(by[audit.Warn]), fmt.Sprint(by[audit.Fail] + by[audit.Stopped]), fmt.Sprint(by[audit.Skipped])})
			all = append(all, newTable(t))
		}
	}
	if len(all) == 0 {
		s.Blocks = append(s.Blocks, block{Text: "No checks were run."})
		return s, nil
	}
	s.Blocks = append(s.Blocks, block{Table: ptr(newTable(counts))})
	if len(noted.Rows) > 0 {
		s.Blocks = append(s.Blocks, block{Table: ptr(newTable(noted))})
	} else {
		s.Blocks = append(s.Blocks, block{Text: "No check warns and none failed."})
	}
	s.Blocks = append(s.Blocks, block{More: &more{Title: "All findings", Tables: all}})
	return s, nil
}

func madeSection(r *report.Page) (section, error) {
	seed := show.Missing
	if r.Seed != nil {
		seed = fmt.Sprint(*r.Seed)
	}
	facts := []fact{
		{"data", fmt.Sprintf("%s, %s from index %d on", r.Data, show.Count(r.N, "image"), r.Offset)},
		{"images", fmt.Sprintf("%s, %s", r.Input, fmt.Sprintf("%d classes", r.Classes))},
		{"ball", ball(r) + ", pixels in [0, 1]"},
		{"attacks", join(r.Attacks)},
		{"proofs", fmt.Sprintf("%s, radii in steps of %s", r.Bounds, number(r.Resolution))},
		{"seed", seed},
		{"epsball", r.Epsball.Version},
	}
	s := section{ID: "section-made", Title: "How this page was made", Blocks: []block{
		{Text: "This command computes the same figures on any machine, with any number of threads:"},
		{Code: lines(r.Line)},
		{More: &more{Title: "Settings", Facts: facts}},
	}}
	for i := range r.Models {
		m := &r.Models[i]
		list := []fact{
			{"architecture", show.Or(m.Network.Input + " → " + fmt.Sprintf("%d outputs", m.Classes))},
			{"parameters", fmt.Sprint(m.Parameters)},
			{"multiply-adds", fmt.Sprint(m.MACs)},
			{"hash", m.Hash},
		}
		for _, k := range slices.Sorted(maps.Keys(m.Card)) {
			list = append(list, fact{k, m.Card[k]})
		}
		s.Blocks = append(s.Blocks, block{More: &more{Title: "Card of " + m.Name, Facts: list}})
	}
	return s, nil
}

// lines breaks a command line so that a shell reads it as one.
func lines(command string) string {
	if strings.ContainsAny(command, `'"`) { // a break may be in quotes
		return command
	}
	return strings.ReplaceAll(command, " --", " \\\n  --")
}
