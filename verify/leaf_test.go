package verify

import (
	"context"
	"math"
	"math/big"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/epsball/epsball/kernels"
	"github.com/epsball/epsball/model"
	"github.com/epsball/epsball/net"
)

// inside reports whether an evaluation belongs to the parts of splits, by what nodes read of it.
func inside(n *net.Network, splits []Split, e *evaluation) bool {
	for _, s := range splits {
		node := &n.Nodes()[s.Node]
		read := func(k int) *big.Float { return e.values[s.Node][k] }
		if !node.ReLU {
			from := node.In[0] - 1
			read = func(k int) *big.Float {
				if n.Nodes()[from].ReLU {
					return larger(e.values[from][k], number(0))
				}
				return e.values[from][k]
			}
		}
		var a *big.Float
		b := number(float64(s.At))
		if p, ok := node.Op.(*net.Pool); ok && !node.ReLU {
			m := extent{p.Sliding.InH, p.Sliding.InW, p.Sliding.C}
			a, b = read(at(int(s.First), m)), read(at(int(s.Second), m))
		} else {
			a = read(atShape(s.Neuron, node.Shape))
		}
		if c := a.Cmp(b); s.Phase == Active && c < 0 || s.Phase == Inactive && c > 0 {
			return false
		}
	}
	return true
}

// leafBelow looks for an evaluation of a leaf that is below its bound.
func leafBelow(n *net.Network, g *Region, p *Property, l *Leaf, r *rand.Rand, points int) (bad string, within int) {
	for range points {
		x := g.point(r)
		if x == nil {
			continue
		}
		for _, e := range evaluations(n, x, r) {
			if !inside(n, l.Splits, &e) {
				continue
			}
			within++
			if l.Low-l.Low != 0 {
				if l.Low > 0 {
					return e.how + ": an empty leaf has an element", within
				}
				continue
			}
			z := number(0)
			if t := l.Target; t.Row >= 0 {
				z = e.row(p, t.Row, n.Output())
			} else {
				z.Set(e.values[t.Node][atShape(t.Neuron, n.Nodes()[t.Node].Shape)])
				if t.Minus {
					z.Neg(z)
				}
			}
			if z.Cmp(number(float64(l.Low))) < 0 {
				return e.how + ": below the bound", within
			}
		}
	}
	return "", within
}

// randomSplit draws one of node i, often of a neuron that is split already.
func randomSplit(d *Domain, i int, before []Split, r *rand.Rand) Split {
	p := &d.net.Nodes()[i]
	s := Split{Node: i, Neuron: r.IntN(p.Shape.Size()), Phase: Phase(1 + r.IntN(2))}
	if len(before) > 0 && before[len(before)-1].Node == i && r.IntN(2) == 0 {
		s.Neuron = before[len(before)-1].Neuron
	}
	switch SplitsOf(p) {
	case KinkSplits:
		op := p.Op.(*net.Elementwise)
		s.At = []float32{op.Min, op.Max}[r.IntN(2)]
	case PointSplits:
		iv := d.Interval(p.In[0] - 1)
		lo, hi := iv.Lower[s.Neuron], iv.Upper[s.Neuron]
		s.At = []float32{0, (lo + hi) / 2, lo + (hi-lo)*r.Float32(), hi + 1, lo}[r.IntN(5)]
	case PairSplits:
		o := p.Op.(*net.Pool).Sliding
		list := windowOf(nil, o, atShape(s.Neuron, p.Shape))
		if len(list) < 2 {
			return s
		}
		pair := r.Perm(len(list))
		m := extent{o.InH, o.InW, o.C}
		s.First, s.Second = int32(channelFirst(list[pair[0]], m)), int32(channelFirst(list[pair[1]], m))
	}
	return s
}

// randomLeaf divides a frame at random; nil if it cannot be.
func randomLeaf(v *Verifier, frame *Domain, r *rand.Rand) *Leaf {
	nodes := v.net.Nodes()
	t := Target{Row: r.IntN(len(frame.Rows()))}
	if linear := r.IntN(len(nodes)); r.IntN(3) == 0 && isLinear(&nodes[linear]) {
		t = Target{Row: -1, Node: linear, Neuron: r.IntN(nodes[linear].Shape.Size()), Minus: r.IntN(2) == 0}
	}
	l := NewLeaf(frame, t)
	for range 40 {
		i := r.IntN(len(nodes))
		if SplitsOf(&nodes[i]) == NoSplits || t.Row < 0 && i >= t.Node {
			continue
		}
		s := randomSplit(frame, i, l.Splits, r)
		if s.validate(v.net) != nil { // of a window of one element
			continue
		}
		l = l.Child(s)
		if len(l.Splits) > r.IntN(5) {
			break
		}
	}
	if len(l.Splits) == 0 {
		return nil
	}
	if r.IntN(2) == 0 { // any multipliers are sound
		l.beta = make([]float32, len(l.Splits))
		for k := range l.beta {
			l.beta[k] = float32(r.ExpFloat64() * math.Pow(10, float64(r.IntN(4)-2)))
		}
	}
	return l
}

