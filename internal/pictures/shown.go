package pictures

import (
	"image"
	"image/color"
	"image/draw"
	"image/png"
	"io"

	"github.com/epsball/epsball/model"
)

// Show writes an image as a PNG file for people to look at: rounded to 8 bits.
func Show(w io.Writer, img []float32, in model.Shape) error { return png.Encode(w, picture(img, in)) }

// ShowDifference writes gain times the difference of two images around mid-gray.
func ShowDifference(w io.Writer, original, adversarial []float32, in model.Shape, gain float64) error {
	return png.Encode(w, difference(&Example{Original: original, Adversarial: adversarial}, in, gain))
}

// ShowSigned writes numbers of both signs, divided by size, around mid-gray.
func ShowSigned(w io.Writer, v []float32, in model.Shape, size float64) error {
	return png.Encode(w, picture(signed(v, size), in))
}

// signed brings numbers from [−size, size] to [0, 1].
func signed(v []float32, size float64) []float32 {
	img := make([]float32, len(v))
	for i, x := range v {
		img[i] = 0.5
		if size > 0 {
			img[i] = float32(0.5 + 0.5*float64(x)/size)
		}
	}
	return img
}

// ShowTiles writes tiles as by ShowSigned side by side in rows, a transparent pixel apart,
// and returns the size of the picture.
func ShowTiles(w io.Writer, tiles [][]float32, in model.Shape, size float64, columns int) (width, height int, err error) {
	rows := (len(tiles) + columns - 1) / columns
	width, height = columns*(in.W+1)-1, rows*(in.H+1)-1
	sheet := image.NewNRGBA(image.Rect(0, 0, width, height))
	draw.Draw(sheet, sheet.Bounds(), image.NewUniform(color.Transparent), image.Point{}, draw.Src)
	for k, t := range tiles {
		at := image.Pt(k%columns*(in.W+1), k/columns*(in.H+1))
		draw.Draw(sheet, image.Rectangle{Min: at, Max: at.Add(image.Pt(in.W, in.H))}, picture(signed(t, size), in), image.Point{}, draw.Src)
	}
	return width, height, png.Encode(w, sheet)
}
