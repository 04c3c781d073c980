package dataset

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"image"
	"image/color"
	"image/jpeg"
	"image/png"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

func encode(t testing.TB, m image.Image) []byte {
	t.Helper()
	var buf bytes.Buffer
	require.NoError(t, png.Encode(&buf, m))
	return buf.Bytes()
}

// grayPNG is a 2×3 gray image, each pixel v more than the one before.
func grayPNG(t testing.TB, v byte) []byte {
	m := image.NewGray(image.Rect(0, 0, 3, 2))
	for i := range m.Pix {
		m.Pix[i] = byte(i) * v
	}
	return encode(t, m)
}

// rgbPNG is a 1×2 image of the pixels (10,20,30) and (40,50,60).
func rgbPNG(t testing.TB) []byte {
	m := image.NewRGBA(image.Rect(0, 0, 2, 1))
	copy(m.Pix, []byte{10, 20, 30, 255, 40, 50, 60, 255})
	return encode(t, m)
}

// pngClaiming writes a file whose header claims h×w gray pixels it does not hold.
func pngClaiming(t testing.TB, h, w uint32) string {
	t.Helper()
	b := grayPNG(t, 1)
	binary.BigEndian.PutUint32(b[16:], w)
	binary.BigEndian.PutUint32(b[20:], h)
	binary.BigEndian.PutUint32(b[29:], crc32.ChecksumIEEE(b[12:29]))
	path := filepath.Join(t.TempDir(), "claim.png")
	require.NoError(t, os.WriteFile(path, b, 0o666))
	return path
}

func TestPNGFile(t *testing.T) {
	dir := folder(t, map[string][]byte{"g.png": grayPNG(t, 50), "7/rgb.PNG": rgbPNG(t)})
	s, err := LoadImages(filepath.Join(dir, "g.png"))
	require.NoError(t, err)
	require.NoError(t, s.Validate())
	require.Equal(t, &Set{C: 1, H: 2, W: 3, X: appendScaled(nil, []byte{0, 50, 100, 150, 200, 250}), Y: []int{Unknown}, Classes: 10}, s)

	s, err = LoadImages(filepath.Join(dir, "7", "rgb.PNG"))
	require.NoError(t, err)
	require.Equal(t, &Set{C: 3, H: 1, W: 2, X: appendScaled(nil, []byte{10, 40, 20, 50, 30, 60}), Y: []int{Unknown}, Classes: 10}, s)
}

func TestImageFolder(t *testing.T) {
	files := map[string][]byte{
		"12/b.png": grayPNG(t, 1), "3/a.png": grayPNG(t, 2), "05/a.png": grayPNG(t, 3), "z.png": grayPNG(t, 4),
		"notes.txt": []byte("ignored"), "cat/notes.txt": nil, "3/deeper/a.png": rgbPNG(t),
	}
	s, err := LoadImages(folder(t, files))
	require.NoError(t, err)
	require.Equal(t, []int{5, 12, 3, Unknown}, s.Y) // 05/a 12/b 3/a z
	require.Equal(t, 13, s.Classes)
	require.Nil(t, s.ClassNames)
	require.Equal(t, scaled[2], s.Image(2)[1])

	files["labels.csv"] = []byte("\ufeffname,label\r\n3/a.png, 5\nz.png,0\n\"05/a.png\",\n12/b.png,-1\n")
	dir := folder(t, files)
	s, err = LoadImages(dir)
	require.NoError(t, err)
	require.NoError(t, s.Validate())
	require.Equal(t, []int{Unknown, Unknown, 5, 0}, s.Y)

	s, err = LoadImages(filepath.Join(dir, "z.png"))
	require.NoError(t, err)
	require.Equal(t, []int{0}, s.Y)
}

func TestImageLabelsBad(t *testing.T) {
	for name, c := range map[string]struct{ text, field string }{
		"no such file": {"a.png,1\nb.png,2\n", "line 2"},
		"twice":        {"a.png,1\na.png,1\n", "line 2"},
		"not a number": {"a.png,cat\n", "line 1"},
		"negative":     {"a.png,-2\n", "line 1"},
		"absurd":       {"a.png,65536\n", "line 1"},
		"three fields": {"a.png,1,2\n", "text"},
		"quote":        {"\"a.png,1\n", "text"},
		"late header":  {"a.png,1\nname,label\n", "line 2"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := folder(t, map[string][]byte{"a.png": grayPNG(t, 1), "labels.csv": []byte(c.text)})
			_, err := LoadImages(dir)
			requireError(t, err, "labels.csv", c.field)
		})
	}
}

