package audit

import (
	"errors"
	"math"
	"math/big"
	"math/rand/v2"
	"os"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/epsball/epsball/internal/pieces"
	"github.com/epsball/epsball/internal/plain"
	"github.com/epsball/epsball/internal/round"
	"github.com/epsball/epsball/internal/testsize"
	"github.com/epsball/epsball/kernels"
	"github.com/epsball/epsball/net"
	"github.com/epsball/epsball/verify/branch"
)

// exactQuestion is one whose answer is known: whether the rows and a real constant are
// positive on all of the box.
type exactQuestion struct {
	Question
	least *big.Rat // of rows and constant on the box
	clear int      // 1 or −1: it is above or below 0 by some of the rows' magnitude
}

// exactQuestions draws one or two about a box with ends that may be no float32; nil: there
// are too many pieces.
func exactQuestions(t *testing.T, c *pieces.Case, r *rand.Rand) (list []exactQuestion) {
	box := ExactBox{pieces.Rats(c.Lo), pieces.Rats(c.Hi)}
	if r.IntN(2) == 0 {
		for k, lo := range box.Lo {
			third := big.NewRat(int64(r.IntN(3)), 3<<r.IntN(40))
			fixed := lo.Cmp(box.Hi[k]) == 0
			if lo.Add(lo, third); fixed {
				box.Hi[k] = lo
			} else if h := new(big.Rat).Add(box.Hi[k], third); h.Cmp(lo) >= 0 {
				box.Hi[k] = h
			}
			if lo.Cmp(box.Hi[k]) > 0 {
				box.Hi[k] = lo
			}
		}
	}
	m, err := pieces.Find(c.Model, box.Lo, box.Hi, c.Rows, 2000)
	if errors.Is(err, pieces.ErrLarge) {
		return nil
	}
	require.NoError(t, err)
	for range 1 + r.IntN(2) {
		q := exactQuestion{Question: Question{Box: box}}
		d := new(big.Rat).Neg(m.Value) // for which the property fails, by nothing
		room := new(big.Rat)
		switch r.IntN(6) {
		case 0, 1, 2:
			q.clear = 1
			room.SetFloat64(0.05 * m.Scale)
		case 3:
			q.clear = -1
			room.SetFloat64(-0.05 * m.Scale)
		case 4:
			room.SetFloat64(math.Ldexp(r.NormFloat64(), -20-r.IntN(40)))
		}
		if m.Scale == 0 && q.clear != 0 {
			room.SetInt64(int64(q.clear))
		}
		d.Add(d, room)
		q.least = room
		property := func(d float32) *net.Property {
			p := *c.Rows
			p.D = make([]float32, len(p.C)/c.Model.Arch.Classes())
			for k := range p.D {
				p.D[k] = d
			}
			return &p
		}
		q.Proves, q.Refutes = property(round.Down(d)), property(round.Up(d))
		list = append(list, q)
	}
	return list
}

// drawn is a network with questions about it, and whether all of them hold.
type drawn struct {
	c         *pieces.Case
	n         *net.Network
	list      []exactQuestion
	questions []Question
	holds     bool
}

// drawQuestions draws them; nil: the network has too many pieces.
func drawQuestions(t *testing.T, r *rand.Rand) *drawn {
	d := &drawn{c: pieces.Draw(r), holds: true}
	if d.list = exactQuestions(t, d.c, r); d.list == nil {
		return nil
	}
	var err error
	d.n, err = net.Compile(d.c.Model, net.Options{Backward: true})
	require.NoError(t, err)
	for _, q := range d.list {
		d.questions, d.holds = append(d.questions, q.Question), d.holds && q.least.Sign() > 0
	}
	return d
}

