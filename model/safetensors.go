package model

import (
	"encoding/binary"
	"fmt"
	"io"
	"maps"
	"math"
	"slices"
	"strings"
)

// A model file is a safetensors file: the header's length as a little-endian
// uint64, the header (JSON), the tensors' bytes.
const (
	lengthBytes   = 8
	maxHeader     = 16 << 20 // bytes
	formatName    = "epsball"
	versionList   = "1" // layers in a list that ends in fc, weights in rows of float32
	versionGraph  = "2" // any layers
	versionStored = "3" // weights of 16 bits or in tiles as well
	versionLayers = "4" // the other kinds of layers as well
	metadataKey   = "__metadata__"
	cardPrefix    = "card."
)

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
	tensors := wantTensors(&m.Arch, shapes, func(i int) Storage { return m.Params[i].Storage() })
	header := m.header(tensors)
	if len(header) > maxHeader {
		return nil, fieldErr("header", "got %d bytes, expected at most %d", len(header), maxHeader)
	}
	size := int64(lengthBytes + len(header))
	if n := len(tensors); n > 0 {
		size += tensors[n-1].end
	}
	if size > math.MaxInt {
		return nil, fieldErr("parameters", "got a file of %d bytes, expected at most %d", size, math.MaxInt)
	}
	b := make([]byte, 0, size)
	b = binary.LittleEndian.AppendUint64(b, uint64(len(header)))
	b = append(b, header...)
	for _, t := range tensors {
		if p := &m.Params[t.layer]; !t.fixed && p.Stored != nil {
			b = append(b, p.Stored.data...)
		} else {
			b = appendFloats(b, *p.values(t.part))
		}
	}
	return b, nil
}

// version returns the file's version: the first that knows the model, so that
// older readers take what they can.
func (m *Model) version() string {
	version := m.Arch.version()
	for i := range m.Params {
		if m.Params[i].Storage() != (Storage{}) {
			return max(version, versionStored)
		}
	}
	return version
}

