package branch

import (
	"container/heap"
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/epsball/epsball/internal/pieces"
	"github.com/epsball/epsball/internal/plain"
	"github.com/epsball/epsball/internal/testsize"
	"github.com/epsball/epsball/model"
	"github.com/epsball/epsball/net"
	"github.com/epsball/epsball/verify"
)

func dense(out int) model.Layer { return model.Layer{Kind: model.FC, Out: out} }

func leaky(slope ...float32) model.Layer {
	return model.Layer{Kind: model.LeakyReLU, Slope: slope}
}

// bending draws a network of LeakyReLUs, of a Clip before one, or of a maximum: of few pieces.
func bending(r *rand.Rand) *model.Architecture {
	slope := []float32{0.125, 0.5, -0.25, 1.5}[r.IntN(4)]
	switch r.IntN(3) {
	case 0:
		return &model.Architecture{Name: "leakyrelu", Input: model.Shape{C: 1, H: 1, W: 2 + r.IntN(2)}, Layers: []model.Layer{
			dense(2 + r.IntN(4)), leaky(slope), dense(2 + r.IntN(4)), leaky(0.25), dense(2 + r.IntN(2)),
		}}
	case 1:
		clip := model.Layer{Kind: model.Clip, Min: -float32(r.IntN(3)) / 4, Max: float32(1+r.IntN(3)) / 4}
		return &model.Architecture{Name: "clip", Input: model.Shape{C: 1, H: 1, W: 2 + r.IntN(2)}, Layers: []model.Layer{
			dense(2 + r.IntN(3)), clip, dense(2 + r.IntN(3)), leaky(slope), dense(2 + r.IntN(2)),
		}}
	}
	conv := model.Layer{Kind: model.Conv, Out: 2, Kernel: [2]int{2, 2}, Stride: [2]int{1, 1}}
	pool := model.Layer{Kind: model.MaxPool, Kernel: [2]int{2, 2}, Stride: [2]int{1, 1}}
	if r.IntN(2) == 0 {
		pool.Kernel[0] = 1
	}
	return &model.Architecture{Name: "maxpool", Input: model.Shape{C: 1, H: 3, W: 3}, Layers: []model.Layer{
		conv, pool, dense(2 + r.IntN(2)), leaky(slope), dense(2 + r.IntN(2)),
	}}
}

// bentTrial is newTrial of a network that bending draws.
func bentTrial(t *testing.T, seed uint64) *trial {
	r := rand.New(rand.NewPCG(9, seed))
	a := bending(r)
	c := &pieces.Case{Model: plain.Random(a, r), Rows: net.LabelProperty(a.Classes(), 0), Varying: 2}
	varying := r.Perm(a.Input.Size())[:2]
	for k := range a.Input.Size() {
		v := 2*r.Float32() - 1
		c.Lo, c.Hi = append(c.Lo, v), append(c.Hi, v)
		if slices.Contains(varying, k) {
			c.Hi[k] += 0.5 + r.Float32()
		}
	}
	m, err := pieces.Find(c.Model, pieces.Rats(c.Lo), pieces.Rats(c.Hi), c.Rows, 2000)
	if errors.Is(err, pieces.ErrLarge) {
		return nil
	}
	require.NoError(t, err)
	return &trial{c, c.Shift(m, r), m, r, verifier(t, c.Model, 1)}
}

// TestExhaustiveKinds is TestExhaustive of splits of LeakyReLUs, Clips and maxima.
func TestExhaustiveKinds(t *testing.T) {
	counts := map[string]int{}
	for seed := range testsize.Of(120, 60) {
		q := bentTrial(t, uint64(seed))
		if q == nil {
			counts["too large"]++
			continue
		}
		o := q.options(-1)
		o.Parts = min(o.Parts, 5000)
		res, err := Prove(t.Context(), q.v, verify.BoxOf(q.Lo, q.Hi), q.Property, o)
		require.NoError(t, err)
		require.Empty(t, q.wrong(res), "seed %d: %s", seed, q.Model.Arch.CanonicalJSON())
		name := q.Model.Arch.Name
		switch {
		case res.Proved && res.Depth > 0:
			counts[name+" proved by splits"]++
		case res.Proved:
			counts[name+" proved"]++
		case q.Clear > 0:
			counts["open"]++
			t.Logf("seed %d: open: %+v: %s", seed, res, q.Model.Arch.CanonicalJSON())
		default:
			counts[name+" not to be proved, or near"]++
		}
	}
	t.Log(counts)
	require.LessOrEqual(t, counts["open"], 1)
	require.GreaterOrEqual(t, min(counts["leakyrelu proved by splits"], counts["clip proved by splits"], counts["maxpool proved by splits"]), 2)
}

// curves draws a network of two inputs that S-shaped functions bend.
func curves(r *rand.Rand) *model.Model {
	s := []model.Layer{{Kind: model.Sigmoid}, {Kind: model.Tanh}}
	return plain.Random(&model.Architecture{Name: "curves", Input: model.Shape{C: 1, H: 1, W: 2}, Layers: []model.Layer{
		dense(3 + r.IntN(3)), s[r.IntN(2)], dense(3 + r.IntN(2)), s[r.IntN(2)], dense(2),
	}}, r)
}

