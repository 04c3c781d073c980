package redteam

import (
	"fmt"
	"hash/fnv"
	"math"
	"math/big"
	"math/rand/v2"
	"slices"

	"github.com/epsball/epsball/net"
)

// Trap is a network built to fool verifiers (Jia & Rinard 2020, Zombori et al. 2021, Szász et
// al. 2025): among neurons with ordinary weights it hides one whose value in real arithmetic
// and as executed in Order are not the same, and the class depends on it. At X one of the two
// takes Y, the other another class, so neither bound nor proof may say that both take Y.
//
// Of a Hidden one, real numbers take the other class, and the execution hides it.
type Trap struct {
	*Case
	TrapKind
	Order    Order
	Executed []float32 // outputs at X in this order

	n      *network
	real   [][]*big.Float // activations at X
	acts   [][]float32    // the same, executed
	disarm func()
}

// Disarm makes of the trap a network that differs by one weight and one bias: all that the
// hidden neuron may do in any order is then a sixteenth of the margin.
func (t *Trap) Disarm() { t.disarm() }

// TrapKind is a gadget in a layout, one way or the other.
type TrapKind struct {
	Gadget, Layout string
	Hidden         bool
}

func (k TrapKind) String() string {
	way := "executed"
	if k.Hidden {
		way = "hidden"
	}
	return "trap-" + k.Gadget + "-" + k.Layout + "-" + way
}

// TrapKinds lists all.
func TrapKinds() (list []TrapKind) {
	for _, g := range gadgets {
		for _, l := range layouts {
			if slices.Contains(g.layouts, l.name) {
				list = append(list, TrapKind{g.name, l.name, false}, TrapKind{g.name, l.name, true})
			}
		}
	}
	return list
}

// DrawTrap returns the trap of a kind and a seed.
func DrawTrap(kind TrapKind, seed uint64) *Trap {
	t := &Trap{TrapKind: kind}
	g := gadgets[slices.IndexFunc(gadgets, func(g gadgetKind) bool { return g.name == kind.Gadget })]
	l := layouts[slices.IndexFunc(layouts, func(l layout) bool { return l.name == kind.Layout })]
	name := kind.String()
	h := fnv.New64a()
	h.Write([]byte(name))
	r := rand.New(rand.NewPCG(h.Sum64(), seed))
	const most = 1000
	for range most {
		b := &builder{Rand: r, y: -1}
		if t.set(b, l, g.draw(b)) {
			t.Family, t.Seed = name, seed
			return t
		}
	}
	panic(fmt.Sprintf("%s/%d: no trap in %d draws", name, seed, most))
}

func (t *Trap) String() string { return fmt.Sprintf("%s, %v", t.Case, t.Order) }

// set lays a trap; false: this draw makes none.
func (t *Trap) set(b *builder, l layout, g gadget) bool {
	h := b.hide(g, l)
	if h == nil {
		return false
	}
	n := newNetwork(b.m)
	t.Case = &Case{Model: b.m, X: b.x, Ball: net.Ball{Eps: net.MustEpsilon(b.eps)}}
	x := wide32(b.x)
	margin := t.favour(n.wide(x)[n.last])
	if margin < 0.05 {
		return false
	}
	exact, _ := n.exact(t.point32(b.x).real)[h.last][h.unit].Float64()
	wrong, ok := t.strayest(b, n, h, exact)
	if !ok || wrong == exact {
		return false
	}
	// Of the label's output: gain·value + bias, 0 where the label is to win, −2·margin where
	// it is to lose.
	gain, at := -2*margin/(wrong-exact), exact
	if t.Hidden {
		gain, at = -gain, wrong
	}
	bias := -gain * at
	if !(math.Abs(gain) < 1e38 && math.Abs(bias) < 1e30) {
		return false
	}
	p := &b.m.Params[len(b.m.Params)-1]
	w, v := &p.W[t.Y*(len(p.W)/len(p.B))+h.unit], &p.B[t.Y]
	was, safe := *v, math.Copysign(min(margin/(16*g.error()), math.Abs(gain)), gain)
	t.disarm = func() { *w, *v = float32(safe), was-float32(safe*at) }
	*w = float32(gain)
	*v += float32(bias)

	t.Rows = b.specification(t.Case)
	t.n = newNetwork(b.m)
	if t.acts, ok = t.n.run(b.x, t.Order); !ok || b.m.Validate() != nil {
		return false
	}
	t.real, t.Executed = t.n.exact(t.point32(t.X).real), t.acts[n.last]
	z := t.real[n.last]
	realWins, executedWins := true, true
	for o := range z {
		if o != t.Y {
			realWins = realWins && z[t.Y].Cmp(z[o]) > 0
			executedWins = executedWins && t.Executed[t.Y] > t.Executed[o]
		}
	}
	return realWins != t.Hidden && executedWins == t.Hidden
}

// favour makes the largest output the label's, and returns its margin.
func (t *Trap) favour(z []float64) (margin float64) {
	margin = math.Inf(1)
	for o, v := range z {
		if v > z[t.Y] {
			t.Y = o
		}
	}
	for o, v := range z {
		if o != t.Y {
			margin = min(margin, z[t.Y]-v)
		}
	}
	return margin
}

// strayest finds the order, of some, in which what the gadget tells is farthest from what it
// is; false: one of them overflows.
func (t *Trap) strayest(b *builder, n *network, h *hidden, exact float64) (wrong float64, ok bool) {
	orders := Orders()
	b.Shuffle(len(orders), func(i, j int) { orders[i], orders[j] = orders[j], orders[i] })
	wrong = exact
	for _, o := range orders[:1+b.IntN(len(orders))] {
		acts, ok := n.run(b.x, o)
		if !ok {
			return 0, false
		}
		if v := float64(acts[h.last][h.unit]); math.Abs(v-exact) > math.Abs(wrong-exact) {
			wrong, t.Order = v, o
		}
	}
	return wrong, true
}

// Refute holds claims against the two evaluations of the trap alone.
func (t *Trap) Refute(claims []Claim) Report {
	r := rand.New(rand.NewPCG(t.Seed, 98))
	j := &judge{Case: t.Case, n: t.n, e: executor{network: t.n, Rand: r}, claims: claims, found: map[string]bool{}}
	j.report.Networks = 1
	near := make([][]float64, len(t.n.sizes))
	for a, list := range t.real {
		for _, v := range list {
			f, _ := v.Float64()
			near[a] = append(near[a], f)
		}
	}
	j.compare("exact", near, t.real)
	for a, list := range t.acts {
		near[a] = wide32(list)
	}
	j.report.Executions++
	j.compare("executed "+t.Order.String(), near, nil)
	return j.report
}

func wide32(list []float32) (out []float64) {
	for _, v := range list {
		out = append(out, float64(v))
	}
	return out
}
