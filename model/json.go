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
	b = fmt.Appendf(b, `,"input":[%d,%d,%d],"layers":[`, a.Input.C, a.Input.H, a.Input.W)
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
		b = append(b, `,"inputs":[`...)
		for n, k := range in {
			if n > 0 {
				b = append(b, ',')
			}
			b = strconv.AppendInt(b, int64(k), 10)
		}
		b = append(b, ']')
	}
	switch l.Kind {
	case Normalize:
		b = appendNumbers(append(b, `,"mean":`...), l.Mean)
		b = appendNumbers(append(b, `,"std":`...), l.Std)
	case Conv:
		b = appendWindows(fmt.Appendf(b, `,"out":%d`, l.Out), l)
		if l.Dilation != [2]int{} {
			b = fmt.Appendf(b, `,"dilation":[%d,%d]`, l.Dilation[0], l.Dilation[1])
		}
		if l.Groups > 1 {
			b = fmt.Appendf(b, `,"groups":%d`, l.Groups)
		}
	case FC:
		b = fmt.Appendf(b, `,"out":%d`, l.Out)
	case MaxPool, AvgPool:
		b = appendWindows(b, l)
		if l.CountPadding {
			b = append(b, `,"count_padding":true`...)
		}
	case LeakyReLU:
		b = appendNumbers(append(b, `,"slope":`...), l.Slope)
	case Clip:
		b = appendNumber(append(b, `,"min":`...), l.Min)
		b = appendNumber(append(b, `,"max":`...), l.Max)
	case BatchNorm:
		b = appendNumber(append(b, `,"eps":`...), l.Eps)
	}
	return append(b, '}')
}

func appendWindows(b []byte, l *Layer) []byte {
	return fmt.Appendf(b, `,"kernel":[%d,%d],"stride":[%d,%d],"padding":[%d,%d]`,
		l.Kernel[0], l.Kernel[1], l.Stride[0], l.Stride[1], l.Padding[0], l.Padding[1])
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
// two equal ones in kernel, stride and padding, their defaults (stride 1,
// padding 0), and the layer before spelled out in inputs. Unknown, repeated and missing keys are errors. The error is a
// *FormatError.
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

// layerKeys returns, besides "type", the keys of a kind: required ones and others.
func layerKeys(k Kind) (required, optional keys, ok bool) {
	switch k {
	case Normalize:
		return keys{"mean", "std"}, nil, true
	case Conv:
		return keys{"out", "kernel"}, keys{"inputs", "stride", "padding", "dilation", "groups"}, true
	case FC:
		return keys{"out"}, keys{"inputs"}, true
	case MaxPool:
		return keys{"kernel"}, keys{"inputs", "stride", "padding"}, true
	case AvgPool:
		return keys{"kernel"}, keys{"inputs", "stride", "padding", "count_padding"}, true
	case LeakyReLU:
		return keys{"slope"}, keys{"inputs"}, true
	case Clip:
		return keys{"min", "max"}, keys{"inputs"}, true
	case BatchNorm:
		return keys{"eps"}, keys{"inputs"}, true
	case ReLU, Sigmoid, Tanh:
		return nil, keys{"inputs"}, true
	case Add, Concat:
		return keys{"inputs"}, nil, true
	}
	return nil, nil, false
}

func parseLayer(i int, data []byte) (Layer, error) {
	l := Layer{Stride: [2]int{1, 1}}
	at := fmt.Sprintf("layers[%d]", i)
	var seen keys
	err := eachMember(data, at, 9, func(key string, val []byte) (err error) {
		seen = append(seen, key)
		field := at + "." + key
		switch key {
		case "type":
			var s string
			s, err = parseString(val, field)
			l.Kind = Kind(s)
		case "inputs":
			l.Inputs, err = parseInts(val, field, maxLayers)
			if err == nil && len(l.Inputs) == 0 {
				err = fieldErr(field, "got no numbers, expected at least 1")
			}
			if len(l.Inputs) == 1 && l.Inputs[0] == i-1 {
				l.Inputs = nil // the canonical spelling
			}
		case "mean":
			l.Mean, err = parseFloats(val, field)
		case "std":
			l.Std, err = parseFloats(val, field)
		case "out":
			l.Out, err = parseInt(val, field)
		case "kernel":
			l.Kernel, err = parsePair(val, field)
		case "stride":
			l.Stride, err = parsePair(val, field)
		case "padding":
			l.Padding, err = parsePair(val, field)
		case "dilation":
			if l.Dilation, err = parsePair(val, field); l.Dilation == [2]int{1, 1} {
				l.Dilation = [2]int{} // the canonical spelling
			}
		case "groups":
			if l.Groups, err = parseInt(val, field); l.Groups == 1 {
				l.Groups = 0 // the canonical spelling
			}
		case "count_padding":
			l.CountPadding, err = parseBool(val, field)
		case "slope":
			l.Slope, err = parseFloats(val, field)
		case "min":
			l.Min, err = parseFloat(val, field)
		case "max":
			l.Max, err = parseFloat(val, field)
		case "eps":
			l.Eps, err = parseFloat(val, field)
		default:
			err = fieldErr(at, "got unknown key %s, expected type, inputs, mean, std, out, kernel, stride, padding, "+
				"dilation, groups, count_padding, slope, min, max or eps", quote(key))
		}
		return err
	})
	if err != nil {
		return l, err
	}
	if err := seen.need(at, "type"); err != nil {
		return l, err
	}
	required, optional, ok := layerKeys(l.Kind)
	if !ok {
		return l, fieldErr(at+".type", "got %s, expected %s", quote(string(l.Kind)), kindNames())
	}
	for _, k := range seen {
		if k != "type" && !required.has(k) && !optional.has(k) {
			return l, fieldErr(at+"."+k, "got a key that %q does not have", l.Kind)
		}
	}
	if l.Kind != Conv && l.Kind != MaxPool && l.Kind != AvgPool {
		l.Stride = [2]int{}
	}
	if l.Padding == [2]int{} {
		l.CountPadding = false // the canonical spelling
	}
	return l, seen.need(at, required...)
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

func parseBool(val []byte, field string) (bool, error) {
	switch string(val) {
	case "true":
		return true, nil
	case "false":
		return false, nil
	}
	return false, fieldErr(field, "got %s, expected true or false", quote(string(val)))
}
