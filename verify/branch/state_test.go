package branch

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/epsball/epsball/internal/countdown"
	"github.com/epsball/epsball/model"
	"github.com/epsball/epsball/verify"
)

// question is a property of a network of two inputs that holds with a little room, or fails.
type question struct {
	m     *model.Model
	g     verify.Region
	p     *verify.Property
	low   float64 // of the property, on a grid
	holds bool
}

func tinyQuestion(r *rand.Rand, holds bool) question {
	m := tiny(r)
	e := r.Float32()
	q := question{m: m, g: verify.BoxOf([]float32{-e, -e}, []float32{e, e}), p: verify.LabelProperty(3, r.IntN(3)), holds: holds}
	low, scale := least(m, q.g, q.p)
	shift := 0.02 * scale
	if !holds {
		shift = -shift
	}
	q.p.D = []float32{float32(shift - low), float32(shift - low)}
	q.low = shift
	return q
}

// inSteps searches in runs of so many parts, each from the state of the one before, on another
// number of workers, until it is proved or has had most runs.
func inSteps(t *testing.T, m *model.Model, g verify.Region, p *verify.Property, o Options, most int) (res Result, runs int) {
	t.Helper()
	for runs = 1; runs <= most; runs++ {
		var last *State
		o.Save = func(st *State) error { last = st; return nil }
		o.SaveEvery = time.Hour
		before := res
		var err error
		res, err = Prove(t.Context(), verifier(t, m, 1+runs%2), g, p, o)
		require.NoError(t, err)
		if runs > 1 {
			require.GreaterOrEqual(t, res.Low, before.Low)
			require.GreaterOrEqual(t, res.Depth, before.Depth)
			require.GreaterOrEqual(t, res.Parts, before.Parts)
		}
		if res.Proved {
			require.Nil(t, last, "nothing is open")
			return res, runs
		}
		require.NotNil(t, last)
		require.Equal(t, res.Low, last.Low)
		o.Resume = last
	}
	return res, runs - 1
}

// TestResume: a search in runs of a few parts proves what one run proves, and nothing that
// does not hold; by neurons, by inputs, and in little memory.
func TestResume(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 7))
	proved, several, refuted, few := 0, 0, 0, []int{-1, 10}
	for i := range 24 {
		q := tinyQuestion(r, i%3 > 0)
		for _, few := range few {
			for _, memory := range []int{0, 2000} {
				o := Options{FewInputs: few, Parts: 8, Round: 4, Memory: memory, Root: verify.Options{Method: verify.MethodCROWN}}
				most := 1500
				if !q.holds {
					most = 12
				}
				res, runs := inSteps(t, q.m, q.g, q.p, o, most)
				require.False(t, res.Proved && !q.holds)
				if !res.Proved {
					require.LessOrEqual(t, float64(res.Low), q.low+1e-6)
					refuted++
					if q.holds {
						t.Logf("network %d, few inputs %d: open after %d runs: %+v", i, few, runs, res)
						refuted--
					}
					continue
				}
				proved++
				if runs > 3 {
					several++
				}
			}
		}
	}
	t.Logf("%d proved, %d of them in more than three runs; %d refuted", proved, several, refuted)
	require.GreaterOrEqual(t, proved, 58)
	require.Greater(t, several, 4)
	require.Equal(t, 32, refuted)
}

// TestDeep: a limit that packed parts alone reach makes the search go deep; it holds, and what
// holds is proved all the same.
func TestDeep(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 7))
	deep, proved := 0, 0
	for range 12 {
		q := tinyQuestion(r, true)
		for _, few := range []int{-1, 10} {
			s := &search{ctx: t.Context(), v: verifier(t, q.m, 1), o: Options{Steps: 6, Candidates: 4, Round: 2, FewInputs: few, Memory: 300, Parts: 20000, Root: verify.Options{Method: verify.MethodCROWN}}}
			went := false
			s.o.Progress = func(Progress) { went = went || s.deep }
			require.NoError(t, s.prove(q.g, q.p))
			if went {
				deep++
			}
			if s.proved {
				proved++
			}
		}
	}
	t.Logf("%d of 24 went deep, %d proved", deep, proved)
	require.Greater(t, deep, 3)
	require.GreaterOrEqual(t, proved, 22)
}

