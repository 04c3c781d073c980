package audit

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/epsball/epsball/model"
	"github.com/epsball/epsball/net"
	"github.com/epsball/epsball/verify"
)

// script is a prover and its clock: a rung takes the time that it says, and proves
// radii up to its reach. It looks at its context each millisecond.
type script struct {
	now   time.Time
	takes [4]time.Duration
	reach [4]int // in units of 1/100
	calls []verify.Method
}

func (s *script) CertifyRung(ctx context.Context, o verify.Options, ball net.Ball, _ verify.Batch, res *verify.Result) error {
	m := o.Method
	s.calls = append(s.calls, m)
	*res = verify.Result{Certified: []bool{false}, Margin: []float32{-1}, Done: []bool{false}, Method: []verify.Method{m}}
	for range s.takes[m] / time.Millisecond {
		if err := ctx.Err(); err != nil {
			return err
		}
		s.now = s.now.Add(time.Millisecond)
	}
	res.Done[0] = true
	if ball.Eps.Cmp(net.MustEpsilon("1/100").Times(max(0, s.reach[m]))) <= 0 && s.reach[m] >= 0 {
		res.Certified[0], res.Margin[0] = true, 1
	}
	return ctx.Err()
}

func scripted(t *testing.T, s *script, o GuardOptions) func() *Verdict {
	g := newGuard(t, tinyNet(t), GuardOptions{Budget: o.Budget})
	g.prover, g.now = s, func() time.Time { return s.now }
	g.o, g.search = o, o.Resolution.Float64() > 0
	g.grid = nil
	require.NoError(t, g.makeGrid())
	return func() *Verdict {
		v := new(Verdict)
		s.calls = nil
		begin := s.now
		require.NoError(t, g.Classify(context.Background(), make([]float32, 4), v))
		require.Equal(t, s.now.Sub(begin), v.Elapsed)
		return v
	}
}

func tinyNet(t *testing.T) *net.Network {
	m, err := model.Random(&model.Architecture{Name: "tiny", Input: model.Shape{C: 1, H: 2, W: 2}, Layers: []model.Layer{fc(3)}}, 1)
	require.NoError(t, err)
	n, err := net.Compile(m, net.Options{})
	require.NoError(t, err)
	return n
}

const ms = time.Millisecond

// TestGuardLearnsTimes: a rung that was too slow is cancelled on time, not begun for a
// while, and tried again ever more seldom; one that turns fast is found out.
func TestGuardLearnsTimes(t *testing.T) {
	s := &script{takes: [4]time.Duration{2 * ms, 10 * ms, 500 * ms, time.Hour}, reach: [4]int{-1, -1, 10, 20}}
	classify := scripted(t, s, GuardOptions{Threshold: net.MustEpsilon("0.05"), Budget: 100 * ms, Method: verify.MethodAlphaCROWN})
	rungs := []verify.Method{verify.MethodIBP, verify.MethodCROWNIBP, verify.MethodCROWN}
	v := classify()
	require.True(t, v.Flagged && v.CutShort && !v.Certified)
	require.Equal(t, rungs, s.calls)
	require.Equal(t, 100*ms, v.Elapsed, "cancelled when the budget ended")
	require.Equal(t, verify.MethodCROWNIBP, v.Method, "the last that ended")
	var gaps []int
	gap := 0
	for range 300 {
		v := classify()
		require.True(t, v.Flagged && v.CutShort)
		require.LessOrEqual(t, v.Elapsed, 100*ms)
		if len(s.calls) == 3 {
			gaps, gap = append(gaps, gap), 0
		} else {
			require.Equal(t, rungs[:2], s.calls)
			require.Equal(t, 12*ms, v.Elapsed)
			gap++
		}
	}
	t.Logf("calls between trials: %v", gaps)
	require.Greater(t, len(gaps), 3)
	require.Less(t, len(gaps), 20)
	require.Greater(t, gaps[len(gaps)-1], 3*gaps[0])

	s.takes[verify.MethodCROWN] = 50 * ms
	calls := 0
	for v = classify(); v.Flagged; v = classify() {
		calls++
		require.Less(t, calls, 60)
	}
	require.Equal(t, verify.MethodCROWN, v.Method)
	require.False(t, v.CutShort)
	require.Equal(t, 62*ms, v.Elapsed)
	require.False(t, classify().Flagged, "what it takes is known again")
}

// TestGuardAnytime: a search returns the best radius that was proved when time is up,
// the threshold first.
func TestGuardAnytime(t *testing.T) {
	o := GuardOptions{Threshold: net.MustEpsilon("0.05"), Method: verify.MethodCROWN, Resolution: net.MustEpsilon("1/100"), Max: net.MustEpsilon("0.5")}
	last := -1
	for budget := range 260 {
		s := &script{takes: [4]time.Duration{ms, 3 * ms, 9 * ms}, reach: [4]int{3, 12, 31}}
		o.Budget = time.Duration(budget) * ms
		v := scripted(t, s, o)()
		require.LessOrEqual(t, v.Elapsed, o.Budget)
		require.GreaterOrEqual(t, v.Steps, last, "more time proved less")
		last = v.Steps
		require.Equal(t, v.Steps < 5, v.Flagged)
		require.True(t, v.CutShort || v.Steps == 31)
		require.Equal(t, budget < 4, v.Flagged, "%d ms", budget)
		require.Equal(t, v.Steps >= 0, v.Certified)
		if v.Certified {
			require.Zero(t, v.Radius.Cmp(o.Resolution.Times(v.Steps)))
		}
		if v.Steps > 12 {
			require.Equal(t, verify.MethodCROWN, v.Method)
		}
	}
	require.Equal(t, 31, last)

	// Below the threshold it is flagged, with what was proved.
	s := &script{takes: [4]time.Duration{ms, ms, ms}, reach: [4]int{-1, 0, 3}}
	o.Budget = Unlimited
	v := scripted(t, s, o)()
	require.True(t, v.Flagged && v.Certified && !v.CutShort)
	require.Equal(t, 3, v.Steps)
	require.Equal(t, verify.MethodCROWN, v.Method)
	s.reach[2] = 0
	v = scripted(t, s, o)()
	require.Zero(t, v.Steps)
	require.Equal(t, verify.MethodCROWNIBP, v.Method)
	s.reach = [4]int{-1, -1, -1}
	v = scripted(t, s, o)()
	require.True(t, v.Flagged && !v.Certified && !v.CutShort)
	require.Equal(t, -1, v.Steps)
}

// TestGuardReturnsTheCallersError: the caller's context is an error, the budget none.
func TestGuardReturnsTheCallersError(t *testing.T) {
	s := &script{takes: [4]time.Duration{ms, ms, time.Hour}, reach: [4]int{2, 2, 2}}
	g := newGuard(t, tinyNet(t), GuardOptions{Budget: Unlimited})
	g.prover, g.o.Method, g.grid = s, verify.MethodCROWN, []net.Epsilon{net.MustEpsilon("0.2")}
	ctx, cancel := context.WithCancel(context.Background())
	g.now = func() time.Time {
		if len(s.calls) == 3 {
			cancel()
		}
		return s.now
	}
	g.o.Budget = 30 * time.Minute // so that the clock is asked
	var v Verdict
	require.ErrorIs(t, g.Classify(ctx, make([]float32, 4), &v), context.Canceled)
	require.True(t, v.Flagged && !v.Certified && v.Label >= 0)
}
