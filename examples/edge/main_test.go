package main

import (
	"bytes"
	"context"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/epsball/epsball"
	"github.com/epsball/epsball/dataset/mnist"
	"github.com/epsball/epsball/model"
	"github.com/epsball/epsball/zoo"
)

const seven = "testdata/seven.png"

func edge(t *testing.T, stdin io.Reader, args ...string) (string, error) {
	t.Helper()
	var out bytes.Buffer
	err := run(args, stdin, &out, io.Discard)
	return out.String(), err
}

func encode(t *testing.T, img image.Image) *bytes.Buffer {
	t.Helper()
	var b bytes.Buffer
	require.NoError(t, png.Encode(&b, img))
	return &b
}

// TestPictures: the test pictures are MNIST's, bit for bit, in every form in which
// they can be given.
func TestPictures(t *testing.T) {
	test, err := mnist.Test()
	require.NoError(t, err)
	for i, file := range []string{seven, "testdata/two.pgm"} {
		data, err := os.ReadFile(file)
		require.NoError(t, err)
		x, err := readPicture(bytes.NewReader(data), 1, 28, 28)
		require.NoError(t, err)
		require.Equal(t, test.Slice(i, i+1).X, x)
	}
	pix := test.Slice(1, 2).X
	grey, deep, rgb, palette := image.NewGray(image.Rect(0, 0, 28, 28)), image.NewGray16(image.Rect(0, 0, 28, 28)),
		image.NewRGBA(image.Rect(0, 0, 28, 28)), image.NewPaletted(image.Rect(0, 0, 28, 28), make(color.Palette, 256))
	ppm, pgm16 := []byte("P6 28 # across\n28 255\n"), []byte("P5\n# of MNIST\n28 28\n65535\n")
	for v := range 256 {
		palette.Palette[v] = color.Gray{uint8(v)}
	}
	for i, f := range pix {
		v := uint8(f*255 + 0.5)
		grey.Pix[i], palette.Pix[i] = v, v
		deep.SetGray16(i%28, i/28, color.Gray16{uint16(v) * 257})
		rgb.SetRGBA(i%28, i/28, color.RGBA{v, v, v, 255})
		ppm, pgm16 = append(ppm, v, v, v), append(pgm16, v, v)
	}
	for name, data := range map[string][]byte{
		"grey": encode(t, grey).Bytes(), "16 bits": encode(t, deep).Bytes(), "RGB": encode(t, rgb).Bytes(),
		"palette": encode(t, palette).Bytes(), "PPM": ppm, "PGM of 16 bits": pgm16,
	} {
		x, err := readPicture(bytes.NewReader(data), 1, 28, 28)
		require.NoError(t, err, name)
		require.Equal(t, pix, x, name)
		three, err := readPicture(bytes.NewReader(data), 3, 28, 28)
		require.NoError(t, err, name)
		require.Equal(t, append(append(append([]float32{}, pix...), pix...), pix...), three, name)
	}
	rgb.SetRGBA(0, 0, color.RGBA{255, 0, 0, 255})
	rgb.SetRGBA(1, 0, color.RGBA{0, 0, 255, 255})
	data := encode(t, rgb).Bytes()
	one, err := readPicture(bytes.NewReader(data), 1, 28, 28)
	require.NoError(t, err)
	require.InDelta(t, 0.299, one[0], 1e-3, "luma")
	require.InDelta(t, 0.114, one[1], 1e-3, "luma")
	three, err := readPicture(bytes.NewReader(data), 3, 28, 28)
	require.NoError(t, err)
	require.Equal(t, []float32{1, 0, 0, 1}, []float32{three[0], three[1], three[784*2], three[784*2+1]})
}

func TestRun(t *testing.T) {
	out, err := edge(t, nil, seven)
	require.NoError(t, err)
	require.Equal(t, "class 7, margin 12.4\n", out)

	// Black on white from standard input.
	file, err := os.Open(seven)
	require.NoError(t, err)
	defer file.Close()
	img, err := png.Decode(file)
	require.NoError(t, err)
	inverted := image.NewGray(img.Bounds())
	for i, v := range img.(*image.Gray).Pix {
		inverted.Pix[i] = 255 - v
	}
	out, err = edge(t, encode(t, inverted), "--invert", "-")
	require.NoError(t, err)
	require.Equal(t, "class 7, margin 12.4\n", out)

	// Another model, from a file.
	path := filepath.Join(t.TempDir(), "m.safetensors")
	require.NoError(t, os.WriteFile(path, zoo.MNISTSmallStandard(), 0o666))
	out, err = edge(t, nil, "--model="+path, seven, "--certify", "--threads", "2", "--all-batches")
	require.NoError(t, err)
	require.Contains(t, out, "class 7, ")
	require.NotContains(t, out, "ε = 0.165")

	out, err = edge(t, nil, "--help")
	require.NoError(t, err)
	require.Contains(t, out, "--certify")
}

