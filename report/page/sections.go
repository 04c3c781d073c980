package page

import (
	"fmt"

	"github.com/epsball/epsball/internal/plot"
	"github.com/epsball/epsball/internal/show"
	"github.com/epsball/epsball/report"
)

func overviewSection(r *report.Page) (section, error) {
	s := section{ID: "overview", Title: "Overview"}
	names := attackNames(r)
	head := []string{"model", "trained", "clean"}
	for _, n := range names {
		head = append(head, "not fooled by "+n)
	}
	head = append(head, "certified")
	plain := plot.Table{Caption: fmt.Sprintf("Fractions of %s; the last columns at %s", images(r), ball(r)), Head: head}
	precise := plot.Table{Caption: "The same with 95 % intervals, in percent", Head: head}
	for i := range r.Models {
		m := &r.Models[i]
		p := r.Point(m)
		row, wide := []string{m.Name, trained(m), percent(m.Clean)}, []string{m.Name, trained(m), interval(m.Clean, r.N)}
		for _, f := range append(p.NotFooled[:len(p.NotFooled):len(p.NotFooled)], p.Certified) {
			row, wide = append(row, percent(f)), append(wide, interval(f, r.N))
		}
		plain.Rows, precise.Rows = append(plain.Rows, row), append(precise.Rows, wide)
	}
	lo, hi := wilson(0.5, r.N)
	s.Blocks = append(text(
		"Clean accuracy is the fraction of images that a model classifies correctly as they are. An attack then looks, in the ball around each of them, for a point "+
			"that is misclassified: where it finds one, the image is fooled. Where it finds none there may still be one; “not fooled” is true of the named attack alone. "+
			"Certified are images of which "+r.Bounds+" bounds prove that the ball holds no misclassified point, whatever the attack.",
	),
		of(r, func(m *report.PageModel) string {
			left, name := weakest(r, m)
			if m.Clean == nil || left == nil {
				return ""
			}
			t := fmt.Sprintf("%s classifies %s correctly; %s leaves %s of all images", m.Name, percent(m.Clean), name, percent(left))
			if c := r.Point(m).Certified; c != nil {
				t += fmt.Sprintf(", and %s are certified", percent(c))
			}
			return t + "."
		}),
		block{Table: ptr(newTable(plain))},
		block{Text: fmt.Sprintf("The images are a sample: at worst, a fraction found on %s may be off by %s for all there are (95 %% interval).", show.Count(r.N, "image"), points(round((hi-lo)/2)))},
		block{More: &more{Title: "With 95 % intervals", Tables: []table{newTable(precise)}}})
	return s, nil
}

func tradeoffSection(r *report.Page) (section, error) {
	s := section{ID: "section-tradeoff", Title: "What robustness costs", Blocks: text(
		"Each model is one column of marks: how far to the right says how much it classifies correctly as it is, and how high what is left of that at "+ball(r)+
			" under each attack and by proof. A good model stands to the right and its marks are high; the closer its lowest mark is to the others, the more of what no attack broke is also proved.",
		tradeoffFound(r))}
	list, err := figures(tradeoff(r))
	s.Blocks = append(s.Blocks, list...)
	return s, err
}

func securitySection(r *report.Page) (section, error) {
	s := section{ID: "section-security", Title: "Accuracy over the radius", Blocks: text(
		"A chart a model. The lines above show how many images each attack has not fooled at a radius or a smaller one: a point found in a ball lies in all larger ones, so they can only fall. " +
			"The dashed line below shows how many are certified. The truth lies between: the shaded images are neither fooled nor proved. At radius 0 stands clean accuracy.",
	)}
	s.Blocks = append(s.Blocks, securityFound(r))
	list, err := figures(security(r))
	s.Blocks = append(s.Blocks, list...)
	return s, err
}

