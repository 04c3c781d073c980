package model

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
)

// A model file is a safetensors file: the header's length as a little-endian
// uint64, the header (JSON), the tensors' bytes.
const (
	lengthBytes  = 8
	maxHeader    = 16 << 20 // bytes
	formatName   = "epsball"
	versionList  = "1" // layers in a list that ends in fc
	versionGraph = "2" // anything
	metadataKey  = "__metadata__"
	cardPrefix   = "card."
	floatType    = "F32"
)

func weightName(i int) string { return fmt.Sprintf("layers.%d.weight", i) }
func biasName(i int) string   { return fmt.Sprintf("layers.%d.bias", i) }

// tensor is one entry of the header; the offsets count from the data's start.
type tensor struct {
	name       string
	dtype      string
	shape      []int
	begin, end int64
}

// wantTensors returns the tensors of an architecture in the order in which
// Encode writes them, each layer's weight before its bias.
func wantTensors(a *Architecture, shapes []Shape) []tensor {
	var ts []tensor
	at := int64(0)
	add := func(name string, shape []int) {
		n, _ := product(maxWeight, shape...)
		ts = append(ts, tensor{name, floatType, shape, at, at + 4*n})
		at += 4 * n
	}
	for i := range a.Layers {
		if l := &a.Layers[i]; l.HasParams() {
			add(weightName(i), l.WeightShape(a.InputShape(i, shapes)))
			add(biasName(i), []int{l.Out})
		}
	}
	return ts
}

// Encode returns the model file. The same model always gives the same bytes.
// The error is Validate's, or a *FormatError if the header grows too long.
func (m *Model) Encode() ([]byte, error) {
	if err := m.Validate(); err != nil {
		return nil, err
	}
	shapes, err := m.Arch.Shapes()
	if err != nil {
		return nil, err
	}
	tensors := wantTensors(&m.Arch, shapes)
	header := m.header(tensors)
	if len(header) > maxHeader {
		return nil, fieldErr("header", "got %d bytes, expected at most %d", len(header), maxHeader)
	}
	size := int64(lengthBytes+len(header)) + 4*m.Arch.Parameters()
	if size > math.MaxInt {
		return nil, fieldErr("parameters", "got a file of %d bytes, expected at most %d", size, math.MaxInt)
	}
	b := make([]byte, 0, size)
	b = binary.LittleEndian.AppendUint64(b, uint64(len(header)))
	b = append(b, header...)
	for _, p := range m.Params {
		b = appendFloats(appendFloats(b, p.W), p.B)
	}
	return b, nil
}

// version returns the file's version: the first that knows the architecture, so
// that older readers take what they can.
func (a *Architecture) version() string {
	last, fc := &a.Layers[len(a.Layers)-1], false
	if last.Kind != FC || last.Out < 2 || !a.Sequential() {
		return versionGraph
	}
	for i := range a.Layers {
		if fc = fc || a.Layers[i].Kind == FC; fc && a.Layers[i].Kind == Conv {
			return versionGraph
		}
	}
	return versionList
}

// header returns the JSON, padded with spaces so that the data starts at a
// multiple of 8.
func (m *Model) header(tensors []tensor) []byte {
	var b []byte
	pair := func(key, val string) {
		b = append(appendString(b, key), ':')
		b = append(appendString(b, val), ',')
	}
	b = append(b, `{"`+metadataKey+`":{`...)
	pair("format", formatName)
	pair("version", m.Arch.version())
	pair("architecture", string(m.Arch.CanonicalJSON()))
	for _, k := range slices.Sorted(maps.Keys(m.Card)) {
		pair(cardPrefix+k, m.Card[k])
	}
	b[len(b)-1] = '}' // over the last comma
	for _, t := range tensors {
		b = fmt.Appendf(b, `,%q:{"dtype":%q,"shape":%s,"data_offsets":[%d,%d]}`, t.name, t.dtype,
			strings.ReplaceAll(fmt.Sprint(t.shape), " ", ","), t.begin, t.end)
	}
	b = append(b, '}')
	for (lengthBytes+len(b))%8 != 0 {
		b = append(b, ' ')
	}
	return b
}

