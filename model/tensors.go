package model

import (
	"fmt"
	"maps"
	"slices"
)

func weightName(i int) string { return tensorName(i, partWeight) }
func tilesName(i int) string  { return fmt.Sprintf("layers.%d.tiles", i) }
func varName(i int) string    { return tensorName(i, partVar) }

// tensorName is smaller to call than to inline.
//
//go:noinline
func tensorName(i int, which part) string { return fmt.Sprintf("layers.%d.%s", i, partNames[which]) }

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

var partNames = [...]string{"weight", "bias", "running_mean", "running_var"}

// values returns where the part has its floats.
func (p *Param) values(which part) *[]float32 {
	switch which {
	case partWeight:
		return &p.W
	case partBias:
		return &p.B
	case partMean:
		return &p.Mean
	}
	return &p.Var
}

// wantTensors returns the tensors of an architecture in the order in which
// Encode writes them: layer by layer, each weight before its bias and a batchnorm's
// statistics after it, but tiles come first, so that they are aligned, and rows of 16
// bits last, for the same reason.
func wantTensors(a *Architecture, shapes []Shape, storage func(i int) Storage) (ps []param) {
	at := int64(0)
	for rank := range 3 {
		for i := range a.Layers {
			l := &a.Layers[i]
			for k := range l.parts() {
				p := l.param(i, part(k), a.InputShape(i, shapes), storage)
				if p.storage.rank() != rank {
					continue
				}
				p.dtype = p.storage.Type.String()
				p.begin, p.end = at, at+p.matrix.elements(p.storage)*int64(p.storage.Type.Size())
				at = p.end
				ps = append(ps, p)
			}
		}
	}
	return ps
}

// parts returns the number of tensors that hold the layer's parameters.
func (l *Layer) parts() int {
	switch {
	case l.HasMatrix():
		return 2
	case l.HasParams():
		return len(partNames)
	}
	return 0
}

// param describes one of them, but for its place.
func (l *Layer) param(i int, which part, in Shape, storage func(i int) Storage) param {
	n := l.Out
	if l.Kind == BatchNorm {
		n = in.C
	}
	p := param{layer: i, part: which, matrix: matrix{n, 1, 1}, fixed: true}
	p.name, p.shape = tensorName(i, which), []int{n}
	if which == partWeight && l.HasMatrix() {
		p.fixed, p.storage, p.matrix, p.shape = false, storage(i), l.matrix(in), l.WeightShape(in)
		if p.storage.Tiles {
			p.name, p.shape = tilesName(i), []int{int(p.matrix.elements(p.storage))}
		}
	}
	return p
}

// rank orders the tensors of a file by how they are stored.
func (s Storage) rank() int {
	switch {
	case s.Tiles:
		return 0
	case s.Type == F32:
		return 1
	}
	return 2
}

// byBegin sorts tensors, which are nearly in order. (Packages sort and slices would
// compile a sort of their own for it.)
func byBegin(at []*param) {
	for i, t := range at {
		for ; i > 0 && at[i-1].begin > t.begin; i-- {
			at[i] = at[i-1]
		}
		at[i] = t
	}
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
// they cover the data exactly, without gaps and overlaps. It returns them in the file's
// order.
func checkTensors(found map[string]tensor, want []param, size int64, version string) ([]*param, error) {
	at := make([]*param, 0, len(want))
	for i := range want {
		w := &want[i]
		t, ok := found[w.name]
		if !ok {
			return nil, fieldErr(w.name, "got no such tensor, expected one of shape %v", w.shape)
		}
		if t.dtype != w.dtype {
			if version >= versionStored && !w.fixed {
				return nil, fieldErr(w.name+".dtype", "got %s, expected %q, %q or %q", quote(t.dtype), F32, BF16, F16)
			}
			return nil, fieldErr(w.name+".dtype", "got %s, expected %q", quote(t.dtype), F32)
		}
		if w.matrix.elements(w.storage) > maxWeight {
			return nil, fieldErr(w.name, "got %d elements with the padding of tiles, expected at most %d",
				w.matrix.elements(w.storage), maxWeight)
		}
		if !slices.Equal(t.shape, w.shape) {
			return nil, fieldErr(w.name+".shape", "got %v, expected %v", t.shape, w.shape)
		}
		if t.begin < 0 || t.end < t.begin || t.end > size {
			return nil, fieldErr(w.name+".data_offsets", "got [%d %d], expected them in order within the %d bytes of data",
				t.begin, t.end, size)
		}
		if n := w.end - w.begin; t.end-t.begin != n {
			return nil, fieldErr(w.name+".data_offsets", "got %d bytes, expected %d for the shape %v", t.end-t.begin, n, w.shape)
		}
		w.begin, w.end = t.begin, t.end
		at = append(at, w)
	}
	if len(found) > len(want) {
		for _, t := range at {
			delete(found, t.name)
		}
		extra := slices.Sorted(maps.Keys(found))[0]
		return nil, fieldErr(tensorField(extra), "got a tensor that the architecture does not have")
	}
	byBegin(at)
	next := int64(0)
	for _, t := range at {
		if t.begin != next {
			return nil, fieldErr(t.name+".data_offsets", "got begin %d, expected %d: tensors follow each other without gap or overlap",
				t.begin, next)
		}
		next = t.end
	}
	if next != size {
		return nil, fieldErr("data", "got %d bytes, expected %d, the end of the last tensor", size, next)
	}
	return at, nil
}

// tensorField is a tensor's name fit for an error, whoever wrote it.
func tensorField(name string) string {
	q := quote(name)
	if q == `"`+name+`"` {
		return name
	}
	return q
}
