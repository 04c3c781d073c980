package main

import (
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/epsball/epsball/dataset"
)

// TestAttackUniversal: the perturbation is in the file beside the images that it makes,
// which can be attacked again.
func TestAttackUniversal(t *testing.T) {
	f := newFiles(t)
	out := filepath.Join(f.dir, "adv.npz")
	doc := document(t, 0, args("attack --model %s --data %s --eps 0.2 --attack universal:epochs=4 --out %s", f.model, f.data, out)...)
	assert.Equal(t, "universal:epochs=4", doc["attack"])
	arrays := readArrays(t, out)
	assert.Equal(t, []string{"x", "y", "pred", "success", "index", "state", "universal"}, arrays.names)
	set, err := dataset.Load(f.data)
	require.NoError(t, err)
	delta, x := arrays.by["universal"].([]float32), arrays.by["x"].([]float32)
	require.Len(t, delta, len(set.X)/f.n)
	for i := range f.n {
		if arrays.by["success"].([]bool)[i] {
			for k, d := range delta {
				require.InDelta(t, min(max(set.Image(i)[k]+d, 0), 1), x[i*len(delta)+k], 1e-7)
			}
		}
	}
	again := document(t, 0, args("attack --model %s --data %s --attack fgsm --eps 0", f.model, out)...)
	assert.InDelta(t, doc["robust"], again["clean"], 1e-9)
}

// TestAttackSearches: attacks without gradients, in every norm.
func TestAttackSearches(t *testing.T) {
	f := newFiles(t)
	for _, line := range []string{
		"--attack square:queries=30 --eps 0.2", "--attack square:queries=30 --norm l2 --eps 1", "--attack square:queries=30 --norm l1 --eps 3",
		"--attack sparse-rs:queries=30 --norm l0 --eps 5", "--attack spatial:rotations=5,translations=3", "--attack spatial:random=10",
	} {
		doc := document(t, 0, args("attack --model %s --data %s "+line, f.model, f.data)...)
		assert.Positive(t, doc["success"], line)
		assert.Less(t, doc["robust"], doc["clean"], line)
	}
}
