package defend

import (
	"bytes"
	"image"
	"image/color"
	"image/jpeg"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/epsball/epsball/kernels"
	"github.com/epsball/epsball/model"
)

var shapes = []model.Shape{{C: 1, H: 9, W: 7}, {C: 3, H: 5, W: 8}, {C: 1, H: 1, W: 1}, {C: 2, H: 1, W: 6}}

func randomImage(in model.Shape, r *rand.Rand) []float32 {
	x := make([]float32, in.Size())
	for k := range x {
		x[k] = r.Float32()
	}
	return x
}

// everything lists a chain of each defence; jpeg only if the shape allows it.
func everything(t *testing.T, in model.Shape) []Chain {
	var all []Chain
	for _, text := range []string{
		"bits", "bits:depth=1", "median", "median:size=2", "median:size=15", "gaussian", "gaussian:sigma=3.5", "jpeg", "jpeg:quality=10",
		"tv", "tv:weight=2,steps=7", "resize-pad", "resize-pad:least=0.3", "noise", "noise:sigma=1", "gaussian+bits+median+noise+tv:steps=3",
	} {
		c, err := Parse(text)
		require.NoError(t, err)
		if c.Validate(in) == nil {
			all = append(all, c)
		}
	}
	require.GreaterOrEqual(t, len(all), 14)
	return all
}

// TestDerivatives compares Backward with central differences of Forward along random
// directions. Filters that are linear can take large steps.
func TestDerivatives(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	tried := 0
	for _, in := range shapes {
		for _, c := range everything(t, in) {
			f, ok := c[0].NewFilter(in).(Differentiable)
			if !ok || len(c) > 1 {
				continue
			}
			step, tolerance := float32(0x1p-2), 1e-5
			switch c[0].(type) {
			case TV: // curved, with a kink where the image is flat
				step, tolerance = 0x1p-9, 5e-3
			case Median: // with kinks where two pixels are equal
				step = 0x1p-10
			}
			for range 20 {
				tried++
				x, g, d := randomImage(in, r), randomImage(in, r), randomImage(in, r)
				up, down := make([]float32, len(x)), make([]float32, len(x))
				for k := range x { // numbers whose sums and differences are exact
					x[k] = float32(math.Round(float64(x[k])*4096)) / 4096
					if _, ok := c[0].(Median); ok {
						x[k] = float32(1+k*17%len(x)) / 256
					}
					d[k] = float32(math.Round(float64(d[k])*1024)) / 1024
					up[k], down[k] = x[k]+step*d[k], x[k]-step*d[k]
				}
				id := r.Uint64()
				stream := func() *kernels.Stream { s := kernels.NewStream(7, id, 0); return &s }
				a, b, back := make([]float32, len(x)), make([]float32, len(x)), make([]float32, len(x))
				f.Forward(a, up, stream())
				f.Forward(b, down, stream())
				f.Backward(back, g, x, stream())
				var have, want, size float64
				for k := range x {
					have += float64(back[k]) * float64(d[k])
					want += float64(g[k]) * (float64(a[k]) - float64(b[k])) / float64(2*step)
					size += math.Abs(float64(g[k]))
				}
				require.InDelta(t, want, have, tolerance*size, "%v, %v", c, in)
			}
		}
	}
	require.Positive(t, tried)
}

// TestTVMinimises: many steps come near to the minimum, which no other image beats.
func TestTVMinimises(t *testing.T) {
	in := model.Shape{C: 1, H: 8, W: 8}
	r := rand.New(rand.NewPCG(5, 6))
	x := randomImage(in, r)
	const weight = 0.2
	cost := func(u []float32) float64 {
		sum := 0.0
		for k, v := range u {
			i, j := k/8, k%8
			var down, right float64
			if i < 7 {
				down = float64(u[k+8]) - float64(v)
			}
			if j < 7 {
				right = float64(u[k+1]) - float64(v)
			}
			d := float64(v) - float64(x[k])
			sum += d*d/2 + weight*math.Hypot(down, right)
		}
		return sum
	}
	u, few := make([]float32, 64), make([]float32, 64)
	TV{Weight: weight, Steps: 1000}.NewFilter(in).Forward(u, x, nil)
	TV{Weight: weight}.NewFilter(in).Forward(few, x, nil)
	least := cost(u)
	require.Less(t, least, cost(x)*0.8)
	require.InDelta(t, least, cost(few), 0.02*least)
	for range 500 {
		other := make([]float32, 64)
		size := float32(math.Pow(10, -1-3*r.Float64()))
		for k := range other {
			other[k] = u[k] + size*(2*r.Float32()-1)
		}
		require.Greater(t, cost(other), least-1e-6)
	}
}

