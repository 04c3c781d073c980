package main

import (
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestRow: what looks robust to an attack that does not know the defence falls.
func TestRow(t *testing.T) {
	s, err := newStudy("mnist-small-standard", 60, "0.1", "pgd:steps=10,seed=1")
	require.NoError(t, err)
	defer s.pool.Close()
	for text, columns := range map[string]int{"jpeg": 4, "noise": 5} {
		row, err := s.row(text, 2)
		require.NoError(t, err)
		var v []float64
		for _, cell := range strings.Split(row, "\t")[1:] {
			if cell != "" {
				f, err := strconv.ParseFloat(cell, 64)
				require.NoError(t, err)
				v = append(v, f)
			}
		}
		require.Len(t, v, columns)
		require.Greater(t, v[0], 90.0)
		require.Less(t, v[columns-1], v[1]-10, "%s", row)
	}
	for _, text := range []string{"jpg", "noise:sigma=100"} {
		_, err := s.row(text, 2)
		require.ErrorContains(t, err, "defence")
	}
}

func TestBadFlags(t *testing.T) {
	for want, do := range map[string]func() (*study, error){
		"-n: got 0":   func() (*study, error) { return newStudy("mnist-small-standard", 0, "0.1", "pgd") },
		"-eps:":       func() (*study, error) { return newStudy("mnist-small-standard", 1, "x", "pgd") },
		"want one of": func() (*study, error) { return newStudy("mnist-small-standard", 1, "0.1", "bim2") },
		"nothing":     func() (*study, error) { return newStudy("nothing", 1, "0.1", "pgd") },
	} {
		_, err := do()
		require.ErrorContains(t, err, want)
	}
}
