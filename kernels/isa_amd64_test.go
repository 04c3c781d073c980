//go:build !purego

package kernels

import (
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/cpu"
)

// TestAVX2Selected asks another library than the selection does.
func TestAVX2Selected(t *testing.T) {
	t.Setenv(EnvISA, "")
	want := []string{"generic"}
	if cpu.X86.HasAVX2 && cpu.X86.HasFMA {
		want = []string{"avx2", "generic"}
	}
	require.Equal(t, want, names(Available()))
	i, err := Choose("")
	require.NoError(t, err)
	require.Equal(t, want[0], i.Name())
}
