package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"image/color"
	"image/png"
	"io"
)

// maxFile bounds a picture's file: a few pixels and what may surround them.
const maxFile = 1 << 20 // bytes

// readPicture reads a PNG, PGM (P5) or PPM (P6) picture of c×h×w, channels first,
// pixels in [0, 1]. A network of one channel sees colours as their grey (luma of ITU-R
// BT.601), one of three sees grey three times. Nothing is scaled: what is proved
// speaks of the pixels that were given.
func readPicture(r io.Reader, c, h, w int) ([]float32, error) {
	if c != 1 && c != 3 {
		return nil, fmt.Errorf("the model takes images of %d channels, expected 1 or 3", c)
	}
	data, err := io.ReadAll(io.LimitReader(r, maxFile+1))
	if err != nil {
		return nil, err
	}
	var p picture
	switch {
	case len(data) > maxFile:
		return nil, fmt.Errorf("size: got more than %d bytes, expected a picture of %d×%d", maxFile, w, h)
	case bytes.HasPrefix(data, []byte("\x89PNG")):
		p, err = readPNG(data, w, h)
	case bytes.HasPrefix(data, []byte("P5")), bytes.HasPrefix(data, []byte("P6")):
		p, err = readPNM(data, w, h)
	default:
		err = fmt.Errorf("signature: got %.8q, expected a PNG, PGM (P5) or PPM (P6) file", data)
	}
	if err != nil {
		return nil, err
	}
	x := make([]float32, c*h*w)
	for i := range h * w {
		v := p(i%w, i/w)
		if c == 1 && (v[0] != v[1] || v[1] != v[2]) {
			g := color.Gray16Model.Convert(color.RGBA64{v[0], v[1], v[2], 0xffff}).(color.Gray16).Y
			v = [3]uint16{g, g, g}
		}
		for ch := range c {
			x[ch*h*w+i] = float32(v[ch]) / 0xffff
		}
	}
	return x, nil
}

// picture returns red, green and blue of a pixel.
type picture func(x, y int) [3]uint16

func checkSize(gotW, gotH, w, h int) error {
	if gotW != w || gotH != h {
		return fmt.Errorf("size: got %d×%d pixels, expected %d×%d: scale the picture first", gotW, gotH, w, h)
	}
	return nil
}

func readPNG(data []byte, w, h int) (picture, error) {
	head, err := png.DecodeConfig(bytes.NewReader(data)) // before room is made for pixels
	if err != nil {
		return nil, err
	}
	if err := checkSize(head.Width, head.Height, w, h); err != nil {
		return nil, err
	}
	img, err := png.Decode(bytes.NewReader(data))
	if err != nil {
		return nil, err
	}
	b := img.Bounds()
	for i := range w * h {
		if _, _, _, a := img.At(b.Min.X+i%w, b.Min.Y+i/w).RGBA(); a != 0xffff {
			return nil, fmt.Errorf("pixel %d,%d: got a transparent one, expected opaque ones", i%w, i/w)
		}
	}
	return func(x, y int) [3]uint16 {
		r, g, bl, _ := img.At(b.Min.X+x, b.Min.Y+y).RGBA()
		return [3]uint16{uint16(r), uint16(g), uint16(bl)}
	}, nil
}

// readPNM reads the binary formats of netpbm, one or three samples a pixel, of one or
// two bytes.
func readPNM(data []byte, w, h int) (picture, error) {
	r := bufio.NewReader(bytes.NewReader(data[2:]))
	var head [3]int
	for i, field := range []string{"width", "height", "maximum"} {
		n, err := pnmNumber(r)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", field, err)
		}
		head[i] = n
	}
	if err := checkSize(head[0], head[1], w, h); err != nil {
		return nil, err
	}
	most := head[2]
	if most < 1 || most > 0xffff {
		return nil, fmt.Errorf("maximum: got %d, expected 1 to 65535", most)
	}
	channels, bytesEach := 1, 1
	if data[1] == '6' {
		channels = 3
	}
	if most > 0xff {
		bytesEach = 2
	}
	pix, _ := io.ReadAll(r) // from memory: it cannot fail
	if want := w * h * channels * bytesEach; len(pix) != want {
		return nil, fmt.Errorf("pixels: got %d bytes, expected %d", len(pix), want)
	}
	sample := func(i int) int {
		if bytesEach == 1 {
			return int(pix[i])
		}
		return int(pix[2*i])<<8 | int(pix[2*i+1])
	}
	for i := range w * h * channels {
		if v := sample(i); v > most {
			return nil, fmt.Errorf("pixels: got the sample %d, expected at most the maximum %d", v, most)
		}
	}
	return func(x, y int) (v [3]uint16) {
		for ch := range v {
			v[ch] = uint16((sample((y*w+x)*channels+ch%channels)*0xffff + most/2) / most)
		}
		return v
	}, nil
}

// pnmNumber reads one number of the header and the white space after it.
func pnmNumber(r *bufio.Reader) (int, error) {
	n, digits := 0, 0
	for {
		c, err := r.ReadByte()
		switch {
		case err != nil:
			return 0, errors.New("the file ends in its header")
		case c == '#' && digits == 0:
			if _, err := r.ReadString('\n'); err != nil {
				return 0, errors.New("the file ends in a comment")
			}
		case c >= '0' && c <= '9':
			if n, digits = 10*n+int(c-'0'), digits+1; digits > 6 {
				return 0, errors.New("got a number of more than six digits")
			}
		case c == ' ' || c == '\t' || c == '\n' || c == '\r':
			if digits > 0 {
				return n, nil
			}
		default:
			return 0, fmt.Errorf("got %q, expected digits", c)
		}
	}
}