// curveBox is a box of two inputs with bounds of z₀ − z₁ on it.
type curveBox struct {
	lo, hi [2]float64
	low    float64
}

type curveBoxes []curveBox

func (q curveBoxes) Len() int           { return len(q) }
func (q curveBoxes) Less(i, j int) bool { return q[i].low < q[j].low }
func (q curveBoxes) Swap(i, j int)      { q[i], q[j] = q[j], q[i] }
func (q *curveBoxes) Push(x any)        { *q = append(*q, x.(curveBox)) }
func (q *curveBoxes) Pop() any {
	x := (*q)[len(*q)-1]
	*q = (*q)[:len(*q)-1]
	return x
}

// differences bounds z₀ − z₁ on a box by intervals in float64.
func differences(m *model.Model, lo, hi [2]float64) (low, high float64) {
	l, h := lo[:], hi[:]
	for i, layer := range m.Arch.Layers {
		switch layer.Kind {
		case model.FC:
			p, last := &m.Params[i], i == len(m.Arch.Layers)-1
			var nl, nh []float64
			row := func(w func(k int) float64, b float64) {
				a, c := b, b
				for k := range l {
					v := w(k)
					a += min(v*l[k], v*h[k])
					c += max(v*l[k], v*h[k])
				}
				nl, nh = append(nl, a), append(nh, c)
			}
			n := len(l)
			if last {
				row(func(k int) float64 { return float64(p.W[k]) - float64(p.W[n+k]) }, float64(p.B[0])-float64(p.B[1]))
				return nl[0], nh[0]
			}
			for o := range layer.Out {
				row(func(k int) float64 { return float64(p.W[o*n+k]) }, float64(p.B[o]))
			}
			l, h = nl, nh
		default:
			f := math.Tanh
			if layer.Kind == model.Sigmoid {
				f = func(z float64) float64 { return 1 / (1 + math.Exp(-z)) }
			}
			for k := range l {
				l[k], h[k] = f(l[k]), f(h[k])
			}
		}
	}
	panic("no fc at the end")
}

// leastDifference brackets the minimum of z₀ − z₁ on a box, by subdivision: it is between low
// and a value that a point has, but for float64, and how large the differences are.
func leastDifference(m *model.Model, lo, hi [2]float64) (low, attained, scale float64) {
	at := func(b *curveBox) float64 {
		c := [2]float64{(b.lo[0] + b.hi[0]) / 2, (b.lo[1] + b.hi[1]) / 2}
		v, _ := differences(m, c, c)
		return v
	}
	root := curveBox{lo: lo, hi: hi}
	low, high := differences(m, lo, hi)
	root.low, scale, attained = low, max(math.Abs(low), math.Abs(high)), at(&root)
	q := curveBoxes{root}
	for attained-q[0].low > 0.003*scale {
		b := heap.Pop(&q).(curveBox)
		k := 0
		if b.hi[1]-b.lo[1] > b.hi[0]-b.lo[0] {
			k = 1
		}
		for side := range 2 {
			c := b
			if mid := (b.lo[k] + b.hi[k]) / 2; side == 0 {
				c.hi[k] = mid
			} else {
				c.lo[k] = mid
			}
			c.low, _ = differences(m, c.lo, c.hi)
			attained = min(attained, at(&c))
			heap.Push(&q, c)
		}
	}
	return q[0].low, attained, scale
}

// curveQuestion is a property of a network of curves that holds with a little room, or fails.
func curveQuestion(r *rand.Rand, holds bool) (q question) {
	q.m, q.holds = curves(r), holds
	e := 0.2 + r.Float32()/2
	q.g, q.p = verify.BoxOf([]float32{-e, -e}, []float32{e, e}), verify.LabelProperty(2, 0)
	low, attained, scale := leastDifference(q.m, [2]float64{-float64(e), -float64(e)}, [2]float64{float64(e), float64(e)})
	d := 0.03*scale - low
	if !holds {
		d = -0.001*scale - attained
	}
	q.p.D = []float32{float32(d)}
	q.low = attained + float64(q.p.D[0])
	return q
}

// TestCurves: searches that split S-shaped functions prove what holds with a little room, and
// nothing that does not, as a subdivision in float64 has it.
func TestCurves(t *testing.T) {
	r := rand.New(rand.NewPCG(4, 19))
	proved, split, open, refuted := 0, 0, 0, 0
	for i := range testsize.Of(24, 9) {
		q := curveQuestion(r, i%3 > 0)
		o := Options{FewInputs: -1, Parts: 100, Root: verify.Options{Method: verify.MethodCROWN}}
		if q.holds {
			o.Parts = 2000
		}
		res, err := Prove(t.Context(), verifier(t, q.m, 1), q.g, q.p, o)
		require.NoError(t, err)
		require.LessOrEqual(t, float64(res.Low), q.low+1e-6)
		require.False(t, res.Proved && !q.holds)
		switch {
		case res.Proved:
			proved++
			split += min(res.Depth, 1)
		case q.holds:
			open++
			t.Logf("open: %+v", res)
		default:
			refuted++
		}
	}
	t.Logf("%d proved, %d of them by splits, %d open; %d refuted", proved, split, open, refuted)
	require.LessOrEqual(t, open, 2)
	require.GreaterOrEqual(t, split, testsize.Of(4, 1))
	require.Positive(t, refuted)
}

