//go:build !purego

package kernels

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestSelected(t *testing.T) {
	t.Setenv(EnvISA, "")
	require.Equal(t, []string{"neon", "generic"}, names(Available()))
	i, err := Choose("")
	require.NoError(t, err)
	require.Equal(t, "neon", i.Name())
}
