package net

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
)

func finite(v float32) bool { return !math.IsNaN(float64(v)) && !math.IsInf(float64(v), 0) }

// TestLossValues compares values and gradients with float64 on logits of all
// sizes, saturated ones among them.
func TestLossValues(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	for range 3000 {
		classes := 4 + r.IntN(8)
		z, d := make([]float32, classes), make([]float32, classes)
		scale := float32(math.Pow(10, r.Float64()*3-1))
		for i := range z {
			z[i] = (r.Float32()*2 - 1) * scale
		}
		y := r.IntN(classes)
		target := (y + 1 + r.IntN(classes-1)) % classes
		z64 := widen(z)
		for _, l := range allLosses {
			to := Untargeted
			if l.targeted {
				to = target
			}
			for i := range d {
				d[i] = 99 // Gradient overwrites
			}
			have, want := l.loss.Gradient(d, z, y, to), refLoss(l.loss, z64, y, to)
			if l.loss == DLR { // a quotient of differences: it loses what they cancel
				require.InEpsilon(t, 1+math.Abs(want), 1+math.Abs(float64(have)), 1e-3)
			} else {
				require.InDelta(t, want, have, 2e-6*max(1, float64(scale)), lossName(l.loss, l.targeted))
			}
			if l.loss != CrossEntropy {
				continue
			}
			sum, top := 0.0, slices.Max(z64)
			for _, v := range z64 {
				sum += math.Exp(v - top)
			}
			class, sign := y, 1.0
			if l.targeted {
				class, sign = target, -1
			}
			for i, v := range z64 {
				p := math.Exp(v-top) / sum
				if i == class { // −(1 − p) without cancellation
					p = 0
					for k, u := range z64 {
						if k != i {
							p -= math.Exp(u-top) / sum
						}
					}
				}
				tol := 1e-6 + 2e-7*float64(scale) // v − top is rounded before the exponential
				require.InDelta(t, sign*p, d[i], tol*math.Abs(p)+1e-44, "relative accuracy, also of tiny shares")
			}
		}
	}
}

// TestLossExtremes: finite logits never give NaN; cross-entropy has a finite
// gradient whatever they are.
func TestLossExtremes(t *testing.T) {
	const big = math.MaxFloat32
	for _, z := range [][]float32{
		{0, 0, 0, 0, 0},
		{1e30, 1e30, 1e30, 1e30, 1e30},
		{-1e30, -1e30, -1e30, -1e30, -1e30},
		{1e30, -1e30, 0, 1, -1},
		{-1e30, 1e30, 1e30, 0, 0},
		{1e30, 1e30, -1e30, -1e30, 5},
		{big, -big, 0, 0, 0},
		{big, big, big, -big, -big},
		{-big, -big, -big, -big, -big},
		{1e-45, 0, -1e-45, 0, 0},
		{88, -88, 104, -104, 0},
		{3, 2, 1, 0, -1},
		{5, 5, 4, 4, 4},
		{-1, 5, 5, 5, 5},
	} {
		d := make([]float32, len(z))
		for y := range z {
			for target := Untargeted; target < len(z); target++ {
				if target == y {
					continue
				}
				v := CrossEntropy.Gradient(d, z, y, target)
				require.False(t, v != v, "%v", z)
				sum, class := 0.0, y
				if target >= 0 {
					class = target
				}
				for i, g := range d {
					require.True(t, finite(g), "%v: %v", z, d)
					require.LessOrEqual(t, math.Abs(float64(g)), 1.0)
					if sign := float32(1); i == class {
						if target >= 0 {
							sign = -1
						}
						require.LessOrEqual(t, sign*g, float32(0))
					}
					sum += float64(g)
				}
				require.InDelta(t, 0, sum, 1e-6, "probabilities sum to 1")
				if target >= 0 {
					require.LessOrEqual(t, v, float32(0))
				} else {
					require.GreaterOrEqual(t, v, float32(0))
				}

				v = Margin.Gradient(d, z, y, target)
				require.False(t, v != v)
				require.Equal(t, 2, len(z)-countOf(d, 0))
				require.Equal(t, 1, countOf(d, 1))
				require.Equal(t, 1, countOf(d, -1))
			}
		}
	}
}

