package onnx

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/epsball/epsball/model"
)

// TestBothExporters: PyTorch's two exporters, one with external data, write networks
// that become the same model.
func TestBothExporters(t *testing.T) {
	for _, name := range []string{"mlp", "lenet", "pieces"} {
		dynamo, err := Load(filepath.Join(goldenDir, "torch_dynamo_"+name+".onnx"))
		require.NoError(t, err)
		script, err := Load(filepath.Join(goldenDir, "torch_script_"+name+".onnx"))
		require.NoError(t, err)
		require.Equal(t, script.Arch, dynamo.Arch, name)
		require.Equal(t, script.Params, dynamo.Params, name)

		data, err := os.ReadFile(filepath.Join(goldenDir, "torch_dynamo_"+name+".onnx"))
		require.NoError(t, err)
		_, err = Decode(data, "m.onnx")
		for _, w := range []string{"m.onnx", "tensor ", `external data "torch_dynamo_` + name + `.onnx.data"`, "by its path", "torch.onnx.export(..., external_data=False)"} {
			require.ErrorContains(t, err, w)
		}
	}
	kinds := map[string]string{}
	for _, exporter := range []string{"dynamo", "script"} {
		m, err := Load(filepath.Join(goldenDir, "torch_"+exporter+"_normalized.onnx"))
		require.NoError(t, err)
		require.Equal(t, []float32{0.4, 0.5, 0.6}, m.Arch.Layers[0].Mean)
		require.Equal(t, []float32{0.2, 0.25, 0.3}, m.Arch.Layers[0].Std)
		for _, l := range m.Arch.Layers {
			kinds[exporter] += string(l.Kind) + " "
		}
	}
	require.Equal(t, kinds["script"], kinds["dynamo"])
}

// external writes a tensor whose values are where entries, keys and values, say.
func (e *encoder) external(name string, dtype int, dims []int, entries ...string) {
	t := text(varint(packed(nil, 1, dims), 2, dtype), 8, name)
	for i := 0; i < len(entries); i += 2 {
		t = message(t, 13, text(text(nil, 1, entries[i]), 2, entries[i+1]))
	}
	e.inits = message(e.inits, 5, varint(t, 14, 1))
}

// beside is a model whose one convolution, of two channels, reads its weights (8
// bytes) from where the entries say.
func beside(entries ...string) []byte {
	e := &encoder{}
	e.external("w", typeFloat, []int{1, 2, 1, 1}, entries...)
	e.node("Conv", "y", nil, "x", "w")
	return file(e.nodes, e.inits, 2, 3, 3)
}

var twelve = func() []byte { // bytes of 1, 2 and 3
	b, _ := binary.Append(nil, binary.LittleEndian, []float32{1, 2, 3})
	return b
}()