// TestLeavesSound: no evaluation, exact or executed, that has the phases of a leaf is below
// its bound, whatever the multipliers are and however they were optimised. With a phase
// turned round that is noticed.
func TestLeavesSound(t *testing.T) {
	pool := kernels.NewPool(1)
	defer pool.Close()
	r := rand.New(rand.NewPCG(3, 9))
	archs := append(layerArchitectures(), deeper()...)
	divided, within, better, turned := 0, 0, 0, 0
	var kinds [PairSplits + 1]int // of candidates
	for round := range trials(t, 150) {
		a := archs[round%len(archs)]
		if round%3 == 1 {
			a = randomLayers(r)
		}
		m := newLayers(t, a, uint64(round), r)
		if round%5 == 1 {
			cruel(m, r)
		}
		n, err := net.Compile(m, net.Options{})
		require.NoError(t, err)
		v, err := New(n, pool)
		v.FirstPlanes()
		require.NoError(t, err)
		g, p := randomRegion(a.Input.Size(), r), randomProperty(a.Classes(), r)
		if r.IntN(3) > 0 {
			g = Around(net.Ball{Norm: net.Norm(r.IntN(3)), Eps: net.MustEpsilon([]string{"0.1", "1/3", "1"}[r.IntN(3)])}, randomImage(a.Input.Size(), r))
		}
		if g.validate(n) != nil {
			continue
		}
		frame, err := v.Root(g, p)
		require.NoError(t, err)
		require.NoError(t, v.BoundDomains(t.Context(), Options{Method: Method(r.IntN(4)), Iterations: 2}, 0, frame))
		if frame.Empty() {
			continue
		}
		var leaves []*Leaf
		for range 1 + r.IntN(20) {
			if l := randomLeaf(v, frame, r); l != nil {
				leaves = append(leaves, l)
			}
		}
		steps := r.IntN(4)
		require.NoError(t, v.BoundLeaves(t.Context(), LeafOptions{Steps: steps, Candidates: r.IntN(4)}, leaves...))
		for _, l := range leaves {
			bad, in := leafBelow(n, &g, p, l, r, 4)
			require.Empty(t, bad, "%s %+v steps %d", a.CanonicalJSON(), l.Target, steps)
			divided++
			within += min(in, 1)
			if l.Target.Row >= 0 && l.Low > frame.Rows()[l.Target.Row] {
				better++
			}
			for _, c := range l.Choice {
				c.Phase = Active
				require.NoError(t, v.Validate(c.Split))
				kinds[SplitsOf(&n.Nodes()[c.Node])]++
			}
			k := r.IntN(len(l.Splits))
			false1 := *l
			false1.Splits = append([]Split(nil), l.Splits...)
			false1.Splits[k].Phase ^= Phase(both)
			if bad, _ := leafBelow(n, &g, p, &false1, r, 4); bad != "" {
				turned++
			}
		}
	}
	t.Logf("%d leaves, %d with evaluations in them, %d better than their frames; %d turned ones noticed", divided, within, better, turned)
	require.Greater(t, within, divided/8)
	require.Positive(t, better)
	require.Positive(t, turned)
	require.Positive(t, min(kinds[SignSplits], kinds[PointSplits], kinds[KinkSplits], kinds[PairSplits]), "%v", kinds)
}

