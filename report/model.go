package report

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/epsball/epsball/internal/show"
	"github.com/epsball/epsball/model"
)

// Network describes a network in numbers.
type Network struct {
	Name       string            `json:"name"`
	Input      string            `json:"input"`
	Classes    int               `json:"classes"`
	Parameters int64             `json:"parameters"`
	MACs       int64             `json:"macs"` // multiply-adds of a forward pass
	Hash       string            `json:"hash,omitempty"`
	Card       map[string]string `json:"card,omitempty"`
}

// Describe describes a network.
func Describe(name string, arch *model.Architecture) Network {
	return Network{
		Name: name, Input: arch.Input.String(), Classes: arch.Classes(),
		Parameters: arch.Parameters(), MACs: arch.MACs(),
	}
}

// ModelInfo is the result of info on a model.
type ModelInfo struct {
	Envelope
	Network
	Bytes   int           `json:"weight_bytes"`
	Weights []StoredLayer `json:"weights"`
}

// Conversion is the result of import and export.
type Conversion struct {
	Envelope
	Model      string `json:"model"`
	Out        string `json:"out"`
	Name       string `json:"name"`
	Input      string `json:"input"`
	Outputs    int    `json:"outputs"`
	Layers     int    `json:"layers"`
	Parameters int64  `json:"parameters"`
	MACs       int64  `json:"macs"`
	Hash       string `json:"hash"`
	Source     string `json:"source,omitempty"`
	Notes      string `json:"notes,omitempty"`
	Folded     []int  `json:"folded,omitempty"` // the batch norms that --fold took in, as the model numbered its layers
}

// Storage is the result of convert, which stores weights in another form.
type Storage struct {
	Envelope
	Model   string        `json:"model"`
	Out     string        `json:"out"`
	Hash    string        `json:"hash"`
	Same    bool          `json:"same_network"` // no weight was rounded
	Before  int           `json:"bytes_before"` // of the model file
	After   int           `json:"bytes_after"`
	Weights []StoredLayer `json:"weights"`
}

// StoredLayer is the weight of a layer as stored.
type StoredLayer struct {
	Tensor string `json:"tensor"`
	Kind   string `json:"kind"`
	Shape  []int  `json:"shape"`
	Type   string `json:"type"`
	Layout string `json:"layout"`
	Bytes  int    `json:"bytes"`
	// What convert has rounded: the number of weights, and the largest change, also as
	// a part of the layer's largest weight.
	Changed int     `json:"rounded,omitempty"`
	Largest float64 `json:"largest_change,omitempty"`
	Of      float64 `json:"relative_change,omitempty"`
}

// StoredLayers describes the weights of a valid model.
func StoredLayers(m *model.Model) ([]StoredLayer, error) {
	shapes, err := m.Arch.Shapes()
	if err != nil {
		return nil, err
	}
	list := []StoredLayer{}
	for i := range m.Params {
		l, p := &m.Arch.Layers[i], &m.Params[i]
		if !l.HasParams() {
			continue
		}
		s := StoredLayer{
			Tensor: fmt.Sprintf("layers.%d.weight", i), Kind: string(l.Kind), Shape: l.WeightShape(m.Arch.InputShape(i, shapes)),
			Type: p.Storage().Type.String(), Layout: "rows", Bytes: 4 * len(p.W),
		}
		if p.Storage().Tiles {
			s.Tensor, s.Layout = fmt.Sprintf("layers.%d.tiles", i), "tiles"
		}
		if p.Stored != nil {
			s.Bytes = len(p.Stored.Data())
		}
		list = append(list, s)
	}
	return list, nil
}

// StoredFrom describes the weights of a model that holds those of another, stored
// otherwise, and reports whether all are the same.
func StoredFrom(old, now *model.Model) (list []StoredLayer, same bool, err error) {
	if list, err = StoredLayers(now); err != nil {
		return nil, false, err
	}
	k, same := 0, true
	for i := range now.Params {
		if now.Arch.Layers[i].HasParams() {
			list[k].compare(&old.Params[i], &now.Params[i])
			same = same && list[k].Changed == 0
			k++
		}
	}
	return list, same, nil
}

