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
	plain := plot.Table{Caption: fmt.Sprintf("Fractions of %s; the columns after “clean” at %s", images(r), ball(r)), Head: head}
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
		"Clean accuracy is the fraction of images that a model classifies correctly as they are. An attack then searches the ball around each image for a point that is misclassified. "+
			"If it finds one, the image is fooled. If it finds none, there may still be one, so “not fooled” only speaks of the named attack. "+
			"An image is certified if "+r.Bounds+" bounds prove that no point of the ball is misclassified, whatever the attack.",
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
		block{Text: fmt.Sprintf("These images are a sample. A fraction found on %s is that of all such images to within %s or less (95 %% interval).", show.Count(r.N, "image"), points(round((hi-lo)/2)))},
		block{More: &more{Title: "With 95 % intervals", Tables: []table{newTable(precise)}}})
	return s, nil
}

func tradeoffSection(r *report.Page) (section, error) {
	s := section{ID: "section-tradeoff", Title: "What robustness costs", Blocks: text(
		"Each model is one column of marks. Its place from left to right is its clean accuracy. The height of a mark is the fraction of images that are still classified correctly at "+ball(r)+
			" under an attack, or that are certified. Good models stand on the right, and their marks are high. If the lowest two marks are close, most of what the attacks did not break is also proved.",
		tradeoffFound(r))}
	list, err := figures(tradeoff(r))
	s.Blocks = append(s.Blocks, list...)
	return s, err
}

func securitySection(r *report.Page) (section, error) {
	s := section{ID: "section-security", Title: "Accuracy over the radius", Blocks: text(
		"There is one chart for each model. The solid lines show the images that an attack has not fooled at this radius or a smaller one. They can only fall, because a point found in a ball lies in all larger balls. " +
			"The dashed line shows the certified images. The truth lies between: images in the shaded area are neither fooled nor proved. At radius 0 all lines show clean accuracy.",
	)}
	s.Blocks = append(s.Blocks, securityFound(r))
	list, err := figures(security(r))
	s.Blocks = append(s.Blocks, list...)
	return s, err
}

func radiiSection(r *report.Page) (section, error) {
	s := section{ID: "section-radii", Title: "Certified radii", Blocks: text(
		fmt.Sprintf("The certified radius of an image is the largest multiple of %s, up to %s, at which %s bounds prove that it cannot be fooled. A line shows the fraction of images that are proved at a radius: the higher the better. ",
			number(r.Resolution), number(float64(r.Tried)*r.Resolution), r.Bounds) +
			"A network may be robust and still have a short line: bounds lose precision in each layer of a network that was not trained for them.",
	)}
	s.Blocks = append(s.Blocks, radiiFound(r))
	list, err := figures(radii(r))
	s.Blocks = append(s.Blocks, list...)
	return s, err
}

func trainingSection(r *report.Page) (section, error) {
	s := section{ID: "section-training", Title: "Training", Blocks: []block{trainingFound(r)}}
	if len(training(r)) == 0 {
		s.Blocks = append(s.Blocks, block{Text: "Training curves are drawn from the history in a model's card, which epsball train writes, or from its log (--log)."})
		return s, nil
	}
	s.Blocks = append(text("The charts show loss and accuracy of each epoch, and the schedules of radius and learning rate. “The method's points” are the adversarial examples, or worst cases of bounds, that the method trains on. "+
		"Dashed lines are measured on images held back from training. If accuracy rises on training images while it falls on those held back, the model overfits."), s.Blocks...)
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
	s := section{ID: "section-confusion", Title: "Confusion under attack", Blocks: text(
		"Rows are labels. Columns are predictions under attack at " + ball(r) + ": for a fooled image, the class of its adversarial image; for any other, the class of the image itself. " +
			"The marked diagonal counts the images that are still classified correctly. A column with high counts is a class to which attacks lead easily.",
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
		"Only this section differs from run to run: speed depends on the machine and on what else it does. A step of a gradient attack is one forward and one backward pass of one image; other steps cost less or more.")}
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
