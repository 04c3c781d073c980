package model

import (
	"encoding/binary"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unsafe"

	"github.com/stretchr/testify/require"

	"github.com/epsball/epsball/internal/half"
)

func everyStorage() (list []Storage) {
	for _, t := range []DType{F32, BF16, F16} {
		list = append(list, Storage{t, false}, Storage{t, true})
	}
	return list
}

func storedAs(t testing.TB, m *Model, s Storage) *Model {
	t.Helper()
	out, err := m.Store(func(int) Storage { return s })
	require.NoError(t, err)
	return out
}

// stored is testModel with a different storage in each layer.
func stored(t testing.TB) *Model {
	m, err := testModel(t).Store(func(i int) Storage {
		return map[int]Storage{1: {F16, false}, 3: {BF16, true}, 4: {F32, true}}[i]
	})
	require.NoError(t, err)
	return m
}

// TestStore: every storage holds the rounded weights, in memory and through a
// file, and does not change what the network is.
func TestStore(t *testing.T) {
	m := testModel(t)
	for _, s := range everyStorage() {
		t.Run(s.String(), func(t *testing.T) {
			have := storedAs(t, m, s)
			require.NoError(t, have.Validate())
			rounded := m.Clone()
			for i := range rounded.Params {
				for k, w := range rounded.Params[i].W {
					switch s.Type {
					case BF16:
						w = half.FromBF16(half.ToBF16(w))
					case F16:
						w = half.FromF16(half.ToF16(w))
					}
					rounded.Params[i].W[k] = w
				}
				p := &have.Params[i]
				require.Equal(t, rounded.Params[i].W, p.Rows(), "layer %d", i)
				require.Equal(t, rounded.Params[i].B, p.B)
				if m.Arch.Layers[i].HasParams() {
					require.Equal(t, s, p.Storage())
					require.Equal(t, s == Storage{}, p.Stored == nil)
					some := make([]float32, 2*len(p.Rows())/len(p.B))
					p.Floats(some, 1)
					require.Equal(t, p.Rows()[len(some)/2:][:len(some)], some)
				}
			}
			require.Equal(t, rounded.Hash(), have.Hash())
			require.Equal(t, rounded, storedAs(t, have, Storage{}), "and back")
			for _, other := range everyStorage() {
				if other.Type == s.Type {
					require.Equal(t, storedAs(t, m, other), storedAs(t, have, other))
				}
			}

			data, err := have.Encode()
			require.NoError(t, err)
			version := `"version":"3"`
			if s == (Storage{}) {
				version = `"version":"1"`
			}
			require.Contains(t, string(data[:200]), version)
			back, err := Decode(data, "")
			require.NoError(t, err)
			require.Equal(t, have, back)
			view, err := View(data, "")
			require.NoError(t, err)
			require.Equal(t, rounded.Hash(), view.Hash())
			require.Equal(t, rounded, storedAs(t, view, Storage{}))
			again, err := view.Encode()
			require.NoError(t, err)
			require.Equal(t, data, again)
			require.Equal(t, have.Bytes(), view.Bytes())
			for i, p := range view.Params { // where the tiles lie
				if m.Arch.Layers[i].HasParams() && s.Tiles {
					at := uintptr(unsafe.Pointer(unsafe.SliceData(p.Stored.Data()))) - uintptr(unsafe.Pointer(unsafe.SliceData(data)))
					require.Zero(t, at%tensorAlign)
					require.Less(t, at, uintptr(len(data)))
				}
			}
			clone := view.Clone()
			clear(data)
			require.Equal(t, rounded.Hash(), clone.Hash(), "a clone stands alone")
		})
	}
}

