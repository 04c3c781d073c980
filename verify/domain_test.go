package verify

import (
	"context"
	"math"
	"math/big"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/epsball/epsball/kernels"
	"github.com/epsball/epsball/model"
	"github.com/epsball/epsball/net"
)

// split is a phase that a leaf's domain has: of what is read by a node's function.
type split struct {
	node, neuron int
	phase        Phase
}

// leaf is a domain with all its phases.
type leaf struct {
	d      *Domain
	splits []split
}

// holds reports whether an evaluation has the phases of a leaf.
func (l *leaf) holds(n *net.Network, e *evaluation) bool {
	for _, s := range l.splits {
		node := &n.Nodes()[s.node]
		k, at := atShape(s.neuron, node.Shape), s.node
		if !node.ReLU {
			at = node.In[0] - 1
		}
		v := e.values[at][k]
		if n.Nodes()[at].ReLU && at != s.node {
			v = larger(v, number(0))
		}
		if sign := v.Sign(); s.phase == Active && sign < 0 || s.phase == Inactive && sign > 0 {
			return false
		}
	}
	return true
}

// splittable draws a neuron with phases, one that is undecided if some try finds it.
func splittable(d *Domain, r *rand.Rand) (node, neuron int, ok bool) {
	nodes := d.net.Nodes()
	for range 60 {
		i := r.IntN(len(nodes))
		n := &nodes[i]
		at := i
		if e, is := n.Op.(*net.Elementwise); is && (e.Kind == model.ReLU || e.Kind == model.LeakyReLU) {
			at = n.In[0] - 1
		} else if !n.ReLU {
			continue
		}
		if at < 0 {
			continue
		}
		neuron = r.IntN(n.Shape.Size())
		node, ok = i, true
		iv := d.Interval(at)
		if iv.Lower[neuron] < 0 && iv.Upper[neuron] > 0 || r.IntN(20) == 0 {
			return node, neuron, true
		}
	}
	return node, neuron, ok
}

// grow divides a domain at random until there are so many leaves, and bounds them;
// plant turns the last phase round.
func grow(t *testing.T, v *Verifier, o Options, root *Domain, leaves int, r *rand.Rand, plant bool) []*leaf {
	t.Helper()
	list := []*leaf{{d: root}}
	for len(list) < leaves {
		k := r.IntN(len(list))
		parent := list[k]
		if parent.d.Empty() {
			if r.IntN(3) == 0 {
				break
			}
			continue
		}
		node, neuron, ok := splittable(parent.d, r)
		if !ok {
			break
		}
		var children []*leaf
		for _, p := range []Phase{Active, Inactive} {
			c := &leaf{parent.d.Clone(), append(parent.splits[:len(parent.splits):len(parent.splits)], split{node, neuron, p})}
			from, err := c.d.Fix(node, neuron, p)
			require.NoError(t, err)
			if plant {
				if list := c.d.nodes[from].phases; list != nil {
					at := atShape(neuron, v.net.Nodes()[node].Shape)
					list[at] ^= both
				}
			}
			if r.IntN(4) == 0 {
				from = r.IntN(len(v.net.Nodes())) // any is sound
			}
			require.NoError(t, v.BoundDomains(t.Context(), o, from, c.d))
			children = append(children, c)
		}
		if !plant {
			for j, low := range parent.d.Rows() { // two domains are never worse than the whole
				require.GreaterOrEqual(t, min(children[0].d.Rows()[j], children[1].d.Rows()[j]), low)
			}
			require.GreaterOrEqual(t, min(children[0].d.Margin(), children[1].d.Margin()), parent.d.Margin())
		}
		list = append(append(list[:k:k], list[k+1:]...), children...)
	}
	return list
}

