package charts

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestCactus: the curve of each tool has its instances, fastest first; the first tool stays
// whatever it did.
func TestCactus(t *testing.T) {
	draw := func(tools ...Solved) string {
		var b bytes.Buffer
		require.NoError(t, Cactus(&b, "title", "sub", tools))
		return b.String()
	}
	svg := draw(Solved{Tool: "own", Seconds: []float64{5, 0, 0.5}}, Solved{Tool: "idle", Published: true}, Solved{Tool: "other", Seconds: []float64{1}, Published: true})
	require.Contains(t, svg, "own, 3")
	require.Contains(t, svg, "other, 1")
	require.NotContains(t, svg, "idle")
	require.Contains(t, svg, "0.001 at 1", "a curve begins at the fastest; no time is 0")
	require.Contains(t, svg, "5 at 3")

	var many []Solved
	for i := range 12 {
		many = append(many, Solved{Tool: fmt.Sprintf("tool%c", 'a'+i), Seconds: make([]float64, i+1), Published: i > 0})
	}
	svg = draw(many...)
	require.Contains(t, svg, "toola, 1")
	require.Contains(t, svg, "tooll, 12")
	require.NotContains(t, svg, "toole")
	require.Contains(t, svg, "5 tools with fewer instances are left out")
	require.Equal(t, 7, strings.Count(svg, `class="p-series"`))

	require.ErrorContains(t, Cactus(&bytes.Buffer{}, "t", "s", []Solved{{Tool: "own"}}), "no instance was decided")
}
