package branch

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/epsball/epsball/internal/pieces"
	"github.com/epsball/epsball/internal/plain"
	"github.com/epsball/epsball/internal/round"
	"github.com/epsball/epsball/internal/testsize"
	"github.com/epsball/epsball/model"
	"github.com/epsball/epsball/verify"
)

// trial is a tiny network and a property whose minimum on a box is known exactly.
type trial struct {
	*pieces.Case
	*pieces.Shift
	minimum *pieces.Minimum
	r       *rand.Rand
	v       *verify.Verifier
}

// newTrial draws that of a seed; nil: it has too many pieces.
func newTrial(t *testing.T, seed uint64) *trial {
	r := rand.New(rand.NewPCG(5, seed))
	c := pieces.Draw(r)
	m, err := pieces.Find(c.Model, pieces.Rats(c.Lo), pieces.Rats(c.Hi), c.Rows, 2000)
	if errors.Is(err, pieces.ErrLarge) {
		return nil
	}
	require.NoError(t, err)
	return &trial{c, c.Shift(m, r), m, r, verifier(t, c.Model, 1)}
}

// options are those of a search that divides at neurons, with few at −1, or at inputs.
func (q *trial) options(few int) Options {
	o := Options{FewInputs: few, Parts: 40, Root: verify.Options{Method: verify.Method(1 + q.r.IntN(3))}}
	if q.Clear > 0 {
		o.Parts = 200000
	}
	return o
}

// wrong says what a result claims that is not so, or nothing. Executions are those in front
// of which float32 inputs next to the minimum stand.
func (q *trial) wrong(res Result) string {
	if res.Proved && q.Least.Sign() <= 0 {
		return fmt.Sprintf("proved, but the minimum is %s", q.Least.FloatString(12))
	}
	if q.Above(res.Low) {
		return fmt.Sprintf("bound %v, but the minimum is %s", res.Low, q.Least.FloatString(12))
	}
	x := q.Nearest(q.minimum)
	for range 3 {
		z := plain.Float32(q.Model, x, q.r)
		if v := pieces.Of(z[len(z)-1], q.Property); round.Above(res.Low, v) || res.Proved && v.Sign() <= 0 {
			return fmt.Sprintf("bound %v, proved %v, but an execution has %s", res.Low, res.Proved, v.FloatString(12))
		}
	}
	return ""
}

// divisible reports whether all that bends can be split, and nothing bends an input: a search by
// neurons can then divide at every kink.
func (q *trial) divisible() bool {
	for i, l := range q.Model.Arch.Layers {
		switch l.Kind {
		case model.ReLU, model.LeakyReLU, model.Clip, model.MaxPool:
			for from := q.Model.Arch.InputsOf(i)[0]; ; from = q.Model.Arch.InputsOf(from)[0] {
				if from < 0 {
					return false
				}
				if q.Model.Arch.Layers[from].Kind != model.Normalize {
					break
				}
			}
		}
	}
	return q.Property.Clauses == nil
}

// TestExhaustive compares searches by neurons and by inputs with exact minima over all
// activation patterns: nothing is proved that does not hold, no lower bound is above the
// minimum, and what holds with some room is proved, but for one in thousands that takes millions
// of parts. EPSBALL_TRIALS sets how many.
func TestExhaustive(t *testing.T) {
	trials := testsize.Of(200, 40)
	if s := os.Getenv("EPSBALL_TRIALS"); s != "" {
		var err error
		trials, err = strconv.Atoi(s)
		require.NoError(t, err)
	}
	type count struct{ clear, open, beyond, near, nearProved, refuted, split int }
	kinds := map[model.Kind]int{} // of networks that a search by neurons proved by splits
	var counts [2]count
	large, dyadic := 0, 0
	for seed := range trials {
		q := newTrial(t, uint64(seed))
		if q == nil {
			large++
			continue
		}
		if q.Dyadic {
			dyadic++
		}
		for k, few := range []int{-1, 0} {
			res, err := Prove(t.Context(), q.v, verify.BoxOf(q.Lo, q.Hi), q.Property, q.options(few))
			require.NoError(t, err)
			require.Empty(t, q.wrong(res), "seed %d, few inputs %d: %s", seed, few, q.Model.Arch.CanonicalJSON())
			n := &counts[k]
			n.split += min(res.Depth, 1)
			if few < 0 && res.Proved && res.Depth > 0 {
				for _, l := range q.Model.Arch.Layers {
					kinds[l.Kind]++
				}
			}
			switch {
			case q.Clear > 0:
				n.clear++
				if !res.Proved && few < 0 && !q.divisible() {
					n.beyond++
				} else if !res.Proved {
					n.open++
					t.Logf("seed %d, few inputs %d: open: %+v, minimum %s, rows up to %v", seed, few, res, q.Least.FloatString(6), q.minimum.Scale)
				}
			case q.Least.Sign() > 0:
				n.near++
				if res.Proved {
					n.nearProved++
				}
			default:
				n.refuted++
			}
		}
	}
	t.Logf("%d networks (%d with weights of a few bits, %d more with too many pieces); by neurons %+v, by inputs %+v; layers of those proved by splits of neurons: %v", trials-large, dyadic, large, counts[0], counts[1], kinds)
	require.LessOrEqual(t, large, 1+trials/20)
	require.LessOrEqual(t, counts[1].open, trials/5000, "a search that divides inputs is complete, given parts enough")
	require.LessOrEqual(t, counts[0].open, trials/50)
	for _, n := range counts {
		require.Greater(t, n.split, trials/4)
		require.Greater(t, n.refuted, trials/4)
	}
}