// TestDecideExhaustive: answers are those of exact minima over all activation patterns. Where
// a minimum is not near to 0 there is an answer, and witnesses are what they say they are.
// EPSBALL_TRIALS sets how many networks.
func TestDecideExhaustive(t *testing.T) {
	trials := testsize.Of(120, 30)
	if s := os.Getenv("EPSBALL_TRIALS"); s != "" {
		var err error
		trials, err = strconv.Atoi(s)
		require.NoError(t, err)
	}
	pool := kernels.NewPool(1)
	defer pool.Close()
	answers, by := map[Answer]int{}, map[string]int{}
	large, missed, sure, open := 0, 0, 0, 0
	for seed := range trials {
		r := rand.New(rand.NewPCG(6, uint64(seed)))
		c := pieces.Draw(r)
		list := exactQuestions(t, c, r)
		if list == nil {
			large++
			continue
		}
		n, err := net.Compile(c.Model, net.Options{Backward: true})
		require.NoError(t, err)
		o := DecideOptions{Branch: branch.Options{FewInputs: []int{0, -1}[r.IntN(2)], Parts: 40}}
		holds, fails, clear := true, false, true
		var questions []Question
		for _, q := range list {
			questions = append(questions, q.Question)
			holds, fails, clear = holds && q.least.Sign() > 0, fails || q.clear < 0, clear && q.clear > 0
		}
		if clear {
			o.Branch.Parts = 200000
		}
		d, err := Decide(t.Context(), n, questions, o, pool)
		require.NoError(t, err)
		answers[d.Answer]++
		by[d.By]++
		require.False(t, d.Answer == Holds && !holds, "seed %d: it does not hold: %s", seed, c.Model.Arch.CanonicalJSON())
		require.False(t, d.Answer == Violated && holds, "seed %d: it holds: %s", seed, c.Model.Arch.CanonicalJSON())
		if w := d.Witness; w != nil {
			checkExactly(t, c, &list[d.Question], w)
			require.Equal(t, d.Answer == Violated, w.Violates())
		}
		switch {
		case clear && d.Answer == Undecided && o.Branch.FewInputs < 0:
			open++ // of parts with nothing left to split
		case clear:
			sure++
			require.Equal(t, Holds, d.Answer, "seed %d: %+v", seed, d)
		case fails && d.Answer != Violated:
			missed++
			t.Logf("seed %d: no witness: %+v", seed, d)
		}
		below := false // Low is of one that was not proved, or of all
		for _, q := range list {
			above := round.Above(d.Low, q.least)
			below = below || !above
			require.False(t, d.Answer == Holds && above, "seed %d: bound %v, minimum %s", seed, d.Low, q.least.FloatString(12))
		}
		require.True(t, below, "seed %d: bound %v, minimum %s", seed, d.Low, list[0].least.FloatString(12))
	}
	t.Logf("%d networks: %v, by %v; %d hold for sure and were proved, %d not; %d without a witness", trials-large, answers, by, sure, open, missed)
	require.LessOrEqual(t, missed, trials/100)
	require.LessOrEqual(t, open, 1+trials/50)
	require.Greater(t, answers[Holds], trials/5)
	require.GreaterOrEqual(t, answers[Violated], trials/5)
	require.Positive(t, by["branch and bound"])
}

// checkExactly holds a witness against the exact value at its point.
func checkExactly(t *testing.T, c *pieces.Case, q *exactQuestion, w *Witness) {
	for k, v := range w.Point {
		require.True(t, v.Cmp(q.Box.Lo[k]) >= 0 && v.Cmp(q.Box.Hi[k]) <= 0)
		f, _ := v.Float32()
		require.True(t, f == w.X[k])
	}
	v, err := pieces.At(c.Model, w.Point, q.Refutes)
	require.NoError(t, err)
	require.Equal(t, w.Exact == Violated, v.Sign() <= 0, "a witness of %v has the value %s", w.Exact, v.FloatString(12))
	z, far := make([]float64, len(w.Z)), 0.0
	exact := plain.Float64(c.Model, w.X)
	for k, v := range w.Z {
		z[k] = float64(v)
		far = max(far, math.Abs(z[k]-exact[len(exact)-1][k]))
	}
	require.Less(t, far, 1e-3)
	require.Equal(t, w.Executed == Violated, pieces.Of(z, q.Refutes).Sign() <= 0)
}
