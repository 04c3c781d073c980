package pictures

import (
	"fmt"
	"image"
	"image/draw"
	"image/png"
	"io"
	"math"

	"golang.org/x/image/font"
	"golang.org/x/image/font/basicfont"
	"golang.org/x/image/math/fixed"

	"github.com/epsball/epsball/model"
)

// MaxSheet is the number of examples that a sheet shows: the first ones.
const MaxSheet = 60

const (
	tile   = 96 // pixels that an image is magnified to at least
	gap    = 4
	margin = 12
	line   = 15   // of text
	glyph  = 7    // width of a letter
	broad  = 1500 // that a sheet may be
)

// Sheet draws a PNG of examples, each a row of the original, the adversarial image and
// their difference, amplified by one factor for the whole sheet so that the largest change
// of a pixel is just black or white. Below are the index, the classes before and after,
// the distances and SSIM. The title is above all. Images of more bits than 8 are shown
// rounded.
func Sheet(w io.Writer, in model.Shape, title string, examples []Example) error {
	if err := Check(in); err != nil {
		return err
	}
	all := examples
	if len(all) > MaxSheet {
		examples = all[:MaxSheet]
	}
	largest := 0.0
	for i := range examples {
		linf, _ := examples[i].distance()
		largest = max(largest, linf)
	}
	gain := 1.0
	if largest > 0 {
		gain = 0.5 / largest
	}
	heading := []string{ascii(title), fmt.Sprintf("original, adversarial, difference x %.3g around gray; %d of %d examples", gain, len(examples), len(all))}

	zoom := max(1, (tile+max(in.H, in.W)-1)/max(in.H, in.W))
	cardW, cardH := 3*zoom*in.W+2*gap, zoom*in.H+2*line+gap
	captions := make([][2]string, len(examples))
	for i := range examples {
		captions[i] = examples[i].caption(in)
		cardW = max(cardW, glyph*len(captions[i][0]), glyph*len(captions[i][1]))
	}
	columns := max(1, min(len(examples), (broad-margin)/(cardW+margin)))
	for columns > 1 && columns*columns*cardW > len(examples)*cardH*2 { // not much wider than high
		columns--
	}
	rows := (len(examples) + columns - 1) / columns
	top := margin + 2*line
	width := max(columns*(cardW+margin), glyph*max(len(heading[0]), len(heading[1]))+margin) + margin
	sheet := image.NewNRGBA(image.Rect(0, 0, width, top+rows*(cardH+margin)+margin))
	draw.Draw(sheet, sheet.Bounds(), image.NewUniform(paper), image.Point{}, draw.Src)
	write(sheet, margin, margin, heading[:]...)
	for i := range examples {
		e := &examples[i]
		x, y := margin+i%columns*(cardW+margin), top+margin+i/columns*(cardH+margin)
		for k, img := range []image.Image{picture(e.Original, in), picture(e.Adversarial, in), difference(e, in, gain)} {
			magnify(sheet, x+k*(zoom*in.W+gap), y, zoom, img)
		}
		write(sheet, x, y+zoom*in.H+gap, captions[i][:]...)
	}
	return png.Encode(w, sheet)
}

// distance returns the largest change of a value and the root of the sum of squares.
func (e *Example) distance() (linf, l2 float64) {
	for i, v := range e.Adversarial {
		d := math.Abs(float64(v) - float64(e.Original[i]))
		linf = max(linf, d)
		l2 += d * d
	}
	return linf, math.Sqrt(l2)
}

// caption says what there is to say of an example in two lines.
func (e *Example) caption(in model.Shape) [2]string {
	linf, l2 := e.distance()
	size := fmt.Sprintf("Linf %.4f", linf)
	if n := math.Round(linf * 255); math.Abs(linf*255-n) < 1e-4 {
		size = fmt.Sprintf("Linf %.0f/255", n)
	}
	size += fmt.Sprintf("  L2 %.2f", l2)
	if s, ok := SSIM(e.Original, e.Adversarial, in); ok {
		size += fmt.Sprintf("  SSIM %.3f", s)
	}
	return [2]string{fmt.Sprintf("#%d  class %d -> %d", e.Index, e.Before, e.After), size}
}

// ascii replaces what the font lacks.
func ascii(s string) string {
	var b []rune
	for _, r := range s {
		switch {
		case r == 'ε':
			b = append(b, []rune("eps")...)
		case r < ' ' || r > '~':
			b = append(b, '?')
		default:
			b = append(b, r)
		}
	}
	return string(b)
}

// write puts lines of text below the point.
func write(on draw.Image, x, y int, lines ...string) {
	d := font.Drawer{Dst: on, Src: image.NewUniform(ink), Face: basicfont.Face7x13}
	for i, s := range lines {
		d.Dot = fixed.P(x, y+i*line+basicfont.Face7x13.Ascent)
		d.DrawString(s)
	}
}

// magnify draws img with each pixel as a square.
func magnify(on *image.NRGBA, x, y, zoom int, img image.Image) {
	b := img.Bounds()
	for i := range b.Dy() * zoom {
		for j := range b.Dx() * zoom {
			on.Set(x+j, y+i, img.At(j/zoom, i/zoom))
		}
	}
}
