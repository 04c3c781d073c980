package model

import (
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"unicode/utf8"

	"github.com/epsball/epsball/internal/sha256"
)

// Limits on a card, so that a file's header stays small.
const (
	maxCardEntries = 1024
	maxCardBytes   = 1 << 20 // keys and values together
)

// Param holds the weights of one layer, row-major; both are empty for layers
// without parameters.
type Param struct {
	// W is [Out][In/Groups][KH][KW] for conv and [Out][In] for fc, where In is the
	// input flattened channels first (C·H·W), as in PyTorch; [C] for batchnorm.
	W []float32
	B []float32 // [Out]; [C] for batchnorm

	// Mean and Var are the statistics of a batchnorm's input, [C]; Var ≥ 0.
	Mean, Var []float32

	// Stored, unless nil, holds the weight in W's place: a file's 16-bit or tiled
	// one, or any of a mapped file. Rows gives it as W would be.
	Stored *Stored
}

// Rows returns W or, new on each call, what Stored stands for.
func (p *Param) Rows() []float32 {
	if p.Stored != nil {
		return p.Stored.Rows()
	}
	return p.W
}

// Count returns the number of elements of the weight.
func (p *Param) Count() int {
	if p.Stored != nil {
		return p.Stored.shape.size()
	}
	return len(p.W)
}

// Floats fills dst with whole rows of the weight, the first being row from.
func (p *Param) Floats(dst []float32, from int) {
	if p.Stored != nil {
		p.Stored.Floats(dst, from)
		return
	}
	copy(dst, p.W[from*(len(p.W)/len(p.B)):])
}

// Storage returns the form in which the weight is held.
func (p *Param) Storage() Storage {
	if p.Stored != nil {
		return p.Stored.storage
	}
	return Storage{}
}

func (p *Param) clone() Param {
	return Param{slices.Clone(p.W), slices.Clone(p.B), slices.Clone(p.Mean), slices.Clone(p.Var), p.Stored.clone()}
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
// cannot hold. It reads every weight but those that are Stored, which were checked
// when they were made.
func (m *Model) Validate() error {
	w, err := m.Arch.walk()
	if err != nil {
		return err
	}
	if len(m.Params) != len(m.Arch.Layers) {
		return fieldErr("params", "got %d, expected %d, one for each layer", len(m.Params), len(m.Arch.Layers))
	}
	for i := range m.Arch.Layers {
		var weights, biases, channels int
		l := &m.Arch.Layers[i]
		if l.Kind == BatchNorm {
			channels = w.shapes[i+1].C
			weights, biases = channels, channels
		} else if l.HasMatrix() {
			x := l.matrix(m.Arch.InputShape(i, w.shapes))
			weights, biases = x.size(), l.Out
			if s := m.Params[i].Stored; s != nil { // finite: every way to make one checks
				if s.shape != x {
					return fieldErr(weightName(i), "got %d rows of %d×%d, expected %d of %d×%d", s.shape.out,
						s.shape.channels, s.shape.positions, x.out, x.channels, x.positions)
				}
				weights = 0
			}
		}
		if !l.HasMatrix() && m.Params[i].Stored != nil {
			return fieldErr(weightName(i), "got a weight, expected none for %q", l.Kind)
		}
		for k, n := range [...]int{weights, biases, channels, channels} {
			if err := checkTensor(i, part(k), *m.Params[i].values(part(k)), n); err != nil {
				return err
			}
		}
		if l.Kind == BatchNorm {
			if err := checkBatchNorm(i, &m.Params[i], l.Eps); err != nil {
				return err
			}
		}
	}
	return m.checkCard()
}

func checkTensor(layer int, which part, v []float32, want int) error {
	if len(v) != want {
		return fieldErr(tensorName(layer, which), "got %d values, expected %d", len(v), want)
	}
	for i, x := range v {
		if !finite(x) {
			return fieldErr(fmt.Sprintf("%s[%d]", tensorName(layer, which), i), "got %v, expected a finite number", x)
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
// canonical JSON followed by each layer's weight, bias, mean and variance as
// little-endian float32. It is the same on every machine and depends neither on the card nor on
// how weights are stored: those of 16 bits count as the float32 that they are. It
// is meant for valid models; -0 and +0 are different weights.
func (m *Model) Hash() string {
	h := sha256.New()
	_, _ = h.Write(m.Arch.CanonicalJSON())
	buf := make([]byte, 0, 1<<14)
	write := func(v []float32) {
		for chunk := range slices.Chunk(v, cap(buf)/4) {
			buf = appendFloats(buf[:0], chunk)
			_, _ = h.Write(buf)
		}
	}
	for _, p := range m.Params {
		if s := p.Stored; s != nil {
			cols := s.shape.cols()
			rows := make([]float32, min(tileWidth, s.shape.out)*cols)
			for o := 0; o < s.shape.out; o += tileWidth {
				some := rows[:min(tileWidth, s.shape.out-o)*cols]
				s.Floats(some, o)
				write(some)
			}
		}
		write(p.W)
		write(p.B)
		write(p.Mean)
		write(p.Var)
	}
	return hex.EncodeToString(h.Sum(nil))
}

// Clone returns a deep copy, which needs no mapping that m may need.
func (m *Model) Clone() *Model {
	c := &Model{Arch: *m.Arch.Clone(), Params: slices.Clone(m.Params), Card: maps.Clone(m.Card)}
	for i := range c.Params {
		c.Params[i] = m.Params[i].clone()
	}
	return c
}
