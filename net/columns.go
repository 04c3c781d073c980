package net

import (
	"github.com/epsball/epsball/kernels"
	"github.com/epsball/epsball/model"
)

// MapColumns reorders the columns of a matrix whose rows run over the elements of shape
// in: from channels-first order in src to channels-last order in dst.
func MapColumns(isa *kernels.ISA, dst, src []float32, in model.Shape) {
	transposeRows(isa, dst, src, in.C, in.H*in.W)
}

// UnmapColumns undoes MapColumns.
func UnmapColumns(isa *kernels.ISA, dst, src []float32, in model.Shape) {
	transposeRows(isa, dst, src, in.H*in.W, in.C)
}

// sameColumns reports whether both orders are one.
func sameColumns(in model.Shape) bool { return in.C == 1 || in.H*in.W == 1 }

// transposeRows takes each row of src for a rows×cols matrix.
func transposeRows(isa *kernels.ISA, dst, src []float32, rows, cols int) {
	for size := rows * cols; len(src) > 0; dst, src = dst[size:], src[size:] {
		isa.Transpose(dst[:size], src[:size], rows, cols)
	}
}

// AddUnmapped adds src, a row whose columns are in the kernels' order, to dst, which is
// in the model's order.
func AddUnmapped(dst, src []float32, cols model.Shape) {
	hw := cols.H * cols.W
	for c := range cols.C {
		d := dst[c*hw:][:hw]
		for p := range d {
			d[p] += src[p*cols.C+c]
		}
	}
}