// Decode reads a model file. The name appears in errors, which are all
// *FormatError. The result shares no memory with data. Hostile data can make
// it fail but not panic, nor allocate more
// than a small multiple of len(data).
func Decode(data []byte, name string) (*Model, error) {
	m, err := decode(data)
	if err != nil {
		return nil, inFile(err, name)
	}
	return m, nil
}

func decode(data []byte) (*Model, error) {
	header, data, err := splitHeader(data)
	if err != nil {
		return nil, err
	}
	m := &Model{}
	found := make(map[string]tensor)
	seenMetadata := false
	err = eachMember(header, "header", 1+2*maxLayers, func(key string, val []byte) (err error) {
		if key == metadataKey {
			seenMetadata = true
			return m.parseMetadata(val)
		}
		found[key], err = parseTensor(key, val)
		return err
	})
	if err != nil {
		return nil, err
	}
	if !seenMetadata {
		return nil, fieldErr("header", "got no %q, expected the metadata of an epsball model", metadataKey)
	}
	shapes, err := m.Arch.Shapes()
	if err != nil {
		return nil, err
	}
	want := wantTensors(&m.Arch, shapes)
	if err := checkTensors(found, want, int64(len(data))); err != nil {
		return nil, err
	}
	m.Params = make([]Param, len(m.Arch.Layers))
	for i := range m.Params {
		if m.Arch.Layers[i].HasParams() {
			w, b := found[weightName(i)], found[biasName(i)]
			m.Params[i] = Param{W: floats(data[w.begin:w.end]), B: floats(data[b.begin:b.end])}
		}
	}
	return m, m.Validate()
}

// splitHeader cuts a file into its header and its data.
func splitHeader(file []byte) (header, data []byte, err error) {
	if len(file) < lengthBytes {
		return nil, nil, fieldErr("header length", "got a file of %d bytes, expected at least %d", len(file), lengthBytes)
	}
	n, rest := binary.LittleEndian.Uint64(file), file[lengthBytes:]
	if n > maxHeader {
		return nil, nil, fieldErr("header length", "got %d bytes, expected at most %d; is this a safetensors file?",
			n, maxHeader)
	}
	if n > uint64(len(rest)) {
		return nil, nil, fieldErr("header length", "got %d bytes, expected at most the %d left in the file", n, len(rest))
	}
	header, data = rest[:n], rest[n:]
	if n == 0 || header[0] != '{' {
		return nil, nil, fieldErr("header", "got %s, expected a JSON object", quote(string(header[:min(n, 16)])))
	}
	return header, data, checkJSON(header, "header")
}

// parseMetadata fills in the architecture and the card.
func (m *Model) parseMetadata(val []byte) error {
	texts := make(map[string]string)
	err := eachMember(val, metadataKey, 3+maxCardEntries, func(key string, val []byte) (err error) {
		texts[key], err = parseString(val, metadataKey+"."+quote(key))
		return err
	})
	if err != nil {
		return err
	}
	format, version := texts["format"], texts["version"]
	for _, key := range [2]string{"format", "version"} {
		if _, ok := texts[key]; !ok {
			return fieldErr(metadataKey, "got no key %q, expected one", key)
		}
		delete(texts, key)
	}
	if format != formatName {
		return fieldErr(metadataKey+".format", "got %s, expected %q", quote(format), formatName)
	}
	if version != versionList && version != versionGraph {
		return fieldErr(metadataKey+".version", "got %s, expected %q or %q", quote(version), versionList, versionGraph)
	}
	text, ok := texts["architecture"]
	if !ok {
		return fieldErr(metadataKey, "got no key %q, expected the architecture's JSON", "architecture")
	}
	delete(texts, "architecture")
	arch, err := ParseArchitecture([]byte(text))
	if err != nil {
		return err
	}
	m.Arch = *arch
	if need := arch.version(); need > version {
		return fieldErr(metadataKey+".version", "got %q, expected %q for this architecture", version, need)
	}
	for _, key := range slices.Sorted(maps.Keys(texts)) {
		name, ok := strings.CutPrefix(key, cardPrefix)
		if !ok {
			return fieldErr(metadataKey, "got unknown key %s, expected format, version, architecture or %s…",
				quote(key), cardPrefix)
		}
		if m.Card == nil {
			m.Card = make(map[string]string)
		}
		m.Card[name] = texts[key]
	}
	return nil
}

