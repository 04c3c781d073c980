package audit

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/epsball/epsball/internal/countdown"
	"github.com/epsball/epsball/internal/testsize"
	"github.com/epsball/epsball/kernels"
	"github.com/epsball/epsball/verify/branch"
)

// TestDecideShares: what is open, dealt out, decided apart, joined, and dealt out anew, has the
// answers of exact minima over all activation patterns.
func TestDecideShares(t *testing.T) {
	pool := kernels.NewPool(1)
	defer pool.Close()
	answers, dealt, questions, joined := map[Answer]int{}, 0, 0, 0
	for seed := range testsize.Of(40, 30) {
		r := rand.New(rand.NewPCG(8, uint64(seed)))
		drawn := drawQuestions(t, r)
		if drawn == nil {
			continue
		}
		c, n, list, asked, holds := drawn.c, drawn.n, drawn.list, drawn.questions, drawn.holds
		var st *DecideState
		o := DecideOptions{Branch: branch.Options{FewInputs: []int{0, -1}[r.IntN(2)], Round: 4, Parts: 2 + r.IntN(20)}}
		o.Save = func(s *DecideState) error { st = s; return nil }
		if seed%3 > 0 { // past bounds and attacks, which answer most
			o.Resume = &DecideState{Stage: searchStage, Low: float32(math.Inf(1))}
			for i := range asked {
				o.Resume.Open = append(o.Resume.Open, i)
			}
			st = o.Resume
		} else {
			_, err := Decide(countdown.New(int64(1+r.IntN(300))), n, asked, o, pool)
			require.NoError(t, err)
		}
		answer := Undecided
		for round := 0; st != nil && answer == Undecided && round < 6; round++ {
			most, err := st.Shares()
			require.NoError(t, err)
			shares, err := st.Divide(1 + r.IntN(min(most, 4)))
			require.NoError(t, err)
			whole := st
			var left []*DecideState
			for _, s := range shares {
				dealt++
				questions += len(s.Open)
				st = nil
				o.Resume, o.Branch.Parts = s, 10+r.IntN(200)
				d, err := Decide(t.Context(), n, asked, o, pool)
				require.NoError(t, err)
				require.False(t, d.Answer == Violated && holds, "seed %d: it holds", seed)
				switch d.Answer {
				case Violated:
					answer = Violated
					checkExactly(t, c, &list[d.Question], d.Witness)
				case Undecided:
					require.NotNil(t, st)
					left = append(left, st)
				}
			}
			if answer != Undecided {
				break
			}
			if len(left) == 0 {
				answer = Holds
				break
			}
			st, err = whole.Join(left)
			require.NoError(t, err)
			joined++
		}
		require.False(t, answer == Holds && !holds, "seed %d: it does not hold", seed)
		answers[answer]++
	}
	t.Logf("%v; %d shares of %d questions, %d times joined", answers, dealt, questions, joined)
	require.Greater(t, answers[Holds], testsize.Of(5, 2))
	require.Greater(t, answers[Violated], testsize.Of(5, 2))
	require.Greater(t, joined, testsize.Of(10, 4))
	require.Greater(t, questions, dealt)
}

// TestJoinRefuses: what is not a share of the state.
func TestJoinRefuses(t *testing.T) {
	st := &DecideState{Stage: searchStage, Open: []int{1, 4}}
	one := func(q int, s *branch.State) *DecideState {
		d := &DecideState{Stage: searchStage, Open: []int{q}}
		if s != nil {
			d.Search = map[int]*branch.State{q: s}
		}
		return d
	}
	for want, left := range map[string][]*DecideState{
		"open: got none":                   nil,
		"share 0: got question 2, which":   {one(2, nil)},
		"share 1: got question 4, all of":  {one(4, nil), one(4, nil)},
		"got shares of question 1, whose":  {one(1, &branch.State{Share: true})},
		"share 1: got question 1, all of ": {one(1, &branch.State{}), one(1, &branch.State{})},
	} {
		_, err := st.Join(left)
		require.ErrorContains(t, err, want)
	}
	_, err := st.Divide(3)
	require.ErrorContains(t, err, "shares: got 3, want 1 … 2")
	_, err = st.Divide(0)
	require.ErrorContains(t, err, "shares: got 0")
	shares, err := st.Divide(2)
	require.NoError(t, err)
	require.Equal(t, [][]int{{1}, {4}}, [][]int{shares[0].Open, shares[1].Open})
	all, err := st.Join(shares[1:])
	require.NoError(t, err)
	require.Equal(t, []int{4}, all.Open)
}
