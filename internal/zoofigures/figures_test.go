package main

import (
	"context"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestMeasure(t *testing.T) {
	const name = "mnist-small-ibp-0.1"
	f, err := measure(context.Background(), name, "", 8)
	require.NoError(t, err)
	assert.Equal(t, name, f.Name)
	assert.Len(t, f.Hash, 64)
	assert.Equal(t, 8, f.N)
	assert.GreaterOrEqual(t, f.Clean, f.FGSM)
	assert.GreaterOrEqual(t, f.PGD, f.Auto)
	assert.GreaterOrEqual(t, f.Auto, f.Certified)
	assert.GreaterOrEqual(t, f.Certified, f.Intervals)
	assert.Positive(t, f.Certified)

	again, err := measure(context.Background(), name, "", 8)
	require.NoError(t, err)
	assert.Equal(t, f, again)
	_, err = measure(context.Background(), "nobody", "", 8)
	assert.Error(t, err)
}

func TestList(t *testing.T) {
	path := filepath.Join(t.TempDir(), "figures.json")
	l, err := read(path)
	require.NoError(t, err)
	assert.Empty(t, l)
	l = l.with(&Figures{Name: "a", Eps: "0.1", Clean: 0.5}).with(&Figures{Name: "b", Eps: "2/255"}).with(&Figures{Name: "a", Eps: "0.1", Clean: 0.9871})
	require.NoError(t, l.write(path))
	back, err := read(path)
	require.NoError(t, err)
	assert.Equal(t, l, back)
	assert.Equal(t, 0.9871, back.of("a").Clean)
	assert.Nil(t, back.of("c"))
	assert.Contains(t, back.table(), "| a | 0.1 | 98.71 | 0.00 |")
	assert.Contains(t, back.table(), "| b | 2/255 |")
}