// TestTiles spells out where each weight lies: docs/model-format.md, Tiles.
func TestTiles(t *testing.T) {
	for _, c := range []struct{ out, full, last int }{{1, 0, 8}, {8, 0, 8}, {9, 1, 0}, {16, 1, 0}, {17, 1, 8}, {24, 1, 8}, {25, 2, 0}, {40, 2, 8}} {
		for _, l := range []Layer{{Kind: FC, Out: c.out}, {Kind: Conv, Out: c.out, Kernel: [2]int{2, 3}, Stride: [2]int{1, 1}}} {
			m, err := Random(&Architecture{Input: Shape{5, 2, 3}, Layers: []Layer{l}}, 1)
			require.NoError(t, err)
			s := storedAs(t, m, Storage{F32, true}).Params[0].Stored
			const channels, positions = 5, 6
			cols := channels * positions
			used := (16*c.full + c.last) * cols
			require.Len(t, s.Data(), (4*used+63)/64*64)
			seen := make([]bool, len(s.Data())/4)
			for o := range c.out {
				width := 16
				if o/16 == c.full {
					width = c.last
				}
				for p := range positions {
					for ch := range channels {
						at := o/16*16*cols + (p*channels+ch)*width + o%16
						have := math.Float32frombits(binary.LittleEndian.Uint32(s.Data()[4*at:]))
						require.Equal(t, m.Params[0].W[o*cols+ch*positions+p], have)
						seen[at] = true
					}
				}
			}
			for i, weight := range seen {
				if !weight {
					require.Zero(t, binary.LittleEndian.Uint32(s.Data()[4*i:]))
				}
			}
		}
	}
}

func TestStoreErrors(t *testing.T) {
	m := testModel(t)
	m.Params[3].W[7] = 65520
	_, err := m.Store(func(int) Storage { return Storage{F16, true} })
	checkErr(t, err, "layers.3.weight[7]", "got 65520, too large for F16")
	m.Params[3].W[7] = -math.MaxFloat32
	_, err = m.Store(func(int) Storage { return Storage{BF16, false} })
	checkErr(t, err, "layers.3.weight[7]", "too large for BF16")
	_, err = m.Store(func(int) Storage { return Storage{DType(7), false} })
	checkErr(t, err, "layers.1.weight", "DType(7), expected F32")
	m.Params[3].W[7] = float32(math.NaN())
	_, err = m.Store(func(int) Storage { return Storage{} })
	checkErr(t, err, "layers.3.weight[7]", "NaN")

	m = stored(t)
	m.Params[1].Stored, m.Params[3].Stored = m.Params[3].Stored, m.Params[1].Stored
	checkErr(t, m.Validate(), "layers.1.weight", "got 5 rows of 3×20, expected 3 of 2×6")
	m = stored(t)
	m.Params[2].Stored = m.Params[1].Stored
	checkErr(t, m.Validate(), "layers.2.weight", `expected none for "relu"`)
	m = stored(t)
	m.Params[3].W = m.Params[3].Rows()
	checkErr(t, m.Validate(), "layers.3.weight", "expected 0")
}

