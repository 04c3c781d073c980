package audit

import (
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/epsball/epsball/internal/countdown"
	"github.com/epsball/epsball/internal/round"
	"github.com/epsball/epsball/internal/testsize"
	"github.com/epsball/epsball/kernels"
	"github.com/epsball/epsball/verify/branch"
)

// TestDecideResume: Decide that is stopped anywhere, again and again, and goes on, has the
// answers of exact minima over all activation patterns.
func TestDecideResume(t *testing.T) {
	pool := kernels.NewPool(1)
	defer pool.Close()
	answers, stages, resumed := map[Answer]int{}, map[int]int{}, 0
	for seed := range testsize.Of(60, 30) {
		r := rand.New(rand.NewPCG(7, uint64(seed)))
		drawn := drawQuestions(t, r)
		if drawn == nil {
			continue
		}
		c, n, list, questions, holds := drawn.c, drawn.n, drawn.list, drawn.questions, drawn.holds
		clear := true
		for _, q := range list {
			clear = clear && q.clear > 0
		}
		var d *Decision
		few, asked, open := []int{0, -1}[r.IntN(2)], int64(1+r.IntN(40)), len(questions)
		var last *DecideState
		for range 30 {
			e := countdown.New(asked)
			asked += 1 + asked/4
			o := DecideOptions{Branch: branch.Options{FewInputs: few, Round: 4, Parts: 400}, Resume: last}
			o.Save = func(st *DecideState) error { last = st; return nil }
			var err error
			d, err = Decide(e, n, questions, o, pool)
			require.NoError(t, err)
			if d.Answer != Undecided {
				break
			}
			require.NotNil(t, last)
			require.LessOrEqual(t, len(last.Open), open)
			open = len(last.Open)
			stages[last.Stage]++
			if o.Resume != nil {
				resumed++
			}
		}
		answers[d.Answer]++
		require.False(t, d.Answer == Holds && !holds, "seed %d: it does not hold", seed)
		require.False(t, d.Answer == Violated && holds, "seed %d: it holds", seed)
		if w := d.Witness; w != nil {
			checkExactly(t, c, &list[d.Question], w)
			require.Equal(t, d.Answer == Violated, w.Violates())
		}
		if clear && few >= 0 {
			require.Equal(t, Holds, d.Answer, "seed %d: %+v", seed, d)
		}
		for _, q := range list {
			require.False(t, d.Answer == Holds && round.Above(d.Low, q.least), "seed %d", seed)
		}
	}
	t.Logf("%v; %d resumed, in stages %v", answers, resumed, stages)
	require.Greater(t, answers[Holds], testsize.Of(5, 2))
	require.Greater(t, answers[Violated], testsize.Of(5, 2))
	for stage := range searchStage + 1 {
		require.Positive(t, stages[stage], stage)
	}
}