// TestKindsResume: searches with splits of other kinds than ReLUs' that are stopped again and
// again, in little memory or not, prove what one run proves, on any number of workers.
func TestKindsResume(t *testing.T) {
	r := rand.New(rand.NewPCG(6, 19))
	proved, several := 0, 0
	for i := range 9 {
		q := curveQuestion(r, i%3 > 0)
		if i%2 == 0 {
			var b *trial
			for seed := uint64(100 * i); b == nil || (b.Clear > 0) != (i%3 > 0) || b.Model.Arch.Name != "maxpool"; seed++ {
				b = bentTrial(t, seed)
			}
			q = question{m: b.Model, g: verify.BoxOf(b.Lo, b.Hi), p: b.Property, holds: b.Clear > 0}
			q.low, _ = b.Least.Float64()
		}
		o := Options{FewInputs: -1, Parts: 3000, Round: 4, Root: verify.Options{Method: verify.MethodCROWN}}
		if !q.holds {
			o.Parts = 60
		}
		var want Result
		for workers := 1; workers <= 2; workers++ {
			res, err := Prove(t.Context(), verifier(t, q.m, workers), q.g, q.p, o)
			require.NoError(t, err)
			require.Equal(t, q.holds, res.Proved)
			require.True(t, workers == 1 || want == res)
			want = res
		}
		for _, memory := range []int{0, 2000} {
			o := o
			o.Parts, o.Memory = 8, memory
			most := 8
			if q.holds {
				most = 600
			}
			res, runs := inSteps(t, q.m, q.g, q.p, o, most)
			require.Equal(t, q.holds, res.Proved, "%d, memory %d", i, memory)
			require.True(t, q.holds || float64(res.Low) <= q.low+1e-6)
			if res.Proved {
				proved++
				several += min(1, runs/3)
			}
		}
	}
	t.Logf("%d proved, %d of them in three runs or more", proved, several)
	require.Positive(t, several)
}

// kindFaults are mistakes that splits of other kinds than ReLUs' might have.
var kindFaults = map[string]func(s *search) bool{
	"both parts are the same": func(s *search) bool {
		return s.last(func(f *verify.Split) bool {
			f.Phase = verify.Active + verify.Inactive - f.Phase
			return true
		})
	},
	"a gap between parts": func(s *search) bool {
		return s.last(func(f *verify.Split) bool {
			if f.First == f.Second {
				f.At += []float32{0, 0.5, -0.5}[f.Phase]
			}
			return f.At != 0
		})
	},
	"another pair in one part": func(s *search) bool {
		return s.last(func(f *verify.Split) bool {
			f.First, f.Second = f.Second, f.First
			return f.First != f.Second
		})
	},
}

// last edits the last split of an open part, if it has one.
func (s *search) last(edit func(f *verify.Split) bool) bool {
	k := s.several()
	if k == nil {
		return false
	}
	splits := slices.Clone(k.open.queue[0].leaves[0].Splits)
	if len(splits) == 0 || k.frame.Splits(splits[len(splits)-1].Node) == verify.SignSplits || !edit(&splits[len(splits)-1]) {
		return false
	}
	for _, l := range k.open.queue[0].leaves {
		l.Splits = splits
	}
	return true
}

// TestKindsFindFaults: the comparisons of TestExhaustiveKinds and TestCurves notice mistakes.
func TestKindsFindFaults(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 19))
	for name, fault := range kindFaults {
		found := ""
		for seed := uint64(0); seed < 100 && found == ""; seed++ {
			q := curveQuestion(r, false)
			if name == "another pair in one part" || name == "both parts are the same" && seed%2 == 0 {
				b := bentTrial(t, seed)
				if b == nil || b.Clear > 0 {
					continue
				}
				q = question{m: b.Model, g: verify.BoxOf(b.Lo, b.Hi), p: b.Property}
				q.low, _ = b.Least.Float64()
			}
			o := Options{FewInputs: -1, Steps: 6, Candidates: 4, Round: 8, Parts: 300, Root: verify.Options{Method: verify.MethodCROWN}}
			s := &search{ctx: context.Background(), v: verifier(t, q.m, 1), o: o}
			made := false
			s.o.Progress = func(Progress) { made = fault(s) || made }
			require.NoError(t, s.prove(q.g, q.p))
			if s.proved && q.low <= 0 || float64(s.low) > q.low+1e-6 {
				require.True(t, made)
				found = fmt.Sprintf("seed %d: proved %v, low %v, attained %v", seed, s.proved, s.low, q.low)
				t.Logf("%s: %s", name, found)
			}
		}
		require.NotEmpty(t, found, name)
	}
}