func TestExternalData(t *testing.T) {
	files := fstest.MapFS{
		"in/w.bin": {Data: twelve}, "in/eight": {Data: twelve[:8]}, "w.bin": {Data: twelve}, "in/folder/w.bin": {Data: twelve},
		"in/nan": {Data: []byte{0, 0, 0xc0, 0x7f, 0, 0, 0xc0, 0x7f}},
	}
	load := func(data []byte) (*model.Model, error) {
		files["in/m.onnx"] = &fstest.MapFile{Data: data}
		return LoadFS(files, "in/m.onnx")
	}
	for _, c := range []struct {
		want    []float32
		entries []string
	}{
		{[]float32{1, 2}, []string{"location", "w.bin", "offset", "0", "length", "8"}},
		{[]float32{2, 3}, []string{"length", "8", "offset", "4", "location", "w.bin"}},
		{[]float32{1, 2}, []string{"location", "w.bin", "length", "8"}},
		{[]float32{2, 3}, []string{"location", "w.bin", "offset", "4"}},
		{[]float32{1, 2}, []string{"location", "eight"}},
	} {
		m, err := load(beside(c.entries...))
		require.NoError(t, err, "%v", c.entries)
		require.Equal(t, c.want, m.Params[0].W)
	}
	for _, c := range [][]string{ // words of the error, then the entries
		{"location: got \"\"", "offset", "0"},
		{`location: got "../w.bin", expected the name of a file in the model's folder`, "location", "../w.bin"},
		{"location: got", "location", "/etc/passwd"},
		{"location: got", "location", "./w.bin"},
		{"location: got", "location", "folder/w.bin"},
		{"location: got", "location", `folder\w.bin`},
		{"location: got", "location", `..\w.bin`},
		{"location: got", "location", `C:w.bin`},
		{"location: got", "location", "w.bin\x00"},
		{"location: got", "location", ".."},
		{"location: got", "location", "."},
		{"no such file beside the model, expected its weights there", "location", "w2.bin"},
		{"got no such file", "location", "w.bin\n"},
		{"expected a regular file", "location", "folder"},
		{"offset: got \"-4\"", "location", "w.bin", "offset", "-4"},
		{"offset: got \"0x4\"", "location", "w.bin", "offset", "0x4"},
		{"offset: got \"9223372036854775807\"", "location", "w.bin", "offset", "9223372036854775807"},
		{"got a file of 12 bytes, expected 8 from byte 4611686018427387903 on", "location", "w.bin", "offset", "4611686018427387903", "length", "8"},
		{"got a file of 12 bytes, expected 8 from byte 5 on", "location", "w.bin", "offset", "5", "length", "8"},
		{"got a file of 12 bytes, read from byte 13 to its end, expected 8 bytes", "location", "w.bin", "offset", "13"},
		{"got a file of 12 bytes, read from byte 0 to its end, expected 8 bytes", "location", "w.bin"},
		{"length of 12 bytes, expected 8 for the dimensions [1 2 1 1]", "location", "w.bin", "length", "12"},
		{"length: got \"\"", "location", "w.bin", "length", ""},
		{`key "location" twice`, "location", "w.bin", "location", "w.bin"},
		{`key "checksum"`, "location", "w.bin", "checksum", "12"},
		{"NaN at element 0", "location", "nan"},
	} {
		_, err := load(beside(c[1:]...))
		var fe *model.FormatError
		require.ErrorAs(t, err, &fe, "%v", c)
		require.Equal(t, "in/m.onnx", fe.File)
		require.Contains(t, fe.Field, `tensor "w"`)
		require.ErrorContains(t, err, c[0])
		require.NotContains(t, err.Error(), "\n")
	}

	// Ranges may overlap, types may differ, integers are of shapes.
	halves, err := binary.Append(nil, binary.LittleEndian, []uint16{0x3c00, 0xc000})
	require.NoError(t, err)
	shape, err := binary.Append(nil, binary.LittleEndian, []int64{1, -1})
	require.NoError(t, err)
	files["in/all"] = &fstest.MapFile{Data: bytes.Join([][]byte{twelve, halves, shape}, nil)}
	e := &encoder{}
	e.external("w", typeFloat, []int{2, 2, 1, 1}, "location", "twice", "length", "16")
	e.external("v", typeFloat, []int{1, 2, 1, 1}, "location", "all", "offset", "4", "length", "8")
	e.external("h", typeFloat16, []int{1, 1, 1, 1}, "location", "all", "offset", "14", "length", "2")
	e.external("s", typeInt64, []int{2}, "location", "all", "offset", "16")
	files["in/twice"] = &fstest.MapFile{Data: append(bytes.Clone(twelve), 0, 0, 0x80, 0x40)}
	e.node("Conv", "a", nil, "x", "w")
	e.node("Conv", "b", nil, "a", "v")
	e.node("Conv", "c", nil, "b", "h")
	e.node("Reshape", "y", nil, "c", "s")
	m, err := load(file(e.nodes, e.inits, 2, 3, 3))
	require.NoError(t, err)
	require.Equal(t, [][]float32{{1, 2, 3, 4}, {2, 3}, {-2}}, [][]float32{m.Params[0].W, m.Params[1].W, m.Params[2].W})

	// Values in both places, and locations that are neither.
	w := message(text(varint(packed(nil, 1, []int{1, 2, 1, 1}), 2, typeFloat), 8, "w"), 13, text(text(nil, 1, "location"), 2, "eight"))
	_, err = load(file(conv(), message(nil, 5, message(w, 9, twelve[:8])), 2, 3, 3))
	require.ErrorContains(t, err, "values within the model as well")
	_, err = load(file(conv(), message(nil, 5, varint(text(nil, 8, "w"), 14, 2)), 2, 3, 3))
	require.ErrorContains(t, err, "got data location 2")
	many := strings.Split(strings.Repeat("k,v,", maxEntries+1), ",")
	_, err = load(beside(many[:2*maxEntries+2]...))
	require.ErrorContains(t, err, "more than 16 entries")
}

