package main

import (
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestStudy: the masked network looks robust to the cross-entropy alone.
func TestStudy(t *testing.T) {
	var out strings.Builder
	file := filepath.Join(t.TempDir(), "masked.safetensors")
	require.NoError(t, study(&out, "mnist-small-standard", file, 1000, 20))
	row := func(name string) (plain, masked string) {
		m := regexp.MustCompile(`(?m)^` + name + ` +([\d.]+)% +([\d.]+)%$`).FindStringSubmatch(out.String())
		require.NotNil(t, m, out.String())
		return m[1], m[2]
	}
	for name, same := range map[string]bool{
		"none": true, `pgd:steps=40,seed=1`: false, `pgd:steps=40,loss=margin,seed=1`: true, `square:\S+`: true,
	} {
		plain, masked := row(name)
		if same {
			require.Equal(t, plain, masked, name)
		} else {
			require.Equal(t, "100.0", masked)
			require.NotEqual(t, plain, masked)
		}
	}

	// The file is the masked network, which can be masked again to no further effect.
	again := new(strings.Builder)
	require.NoError(t, study(again, file, "", 1, 20))
	plain, masked := row("pgd:steps=40,seed=1")
	require.NotEqual(t, plain, masked)
	require.Regexp(t, `(?m)^pgd:steps=40,seed=1 +100.0% +100.0%$`, again.String())
}

func TestBadFlags(t *testing.T) {
	for want, err := range map[string]error{
		"-n: got 0": study(new(strings.Builder), "mnist-small-standard", "", 1, 0),
		"nothing":   study(new(strings.Builder), "nothing", "", 1, 1),
	} {
		require.ErrorContains(t, err, want)
	}
}