func TestPNGBad(t *testing.T) {
	r := image.Rect(0, 0, 2, 2)
	palette := image.NewPaletted(r, color.Palette{color.Black, color.White})
	good := grayPNG(t, 1)
	// A tRNS chunk that makes the colour (10,20,30) transparent, before IDAT.
	rgb := rgbPNG(t)
	chunk := append([]byte("tRNS"), 0, 10, 0, 20, 0, 30)
	chunk = binary.BigEndian.AppendUint32(append([]byte{0, 0, 0, 6}, chunk...), crc32.ChecksumIEEE(chunk))
	clear := append(append(bytes.Clone(rgb[:33]), chunk...), rgb[33:]...)

	for name, c := range map[string]struct {
		data  []byte
		field string
	}{
		"empty":       {nil, "signature"},
		"not PNG":     {[]byte("GIF89a, and enough more for a header"), "signature"},
		"16 bit":      {encode(t, image.NewGray16(r)), "IHDR"},
		"palette":     {encode(t, palette), "IHDR"},
		"alpha":       {encode(t, image.NewNRGBA(r)), "IHDR"},
		"transparent": {clear, "tRNS"},
		"checksum":    {spoilt(good, 30), "data"},
		"trailing":    {append(bytes.Clone(good), 0), "end"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := LoadImages(filepath.Join(folder(t, map[string][]byte{"a.png": c.data}), "a.png"))
			requireError(t, err, "a.png", c.field)
		})
	}
	for n := range good {
		path := filepath.Join(folder(t, map[string][]byte{"a.png": good[:n]}), "a.png")
		_, err := LoadImages(path)
		requireError(t, err, "a.png", "")
	}
	for _, d := range [][2]uint32{{0, 3}, {3, 0}, {1 << 31, 1 << 31}, {1<<32 - 1, 1<<32 - 1}, {1 << 14, 1 << 14}} {
		_, err := LoadImages(pngClaiming(t, d[0], d[1]))
		requireError(t, err, "claim.png", "IHDR")
	}
	_, err := LoadImages(folder(t, map[string][]byte{"a.png": good, "b.png": rgb}))
	requireError(t, err, "b.png", "shape")
	_, err = LoadImages(folder(t, nil))
	requireError(t, err, "", "folder")
	_, err = LoadImages(filepath.Join(t.TempDir(), "none.png"))
	requireError(t, err, "none.png", "path")
}

func encodeJPEG(t testing.TB, m image.Image) []byte {
	t.Helper()
	var buf bytes.Buffer
	require.NoError(t, jpeg.Encode(&buf, m, &jpeg.Options{Quality: 100}))
	return buf.Bytes()
}

// Flat colours, which JPEG keeps as they are but for rounding.
func TestJPEG(t *testing.T) {
	gray := image.NewGray(image.Rect(0, 0, 5, 3))
	rgb := image.NewRGBA(image.Rect(0, 0, 5, 3))
	for i := range gray.Pix {
		gray.Pix[i] = 77
		copy(rgb.Pix[4*i:], []byte{200, 100, 50, 255})
	}
	dir := folder(t, map[string][]byte{"g.jpg": append(encodeJPEG(t, gray), "a preview"...), "c.JPEG": encodeJPEG(t, rgb)})
	s, err := Load(filepath.Join(dir, "g.jpg"))
	require.NoError(t, err)
	require.NoError(t, s.Validate())
	require.Equal(t, Shape{1, 3, 5}, s.Shape())
	for _, v := range s.X {
		require.Equal(t, scaled[77], v)
	}
	s, err = Load(filepath.Join(dir, "c.JPEG"))
	require.NoError(t, err)
	require.NoError(t, s.Validate())
	require.Equal(t, Shape{3, 3, 5}, s.Shape())
	for c, want := range []float64{200, 100, 50} {
		for _, v := range s.X[c*15 : c*15+15] {
			require.InDelta(t, want/255, v, 2./255)
		}
	}

	good := encodeJPEG(t, rgb)
	for n := range len(good) - 2 { // the marker at the end adds nothing
		path := filepath.Join(folder(t, map[string][]byte{"a.jpg": good[:n]}), "a.jpg")
		_, err := Load(path)
		requireError(t, err, "a.jpg", "")
	}
	_, err = Load(filepath.Join(folder(t, map[string][]byte{"a.jpg": grayPNG(t, 1)}), "a.jpg"))
	requireError(t, err, "a.jpg", "header")
}