// compare notes what rounding has changed of a layer's weight.
func (s *StoredLayer) compare(old, now *model.Param) {
	was, is := old.Rows(), now.Rows()
	most := 0.0
	for i, v := range was {
		most = max(most, math.Abs(float64(v)))
		if v != is[i] {
			s.Changed++
			s.Largest = max(s.Largest, math.Abs(float64(is[i])-float64(v)))
		}
	}
	if s.Largest > 0 {
		s.Of = s.Largest / most
	}
}

func (*ModelInfo) kind() Kind  { return KindModel }
func (*Conversion) kind() Kind { return KindConversion }
func (*Storage) kind() Kind    { return KindStorage }

// Text returns what the model is, its card and how its weights are stored.
func (r *ModelInfo) Text() string {
	pairs := []string{
		"name", show.Or(r.Name), "input", r.Input, "outputs", strconv.Itoa(r.Classes), "parameters", fmt.Sprint(r.Parameters),
		"multiply-adds", fmt.Sprint(r.MACs), "weights", show.Bytes(r.Bytes), "hash", r.Hash,
	}
	for _, k := range slices.Sorted(maps.Keys(r.Card)) {
		if h, err := ParseHistory(r.Card[k]); k == CardHistory && err == nil {
			pairs = append(pairs, k, show.Count(len(h.Epoch), "epoch")+" (--json has them)")
			continue
		}
		pairs = append(pairs, k, strings.Join(strings.FieldsFunc(r.Card[k], func(c rune) bool { return c == '\n' || c == '\r' }), "; "))
	}
	t := show.Table("weight", "kind", "shape", "type", "layout", "size")
	for _, w := range r.Weights {
		t.AppendRow([]any{w.Tensor, w.Kind, show.Dims(w.Shape), w.Type, w.Layout, show.Bytes(w.Bytes)})
	}
	return show.Facts(pairs...) + "\n" + show.Render(t)
}

// Text returns what was converted.
func (r *Conversion) Text() string {
	pairs := []string{
		"written", r.Out, "name", show.Or(r.Name), "input", r.Input, "outputs", fmt.Sprint(r.Outputs),
		"layers", fmt.Sprint(r.Layers), "parameters", fmt.Sprint(r.Parameters), "multiply-adds", fmt.Sprint(r.MACs),
		"hash", r.Hash,
	}
	if r.Source != "" {
		pairs = append(pairs, "source", r.Source)
	}
	if r.Notes != "" {
		pairs = append(pairs, "notes", r.Notes)
	}
	if r.Folded != nil {
		pairs = append(pairs, "folded", foldedText(r.Folded))
	}
	return show.Facts(pairs...)
}

// Text returns how the weights are stored and what was rounded.
func (r *Storage) Text() string {
	identity := "the network with the rounded weights"
	if r.Same {
		identity = "the same network"
	}
	t := show.Table("weight", "kind", "shape", "type", "layout", "size", "rounded", "largest change")
	for _, w := range r.Weights {
		change := show.Missing
		if w.Changed > 0 {
			change = fmt.Sprintf("%.2g (%.2g of the largest weight)", w.Largest, w.Of)
		}
		t.AppendRow([]any{w.Tensor, w.Kind, show.Dims(w.Shape), w.Type, w.Layout, show.Bytes(w.Bytes), w.Changed, change})
	}
	return show.Facts("written", r.Out, "size", show.Bytes(r.Before)+" before, "+show.Bytes(r.After)+" after",
		"hash", r.Hash+", "+identity) + "\n" + show.Render(t)
}

// foldedText names the layers that --fold took in.
func foldedText(layers []int) string {
	return "batch norms of layers " + strings.Trim(fmt.Sprint(layers), "[]")
}
