package pieces

import (
	"math"
	"math/big"
	"math/rand/v2"

	"github.com/epsball/epsball/internal/round"
	"github.com/epsball/epsball/net"
)

// Shift is a case's property with a constant added to its rows, and where its minimum is then.
type Shift struct {
	Property *net.Property
	Least    *big.Rat // exactly

	// Clear is 1 or −1 where the minimum is above or below 0 by a twentieth of the rows'
	// magnitude, 0 where it is near to 0, or next to it.
	Clear int
}

// Shift draws a constant.
func (c *Case) Shift(m *Minimum, r *rand.Rand) *Shift {
	s := &Shift{}
	zero := new(big.Rat).Neg(m.Value) // brings the minimum to 0
	f, _ := zero.Float64()
	var d float32
	switch r.IntN(6) {
	case 0, 1:
		s.Clear = 1
	case 2:
		s.Clear = -1
	case 3:
		d = float32(f + math.Copysign(m.Scale*0x1p-12, r.NormFloat64()))
	case 4: // at most 0, and 0 if that is a float32
		d = round.Down(zero)
	default:
		d = round.Up(zero)
	}
	if s.Clear != 0 {
		d = float32(f + 0.05*m.Scale*float64(s.Clear))
		if m.Scale == 0 {
			d = float32(s.Clear)
		}
	}
	s.Least = new(big.Rat).Add(m.Value, rat(d))
	p := *c.Rows
	p.D = make([]float32, len(p.C)/c.Model.Arch.Classes())
	for k := range p.D {
		p.D[k] = d
	}
	s.Property = &p
	return s
}

// Nearest is the float32 input of the box nearest to where the minimum is.
func (c *Case) Nearest(m *Minimum) []float32 {
	x := make([]float32, len(m.At))
	for k, v := range m.At {
		f, _ := v.Float32()
		x[k] = min(max(f, c.Lo[k]), c.Hi[k])
	}
	return x
}

// Above reports whether v, a claimed lower bound, is above the least value.
func (s *Shift) Above(v float32) bool { return round.Above(v, s.Least) }
