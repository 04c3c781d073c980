package pieces

import (
	"math/big"
	"math/bits"
)

// tight is a set of constraints, each the end of an input or a kink.
type tight [6]uint64

func (t *tight) add(c int) { t[c/64] |= 1 << (c % 64) }

func (t tight) and(o tight) tight {
	for i := range t {
		t[i] &= o[i]
	}
	return t
}

func (t tight) in(o tight) bool { return t.and(o) == t }

func (t tight) count() (n int) {
	for _, w := range t {
		n += bits.OnesCount64(w)
	}
	return n
}

// vertex is one of a polytope, or of several that it is common to. What it computes
// does not depend on the polytope, since the network is continuous.
type vertex struct {
	x     tensor
	acts  []tensor // as far as they are needed yet
	tight tight

	cut  int // the last one that it has a value of
	side number
}

func newVertex(x tensor) *vertex { return &vertex{x: x, acts: []tensor{x}} }

// values returns an activation: 0 the input, i + 1 the output of layer i.
func (v *vertex) values(n *network, act int) tensor {
	for len(v.acts) <= act {
		v.acts = append(v.acts, n.layers[len(v.acts)-1].evaluate(v.acts))
	}
	return v.acts[act]
}

// division is a box cut into polytopes, each the list of its vertices. All have as many
// dimensions as inputs of the box vary.
type division struct {
	regions     [][]*vertex
	dimension   int
	constraints int
	most        int // regions
}

func newDivision(lo, hi []*big.Rat, most int) *division {
	d := &division{most: most}
	corners := []*vertex{newVertex(tensor{})}
	var x [][]*big.Rat
	x = append(x, nil)
	for k := range lo {
		if lo[k].Cmp(hi[k]) == 0 {
			for i := range x {
				x[i] = append(x[i], lo[k])
			}
			continue
		}
		d.dimension++
		var more [][]*big.Rat
		var vertices []*vertex
		for i, c := range x {
			for end, v := range [2]*big.Rat{lo[k], hi[k]} {
				w := &vertex{tight: corners[i].tight}
				w.tight.add(d.constraints + end)
				vertices, more = append(vertices, w), append(more, append(c[:len(c):len(c)], v))
			}
		}
		d.constraints += 2
		x, corners = more, vertices
	}
	for i, c := range corners {
		c.x = newTensor(x[i])
		c.acts = []tensor{c.x}
	}
	d.regions = [][]*vertex{corners}
	return d
}

// cut divides the polytopes on both sides of the zeros of a function that is affine on each.
func (d *division) cut(f func(v *vertex) number) error {
	c := d.constraints
	if d.constraints++; c >= 64*len(tight{}) {
		return ErrLarge
	}
	type edge [2]*vertex
	made := map[edge]*vertex{} // of edges that several polytopes share
	var out [][]*vertex
	for _, region := range d.regions {
		var above, below, on []*vertex
		for _, v := range region {
			if v.cut != c+1 {
				if v.cut, v.side = c+1, f(v); v.side.n.Sign() == 0 {
					v.tight.add(c)
				}
			}
			switch v.side.n.Sign() {
			case 1:
				above = append(above, v)
			case -1:
				below = append(below, v)
			default:
				on = append(on, v)
			}
		}
		if len(above) == 0 || len(below) == 0 {
			out = append(out, region)
			continue
		}
		for _, v := range above {
			for _, w := range below {
				if !d.adjacent(region, v, w) {
					continue
				}
				m := made[edge{v, w}]
				if m == nil {
					m = between(v, w)
					m.tight.add(c)
					m.cut, m.side = c+1, number{new(big.Int), big.NewInt(1)}
					made[edge{v, w}] = m
				}
				on = append(on, m)
			}
		}
		out = append(out, append(above, on...), append(below, on...))
		if len(out) > d.most {
			return ErrLarge
		}
	}
	d.regions = out
	return nil
}

// adjacent reports whether two vertices have an edge in common: whether no other one has
// all the constraints that both have.
func (d *division) adjacent(region []*vertex, v, w *vertex) bool {
	both := v.tight.and(w.tight)
	if both.count() < d.dimension-1 {
		return false
	}
	for _, u := range region {
		if u != v && u != w && both.in(u.tight) {
			return false
		}
	}
	return true
}

// between returns the point of the edge from v, where the function is a > 0, to w, where it
// is −b < 0, at which it is 0: (a·w + b·v)/(a + b).
func between(v, w *vertex) *vertex {
	a := new(big.Int).Mul(v.side.n, w.side.den)
	b := new(big.Int).Mul(w.side.n, v.side.den)
	b.Neg(b)
	both := new(big.Int).Add(a, b)
	a.Mul(a, v.x.den)
	b.Mul(b, w.x.den)
	x := tensor{den: both.Mul(both, v.x.den)}
	x.den.Mul(x.den, w.x.den)
	divisor := new(big.Int).Set(x.den)
	for k := range v.x.n {
		z := new(big.Int).Mul(a, w.x.n[k])
		z.Add(z, new(big.Int).Mul(b, v.x.n[k]))
		x.n = append(x.n, z)
		divisor.GCD(nil, nil, divisor, new(big.Int).Abs(z))
	}
	for _, z := range append(x.n, x.den) {
		z.Quo(z, divisor)
	}
	m := newVertex(x)
	m.tight = v.tight.and(w.tight)
	return m
}
