package main

import (
	"archive/zip"
	"bytes"
	"encoding/binary"
	"fmt"
	"image"
	"image/color"
	"image/jpeg"
	"image/png"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/epsball/epsball/kernels"
	"github.com/epsball/epsball/model"
)

// npy is an .npy file as numpy.save writes it.
func npy(descr, order, shape string, data []byte) []byte {
	text := fmt.Sprintf("{'descr': '%s', 'fortran_order': %s, 'shape': (%s), }\n", descr, order, shape)
	b := binary.LittleEndian.AppendUint16([]byte("\x93NUMPY\x01\x00"), uint16(len(text)))
	return append(append(b, text...), data...)
}

func npz(t *testing.T, members map[string][]byte) []byte {
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	for name, data := range members {
		w, err := z.Create(name + ".npy")
		require.NoError(t, err)
		_, err = w.Write(data)
		require.NoError(t, err)
	}
	require.NoError(t, z.Close())
	return b.Bytes()
}

// writeFiles writes files, given as name and contents, and returns their folder.
func writeFiles(t *testing.T, files map[string][]byte) string {
	dir := t.TempDir()
	for name, b := range files {
		path := filepath.Join(dir, filepath.FromSlash(name))
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o777))
		require.NoError(t, os.WriteFile(path, b, 0o666))
	}
	return dir
}

// scene is a small model with images that are black and white, which all types
// hold exactly, and labels.
type scene struct {
	model string
	x     []byte // 12×6×6
	y     []byte
}

const sceneN = 12

func newScene(t *testing.T) scene {
	s := scene{model: filepath.Join(t.TempDir(), "m.safetensors")}
	m := smallModel(t, 1)
	require.NoError(t, m.Save(s.model))
	r := kernels.NewStream(3, 0, 0)
	x := make([]float32, sceneN*36)
	for i := range x {
		if r.Float32() > 0.5 {
			x[i] = 1
		}
		s.x = append(s.x, byte(255*x[i]))
	}
	for _, p := range predicted(t, m, x, sceneN) {
		s.y = append(s.y, byte(p))
	}
	return s
}

// as encodes the bytes v in another type, such that 255 stays 255, or is 1 in a
// type of floats.
func as(descr string, v []byte) (out []byte) {
	for _, b := range v {
		f := float64(b) / 255
		switch le := binary.LittleEndian; descr {
		case "|u1":
			out = append(out, b)
		case "<i8":
			out = le.AppendUint64(out, uint64(b))
		case "<f2":
			out = le.AppendUint16(out, uint16(f*0x3c00))
		case "<f4":
			out = le.AppendUint32(out, math.Float32bits(float32(f)))
		case "<f8":
			out = le.AppendUint64(out, math.Float64bits(f))
		}
	}
	return out
}

func (s scene) gray(i int) image.Image {
	m := image.NewGray(image.Rect(0, 0, 6, 6))
	copy(m.Pix, s.x[i*36:])
	return m
}

func pngOf(t *testing.T, m image.Image) []byte {
	var b bytes.Buffer
	require.NoError(t, png.Encode(&b, m))
	return b.Bytes()
}

// The same images give the same result in every format.
func TestDataFormats(t *testing.T) {
	s := newScene(t)
	labels := npy("|u1", "False", "12,", s.y)
	var column, hot []byte // of columns, the first index fastest
	for p := range 36 {
		for i := range sceneN {
			column = append(column, s.x[i*36+p])
		}
	}
	for _, y := range s.y {
		row := make([]byte, classes)
		row[y] = 255
		hot = append(hot, row...)
	}
	csv, index := "name,label\n", "index,label\n"
	files := map[string][]byte{
		"u8.npz":         npz(t, map[string][]byte{"x": npy("|u1", "False", "12, 1, 6, 6", s.x), "y": labels}),
		"int64.npz":      npz(t, map[string][]byte{"images": npy("<i8", "False", "12, 6, 6", as("<i8", s.x)), "labels": npy("<i8", "False", "12, 1", as("<i8", s.y))}),
		"half.npz":       npz(t, map[string][]byte{"arr_0": npy("<f2", "False", "12, 1, 6, 6", as("<f2", s.x)), "arr_1": labels}),
		"last.npz":       npz(t, map[string][]byte{"x_test": npy("<f4", "False", "12, 6, 6, 1", as("<f4", s.x)), "y_test": npy("<f4", "False", "12, 10", as("<f4", hot))}),
		"fortran.npz":    npz(t, map[string][]byte{"X": npy("<f8", "True", "12, 36", as("<f8", column)), "Y": labels}),
		"flat/x.npy":     npy("|u1", "False", "12, 36", s.x),
		"flat/y.npy":     labels,
		"csv/photos.npy": npy("|u1", "False", "12, 6, 6", s.x),
	}
	for i := range sceneN {
		name := fmt.Sprintf("%02d.png", i)
		files["png/"+name] = pngOf(t, s.gray(i))
		csv += fmt.Sprintf("%s,%d\n", name, s.y[i])
		index += fmt.Sprintf("%d,%d\n", i, s.y[i])
	}
	files["png/labels.csv"], files["csv/labels.csv"] = []byte(csv), []byte(index)
	dir := writeFiles(t, files)
	attack := func(spec, more string) map[string]any {
		doc := document(t, 0, args("attack --model %s --data %s --eps 0.1 --steps 5 %s", s.model, filepath.Join(dir, spec), more)...)
		delete(doc, "data")
		return stable(doc).(map[string]any)
	}
	want, part := attack("u8.npz", ""), attack("u8.npz", "--offset 5 --n 3")
	require.EqualValues(t, sceneN, want["n"])
	require.EqualValues(t, 1, want["clean"])
	for _, spec := range []string{"int64.npz", "half.npz", "last.npz", "last.npz#test", "fortran.npz", "flat/x.npy", "csv/photos.npy", "png"} {
		assert.Equal(t, want, attack(spec, ""), spec)
		assert.Equal(t, part, attack(spec, "--offset 5 --n 3"), spec)
	}
}

