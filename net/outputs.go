package net

import "github.com/epsball/epsball/model"

// mapped reports whether the outputs lie in memory otherwise than their order,
// channels first, says.
func (n *Network) mapped() bool { return n.output.C > 1 && n.output.H*n.output.W > 1 }

// orderOutputs copies blocks of the last activation, [H][W][C], to outputs,
// channels first; disorderOutputs copies them back.
func (l Layout) orderOutputs(dst, src []float32, s model.Shape, blocks int) {
	l.transpose(dst, src, s.H*s.W, s.C, blocks)
}

func (l Layout) disorderOutputs(dst, src []float32, s model.Shape, blocks int) {
	l.transpose(dst, src, s.C, s.H*s.W, blocks)
}

// transpose turns blocks of [rows][cols] vectors into [cols][rows].
func (l Layout) transpose(dst, src []float32, rows, cols, blocks int) {
	for b := range blocks {
		d, s := l.Block(dst, rows*cols, b), l.Block(src, rows*cols, b)
		for r := range rows {
			for c := range cols {
				copy(d[(c*rows+r)*int(l):][:l], s[(r*cols+c)*int(l):])
			}
		}
	}
}
