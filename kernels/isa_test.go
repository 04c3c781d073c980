package kernels

import (
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func names(list []*ISA) (out []string) {
	for _, i := range list {
		out = append(out, i.Name())
	}
	return out
}

func TestAvailable(t *testing.T) {
	list := names(Available())
	require.Equal(t, "generic", list[len(list)-1], "always there, always last")
	seen := map[string]bool{}
	for _, i := range Available() {
		require.False(t, seen[i.Name()])
		seen[i.Name()] = true
		chosen, err := Choose(i.Name())
		require.NoError(t, err)
		require.Same(t, i, chosen)
	}
}

func TestChoose(t *testing.T) {
	t.Setenv(EnvISA, "")
	for _, name := range []string{"", "auto"} {
		i, err := Choose(name)
		require.NoError(t, err)
		require.Same(t, Available()[0], i)
	}
	for _, name := range []string{"sse2", "AVX2", "Generic", "generic ", "avx2,generic"} {
		_, err := Choose(name)
		require.ErrorContains(t, err, `isa "`+name+`"`)
		require.ErrorContains(t, err, strings.Join(names(Available()), ", "))
	}

	t.Setenv(EnvISA, "generic")
	i, err := Choose("")
	require.NoError(t, err)
	require.Equal(t, "generic", i.Name())
	i, err = Choose("auto")
	require.NoError(t, err)
	require.Same(t, Available()[0], i, "asked for by name, the environment does not count")
	i, err = Choose(Available()[0].Name())
	require.NoError(t, err)
	require.Same(t, Available()[0], i)

	t.Setenv(EnvISA, "auto")
	i, err = Choose("")
	require.NoError(t, err)
	require.Same(t, Available()[0], i)
	t.Setenv(EnvISA, "mmx")
	_, err = Choose("")
	require.ErrorContains(t, err, EnvISA+` "mmx"`)
	require.ErrorContains(t, err, "generic")
}

// TestExpectedISA fails where the kernel set that runs by default is not the
// one that EPSBALL_EXPECT_ISA names: without it a run on the wrong machine or
// build would be green for kernels it never ran. A comma separates the names
// that must all be there, the default first.
func TestExpectedISA(t *testing.T) {
	expect := os.Getenv("EPSBALL_EXPECT_ISA")
	if expect == "" {
		t.Skip("EPSBALL_EXPECT_ISA is not set")
	}
	want := strings.Split(expect, ",")
	i, err := Choose("")
	require.NoError(t, err)
	require.Equal(t, want[0], i.Name(), "the default set")
	require.Subset(t, names(Available()), want)
}
