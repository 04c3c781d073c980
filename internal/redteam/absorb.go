package redteam

import (
	"math/bits"

	"github.com/epsball/epsball/model"
	"github.com/epsball/epsball/net"
)

// Sums in which a large term swallows small ones, or not, as the order has it: what
// float32 may lose of K products of about 2⁻²⁴ next to 1 is nearly all that the proofs
// allow for.

const u = 0x1p-24

// fan draws a K, at most most: next to a power of two.
func (b *builder) fan(most int) int {
	k := bits.Len(uint(most)) - 1
	return 1<<(2+b.IntN(k-1)) - b.IntN(4)
}

// tiny draws the size of a small term in units of 2⁻²⁴.
func (b *builder) tiny() float64 { return 0.4 + 0.7*b.Float64() }

// weights draws a row of n: small terms of one sign, and a large one first, last,
// anywhere, on both sides or nowhere. It returns the sum of the small ones, too.
func (b *builder) weights(n int) (row []float32, small float64) {
	c := float32(b.tiny() * u)
	if b.IntN(2) == 0 {
		c = -c
	}
	row = fill(n, c)
	if b.IntN(3) == 0 {
		for k := range row {
			row[k] = copysign(float32(b.tiny()*u), c)
		}
	}
	big := []float32{1, 1.5, -1, 1.01, 2, 1.99}[b.IntN(6)]
	switch b.IntN(5) {
	case 0:
		row[0] = big
	case 1:
		row[n-1] = big
	case 2:
		row[b.IntN(n)] = big
	case 3:
		row[0], row[n-1] = big, -big
	}
	for _, v := range row {
		if v < 1e-6 && v > -1e-6 {
			small += float64(v)
		}
	}
	return row, small
}

// decide ends the network with layer i, fc of two outputs, of which one tells v from v +
// off where the only activation before it is one of these.
func (b *builder) decide(i int, v, off float64) {
	if off == 0 {
		off = u
	}
	gain := float32(1 / off)
	if b.IntN(4) == 0 {
		gain = ldexp(1, 10+b.IntN(20))
	}
	at := float32(v + off*b.Float64())
	w, bias := []float32{gain, 0}, []float32{-gain * at, 0}
	if b.IntN(4) == 0 {
		w[1], bias[1] = 0.5*gain, -0.5*gain*at
	}
	b.set(i, w, bias)
}

// quiet is a ball that hardly moves anything.
func (b *builder) quiet() {
	if b.IntN(2) == 0 {
		b.within(net.Norm(b.IntN(3)), []string{"0", "1e-45", "1e-9", "1e-8"}[b.IntN(4)])
	}
}

// absorbSkip: a residual add of 1 to K small products. The summand is the input, an
// activation, a linear one, a projection or what the branch reads; a ReLU may follow.
func (b *builder) absorbSkip(most int) {
	k := b.fan(most)
	var l []model.Layer
	in, branch := flat(1), 2
	switch b.IntN(6) {
	case 0:
		l = []model.Layer{fc(k), relu, fc(1), add(2, model.NetInput)}
	case 1:
		l = []model.Layer{fc(1), relu, fc(k), relu, fc(1), add(4, 1)}
		branch = 4
	case 2:
		l = []model.Layer{fc(1), fc(1), fc(k), relu, fc(1), add(1, 4)}
		branch = 4
	case 3:
		l = []model.Layer{fc(k), relu, from(model.NetInput, fc(1)), from(1, fc(1)), add(2, 3)}
		branch = 3
	case 4:
		in = model.Shape{C: 1, H: 2, W: 2}
		l = []model.Layer{conv(k, 1, 1, 0), relu, conv(1, 1, 1, 0), add(2, model.NetInput)}
	default:
		k = min(k, 100)
		l = []model.Layer{fc(k), relu, fc(k), add(1, 2)}
	}
	if b.IntN(2) == 0 {
		l = append(l, relu)
	}
	last := len(l)
	b.layers(in, append(l, fc(2))...)
	b.x = fill(in.Size(), 1)
	b.quiet()
	c := copysign(float32(b.tiny()*u), float32(b.IntN(2))-0.5)
	for i := range last {
		p := &b.m.Params[i]
		v := float32(1)
		if i == branch {
			v = c
		}
		b.set(i, fill(len(p.W), v), fill(len(p.B), 0))
	}
	outs := len(b.m.Params[last].W) / 2
	gain := float32(1 / (float64(k) * u))
	row := fill(2*outs, 0)
	row[b.IntN(outs)] = gain
	b.set(last, row, []float32{-gain * float32(1+float64(k)*float64(c)*b.Float64()), 0})
}

// absorbFC: chains of a fan-out to K and a sum of K.
func (b *builder) absorbFC(most int) {
	k := b.fan(most)
	n := 1 + b.IntN(2)
	l := []model.Layer{}
	for range n {
		l = append(l, fc(k), relu, fc(1))
		if b.IntN(2) == 0 {
			l = append(l, relu)
		}
	}
	b.layers(flat(1), append(l, fc(2))...)
	b.x = []float32{1}
	b.quiet()
	v, small, first := 1.0, 0.0, true
	for i := range l {
		if l[i].Kind != model.FC {
			continue
		}
		if first {
			b.set(i, fill(k, float32(1/max(1e-3, v))), fill(k, 0))
		} else {
			row, s := b.weights(k)
			bias := float32(0)
			if b.IntN(3) == 0 {
				bias = 1
			}
			b.set(i, row, []float32{bias})
			v, small = float64(bias), s
			for _, w := range row {
				v += float64(w)
			}
		}
		first = !first
	}
	b.decide(len(l), v, small)
}

