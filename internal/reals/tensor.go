package reals

import (
	"math"
	"math/big"
	"math/bits"

	"github.com/epsball/epsball/model"
)

// tensor holds rational numbers, channels first: n[k]·2^exp/den. Layers need few and small
// denominators, those of pixels, averages and standard deviations, so that integers over a
// common one stay short.
type tensor struct {
	n   []*big.Int
	exp int
	den *big.Int // > 0
}

func newTensor(x []*big.Rat) tensor {
	t := tensor{make([]*big.Int, len(x)), 0, big.NewInt(1)}
	for _, r := range x {
		t.den = lcm(t.den, r.Denom())
	}
	for k, r := range x {
		q := new(big.Int).Quo(t.den, r.Denom())
		t.n[k] = q.Mul(q, r.Num())
	}
	if zeros := t.den.TrailingZeroBits(); zeros > 0 {
		t.den = new(big.Int).Rsh(t.den, zeros)
		t.exp = -int(zeros)
	}
	return t
}

func lcm(a, b *big.Int) *big.Int {
	if b.IsInt64() && b.Int64() == 1 || a.Cmp(b) == 0 {
		return a
	}
	g := new(big.Int).GCD(nil, nil, a, b)
	return g.Mul(g.Quo(a, g), b)
}

// over returns t as integers over den, a multiple of its own, and a power of two not above
// its own.
func (t tensor) over(exp int, den *big.Int) tensor {
	if exp == t.exp && den.Cmp(t.den) == 0 {
		return t
	}
	q := new(big.Int).Quo(den, t.den)
	q.Lsh(q, uint(t.exp-exp))
	out := tensor{make([]*big.Int, len(t.n)), exp, den}
	for k, n := range t.n {
		out.n[k] = new(big.Int).Mul(n, q)
	}
	return out
}

// parts returns the integer and the exponent of f = m·2^e; 0 and the largest exponent of 0.
func parts(f float32) (m int64, e int) {
	if f == 0 {
		return 0, math.MaxInt32
	}
	fraction, exp := math.Frexp(float64(f))
	m, e = int64(fraction*(1<<24)), exp-24
	zeros := bits.TrailingZeros64(uint64(m))
	return m >> zeros, e + zeros
}

// lowest returns the smallest exponent of the numbers, at most limit.
func lowest(limit int, list ...float32) int {
	for _, f := range list {
		_, e := parts(f)
		limit = min(limit, e)
	}
	return limit
}

// scaled sets z to f·2^−exp, for an exp not above f's, and returns it.
func scaled(z *big.Int, f float32, exp int) *big.Int {
	m, e := parts(f)
	z.SetInt64(m)
	if m == 0 || e == exp {
		return z
	}
	return z.Lsh(z, uint(e-exp))
}

// constant returns f as an integer over t's denominator and power, which must be low enough.
func (t *tensor) constant(f float32) *big.Int {
	z := scaled(new(big.Int), f, t.exp)
	return z.Mul(z, t.den)
}

// adder adds up products of weights and numbers of a tensor.
type adder struct {
	t          *tensor
	exp        int // of the weights
	sum, w, pr big.Int
}

func (a *adder) add(w float32, k int) {
	if n := a.t.n[k]; w != 0 && n.Sign() != 0 {
		a.sum.Add(&a.sum, a.pr.Mul(scaled(&a.w, w, a.exp), n))
	}
}

// sign is that of a row at the outputs t.
func (t tensor) sign(c []float32, d float32) Sign {
	a := adder{t: &t, exp: lowest(0, c...)}
	for k, w := range c {
		a.add(w, k)
	}
	s := tensor{[]*big.Int{&a.sum}, t.exp + a.exp, t.den}
	s = s.over(lowest(s.exp, d), t.den)
	return Sign(new(big.Int).Add(s.n[0], s.constant(d)).Sign())
}

// sums computes an affine layer: each calls add for the terms of an output.
func (t *tensor) sums(outs int, weights, bias []float32, channel func(o int) int, each func(o int, add func(w float32, k int)), ended func() error) (tensor, error) {
	a := adder{t: t, exp: lowest(0, weights...)}
	z := tensor{make([]*big.Int, outs), t.exp + a.exp, t.den}
	exp := lowest(z.exp, bias...)
	shift := uint(z.exp - exp)
	z.exp = exp
	biases := make([]*big.Int, len(bias))
	for c, b := range bias {
		biases[c] = z.constant(b)
	}
	for o := range outs {
		if err := ended(); err != nil {
			return z, err
		}
		a.sum.SetInt64(0)
		each(o, a.add)
		a.sum.Lsh(&a.sum, shift)
		z.n[o] = new(big.Int).Add(&a.sum, biases[channel(o)])
	}
	return z, nil
}

// pair brings two tensors to one power and denominator.
func pair(a, b tensor) (tensor, tensor) {
	exp, den := min(a.exp, b.exp), lcm(a.den, b.den)
	return a.over(exp, den), b.over(exp, den)
}

// odd returns the odd part of d as an integer, and the power of two.
func odd(d float32) (*big.Int, int) {
	m, e := parts(d)
	return big.NewInt(m), e
}

// normalized is (x − mean)/std, by channel.
func (t tensor) normalized(l *model.Layer, channel func(o int) int) tensor {
	t = t.over(lowest(t.exp, l.Mean...), t.den)
	all, least := big.NewInt(1), math.MaxInt32
	for _, s := range l.Std { // std = m·2^e: over m, which is odd, and by 2^−e
		m, e := odd(s)
		all, least = lcm(all, m), min(least, -e)
	}
	means, by := make([]*big.Int, len(l.Mean)), make([]*big.Int, len(l.Mean))
	for c, s := range l.Std {
		m, e := odd(s)
		means[c] = t.constant(l.Mean[c])
		by[c] = m.Quo(all, m)
		by[c].Lsh(by[c], uint(-e-least))
	}
	z := tensor{make([]*big.Int, len(t.n)), t.exp + least, new(big.Int).Mul(t.den, all)}
	for o, n := range t.n {
		v := new(big.Int).Sub(n, means[channel(o)])
		z.n[o] = v.Mul(v, by[channel(o)])
	}
	return z
}
