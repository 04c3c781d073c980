package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/epsball/epsball/internal/outfile"
	"github.com/epsball/epsball/model"
	"github.com/epsball/epsball/report"
)

// cardRounded is the card's entry for the hash of the network whose weights were
// rounded.
const cardRounded = "rounded_from"

// storageFlags say how weights are to be stored; "same" leaves them as they are.
type storageFlags struct{ weights, layers, layout string }

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
	out, release, err := a.claimOut(flags, outfile.Model, spec)
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
	r := &report.Storage{Envelope: a.envelope("convert"), Model: spec, Out: out.Path, Hash: m.Hash(), Same: true}
	if r.Weights, err = report.StoredLayers(m); err != nil {
		return err
	}
	k := 0
	for i := range m.Params {
		if m.Arch.Layers[i].HasParams() {
			r.Weights[k].Compare(&old.Params[i], &m.Params[i])
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
	if err := out.WriteBytes(data); err != nil {
		return err
	}
	r.Before, r.After = len(before), len(data)
	r.Epsball.Models = []report.Model{{Name: modelName(spec), Hash: r.Hash}}
	return a.report(r)
}

// roundedFrom makes the card of a network with rounded weights say so: what it says of
// accuracy is about another network.
func roundedFrom(m, old *model.Model) {
	if m.Card == nil {
		m.Card = map[string]string{}
	}
	for _, key := range []string{report.CardClean, report.CardPGD, report.CardCertified} {
		delete(m.Card, key)
	}
	m.Card[cardRounded] = old.Hash()
}
