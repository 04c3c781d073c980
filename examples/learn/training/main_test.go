package main

import (
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const data = "../../../testdata/mnist#train"

// TestCompare: training under attack keeps more images under attack, training on bounds
// lets bounds prove something.
func TestCompare(t *testing.T) {
	var out strings.Builder
	require.NoError(t, compare(&out, data, 1000, 4, 50, []string{"standard", "pgd"}))
	require.NoError(t, compare(&out, data, 4000, 6, 50, []string{"ibp"})) // with less, it learns nothing
	attacked, proved := map[string]float64{}, map[string]float64{}
	for _, m := range regexp.MustCompile(`(?m)^(\w+) +[\d.]+ +([\d.]+)% +([\d.]+)% +([\d.]+)%$`).FindAllStringSubmatch(out.String(), -1) {
		var v [3]float64
		for i := range v {
			var err error
			v[i], err = strconv.ParseFloat(m[i+2], 64)
			require.NoError(t, err)
		}
		require.GreaterOrEqual(t, v[0], v[1])
		require.GreaterOrEqual(t, v[1], v[2], "nothing fooled is proved")
		attacked[m[1]], proved[m[1]] = v[1], v[2]
	}
	require.Len(t, attacked, 3, out.String())
	require.Greater(t, attacked["pgd"], attacked["standard"]+10)
	require.Zero(t, proved["standard"])
	require.Positive(t, proved["ibp"])
}

func TestBadFlags(t *testing.T) {
	for want, err := range map[string]error{
		"nowhere":        compare(new(strings.Builder), "nowhere", 1, 1, 1, nil),
		"-test-n: got 0": compare(new(strings.Builder), data, 10, 1, 0, nil),
		"epochs":         compare(new(strings.Builder), data, 100, 0, 1, []string{"standard"}),
		"magic":          compare(new(strings.Builder), data, 10, 1, 1, []string{"magic"}),
	} {
		require.ErrorContains(t, err, want)
	}
}
