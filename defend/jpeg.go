package defend

import (
	"bytes"
	"fmt"
	"image"
	"image/color"
	"image/jpeg"
	"math"

	"github.com/epsball/epsball/attack"
	"github.com/epsball/epsball/kernels"
	"github.com/epsball/epsball/model"
)

// JPEG rounds pixels to 8 bits, compresses the image as JPEG and decompresses it
// (Dziugaite, Ghahramani, Roy, "A study of the effect of JPG compression on adversarial
// images", 2016). Images have one channel, or three: red, green, blue, whose colours are
// halved in resolution (4:2:0). It allocates at every step, as package image/jpeg does,
// whose version of the Go release decides the last bits.
type JPEG struct {
	Quality int // 1 … 100; 0: 75
}

const usualQuality = 75

func (d JPEG) Name() string      { return "jpeg" }
func (d JPEG) String() string    { return text(&d) }
func (d JPEG) Random() bool      { return false }
func (d *JPEG) Defence() Defence { return *d }

func (d *JPEG) Fields() []attack.Field {
	return []attack.Field{attack.CountTo("quality", "of the compression", &d.Quality, usualQuality, 100).Shown("75")}
}

func (d JPEG) Validate(in model.Shape) error {
	if in.C != 1 && in.C != 3 {
		return fmt.Errorf("images of %d channels, want 1 or 3", in.C)
	}
	if in.H > math.MaxUint16 || in.W > math.MaxUint16 {
		return fmt.Errorf("images of %d×%d pixels, want at most %d a side", in.H, in.W, math.MaxUint16)
	}
	return check(&d)
}

func (d JPEG) NewFilter(in model.Shape) Filter {
	f := &jpegFilter{hw: in.H * in.W, options: jpeg.Options{Quality: or(d.Quality, usualQuality)}}
	if r := image.Rect(0, 0, in.W, in.H); in.C == 1 {
		f.grey = image.NewGray(r)
	} else {
		f.colour = image.NewRGBA(r)
	}
	return f
}

type jpegFilter struct {
	hw      int
	options jpeg.Options
	grey    *image.Gray // one of them
	colour  *image.RGBA
	file    bytes.Buffer
	reader  bytes.Reader
}

func (f *jpegFilter) Forward(y, x []float32, _ *kernels.Stream) {
	if f.grey != nil {
		for k, v := range x {
			f.grey.Pix[k] = toByte(v)
		}
		got := f.through(f.grey).(*image.Gray)
		for k := range y {
			y[k] = fromByte(got.Pix[k/f.grey.Stride*got.Stride+k%f.grey.Stride])
		}
		return
	}
	for k := range f.hw {
		for c := range 3 {
			f.colour.Pix[4*k+c] = toByte(x[c*f.hw+k])
		}
		f.colour.Pix[4*k+3] = 255
	}
	got, w := f.through(f.colour).(*image.YCbCr), f.colour.Rect.Dx()
	for k := range f.hw {
		luma, chroma := got.YOffset(k%w, k/w), got.COffset(k%w, k/w)
		r, g, b := color.YCbCrToRGB(got.Y[luma], got.Cb[chroma], got.Cr[chroma])
		y[k], y[f.hw+k], y[2*f.hw+k] = fromByte(r), fromByte(g), fromByte(b)
	}
}

// through returns what is left of an image. Neither direction can fail in memory.
func (f *jpegFilter) through(m image.Image) image.Image {
	f.file.Reset()
	err := jpeg.Encode(&f.file, m, &f.options)
	if err == nil {
		f.reader.Reset(f.file.Bytes())
		m, err = jpeg.Decode(&f.reader)
	}
	if err != nil {
		panic("defend: jpeg: " + err.Error())
	}
	return m
}

// toByte returns the nearest of the values k/255, as k.
func toByte(v float32) uint8 {
	if !(v > 0) {
		return 0
	}
	return uint8(math.RoundToEven(float64(min(v, 1) * 255)))
}

func fromByte(b uint8) float32 { return float32(b) / 255 }
