// Package pieces is a yardstick for complete verification: it finds the exact minimum of a
// property on a box, in real arithmetic. A network of linear layers and bends (relu,
// leakyrelu, clip, maxpool) is affine on each of finitely many polytopes, and an affine
// function is least at a vertex. So all polytopes are listed by their vertices, which are
// rational: the box is divided at every kink of every neuron that has both signs on a
// polytope (each activation pattern that some input has is then one polytope, or a few), as
// in the double description method (Motzkin et al. 1953; adjacency as in Fukuda & Prodon
// 1996). It shares no code with the bounds that it is held against. Networks must be
// tiny: the number of polytopes grows with the number of neurons to the power of the number
// of inputs.
package pieces

import (
	"errors"
	"fmt"
	"math/big"

	"github.com/epsball/epsball/model"
	"github.com/epsball/epsball/net"
)

// ErrLarge says that a network has too many pieces on a box.
var ErrLarge = errors.New("pieces: too many of them")

// Minimum is what is least.
type Minimum struct {
	Value *big.Rat   // of the property: over clauses the least, of a clause's rows the largest
	At    []*big.Rat // an input where it is attained
	Scale float64    // the largest magnitude of a row at any vertex
	Count int        // of polytopes
}

// Find returns the exact minimum of a property on the inputs, channels first, of a box
// with lo ≤ input ≤ hi. It gives up with ErrLarge beyond so many polytopes.
func Find(m *model.Model, lo, hi []*big.Rat, p *net.Property, most int) (*Minimum, error) {
	if size := m.Arch.Input.Size(); len(lo) != size || len(hi) != size {
		return nil, fmt.Errorf("pieces: box of %d and %d numbers, want %d", len(lo), len(hi), size)
	}
	for k := range lo {
		if lo[k].Cmp(hi[k]) > 0 {
			return nil, fmt.Errorf("pieces: input %d is in [%v, %v], want numbers in order", k, lo[k], hi[k])
		}
	}
	n, err := newNetwork(m)
	if err != nil {
		return nil, err
	}
	if err := p.Validate(m.Arch.Classes()); err != nil {
		return nil, err
	}
	d := newDivision(lo, hi, most)
	for i := range n.layers {
		if l := &n.layers[i]; l.bend != nil {
			act := l.in
			size := len(d.regions[0][0].values(n, act).n)
			for _, kink := range l.kinks(size) {
				if err := d.cut(func(v *vertex) number { return kink(v.values(n, act)) }); err != nil {
					return nil, err
				}
			}
		}
	}
	count := len(d.regions)
	best := &Minimum{Count: count}
	row := 0
	for _, rows := range p.ClauseRows(m.Arch.Classes()) {
		for i := range rows { // a clause is the largest of its rows: one more bend
			for j := range i {
				if err := d.cut(func(v *vertex) number { return v.values(n, len(n.layers)).difference(p, row+i, row+j) }); err != nil {
					return nil, err
				}
			}
		}
		seen := map[*vertex]bool{}
		for _, region := range d.regions {
			for _, v := range region {
				if seen[v] {
					continue
				}
				seen[v] = true
				best.lower(v, clause(v.values(n, len(n.layers)), p, row, rows, &best.Scale))
			}
		}
		row += rows
	}
	return best, nil
}

// Rats returns numbers as fractions.
func Rats(list []float32) (out []*big.Rat) {
	for _, v := range list {
		out = append(out, rat(v))
	}
	return out
}

// At returns the exact value of a property at an input.
func At(m *model.Model, x []*big.Rat, p *net.Property) (*big.Rat, error) {
	n, err := newNetwork(m)
	if err != nil {
		return nil, err
	}
	return newVertex(newTensor(x)).values(n, len(n.layers)).property(p), nil
}

// Of returns the exact value of a property at outputs, all finite.
func Of(z []float64, p *net.Property) *big.Rat {
	out := make([]*big.Rat, len(z))
	for k, v := range z {
		out[k] = new(big.Rat).SetFloat64(v)
	}
	return newTensor(out).property(p)
}

// property is the value of a property at outputs.
func (t tensor) property(p *net.Property) (best *big.Rat) {
	row := 0
	for _, rows := range p.ClauseRows(len(t.n)) {
		if v := clause(t, p, row, rows, new(float64)); best == nil || v.Cmp(best) < 0 {
			best = v
		}
		row += rows
	}
	return best
}

func (m *Minimum) lower(v *vertex, value *big.Rat) {
	if m.Value != nil && m.Value.Cmp(value) <= 0 {
		return
	}
	m.Value, m.At = value, nil
	for k := range v.x.n {
		m.At = append(m.At, v.x.rat(k))
	}
}

// row is a row of a property at outputs.
func (t tensor) row(p *net.Property, r int) *big.Rat {
	s := new(big.Rat)
	if p.D != nil {
		s = rat(p.D[r])
	}
	for o := range t.n {
		s.Add(s, new(big.Rat).Mul(rat(p.C[r*len(t.n)+o]), t.rat(o)))
	}
	return s
}

func (t tensor) difference(p *net.Property, i, j int) number {
	d := t.row(p, i)
	d.Sub(d, t.row(p, j))
	return number{d.Num(), d.Denom()}
}

// clause is the largest of rows.
func clause(z tensor, p *net.Property, first, rows int, scale *float64) *big.Rat {
	var best *big.Rat
	for r := first; r < first+rows; r++ {
		v := z.row(p, r)
		f, _ := new(big.Rat).Abs(v).Float64()
		*scale = max(*scale, f)
		if best == nil || v.Cmp(best) > 0 {
			best = v
		}
	}
	return best
}