func TestFoldersOfClasses(t *testing.T) {
	files := map[string][]byte{"dog/1.png": grayPNG(t, 1), "dog/2.png": grayPNG(t, 2), "cat/9.png": grayPNG(t, 3), "Zebra/a.png": grayPNG(t, 4), "empty/notes.txt": nil}
	dir := folder(t, files)
	s, err := Load(dir)
	require.NoError(t, err)
	require.NoError(t, s.Validate())
	require.Equal(t, []string{"Zebra", "cat", "dog"}, s.ClassNames)
	require.Equal(t, []int{0, 1, 2, 2}, s.Y)
	require.Equal(t, 3, s.Classes)

	s, err = LoadWith(dir, Options{Offset: 3, N: 1})
	require.NoError(t, err)
	require.Equal(t, []int{2}, s.Y, "the labels of a part are those of the whole")
	require.Equal(t, 3, s.Classes)
	require.Equal(t, scaled[4], s.X[2])

	files["7/a.png"] = grayPNG(t, 5)
	_, err = Load(folder(t, files))
	e := requireError(t, err, "", "folders")
	require.Contains(t, e.Got, `"7" and "dog"`)

	files["labels.csv"] = []byte("7/a.png,7\n")
	s, err = Load(folder(t, files))
	require.NoError(t, err)
	require.Nil(t, s.ClassNames)
	require.Equal(t, []int{7, Unknown, Unknown, Unknown, Unknown}, s.Y)

	dir = folder(t, map[string][]byte{"test/cat/a.png": grayPNG(t, 1), "test/dog/a.png": grayPNG(t, 2), "train/cat/a.png": grayPNG(t, 3)})
	for spec, want := range map[string][]int{dir: {0, 1}, dir + "#test": {0, 1}, dir + "#train": {0}} {
		s, err = Load(spec)
		require.NoError(t, err)
		require.Equal(t, want, s.Y, spec)
	}

	_, err = Load(folder(t, map[string][]byte{"70000/a.png": grayPNG(t, 1)}))
	requireError(t, err, "70000", "name")
}

// A shape that the model does not take is refused before the pixels are read,
// here of images that end after the header.
func TestShapeIsKnownFromTheHeader(t *testing.T) {
	var head bytes.Buffer
	require.NoError(t, jpeg.Encode(&head, image.NewGray(image.Rect(0, 0, 3, 2)), nil))
	at := bytes.Index(head.Bytes(), []byte{0xff, 0xda}) // start of scan
	dir := folder(t, map[string][]byte{
		"a.png": grayPNG(t, 1)[:40], "b.jpg": head.Bytes()[:at+4],
		"c.npy":               array("<f8", false, nil, 2, 2, 3),
		"d-images-idx3-ubyte": goodImages[:16],
		"d-labels-idx1-ubyte": goodLabels,
		"f.bin":               cifar(1),
	})
	for _, name := range []string{"a.png", "b.jpg", "c.npy", "d-images-idx3-ubyte", "f.bin"} {
		_, err := LoadWith(filepath.Join(dir, name), Options{Input: Shape{1, 28, 28}})
		var e *ShapeError
		require.ErrorAs(t, err, &e, name)
		if name != "f.bin" {
			require.Equal(t, ShapeError{Shape{1, 2, 3}, Shape{1, 28, 28}}, *e, name)
		}
		requireError(t, err, name, "shape")
	}
	for _, name := range []string{"a.png", "b.jpg", "d-images-idx3-ubyte"} {
		_, err := LoadWith(filepath.Join(dir, name), Options{Channels: ChannelsLast})
		requireError(t, err, name, "channels")
	}
}