// TestCertify: what the program says is proved is what Certify proves, by each method.
func TestCertify(t *testing.T) {
	m, err := epsball.LoadBytes(embedded, "embedded", epsball.Threads(1))
	require.NoError(t, err)
	defer m.Close()
	test, err := mnist.Test()
	require.NoError(t, err)
	x, ctx := epsball.Batch{X: test.Slice(1, 2).X}, context.Background()
	for _, b := range bounds {
		step := "1/100"
		out, err := edge(t, nil, "testdata/two.pgm", "--certify", "--method", b.name, "--step", step)
		require.NoError(t, err)
		var class int
		var margin float64
		var eps, method string
		_, err = fmt.Sscanf(out, "class %d, margin %g\nproved for every picture within ε = %s (linf, %s\n", &class, &margin, &eps, &method)
		require.NoError(t, err, out)
		require.Equal(t, b.name+")", method)
		ball, err := epsball.ParseBall("linf", eps)
		require.NoError(t, err)
		cert, err := m.Certify(ctx, x.With([]int{class}), ball, b.how)
		require.NoError(t, err)
		require.True(t, cert.Robust[0], out)
	}
}

// TestEmbedded: the network in the program is what go generate makes of the zoo's.
func TestEmbedded(t *testing.T) {
	ibp, err := zoo.Load("mnist-small-ibp-0.1")
	require.NoError(t, err)
	want, err := ibp.Store(func(int) model.Storage { return model.Storage{Type: model.BF16, Tiles: true} })
	require.NoError(t, err)
	got, err := model.Decode(embedded, "embedded")
	require.NoError(t, err)
	require.Equal(t, want.Hash(), got.Hash())
	for i := range got.Params {
		if got.Arch.Layers[i].HasParams() {
			require.Equal(t, want.Params[i].Storage(), got.Params[i].Storage(), "layer %d", i)
		}
	}
}

func TestBadInput(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		require.NoError(t, os.WriteFile(path, []byte(text), 0o666))
		return path
	}
	transparent := image.NewNRGBA(image.Rect(0, 0, 28, 28))
	good, err := os.ReadFile(seven)
	require.NoError(t, err)
	for _, c := range []struct {
		args []string
		want []string
	}{
		{[]string{filepath.Join(dir, "none.png")}, []string{"none.png"}},
		{[]string{write("empty", "")}, []string{"empty", "signature", "expected a PNG"}},
		{[]string{write("text", "hello")}, []string{"text", "signature", `"hello"`}},
		{[]string{write("cut.png", string(good[:len(good)/2]))}, []string{"cut.png"}},
		{[]string{write("small.png", encode(t, image.NewGray(image.Rect(0, 0, 27, 28))).String())}, []string{"small.png", "27×28", "28×28"}},
		{[]string{write("clear.png", encode(t, transparent).String())}, []string{"clear.png", "pixel 0,0", "opaque"}},
		{[]string{write("large.pgm", "P5 "+strings.Repeat(" ", maxFile))}, []string{"large.pgm", "size"}},
		{[]string{write("wide.pgm", "P5 29 28 255\n")}, []string{"wide.pgm", "29×28"}},
		{[]string{write("short.pgm", "P5 28 28 255\nabc")}, []string{"short.pgm", "pixels: got 3 bytes, expected 784"}},
		{[]string{write("head.pgm", "P5 28")}, []string{"head.pgm", "width"}},
		{[]string{write("minus.pgm", "P5 -28 28 255\n")}, []string{"minus.pgm", "width", "digits"}},
		{[]string{write("huge.pgm", "P5 99999999999999999999 28 255\n")}, []string{"huge.pgm", "width", "six digits"}},
		{[]string{write("zero.pgm", "P5 28 28 0\n")}, []string{"zero.pgm", "maximum"}},
		{[]string{write("over.pgm", "P5 28 28 9\n"+strings.Repeat("\x0a", 784))}, []string{"over.pgm", "sample 10", "maximum 9"}},
		{[]string{seven, seven}, []string{"second picture"}},
		{[]string{"--certfy", seven}, []string{"--certfy", "unknown flag"}},
		{[]string{seven, "--method"}, []string{"--method", "no value"}},
		{[]string{seven, "--method", "magic"}, []string{"--method", "magic", "alpha-crown"}},
		{[]string{seven, "--step", "0"}, []string{"--step", "got 0"}},
		{[]string{seven, "--step", "-1"}, []string{"--step", "≥ 0"}},
		{[]string{seven, "--step", "1/0"}, []string{"--step", "1/0"}},
		{[]string{seven, "--certify", "--step", "1e-9"}, []string{"steps"}},
		{[]string{seven, "--threads", "0"}, []string{"--threads", "expected 1"}},
		{[]string{seven, "--threads", "many"}, []string{"--threads", "many"}},
		{[]string{seven, "--model", filepath.Join(dir, "none")}, []string{"--model", "none"}},
		{[]string{seven, "--model", write("bad.safetensors", "????????")}, []string{"bad.safetensors", "header length"}},
	} {
		out, err := edge(t, nil, c.args...)
		require.Error(t, err, c.args)
		require.Empty(t, out)
		for _, w := range c.want {
			require.ErrorContains(t, err, w, c.args)
		}
	}
	_, err = edge(t, strings.NewReader("x"))
	require.ErrorContains(t, err, "standard input: signature")
}