// TestDecodeStoredRefuses: what a hostile file may do with storage.
func TestDecodeStoredRefuses(t *testing.T) {
	tiles := strings.NewReplacer(`"1"`, `"3"`, smallWeight, `"layers.0.tiles":{"dtype":"BF16","shape":[32],"data_offsets":[0,64]}`, "[16,24]", "[64,72]")
	header := tiles.Replace(smallHeader)
	values := make([]float32, 18) // two BF16 each: column 0, rows 0 and 1, is the first word
	build := func(old, new string, at int, word uint32) []byte {
		require.Contains(t, header, old)
		v := append([]float32{}, values...)
		v[at] = math.Float32frombits(word)
		return file(strings.Replace(header, old, new, 1), v...)
	}
	m, err := Decode(build("BF16", "BF16", 0, 0x40003f80), "")
	require.NoError(t, err)
	require.Equal(t, []float32{1, 0, 2, 0}, m.Params[0].Rows())
	for _, c := range []struct {
		name, field, msg string
		data             []byte
	}{
		{"version", "layers.0.weight", "no such tensor", build(`"3"`, `"2"`, 0, 0)},
		{"dtype", "layers.0.tiles.dtype", `got "I16", expected "F32", "BF16" or "F16"`, build("BF16", "I16", 0, 0)},
		{"other dtype", "layers.0.tiles.shape", "got [32], expected [16]", build("BF16", "F32", 0, 0)},
		{"bias", "layers.0.bias.dtype", `got "F16", expected "F32"`, build(`"layers.0.bias":{"dtype":"F32"`, `"layers.0.bias":{"dtype":"F16"`, 0, 0)},
		{"shape", "layers.0.tiles.shape", "got [16]", build("[32]", "[16]", 0, 0)},
		{"length", "layers.0.tiles.data_offsets", "got 32 bytes", build("[0,64]", "[0,32]", 0, 0)},
		{"NaN", "layers.0.tiles[1]", "got NaN", build("BF16", "BF16", 0, 0x7fc00000)},
		{"infinite", "layers.0.tiles[8]", "got -Inf", build("BF16", "BF16", 4, 0x0000ff80)},
		{"row behind the last", "layers.0.tiles[2]", "padding", build("BF16", "BF16", 1, 1)},
		{"last row", "layers.0.tiles[15]", "padding", build("BF16", "BF16", 7, 1<<31)},
		{"behind the tiles", "layers.0.tiles[31]", "padding", build("BF16", "BF16", 15, 1<<16)},
		{
			"both", "layers.0.weight", "does not have",
			build(`"layers.0.bias"`, `"layers.0.weight":{"dtype":"BF16","shape":[2,2],"data_offsets":[64,72]},"layers.0.bias"`, 0, 0),
		},
		{"far too large", "layers.0.tiles", "with the padding of tiles", build(`[1,1,2],\"layers\":[`, `[3,4096,4096],\"layers\":[{\"type\":\"conv\",\"out\":1,\"kernel\":1},`, 0, 0)},
	} {
		t.Run(c.name, func(t *testing.T) {
			if c.name == "far too large" {
				c.data = []byte(strings.NewReplacer(`{\"type\":\"conv\",\"out\":1,\"kernel\":1},{\"type\":\"fc\",\"out\":2}`, `{\"type\":\"fc\",\"out\":21}`).Replace(string(c.data)))
				c.data = append(binary.LittleEndian.AppendUint64(nil, uint64(len(c.data)-8-4*len(values))), c.data[8:]...)
			}
			for _, read := range []func([]byte, string) (*Model, error){Decode, View} {
				_, err := read(c.data, "some/file")
				checkErr(t, err, c.field, c.msg)
			}
		})
	}
}

// TestFirstInfinite compares the look at eight bytes with one at each.
func TestFirstInfinite(t *testing.T) {
	for _, typ := range []DType{BF16, F16} {
		for h := range 1 << 16 {
			for _, at := range []int{0, 3, 4, 6} {
				b := make([]byte, 14)
				binary.LittleEndian.PutUint16(b[2*at:], uint16(h))
				v := half.FromBF16(uint16(h))
				if typ == F16 {
					v = half.FromF16(uint16(h))
				}
				want := -1
				if !finite(v) {
					want = at
				}
				require.Equal(t, want, firstInfinite(b, typ), "%v %04x", typ, h)
			}
		}
	}
	for _, bits := range []uint32{0, 1, 0x7f7fffff, 0xff7fffff, 0x7f800000, 0xff800000, 0x7f800001, 0xffffffff, 0x80000000} {
		for at := range 3 {
			b := make([]byte, 12)
			binary.LittleEndian.PutUint32(b[4*at:], bits)
			want := -1
			if !finite(math.Float32frombits(bits)) {
				want = at
			}
			require.Equal(t, want, firstInfinite(b, F32), "%08x", bits)
		}
	}
}

