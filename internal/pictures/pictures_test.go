package pictures

import (
	"bytes"
	"image"
	"image/color"
	"image/png"
	"math/rand/v2"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/epsball/epsball/dataset"
	"github.com/epsball/epsball/internal/golden"
	"github.com/epsball/epsball/model"
)

// TestSSIMGolden compares with scikit-image (testdata/golden/make_ssim.py).
func TestSSIMGolden(t *testing.T) {
	list, err := golden.File("ssim.npz")
	require.NoError(t, err)
	arrays := map[string]dataset.NamedArray{}
	for _, a := range list {
		arrays[a.Name] = a
	}
	require.Len(t, arrays, 12)
	for _, name := range []string{"gray", "colour", "one-window", "unlike"} {
		x, y := arrays[name+".x"], arrays[name+".y"]
		in := model.Shape{C: x.Shape[0], H: x.Shape[1], W: x.Shape[2]}
		a, b := x.Data.([]float32), y.Data.([]float32)
		got, ok := SSIM(a, b, in)
		require.True(t, ok)
		assert.InDelta(t, arrays[name+".ssim"].Data.([]float64)[0], got, 1e-12, name)
		same, _ := SSIM(a, a, in)
		assert.InDelta(t, 1, same, 1e-12)
		back, _ := SSIM(b, a, in)
		assert.InDelta(t, got, back, 1e-15)
	}
	_, ok := SSIM(make([]float32, 110), make([]float32, 110), model.Shape{C: 1, H: 10, W: 11})
	require.False(t, ok, "no window fits")
}

// random returns an image of whole bytes.
func random(r *rand.Rand, in model.Shape) []float32 {
	x := make([]float32, in.Size())
	for i := range x {
		x[i] = float32(r.IntN(256)) / 255
	}
	return x
}

// TestFolder: what is written is read back to the bit, by index, with labels.
func TestFolder(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	for _, in := range []model.Shape{{C: 1, H: 7, W: 5}, {C: 3, H: 4, W: 9}} {
		dir := t.TempDir()
		var all []Example
		for _, index := range []int{3, 70, 99999, 100000} {
			all = append(all, Example{index, random(r, in), random(r, in), index % 7, 9})
		}
		all[1].Original[2] += 0.3 / 255 // not 8-bit: rounded
		require.NoError(t, WriteFolder(dir, in, all))
		for _, sub := range []string{Originals, Adversarials} {
			set, err := dataset.LoadImages(filepath.Join(dir, sub))
			require.NoError(t, err)
			require.Equal(t, len(all), set.Len())
			for i, e := range all {
				want := e.Adversarial
				if sub == Originals {
					want = rounded(e.Original)
				}
				require.Equal(t, want, set.Image(i))
				require.Equal(t, e.Before, set.Y[i])
			}
		}
		all[2].Adversarial[1] += 0.1 / 255
		err := WriteFolder(t.TempDir(), in, all)
		require.ErrorContains(t, err, "image 99999: pixel 1 is ")
		require.ErrorContains(t, err, "want a multiple of 1/255: 8 bits do not hold it")
	}
}

func TestCheck(t *testing.T) {
	require.NoError(t, Check(model.Shape{C: 3, H: 1, W: 1}))
	require.EqualError(t, Check(model.Shape{C: 2, H: 4, W: 5}), "images are 2x4x5, but pictures have 1 channel (gray) or 3 (RGB)")
	require.Error(t, Sheet(new(bytes.Buffer), model.Shape{C: 784, H: 1, W: 1}, "", nil))
}

// TestSheet looks for the three pictures of each example where they belong.
func TestSheet(t *testing.T) {
	in := model.Shape{C: 1, H: 48, W: 32} // drawn twice as large
	r := rand.New(rand.NewPCG(2, 1))
	all := make([]Example, MaxSheet+5)
	for i := range all {
		x := random(r, in)
		y := append([]float32(nil), x...)
		y[0], y[33] = min(x[0]+40./255, 1), max(x[33]-40./255, 0)
		all[i] = Example{i, x, y, 1, 2}
	}
	all[0].Original[0], all[0].Adversarial[0] = 0, 40./255
	all[0].Original[33], all[0].Adversarial[33] = 1, 215./255
	var b bytes.Buffer
	require.NoError(t, Sheet(&b, in, "a title with ε and é", all))
	img, err := png.Decode(&b)
	require.NoError(t, err)
	size := img.Bounds()
	require.Less(t, size.Dx(), 1600)
	require.Less(t, size.Dy(), 4*size.Dx())
	x, y := margin, 2*margin+2*line
	gray := func(x, y int) byte { return color.GrayModel.Convert(img.At(x, y)).(color.Gray).Y }
	for i, v := range all[0].Original {
		want, _ := Byte(v)
		adv, _ := Byte(all[0].Adversarial[i])
		at := image.Pt(x+2*(i%in.W), y+2*(i/in.W))
		require.Equal(t, want, gray(at.X+1, at.Y+1))
		require.Equal(t, adv, gray(at.X+2*in.W+gap, at.Y))
		want = 128 // mid-gray: no difference
		switch i {
		case 0:
			want = 255
		case 33:
			want = 0
		}
		require.InDelta(t, want, gray(at.X+2*(2*in.W+gap), at.Y+1), 1)
	}
	ink := 0
	for i := range 300 {
		for j := range 2 * line {
			if gray(margin+i, margin+j) < 100 {
				ink++
			}
		}
	}
	require.Greater(t, ink, 200, "no title")
	require.NoError(t, Sheet(&b, in, "", all[:1]))
	require.Equal(t, "a title with eps and ?", ascii("a title with ε and é"))
	require.Equal(t, [2]string{"#0  class 1 -> 2", "Linf 40/255  L2 0.22  SSIM 1.000"}, all[0].caption(in))
	all[0].Adversarial[0] = 0.1601
	require.Equal(t, "Linf 0.1601  L2 0.22", all[0].caption(model.Shape{C: 1, H: 8, W: 192})[1])
}
