package onnx

import (
	"bytes"
	"compress/gzip"
	"math"
	"math/rand/v2"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/require"

	"github.com/epsball/epsball/model"
)

func TestGzip(t *testing.T) {
	data := corpus(t)["conv_valid.onnx"]
	pack := func(data []byte) []byte {
		var b bytes.Buffer
		w := gzip.NewWriter(&b)
		_, err := w.Write(data)
		require.NoError(t, err)
		require.NoError(t, w.Close())
		return b.Bytes()
	}
	files := fstest.MapFS{
		"a.onnx": {Data: data}, "a.ONNX.GZ": {Data: pack(data)}, "cut.onnx.gz": {Data: pack(data)[:100]}, "plain.onnx.gz": {Data: data},
	}
	a, err := LoadFS(files, "a.onnx")
	require.NoError(t, err)
	b, err := LoadFS(files, "a.ONNX.GZ")
	require.NoError(t, err)
	require.Equal(t, a.Hash(), b.Hash())
	for _, name := range []string{"cut.onnx.gz", "plain.onnx.gz"} {
		_, err := LoadFS(files, name)
		require.ErrorContains(t, err, name+": gzip: got")
	}
	_, err = unpack(pack(make([]byte, 1<<20)), 1<<20-1)
	require.ErrorContains(t, err, "more than 1048575 bytes")
	_, err = unpack(pack(make([]byte, 1<<20)), 1<<20)
	require.NoError(t, err)
}

// TestKeepsBits: what a model can hold survives a file, zeros' signs, denormals and
// layers that do nothing included.
func TestKeepsBits(t *testing.T) {
	negative := float32(math.Copysign(0, -1))
	m := &model.Model{
		Arch: model.Architecture{Name: "añ \"b\"", Input: model.Shape{C: 2, H: 3, W: 1}, Layers: []model.Layer{
			{Kind: model.Normalize, Mean: []float32{negative, 0}, Std: []float32{1, 1}},
			{Kind: model.Conv, Out: 2, Kernel: [2]int{3, 2}, Stride: [2]int{2, 1}, Padding: [2]int{2, 1}},
			{Kind: model.ReLU},
			{Kind: model.FC, Out: 3},
			{Kind: model.Conv, Out: 3, Kernel: [2]int{1, 1}, Stride: [2]int{1, 1}},
			{Kind: model.Add, Inputs: []int{4, 3}},
			{Kind: model.FC, Out: 3, Inputs: []int{0}},
			{Kind: model.Add, Inputs: []int{5, 6}},
			{Kind: model.ReLU},
		}},
		Card: map[string]string{"k": "v", "empty": "", "ü": "a\nb"},
	}
	require.NoError(t, m.Arch.Validate())
	shapes, err := m.Arch.Shapes()
	require.NoError(t, err)
	r := rand.New(rand.NewPCG(3, 4))
	m.Params = make([]model.Param, len(m.Arch.Layers))
	for i := range m.Arch.Layers {
		l := &m.Arch.Layers[i]
		if !l.HasParams() {
			continue
		}
		n := 1
		for _, d := range l.WeightShape(m.Arch.InputShape(i, shapes)) {
			n *= d
		}
		draw := func(n int) []float32 {
			v := make([]float32, n)
			for k := range v {
				for v[k] = math.Float32frombits(r.Uint32()); v[k]-v[k] != 0; {
					v[k] = math.Float32frombits(r.Uint32())
				}
				if r.IntN(4) == 0 {
					v[k] = negative
				}
			}
			return v
		}
		m.Params[i] = model.Param{W: draw(n), B: draw(l.Out)}
	}
	roundTrip(t, m)

	for _, name := range model.Presets()[:2] {
		a, err := model.Preset(name)
		require.NoError(t, err)
		m, err := model.Random(a, 1)
		require.NoError(t, err)
		roundTrip(t, m)
	}
	m.Params[1].W[0] = float32(math.NaN())
	_, err = Encode(m)
	require.ErrorContains(t, err, "layers.1.weight[0]")
}

