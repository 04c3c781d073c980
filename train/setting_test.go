package train

import (
	"math"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestSettingKinds: a value of each type is read, spelt, copied and checked.
func TestSettingKinds(t *testing.T) {
	c := Config{Epochs: 3, LR: 0.25, Method: "b", Winograd: true}
	list, choice := []float64{0.5, 0.75}, ""
	whole := Setting{Field: "whole", Of: func(c *Config) any { return &c.Epochs }, min: 1, max: 9}
	number := Setting{Field: "number", Of: func(c *Config) any { return &c.LR }, max: 1, above: true}
	numbers := Setting{Field: "numbers", Of: func(*Config) any { return &list }, max: 1}
	flag := Setting{Field: "flag", Of: func(c *Config) any { return &c.Winograd }}
	named := Setting{Field: "named", Flag: "named", Of: func(*Config) any { return &choice }, Choices: []string{"a", "b"}}
	for _, w := range []struct {
		s     *Setting
		value any
		text  string
	}{{&whole, 3, "3"}, {&number, 0.25, "0.25"}, {&numbers, list, "0.5,0.75"}, {&flag, true, "true"}, {&named, "a", "a"}} {
		assert.Equal(t, w.value, w.s.Value(&c))
		assert.Equal(t, w.text, w.s.Text(&c))
		require.NoError(t, w.s.check(&c))
		var to Config
		w.s.Copy(&to, &c)
		assert.Equal(t, w.value, w.s.Value(&to))
	}
	choice = "b"
	require.NoError(t, named.check(&c))
	assert.Equal(t, "b", named.Value(&c))
	choice = "none"
	assert.ErrorContains(t, named.check(&c), `named: got "none", want one of a, b`)
	list[1] = math.NaN()
	assert.ErrorContains(t, numbers.check(&c), "numbers: got NaN, want 0 … 1")
	c.Epochs = 10
	assert.ErrorContains(t, whole.check(&c), "whole: got 10, want 1 … 9")
	c.LR = 0
	assert.ErrorContains(t, number.check(&c), "number: got 0, want above 0, at most 1")

	// A detail of another setting's choice.
	detail := Setting{Field: "detail", Of: func(c *Config) any { return &c.Beta }, max: 1, of: &named, where: []string{"b"}}
	choice = "a"
	require.NoError(t, detail.check(&c), "unset")
	c.Beta = 0.5
	assert.ErrorContains(t, detail.check(&c), "detail: got 0.5, want it unset: it goes with named b, not a")
	choice = "b"
	require.NoError(t, detail.check(&c))
}
