package main

import (
	"context"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/epsball/epsball/model"
	"github.com/epsball/epsball/zoo"
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
	assert.Equal(t, 8, f.HardN)
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
	assert.Contains(t, (list{{N: 9, HardN: 4, Auto: 0.5}}).table(), "| 4 | 50.00 | 0.00 |")
	assert.Contains(t, back.table(), "| a | 0.1 | 98.71 | 0.00 |")
	assert.Contains(t, back.table(), "| b | 2/255 |")
}

// TestDocumented: docs/models.md has the table of what was measured, of models that are still
// the same.
func TestDocumented(t *testing.T) {
	l, err := read(filepath.Join("..", "..", file))
	require.NoError(t, err)
	require.NotEmpty(t, l)
	doc, err := os.ReadFile(filepath.Join("..", "..", "docs", "models.md"))
	require.NoError(t, err)
	assert.Contains(t, string(doc), l.table())
	for _, f := range l {
		m, err := zoo.Load(f.Name)
		if err != nil {
			m, err = model.Load(filepath.Join("..", "..", folder, f.Name+".safetensors"))
		}
		require.NoError(t, err)
		assert.Equal(t, m.Hash(), f.Hash, f.Name)
	}
}