// contradicted looks for an evaluation that breaks a bound of a leaf that it belongs to,
// or belongs to none.
func contradicted(n *net.Network, g *Region, p *Property, leaves []*leaf, r *rand.Rand, points int) (bad string) {
	for range points {
		x := g.point(r)
		if x == nil {
			continue
		}
		for _, e := range evaluations(n, x, r) {
			covered := false
			for _, l := range leaves {
				if !l.holds(n, &e) {
					continue
				}
				covered = true
				if l.d.Empty() {
					return e.how + ": an empty domain has an element"
				}
				for k, low := range l.d.Rows() {
					if !math.IsInf(float64(low), 0) && e.row(p, k, n.Output()).Cmp(number(float64(low))) < 0 {
						return e.how + ": a row is below its bound"
					}
				}
				for i := range e.values {
					iv := l.d.Interval(i)
					for o, lo := range iv.Lower {
						z := e.values[i][atShape(o, n.Nodes()[i].Shape)]
						if outside(z, lo, iv.Upper[o]) {
							return e.how + ": a node is outside its interval"
						}
					}
				}
			}
			if !covered {
				return e.how + ": no domain covers it"
			}
		}
	}
	return ""
}

func outside(z *big.Float, lo, hi float32) bool {
	if lo-lo != 0 || hi-hi != 0 {
		return false
	}
	return z.Cmp(number(float64(lo))) < 0 || z.Cmp(number(float64(hi))) > 0
}

// TestDomainsSound: every evaluation belongs to a domain of a division of the region, and
// obeys the bounds of all that it belongs to; the domains are never worse than what they
// were made of, and often better. With phases turned round, or a domain left out, that
// is noticed.
func TestDomainsSound(t *testing.T) {
	pool := kernels.NewPool(1)
	defer pool.Close()
	r := rand.New(rand.NewPCG(21, 4))
	archs := append(layerArchitectures(), deeper()...)
	better, empty, missing, turned, divided := 0, 0, 0, 0, 0
	for round := range trials(t, 300) {
		a := archs[round%len(archs)]
		if round%3 == 1 {
			a = randomLayers(r)
		}
		m := newLayers(t, a, uint64(round), r)
		if round%5 == 1 {
			cruel(m, r)
		}
		n, err := net.Compile(m, net.Options{Batches: net.Batches(r.IntN(3))})
		require.NoError(t, err)
		v, err := New(n, pool)
		v.FirstPlanes()
		require.NoError(t, err)
		g, p := randomRegion(a.Input.Size(), r), randomProperty(a.Classes(), r)
		if r.IntN(3) > 0 { // wide enough to be divided
			g = Around(net.Ball{Norm: net.Norm(r.IntN(3)), Eps: net.MustEpsilon([]string{"0.1", "1/3", "1"}[r.IntN(3)])}, randomImage(a.Input.Size(), r))
		}
		if g.validate(n) != nil {
			continue
		}
		o := Options{Method: Method(r.IntN(4)), Iterations: 3, RowsOnly: r.IntN(2) == 0}
		root, err := v.Root(g, p)
		require.NoError(t, err)
		require.NoError(t, v.BoundDomains(t.Context(), o, 0, root))
		before := append([]float32(nil), root.Rows()...)
		leaves := grow(t, v, o, root.Clone(), 2+r.IntN(5), r, false)
		require.Equal(t, before, root.Rows(), "copies share nothing that changes")
		require.Empty(t, contradicted(n, &g, p, leaves, r, 6), "%s %v", a.CanonicalJSON(), o)
		if len(leaves) == 1 {
			continue
		}
		divided++
		least := float32(math.Inf(1))
		for _, l := range leaves {
			least = min(least, l.d.Rows()[0])
			if l.d.Empty() {
				empty++
			}
		}
		if least > root.Rows()[0] {
			better++
		}
		k := r.IntN(len(leaves))
		if contradicted(n, &g, p, append(leaves[:k:k], leaves[k+1:]...), r, 4) != "" {
			missing++
		}
		if contradicted(n, &g, p, grow(t, v, o, root.Clone(), 3, r, true), r, 4) != "" {
			turned++
		}
	}
	t.Logf("%d divided: %d better, %d empty domains; %d missing and %d turned ones noticed", divided, better, empty, missing, turned)
	require.Greater(t, divided, trials(t, 300)/3)
	require.Greater(t, better, divided/20)
	require.Positive(t, empty)
	require.Greater(t, missing, divided/4)
	require.Greater(t, turned, divided/4)
}

