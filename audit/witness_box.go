package audit

import (
	"fmt"
	"math/big"

	"github.com/epsball/epsball/attack"
	"github.com/epsball/epsball/internal/round"
	"github.com/epsball/epsball/net"
	"github.com/epsball/epsball/verify"
)

// ExactBox is a set of inputs, channels first, with Lo ≤ input ≤ Hi: rational numbers of any
// size that float32 has. An input may be fixed to a number that is no float32.
type ExactBox struct{ Lo, Hi []*big.Rat }

// BoxOfRegion returns a region that is a box, or a ball of the L∞ norm, alone or within a
// box. For other norms the error is an *attack.NormError.
func BoxOfRegion(r verify.Region) (ExactBox, error) {
	var b ExactBox
	rat := func(v float32) (*big.Rat, error) {
		if v-v != 0 {
			return nil, fmt.Errorf("region: got %v, want finite numbers", v)
		}
		return new(big.Rat).SetFloat64(float64(v)), nil
	}
	size := max(len(r.Lo), len(r.Centre))
	if r.Lo != nil || r.Centre == nil {
		if err := net.CheckBox(r.Lo, r.Hi, size); err != nil {
			return b, err
		}
	}
	if r.Centre != nil {
		if r.Ball.Norm != net.Linf {
			return b, &attack.NormError{Norm: r.Ball.Norm, Want: []net.Norm{net.Linf}}
		}
		if err := r.Ball.Validate(); err != nil {
			return b, err
		}
		if len(r.Centre) != size {
			return b, fmt.Errorf("region: centre has %d numbers, the box %d", len(r.Centre), size)
		}
	}
	for k := range size {
		lo, hi := big.NewRat(0, 1), big.NewRat(1, 1)
		if r.Lo != nil {
			lo.SetFloat64(float64(r.Lo[k]))
			hi.SetFloat64(float64(r.Hi[k]))
		}
		if r.Centre != nil {
			c, err := rat(r.Centre[k])
			if err != nil {
				return b, err
			}
			eps := r.Ball.Eps.Rat()
			lo = larger(larger(lo, new(big.Rat).Sub(c, eps)), new(big.Rat))
			hi = smaller(smaller(hi, new(big.Rat).Add(c, eps)), big.NewRat(1, 1))
			if lo.Cmp(hi) > 0 {
				return b, fmt.Errorf("region: ball and box have no input %d in common", k)
			}
		}
		b.Lo, b.Hi = append(b.Lo, lo), append(b.Hi, hi)
	}
	return b, nil
}

func larger(a, b *big.Rat) *big.Rat {
	if a.Cmp(b) >= 0 {
		return a
	}
	return b
}

func smaller(a, b *big.Rat) *big.Rat {
	if a.Cmp(b) <= 0 {
		return a
	}
	return b
}

// validate names the first input that makes no sense.
func (b *ExactBox) validate(size int) error {
	if len(b.Lo) != size || len(b.Hi) != size {
		return fmt.Errorf("box: lo has %d numbers and hi %d, want %d", len(b.Lo), len(b.Hi), size)
	}
	for k, lo := range b.Lo {
		hi := b.Hi[k]
		if lo == nil || hi == nil || lo.Cmp(hi) > 0 {
			return fmt.Errorf("box: input %d is in [%v, %v], want numbers in order", k, lo, hi)
		}
		if l, h := round.Down(lo), round.Up(hi); l-l != 0 || h-h != 0 {
			return fmt.Errorf("box: input %d is in [%v, %v], want numbers that float32 reaches", k, lo.FloatString(6), hi.FloatString(6))
		}
	}
	return nil
}

// inner returns the float32 of the box; of inputs without any, the nearest one.
func (b *ExactBox) inner() attack.Box {
	in := attack.Box{Lo: make([]float32, len(b.Lo)), Hi: make([]float32, len(b.Lo))}
	for k, lo := range b.Lo {
		l, h := inward(lo, b.Hi[k])
		if l > h {
			l = between(lo, b.Hi[k])
			h = l
		}
		in.Lo[k], in.Hi[k] = l, h
	}
	return in
}

// inward returns the ends of the float32 in [lo, hi]; the first is larger if there are none.
func inward(lo, hi *big.Rat) (l, h float32) { return round.Up(lo), round.Down(hi) }

// between returns the float32 nearest to the middle of [lo, hi].
func between(lo, hi *big.Rat) float32 {
	m := new(big.Rat).Add(lo, hi)
	f, _ := m.Quo(m, big.NewRat(2, 1)).Float32()
	return f
}
