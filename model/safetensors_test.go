package model

import (
	"bytes"
	"encoding/binary"
	"math"
	"runtime"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const (
	smallMeta = `"__metadata__":{"format":"epsball","version":"1","architecture":` +
		`"{\"name\":\"s\",\"input\":[1,1,2],\"layers\":[{\"type\":\"fc\",\"out\":2}]}"}`
	smallWeight = `"layers.0.weight":{"dtype":"F32","shape":[2,2],"data_offsets":[0,16]}`
	smallBias   = `"layers.0.bias":{"dtype":"F32","shape":[2],"data_offsets":[16,24]}`
	smallHeader = `{` + smallMeta + `,` + smallWeight + `,` + smallBias + `}`
)

// file builds a model file by hand.
func file(header string, data ...float32) []byte {
	b := binary.LittleEndian.AppendUint64(nil, uint64(len(header)))
	return appendFloats(append(b, header...), data)
}

func TestDecodeByHand(t *testing.T) {
	want := &Model{
		Arch:   Architecture{Name: "s", Input: Shape{1, 1, 2}, Layers: []Layer{{Kind: FC, Out: 2}}},
		Params: []Param{{W: []float32{1, 2, 3, 4}, B: []float32{5, -6}}},
	}
	for name, data := range map[string][]byte{
		"plain":  file(smallHeader, 1, 2, 3, 4, 5, -6),
		"padded": file(smallHeader+" \n  ", 1, 2, 3, 4, 5, -6),
		"newer":  file(strings.Replace(smallHeader, `"1"`, `"2"`, 1), 1, 2, 3, 4, 5, -6),
		"bias first": file(`{`+strings.Replace(smallBias, "16,24", "0,8", 1)+`,`+smallMeta+`,`+
			strings.Replace(smallWeight, "0,16", "8,24", 1)+`}`, 5, -6, 1, 2, 3, 4),
	} {
		got, err := Decode(data, name)
		require.NoError(t, err, name)
		assert.Equal(t, want, got, name)
	}
	// The bytes are little-endian: 1 is 0x3f800000.
	data, err := want.Encode()
	require.NoError(t, err)
	assert.Equal(t, []byte{0, 0, 0x80, 0x3f}, data[len(data)-24:len(data)-20])
}

func TestDecodeRefuses(t *testing.T) {
	good := []float32{1, 2, 3, 4, 5, 6}
	with := func(old, new string) []byte {
		require.Contains(t, smallHeader, old)
		return file(strings.Replace(smallHeader, old, new, 1), good...)
	}
	length := func(n uint64) []byte {
		b := file(smallHeader, good...)
		binary.LittleEndian.PutUint64(b, n)
		return b
	}
	inf, nan := float32(math.Inf(1)), float32(math.NaN())
	for _, c := range []struct {
		name, field, msg string
		data             []byte
	}{
		{"empty", "header length", "got a file of 0 bytes", nil},
		{"negative length", "header length", "expected a safetensors file", length(math.MaxUint64)},
		{"long header", "header length", "expected a safetensors file", length(maxHeader + 1)},
		{"header past the end", "header length", "left in the file", length(maxHeader)},
		{"no header", "header", "expected a JSON object", length(0)},
		{"header cut", "header", "malformed JSON", length(100)},
		{"header of spaces", "header", "expected a JSON object", file(" " + smallHeader)},
		{"header of zeros", "header", "malformed JSON", file(smallHeader+"\x00", good...)},
		{"two objects", "header", "malformed JSON", file(smallHeader+"{}", good...)},
		{"UTF-8", "header", "UTF-8", with(`\"s\"`, "\\\"\xff\\\"")},

		{"no metadata", "__metadata__", "weights alone", with(smallMeta+",", "")},
		{"metadata twice", "header", `key "__metadata__" twice`, with(smallMeta, smallMeta+","+smallMeta)},
		{"metadata null", "__metadata__", "expected a JSON object", with(smallMeta, `"__metadata__":null`)},
		{"metadata number", `__metadata__."format"`, "expected a string", with(`"epsball"`, `3`)},
		{"no format", "__metadata__", `no key "format"`, with(`"format":"epsball",`, "")},
		{"other format", "__metadata__.format", `got "pt", expected "epsball"`, with(`"epsball"`, `"pt"`)},
		{"other version", "__metadata__.version", `got "5", expected "1" to "4"`, with(`"1"`, `"5"`)},
		{"old version", "__metadata__.version", `got "1", expected "2" for this`, with(`\"out\":2`, `\"out\":1`)},
		{"unknown metadata", "__metadata__", `unknown key "note"`, with(`"version"`, `"note":"x","version"`)},
		{"format twice", "__metadata__", `key "format" twice`, with(`"version"`, `"format":"epsball","version"`)},
		{"empty card key", "card", "empty key", with(`"version"`, `"card.":"x","version"`)},
		{"no architecture", "__metadata__", `no key "architecture"`, with(`"architecture"`, `"card.a"`)},
		{"bad architecture", "layers[0].out", "got 0, expected 1", with(`\"out\":2`, `\"out\":0`)},

		{"tensor missing", "layers.0.bias", "no such tensor", with(","+smallBias, "")},
		{"tensor twice", "header", `key "layers.0.bias" twice`, with(smallBias, smallBias+","+smallBias)},
		{
			"tensor twice, escaped", "header", `key "layers.0.bias" twice`,
			with(smallBias, smallBias+","+strings.Replace(smallBias, "bias", `\u0062ias`, 1)),
		},
		{
			"unknown tensor", "layers.1.bias", "does not have",
			with(smallBias, smallBias+","+strings.Replace(smallBias, "0.bias", "1.bias", 1)),
		},
		{"tensor null", "layers.0.bias", "expected a JSON object", with(smallBias, `"layers.0.bias":null`)},
		{"tensor key", "layers.0.weight", `unknown key "strides"`, with(`"dtype"`, `"strides":[],"dtype"`)},
		{"tensor key twice", "layers.0.weight", `key "dtype" twice`, with(`"shape"`, `"dtype":"F32","shape"`)},
		{"tensor key missing", "layers.0.weight", `no key "dtype"`, with(`"dtype":"F32",`, "")},
		{"dtype", "layers.0.weight.dtype", `got "F16", expected "F32"`, with("F32", "F16")},
		{"shape", "layers.0.weight.shape", "got [4], expected [2 2]", with("[2,2]", "[4]")},
		{"shape order", "layers.0.weight.shape", "got [4 1]", with("[2,2]", "[4,1]")},
		{"shape rank", "layers.0.weight.shape", "more than 4", with("[2,2]", "[2,2,1,1,1]")},
		{"shape overflow", "layers.0.weight.shape", "32 bits", with("[2,2]", "[4294967296,4294967297]")},
		{"offsets text", "layers.0.weight.data_offsets", "expected an integer", with("[0,16]", `["0",16]`)},
		{"offsets count", "layers.0.weight.data_offsets", "got 1 numbers", with("[0,16]", "[16]")},
		{"offsets negative", "layers.0.weight.data_offsets", "got [-16 0]", with("[0,16]", "[-16,0]")},
		{"offsets reversed", "layers.0.weight.data_offsets", "got [16 0]", with("[0,16]", "[16,0]")},
		{"offsets past the end", "layers.0.bias.data_offsets", "within the 24 bytes", with("[16,24]", "[24,32]")},
		{"offsets huge", "layers.0.bias.data_offsets", "within the 24 bytes", with("[16,24]", "[9223372036854775800,9223372036854775807]")},
		{"offsets too huge", "layers.0.bias.data_offsets", "64 bits", with("[16,24]", "[0,9223372036854775808]")},
		{"size", "layers.0.bias.data_offsets", "got 4 bytes, expected 8", with("[16,24]", "[20,24]")},
		{"overlap", "layers.0.bias.data_offsets", "got begin 8, expected 16", with("[16,24]", "[8,16]")},
		{"gap", "layers.0.bias.data_offsets", "got begin 20, expected 16", file(strings.Replace(smallHeader, "[16,24]", "[20,28]", 1), append(good, 7)...)},
		{"gap first", "layers.0.weight.data_offsets", "got begin 4, expected 0", file(strings.NewReplacer("[0,16]", "[4,20]", "[16,24]", "[20,28]").Replace(smallHeader), append(good, 7)...)},
		{"trailing bytes", "data", "got 25 bytes, expected 24", append(file(smallHeader, good...), 0)},
		{"NaN", "layers.0.weight[3]", "got NaN", file(smallHeader, 1, 2, 3, nan, 5, 6)},
		{"infinite", "layers.0.bias[1]", "got +Inf", file(smallHeader, 1, 2, 3, 4, 5, inf)},
	} {
		t.Run(c.name, func(t *testing.T) {
			m, err := Decode(c.data, "some/file")
			assert.Nil(t, m)
			checkErr(t, err, c.field, c.msg)
			assert.Contains(t, err.Error(), "model: some/file: "+c.field+": ")
		})
	}
}

func TestDecodeTruncated(t *testing.T) {
	for _, m := range []*Model{testModel(t), stored(t)} {
		data, err := m.Encode()
		require.NoError(t, err)
		for n := range data {
			m, err := Decode(data[:n:n], "cut")
			var fe *FormatError
			require.ErrorAs(t, err, &fe, "%d bytes", n)
			require.Nil(t, m)
		}
	}
}

// TestDecodeCorrupted changes the length, the header and the first weights byte
// by byte. Some changes give another valid model; none panics.
func TestDecodeCorrupted(t *testing.T) {
	for _, m := range []*Model{testModel(t), stored(t)} {
		data, err := m.Encode()
		require.NoError(t, err)
		for i := range len(data) - m.Bytes() + 32 {
			for _, flip := range []byte{0x01, 0x80} {
				data[i] ^= flip
				checkDecode(t, data)
				data[i] ^= flip
			}
		}
	}
}

// checkDecode decodes hostile data: the result is either a *FormatError or a
// model that survives a round trip.
func checkDecode(t *testing.T, data []byte) {
	m, err := Decode(data, "hostile")
	loaded, loadErr := LoadFS(fstest.MapFS{"hostile": {Data: data}}, "hostile")
	if err != nil {
		for _, err := range []error{err, loadErr} {
			var fe *FormatError
			require.ErrorAs(t, err, &fe)
			require.Equal(t, "hostile", fe.File)
		}
		return
	}
	require.NoError(t, loadErr)
	require.Equal(t, m, loaded)
	require.NoError(t, m.Validate())
	again, err := m.Encode()
	require.NoError(t, err)
	back, err := Decode(again, "again")
	require.NoError(t, err)
	require.Equal(t, m, back)
	require.Equal(t, m.Hash(), back.Hash())
	view, err := View(data, "hostile")
	require.NoError(t, err)
	require.Equal(t, m.Hash(), view.Hash())
}

// TestDecodeAllocations feeds Decode what asks for much memory in few bytes.
func TestDecodeAllocations(t *testing.T) {
	const long = 1 << 20
	meta := func(arch string) string {
		return `{` + strings.Replace(smallMeta, `[{\"type\":\"fc\",\"out\":2}]`, arch, 1) + `}`
	}
	for name, data := range map[string][]byte{
		"header length":  binary.LittleEndian.AppendUint64(nil, math.MaxUint64),
		"claimed header": append(binary.LittleEndian.AppendUint64(nil, maxHeader), '{'),
		"large weights":  file(meta(`[{\"type\":\"fc\",\"out\":200000000},{\"type\":\"fc\",\"out\":2}]`)),
		"depth":          file(`{"a":` + strings.Repeat("[", long)),
		"means":          file(meta(`[{\"type\":\"normalize\",\"mean\":[` + strings.Repeat("0,", long) + `0]}]`)),
		"layers":         file(meta(`[` + strings.Repeat(`{},`, long) + `{}]`)),
		"relus":          file(meta(`[` + strings.Repeat(`{\"type\":\"relu\"},`, long/16) + `{}]`)),
		"tensors":        file(`{` + strings.Repeat(`"a":{},`, long) + `"b":{}}`),
		"card":           file(`{"__metadata__":{` + strings.Repeat(`"":"",`, long)),
		"name":           file(`{"` + strings.Repeat("x", long) + `":3}`),
	} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, err := Decode(data, name)
		runtime.ReadMemStats(&after)
		assert.Error(t, err, name)
		assert.Less(t, len(err.Error()), 1000, name)
		got := after.TotalAlloc - before.TotalAlloc
		t.Logf("%s: %d bytes for %d", name, got, len(data))
		assert.Less(t, got, uint64(8*len(data)+1<<20), name)
	}
}

