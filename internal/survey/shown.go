package survey

import (
	"bytes"
	"context"
	"fmt"
	"math"
	"slices"

	"github.com/epsball/epsball/attack"
	"github.com/epsball/epsball/internal/pictures"
	"github.com/epsball/epsball/internal/show"
	"github.com/epsball/epsball/kernels"
	"github.com/epsball/epsball/model"
	"github.com/epsball/epsball/net"
	"github.com/epsball/epsball/report"
)

// choose chooses the images that galleries show: of as many classes as there are, and of
// these those that most models classify correctly, the first in the data set.
func (s *survey) choose(context.Context) error {
	if err := pictures.Check(s.Shape); err != nil {
		s.page.NoPictures = err.Error()
		return nil
	}
	one := s.looks[0]
	right := make([]int, len(one.s.Y))
	for _, l := range s.looks {
		for i, ok := range l.right {
			if ok {
				right[i]++
			}
		}
	}
	taken := make([]bool, len(right))
	classes := map[int]int{}
	for range min(s.Gallery, len(right)) {
		best := -1
		for i, y := range one.s.Y {
			better := func(j int) bool {
				if classes[y] != classes[one.s.Y[j]] {
					return classes[y] < classes[one.s.Y[j]]
				}
				return right[i] > right[j]
			}
			if !taken[i] && (best < 0 || better(best)) {
				best = i
			}
		}
		taken[best] = true
		classes[one.s.Y[best]]++
	}
	for i, ok := range taken {
		if !ok {
			continue
		}
		p, err := s.picture(func(b *bytes.Buffer) error { return pictures.Show(b, one.image(one.s.X, i), s.Shape) })
		if err != nil {
			return err
		}
		s.page.Images = append(s.page.Images, report.PageImage{Index: s.First + i, Label: one.s.Y[i], Picture: p})
	}
	slices.SortStableFunc(s.page.Images, func(a, b report.PageImage) int { return a.Label - b.Label })
	return nil
}

func (s *survey) picture(write func(*bytes.Buffer) error) (report.Picture, error) {
	var b bytes.Buffer
	err := write(&b)
	return report.Picture{PNG: b.Bytes(), Width: s.Shape.W, Height: s.Shape.H}, err
}

// gallery shows what the attacks at Eps make of the chosen images: the last attack that
// fools one, or else how far the strongest got.
func (l *look) gallery(ctx context.Context) error {
	s := l.survey
	if len(s.page.Images) == 0 {
		return nil
	}
	c := l.s.Net.Classes()
	logits, list := make([]float32, c), []report.PageShown{}
	for _, img := range s.page.Images {
		i := img.Index - s.First
		a := len(s.Attacks) - 1
		for k := a; k >= 0 && !l.found[a].Success[i]; k-- {
			if l.found[k].Success[i] {
				a = k
			}
		}
		x, adv := l.image(l.s.X, i), l.image(l.found[a].Adv, i)
		if err := attack.Logits(ctx, l.s.Net, l.s.Pool, logits, attack.Batch{X: adv, First: img.Index}); err != nil {
			return err
		}
		shown := report.PageShown{
			Attack: s.Attacks[a].String(), Fooled: l.found[a].Success[i], Distance: l.found[a].Distance(s.Norm, i),
			Was: l.pred[i], Before: confidence(l.logits[i*c : (i+1)*c]), Is: net.Argmax(logits), After: confidence(logits),
		}
		var err error
		shown.Adversarial, err = s.picture(func(b *bytes.Buffer) error { return pictures.Show(b, adv, s.Shape) })
		if err == nil {
			shown.Difference, err = s.picture(func(b *bytes.Buffer) error { return pictures.ShowDifference(b, x, adv, s.Shape, s.page.Gain) })
		}
		if err != nil {
			return err
		}
		list = append(list, shown)
	}
	l.m.Gallery = list
	return nil
}

// confidence is the softmax probability of the predicted class, 0 if the logits hold NaN.
func confidence(z []float32) float64 {
	top := net.Argmax(z)
	if top < 0 {
		return 0
	}
	sum := 0.0
	for _, v := range z {
		sum += float64(kernels.Exp(v - z[top]))
	}
	return 1 / sum
}

