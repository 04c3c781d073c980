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

	// What the graph of the file has and the model has not. Files that are written have
	// none of it, so these keys are not written.
	CardOrder = "onnx.order" // ChannelsLast where the file's input is so; else none
	CardEnd   = "onnx.end"   // Softmax or LogSoftmax, if one was dropped at the end
	CardType  = "onnx.type"  // of the file's input or output, such as DOUBLE, if not FLOAT
)

// graphKeys are those of the card that are about the file's graph.
var graphKeys = []string{CardOrder, CardEnd, CardType}

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
	ins := make([]int, len(l.in))
	for k, from := range l.in {
		if from == netInput && l.Kind != model.Normalize && w.im.norm != nil && w.readers[w.im.normAt] > 0 {
			return malformed("graph", "got an input that is read both with and without normalization, expected one of the two")
		}
		ins[k] = w.index[from]
	}
	var p model.Param
	switch {
	case l.affine():
		var rounded bool
		if p, rounded = l.params(); rounded && len(l.by) > 0 {
			w.im.note("layer %d: weights rounded to float32 after taking in %s", len(w.arch), strings.Join(slices.Compact(l.by), ", "))
		}
	case l.norm != nil:
		p = *l.norm
	}
	w.append(l.Layer, p, ins...)
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

func (w *lowering) append(l model.Layer, p model.Param, in ...int) {
	if l.Inputs = in; len(in) == 1 && in[0] == len(w.arch)-1 {
		l.Inputs = nil
	}
	w.arch, w.params = append(w.arch, l), append(w.params, p)
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

// ChannelsLast says that the elements of the input lie as [H][W][C] in an ONNX file.
const ChannelsLast = "channels last"

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
	for _, k := range graphKeys { // the graph says what it is
		delete(card, k)
	}
	if im.in.order != nil {
		card[CardOrder] = ChannelsLast
	}
	if im.end != "" {
		card[CardEnd] = im.end
	}
	for _, t := range []int64{im.in.dtype, im.outputs[0].dtype} {
		if t != typeFloat && t != 0 {
			card[CardType] = typeName(t)
		}
	}
	if len(card) == 0 {
		return nil
	}
	return card
}