func radiiSection(r *report.Page) (section, error) {
	s := section{ID: "section-radii", Title: "Certified radii", Blocks: text(
		fmt.Sprintf("For each image the largest multiple of %s was looked for, up to %s, that %s bounds can prove. A line shows how many images are proved up to a radius; the higher it stays, the better. ",
			number(r.Resolution), number(float64(r.Tried)*r.Resolution), r.Bounds) +
			"A network that was not trained for provable bounds may be robust and still have short lines: bounds lose precision in each layer.",
	)}
	s.Blocks = append(s.Blocks, radiiFound(r))
	list, err := figures(radii(r))
	s.Blocks = append(s.Blocks, list...)
	return s, err
}

func trainingSection(r *report.Page) (section, error) {
	s := section{ID: "section-training", Title: "Training", Blocks: []block{trainingFound(r)}}
	if len(training(r)) == 0 {
		s.Blocks = append(s.Blocks, block{Text: "Training curves come from the history in a model's card, which train writes, or from a log of train (--log)."})
		return s, nil
	}
	s.Blocks = append(text("How loss and accuracy went from epoch to epoch, and what the schedules of radius and learning rate did. The method's points are the adversarial examples, or the worst case of the bounds, that training saw; "+
		"dashed lines are images held back from training. Accuracy that rises on training images while it falls on those held back is overfitting."), s.Blocks...)
	for i := range r.Models {
		m := &r.Models[i]
		charts := trainingOf(m, i)
		if len(charts) == 0 {
			continue
		}
		list, err := figures(charts)
		if err != nil {
			return s, err
		}
		s.Blocks = append(append(s.Blocks, block{Head: m.Name}), list...)
	}
	return s, nil
}

func confusionSection(r *report.Page) (section, error) {
	s := section{ID: "section-confusion", Title: "What is taken for what under attack", Blocks: text(
		"Rows are labels, columns what the model says under attack at " + ball(r) + ": of an image that an attack fools, the class of the adversarial image; of others, that of the image. " +
			"The marked diagonal is what it still gets right. Columns that fill up are classes that attacks lead to most easily.",
	)}
	s.Blocks = append(s.Blocks, confusionFound(r))
	if r.Classes > maxMatrix {
		for i := range r.Models {
			if m := &r.Models[i]; m.Confusion != nil {
				s.Blocks = append(s.Blocks, block{Table: ptr(newTable(confusions(r, m)))})
			}
		}
		return s, nil
	}
	list, err := figures(confusion(r))
	s.Blocks = append(s.Blocks, list...)
	return s, err
}

// confusions lists the most frequent ones, where a matrix would be too large.
func confusions(r *report.Page, m *report.PageModel) plot.Table {
	const most = 20
	t := plot.Table{Caption: fmt.Sprintf("%s: the most frequent confusions, at most %d", m.Name, most), Head: []string{"label", "taken for", "images"}}
	for n := r.N; n > 0 && len(t.Rows) < most; n-- {
		for y, row := range m.Confusion {
			for k, count := range row {
				if k == y || count != n || len(t.Rows) == most {
					continue
				}
				name := fmt.Sprint(k)
				if k == r.Classes {
					name = "none"
				}
				t.Rows = append(t.Rows, []string{fmt.Sprint(y), name, fmt.Sprint(n)})
			}
		}
	}
	return t
}

func ptr(t table) *table { return &t }

func timingsSection(r *report.Page) (section, error) {
	s := section{ID: "section-timings", Title: "How fast", Blocks: text(
		"This section alone differs from run to run: speed depends on the machine and what else it does. A step of an attack is a forward and a backward pass of one image; attacks without gradients, and steps of a cascade, cost differently.")}
	t := r.Timings
	if t == nil {
		return s, nil
	}
	s.Blocks = append(s.Blocks, text(fmt.Sprintf("The run took %s on %s with the kernels %s. Machine: %s.", show.Seconds(t.Seconds), show.Count(r.Threads, "thread"), show.Or(r.ISA), show.Or(t.Machine)))...)
	list, err := figures(throughput(r))
	s.Blocks = append(s.Blocks, list...)
	times := plot.Table{Caption: "Time of all passes", Head: []string{"model", "time"}}
	for i := range t.Models {
		times.Rows = append(times.Rows, []string{r.Models[i].Name, show.Seconds(t.Models[i].Seconds)})
	}
	s.Blocks = append(s.Blocks, block{Table: ptr(newTable(times))})
	return s, err
}
