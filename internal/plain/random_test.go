package plain

import (
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/epsball/epsball/model"
)

// TestRandomGraph: most draws are valid, and all kinds of graphs come up.
func TestRandomGraph(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	const draws = 1000
	counts := map[string]int{}
	for range draws {
		a := RandomGraph(r)
		if err := a.Validate(); err != nil {
			counts["invalid"]++
			continue
		}
		last := a.Layers[len(a.Layers)-1].Kind
		counts["ends in "+string(last)]++
		if !a.Sequential() {
			counts["graph"]++
		}
		readers := map[int]int{}
		for i := range a.Layers {
			for _, k := range a.InputsOf(i) {
				readers[k]++
			}
			if a.Layers[i].Kind == model.Add {
				if _, skip, _ := a.Residual(i); skip == model.NetInput {
					counts["input as shortcut"]++
				}
			}
		}
		for _, n := range readers {
			if n > 2 {
				counts["three readers"]++
			}
		}
	}
	t.Log(counts)
	require.Less(t, counts["invalid"], draws/4)
	require.Greater(t, counts["graph"], draws/3)
	for _, what := range []string{"ends in fc", "ends in conv", "ends in relu", "ends in add", "input as shortcut", "three readers"} {
		require.Positive(t, counts[what], what)
	}
}
