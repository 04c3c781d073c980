//go:build !purego

package kernels

import (
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/cpu"
)

// TestSelected asks another library than the selection does.
func TestSelected(t *testing.T) {
	t.Setenv(EnvISA, "")
	want := []string{"generic"}
	if cpu.X86.HasAVX2 && cpu.X86.HasFMA {
		want = append([]string{"avx2"}, want...)
		if cpu.X86.HasAVX512F && cpu.X86.HasAVX512BW && cpu.X86.HasAVX512DQ && cpu.X86.HasAVX512VL {
			want = append([]string{"avx512"}, want...)
		}
	}
	require.Equal(t, want, names(Available()))
	i, err := Choose("")
	require.NoError(t, err)
	require.Equal(t, want[0], i.Name())
}

// The choice of convolutions that another CPU with AVX-512 would make.
func init() {
	if available[0] == avx512 {
		other := newAVX512(doublePumped())
		other.name = "avx512-other"
		otherSets = append(otherSets, other)
	}
}
