package dataset

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"image"
	"image/color"
	"image/jpeg"
	"image/png"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
)

const (
	// maxImagePixels bounds one PNG or JPEG image (height × width; 1920×1080 is
	// below), whose decoder holds up to 20 bytes a pixel besides what is kept.
	maxImagePixels = 1 << 21

	// maxScrap is how many bytes decoders may leave behind before they are
	// collected. Left to itself the collector waits until they are as many as the
	// pixels kept.
	maxScrap = 16 << 20
)

// imageReader adds image files to a set.
type imageReader struct {
	o      *Options
	set    *Set
	n      int // images in all
	lo, hi int // those wanted; known once the first file has been looked at
	scrap  int // bytes that decoders have left behind
}

// read looks at the header of file i and, if it is wanted, adds its pixels.
func (r *imageReader) read(file string, i int) error {
	f, err := os.Open(file)
	if err != nil {
		return pathError(file, "a file that can be read", err)
	}
	defer f.Close()
	header, decode := pngShape, decodePNG
	if !strings.EqualFold(filepath.Ext(file), ".png") {
		header, decode = jpegShape, decodeJPEG
	}
	shape, err := header(file, bufio.NewReader(f))
	if err != nil {
		return err
	}
	if int64(shape.H)*int64(shape.W) > maxImagePixels {
		return &Error{File: file, Field: "size", Want: fmt.Sprintf("height × width of at most %d", maxImagePixels), Got: fmt.Sprintf("%d×%d", shape.H, shape.W)}
	}
	s := r.set
	if s.C == 0 {
		if r.lo, r.hi, err = r.o.plan(file, int64(r.n), shape); err != nil {
			return err
		}
		s.C, s.H, s.W = shape.C, shape.H, shape.W
	}
	if shape != s.Shape() {
		return &Error{File: file, Field: "shape", Want: s.Shape().String() + " like the files before it", Got: shape.String()}
	}
	if i < r.lo {
		return nil
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return pathError(file, "a file that can be read", err)
	}
	img, err := decode(file, bufio.NewReader(f))
	if err != nil {
		return err
	}
	s.X = room(s.X, s.size(), (r.hi-r.lo)*s.size())
	if err := s.appendImage(file, img); err != nil {
		return err
	}
	if r.scrap += 20*shape.H*shape.W + 1<<16; r.scrap > maxScrap {
		runtime.GC()
		r.scrap = 0
	}
	return nil
}

// appendImage adds the pixels of an image of the set's shape to X.
func (s *Set) appendImage(file string, img image.Image) error {
	switch m := img.(type) {
	case *image.Gray:
		for y := range s.H {
			s.X = appendScaled(s.X, m.Pix[y*m.Stride:y*m.Stride+s.W])
		}
	case *image.RGBA: // what RGB becomes when nothing is transparent
		for ch := range 3 {
			for i := range s.H * s.W {
				s.X = append(s.X, scaled[m.Pix[i/s.W*m.Stride+i%s.W*4+ch]])
			}
		}
	case *image.YCbCr:
		n := s.H * s.W
		at := len(s.X)
		s.X = s.X[:at+3*n]
		for i := range n {
			x, y := i%s.W, i/s.W
			c := m.COffset(x, y)
			red, green, blue := color.YCbCrToRGB(m.Y[m.YOffset(x, y)], m.Cb[c], m.Cr[c])
			s.X[at+i], s.X[at+n+i], s.X[at+2*n+i] = scaled[red], scaled[green], scaled[blue]
		}
	default:
		return &Error{File: file, Field: "tRNS chunk", Want: "no transparency", Got: "a transparent colour"}
	}
	return nil
}

// pngShape reads the IHDR chunk, to refuse what image/png would silently turn
// into 8 bits.
func pngShape(file string, r *bufio.Reader) (Shape, error) {
	head, _ := r.Peek(8 + 8 + 13)
	if len(head) < 8+8+13 || string(head[:8]) != "\x89PNG\r\n\x1a\n" || string(head[12:16]) != "IHDR" {
		return Shape{}, &Error{File: file, Field: "signature", Want: "a PNG signature and an IHDR chunk", Got: quote(string(head[:min(16, len(head))]))}
	}
	c, depth, kind := 0, head[24], head[25]
	switch {
	case depth == 8 && kind == 0:
		c = 1
	case depth == 8 && kind == 2:
		c = 3
	default:
		return Shape{}, &Error{
			File: file, Field: "IHDR", Want: "bit depth 8 and colour type 0 (gray) or 2 (RGB); Pillow: image.convert('L') or image.convert('RGB')",
			Got: fmt.Sprintf("bit depth %d and colour type %d", depth, kind),
		}
	}
	h, w := binary.BigEndian.Uint32(head[20:]), binary.BigEndian.Uint32(head[16:])
	if n, ok := product(maxImagePixels, int64(h), int64(w)); !ok || n == 0 {
		return Shape{}, &Error{File: file, Field: "IHDR", Want: fmt.Sprintf("1 to %d pixels", maxImagePixels), Got: fmt.Sprintf("%d×%d", h, w)}
	}
	return Shape{c, int(h), int(w)}, nil
}

func decodePNG(file string, r *bufio.Reader) (image.Image, error) {
	img, err := png.Decode(r)
	if err != nil {
		return nil, &Error{File: file, Field: "data", Want: "a whole PNG image", Got: err.Error(), Err: err}
	}
	if _, err := r.ReadByte(); err == nil {
		return nil, &Error{File: file, Field: "end", Want: "nothing after the IEND chunk", Got: "trailing bytes"}
	}
	return img, nil
}

// jpegShape reads up to the frame header.
func jpegShape(file string, r *bufio.Reader) (Shape, error) {
	c, err := jpeg.DecodeConfig(r)
	if err != nil {
		return Shape{}, &Error{File: file, Field: "header", Want: "a baseline or progressive JPEG image", Got: err.Error(), Err: err}
	}
	channels := 3
	switch {
	case c.ColorModel == color.GrayModel:
		channels = 1
	case c.ColorModel == color.CMYKModel:
		return Shape{}, &Error{File: file, Field: "colours", Want: "gray or RGB; Pillow: image.convert('RGB')", Got: "CMYK"}
	}
	if c.Height < 1 || c.Width < 1 {
		return Shape{}, &Error{File: file, Field: "header", Want: "at least 1×1", Got: fmt.Sprintf("%d×%d", c.Height, c.Width)}
	}
	return Shape{channels, c.Height, c.Width}, nil
}

// decodeJPEG lets bytes follow the image: cameras append previews.
func decodeJPEG(file string, r *bufio.Reader) (image.Image, error) {
	img, err := jpeg.Decode(r)
	if err != nil {
		return nil, &Error{File: file, Field: "data", Want: "a whole JPEG image", Got: err.Error(), Err: err}
	}
	return img, nil
}
