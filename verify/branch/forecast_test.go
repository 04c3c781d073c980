package branch

import (
	"math"
	"testing"

	"github.com/stretchr/testify/assert"
)

// TestForecast: what clauses want follows from what their last doubling gained.
func TestForecast(t *testing.T) {
	inf := math.Inf(1)
	for _, c := range []struct {
		before, now []float32
		want        float64
	}{
		{[]float32{-2}, []float32{-1}, 100},                       // one doubling more
		{[]float32{-2}, []float32{-1.5}, 700},                     // three
		{[]float32{-2, -8}, []float32{-1, -7}, 100 + 12700},       // one and seven
		{[]float32{-1}, []float32{-1}, inf},                       // no gain
		{[]float32{-1}, []float32{-2}, inf},                       // another leaf of the clause is the best now
		{[]float32{float32(-inf)}, []float32{float32(-inf)}, inf}, // overflow
		{[]float32{-1}, []float32{0}, 0},                          // proved but for parts at 0
		{nil, nil, 0},
	} {
		s := &search{}
		for _, low := range c.now {
			tr := &tree{}
			tr.open.put(&part{low: low, packed: []byte{}}, false)
			s.trees = append(s.trees, tr)
		}
		assert.Equal(t, c.want, s.forecast(c.before, 100), "%v → %v", c.before, c.now)
	}
	s := &search{trees: []*tree{{}}}
	assert.Zero(t, s.forecast([]float32{-1}, 100), "a clause that has nothing left to split")
}
