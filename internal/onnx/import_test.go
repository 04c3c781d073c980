package onnx

import (
	"bytes"
	"compress/gzip"
	"errors"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/epsball/epsball/model"
)

// corpus returns the networks of testdata, good and bad.
func corpus(t testing.TB) map[string][]byte {
	files := map[string][]byte{}
	for _, pattern := range []string{"*.onnx", "refused/*.onnx"} {
		list, err := filepath.Glob(filepath.Join(goldenDir, pattern))
		require.NoError(t, err)
		for _, path := range list {
			data, err := os.ReadFile(path)
			require.NoError(t, err)
			files[filepath.Base(path)] = data
		}
	}
	require.Greater(t, len(files), 60)
	return files
}

// hostile decodes anything with a small allowance: an error or a valid model that
// survives the round trip.
func hostile(t *testing.T, data []byte) {
	m, err := decode(data, 1<<16)
	if err != nil {
		var fe *model.FormatError
		require.ErrorAs(t, err, &fe)
		require.NotContains(t, err.Error(), "\n")
		return
	}
	require.NoError(t, m.Validate())
	m.Card = nil
	roundTrip(t, m)
}

func FuzzImport(f *testing.F) {
	for _, data := range corpus(f) {
		f.Add(data)
	}
	f.Fuzz(hostile)
}

// TestDamage: files cut anywhere or with damaged bytes never panic.
func TestDamage(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for _, data := range corpus(t) {
		step := 1 + len(data)/150
		for n := 0; n < len(data); n += step {
			hostile(t, data[:n])
		}
		for range 150 {
			bad := bytes.Clone(data)
			for range 1 + r.IntN(3) {
				bad[r.IntN(len(bad))] = byte(r.Uint32())
			}
			hostile(t, bad)
		}
	}
}

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

	for path, want := range map[string]bool{"a.onnx": true, "d/a.Onnx.gz": true, "a.gz": false, "a.onnx.safetensors": false, "onnx": false} {
		require.Equal(t, want, IsFile(path), path)
	}
}

// file writes an ONNX file with nodes over one input x of dimensions [1, dims…].
func file(nodes, inits []byte, dims ...int) []byte {
	shape := message(nil, 1, varint(nil, 1, 1))
	for _, d := range dims {
		shape = message(shape, 1, varint(nil, 1, d))
	}
	x := message(text(nil, 1, "x"), 2, message(nil, 1, message(varint(nil, 1, typeFloat), 2, shape)))
	g := append(append(bytes.Clone(nodes), inits...), message(message(nil, 11, x), 12, text(nil, 1, "y"))...)
	return message(message(varint(nil, 1, 8), 7, g), 8, varint(nil, 2, 13))
}

// chain writes n nodes in a row, the last of which gives y.
func chain(n int, op func(e *encoder, i int, in, out string)) []byte {
	e := &encoder{}
	name := func(i int) string {
		switch i {
		case 0:
			return "x"
		case n:
			return "y"
		}
		return "v" + strconv.Itoa(i)
	}
	for i := range n {
		op(e, i, name(i), name(i+1))
	}
	return append(e.nodes, e.inits...)
}

// TestBombs: small files that stand for much work or memory are refused, quickly.
func TestBombs(t *testing.T) {
	one := func(e *encoder) { e.init("c", []int{1}, []float32{1.5}) }
	transpose := func(e *encoder, _ int, in, out string) {
		e.node("Transpose", out, ints(nil, "perm", 0, 2, 1, 3), in)
	}
	for name, data := range map[string][]byte{
		"transposes": file(chain(10_000, transpose), nil, 4096, 64, 64),
		"constants": file(chain(10_000, func(e *encoder, i int, in, out string) {
			if i == 0 {
				one(e)
			}
			e.node("Mul", out, nil, in, "c")
		}), nil, 4096, 64, 64),
		"readers": file(chain(4_000, func(e *encoder, i int, in, out string) {
			switch i {
			case 0:
				one(e)
				e.node("Mul", out, nil, in, "c")
			case 1:
				e.node("Relu", out, nil, in)
			default: // each relu takes in the constant again
				e.node("Relu", "r"+strconv.Itoa(i), nil, "v1")
				e.node("Add", out, nil, in, "r"+strconv.Itoa(i))
			}
		}), nil, 4, 1024, 1024),
		"pool":    file(chain(1, func(e *encoder, _ int, in, out string) { e.node("GlobalAveragePool", out, nil, in) }), nil, 512, 64, 64),
		"doubled": file(chain(60, func(e *encoder, _ int, in, out string) { e.node("Add", out, nil, in, in) }), nil, 1024, 64, 64),
	} {
		_, err := Decode(data, name)
		require.ErrorContains(t, err, "too much memory", name)
	}
	deep := bytes.Repeat([]byte{0x3b}, 1<<20) // groups within groups
	_, err := Decode(deep, "deep")
	require.Error(t, err)
}

// TestHalf: a float16 is read exactly, whatever its bits.
func TestHalf(t *testing.T) {
	for bits := range 1 << 16 {
		got := half(uint16(bits))
		exp, frac := bits>>10&31, bits&1023
		// By shifting into a float32 and multiplying by a power of two.
		want := float64(math.Float32frombits(uint32(bits&0x7fff)<<13)) * 0x1p112
		if exp == 31 {
			require.True(t, frac != 0 && math.IsNaN(got) || frac == 0 && math.IsInf(got, 0))
			continue
		}
		if bits>>15 != 0 {
			want = -want
		}
		require.Equal(t, math.Float64bits(want), math.Float64bits(got), "%04x", bits)
	}
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
		win := window{kernel: [2]int{k, 1}, stride: [2]int{s, 1}, pads: [4]int{low, 0, high, 0}}
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

// TestWireTypes: fields of the wrong type are refused, not skipped.
func TestWireTypes(t *testing.T) {
	for _, data := range [][]byte{
		varint(nil, 7, 1),        // graph
		text(nil, 1, "8"),        // ir_version
		varint(nil, 8, 1),        // opset_import
		text(nil, 2, "\xff\xfe"), // producer_name
		message(nil, 7, varint(nil, 1, 1)),
		protowire.AppendTag(nil, 7, protowire.BytesType),
		{}, []byte("\x89HDF\r\n\x1a\n"), []byte("PK\x03\x04"),
	} {
		_, err := Decode(data, "f.onnx")
		var fe *model.FormatError
		require.True(t, errors.As(err, &fe), "%v", err)
		require.Equal(t, "f.onnx", fe.File)
	}
}