// gradients draws those of the margin loss to the pixels of the chosen images, and finds
// how far the margins of all images reach to first order.
func (l *look) gradients(ctx context.Context) error {
	s := l.survey
	n, size, c := len(l.s.Y), l.s.Net.Input().Size(), l.s.Net.Classes()
	grad := make([]float32, n*size)
	if err := l.marginGradients(ctx, grad); err != nil {
		return err
	}
	var reach []float64
	for i, y := range l.s.Y {
		if norm := dual(s.Norm, l.image(grad, i)); l.right[i] && norm > 0 {
			reach = append(reach, float64(net.MarginOf(l.logits[i*c:(i+1)*c], y))/norm)
		}
	}
	slices.Sort(reach)
	slopes := &report.PageSlopes{Pictures: []report.Picture{}}
	if len(reach) > 0 {
		slopes.Linear = reach[len(reach)/2]
	}
	for _, img := range s.page.Images {
		g := l.image(grad, img.Index-s.First)
		p, err := s.picture(func(b *bytes.Buffer) error { return pictures.ShowSigned(b, g, s.Shape, largest(g)) })
		if err != nil {
			return err
		}
		slopes.Pictures = append(slopes.Pictures, p)
	}
	l.m.Gradients = slopes
	return nil
}

// marginGradients writes the gradients of all images.
func (l *look) marginGradients(ctx context.Context, grad []float32) error {
	n, c, in := len(l.s.Y), l.s.Net.Classes(), l.s.Net.Input()
	passes := l.s.Net.Passes(n, l.s.Pool)
	layout, slots := passes.Layout(), net.MaxSmall
	if layout == net.LaneGroups {
		slots = l.s.Net.ISA().TileGroups() * kernels.Lanes
	}
	x, dz := kernels.Alloc(layout.Len(layout.Blocks(slots), in.Size())), make([]float32, c)
	tell := l.progress("gradients", n)
	for at := 0; at < n; at += slots {
		if err := ctx.Err(); err != nil {
			return err
		}
		m := min(slots, n-at)
		for k := range m {
			layout.Pack(x, l.image(l.s.X, at+k), in, k)
		}
		passes.Forward(x, layout.Blocks(m))
		for k := range m {
			i := at + k
			net.Margin.Gradient(dz, l.logits[i*c:(i+1)*c], l.s.Y[i], net.Untargeted)
			layout.Scatter(passes.LogitGradient(), dz, k)
		}
		g := passes.Backward(layout.Blocks(m))
		for k := range m {
			layout.Unpack(l.image(grad, at+k), g, in, k)
		}
		tell(at + m)
	}
	return nil
}

// dual is the norm that bounds what a change of norm n ≤ 1 does to first order.
func dual(n net.Norm, g []float32) float64 {
	sum := 0.0
	for _, v := range g {
		switch a := math.Abs(float64(v)); n {
		case net.L2:
			sum += float64(a * a)
		case net.L1:
			sum = max(sum, a)
		default:
			sum += a
		}
	}
	if n == net.L2 {
		return math.Sqrt(sum)
	}
	return sum
}

func largest(v []float32) float64 {
	most := 0.0
	for _, x := range v {
		most = max(most, math.Abs(float64(x)))
	}
	return most
}

// maxFilters is how many filters of a first layer are shown.
const maxFilters = 64

// filters draws the weights of the first layer.
func (l *look) filters(context.Context) error {
	m := l.s.Model
	at := slices.IndexFunc(m.Arch.Layers, func(y model.Layer) bool { return y.Kind == model.Conv || y.Kind == model.FC })
	if at < 0 {
		return nil
	}
	shapes, err := m.Arch.Shapes()
	if err != nil {
		return err
	}
	layer := &m.Arch.Layers[at]
	f := &report.PageFilters{Layer: at, Shape: layer.WeightShape(m.Arch.InputShape(at, shapes))}
	l.m.Filters = f
	w := m.Params[at].Rows()
	out, in := f.Shape[0], m.Arch.InputShape(at, shapes)
	tile := l.survey.Shape // of fc, which sees the whole image
	if layer.Kind == model.Conv {
		tile = model.Shape{C: f.Shape[1], H: f.Shape[2], W: f.Shape[3]}
	} else if in.Size() != tile.Size() {
		tile = in
	}
	size := len(w) / out
	small, most := 0, largest(w)
	for _, v := range w {
		size := math.Abs(float64(v))
		f.Reach += size / float64(out)
		if size < most/20 {
			small++
		}
	}
	f.Near = show.Fraction(small, len(w))
	if err := pictures.Check(tile); err != nil {
		f.Why = fmt.Sprintf("filters of %d channels are no pictures", tile.C)
		return nil
	}
	var tiles [][]float32
	for k := range min(out, maxFilters) {
		tiles = append(tiles, w[k*size:(k+1)*size])
	}
	f.Shown, f.Columns = len(tiles), 8
	if tile.W > 12 {
		f.Columns = 4
	}
	f.Columns = min(f.Columns, f.Shown)
	var b bytes.Buffer
	f.Picture.Width, f.Picture.Height, err = pictures.ShowTiles(&b, tiles, tile, most, f.Columns)
	f.Picture.PNG = b.Bytes()
	return err
}
