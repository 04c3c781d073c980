package main

import (
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestCompare: the cascades find at least what PGD does, and name their stages.
func TestCompare(t *testing.T) {
	var out strings.Builder
	require.NoError(t, compare(&out, "mnist-small-standard", 12, "0.1", []string{"pgd", "fast", "auto"}))
	text := out.String()
	fooled := func(attack string) int {
		m := regexp.MustCompile(`(?m)^` + attack + `(?::\S+)? +12 +(\d+) `).FindStringSubmatch(text)
		require.NotNil(t, m, text)
		n, err := strconv.Atoi(m[1])
		require.NoError(t, err)
		return n
	}
	require.Positive(t, fooled("pgd"))
	require.GreaterOrEqual(t, fooled("fast"), fooled("pgd"))
	require.GreaterOrEqual(t, fooled("auto"), fooled("pgd"))
	for _, stage := range []string{"apgd", "fab-t", "square", "proofs"} {
		require.Regexp(t, `(?m)^  `+stage, text)
	}
	require.Regexp(t, `ddn: 12 of 12 fooled, at a mean l2 distance of [01]\.\d+\n`, text)
}

func TestBadFlags(t *testing.T) {
	for want, err := range map[string]error{
		"-n: got 0":   compare(new(strings.Builder), "mnist-small-standard", 0, "0.1", nil),
		"-eps:":       compare(new(strings.Builder), "mnist-small-standard", 1, "x", nil),
		"want one of": compare(new(strings.Builder), "mnist-small-standard", 1, "0.1", []string{"none"}),
		"nothing":     compare(new(strings.Builder), "nothing", 1, "0.1", nil),
	} {
		require.ErrorContains(t, err, want)
	}
}
