package train

import (
	"math"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/epsball/epsball/kernels"
)

func softmax64(z []float64) []float64 {
	p, sum := make([]float64, len(z)), 0.0
	for i, v := range z {
		p[i] = math.Exp(v)
		sum += p[i]
	}
	for i := range p {
		p[i] /= sum
	}
	return p
}

func divergence64(z, w []float64) (kl float64) {
	q := softmax64(w)
	for i, p := range softmax64(z) {
		kl += p * (math.Log(p) - math.Log(q[i]))
	}
	return kl
}

// TestKLDivergence holds the value and both gradients against central differences in
// float64.
func TestKLDivergence(t *testing.T) {
	s := kernels.NewStream(1, 0, 0)
	for range 200 {
		z, w := make([]float32, 5), make([]float32, 5)
		scale := 1 + 7*s.Float32()
		for i := range z {
			z[i], w[i] = scale*s.Norm(), scale*s.Norm()
		}
		dz, dw, z64, w64 := make([]float32, 5), make([]float32, 5), widen(z), widen(w)
		kl := divergence(dz, dw, z, w)
		want := divergence64(z64, w64)
		require.InDelta(t, want, kl, 2e-5*(1+want))
		alone := make([]float32, 5)
		require.Equal(t, kl, divergence(nil, alone, z, w))
		require.Equal(t, dw, alone)
		at := func(v []float64, i int) float64 {
			const h = 1e-5
			old := v[i]
			v[i] = old + h
			up := divergence64(z64, w64)
			v[i] = old - h
			down := divergence64(z64, w64)
			v[i] = old
			return (up - down) / (2 * h)
		}
		for i := range z {
			require.InDelta(t, at(z64, i), dz[i], 1e-5*(1+want), "z[%d]", i)
			require.InDelta(t, at(w64, i), dw[i], 1e-6, "w[%d]", i)
		}
	}
}

// TestKLDivergenceExtremes: logits far apart, equal, and certain.
func TestKLDivergenceExtremes(t *testing.T) {
	dz, dw := make([]float32, 3), make([]float32, 3)
	far := []float32{-3e4, 0, 2e4}
	assert.Zero(t, divergence(dz, dw, far, far))
	assert.InDeltaSlice(t, []float64{0, 0, 0}, widen(dz), 0)
	assert.InDeltaSlice(t, []float64{0, 0, 0}, widen(dw), 0)

	assert.Equal(t, float32(2e4), divergence(dz, dw, far, []float32{0, 2e4, 0}), "finite where softmax underflows")
	assert.InDeltaSlice(t, []float64{0, 1, -1}, widen(dw), 0)

	// Near certainty the label's gradient is that of the others, not 0.
	divergence(dz, dw, []float32{30, 0, 0}, []float32{28, 0, 0})
	q := softmax64([]float64{28, 0, 0})[1] - softmax64([]float64{30, 0, 0})[1]
	assert.InEpsilon(t, q, dw[1], 1e-5)
	assert.InEpsilon(t, -2*q, dw[0], 1e-5)

	nan := float32(math.NaN())
	assert.True(t, math.IsNaN(float64(divergence(dz, dw, []float32{nan, 0, 0}, far))))
}