func parseTensor(name string, val []byte) (tensor, error) {
	t := tensor{name: name}
	field := tensorField(name)
	var seen keys
	err := eachMember(val, field, 3, func(key string, val []byte) (err error) {
		seen = append(seen, key)
		switch key {
		case "dtype":
			t.dtype, err = parseString(val, field+".dtype")
		case "shape":
			t.shape, err = parseInts(val, field+".shape", 4)
		case "data_offsets":
			var v []int64
			err = eachElement(val, field+".data_offsets", 2, func(_ int, val []byte) error {
				n, err := parseInt64(val, field+".data_offsets", 64)
				v = append(v, n)
				return err
			})
			if err == nil && len(v) != 2 {
				err = fieldErr(field+".data_offsets", "got %d numbers, expected 2: begin, end", len(v))
			}
			if err == nil {
				t.begin, t.end = v[0], v[1]
			}
		default:
			err = fieldErr(field, "got unknown key %s, expected dtype, shape and data_offsets", quote(key))
		}
		return err
	})
	if err != nil {
		return t, err
	}
	return t, seen.need(field, "dtype", "shape", "data_offsets")
}

// checkTensors checks the header's tensors against the architecture's, and that
// they cover the data exactly, without gaps and overlaps.
func checkTensors(found map[string]tensor, want []tensor, size int64) error {
	at := make([]tensor, 0, len(want))
	for _, w := range want {
		t, ok := found[w.name]
		if !ok {
			return fieldErr(w.name, "got no such tensor, expected one of shape %v", w.shape)
		}
		if t.dtype != floatType {
			return fieldErr(w.name+".dtype", "got %s, expected %q", quote(t.dtype), floatType)
		}
		if !slices.Equal(t.shape, w.shape) {
			return fieldErr(w.name+".shape", "got %v, expected %v", t.shape, w.shape)
		}
		if t.begin < 0 || t.end < t.begin || t.end > size {
			return fieldErr(w.name+".data_offsets", "got [%d %d], expected them in order within the %d bytes of data",
				t.begin, t.end, size)
		}
		if n := w.end - w.begin; t.end-t.begin != n {
			return fieldErr(w.name+".data_offsets", "got %d bytes, expected %d for the shape %v", t.end-t.begin, n, w.shape)
		}
		at = append(at, t)
	}
	if len(found) > len(want) {
		for _, t := range at {
			delete(found, t.name)
		}
		extra := slices.Sorted(maps.Keys(found))[0]
		return fieldErr(tensorField(extra), "got a tensor that the architecture does not have")
	}
	slices.SortFunc(at, func(a, b tensor) int { return cmp.Compare(a.begin, b.begin) })
	next := int64(0)
	for _, t := range at {
		if t.begin != next {
			return fieldErr(t.name+".data_offsets", "got begin %d, expected %d: tensors follow each other without gap or overlap",
				t.begin, next)
		}
		next = t.end
	}
	if next != size {
		return fieldErr("data", "got %d bytes, expected %d, the end of the last tensor", size, next)
	}
	return nil
}

// tensorField is a tensor's name fit for an error, whoever wrote it.
func tensorField(name string) string {
	q := quote(name)
	if q == `"`+name+`"` {
		return name
	}
	return q
}

// floats and appendFloats spell out little-endian, whatever the machine's order.
func floats(b []byte) []float32 {
	v := make([]float32, len(b)/4)
	for i := range v {
		v[i] = math.Float32frombits(binary.LittleEndian.Uint32(b[4*i:]))
	}
	return v
}

func appendFloats(b []byte, v []float32) []byte {
	for _, x := range v {
		b = binary.LittleEndian.AppendUint32(b, math.Float32bits(x))
	}
	return b
}