// TestBits: few values, each pixel less than half a step away.
func TestBits(t *testing.T) {
	in := model.Shape{C: 1, H: 64, W: 64}
	x := randomImage(in, rand.New(rand.NewPCG(3, 4)))
	for depth := 1; depth <= 8; depth++ {
		y, values := make([]float32, len(x)), map[float32]bool{}
		Bits{Depth: depth}.NewFilter(in).Forward(y, x, nil)
		top := float64(int(1)<<depth - 1)
		for k, v := range y {
			values[v] = true
			require.LessOrEqual(t, math.Abs(float64(v)-float64(x[k])), 0.5/top+1e-6)
			require.InDelta(t, math.Round(float64(v)*top), float64(v)*top, 1e-4)
		}
		require.Len(t, values, 1<<depth)
	}
	b := bits(255)
	y := make([]float32, 256)
	for k := range y {
		y[k] = float32(k) / 255
	}
	same := make([]float32, 256)
	b.Forward(same, y, nil)
	require.Equal(t, y, same, "what is on the grid of 8 bits stays")
}

// TestJPEG does by image/jpeg's own interfaces what the filter does by arrays, in grey and
// in colour, with sides that are no multiples of a block.
func TestJPEG(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 8))
	for _, in := range []model.Shape{{C: 1, H: 28, W: 28}, {C: 3, H: 32, W: 32}, {C: 3, H: 11, W: 17}, {C: 1, H: 5, W: 40}} {
		for _, quality := range []int{1, 50, 75, 100} {
			x, y := randomImage(in, r), make([]float32, in.Size())
			JPEG{Quality: quality}.NewFilter(in).Forward(y, x, nil)
			at := func(x []float32, c, i, j int) uint8 {
				return uint8(math.Round(255 * float64(x[min(c, in.C-1)*in.H*in.W+i*in.W+j])))
			}
			var m interface {
				image.Image
				Set(x, y int, c color.Color)
			} = image.NewGray(image.Rect(0, 0, in.W, in.H))
			if in.C == 3 {
				m = image.NewNRGBA(image.Rect(0, 0, in.W, in.H))
			}
			for i := range in.H {
				for j := range in.W {
					m.Set(j, i, color.RGBA{at(x, 0, i, j), at(x, 1, i, j), at(x, 2, i, j), 255})
				}
			}
			var file bytes.Buffer
			require.NoError(t, jpeg.Encode(&file, m, &jpeg.Options{Quality: quality}))
			back, err := jpeg.Decode(&file)
			require.NoError(t, err)
			for i := range in.H {
				for j := range in.W {
					p := color.RGBAModel.Convert(back.At(j, i)).(color.RGBA)
					for c, want := range []uint8{p.R, p.G, p.B}[:in.C] {
						require.Equal(t, want, at(y, c, i, j), "%v, quality %d, channel %d of %d, %d", in, quality, c, i, j)
					}
				}
			}
		}
	}
}

// TestNoise: the numbers have the mean and the deviation they should.
func TestNoise(t *testing.T) {
	in := model.Shape{C: 1, H: 200, W: 200}
	x, y := make([]float32, in.Size()), make([]float32, in.Size())
	for k := range x {
		x[k] = 0.5
	}
	s := kernels.NewStream(1, 2, 3)
	Noise{Sigma: 0.25}.NewFilter(in).Forward(y, x, &s)
	var mean, square float64
	for k, v := range y {
		d := float64(v) - float64(x[k])
		mean, square = mean+d/float64(len(y)), square+d*d/float64(len(y))
	}
	require.InDelta(t, 0, mean, 0.005)
	require.InDelta(t, 0.25, math.Sqrt(square), 0.005)
}