// TestLeavesTogether: leaves have the same bounds, slopes and candidates on several workers,
// and those of their steps alone; more steps never make a bound worse.
func TestLeavesTogether(t *testing.T) {
	a := deeper()[11]
	m, err := model.Random(a, 1)
	require.NoError(t, err)
	r := rand.New(rand.NewPCG(5, 4))
	g, p := Around(net.Ball{Eps: net.MustEpsilon("0.05")}, randomImage(a.Input.Size(), r)), LabelProperty(a.Classes(), 1)
	var want []*Leaf
	for workers := 1; workers <= 3; workers++ {
		v := newCROWN(t, m, workers, Options{}).Verifier
		v.FirstPlanes()
		frame, err := v.Root(g, p)
		require.NoError(t, err)
		require.NoError(t, v.BoundDomains(t.Context(), Options{Method: MethodCROWN}, 0, frame))
		draw := rand.New(rand.NewPCG(8, 8))
		var leaves []*Leaf
		for len(leaves) < 300 {
			if l := randomLeaf(v, frame, draw); l != nil {
				leaves = append(leaves, l)
			}
		}
		require.NoError(t, v.BoundLeaves(t.Context(), LeafOptions{Steps: 3, Candidates: 3}, leaves...))
		for i, l := range leaves {
			if want != nil {
				require.Equal(t, want[i].Low, l.Low)
				require.Equal(t, want[i].Choice, l.Choice)
				require.Equal(t, want[i].beta, l.beta)
				require.Equal(t, want[i].slopes, l.slopes)
				require.Equal(t, want[i].planes, l.planes)
			}
		}
		if want == nil {
			for _, l := range leaves {
				c := *l
				c.Choice = append([]Candidate(nil), l.Choice...)
				want = append(want, &c)
			}
			require.NoError(t, v.BoundLeaves(t.Context(), LeafOptions{Steps: 5}, leaves...))
			for i, l := range leaves {
				require.GreaterOrEqual(t, l.Low, want[i].Low)
			}
		}
	}
}

func TestBadLeaves(t *testing.T) {
	a := &model.Architecture{Input: model.Shape{C: 1, H: 1, W: 2}, Layers: []model.Layer{fc(3), relu, fc(2)}}
	m, err := model.Random(a, 1)
	require.NoError(t, err)
	v := newCROWN(t, m, 1, Options{}).Verifier
	d, err := v.Root(BoxOf([]float32{-1, -1}, []float32{1, 1}), LabelProperty(2, 0))
	require.NoError(t, err)
	bound := func(l *Leaf) error { return v.BoundLeaves(t.Context(), LeafOptions{}, l) }
	require.ErrorContains(t, bound(NewLeaf(d, Target{})), "leaf 0: frame: want a domain")
	require.NoError(t, v.BoundDomains(t.Context(), Options{Method: MethodCROWN}, 0, d))
	require.ErrorContains(t, bound(NewLeaf(d, Target{Row: 1})), "row 1, want 0 … 0")
	require.ErrorContains(t, bound(NewLeaf(d, Target{Row: -1, Node: 2})), "node 2")
	require.ErrorContains(t, bound(NewLeaf(d, Target{Row: -1, Neuron: 3})), "neuron 3 of node 0, want 0 … 2")
	require.ErrorContains(t, bound(NewLeaf(d, Target{}).Child(Split{Node: 1, Phase: Active})), "want a neuron of a ReLU")
	for want, s := range map[string]Split{
		"want a neuron of the network":         {},
		"want it at 0":                         {Phase: Active, At: 1},
		"want First and Second of a maximum a": {Phase: Active, Second: 1},
	} {
		require.ErrorContains(t, bound(NewLeaf(d, Target{}).Child(s)), want)
	}
	require.ErrorContains(t, v.BoundLeaves(t.Context(), LeafOptions{Steps: -1}), "none below 0")
	require.NoError(t, v.BoundLeaves(t.Context(), LeafOptions{}))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	l := NewLeaf(d, Target{})
	require.ErrorIs(t, v.BoundLeaves(ctx, LeafOptions{Steps: 2}, l), context.Canceled)
	require.Equal(t, float32(math.Inf(-1)), l.Low)
}

// TestLeavesEnded: a run of many leaves of a convolution's neurons that its context ends
// within leaves the rest as they were.
func TestLeavesEnded(t *testing.T) {
	a := deeper()[11]
	m, err := model.Random(a, 1)
	require.NoError(t, err)
	v := newCROWN(t, m, 1, Options{}).Verifier
	r := rand.New(rand.NewPCG(5, 4))
	frame, err := v.Root(Around(net.Ball{Eps: net.MustEpsilon("0.05")}, randomImage(a.Input.Size(), r)), LabelProperty(a.Classes(), 1))
	require.NoError(t, err)
	require.NoError(t, v.BoundDomains(t.Context(), Options{Method: MethodCROWN}, 0, frame))
	for left := range 12 {
		var leaves []*Leaf
		for node, is := range v.Targets() {
			for k := range v.net.Nodes()[node].Shape.Size() {
				for range 9 {
					if is {
						leaves = append(leaves, NewLeaf(frame, Target{Row: -1, Node: node, Neuron: k}))
					}
				}
			}
		}
		require.NotEmpty(t, leaves)
		ended := &endsAfter{Context: context.Background()}
		ended.left.Store(int64(left))
		require.ErrorIs(t, v.BoundLeaves(ended, LeafOptions{Steps: 2, Candidates: 2}, leaves...), context.Canceled)
		for _, l := range leaves {
			require.True(t, l.slopes != nil || math.IsInf(float64(l.Low), -1))
		}
	}
}
