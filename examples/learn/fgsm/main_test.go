package main

import (
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestCompare: what is written out fools the same number of images as the library, and
// small steps fool more than one.
func TestCompare(t *testing.T) {
	var out strings.Builder
	require.NoError(t, compare(&out, "mnist-small-standard", 40, 0.1))
	rows := regexp.MustCompile(`(?m)^(fgsm|pgd).*? +(\d+) +(\d+)$`).FindAllStringSubmatch(out.String(), -1)
	require.Len(t, rows, 3, out.String())
	for _, r := range rows {
		require.Equal(t, r[2], r[3], out.String())
	}
	require.Less(t, rows[0][2], rows[1][2]) // both have two digits
	require.LessOrEqual(t, rows[1][2], rows[2][2])
}

func TestBadFlags(t *testing.T) {
	for want, err := range map[string]error{
		"-n: got 0": compare(new(strings.Builder), "mnist-small-standard", 0, 0.1),
		"psilon":    compare(new(strings.Builder), "mnist-small-standard", 1, 2),
		"nothing":   compare(new(strings.Builder), "nothing", 1, 0.1),
	} {
		require.ErrorContains(t, err, want)
	}
}