func TestReshape(t *testing.T) {
	for _, c := range []struct {
		batch int64
		lead  bool
		dims  []int
		to    []int64
		want  []int // nil: refused
		keeps bool
	}{
		{-1, true, []int{2, 3, 4}, []int64{0, -1}, []int{24}, true},
		{-1, true, []int{2, 3, 4}, []int64{-1, 24}, []int{24}, true},
		{-1, true, []int{2, 3, 4}, []int64{1, 24}, []int{24}, true},
		{-1, true, []int{2, 3, 4}, []int64{batchMark, -1, 4}, []int{6, 4}, true},
		{-1, true, []int{2, 3, 4}, []int64{-1, 0, 12}, []int{2, 12}, true},
		{-1, true, []int{2, 3, 4}, []int64{-1, 12}, nil, false},
		{-1, true, []int{2, 3, 4}, []int64{24}, nil, false},
		{-1, true, []int{2, 3, 4}, []int64{-1}, nil, false},
		{-1, true, []int{2, 3, 4}, []int64{0, -1, -1}, nil, false},
		{-1, true, []int{2, 3, 4}, []int64{7, 24}, nil, false},
		{7, true, []int{2, 3, 4}, []int64{7, 24}, []int{24}, true},
		{7, true, []int{2, 3, 4}, []int64{14, 12}, nil, false},
		{1, true, []int{2, 3, 4}, []int64{24}, []int{24}, false},
		{1, true, []int{2, 3, 4}, []int64{2, -1}, []int{2, 12}, false},
		{1, false, []int{24}, []int64{1, 2, 12}, []int{2, 12}, true},
		{1, false, []int{24}, []int64{2, 12}, []int{2, 12}, false},
		{1, true, []int{2, 3, 4}, []int64{1, math.MaxInt64, math.MaxInt64}, nil, false},
		{1, true, []int{2, 3, 4}, []int64{1, -2, -12}, nil, false},
	} {
		im := &importer{}
		im.in.batch = c.batch
		lead, dims, ok := im.reshape(&act{lead: c.lead, dims: c.dims}, c.to)
		require.Equal(t, c.want != nil, ok, "%v", c)
		if ok {
			require.Equal(t, c.want, dims, "%v", c)
			require.Equal(t, c.keeps, lead, "%v", c)
		}
	}
}

// TestPadding: pads that differ from side to side become zero weights; compared
// with sums written out.
func TestPadding(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	for range 300 {
		size, k, s := 1+r.IntN(7), 1+r.IntN(4), 1+r.IntN(3)
		low, high := r.IntN(5), r.IntN(5)
		w, x := make([]float32, k), make([]float32, size)
		for i := range w {
			w[i] = float32(r.IntN(9) - 4)
		}
		for i := range x {
			x[i] = float32(r.IntN(9)) / 8
		}
		im := &importer{budget: 1 << 20}
		win := newWindow(k, 1)
		win.stride[0], win.pads = s, [4]int{low, 0, high, 0}
		l, err := im.conv(&node{}, &act{}, model.Shape{C: 1, H: size, W: 1}, w, []float64{0}, win)
		if k > size+low+high {
			require.Error(t, err)
			continue
		}
		require.NoError(t, err)
		arch := model.Architecture{Input: model.Shape{C: 1, H: size, W: 1}, Layers: []model.Layer{l.Layer}}
		shapes, err := arch.Shapes()
		require.NoError(t, err)
		require.Equal(t, l.shape, shapes[1])
		got := outputs(t, &model.Model{Arch: arch, Params: []model.Param{{W: l.w, B: []float32{0}}}}, x)
		require.Len(t, got, (size+low+high-k)/s+1)
		for o := range got {
			var sum float32
			for i := range w {
				if p := o*s + i - low; p >= 0 && p < size {
					sum += w[i] * x[p]
				}
			}
			require.Equal(t, sum, got[o])
		}
	}
}

// TestRoundsOnce: constants that meet in one weight are multiplied in float64 and
// rounded together; what is a power of two changes nothing but the exponent.
func TestRoundsOnce(t *testing.T) {
	r := rand.New(rand.NewPCG(8, 9))
	draw := func(n int) []float32 {
		v := make([]float32, n)
		for i := range v {
			v[i] = float32(r.NormFloat64())
		}
		return v
	}
	for range 50 {
		w, b, in, s1, s2 := draw(2*3), draw(2), draw(3), draw(2), draw(2)
		e := &encoder{}
		e.init("w", []int{2, 3, 1, 1}, w)
		e.init("b", []int{2}, b)
		e.init("in", []int{3, 1, 1}, in)
		e.init("s1", []int{2, 1, 1}, s1)
		e.init("s2", []int{1, 2, 1, 1}, s2)
		e.node("Mul", "a", nil, "x", "in")
		e.node("Conv", "c", nil, "a", "w", "b")
		e.node("Mul", "d", nil, "c", "s1")
		e.node("Identity", "s", nil, "d")
		e.node("Div", "y", nil, "s", "s2")
		m, err := Decode(file(e.nodes, e.inits, 3, 2, 2), "f.onnx")
		require.NoError(t, err)
		require.Len(t, m.Params, 1)
		for o := range 2 {
			scale := float64(s1[o]) / float64(s2[o])
			require.Equal(t, float32(float64(b[o])*float64(s1[o])/float64(s2[o])), m.Params[0].B[o])
			for i := range 3 {
				want := float32(float64(w[o*3+i]) * float64(in[i]) * scale)
				require.Equal(t, want, m.Params[0].W[o*3+i])
			}
		}
		require.Contains(t, m.Card[CardNotes], `layer 0: weights rounded to float32 after taking in Mul "a", Mul "d", Div "y"`)
	}
}