// TestRootDomain: bounded from node 0 on it has the bits of the bounds of the region,
// by every method; again from any node on, it stays as it is or gets better.
func TestRootDomain(t *testing.T) {
	pool := kernels.NewPool(1)
	defer pool.Close()
	r := rand.New(rand.NewPCG(9, 4))
	for _, a := range append(layerArchitectures(), deeper()...) {
		m := newLayers(t, a, 4, r)
		n, err := net.Compile(m, net.Options{})
		require.NoError(t, err)
		v, err := New(n, pool)
		v.FirstPlanes()
		require.NoError(t, err)
		for method := range Methods() {
			for norm := range 3 {
				ball := net.Ball{Norm: net.Norm(norm), Eps: net.MustEpsilon("0.04")}
				g, y := Around(ball, randomImage(a.Input.Size(), r)), r.IntN(a.Classes())
				p := LabelProperty(a.Classes(), y)
				d, err := v.Root(g, p)
				require.NoError(t, err)
				require.True(t, math.IsInf(float64(d.Margin()), -1))
				var whole *Domain
				o := Options{Method: Method(method), Iterations: 2}
				for _, o.RowsOnly = range []bool{true, false} {
					whole, err = v.Root(g, p)
					require.NoError(t, err)
					require.NoError(t, v.BoundDomains(t.Context(), o, 0, whole))
					w, where := v.workers[0], g.area()
					try := newAttempt(t.Context(), &o, o.Method, goal{y: y})
					w.try(&try, &where)
					require.Equal(t, w.proved, whole.Rows(), "%s %v", a.Name, o.Method)
					for i := range n.Nodes() {
						require.Equal(t, channelsFirst(w.g.maps[i+1], w.lo[i], w.hi[i]), whole.Interval(i))
					}
					free := slices.ContainsFunc(v.graph.nodes, func(d node) bool { return d.sloped() })
					require.Equal(t, method == 3 && free, anySlopes(whole), "%s %v", a.Name, o.Method)
				}
				var res Result
				require.NoError(t, v.CertifyRung(t.Context(), o, ball, Batch{g.Centre, []int{y}}, &res))
				if method > 0 {
					require.Equal(t, res.Margin[0], whole.Margin(), "%s %v", a.Name, o.Method)
				}
				rows, intervals := append([]float32(nil), whole.Rows()...), whole.Interval(0)
				for from := range n.Nodes() {
					c := whole.Clone()
					require.NoError(t, v.BoundDomains(t.Context(), o, from, c))
					for k, low := range c.Rows() {
						require.GreaterOrEqual(t, low, rows[k])
						if method < 3 && from == len(n.Nodes())-1 {
							require.Equal(t, rows[k], low, "nothing is bounded anew")
						}
					}
					if from > 0 {
						require.Equal(t, intervals, c.Interval(0))
					}
				}
			}
		}
	}
}

func anySlopes(d *Domain) bool {
	for i := range d.nodes {
		for _, row := range d.Slopes(i) {
			for _, s := range row {
				if s >= 0 && s <= 1 {
					return true
				}
			}
		}
	}
	return false
}

