package defend

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/epsball/epsball/internal/golden"
	"github.com/epsball/epsball/kernels"
	"github.com/epsball/epsball/model"
)

type array struct {
	shape []int
	data  []float32
}

func readGolden(t *testing.T) map[string]array {
	list, err := golden.File("defend.npz")
	require.NoError(t, err)
	arrays := map[string]array{}
	for _, a := range list {
		arrays[a.Name] = array{a.Shape, a.Data.([]float32)}
	}
	return arrays
}

// TestGolden compares with NumPy, SciPy, scikit-image and Pillow (make_defend.py).
func TestGolden(t *testing.T) {
	all := readGolden(t)
	compared := map[string]int{}
	for _, name := range slices.Sorted(maps.Keys(all)) {
		image, text, ok := strings.Cut(name, ".")
		if !ok || image == "resize" {
			continue
		}
		x, want := all[image], all[name]
		c, err := Parse(text)
		require.NoError(t, err, text)
		in := model.Shape{C: x.shape[0], H: x.shape[1], W: x.shape[2]}
		require.NoError(t, c.Validate(in))
		y := make([]float32, in.Size())
		c[0].NewFilter(in).Forward(y, x.data, nil)
		compared[c[0].Name()]++
		worst, sum := 0.0, 0.0
		for k, v := range y {
			d := math.Abs(float64(v) - float64(want.data[k]))
			worst, sum = max(worst, d), sum+d
		}
		most, mean := 5e-6, 1e-6
		if c[0].Name() == "jpeg" {
			// Two implementations of the cosine transform, in whole numbers, so that a
			// coefficient may be rounded to the other side; and Pillow
			// interpolates the colours that are halved in resolution (14 of 255 apart for
			// the same file). TestJPEG is stricter.
			most, mean = 10.01/255, 0.5/255
			if in.C == 3 {
				most, mean = 26.0/255, 4.0/255
			}
		}
		require.LessOrEqual(t, worst, most, name)
		require.LessOrEqual(t, sum/float64(len(y)), mean, name)
	}
	require.Equal(t, map[string]int{"bits": 12, "median": 12, "gaussian": 12, "tv": 12, "jpeg": 9}, compared)
}

// TestResizeGolden compares with PyTorch. Its images are found where they were put.
func TestResizeGolden(t *testing.T) {
	all := readGolden(t)
	digit := all["digit0"]
	in := model.Shape{C: 1, H: 28, W: 28}
	seen := 0
	for name, want := range all {
		var h, w int
		if n, _ := fmt.Sscanf(name, "resize.%d.%d", &h, &w); n != 2 {
			continue
		}
		seen++
		rows, cols := make([]tap, 28), make([]tap, 28)
		taps(rows, h, in.H)
		taps(cols, w, in.W)
		for i := range h {
			for j := range w {
				r, c := rows[i], cols[j]
				at := func(i, j int) float32 { return digit.data[i*28+j] }
				have := mix(mix(at(r.lo, c.lo), at(r.lo, c.hi), c.share), mix(at(r.hi, c.lo), at(r.hi, c.hi), c.share), r.share)
				require.InDelta(t, want.data[i*w+j], have, 1e-6)
			}
		}
	}
	require.Equal(t, 3, seen)

	f := ResizePad{Least: 0.7}.NewFilter(in).(*resizePad)
	y, sizes := make([]float32, 784), map[int]bool{}
	for id := range uint64(200) {
		r := kernels.NewStream(1, id, 0)
		again := r
		f.Forward(y, digit.data, &r)
		h, w, top, left := f.draw(&again)
		sizes[h] = true
		require.Equal(t, h, w)
		require.True(t, h >= 20 && h <= 28 && top >= 0 && left >= 0 && top+h <= 28 && left+w <= 28)
		for k, v := range y {
			if i, j := k/28, k%28; i < top || i >= top+h || j < left || j >= left+w {
				require.Zero(t, v)
			}
		}
	}
	require.Len(t, sizes, 9)
}
