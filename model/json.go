package model

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"
)

// CanonicalJSON returns the architecture as JSON in the one spelling that Hash
// and the model file use: fixed order of keys, no white space, pairs written as
// [height,width], floats as the shortest decimal that reads back as the same
// float32.
func (a *Architecture) CanonicalJSON() []byte {
	b := appendString([]byte(`{"name":`), a.Name)
	b = appendInts(append(b, `,"input":`...), []int{a.Input.C, a.Input.H, a.Input.W})
	b = append(b, `,"layers":[`...)
	for i := range a.Layers {
		if i > 0 {
			b = append(b, ',')
		}
		b = a.Layers[i].appendJSON(b, i)
	}
	return append(b, "]}"...)
}

// appendJSON writes layer i. A single input that is the layer before is left out.
func (l *Layer) appendJSON(b []byte, i int) []byte {
	b = appendString(append(b, `{"type":`...), string(l.Kind))
	if in := l.Inputs; len(in) > 1 || len(in) == 1 && in[0] != i-1 {
		b = appendInts(append(b, `,"inputs":`...), in)
	}
	k := l.Kind.keys()
	if k == nil { // not valid
		return append(b, '}')
	}
	for bit, key := range keyNames {
		switch set := keySet(1) << bit; {
		case (k.required|k.optional)&set == 0, set == keyInputs,
			set == keyDilation && l.Dilation == [2]int{}, set == keyGroups && l.Groups == 0, set == keyCountPadding && !l.CountPadding:
			continue
		}
		b = append(append(append(b, `,"`...), key...), `":`...)
		switch keySet(1) << bit {
		case keyMean:
			b = appendNumbers(b, l.Mean)
		case keyStd:
			b = appendNumbers(b, l.Std)
		case keyOut:
			b = strconv.AppendInt(b, int64(l.Out), 10)
		case keyKernel:
			b = appendInts(b, l.Kernel[:])
		case keyStride:
			b = appendInts(b, l.Stride[:])
		case keyPadding:
			b = appendInts(b, l.Padding[:])
		case keyDilation:
			b = appendInts(b, l.Dilation[:])
		case keyGroups:
			b = strconv.AppendInt(b, int64(l.Groups), 10)
		case keyCountPadding:
			b = append(b, "true"...)
		case keySlope:
			b = appendNumbers(b, l.Slope)
		case keyMin:
			b = appendNumber(b, l.Min)
		case keyMax:
			b = appendNumber(b, l.Max)
		case keyEps:
			b = appendNumber(b, l.Eps)
		}
	}
	return append(b, '}')
}

func appendInts(b []byte, v []int) []byte {
	b = append(b, '[')
	for i, n := range v {
		if i > 0 {
			b = append(b, ',')
		}
		b = strconv.AppendInt(b, int64(n), 10)
	}
	return append(b, ']')
}

func appendNumber(b []byte, x float32) []byte { return strconv.AppendFloat(b, float64(x), 'g', -1, 32) }

func appendNumbers(b []byte, v []float32) []byte {
	b = append(b, '[')
	for i, x := range v {
		if i > 0 {
			b = append(b, ',')
		}
		b = appendNumber(b, x)
	}
	return append(b, ']')
}

// appendString appends s, valid UTF-8, as a JSON string in encoding/json's spelling
// less the escapes for HTML.
func appendString(b []byte, s string) []byte {
	quoted, _ := jsontext.AppendQuote(nil, s)
	b, _ = jsontext.AppendFormat(b, quoted, jsontext.EscapeForJS(true))
	return b
}

