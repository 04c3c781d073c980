package main

import (
	"fmt"
	"math"
	"strings"

	"github.com/spf13/cobra"

	"github.com/epsball/epsball/model"
)

// cardRounded is the card's entry for the hash of the network whose weights were
// rounded.
const cardRounded = "rounded_from"

// storageFlags say how weights are to be stored; "same" leaves them as they are.
type storageFlags struct{ weights, layers, layout string }

// storedReport is what convert prints.
type storedReport struct {
	Model   string        `json:"model"`
	Out     string        `json:"out"`
	Hash    string        `json:"hash"`
	Same    bool          `json:"same_network"` // no weight was rounded
	Before  int           `json:"bytes_before"` // of the model file
	After   int           `json:"bytes_after"`
	Weights []storedLayer `json:"weights"`
}

// storedLayer is the weight of a layer as stored.
type storedLayer struct {
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

func (a *app) convertCommand() *cobra.Command {
	var out outFlags
	var s storageFlags
	c := &cobra.Command{
		Use:   "convert MODEL --out M.safetensors",
		Short: "Store a model's weights in 16 bits, or so that they can be mapped",
		Long: `Writes a model (builtin:NAME or a file) with its weights stored otherwise.

--weights bf16 or f16 rounds the weights of the layers that --layers names to 16 bits:
the file holds another network, the one with the rounded weights, and whatever is
attacked or certified is that one. For one image, large fully connected layers wait for
memory; with half the bytes they take little more than half the time. f16 is finer
(11 bits against 8) and ends at 65504; a larger weight is an error. f32 undoes the
storage, not the rounding.

--layout tiles stores all weights as kernels for single images read them, so that
programs can use them where they lie in a mapped file (epsball.Map).`,
		Example: `  epsball convert builtin:mnist-small-ibp-0.1 --weights bf16 --out bf16.safetensors
  epsball convert net.onnx --weights f16 --layout tiles --out edge.safetensors`,
		Args: oneArg("MODEL"),
		RunE: func(_ *cobra.Command, args []string) error { return a.store(args[0], out, s) },
	}
	f := c.Flags()
	out.addFlags(c)
	f.StringVar(&s.weights, "weights", "same", "`type` of the weights: f32, bf16, f16, or same as before")
	f.StringVar(&s.layers, "layers", "fc", "`layers` whose weights get that type: fc or all")
	f.StringVar(&s.layout, "layout", "same", "`order` of all weights: rows, tiles, or same as before")
	return c
}

// storage returns what the flags make of a layer's weight.
func (s storageFlags) storage(l *model.Layer, old model.Storage) (model.Storage, error) {
	switch s.layers {
	case "fc", "all":
		if s.layers == "fc" && l.Kind != model.FC || s.weights == "same" {
			break
		}
		t, ok := model.ParseDType(strings.ToUpper(s.weights))
		if !ok || s.weights != strings.ToLower(s.weights) {
			return old, fmt.Errorf("--weights: got %q, want f32, bf16, f16 or same", s.weights)
		}
		old.Type = t
	default:
		return old, fmt.Errorf("--layers: got %q, want fc or all", s.layers)
	}
	switch s.layout {
	case "rows", "tiles":
		old.Tiles = s.layout == "tiles"
	case "same":
	default:
		return old, fmt.Errorf("--layout: got %q, want rows, tiles or same", s.layout)
	}
	return old, nil
}

func (a *app) store(spec string, flags outFlags, s storageFlags) error {
	if _, err := s.storage(&model.Layer{Kind: model.FC}, model.Storage{}); err != nil {
		return err // before work is spent
	}
	out, release, err := a.claimOut(flags, modelFile, spec)
	if err != nil {
		return err
	}
	defer release()
	old, err := a.loadModel(spec)
	if err != nil {
		return err
	}
	m, err := old.Store(func(i int) model.Storage {
		want, _ := s.storage(&old.Arch.Layers[i], old.Params[i].Storage())
		return want
	})
	if err != nil {
		return fmt.Errorf("%s: %w", spec, err)
	}
	r := &storedReport{Model: spec, Out: out.path, Hash: m.Hash(), Same: true}
	if r.Weights, err = storedLayers(m); err != nil {
		return err
	}
	k := 0
	for i := range m.Params {
		if m.Arch.Layers[i].HasParams() {
			r.Weights[k].compare(&old.Params[i], &m.Params[i])
			r.Same = r.Same && r.Weights[k].Changed == 0
			k++
		}
	}
	if !r.Same {
		roundedFrom(m, old)
	}
	before, err := old.Encode()
	if err != nil {
		return fmt.Errorf("%s: %w", spec, err)
	}
	data, err := m.Encode()
	if err != nil {
		return fmt.Errorf("%s: %w", spec, err)
	}
	if err := out.writeBytes(data); err != nil {
		return err
	}
	r.Before, r.After = len(before), len(data)
	return a.print(r, func() string { return storedText(r) })
}

// roundedFrom makes the card of a network with rounded weights say so: what it says of
// accuracy is about another network.
func roundedFrom(m, old *model.Model) {
	if m.Card == nil {
		m.Card = map[string]string{}
	}
	for _, key := range []string{cardClean, cardPGD, cardCertified} {
		delete(m.Card, key)
	}
	m.Card[cardRounded] = old.Hash()
}

// storedLayers describes the weights of a valid model.
func storedLayers(m *model.Model) ([]storedLayer, error) {
	shapes, err := m.Arch.Shapes()
	if err != nil {
		return nil, err
	}
	list := []storedLayer{}
	for i := range m.Params {
		l, p := &m.Arch.Layers[i], &m.Params[i]
		if !l.HasParams() {
			continue
		}
		s := storedLayer{
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

// compare notes what rounding has changed.
func (s *storedLayer) compare(old, now *model.Param) {
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

func storedText(r *storedReport) string {
	identity := "the network with the rounded weights"
	if r.Same {
		identity = "the same network"
	}
	t := newTable("weight", "kind", "shape", "type", "layout", "size", "rounded", "largest change")
	for _, w := range r.Weights {
		change := "–"
		if w.Changed > 0 {
			change = fmt.Sprintf("%.2g (%.2g of the largest weight)", w.Largest, w.Of)
		}
		t.AppendRow([]any{w.Tensor, w.Kind, dims(w.Shape), w.Type, w.Layout, bytesText(w.Bytes), w.Changed, change})
	}
	return facts("written", r.Out, "size", bytesText(r.Before)+" before, "+bytesText(r.After)+" after",
		"hash", r.Hash+", "+identity) + "\n" + render(t)
}

// dims writes a shape as 10x100.
func dims(shape []int) string {
	return strings.ReplaceAll(strings.Trim(fmt.Sprint(shape), "[]"), " ", "x")
}
