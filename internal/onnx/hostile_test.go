package onnx

import (
	"bytes"
	"errors"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"sync"
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

var externalFiles = sync.OnceValue(func() fstest.MapFS {
	files := fstest.MapFS{}
	list, _ := filepath.Glob(filepath.Join(goldenDir, "*.onnx.data"))
	for _, path := range list {
		data, _ := os.ReadFile(path)
		files[filepath.Base(path)] = &fstest.MapFile{Data: data}
	}
	return files
})

// hostile decodes anything with a small allowance, as beside the goldens' external
// data: an error or a valid model that survives the round trip.
func hostile(t *testing.T, data []byte) {
	m, err := Options{}.decode(data, 1<<16, func(name string) (fs.File, error) { return openRegular(externalFiles(), name) })
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
		"concats": file(chain(30, func(e *encoder, _ int, in, out string) { e.node("Concat", out, integer(nil, "axis", 2), in, in) }), nil, 64, 64, 64),
		"doubled": file(chain(60, func(e *encoder, _ int, in, out string) { e.node("Add", out, nil, in, in) }), nil, 1024, 64, 64),
	} {
		_, err := Decode(data, name)
		require.ErrorContains(t, err, "too much memory", name)
	}
	deep := bytes.Repeat([]byte{0x3b}, 1<<20) // groups within groups
	_, err := Decode(deep, "deep")
	require.Error(t, err)
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
		{},
		[]byte("\x89HDF\r\n\x1a\n"), []byte("PK\x03\x04"),
	} {
		_, err := Decode(data, "f.onnx")
		var fe *model.FormatError
		require.True(t, errors.As(err, &fe), "%v", err)
		require.Equal(t, "f.onnx", fe.File)
	}
}
