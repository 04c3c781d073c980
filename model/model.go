package model

import (
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"unicode/utf8"
)

// Limits on a card, so that a file's header stays small.
const (
	maxCardEntries = 1024
	maxCardBytes   = 1 << 20 // keys and values together
)

// Param holds the weights of one layer, row-major; both are empty for layers
// without parameters.
type Param struct {
	// W is [Out][In][KH][KW] for conv and [Out][In] for fc, where In is the
	// input flattened channels first (C·H·W), as in PyTorch.
	W []float32
	B []float32 // [Out]
}

// Model is a network: an architecture, weights and a card.
type Model struct {
	Arch   Architecture
	Params []Param // one for each layer

	// Card is free text about the model, such as the training command or
	// accuracies. It has no influence on Hash.
	Card map[string]string
}

// Validate returns nil or a *FormatError: the architecture's, or one for a
// wrong length, for a weight that is NaN or infinite, or for a card that a file
// cannot hold. It reads every weight.
func (m *Model) Validate() error {
	w, err := m.Arch.walk()
	if err != nil {
		return err
	}
	if len(m.Params) != len(m.Arch.Layers) {
		return fieldErr("params", "got %d, expected %d, one for each layer", len(m.Params), len(m.Arch.Layers))
	}
	for i := range m.Arch.Layers {
		var weights, biases int
		if l := &m.Arch.Layers[i]; l.HasParams() {
			n, _ := product(maxWeight, l.WeightShape(m.Arch.InputShape(i, w.shapes))...)
			weights, biases = int(n), l.Out
		}
		if err := checkTensor(weightName(i), m.Params[i].W, weights); err != nil {
			return err
		}
		if err := checkTensor(biasName(i), m.Params[i].B, biases); err != nil {
			return err
		}
	}
	return m.checkCard()
}

func checkTensor(name string, v []float32, want int) error {
	if len(v) != want {
		return fieldErr(name, "got %d values, expected %d", len(v), want)
	}
	for i, x := range v {
		if !finite(x) {
			return fieldErr(fmt.Sprintf("%s[%d]", name, i), "got %v, expected a finite number", x)
		}
	}
	return nil
}

func (m *Model) checkCard() error {
	if len(m.Card) > maxCardEntries {
		return fieldErr("card", "got %d entries, expected at most %d", len(m.Card), maxCardEntries)
	}
	total := 0
	for _, k := range slices.Sorted(maps.Keys(m.Card)) {
		if k == "" {
			return fieldErr("card", "got an empty key, expected at least one character")
		}
		v := m.Card[k]
		if !utf8.ValidString(k) || !utf8.ValidString(v) {
			return fieldErr("card", "got invalid UTF-8 in entry %s, expected valid UTF-8", quote(k))
		}
		total += len(k) + len(v)
	}
	if total > maxCardBytes {
		return fieldErr("card", "got %d bytes, expected at most %d", total, maxCardBytes)
	}
	return nil
}

// Hash names the network: the SHA-256, in hexadecimal, of the architecture's
// canonical JSON followed by each layer's weight and bias as little-endian
// float32. It is the same on every machine and does not depend on the card. It
// is meant for valid models; -0 and +0 are different weights.
func (m *Model) Hash() string {
	h := newSHA256()
	h.write(m.Arch.CanonicalJSON())
	buf := make([]byte, 0, 1<<14)
	for _, p := range m.Params {
		for _, t := range [2][]float32{p.W, p.B} {
			for chunk := range slices.Chunk(t, cap(buf)/4) {
				buf = appendFloats(buf[:0], chunk)
				h.write(buf)
			}
		}
	}
	sum := h.sum()
	return hex.EncodeToString(sum[:])
}

// Clone returns a deep copy.
func (m *Model) Clone() *Model {
	c := &Model{Arch: *m.Arch.Clone(), Params: slices.Clone(m.Params), Card: maps.Clone(m.Card)}
	for i := range c.Params {
		c.Params[i].W = slices.Clone(c.Params[i].W)
		c.Params[i].B = slices.Clone(c.Params[i].B)
	}
	return c
}
