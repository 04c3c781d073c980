//go:build !purego

package kernels

import (
	"testing"

	"github.com/klauspost/cpuid/v2"
	"github.com/stretchr/testify/require"
)

// TestSelected asks another library than the selection does.
func TestSelected(t *testing.T) {
	t.Setenv(EnvISA, "")
	want := []string{"generic"}
	if cpuid.CPU.Supports(cpuid.AVX2, cpuid.FMA3) {
		want = append([]string{"avx2"}, want...)
		if cpuid.CPU.Supports(cpuid.AVX512F, cpuid.AVX512BW, cpuid.AVX512DQ, cpuid.AVX512VL) {
			want = append([]string{"avx512"}, want...)
		}
	}
	require.Equal(t, want, names(Available()))
	i, err := Choose("")
	require.NoError(t, err)
	require.Equal(t, want[0], i.Name())
}

// TestCPU: what CPUID is asked for by hand is what a library reads.
func TestCPU(t *testing.T) {
	vendor, family := cpuFamily()
	require.Equal(t, cpuid.CPU.VendorString, vendor)
	require.Equal(t, cpuid.CPU.Family, family)
	require.GreaterOrEqual(t, l2Cache(), 64<<10)
	require.LessOrEqual(t, l2Cache(), 64<<20) // libraries differ by which of the caches and sharers they count
}

// The choice of convolutions that another CPU with AVX-512 would make.
func init() {
	if available[0] == avx512 {
		other := newAVX512(doublePumped())
		other.name = "avx512-other"
		otherSets = append(otherSets, other)
	}
}