// version returns the first version that knows the architecture.
func (a *Architecture) version() string {
	readers := a.Readers()
	for i := range a.Layers {
		if !a.classic(i, readers) {
			return versionLayers
		}
	}
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

// classic reports whether versions before versionLayers know layer i: its kind, and
// its place.
func (a *Architecture) classic(i int, readers []int) bool {
	l := &a.Layers[i]
	switch l.Kind {
	case Normalize, FC:
		return true
	case Conv:
		return l.Groups == 0 && l.Dilation == [2]int{}
	case Add:
		return a.branch(l.Inputs[0], readers) || a.branch(l.Inputs[1], readers)
	case ReLU: // directly after what it reads alone
		k := a.source(i)
		return k >= 0 && k == i-1 && readers[k+1] == 1 && (a.Layers[k].HasMatrix() || a.Layers[k].Kind == Add)
	}
	return false
}

// header returns the JSON, padded with spaces so that the data starts at a
// multiple of 8, or of a cache line where that may align tiles.
func (m *Model) header(tensors []param) []byte {
	var b []byte
	pair := func(key, val string) {
		b = append(appendString(b, key), ':')
		b = append(appendString(b, val), ',')
	}
	b = append(b, `{"`+metadataKey+`":{`...)
	pair("format", formatName)
	version, align := m.version(), 8
	if version >= versionStored {
		align = tensorAlign
	}
	pair("version", version)
	pair("architecture", string(m.Arch.CanonicalJSON()))
	for _, k := range slices.Sorted(maps.Keys(m.Card)) {
		pair(cardPrefix+k, m.Card[k])
	}
	b[len(b)-1] = '}' // over the last comma
	for _, t := range tensors {
		b = append(b, fmt.Sprintf(`,%q:{"dtype":%q,"shape":%s,"data_offsets":[%d,%d]}`, t.name, t.dtype,
			strings.ReplaceAll(fmt.Sprint(t.shape), " ", ","), t.begin, t.end)...)
	}
	b = append(b, '}')
	for (lengthBytes+len(b))%align != 0 {
		b = append(b, ' ')
	}
	return b
}

// Decode reads a model file. The name appears in errors, which are all
// *FormatError. The result shares no memory with data. Hostile data can make
// it fail but not panic, nor allocate more
// than a small multiple of len(data).
func Decode(data []byte, name string) (*Model, error) { return decode(data, name, false) }

// View is Decode without a copy of the weights: each is a Stored that lies in data,
// which must neither change nor go away while the model, or anything made from
// it but Clone and Store, is in use. net.Compile uses tiles where they lie.
func View(data []byte, name string) (*Model, error) { return decode(data, name, true) }

func decode(data []byte, name string, inPlace bool) (*Model, error) {
	m, err := parse(data, inPlace)
	if err != nil {
		return nil, inFile(err, name)
	}
	return m, nil
}

func parse(data []byte, inPlace bool) (*Model, error) {
	header, data, err := splitHeader(data)
	if err != nil {
		return nil, err
	}
	m, tensors, err := parseHeader(header, int64(len(data)))
	if err != nil {
		return nil, err
	}
	for _, t := range tensors {
		p, b := &m.Params[t.layer], data[t.begin:t.end:t.end]
		switch {
		case t.fixed || !inPlace && t.storage == Storage{}:
			*p.values(t.part) = floats(b)
		default:
			p.Stored = &Stored{t.storage, t.matrix, b}
			if err := p.Stored.validate(t.name); err != nil {
				return nil, err
			}
			if !inPlace {
				p.Stored = p.Stored.clone()
			}
		}
	}
	return m, m.Validate()
}

// read is parse of a file of size bytes that is not in memory. Its error may be
// r's.
func read(r io.Reader, size int64) (*Model, error) {
	var length [lengthBytes]byte
	if size >= lengthBytes {
		if _, err := io.ReadFull(r, length[:]); err != nil {
			return nil, err
		}
	}
	n, err := headerLength(length[:], size)
	if err != nil {
		return nil, err
	}
	header := make([]byte, n)
	if _, err := io.ReadFull(r, header); err != nil {
		return nil, err
	}
	if err := checkHeader(header); err != nil {
		return nil, err
	}
	m, tensors, err := parseHeader(header, size-lengthBytes-n)
	if err != nil {
		return nil, err
	}
	for _, t := range tensors {
		p := &m.Params[t.layer]
		if t.storage == (Storage{}) {
			if *p.values(t.part), err = readFloats(r, (t.end-t.begin)/4); err != nil {
				return nil, err
			}
			continue
		}
		p.Stored = &Stored{t.storage, t.matrix, alignedBytes(t.end - t.begin)}
		if _, err := io.ReadFull(r, p.Stored.data); err != nil {
			return nil, err
		}
		if err := p.Stored.validate(t.name); err != nil {
			return nil, err
		}
	}
	return m, m.Validate()
}

// parseHeader reads what the header says of a file with size bytes of data. Params
// are there but empty, the tensors as the file has them.
func parseHeader(header []byte, size int64) (*Model, []*param, error) {
	m, version := &Model{}, ""
	found := make(map[string]tensor)
	err := eachMember(header, "header", 1+4*maxLayers, func(key string, val []byte) (err error) {
		if key == metadataKey {
			version, err = m.parseMetadata(val)
			return err
		}
		found[key], err = parseTensor(key, val)
		return err
	})
	if err != nil {
		return nil, nil, err
	}
	if version == "" {
		return nil, nil, tensorsAlone()
	}
	shapes, err := m.Arch.Shapes()
	if err != nil {
		return nil, nil, err
	}
	storage := func(i int) (s Storage) {
		if version < versionStored {
			return s
		}
		t, tiles := found[tilesName(i)]
		if s.Tiles = tiles; !tiles {
			t = found[weightName(i)]
		}
		s.Type, _ = ParseDType(t.dtype)
		return s
	}
	tensors, err := checkTensors(found, wantTensors(&m.Arch, shapes, storage), size, version)
	m.Params = make([]Param, len(m.Arch.Layers))
	return m, tensors, err
}

// splitHeader cuts a file into its header and its data.
func splitHeader(file []byte) (header, data []byte, err error) {
	n, err := headerLength(file, int64(len(file)))
	if err != nil {
		return nil, nil, err
	}
	header, data = file[lengthBytes:lengthBytes+n], file[lengthBytes+n:]
	return header, data, checkHeader(header)
}

// headerLength reads the length of the header from the start of a file of size
// bytes.
func headerLength(start []byte, size int64) (int64, error) {
	if size < lengthBytes {
		return 0, fieldErr("header length", "got a file of %d bytes, expected a safetensors file", size)
	}
	n, rest := binary.LittleEndian.Uint64(start), size-lengthBytes
	if n > maxHeader {
		return 0, fieldErr("header length", "got a file that starts with %q, expected a safetensors file", start[:lengthBytes])
	}
	if n > uint64(rest) {
		return 0, fieldErr("header length", "got %d bytes, expected at most the %d left in the file", n, rest)
	}
	return int64(n), nil
}

func checkHeader(header []byte) error {
	if len(header) == 0 || header[0] != '{' {
		return fieldErr("header", "got %s, expected a JSON object", quote(string(header[:min(len(header), 16)])))
	}
	return checkJSON(header, "header")
}

// tensorsAlone is the error of a safetensors file of another program's.
func tensorsAlone() error {
	return fieldErr(metadataKey, "got a safetensors file of weights alone, expected one of an epsball model, which has its layers here (docs/model-format.md); an ONNX network has both")
}

// parseMetadata fills in the architecture and the card, and returns the version.
func (m *Model) parseMetadata(val []byte) (version string, err error) {
	texts := make(map[string]string)
	err = eachMember(val, metadataKey, 3+maxCardEntries, func(key string, val []byte) (err error) {
		texts[key], err = parseString(val, metadataKey+"."+quote(key))
		return err
	})
	if err != nil {
		return "", err
	}
	format, version := texts["format"], texts["version"]
	if _, ok := texts["architecture"]; !ok && format != formatName { // other programs write, say, "pt"
		return "", tensorsAlone()
	}
	for _, key := range [2]string{"format", "version"} {
		if _, ok := texts[key]; !ok {
			return "", fieldErr(metadataKey, "got no key %q, expected one", key)
		}
		delete(texts, key)
	}
	if format != formatName {
		return "", fieldErr(metadataKey+".format", "got %s, expected %q", quote(format), formatName)
	}
	if len(version) != 1 || version < versionList || version > versionLayers {
		return "", fieldErr(metadataKey+".version", "got %s, expected %q to %q", quote(version), versionList, versionLayers)
	}
	text, ok := texts["architecture"]
	if !ok {
		return "", fieldErr(metadataKey, "got no key %q, expected the architecture's JSON", "architecture")
	}
	delete(texts, "architecture")
	arch, err := ParseArchitecture([]byte(text))
	if err != nil {
		return "", err
	}
	m.Arch = *arch
	if need := arch.version(); need > version {
		return "", fieldErr(metadataKey+".version", "got %q, expected %q for this architecture", version, need)
	}
	for _, key := range slices.Sorted(maps.Keys(texts)) {
		name, ok := strings.CutPrefix(key, cardPrefix)
		if !ok {
			return "", fieldErr(metadataKey, "got unknown key %s, expected format, version, architecture or %s…",
				quote(key), cardPrefix)
		}
		if m.Card == nil {
			m.Card = make(map[string]string)
		}
		m.Card[name] = texts[key]
	}
	return version, nil
}

// readFloats reads n floats.
func readFloats(r io.Reader, n int64) ([]float32, error) {
	var buf [1 << 15]byte
	v := make([]float32, n)
	for rest := v; len(rest) > 0; {
		k := min(len(rest), len(buf)/4)
		if _, err := io.ReadFull(r, buf[:4*k]); err != nil {
			return nil, err
		}
		for i := range rest[:k] {
			rest[i] = math.Float32frombits(binary.LittleEndian.Uint32(buf[4*i:]))
		}
		rest = rest[k:]
	}
	return v, nil
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