// TestDomainsOfAPool: several at once have the bits that each has by itself; one that
// its context ends within is as it was; steady bounding allocates nothing.
func TestDomainsOfAPool(t *testing.T) {
	a := deeper()[11]
	m, err := model.Random(a, 1)
	require.NoError(t, err)
	v := newCROWN(t, m, 2, Options{}).Verifier
	r := rand.New(rand.NewPCG(1, 4))
	root, err := v.Root(Around(net.Ball{Eps: net.MustEpsilon("0.05")}, randomImage(a.Input.Size(), r)), LabelProperty(a.Classes(), 1))
	require.NoError(t, err)
	o := Options{Method: MethodCROWN}
	require.NoError(t, v.BoundDomains(t.Context(), o, 0, root))
	var list []*Domain
	for range 6 {
		node, neuron, ok := splittable(root, r)
		require.True(t, ok)
		for _, p := range []Phase{Active, Inactive} {
			d := root.Clone()
			_, err := d.Fix(node, neuron, p)
			require.NoError(t, err)
			list = append(list, d)
		}
	}
	var alone []*Domain
	for _, d := range list {
		c := d.Clone()
		require.NoError(t, v.BoundDomains(t.Context(), o, 0, c))
		alone = append(alone, c)
	}
	cut := list[0].Clone()
	ended := &endsAfter{Context: context.Background()}
	ended.left.Store(3)
	require.ErrorIs(t, v.BoundDomains(ended, o, 0, cut), context.Canceled)
	require.Equal(t, list[0].Rows(), cut.Rows())
	require.NoError(t, v.BoundDomains(t.Context(), o, 0, list...))
	for i, d := range list {
		require.Equal(t, alone[i].Rows(), d.Rows())
		require.Equal(t, alone[i].Empty(), d.Empty())
	}
	allocs := 1.0
	for try := 0; try < 20 && allocs > 0; try++ { // a worker allocates when it comes to its first domain, perhaps late
		allocs = testing.AllocsPerRun(5, func() { err = v.BoundDomains(context.Background(), o, 1, list...) })
	}
	require.Zero(t, allocs)
	require.NoError(t, err)
}

func TestBadDomains(t *testing.T) {
	norm := batchNorm
	a := &model.Architecture{Input: model.Shape{C: 1, H: 1, W: 2}, Layers: []model.Layer{relu, norm, tanh, fc(2), relu, fc(2)}}
	m, err := model.Random(a, 1)
	require.NoError(t, err)
	v := newCROWN(t, m, 1, Options{}).Verifier
	g := BoxOf([]float32{-1, -1}, []float32{1, 1})
	_, err = v.Root(g, nil)
	require.ErrorContains(t, err, "LabelProperty")
	_, err = v.Root(g, &Property{C: []float32{1}})
	require.ErrorContains(t, err, "property: C")
	_, err = v.Root(Region{}, LabelProperty(2, 0))
	require.ErrorContains(t, err, "region")
	d, err := v.Root(g, LabelProperty(2, 0))
	require.NoError(t, err)
	for want, try := range map[string]func() (int, error){
		"node 9: want 0 … 4":                    func() (int, error) { return d.Fix(9, 0, Active) },
		"phase 0":                               func() (int, error) { return d.Fix(3, 0, Undecided) },
		"neuron 2: node 3 has 0 … 1":            func() (int, error) { return d.Fix(3, 2, Active) },
		"node 2: it has no phases":              func() (int, error) { return d.Fix(2, 0, Active) },
		"node 0: it reads the input, whose box": func() (int, error) { return d.Fix(0, 0, Active) },
	} {
		_, err := try()
		require.ErrorContains(t, err, want)
	}
	require.ErrorContains(t, v.BoundDomains(t.Context(), Options{}, 6, d), "node 6: want 0 … 5")
	require.ErrorContains(t, v.BoundDomains(t.Context(), Options{Method: 7}, 0, d), "method")
	require.ErrorContains(t, newCROWN(t, m, 1, Options{}).BoundDomains(t.Context(), Options{}, 0, d), "another network")
	require.NoError(t, v.BoundDomains(t.Context(), Options{}, 0))
	// Either phase at once leaves zero.
	for _, p := range []Phase{Active, Inactive} {
		from, err := d.Fix(3, 1, p)
		require.NoError(t, err)
		require.Equal(t, 3, from)
	}
	require.NoError(t, v.BoundDomains(t.Context(), Options{Method: MethodCROWN}, 3, d))
	if !d.Empty() {
		iv := d.Interval(3)
		require.Zero(t, iv.Lower[1])
		require.Zero(t, iv.Upper[1])
	}
}