func conv() []byte {
	e := &encoder{}
	e.node("Conv", "y", nil, "x", "w")
	return e.nodes
}

// TestExternalPaths: what the names of a real folder lead to.
func TestExternalPaths(t *testing.T) {
	dir := t.TempDir()
	in := filepath.Join(dir, "in")
	write := func(name string, data []byte) {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), data, 0o600))
	}
	require.NoError(t, os.Mkdir(in, 0o700))
	write("secret", twelve[:8])
	write("in/w.bin", twelve[:8])
	load := func(location string) error {
		write("in/m.onnx", beside("location", location))
		_, err := Load(filepath.Join(in, "m.onnx"))
		return err
	}
	require.NoError(t, load("w.bin"))
	require.ErrorContains(t, load("no.bin"), "no such file beside the model")
	require.ErrorContains(t, load("../secret"), "location: got")

	var packed bytes.Buffer // the model alone is compressed
	w := gzip.NewWriter(&packed)
	_, err := w.Write(beside("location", "w.bin"))
	require.NoError(t, err)
	require.NoError(t, w.Close())
	write("in/m.onnx.gz", packed.Bytes())
	_, err = Load(filepath.Join(in, "m.onnx.gz"))
	require.NoError(t, err)

	if os.Symlink("../secret", filepath.Join(in, "out")) != nil {
		t.Skip("no symbolic links here")
	}
	require.NoError(t, os.Symlink("w.bin", filepath.Join(in, "inside")))
	require.NoError(t, os.Symlink(filepath.Join(dir, "secret"), filepath.Join(in, "absolute")))
	require.NoError(t, load("inside"))
	for _, name := range []string{"out", "absolute"} {
		require.ErrorContains(t, load(name), `external data "`+name+`": got a file that cannot be opened`)
	}
	if exec.Command("mkfifo", filepath.Join(in, "pipe")).Run() == nil {
		require.ErrorContains(t, load("pipe"), "expected a regular file") // and does not wait for a writer
	}
}

// stream is a file that is read from its beginning alone.
type stream struct{ fs.File }

type streams struct{ fs.FS }

func (s streams) Open(name string) (fs.File, error) {
	f, err := s.FS.Open(name)
	return stream{f}, err
}

// TestExternalLimits: small files cannot stand for much memory.
func TestExternalLimits(t *testing.T) {
	e := &encoder{}
	e.external("w", typeFloat, []int{1 << 14, 1 << 16}, "location", "w.bin", "length", "4294967296")
	e.node("Gemm", "y", nil, "x", "w")
	files := fstest.MapFS{"m.onnx": {Data: file(e.nodes, e.inits, 1<<14)}, "w.bin": {Data: twelve}}
	begin := time.Now()
	_, err := LoadFS(files, "m.onnx")
	require.ErrorContains(t, err, "got a file of 12 bytes, expected 4294967296 from byte 0 on")
	require.Less(t, time.Since(begin), time.Second) // nothing was allocated

	// The same bytes for many tensors.
	opened := 0
	open := func(string) (fs.File, error) { opened++; return files.Open("w.bin") }
	x := &external{open: open, left: 100}
	for i := range 13 {
		tensor := &tensor{name: "t", dims: []int64{2}, dtype: typeFloat, external: true, entries: [][2]string{{"location", "w.bin"}, {"length", "8"}}}
		if err = x.fetch(tensor); i < 12 {
			require.NoError(t, err)
		}
	}
	require.ErrorContains(t, err, "got tensors of more than")
	require.Equal(t, 1, opened)
	x.close()

	// File systems without random access: the file counts as a whole.
	files["m.onnx"] = &fstest.MapFile{Data: beside("location", "w.bin", "offset", "4")}
	m, err := LoadFS(streams{files}, "m.onnx")
	require.NoError(t, err)
	require.Equal(t, []float32{2, 3}, m.Params[0].W)
	x = &external{open: func(string) (fs.File, error) { return streams{files}.Open("w.bin") }, left: 11}
	require.ErrorContains(t, x.find("w.bin"), "got more than 11 bytes")
	x.left = 20
	require.NoError(t, x.find("w.bin"))
	require.EqualValues(t, 8, x.left)
}
