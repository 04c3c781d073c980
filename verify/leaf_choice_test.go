package verify

import (
	"cmp"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/epsball/epsball/kernels"
)

// TestRank: the candidates kept are the first of all when sorted, those with equal scores in the
// order they came in.
func TestRank(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for _, most := range []int{1, 2, 4, ranked, ranked + 1, 1 << 24} {
		for _, n := range []int{0, 1, 3, 50, 300} {
			run := &leafRun{o: LeafOptions{Candidates: most}}
			var all []Candidate
			for k := range n {
				c := Candidate{Split{Neuron: k}, float32(r.IntN(20))}
				all = append(all, c)
				run.rank(5, c)
			}
			slices.SortStableFunc(all, func(a, b Candidate) int { return cmp.Compare(b.Score, a.Score) })
			assert.Equal(t, all[:min(n, most)], run.best(run.top[5]), "%d of %d", most, n)
		}
	}
}

// TestEachOf: elements of a list in a window, against one by one.
func TestEachOf(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	m := extent{h: 5, w: 7, c: 3}
	w := &linearWorker{rows: &rows{g: &graph{maps: []extent{m}}}}
	for range 200 {
		y, x := r.IntN(m.h), r.IntN(m.w)
		win := kernels.Window{Y0: y, Y1: y + 1 + r.IntN(m.h-y), X0: x, X1: x + 1 + r.IntN(m.w-x)}
		w.placed[1] = []kernels.Window{win}
		var list []int32
		for k := range m.size() {
			if r.IntN(3) == 0 {
				list = append(list, int32(k))
			}
		}
		type pair struct{ n, at int }
		var want, have []pair
		for n, k := range list {
			if at := w.within(1, 0, int(k)); at >= 0 {
				want = append(want, pair{n, at})
			}
		}
		w.eachOf(list, 1, 0, func(n, at int) { have = append(have, pair{n, at}) })
		require.Equal(t, want, have, "%v", win)
	}
}