// attack --help promises that images without a label are attacked; the commands
// that need labels say that there are none.
func TestDataWithoutLabels(t *testing.T) {
	s := newScene(t)
	var photo bytes.Buffer
	require.NoError(t, jpeg.Encode(&photo, s.gray(0), nil))
	x := npy("|u1", "False", "12, 1, 6, 6", s.x)
	dir := writeFiles(t, map[string][]byte{
		"a.npz": npz(t, map[string][]byte{"x": x}), "a.npy": x, "a.png": pngOf(t, s.gray(0)), "jpeg/a.jpg": photo.Bytes(),
		"b.npz": npz(t, map[string][]byte{"x": x, "y": npy("|i1", "False", "12,", append([]byte{0xff}, s.y[1:]...))}),
	})
	for _, spec := range []string{"a.npz", "b.npz", "a.npy", "a.png", "jpeg"} {
		out := filepath.Join(t.TempDir(), "adv.npz")
		doc := document(t, 0, args("attack --model %s --data %s --steps 3 --out %s", s.model, filepath.Join(dir, spec), out)...)
		assert.EqualValues(t, 1, doc["clean"], spec)
		assert.Equal(t, 0, run(args("attack --model %s --data %s --steps 3", s.model, out)...).code, spec)
		for _, command := range []string{"certify --eps 0.1", "eval"} {
			r := run(args("%s --model %s --data %s", command, s.model, filepath.Join(dir, spec))...)
			assert.Equal(t, 2, r.code, spec)
			assert.Contains(t, r.stderr, "image 0", spec)
			assert.Contains(t, r.stderr, "label", spec)
		}
	}
}

func TestClassFolders(t *testing.T) {
	s := newScene(t)
	files, few := map[string][]byte{}, map[string][]byte{}
	for i := range sceneN {
		files[fmt.Sprintf("class-%c/%02d.png", 'a'+s.y[i], i)] = pngOf(t, s.gray(i))
		few[fmt.Sprintf("%s/%02d.png", []string{"cat", "dog"}[i%2], i)] = pngOf(t, s.gray(i))
	}
	for y := range classes { // all ten, so that the order of the names is that of the labels
		files[fmt.Sprintf("class-%c/none.png", 'a'+y)] = pngOf(t, image.NewGray(image.Rect(0, 0, 6, 6)))
	}
	r := run(args("attack --model %s --data %s --steps 1", s.model, writeFiles(t, files))...)
	require.Zero(t, r.code, r.stderr)
	require.Contains(t, r.stderr, `labels by the names of folders: "class-a" is 0, "class-b" is 1`)

	r = run(args("attack --model %s --data %s --steps 1", s.model, writeFiles(t, few))...)
	require.Equal(t, 2, r.code)
	require.Contains(t, r.stderr, "2 folders named by class")
	require.Contains(t, r.stderr, "10 outputs")
}

