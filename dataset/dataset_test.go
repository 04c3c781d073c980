package dataset

import (
	"fmt"
	"math"
	"math/big"
	"testing"

	"github.com/stretchr/testify/require"
)

func small() *Set {
	return &Set{
		Name: "small", C: 2, H: 1, W: 2, Classes: 3,
		X: []float32{0, .1, .2, .3, .4, .5, .6, .7, .8, .9, 1, 0}, Y: []int{0, 2, Unknown},
	}
}

func TestSet(t *testing.T) {
	s := small()
	require.NoError(t, s.Validate())
	require.Equal(t, 3, s.Len())
	require.Equal(t, []float32{.4, .5, .6, .7}, s.Image(1))
	require.Equal(t, 4, cap(s.Image(1)), "appending to an image must not reach the next")

	p := s.Slice(1, 3)
	require.NoError(t, p.Validate())
	require.Equal(t, []int{2, Unknown}, p.Y)
	require.Equal(t, s.Image(2), p.Image(1))
	require.Equal(t, s.Name, p.Name)
	require.Zero(t, s.Slice(3, 3).Len())
	require.Panics(t, func() { s.Slice(2, 4) })
	require.Panics(t, func() { s.Slice(2, 1) })
	require.Panics(t, func() { s.Image(3) })
}

func TestWithClasses(t *testing.T) {
	s := small()
	w, err := s.WithClasses(10)
	require.NoError(t, err)
	require.Equal(t, 10, w.Classes)
	require.Equal(t, 3, s.Classes)
	_, err = s.WithClasses(2)
	requireError(t, err, "small", "label of image 1")
	_, err = s.WithClasses(0)
	requireError(t, err, "small", "classes")
}

func TestValidate(t *testing.T) {
	for name, c := range map[string]struct {
		spoil func(*Set)
		field string
	}{
		"no rows":        {func(s *Set) { s.H = 0 }, "shape"},
		"overflow":       {func(s *Set) { s.C, s.H, s.W = 1<<30, 1<<30, 1<<30 }, "pixels"},
		"pixel missing":  {func(s *Set) { s.X = s.X[:11] }, "pixels"},
		"NaN":            {func(s *Set) { s.X[7] = float32(math.NaN()) }, "image 1, pixel (channel 1, row 0, column 1)"},
		"infinity":       {func(s *Set) { s.X[0] = float32(math.Inf(1)) }, "image 0, pixel (channel 0, row 0, column 0)"},
		"above 1":        {func(s *Set) { s.X[10] = math.Nextafter32(1, 2) }, "image 2, pixel (channel 1, row 0, column 0)"},
		"below 0":        {func(s *Set) { s.X[10] = -math.SmallestNonzeroFloat32 }, "image 2"},
		"negative label": {func(s *Set) { s.Y[1] = -2 }, "label of image 1"},
		"large label":    {func(s *Set) { s.Y[0] = 3 }, "label of image 0"},
		"no classes":     {func(s *Set) { s.Classes = 0 }, "classes"},
		"many classes":   {func(s *Set) { s.Classes = MaxClasses + 1 }, "classes"},
	} {
		t.Run(name, func(t *testing.T) {
			s := small()
			c.spoil(s)
			requireError(t, s.Validate(), "small", c.field)
		})
	}
}

// The table must hold the float32 nearest to b/255, found here in exact arithmetic.
func TestScaledIsCorrectlyRounded(t *testing.T) {
	for b := range 256 {
		want, _ := big.NewRat(int64(b), 255).Float32()
		require.Equal(t, want, scaled[b], "byte %d", b)
	}
}

func TestProduct(t *testing.T) {
	for _, c := range []struct {
		dims []int64
		want int64
		ok   bool
	}{
		{nil, 1, true},
		{[]int64{3, 4}, 12, true},
		{[]int64{100}, 100, true},
		{[]int64{101}, 0, false},
		{[]int64{-1}, 0, false},
		{[]int64{0, 7}, 0, true},
		{[]int64{math.MaxInt64, math.MaxInt64}, 0, false},
	} {
		t.Run(fmt.Sprint(c.dims), func(t *testing.T) {
			p, ok := product(100, c.dims...)
			require.Equal(t, c.ok, ok)
			require.Equal(t, c.want, p)
		})
	}
}
