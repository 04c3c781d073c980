package onnx

import (
	"fmt"
	"slices"
	"strings"
	"unicode"

	"github.com/epsball/epsball/model"
)

// Keys of the card of a network that came from elsewhere.
const (
	CardSource = "onnx.source" // who wrote the file
	CardNotes  = "onnx.notes"  // conversions that are not exact, or not obvious
)

// finish turns the layers that the output depends on into a model.
func (im *importer) finish() (*model.Model, error) {
	out := &node{op: "output", name: im.outputs[0].name, inputs: []string{im.outputs[0].name}}
	a, err := im.activation(out, 0)
	if err != nil {
		return nil, err
	}
	if a, err = im.settle(out, a); err != nil {
		return nil, err
	}
	if a.src == netInput || im.layers[a.src].Kind == model.Normalize {
		return nil, out.errorf("", "got the network's input, expected at least one layer")
	}
	if a.order != nil {
		return nil, out.errorf("", "got elements in another order than channels, height, width, expected it at the end")
	}
	w := &lowering{im: im, index: map[int]int{netInput: netInput}, readers: im.readers(a.src)}
	for i := range im.layers[:a.src+1] {
		if err := w.emit(i); err != nil {
			return nil, err
		}
	}
	// A relu was put behind what it reads, which may be before other layers.
	if last := w.index[a.src]; last != len(w.arch)-1 {
		return nil, out.errorf("", "got a value that other layers follow, expected the last")
	}
	m := &model.Model{
		Arch:   model.Architecture{Name: clean(im.graph.name), Input: im.in.shape, Layers: w.arch},
		Params: w.params, Card: im.card(),
	}
	if err := m.Validate(); err != nil {
		return nil, err
	}
	return m, nil
}

// readers returns how often each layer is read by layers that output depends on;
// output itself is read once.
func (im *importer) readers(output int) []int {
	r := make([]int, len(im.layers))
	r[output] = 1
	for i := output; i >= 0; i-- {
		if r[i] == 0 {
			continue
		}
		for _, k := range im.layers[i].in {
			if k != netInput {
				r[k]++
			}
		}
	}
	return r
}

// lowering puts layers in the order and the form that package model asks for.
type lowering struct {
	im      *importer
	readers []int
	index   map[int]int // of emitted layers, by their index in im.layers
	arch    []model.Layer
	params  []model.Param
}

func (w *lowering) emit(i int) error {
	l := w.im.layers[i]
	if _, done := w.index[i]; done || w.readers[i] == 0 {
		return nil
	}
	switch l.Kind {
	case model.ReLU:
		// Not emitted behind its input: that is read by others or is no layer
		// that a relu can follow.
		at, err := w.identity(l.in[0])
		if err != nil {
			return err
		}
		w.append(model.Layer{Kind: model.ReLU}, model.Param{}, at)
		w.index[i] = len(w.arch) - 1
		return nil
	case model.Add:
		x, y := l.in[0], l.in[1]
		ins := []int{w.index[x], w.index[y]}
		if !w.branch(x) && !w.branch(y) {
			at, err := w.identity(y)
			if err != nil {
				return err
			}
			ins[1] = at
		}
		w.append(l.Layer, model.Param{}, ins...)
	case model.Normalize:
		w.append(l.Layer, model.Param{}, netInput)
	default:
		if l.in[0] == netInput && w.im.norm != nil && w.readers[w.im.normAt] > 0 {
			return malformed("graph", "got an input that is read both with and without normalization, expected one of the two")
		}
		p, rounded := l.params()
		if rounded && len(l.by) > 0 {
			w.im.note("layer %d: weights rounded to float32 after taking in %s", len(w.arch), strings.Join(slices.Compact(l.by), ", "))
		}
		w.append(l.Layer, p, w.index[l.in[0]])
	}
	w.index[i] = len(w.arch) - 1
	if l.Kind == model.Normalize || w.readers[i] != 1 {
		return nil
	}
	for k := i + 1; k < len(w.im.layers); k++ {
		if next := w.im.layers[k]; next.Kind == model.ReLU && next.in[0] == i && w.readers[k] > 0 {
			w.append(next.Layer, model.Param{}, len(w.arch)-1)
			w.index[k] = len(w.arch) - 1
		}
	}
	return nil
}

// branch tells whether an add may have layer i as the one in whose sums it adds.
func (w *lowering) branch(i int) bool {
	return i != netInput && w.im.layers[i].affine() && w.readers[i] == 1
}

func (w *lowering) append(l model.Layer, p model.Param, in ...int) {
	if l.Inputs = in; len(in) == 1 && in[0] == len(w.arch)-1 {
		l.Inputs = nil
	}
	w.arch, w.params = append(w.arch, l), append(w.params, p)
}

// identity emits a copy of an activation that only one layer reads.
func (w *lowering) identity(i int) (int, error) {
	s := w.im.in.shape
	if i != netInput {
		s = w.im.layers[i].shape
	}
	if err := w.im.charge(int64(s.C) * int64(s.C)); err != nil {
		return 0, err
	}
	l := model.Layer{Kind: model.FC, Out: s.C}
	if s.H*s.W != 1 {
		l = model.Layer{Kind: model.Conv, Out: s.C, Kernel: [2]int{1, 1}, Stride: [2]int{1, 1}}
	}
	p := model.Param{W: make([]float32, s.C*s.C), B: make([]float32, s.C)}
	for c := range s.C {
		p.W[c*s.C+c] = 1
	}
	at := w.index[i]
	if i == netInput && w.im.norm != nil && w.readers[w.im.normAt] > 0 {
		return 0, malformed("graph", "got an input that is read both with and without normalization, expected one of the two")
	}
	w.append(l, p, at)
	return len(w.arch) - 1, nil
}

// clean makes a graph's name one of a model.
func clean(name string) string {
	const longest = 256
	name = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return -1
		}
		return r
	}, name)
	for i := range name {
		if i > longest-4 {
			return name[:i]
		}
	}
	return name
}

// card returns what the file says about itself: the card of a file of ours, or
// who wrote it and what was not converted exactly.
func (im *importer) card() map[string]string {
	card := map[string]string{}
	if im.producer == producer {
		for _, p := range im.metadata {
			card[p[0]] = p[1]
		}
	} else {
		card[CardSource] = fmt.Sprintf("%s %s, IR %d, opset %d", quote(im.producer), quote(im.version), im.irVersion, im.opset)
		if len(im.notes) > 0 {
			card[CardNotes] = strings.Join(im.notes, "; ")
		}
	}
	if len(card) == 0 {
		return nil
	}
	return card
}
