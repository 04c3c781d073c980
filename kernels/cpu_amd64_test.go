//go:build !purego

package kernels

import (
	"testing"

	"github.com/klauspost/cpuid/v2"
	"github.com/stretchr/testify/require"
)

// TestCPU: what we ask the processor ourselves is what cpuid says of it.
func TestCPU(t *testing.T) {
	if vendor() == "" {
		t.Skip("the processor has no name")
	}
	require.Equal(t, cpuid.CPU.VendorString, vendor())
	require.EqualValues(t, cpuid.CPU.Family, family())
	if l2 := cpuid.CPU.Cache.L2; l2 > 0 {
		require.Equal(t, l2, sizeOfL2())
	}
	require.Equal(t, cpuid.CPU.Supports(cpuid.AVX2, cpuid.FMA3), len(available) > 1)
	require.Equal(t, cpuid.CPU.Supports(cpuid.AVX2, cpuid.FMA3, cpuid.AVX512F, cpuid.AVX512BW, cpuid.AVX512DQ, cpuid.AVX512VL), len(available) > 2)
}
