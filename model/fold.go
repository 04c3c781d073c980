package model

import (
	"maps"
	"slices"
)

// Fold returns a copy of a valid model with each batchnorm taken in by the conv or fc
// layer that it reads, if nothing else reads that: each weight is multiplied in
// float64 and rounded once. Other batchnorms stay. folded lists the indices, in m, of
// those that are gone. The copy computes almost the same, but is another network, with
// another hash. The error is a *FormatError: Validate's, of m or of a copy whose
// weights became too large.
func (m *Model) Fold() (c *Model, folded []int, err error) {
	if err := m.Validate(); err != nil {
		return nil, nil, err
	}
	c = &Model{Arch: *m.Arch.Clone(), Card: maps.Clone(m.Card)}
	layers, readers := c.Arch.Layers, m.Arch.Readers()
	c.Arch.Layers = nil
	at := make([]int, len(layers)+1) // the new index of each activation's layer
	at[0] = NetInput
	for i := range layers {
		l := layers[i]
		inputs := slices.Clone(m.Arch.InputsOf(i))
		for k := range inputs {
			inputs[k] = at[inputs[k]+1]
		}
		k := m.Arch.source(i)
		into := inputs[0]
		if l.Kind == BatchNorm && into >= 0 && c.Arch.Layers[into].HasMatrix() && readers[k+1] == 1 {
			c.Params[into].takeIn(&m.Params[i], l.Eps)
			folded = append(folded, i)
			at[i+1] = into
			continue
		}
		at[i+1] = len(c.Arch.Layers)
		if l.Inputs = inputs; l.Kind == Normalize || len(inputs) == 1 && inputs[0] == at[i+1]-1 {
			l.Inputs = nil
		}
		c.Arch.Layers, c.Params = append(c.Arch.Layers, l), append(c.Params, m.Params[i].clone())
	}
	return c, folded, c.Validate()
}

// takeIn folds a batchnorm that reads the layer's output into its parameters.
func (p *Param) takeIn(norm *Param, eps float32) {
	p.W, p.Stored = p.Rows(), nil
	cols := len(p.W) / len(p.B)
	for o := range p.B {
		scale, shift := norm.affine(o, eps)
		for i, w := range p.W[o*cols : (o+1)*cols] {
			p.W[o*cols+i] = float32(float64(w) * scale)
		}
		p.B[o] = float32(float64(float64(p.B[o])*scale) + shift)
	}
}