func countOf(s []float32, v float32) (n int) {
	for _, x := range s {
		if x == v {
			n++
		}
	}
	return n
}

// TestDLRTies: equal leading logits, where the quotient's denominator is the
// guard alone, give no NaN.
func TestDLRTies(t *testing.T) {
	for _, z := range [][]float32{{0, 0, 0, 0}, {5, 5, 5, 0}, {5, 5, 5, 5}, {1, 5, 5, 5}, {-3, -3, 1, 1}, {2, 1, 1, 1}} {
		d := make([]float32, len(z))
		for y := range z {
			for target := Untargeted; target < len(z); target++ {
				v := DLR.Gradient(d, z, y, target)
				require.True(t, finite(v), "%v", z)
				for _, g := range d {
					require.True(t, finite(g), "%v: %v", z, d)
				}
			}
		}
	}
}

// TestDLROfFewClasses: values and gradients of two and three classes.
func TestDLROfFewClasses(t *testing.T) {
	d := make([]float32, 3)
	require.InDelta(t, -0.4, DLR.Gradient(d, []float32{3, 1, -2}, 0, Untargeted), 1e-6)
	for target, want := range []float32{0, -2. / 5, -5. / 5} { // −(z_y − z_t)/(z_π1 − z_π3)
		if target > 0 {
			require.InDelta(t, want, DLR.Gradient(d, []float32{3, 1, -2}, 0, target), 1e-6)
		}
	}
	require.InDeltaSlice(t, []float32{0, 0, 0}, d, 1e-6) // it does not change with the extreme classes
	DLR.Gradient(d, []float32{3, 1, -2}, 0, 1)
	require.InDeltaSlice(t, []float32{-3. / 25, 5. / 25, -2. / 25}, d, 1e-6)
	for target := range 2 {
		e := make([]float32, 2)
		require.EqualValues(t, -1.5, DLR.Gradient(e, []float32{-0.5, 1}, 1, target-1))
		require.Equal(t, []float32{1, -1}, e)
	}
}

// TestDLRInvariance: DLR does not change when logits are shifted and scaled.
func TestDLRInvariance(t *testing.T) {
	z := []float32{1, -2, 4, 0.5, 3}
	moved := make([]float32, len(z))
	d := make([]float32, len(z))
	for i, v := range z {
		moved[i] = 8*v + 64
	}
	for y := range z {
		require.Equal(t, DLR.Gradient(d, z, y, Untargeted), DLR.Gradient(d, moved, y, Untargeted))
		require.Equal(t, DLR.Gradient(d, z, y, (y+1)%5), DLR.Gradient(d, moved, y, (y+1)%5))
	}
}

func TestLossNames(t *testing.T) {
	for i, name := range Losses() {
		l, err := ParseLoss(name)
		require.NoError(t, err)
		require.Equal(t, Loss(i), l)
		require.Equal(t, name, l.String())
	}
	for i, name := range Norms() {
		n, err := ParseNorm(name)
		require.NoError(t, err)
		require.Equal(t, Norm(i), n)
		require.Equal(t, name, n.String())
	}
	for _, name := range []string{"", "CE", "ce ", "l3", "cross-entropy", "linf\x00"} {
		_, err := ParseLoss(name)
		require.ErrorContains(t, err, "ce, margin, dlr")
		_, err = ParseNorm(name)
		require.ErrorContains(t, err, "linf, l2, l1")
	}
}

func TestArgmaxAndMargin(t *testing.T) {
	nan := float32(math.NaN())
	require.Equal(t, 1, Argmax([]float32{1, 3, 3, 2}))
	require.Equal(t, 0, Argmax([]float32{-1, -1}))
	for i := range 3 {
		z := []float32{1, 2, 3}
		z[i] = nan
		require.Equal(t, -1, Argmax(z))
		for y := range z {
			m := MarginOf(z, y)
			require.True(t, m != m)
		}
	}
	require.Equal(t, float32(1), MarginOf([]float32{1, 3, 2}, 1))
	require.Equal(t, float32(-2), MarginOf([]float32{1, 3, 2}, 0))
	require.Equal(t, float32(0), MarginOf([]float32{3, 3, 2}, 0))
	require.Equal(t, float32(math.Inf(1)), MarginOf([]float32{float32(math.Inf(1)), 0}, 0))
}
