package charts

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/epsball/epsball/internal/plot"
)

func TestRadiusPlot(t *testing.T) {
	p := radiusPlot{title: "a <b>", subtitle: "s", xLabel: "ε", resolution: 0.01, certified: []int{-1, 0, 5, 10}, attacked: []int{0, 3, 8, -1}}
	drawn := func() string {
		var b bytes.Buffer
		require.NoError(t, p.chart().WriteSVG(&b))
		return b.String()
	}
	out := drawn()
	for _, want := range []string{"a &lt;b&gt;", "proved at this radius", "not fooled at this radius", "undecided"} {
		assert.Contains(t, out, want)
	}
	c := p.chart()
	// An image is proved up to its radius: three of four at 0, one at 10 of 10 steps.
	proved := c.Curves[1]
	assert.Equal(t, plot.StepBefore, proved.Shape)
	assert.Equal(t, []float64{0.75, 0.5, 0.5, 0.5, 0.5, 0.5, 0.25, 0.25, 0.25, 0.25, 0.25}, proved.Y)
	// It is fooled from its radius on.
	assert.Equal(t, plot.StepAfter, c.Curves[0].Shape)
	assert.Equal(t, []float64{0.75, 0.75, 0.75, 0.5, 0.5, 0.5, 0.5, 0.5, 0.25, 0.25, 0.25}, c.Curves[0].Y)

	p.attacked = nil
	out = drawn()
	assert.NotContains(t, out, "not fooled")
	assert.NotContains(t, out, "undecided")

	p.certified = []int{-1, -1} // nothing is proved
	drawn()
}