// faults are mistakes that a search might make, each made once a round.
var faults = map[string]func(q *trial, s *search) error{
	"a part is lost": func(_ *trial, s *search) error {
		if k := s.several(); k != nil {
			k.open.take()
		}
		return nil
	},
	"both parts of a neuron are the same": func(_ *trial, s *search) error {
		if k := s.several(); k != nil {
			for _, l := range k.open.queue[0].leaves {
				if n := len(l.Splits); n > 0 {
					l.Splits[n-1].Phase = verify.Active + verify.Inactive - l.Splits[n-1].Phase
				}
			}
		}
		return nil
	},
	"a part's bound is too high": func(_ *trial, s *search) error {
		if k := s.several(); k != nil {
			p := k.open.take()
			for _, l := range p.leaves {
				l.Low += 0.5 * max(-l.Low, l.Low)
			}
			p.low = p.best().Low
			k.open.put(p, false)
		}
		return nil
	},
	"a neuron is too tight": func(q *trial, s *search) error {
		for node, is := range q.v.Targets() {
			iv := s.root.Interval(node)
			for k := range iv.Lower {
				if lo, hi := iv.Lower[k], iv.Upper[k]; is && lo < -1e-3 && hi > 1e-3 {
					root := s.root.Clone()
					root.Tighten(node, k, lo, hi/2)
					s.root = root
					if err := q.v.BoundDomains(s.ctx, s.o.Root, node+1, root); err != nil {
						return err
					}
					return s.plant()
				}
			}
		}
		return nil
	},
	"a cell is lost": func(_ *trial, s *search) error {
		if s.cells.len() > 1 {
			s.cells.take()
		}
		return nil
	},
	"a gap between cells": func(_ *trial, s *search) error {
		if s.cells.len() > 1 {
			c := s.cells.queue[0]
			c.hi[c.cut] -= (c.hi[c.cut] - c.lo[c.cut]) / 8
		}
		return nil
	},
}

// several is a tree with more than one open part.
func (s *search) several() *tree {
	for _, k := range s.trees {
		if k.open.len() > 1 {
			return k
		}
	}
	return nil
}

// TestExhaustiveFindsFaults: the comparison of TestExhaustive notices any of these mistakes.
func TestExhaustiveFindsFaults(t *testing.T) {
	const most = 400
	for name, fault := range faults {
		found := ""
		for seed := uint64(0); seed < most && found == ""; seed++ {
			q := newTrial(t, seed)
			if q == nil || q.Clear > 0 {
				continue
			}
			for _, few := range []int{-1, 10} {
				o := q.options(few)
				o.Steps, o.Candidates, o.Round = 6, 4, 64
				s := &search{ctx: context.Background(), v: q.v, o: o}
				var failed error
				s.o.Progress = func(Progress) {
					if !s.proved && failed == nil {
						failed = fault(q, s)
					}
				}
				require.NoError(t, s.prove(verify.BoxOf(q.Lo, q.Hi), q.Property))
				require.NoError(t, failed)
				if found = q.wrong(Result{Proved: s.proved, Progress: s.progress()}); found != "" {
					t.Logf("%s: seed %d: %s", name, seed, found)
					break
				}
			}
		}
		require.NotEmpty(t, found, name)
	}
}
