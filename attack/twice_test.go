package attack

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestTwice(t *testing.T) {
	for text, want := range map[string]string{
		"pgd":                               "pgd:steps=80,seed=1",
		"bim:steps=10":                      "bim:steps=20,seed=1",
		"pgd:steps=7,restarts=2,seed=4":     "pgd:steps=14,restarts=2,seed=5",
		"square:queries=200":                "square:queries=400,seed=1",
		"noise":                             "noise:draws=200,seed=1",
		"apgd:steps=1048576,rho=0.5,seed=1": "apgd:steps=1048576,rho=0.5,seed=2",
	} {
		m, err := Parse(text)
		require.NoError(t, err)
		twice, err := Builtin().Twice(m)
		require.NoError(t, err, text)
		assert.Equal(t, want, twice.String())
	}
	_, err := Builtin().Twice(FGSM{})
	assert.ErrorContains(t, err, "fgsm has neither steps nor random starts")
	_, err = Registry{}.Twice(PGD{})
	assert.ErrorContains(t, err, "the registry has no pgd")
}