// Images of 3×3×3 can be read in two ways: the user has to say which.
func TestChannels(t *testing.T) {
	arch := &model.Architecture{Name: "cube", Input: model.Shape{C: 3, H: 3, W: 3}, Layers: []model.Layer{{Kind: model.FC, Out: 2}}}
	m, err := model.Random(arch, 1)
	require.NoError(t, err)
	data := make([]byte, 2*27)
	for i := range data {
		data[i] = byte(4 * i)
	}
	dir := writeFiles(t, map[string][]byte{"x.npy": npy("|u1", "False", "2, 3, 3, 3", data), "flat.npy": npy("|u1", "False", "2, 27", data)})
	path := filepath.Join(dir, "m.safetensors")
	require.NoError(t, m.Save(path))
	for _, name := range []string{"x.npy", "flat.npy"} {
		line := args("attack --model %s --data %s --steps 2", path, filepath.Join(dir, name))
		r := run(line...)
		assert.Equal(t, 2, r.code)
		assert.Contains(t, r.stderr, "--channels first or --channels last")
		first := stable(document(t, 0, append(line, "--channels", "first")...))
		last := stable(document(t, 0, append(line, "--channels", "last")...))
		assert.NotEqual(t, first, last)
	}
}

// What data is not, and what to do about it.
func TestBadData(t *testing.T) {
	s := newScene(t)
	float255 := as("<f4", s.x)
	for i := 3; i < len(float255); i += 4 { // 1 becomes 255
		if v := math.Float32frombits(binary.LittleEndian.Uint32(float255[i-3:])); v == 1 {
			binary.LittleEndian.PutUint32(float255[i-3:], math.Float32bits(255))
		}
	}
	rgba := image.NewNRGBA(image.Rect(0, 0, 6, 6))
	rgba.Set(0, 0, color.NRGBA{1, 2, 3, 4})
	dir := writeFiles(t, map[string][]byte{
		"floats.npz":      npz(t, map[string][]byte{"x": npy("<f4", "False", "12, 1, 6, 6", float255)}),
		"wide.npy":        npy("|u1", "False", "3, 1, 12, 12", s.x),
		"one.npy":         npy("|u1", "False", "6, 72", s.x),
		"names.npz":       npz(t, map[string][]byte{"pixels": npy("|u1", "False", "12, 1, 6, 6", s.x)}),
		"two.npz":         npz(t, map[string][]byte{"x": npy("|u1", "False", "12, 1, 6, 6", s.x), "images": npy("|u1", "False", "12, 1, 6, 6", s.x)}),
		"bool.npy":        npy("|b1", "False", "12, 1, 6, 6", make([]byte, 12*36)),
		"complex.npy":     npy("<c8", "False", "12, 1, 6, 6", make([]byte, 8*12*36)),
		"alpha.png":       pngOf(t, rgba),
		"mixed/1/a.png":   pngOf(t, s.gray(0)),
		"mixed/cat/a.png": pngOf(t, s.gray(0)),
	})
	for spec, want := range map[string][]string{
		"floats.npz":                 {"floats.npz(x.npy)", "image 0", "divide by 255, or store uint8"},
		"wide.npy":                   {"wide.npy", "1x12x12", "1x6x6"},
		"one.npy":                    {"one.npy", "6×72", "N×36"},
		"names.npz":                  {"names.npz", "pixels", "x and y"},
		"two.npz":                    {"two.npz", "x and images"},
		"names.npz#train":            {"names.npz", "#train", "x_train"},
		"bool.npy":                   {"bool.npy", "astype"},
		"complex.npy":                {"complex.npy", "<c8", "float32"},
		"alpha.png":                  {"alpha.png", "image.convert('RGB')"},
		"mixed":                      {"mixed", "1", "cat", "labels.csv"},
		"alpha.png --channels last":  {"alpha.png", "channels"},
		"wide.npy --channels middle": {"--channels", "first, last"},
	} {
		r := run(args("attack --model %s --data %s", s.model, filepath.Join(dir, spec))...)
		assert.Equal(t, 2, r.code, spec)
		assert.Equal(t, 1, strings.Count(r.stderr, "\n"), "%s: one line, got %q", spec, r.stderr)
		for _, w := range want {
			assert.Contains(t, r.stderr, w, spec)
		}
		if testing.Verbose() {
			t.Logf("%s\n    %s", spec, r.stderr)
		}
	}
}

// A small file that stands for an image of 23000×23000 is refused by its header,
// which here is all there is of it.
func TestHugePNG(t *testing.T) {
	s := newScene(t)
	b := pngOf(t, s.gray(0))
	at := bytes.Index(b, []byte("IHDR")) + 4
	binary.BigEndian.PutUint32(b[at:], 23000)
	binary.BigEndian.PutUint32(b[at+4:], 23000)
	dir := writeFiles(t, map[string][]byte{"bomb.png": b[:at+13]})
	r := run(args("attack --model %s --data %s", s.model, filepath.Join(dir, "bomb.png"))...)
	require.Equal(t, 2, r.code)
	require.Contains(t, r.stderr, "bomb.png: IHDR: got 23000×23000")
}
