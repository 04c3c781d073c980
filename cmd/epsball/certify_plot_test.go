package main

import (
	"bytes"
	"encoding/xml"
	"io"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestRadiusPlot(t *testing.T) {
	p := radiusPlot{title: "a <b>", subtitle: "s", xLabel: "ε", resolution: 0.01, certified: []int{-1, 0, 5, 10}, attacked: []int{0, 3, 8, -1}}
	var b bytes.Buffer
	require.NoError(t, p.write(&b))
	d := xml.NewDecoder(bytes.NewReader(b.Bytes()))
	for {
		_, err := d.Token()
		if err == io.EOF {
			break
		}
		require.NoError(t, err)
	}
	out := b.String()
	assert.Contains(t, out, `class="certified"`)
	assert.Contains(t, out, `class="attacked"`)
	// Three of four are proved at 0, one at 10 of 10 steps.
	assert.Equal(t, []float64{0.75, 0.5, 0.5, 0.5, 0.5, 0.5, 0.25, 0.25, 0.25, 0.25, 0.25}, steps(p.certified, 10, func(k, r int) bool { return r >= k }))

	p.attacked = nil
	b.Reset()
	require.NoError(t, p.write(&b))
	assert.False(t, strings.Contains(b.String(), "attacked") || strings.Contains(b.String(), "undecided"))

	p.certified = []int{-1, -1} // nothing is proved
	b.Reset()
	require.NoError(t, p.write(&b))
}