// ParseArchitecture reads an architecture's JSON and validates it. Besides the
// canonical spelling it takes white space, any order of keys, one integer for
// two equal ones in kernel, stride, padding and dilation, defaults left out (stride 1,
// padding 0) or spelled out (dilation 1, groups 1, count_padding false), and the layer
// before spelled out in inputs. Unknown, repeated and missing keys are errors. The
// error is a *FormatError.
func ParseArchitecture(data []byte) (*Architecture, error) {
	if err := checkJSON(data, "architecture"); err != nil {
		return nil, err
	}
	a := &Architecture{}
	var seen keys
	err := eachMember(data, "architecture", 3, func(key string, val []byte) (err error) {
		seen = append(seen, key)
		switch key {
		case "name":
			a.Name, err = parseString(val, "name")
		case "input":
			var dims []int
			if dims, err = parseInts(val, "input", 3); err != nil {
				return err
			}
			if len(dims) != 3 {
				return fieldErr("input", "got %d numbers, expected 3: channels, height, width", len(dims))
			}
			a.Input = Shape{dims[0], dims[1], dims[2]}
		case "layers":
			err = eachElement(val, "layers", maxLayers, func(i int, val []byte) error {
				l, err := parseLayer(i, val)
				a.Layers = append(a.Layers, l)
				return err
			})
		default:
			err = fieldErr("architecture", "got unknown key %s, expected name, input and layers", quote(key))
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	if err := seen.need("architecture", "name", "input", "layers"); err != nil {
		return nil, err
	}
	if err := a.Validate(); err != nil {
		return nil, err
	}
	return a, nil
}

func parseLayer(i int, data []byte) (Layer, error) {
	l := Layer{Stride: [2]int{1, 1}}
	at := fmt.Sprintf("layers[%d]", i)
	var seen keySet
	err := eachMember(data, at, len(keyNames), func(key string, val []byte) (err error) {
		bit := slices.Index(keyNames[:], key)
		if bit < 0 {
			return fieldErr(at, "got unknown key %s, expected %s", quote(key), strings.Join(keyNames[:], ", "))
		}
		seen |= 1 << bit
		field := at + "." + key
		switch keySet(1) << bit {
		case keyType:
			var s string
			s, err = parseString(val, field)
			l.Kind = Kind(s)
		case keyInputs:
			l.Inputs, err = parseInts(val, field, maxLayers)
			if err == nil && len(l.Inputs) == 0 {
				err = fieldErr(field, "got no numbers, expected at least 1")
			}
			if len(l.Inputs) == 1 && l.Inputs[0] == i-1 {
				l.Inputs = nil // the canonical spelling
			}
		case keyMean:
			l.Mean, err = parseFloats(val, field)
		case keyStd:
			l.Std, err = parseFloats(val, field)
		case keyOut:
			l.Out, err = parseInt(val, field)
		case keyKernel:
			l.Kernel, err = parsePair(val, field)
		case keyStride:
			l.Stride, err = parsePair(val, field)
		case keyPadding:
			l.Padding, err = parsePair(val, field)
		case keyDilation:
			l.Dilation, err = parsePair(val, field)
		case keyGroups:
			l.Groups, err = parseInt(val, field)
		case keyCountPadding:
			if l.CountPadding = string(val) == "true"; !l.CountPadding && string(val) != "false" {
				err = fieldErr(field, "got %s, expected true or false", quote(string(val)))
			}
		case keySlope:
			l.Slope, err = parseFloats(val, field)
		case keyMin:
			l.Min, err = parseFloat(val, field)
		case keyMax:
			l.Max, err = parseFloat(val, field)
		case keyEps:
			l.Eps, err = parseFloat(val, field)
		}
		return err
	})
	if err != nil {
		return l, err
	}
	if seen&keyType == 0 {
		return l, fieldErr(at, "got no key %q, expected one", keyType)
	}
	k := l.Kind.keys()
	if k == nil {
		return l, unknownKind(i, l.Kind)
	}
	if more := seen &^ (k.required | k.optional | keyType); more != 0 {
		return l, fieldErr(at+"."+more.String(), "got a key that %q does not have", l.Kind)
	}
	if none := k.required &^ seen; none != 0 {
		return l, fieldErr(at, "got no key %q, expected one", none)
	}
	// The canonical spelling.
	if k.optional&keyStride == 0 {
		l.Stride = [2]int{}
	}
	if l.Dilation == [2]int{1, 1} {
		l.Dilation = [2]int{}
	}
	if l.Groups == 1 {
		l.Groups = 0
	}
	l.CountPadding = l.CountPadding && l.Padding != [2]int{}
	return l, nil
}

type keys []string

func (k keys) has(key string) bool {
	return slices.Contains(k, key)
}

// need returns an error unless every one of want is in k.
func (k keys) need(field string, want ...string) error {
	for _, w := range want {
		if !k.has(w) {
			return fieldErr(field, "got no key %q, expected one", w)
		}
	}
	return nil
}

// checkJSON refuses what is not one JSON value. The functions below take only
// what has passed it, so that they can cut it without looking for errors.
func checkJSON(data []byte, field string) error {
	if !utf8.Valid(data) {
		return fieldErr(field, "got invalid UTF-8, expected JSON")
	}
	d := jsontext.NewDecoder(bytes.NewBuffer(data), jsontext.AllowDuplicateNames(true)) // eachMember names them
	err := d.SkipValue()
	if err == io.EOF || errors.Is(err, io.ErrUnexpectedEOF) {
		err = errors.New("unexpected end")
	}
	if err == nil {
		if _, err = d.ReadToken(); err == io.EOF {
			return nil
		} else if err == nil {
			err = errors.New("more than one value")
		}
	}
	return fieldErr(field, "got malformed JSON: %s", strings.TrimPrefix(err.Error(), "jsontext: "))
}

// eachMember calls f for the members of a JSON object in their order. It
// refuses repeated keys and more than limit members. (encoding/json would take
// the last of repeated keys and ignore case.)
func eachMember(val []byte, field string, limit int, f func(key string, val []byte) error) error {
	if val = trim(val); val[0] != '{' {
		return fieldErr(field, "got %s, expected a JSON object", quote(string(val)))
	}
	seen := make(map[string]bool)
	return eachItem(val, field, limit, func(item []byte) error {
		n := stringEnd(item)
		key, err := parseString(item[:n], field)
		if err != nil {
			return err
		}
		if seen[key] {
			return fieldErr(field, "got key %s twice, expected it once", quote(key))
		}
		seen[key] = true
		return f(key, trim(trim(item[n:])[1:])) // less the colon
	})
}

// eachElement calls f for the elements of a JSON array of at most limit.
func eachElement(val []byte, field string, limit int, f func(i int, val []byte) error) error {
	if val = trim(val); val[0] != '[' {
		return fieldErr(field, "got %s, expected a JSON array", quote(string(val)))
	}
	i := -1
	return eachItem(val, field, limit, func(item []byte) error {
		i++
		return f(i, item)
	})
}

// eachItem cuts an object or array at its commas. It copies nothing.
func eachItem(val []byte, field string, limit int, f func(item []byte) error) error {
	inner := trim(val[1 : len(val)-1])
	for n := 0; len(inner) > 0; n++ {
		if n == limit {
			return fieldErr(field, "got more than %d entries, expected at most that", limit)
		}
		end := itemEnd(inner)
		if err := f(trim(inner[:end])); err != nil {
			return err
		}
		inner = inner[min(end+1, len(inner)):]
	}
	return nil
}

// itemEnd returns the index of the first comma outside of brackets and strings,
// or len(b).
func itemEnd(b []byte) int {
	depth := 0
	for i := 0; i < len(b); i++ {
		switch b[i] {
		case '"':
			i += stringEnd(b[i:]) - 1
		case '{', '[':
			depth++
		case '}', ']':
			depth--
		case ',':
			if depth == 0 {
				return i
			}
		}
	}
	return len(b)
}

// stringEnd returns the length of the JSON string that b starts with.
func stringEnd(b []byte) int {
	for i := 1; i < len(b); i++ {
		switch b[i] {
		case '\\':
			i++
		case '"':
			return i + 1
		}
	}
	return len(b)
}

func trim(b []byte) []byte { return bytes.Trim(b, " \t\r\n") }

func parseString(val []byte, field string) (string, error) {
	s, err := jsontext.AppendUnquote(nil, val)
	if err != nil {
		return "", fieldErr(field, "got %s, expected a string", quote(string(val)))
	}
	return string(s), nil
}

func parseInt64(val []byte, field string, bits int) (int64, error) {
	n, err := strconv.ParseInt(string(val), 10, bits)
	if err != nil {
		return 0, fieldErr(field, "got %s, expected an integer of at most %d bits", quote(string(val)), bits)
	}
	return n, nil
}

func parseInt(val []byte, field string) (int, error) {
	n, err := parseInt64(val, field, 32)
	return int(n), err
}

func parseInts(val []byte, field string, limit int) ([]int, error) {
	var v []int
	err := eachElement(val, field, limit, func(_ int, val []byte) error {
		n, err := parseInt(val, field)
		v = append(v, n)
		return err
	})
	return v, err
}

// parsePair reads [height, width], or one integer for both.
func parsePair(val []byte, field string) ([2]int, error) {
	if val[0] != '[' {
		n, err := parseInt(val, field)
		return [2]int{n, n}, err
	}
	v, err := parseInts(val, field, 2)
	if err != nil {
		return [2]int{}, err
	}
	if len(v) != 2 {
		return [2]int{}, fieldErr(field, "got %d numbers, expected 2 (height, width) or a single integer", len(v))
	}
	return [2]int(v), nil
}

func parseFloats(val []byte, field string) ([]float32, error) {
	var v []float32
	err := eachElement(val, field, maxSide, func(i int, val []byte) error {
		x, err := parseFloat(val, fmt.Sprintf("%s[%d]", field, i))
		if err != nil {
			return err
		}
		v = append(v, x)
		return nil
	})
	return v, err
}

func parseFloat(val []byte, field string) (float32, error) {
	x, err := strconv.ParseFloat(string(val), 32)
	if err != nil {
		return 0, fieldErr(field, "got %s, expected a number within float32", quote(string(val)))
	}
	return float32(x), nil
}
