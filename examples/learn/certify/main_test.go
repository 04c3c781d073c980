package main

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestStudy: bounds prove the network trained for them, certificates are checked, and one
// that claims too much is refused.
func TestStudy(t *testing.T) {
	var out strings.Builder
	require.NoError(t, study(&out, "mnist-small-ibp-0.1", 4, []string{"0.1"}))
	require.Regexp(t, `(?m)^0\.1 +4 +4 +4 +4 +4$`, out.String())
	require.Regexp(t, `proved by crown-ibp up to: least 0\.1\d, median 0\.1\d, most 0\.1\d\n`, out.String())
	require.Contains(t, out.String(), "certificates at ε = 0.05: 4, checked and valid 4; with ε made 0.5: 0 valid\n")
}

func TestBadFlags(t *testing.T) {
	for want, err := range map[string]error{
		"-n: got 0": study(new(strings.Builder), "mnist-small-ibp-0.1", 0, nil),
		"-eps:":     study(new(strings.Builder), "mnist-small-ibp-0.1", 1, []string{"x"}),
		"nothing":   study(new(strings.Builder), "nothing", 1, nil),
	} {
		require.ErrorContains(t, err, want)
	}
}