// TestVersion: a file has the first version that knows its architecture, so
// that models of version 1 keep their bytes.
func TestVersion(t *testing.T) {
	version := func(a *Architecture) string {
		m, err := Random(a, 1)
		require.NoError(t, err)
		data, err := m.Encode()
		require.NoError(t, err)
		checkDecode(t, data)
		for _, v := range []string{"1", "2"} {
			if bytes.Contains(data, []byte(`"version":"`+v+`"`)) {
				return v
			}
		}
		return ""
	}
	assert.Equal(t, "1", version(testArch()))
	assert.Equal(t, "2", version(residual()))
	for _, change := range []func(a *Architecture){
		func(a *Architecture) { a.Layers[4].Out = 1 },
		func(a *Architecture) { a.Layers = a.Layers[:3] },
		func(a *Architecture) { a.Layers = append(a.Layers, Layer{Kind: ReLU}) },
		func(a *Architecture) { a.Layers[3] = a.Layers[1]; a.Layers[3].Inputs = []int{2} },
	} {
		a := testArch()
		change(a)
		want := "2"
		if a.Layers[len(a.Layers)-1].Kind == FC && a.Classes() > 1 {
			want = "1"
		}
		assert.Equal(t, want, version(a))
	}
	a := testArch()
	a.Layers[3].Inputs = []int{2} // the layer before, spelled out
	assert.Equal(t, "1", version(a))
}

func FuzzDecode(f *testing.F) {
	data, err := testModel(f).Encode()
	require.NoError(f, err)
	f.Add(data)
	m, err := Random(residual(), 1)
	require.NoError(f, err)
	data, err = m.Encode()
	require.NoError(f, err)
	f.Add(data)
	for _, m := range []*Model{stored(f), everyModel(f), storedAs(f, everyModel(f), Storage{BF16, true})} {
		data, err = m.Encode()
		require.NoError(f, err)
		f.Add(data)
	}
	f.Add(file(smallHeader, 1, 2, 3, 4, 5, 6))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, data []byte) {
		before := bytes.Clone(data)
		checkDecode(t, data)
		require.Equal(t, before, data, "the input is not changed")
	})
}
