package branch

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/epsball/epsball/verify"
)

// openState is what a search of a few parts leaves; nil: nothing.
func openState(t *testing.T, q question, o Options) (left *State) {
	o.Parts = 30
	o.Save = func(st *State) error { left = st; return nil }
	_, err := Prove(t.Context(), verifier(t, q.m, 1), q.g, q.p, o)
	require.NoError(t, err)
	return left
}

// TestShares: shares of an open search have each of its parts once; searched apart, and joined
// and dealt anew, they prove what holds, and never what does not.
func TestShares(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 7))
	kinds, goneOn, proved, joined := map[string]int{}, map[bool]int{}, 0, 0
	for i := range 40 {
		q := tinyQuestion(r, i%3 > 0)
		o := Options{FewInputs: []int{-1, 10}[i%2], Round: 4, Root: verify.Options{Method: verify.MethodCROWN}}
		st := openState(t, q, o)
		if st == nil {
			continue
		}
		holds := false
		for range []int{1, 6}[i/2%2] {
			bounds, err := st.Open()
			require.NoError(t, err)
			require.NotEmpty(t, bounds)
			n := 1 + r.IntN(3)
			to := make([]int, len(bounds))
			for k := range to {
				to[k] = r.IntN(n)
			}
			shares, err := st.Deal(to, n)
			require.NoError(t, err)
			checkDealt(t, st, shares, to)
			var left []*State
			for _, s := range shares {
				if s == nil {
					continue
				}
				if kinds["trees"]++; len(s.Cells) > 0 {
					kinds["cells"]++
					kinds["trees"]--
				}
				rest := searchShare(t, q, o, s)
				if rest != nil {
					left = append(left, rest)
				}
			}
			if holds = len(left) == 0; holds {
				break
			}
			was := st
			st, err = st.Join(left)
			require.NoError(t, err)
			require.GreaterOrEqual(t, st.Low, was.Low)
			require.GreaterOrEqual(t, st.Parts, was.Parts)
			joined++
		}
		require.False(t, holds && !q.holds, i)
		if holds {
			proved++
			continue
		}
		o.Resume, o.Parts = st, 100 // one search goes on with what is left
		if q.holds {
			o.Parts = 1500
		}
		res, err := Prove(t.Context(), verifier(t, q.m, 2), q.g, q.p, o)
		require.NoError(t, err)
		require.False(t, res.Proved && !q.holds, i)
		if q.holds {
			goneOn[res.Proved]++
		}
	}
	t.Logf("%v, %d proved in shares, %d joined; of what held and was left, one search proved %v", kinds, proved, joined, goneOn)
	require.Positive(t, goneOn[true])
	require.Less(t, goneOn[false], 2)
	require.Greater(t, kinds["trees"], 20)
	require.Greater(t, kinds["cells"], 20)
	require.Greater(t, proved, 10)
	require.Greater(t, joined, 20)
}

// searchShare searches a share for some parts, in two runs of which the second goes on from the
// state of the first; it returns what is left.
func searchShare(t *testing.T, q question, o Options, s *State) (left *State) {
	o.Resume, o.SaveEvery = s, time.Hour
	for _, o.Parts = range []int{3, 8} {
		left = nil
		o.Save = func(st *State) error { left = st; return nil }
		res, err := Prove(t.Context(), verifier(t, q.m, 1), q.g, q.p, o)
		require.NoError(t, err)
		require.Equal(t, res.Proved, left == nil)
		if res.Proved {
			return nil
		}
		require.True(t, left.Share)
		o.Resume = left
	}
	return left
}

// checkDealt compares what shares have with the state.
func checkDealt(t *testing.T, st *State, shares []*State, to []int) {
	type one struct {
		tree   int
		packed string
	}
	var all, dealt []one
	require.NoError(t, st.each(func(tree int, _ float32, packed []byte) { all = append(all, one{tree, string(packed)}) }))
	for i, s := range shares {
		if s == nil {
			require.NotContains(t, to, i)
			continue
		}
		require.True(t, s.Share)
		require.Empty(t, s.Neurons)
		require.NoError(t, s.each(func(tree int, _ float32, packed []byte) { dealt = append(dealt, one{tree, string(packed)}) }))
	}
	slices.SortStableFunc(dealt, func(a, b one) int { return a.tree - b.tree })
	require.ElementsMatch(t, all, dealt)
}

func TestBadShares(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 7))
	o := Options{FewInputs: -1, Round: 4, Root: verify.Options{Method: verify.MethodCROWN}}
	q := tinyQuestion(r, false)
	st := openState(t, q, o)
	for st == nil || len(st.Trees) == 0 {
		q = tinyQuestion(r, false)
		st = openState(t, q, o)
	}
	bounds, err := st.Open()
	require.NoError(t, err)
	shares, err := st.Deal(make([]int, len(bounds)), 2)
	require.NoError(t, err)
	require.Nil(t, shares[1])
	for want, damage := range map[string]func(s *State){
		"shares[0].share: got a state":   func(s *State) { s.Share = false },
		"shares[0].share: got a":         func(s *State) { s.Options = "" },
		"share: got":                     func(s *State) { s.Parts = 0 },
		"shares[0]: state: trees[0].par": func(s *State) { s.Trees[0].Parts = s.Trees[0].Parts[:len(s.Trees[0].Parts)-1] },
		"shares[0].trees[0].targets":     func(s *State) { s.Trees[0].Targets = []verify.Target{{Row: 5}} },
		"shares[0].trees: nothing is":    func(s *State) { s.Trees = []SavedTree{{Targets: s.Trees[0].Targets}} },
	} {
		s := *shares[0]
		s.Trees = slices.Clone(s.Trees[:1])
		one := *st
		one.Trees = one.Trees[:1]
		damage(&s)
		_, err := one.Join([]*State{&s})
		require.ErrorContains(t, err, want)
	}
	for want, damage := range map[string]func(s *State){
		"trees: nothing is open": func(s *State) { s.Trees = nil },
		"neurons: got 1 of a":    func(s *State) { s.Neurons = st.Trees[:1] },
	} {
		s := *shares[0]
		damage(&s)
		o.Resume = &s
		_, err := Prove(t.Context(), verifier(t, q.m, 1), q.g, q.p, o)
		require.ErrorContains(t, err, want)
	}
	few := openState(t, tinyQuestion(rand.New(rand.NewPCG(2, 7)), false), Options{Round: 4, Root: verify.Options{Method: verify.MethodCROWN}})
	require.NotEmpty(t, few.Cells)
	few.Cells = few.Cells[:len(few.Cells)-1]
	_, err = few.Open()
	require.ErrorContains(t, err, "cells: it is cut short")
}
