package verify

import "github.com/epsball/epsball/net"

// 7d. An add that is a node of its own, of activations within ρ₁ of κ₁ and ρ₂ of κ₂, is
// step 6 with s₁ + s₂ in the place of a chain: T counts the terms of a summand that the
// add alone reads, and 1 for another. δ ≥ γ_T is among those for which their r′ are made,
// so r₁′ ≥ ρ₁ + γ_T(|κ₁| + ρ₁), and IntervalAdd covers the rounding of fl(κ₁ + κ₂).
//
// 7e. Concat copies, centres and r′ alike: those who read the copy count as readers of
// what is copied when the largest δ for its r′ is chosen.

// sumInterval is that of a Sum.
type sumInterval struct{}

func (sumInterval) form() form                { return centred }
func (sumInterval) bytes() int                { return 0 }
func (sumInterval) room() (tensors, size int) { return 0, 0 }

func (sumInterval) forward(p *pass, n *net.Node, c, r []float32) {
	a, b := n.In[0], n.In[1]
	copy(c, p.c[a])
	copy(r, p.r[a])
	p.net.ISA().IntervalAdd(&p.sc[0], c, r, p.c[b][:len(c)], p.r[b][:len(c)], p.adding())
}

func (sumInterval) backward(v *IntervalView, i int, dc, dr []float32) {
	for _, k := range v.steps[i].node.In {
		v.handOn(k, dc, dr)
	}
}

// concatInterval is that of a Concat.
type concatInterval struct{}

func (concatInterval) form() form                { return ready }
func (concatInterval) bytes() int                { return 0 }
func (concatInterval) room() (tensors, size int) { return 0, 0 }

func (concatInterval) forward(p *pass, n *net.Node, c, r []float32) {
	at, lanes := 0, int(p.layout)
	for _, k := range n.In {
		ch := p.channels(k)
		for px := range p.blocks * n.Shape.H * n.Shape.W {
			to, from := (px*n.Shape.C+at)*lanes, px*ch*lanes
			copy(c[to:to+ch*lanes], p.c[k][from:])
			copy(r[to:to+ch*lanes], p.r[k][from:])
		}
		at += ch
	}
}

func (concatInterval) backward(v *IntervalView, i int, dc, dr []float32) {
	n := v.steps[i].node
	at, lanes := 0, int(v.layout)
	for _, k := range n.In {
		ch := v.channels(k)
		v.hand(k, func(c, r []float32) {
			for px := range v.blocks * n.Shape.H * n.Shape.W {
				to, from := px*ch*lanes, (px*n.Shape.C+at)*lanes
				copy(c[to:to+ch*lanes], dc[from:])
				copy(r[to:to+ch*lanes], dr[from:])
			}
		})
		at += ch
	}
}

// channels returns those of activation k.
func (p *program) channels(k int) int {
	if k == 0 {
		return p.net.Input().C
	}
	return p.net.Nodes()[k-1].Shape.C
}
