//go:build !riscv64

package kernels

import "github.com/viterin/vek/vek32"

func init() {
	vekPGDStep = func(x, g, lo, hi, s, t []float32) { // vek has no sign: g/|g|
		vek32.Abs_Into(s, g)
		vek32.Div_Into(t, g, s)
		vek32.MulNumber_Inplace(t, 0.01)
		vek32.Add_Inplace(x, t)
		vek32.Maximum_Inplace(x, lo)
		vek32.Minimum_Inplace(x, hi)
	}
}