func TestMap(t *testing.T) {
	dir := t.TempDir()
	for _, m := range []*Model{testModel(t), stored(t)} {
		path := filepath.Join(dir, "m.safetensors")
		require.NoError(t, m.Save(path))
		f, err := Map(path)
		require.NoError(t, err)
		g, err := Map(path)
		require.NoError(t, err)
		info, err := os.Stat(path)
		require.NoError(t, err)
		if maps, err := os.ReadFile("/proc/self/maps"); err == nil {
			require.EqualValues(t, info.Size(), f.Bytes())
			n := 0
			for _, line := range strings.Split(string(maps), "\n") {
				if strings.HasSuffix(line, path) {
					n++
					require.Contains(t, line, " r--s ", "read-only, shared")
				}
			}
			require.Equal(t, 2, n)
		}
		require.Equal(t, m.Hash(), f.Model.Hash())
		for i, p := range f.Model.Params {
			require.Empty(t, p.W)
			require.Equal(t, m.Arch.Layers[i].HasParams(), p.Stored != nil)
		}
		require.NoError(t, m.Save(path), "replaced under the mapping")
		require.Equal(t, m.Hash(), f.Model.Hash())
		clone := f.Model.Clone()
		require.NoError(t, f.Close())
		require.NoError(t, f.Close())
		require.Equal(t, m.Hash(), g.Model.Hash(), "the other mapping stays")
		require.NoError(t, g.Close())
		require.Equal(t, m.Hash(), clone.Hash())
	}

	path := filepath.Join(dir, "bad")
	data, err := stored(t).Encode()
	require.NoError(t, err)
	for _, n := range []int{0, 1, 8, 100, len(data) / 2, len(data) - 1} {
		require.NoError(t, os.WriteFile(path, data[:n], 0o644))
		_, err := Map(path)
		var fe *FormatError
		require.ErrorAs(t, err, &fe, "%d bytes", n)
		require.Equal(t, path, fe.File)
	}
	_, err = Map(filepath.Join(dir, "none"))
	require.ErrorIs(t, err, os.ErrNotExist)
	_, err = Map(dir)
	require.Error(t, err)
}

// TestViewMisaligned: a file anywhere in memory can be viewed.
func TestViewMisaligned(t *testing.T) {
	m := stored(t)
	data, err := m.Encode()
	require.NoError(t, err)
	for shift := range 5 {
		v, err := View(append(make([]byte, shift), data...)[shift:], "")
		require.NoError(t, err)
		require.Equal(t, m.Hash(), v.Hash())
	}
}

// TestPythonStored: PyTorch reads rows of 16 bits as the numbers that they are, and
// what it rounds itself is what is rounded here.
func TestPythonStored(t *testing.T) {
	exe := python(t, "torch", "safetensors.torch")
	m := testModel(t)
	for i := range m.Params {
		for k := range m.Params[i].W {
			m.Params[i].W[k] *= float32(math.Ldexp(1, -3*(k%9)))
		}
	}
	dir := t.TempDir()
	path := func(name string) string { return filepath.Join(dir, name) }
	require.NoError(t, m.Save(path("plain")))
	types := []DType{BF16, F16}
	for _, typ := range types {
		require.NoError(t, storedAs(t, m, Storage{typ, false}).Save(path(typ.String())))
	}
	runPython(t, exe, `
import sys, torch
from safetensors import safe_open
from safetensors.torch import save_file
dir = sys.argv[1] + "/"
for name, dtype in ("BF16", torch.bfloat16), ("F16", torch.float16):
    tensors = {}
    with safe_open(dir + "plain", "pt") as plain, safe_open(dir + name, "pt") as stored:
        metadata = stored.metadata()
        for key in plain.keys():
            want = plain.get_tensor(key)
            if key.endswith("weight"):
                want = want.to(dtype)
            have = tensors[key] = stored.get_tensor(key)
            assert have.dtype == want.dtype and torch.equal(have, want), key
    save_file(tensors, dir + name + ".theirs", metadata=metadata)
`, dir)
	for _, typ := range types {
		back, err := Load(path(typ.String() + ".theirs"))
		require.NoError(t, err)
		require.Equal(t, storedAs(t, m, Storage{typ, false}), back)
	}
}

func ExampleModel_Store() {
	m, _ := Random(&Architecture{Name: "example", Input: Shape{1, 28, 28}, Layers: []Layer{{Kind: FC, Out: 10}}}, 1)
	half, _ := m.Store(func(int) Storage { return Storage{Type: BF16, Tiles: true} })
	fmt.Println(m.Params[0].Storage(), m.Bytes())
	fmt.Println(half.Params[0].Storage(), half.Bytes())
	// Output:
	// F32 rows 31400
	// BF16 tiles 25128
}