// TestSaveCancelled: ended at any moment, what is saved leaves nothing out: going on from it
// never proves what does not hold, and proves what holds.
func TestSaveCancelled(t *testing.T) {
	r := rand.New(rand.NewPCG(4, 7))
	resumed, cells := 0, 0
	for i := range 40 {
		q := tinyQuestion(r, i%2 > 0)
		for _, few := range []int{-1, 10} {
			ctx := countdown.New(int64(2 + r.IntN(60)))
			var st *State
			o := Options{FewInputs: few, Round: 4, Parts: 300, Root: verify.Options{Method: verify.MethodCROWN}}
			o.Save = func(s *State) error { st = s; return nil }
			res, err := Prove(ctx, verifier(t, q.m, 1), q.g, q.p, o)
			require.NoError(t, err)
			if res.Proved || st == nil {
				continue
			}
			resumed++
			if len(st.Cells) > 0 {
				cells++
			}
			low := st.Low
			if o.Resume = st; q.holds {
				o.Parts = 20000
			}
			res, err = Prove(t.Context(), verifier(t, q.m, 1), q.g, q.p, o)
			require.NoError(t, err)
			require.Equal(t, q.holds, res.Proved, "%d %d %+v", i, few, res)
			require.GreaterOrEqual(t, res.Low, low)
			require.True(t, q.holds || float64(res.Low) <= q.low+1e-6)
		}
	}
	t.Logf("%d resumed, %d of them in cells", resumed, cells)
	require.Greater(t, resumed, 30)
	require.Greater(t, cells, 5)
}

func TestBadState(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 7))
	var q question
	var good *State
	o := Options{FewInputs: -1, Parts: 8, Round: 4, Root: verify.Options{Method: verify.MethodCROWN}}
	o.Save = func(st *State) error { good = st; return nil }
	for good == nil || len(good.Trees) == 0 {
		q = tinyQuestion(r, false)
		_, err := Prove(t.Context(), verifier(t, q.m, 1), q.g, q.p, o)
		require.NoError(t, err)
	}
	for want, damage := range map[string]func(st *State){
		"options: got":                    func(st *State) { st.Options += " " },
		"budget: got 1":                   func(st *State) { st.Budget = 1 },
		"node: got 99":                    func(st *State) { st.Node = 99 },
		"bounds: of 0 nodes":              func(st *State) { st.Bounds = nil },
		"bounds[0]: 0 and":                func(st *State) { st.Bounds = append([]verify.Interval{{}}, st.Bounds[1:]...) },
		"trees[0].parts: it is cut short": func(st *State) { st.Trees[0].Parts = st.Trees[0].Parts[:len(st.Trees[0].Parts)-1] },
		"trees[0]: 0 targets":             func(st *State) { st.Trees[0].Targets = nil },
		"nothing is open":                 func(st *State) { st.Trees = []SavedTree{{Targets: st.Trees[0].Targets}} },
		"which the network does not have": func(st *State) {
			st.Trees[0].Parts = append([]byte{0, 1, 22<<2 | 1, 0}, st.Trees[0].Parts[len(st.Trees[0].Parts)-4:]...)
		},
		"got the bound 1, want none":    func(st *State) { st.Trees[0].Parts = []byte{0, 0, 0, 0, 0x80, 0x3f} },
		"parts: got -1, and depth":      func(st *State) { st.Parts = -1 },
		"trees[0].targets: got {Row:77": func(st *State) { st.Trees[0].Targets = []verify.Target{{Row: 77}} },
	} {
		st := *good
		st.Trees = append([]SavedTree{}, good.Trees...)
		damage(&st)
		o.Resume = &st
		_, err := Prove(t.Context(), verifier(t, q.m, 1), q.g, q.p, o)
		require.ErrorContains(t, err, want)
	}
	o.Resume, o.Record = good, &Record{}
	_, err := Prove(t.Context(), verifier(t, q.m, 1), q.g, q.p, o)
	require.ErrorContains(t, err, "record")
}

// TestReadRecordRefuses: a record whose clause has no tree is none that can be written.
func TestReadRecordRefuses(t *testing.T) {
	r := &Record{Steps: []Step{{Layer: -1}}}
	_, err := ReadRecord(r.AppendTo(nil))
	require.ErrorContains(t, err, "step 0: got 0 trees of a clause, want one")
}
