// Package pictures writes images as 8-bit PNG files and draws them side by side, and
// measures how alike two look.
package pictures

import (
	"fmt"
	"image"
	"image/color"
	"image/png"
	"io"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/epsball/epsball/model"
)

// Example is an image and what an attack made of it, channels first, pixels in [0, 1].
type Example struct {
	Index                 int // in the data set
	Original, Adversarial []float32
	Before, After         int // classes
}

// Check refuses images that PNG files do not hold.
func Check(in model.Shape) error {
	if in.C != 1 && in.C != 3 {
		return fmt.Errorf("images are %v, but pictures have 1 channel (gray) or 3 (RGB)", in)
	}
	return nil
}

// Byte returns the byte b whose pixel, float32(b)/255, is nearest to v, and whether it is v.
func Byte(v float32) (b byte, same bool) {
	b = byte(min(max(math.Round(float64(v)*255), 0), 255))
	return b, float32(b)/255 == v
}

// Encode writes an image as a PNG file of 8 bits. Pixels that are no byte/255 are an error.
func Encode(w io.Writer, img []float32, in model.Shape) error {
	for i, v := range img {
		if _, same := Byte(v); !same {
			return fmt.Errorf("pixel %d is %v, want a multiple of 1/255: 8 bits do not hold it", i, v)
		}
	}
	return png.Encode(w, picture(img, in))
}

// picture rounds an image to 8 bits.
func picture(img []float32, in model.Shape) image.Image {
	n, frame := in.H*in.W, image.Rect(0, 0, in.W, in.H)
	if in.C == 1 {
		p := image.NewGray(frame)
		for i := range n {
			p.Pix[i], _ = Byte(img[i])
		}
		return p
	}
	p := image.NewNRGBA(frame)
	for i := range n {
		for c := range 3 {
			p.Pix[4*i+c], _ = Byte(img[c*n+i])
		}
		p.Pix[4*i+3] = 255
	}
	return p
}

// rounded returns the image as 8 bits hold it.
func rounded(img []float32) []float32 {
	r := make([]float32, len(img))
	for i, v := range img {
		b, _ := Byte(v)
		r[i] = float32(b) / 255
	}
	return r
}

// The folders that WriteFolder makes.
const (
	Originals    = "original"
	Adversarials = "adversarial"
)

// WriteFolder writes the originals and the adversarial images to two folders in dir, as
// INDEX.png, each with a labels.csv that has the classes before the attack. Readers of
// images take either. Originals are rounded to 8 bits; adversarial images must be 8-bit.
func WriteFolder(dir string, in model.Shape, examples []Example) error {
	digits := 5
	for i := range examples { // readers go by the order of names
		digits = max(digits, len(strconv.Itoa(examples[i].Index)))
	}
	for _, sub := range []string{Originals, Adversarials} {
		if err := os.Mkdir(filepath.Join(dir, sub), 0o777); err != nil {
			return err
		}
		var labels strings.Builder
		labels.WriteString("name,label\n")
		for i := range examples {
			e := &examples[i]
			name, img := fmt.Sprintf("%0*d.png", digits, e.Index), e.Adversarial
			if sub == Originals {
				img = rounded(e.Original)
			}
			if err := writeFile(filepath.Join(dir, sub, name), func(w io.Writer) error { return Encode(w, img, in) }); err != nil {
				return fmt.Errorf("image %d: %w", e.Index, err)
			}
			fmt.Fprintf(&labels, "%s,%d\n", name, e.Before)
		}
		if err := os.WriteFile(filepath.Join(dir, sub, "labels.csv"), []byte(labels.String()), 0o666); err != nil {
			return err
		}
	}
	return nil
}

func writeFile(path string, write func(io.Writer) error) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	if err := write(f); err != nil {
		f.Close()
		return err
	}
	return f.Close()
}

// difference draws gain times the difference of two images around mid-gray.
func difference(e *Example, in model.Shape, gain float64) image.Image {
	d := make([]float32, len(e.Original))
	for i, v := range e.Adversarial {
		d[i] = float32(0.5 + gain*(float64(v)-float64(e.Original[i])))
	}
	return picture(d, in)
}

var (
	paper = color.White
	ink   = color.Gray{32}
)
