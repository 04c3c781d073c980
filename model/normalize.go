package model

import (
	"fmt"
	"slices"
)

// WithNormalize returns a copy of m that takes pixels in [0, 1] where m takes
// normalized ones. The copy begins with a normalize layer that has one mean and
// standard deviation for each input channel. It is an error if m has such a layer
// already.
func (m *Model) WithNormalize(mean, std []float32) (*Model, error) {
	if len(m.Arch.Layers) > 0 && m.Arch.Layers[0].Kind == Normalize {
		return nil, fmt.Errorf("model: its first layer normalizes already")
	}
	c := m.Clone()
	c.Arch.Layers = append([]Layer{{Kind: Normalize, Mean: slices.Clone(mean), Std: slices.Clone(std)}}, c.Arch.Layers...)
	c.Params = append([]Param{{}}, c.Params...)
	for i := range c.Arch.Layers[1:] {
		l := &c.Arch.Layers[1+i]
		l.Inputs = slices.Clone(l.Inputs)
		for k := range l.Inputs {
			l.Inputs[k]++ // what read the input reads the new layer
		}
	}
	return c, c.Validate()
}
