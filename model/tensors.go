package model

import (
	"fmt"
	"maps"
	"slices"
	"sort"
)

func weightName(i int) string { return fmt.Sprintf("layers.%d.weight", i) }
func tilesName(i int) string  { return fmt.Sprintf("layers.%d.tiles", i) }
func biasName(i int) string   { return fmt.Sprintf("layers.%d.bias", i) }
func meanName(i int) string   { return fmt.Sprintf("layers.%d.running_mean", i) }
func varName(i int) string    { return fmt.Sprintf("layers.%d.running_var", i) }

// tensor is one entry of the header; the offsets count from the data's start.
type tensor struct {
	name       string
	dtype      string
	shape      []int
	begin, end int64
}

// param is one of a layer's parameters as a tensor.
type param struct {
	tensor
	layer   int
	part    part
	matrix  matrix
	storage Storage // of a conv's or an fc's weight, zero for the rest
	fixed   bool    // of float32 in every file: no such weight
}

// part says which of a layer's parameters a tensor holds.
type part uint8

const (
	partWeight part = iota
	partBias
	partMean
	partVar
)

// values returns where the part has its floats.
func (p *Param) values(which part) *[]float32 {
	return [...]*[]float32{&p.W, &p.B, &p.Mean, &p.Var}[which]
}

// wantTensors returns the tensors of an architecture in the order in which
// Encode writes them: layer by layer, each weight before its bias and a batchnorm's
// statistics after it, but tiles come first, so that they are aligned, and rows of 16
// bits last, for the same reason.
func wantTensors(a *Architecture, shapes []Shape, storage func(i int) Storage) []param {
	var ps []param
	for i := range a.Layers {
		l := &a.Layers[i]
		if !l.HasParams() {
			continue
		}
		in := a.InputShape(i, shapes)
		if l.Kind == BatchNorm {
			for k, name := range [...]string{weightName(i), biasName(i), meanName(i), varName(i)} {
				p := param{layer: i, part: part(k), matrix: matrix{in.C, 1, 1}, fixed: true}
				p.name, p.shape = name, []int{in.C}
				ps = append(ps, p)
			}
			continue
		}
		w := param{layer: i, storage: storage(i), matrix: l.matrix(in)}
		w.name, w.shape = weightName(i), l.WeightShape(in)
		if w.storage.Tiles {
			w.name, w.shape = tilesName(i), []int{int(w.matrix.elements(w.storage))}
		}
		b := param{layer: i, part: partBias, matrix: matrix{l.Out, 1, 1}, fixed: true}
		b.name, b.shape = biasName(i), []int{l.Out}
		ps = append(ps, w, b)
	}
	rank := func(s Storage) int {
		switch {
		case s.Tiles:
			return 0
		case s.Type == F32:
			return 1
		}
		return 2
	}
	sort.SliceStable(ps, func(i, j int) bool { return rank(ps[i].storage) < rank(ps[j].storage) }) // slices would compile a sort of its own
	at := int64(0)
	for i := range ps {
		p := &ps[i]
		p.dtype = p.storage.Type.String()
		p.begin, p.end = at, at+p.matrix.elements(p.storage)*int64(p.storage.Type.Size())
		at = p.end
	}
	return ps
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
func checkTensors(found map[string]tensor, want []param, size int64, version string) error {
	at := make([]tensor, 0, len(want))
	for _, w := range want {
		t, ok := found[w.name]
		if !ok {
			return fieldErr(w.name, "got no such tensor, expected one of shape %v", w.shape)
		}
		if t.dtype != w.dtype {
			if version >= versionStored && !w.fixed {
				return fieldErr(w.name+".dtype", "got %s, expected %q, %q or %q", quote(t.dtype), F32, BF16, F16)
			}
			return fieldErr(w.name+".dtype", "got %s, expected %q", quote(t.dtype), F32)
		}
		if w.matrix.elements(w.storage) > maxWeight {
			return fieldErr(w.name, "got %d elements with the padding of tiles, expected at most %d",
				w.matrix.elements(w.storage), maxWeight)
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
	sort.Slice(at, func(i, j int) bool { return at[i].begin < at[j].begin })
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
