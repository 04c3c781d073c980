package model

import (
	"io"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func itoa(n int) string { return strconv.Itoa(n) }

// testArch has every kind of layer, no two sizes alike.
func testArch() *Architecture {
	return &Architecture{Name: "test <ε>", Input: Shape{2, 7, 6}, Layers: []Layer{
		{Kind: Normalize, Mean: []float32{0.1, -2}, Std: []float32{0.3, 1e-7}},
		{Kind: Conv, Out: 3, Kernel: [2]int{3, 2}, Stride: [2]int{2, 1}, Padding: [2]int{1, 0}},
		{Kind: ReLU},
		{Kind: FC, Out: 5},
		{Kind: FC, Out: 4},
	}}
}

func testModel(t testing.TB) *Model {
	m, err := Random(testArch(), 7)
	require.NoError(t, err)
	m.Card = map[string]string{"b": "two\nlines \u2028 \"quoted\" <&>", "a": "", "accuracy": "98.2 %"}
	return m
}

func TestSaveLoad(t *testing.T) {
	m := testModel(t)
	dir := t.TempDir()
	path := filepath.Join(dir, "m.safetensors")
	require.NoError(t, os.WriteFile(path, []byte("old"), 0o644))
	require.NoError(t, m.Save(path))
	back, err := Load(path)
	require.NoError(t, err)
	assert.Equal(t, m, back)
	assert.Equal(t, m.Hash(), back.Hash())

	files, err := os.ReadDir(dir)
	require.NoError(t, err)
	assert.Len(t, files, 1, "no temporary file is left")

	data, err := os.ReadFile(path)
	require.NoError(t, err)
	fromFS, err := LoadFS(fstest.MapFS{"zoo/m": {Data: data}}, "zoo/m")
	require.NoError(t, err)
	assert.Equal(t, m, fromFS)
}

func TestSaveErrors(t *testing.T) {
	m := testModel(t)
	dir := t.TempDir()
	assert.ErrorIs(t, m.Save(filepath.Join(dir, "none", "m")), os.ErrNotExist)
	require.NoError(t, os.MkdirAll(filepath.Join(dir, "folder", "full"), 0o755))
	assert.Error(t, m.Save(filepath.Join(dir, "folder")), "a folder cannot be replaced")

	path := filepath.Join(dir, "m")
	require.NoError(t, m.Save(path))
	m.Params[1].W[0] = float32(math.NaN())
	var fe *FormatError
	require.ErrorAs(t, m.Save(path), &fe)
	assert.Equal(t, path, fe.File)
	_, err := Load(path)
	assert.NoError(t, err, "the old file stays")

	files, err := os.ReadDir(dir)
	require.NoError(t, err)
	assert.Len(t, files, 2, "no temporary file is left")
}

func TestLoadErrors(t *testing.T) {
	_, err := Load(filepath.Join(t.TempDir(), "none"))
	assert.ErrorIs(t, err, os.ErrNotExist)
	_, err = LoadFS(fstest.MapFS{}, "none")
	assert.ErrorIs(t, err, os.ErrNotExist)
	_, err = LoadFS(fstest.MapFS{"bad": {Data: []byte("x")}}, "bad")
	var fe *FormatError
	require.ErrorAs(t, err, &fe)
	assert.Equal(t, "bad", fe.File)
	_, err = Load(t.TempDir())
	assert.ErrorContains(t, err, "directory")

	data, err := testModel(t).Encode()
	require.NoError(t, err)
	_, err = LoadFS(shrunk{fstest.MapFS{"m": {Data: data}}}, "m")
	require.ErrorAs(t, err, &fe)
	assert.Equal(t, "m", fe.File)
	assert.Contains(t, fe.Msg, "ends early")
}

// shrunk is a file system whose files end after 1,000 bytes, whatever they say.
type shrunk struct{ fs.FS }

func (s shrunk) Open(name string) (fs.File, error) {
	f, err := s.FS.Open(name)
	return &shrunkFile{f, io.LimitReader(f, 1000)}, err
}

type shrunkFile struct {
	fs.File
	r io.Reader
}

func (f *shrunkFile) Read(b []byte) (int, error) { return f.r.Read(b) }

// TestLoadMemory: a file is never in memory besides the model.
func TestLoadMemory(t *testing.T) {
	m, err := Random(&Architecture{Name: "large", Input: Shape{1, 64, 64}, Layers: []Layer{{Kind: FC, Out: 1024}}}, 1)
	require.NoError(t, err)
	for _, s := range []Storage{{}, {Type: BF16}, {Tiles: true}} {
		stored, err := m.Store(func(int) Storage { return s })
		require.NoError(t, err)
		path := filepath.Join(t.TempDir(), "m.safetensors")
		require.NoError(t, stored.Save(path))
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		back, err := Load(path)
		runtime.ReadMemStats(&after)
		require.NoError(t, err)
		require.Equal(t, stored.Hash(), back.Hash())
		require.Less(t, after.TotalAlloc-before.TotalAlloc, uint64(back.Bytes())*11/10, s.String())
	}
}

func TestEncodeIsDeterministic(t *testing.T) {
	first, err := testModel(t).Encode()
	require.NoError(t, err)
	for range 20 {
		again, err := testModel(t).Encode()
		require.NoError(t, err)
		require.Equal(t, first, again)
	}
	n := int(first[0]) | int(first[1])<<8
	assert.Zero(t, (lengthBytes+n)%8, "the data is aligned")
}

func TestHash(t *testing.T) {
	m := testModel(t)
	const want = "c056edb5bd85d2beff61ada7bd54885c3a6122f1dd5433e4798af319242e74f7"
	assert.Equal(t, want, m.Hash())
	m.Card = nil
	assert.Equal(t, want, m.Hash(), "the card does not count")

	for name, change := range map[string]func(m *Model){
		"name":   func(m *Model) { m.Arch.Name = "other" },
		"input":  func(m *Model) { m.Arch.Input = Shape{2, 6, 7} },
		"mean":   func(m *Model) { m.Arch.Layers[0].Mean[1] = -1.9999999 },
		"stride": func(m *Model) { m.Arch.Layers[1].Stride[1] = 2 },
		"weight": func(m *Model) { m.Params[3].W[4] = 1 },
		"bias":   func(m *Model) { m.Params[4].B[3] = 1 },
	} {
		c := m.Clone()
		change(c)
		assert.NotEqual(t, want, c.Hash(), name)
	}
	assert.Equal(t, want, m.Hash(), "clones share nothing")
}

func TestClone(t *testing.T) {
	m := testModel(t)
	c := m.Clone()
	assert.Equal(t, m, c)
	c.Card["a"] = "changed"
	c.Arch.Layers[0].Std[0] = 9
	c.Params[1].B[0] = 9
	assert.Equal(t, testModel(t), m)
}

func TestRandom(t *testing.T) {
	a, err := Preset("mnist-small")
	require.NoError(t, err)
	m, err := Random(a, 1)
	require.NoError(t, err)
	require.NoError(t, m.Validate())

	shapes, err := a.Shapes()
	require.NoError(t, err)
	for i := range a.Layers {
		if !a.Layers[i].HasParams() {
			assert.Equal(t, Param{}, m.Params[i])
			continue
		}
		fanIn := 1
		for _, d := range a.Layers[i].WeightShape(shapes[i])[1:] {
			fanIn *= d
		}
		checkUniform(t, m.Params[i].W, math.Sqrt(6/float64(fanIn)))
		checkUniform(t, m.Params[i].B, math.Sqrt(1/float64(fanIn)))
	}

	// Pinned bits: the same on every machine, in every release.
	var got []uint32
	for _, v := range []float32{m.Params[0].W[0], m.Params[0].W[255], m.Params[0].B[0], m.Params[4].W[319999], m.Params[6].B[9]} {
		got = append(got, math.Float32bits(v))
	}
	assert.Equal(t, []uint32{0x3df67739, 0xbec553b9, 0xbe5449fc, 0xbc3d839c, 0x3bd1eb9a}, got)
	assert.Equal(t, "2ed44c14d3609959c018615852a4821f23241e85e70dedc0c6f2c06b54478a4f", m.Hash())

	other, err := Random(a, 2)
	require.NoError(t, err)
	assert.NotEqual(t, m.Params[0].W, other.Params[0].W)

	a.Layers[0].Out = 0
	_, err = Random(a, 1)
	assert.Error(t, err)
	assert.Equal(t, 16, m.Arch.Layers[0].Out, "the architecture was copied")
}

// checkUniform checks the bounds, and the variance where there are enough values.
func checkUniform(t *testing.T, v []float32, bound float64) {
	var sum, squares float64
	for _, x := range v {
		require.LessOrEqual(t, math.Abs(float64(x)), float64(float32(bound)))
		sum += float64(x)
		squares += float64(x) * float64(x)
	}
	if n := float64(len(v)); n > 1000 {
		assert.InDelta(t, 0, sum/n/bound, 5/math.Sqrt(3*n))
		assert.InDelta(t, 1./3, squares/n/bound/bound, 5*0.3/math.Sqrt(n))
	}
}

func TestModelValidate(t *testing.T) {
	nan, inf := float32(math.NaN()), float32(math.Inf(-1))
	for _, c := range []struct {
		name, field, msg string
		change           func(m *Model)
	}{
		{"architecture", "input[0]", "got 0", func(m *Model) { m.Arch.Input.C = 0 }},
		{"few params", "params", "got 4, expected 5", func(m *Model) { m.Params = m.Params[:4] }},
		{"short weight", "layers.1.weight", "got 35 values, expected 36", func(m *Model) { m.Params[1].W = m.Params[1].W[1:] }},
		{"no bias", "layers.3.bias", "got 0 values, expected 5", func(m *Model) { m.Params[3].B = nil }},
		{"weight of relu", "layers.2.weight", "got 1 values, expected 0", func(m *Model) { m.Params[2].W = []float32{1} }},
		{"bias of normalize", "layers.0.bias", "got 2 values, expected 0", func(m *Model) { m.Params[0].B = []float32{1, 2} }},
		{"NaN", "layers.1.weight[35]", "got NaN", func(m *Model) { m.Params[1].W[35] = nan }},
		{"infinite", "layers.4.bias[2]", "got -Inf", func(m *Model) { m.Params[4].B[2] = inf }},
		{"card key", "card", "empty key", func(m *Model) { m.Card[""] = "x" }},
		{"card text", "card", `entry "k"`, func(m *Model) { m.Card["k"] = "\xff" }},
		{"card size", "card", "expected at most 1048576", func(m *Model) { m.Card["k"] = strings.Repeat("x", maxCardBytes) }},
		{"card entries", "card", "expected at most 1024", func(m *Model) {
			for i := range maxCardEntries {
				m.Card[itoa(i)] = ""
			}
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := testModel(t)
			require.NoError(t, m.Validate())
			c.change(m)
			checkErr(t, m.Validate(), c.field, c.msg)
			_, err := m.Encode()
			checkErr(t, err, c.field, c.msg)
		})
	}
}

func checkErr(t *testing.T, err error, field, msg string) {
	t.Helper()
	var fe *FormatError
	require.ErrorAs(t, err, &fe)
	assert.Equal(t, field, fe.Field)
	assert.Contains(t, fe.Msg, msg)
	assert.Contains(t, fe.Error(), "model: ")
}

// TestLargestHeader makes sure that whatever Validate takes fits into a header.
func TestLargestHeader(t *testing.T) {
	a := &Architecture{Name: strings.Repeat("\u2028", maxName/3), Input: Shape{4096, 1, 1}}
	n := Layer{Kind: Normalize, Mean: make([]float32, 4096), Std: make([]float32, 4096)}
	for i := range n.Mean {
		n.Mean[i], n.Std[i] = -1.17549435e-38, 1.17549435e-38
	}
	a.Layers = append(a.Layers, n)
	for len(a.Layers) < maxLayers {
		a.Layers = append(a.Layers, Layer{Kind: FC, Out: 2})
	}
	m, err := Random(a, 1)
	require.NoError(t, err)
	m.Card = map[string]string{"k": strings.Repeat("\x01", maxCardBytes-1)}
	data, err := m.Encode()
	require.NoError(t, err)
	back, err := Decode(data, "large")
	require.NoError(t, err)
	assert.Equal(t, m.Hash(), back.Hash())
}