// absorbConv: the same in convolutions of many channels, at all places of a map.
func (b *builder) absorbConv(most int) {
	k := b.fan(most)
	side := 2 + b.IntN(2)
	kernel := 1 + b.IntN(2)
	b.layers(model.Shape{C: 1, H: side, W: side}, conv(k, 1, 1, 0), relu, conv(1, kernel, 1, kernel-1), relu, fc(2))
	b.x = fill(side*side, 1)
	b.quiet()
	b.set(0, fill(k, 1), fill(k, 0))
	row, small := b.weights(k * kernel * kernel)
	b.set(2, row, []float32{float32(b.IntN(2))})
	outs := len(b.m.Params[4].W) / 2
	v := float64(b.m.Params[2].B[0])
	for _, w := range row {
		v += float64(w)
	}
	gain := float32(1 / max(u, -small, small))
	w := fill(2*outs, 0)
	w[b.IntN(outs)] = gain
	b.set(4, w, []float32{-gain * float32(v+small*b.Float64()), 0})
}

// absorbLogits: the sums are the logits, their rows nearly equal or not.
func (b *builder) absorbLogits(most int) {
	k := b.fan(most)
	b.layers(flat(1), fc(k), relu, fc(2))
	b.x = []float32{1}
	b.quiet()
	b.set(0, fill(k, 1), fill(k, 0))
	row, small := b.weights(k)
	other, _ := b.weights(k)
	if b.IntN(2) == 0 {
		copy(other, row)
		other[b.IntN(k)] += u
	}
	sum := 0.0
	for i := range row {
		sum += float64(row[i]) - float64(other[i])
	}
	b.set(2, append(row, other...), []float32{float32(-sum + small*(b.Float64()-0.5)), 0})
}

// absorbWide: the sum reads the pixels themselves, in the first layer or the only one.
func (b *builder) absorbWide(most int) {
	k := b.fan(most)
	in := flat(k)
	for in.W > 4096 {
		in.W, in.H = (in.W+1)/2, in.H*2
	}
	k = in.Size()
	if b.IntN(2) == 0 {
		b.layers(in, fc(2))
		row, small := b.weights(k)
		other, _ := b.weights(k)
		b.set(0, append(row, other...), []float32{float32(small * b.Float64()), 0})
	} else {
		b.layers(in, fc(1), relu, fc(2))
		row, small := b.weights(k)
		b.set(0, row, []float32{float32(b.IntN(2))})
		b.decide(2, float64(row[0])+small, small)
	}
	b.x = fill(k, 1)
	if b.IntN(3) == 0 {
		b.x = Image(k, b.Rand)
	}
	b.quiet()
}

// absorbSum: sums over several layers and adds, of which some are read by others, too,
// or end in a ReLU, and so are not parts of the next.
func (b *builder) absorbSum(most int) {
	k := b.fan(most)
	l := []model.Layer{fc(k), relu}
	var small, large []int // layers
	small0 := 0.0
	part := func() int {
		at := len(l)
		if len(large) > 0 && (len(small) == 0 || b.IntN(3) > 0) {
			l, small, small0 = append(l, from(1, fc(1))), append(small, at), small0+float64(k)
		} else {
			l, large = append(l, from(model.NetInput, fc(1))), append(large, at)
		}
		return at
	}
	sum := part()
	for range 1 + b.IntN(4) {
		next := part()
		p, q := sum, next
		if b.IntN(2) == 0 {
			p, q = q, p
		}
		l = append(l, add(p, q))
		sum = len(l) - 1
		switch b.IntN(5) {
		case 0:
			l = append(l, from(sum, relu))
			sum++
		case 1: // another reader
			l = append(l, from(sum, fc(1)), add(sum, sum+1))
			large = append(large, sum+1)
			sum += 2
		}
	}
	last := len(l)
	b.layers(flat(1), append(l, from(sum, fc(2)))...)
	b.x = []float32{1}
	b.quiet()
	b.set(0, fill(k, 1), fill(k, 0))
	v := copysign(float32(b.tiny()*u), float32(b.IntN(2))-0.5)
	for _, i := range small {
		b.set(i, fill(k, v), []float32{0})
	}
	for _, i := range large {
		b.set(i, []float32{[]float32{1, 1, 1.01, -0.5}[b.IntN(4)]}, []float32{float32(b.IntN(5) / 4)})
	}
	x := newNetwork(b.m).wide([]float64{1})
	b.decide(last, x[sum+1][0], small0*float64(v))
}

// large is any of these with K up to what the proofs admit.
func (b *builder) large() {
	most := 1 << (12 + b.IntN(9))
	[]func(int){b.absorbSkip, b.absorbSum, b.absorbFC, b.absorbLogits, b.absorbWide}[b.IntN(5)](most)
}
