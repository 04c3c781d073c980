package redteam

import (
	"slices"

	"github.com/epsball/epsball/model"
)

// layout is a form of networks: with convolutions, a residual add, a batchnorm.
type layout struct {
	name            string
	conv, add, norm bool
}

var layouts = []layout{
	{name: "fc"},
	{name: "conv", conv: true},
	{name: "fc-add", add: true},
	{name: "conv-add", conv: true, add: true},
	{name: "batchnorm", norm: true},
}

// wide is a layer of so many units: fc, or a convolution that keeps the map.
func (b *builder) wide(l layout, units int) model.Layer {
	if !l.conv {
		return fc(units)
	}
	k := 1 + 2*b.IntN(2)
	return conv(units, k, 1, k/2)
}

// hidden says where a gadget's value ends up.
type hidden struct{ last, unit int } // the activation that the last layer reads, its element

// hide builds a network of three or four layers. Units of the first hold the gadget's
// constants, one of the second its sum, one of the third, if there is one, passes it on; the
// others have weights as a trainer draws them. With add, the second layer is the branch of a
// residual add, which a constant reaches by the shortcut; with norm, a batchnorm after
// it has the product. Nil: the add may take no term of the gadget.
func (b *builder) hide(g gadget, form layout) *hidden {
	const host = 6
	n := len(g.x)
	if form.add && g.skip < 0 {
		return nil
	}
	first, second := host+n, host+1
	if form.add {
		second = first
	}
	l := []model.Layer{b.wide(form, first), relu, b.wide(form, second)}
	sum := 2
	switch {
	case form.add:
		l = append(l, model.Layer{Kind: model.Add, Inputs: [][]int{{1, 2}, {2, 1}}[b.IntN(2)]})
	case form.norm:
		l = append(l, model.Layer{Kind: model.BatchNorm})
	}
	l = append(l, relu)
	pass := 0
	if g.pass != 1 || b.IntN(2) == 0 {
		pass = len(l)
		l = append(l, b.wide(form, host+1), relu)
	}
	l = append(l, fc(2+b.IntN(3)))
	in := model.Shape{C: 1, H: 1, W: 4 + b.IntN(8)}
	if form.conv {
		in = model.Shape{C: 1 + b.IntN(2), H: 3 + b.IntN(2), W: 3 + b.IntN(2)}
	}
	b.layers(in, l...)
	b.x = Image(in.Size(), b.Rand)
	b.eps = []string{"0", "1e-9", "1e-4", "0.001"}[b.IntN(4)]
	pixel := -1 // that constants are of, as the trigger of Zombori et al.
	if !form.conv && b.IntN(4) == 0 {
		pixel = b.IntN(in.W)
		b.x[pixel], b.eps = 1, "0"
	}

	// Constants.
	units := b.Perm(first)[:n]
	for k, unit := range units {
		b.clear(0, unit)
		if pixel < 0 {
			b.m.Params[0].B[unit] = g.x[k]
		} else {
			*b.weight(0, unit, pixel) = g.x[k]
		}
	}
	at := b.IntN(second)
	if form.add { // the add gives the unit of the branch what the shortcut has
		at = units[g.skip]
	}
	for o := range second { // nobody else reads them
		for _, unit := range units {
			b.cut(sum, o, unit)
		}
		if form.add && slices.Contains(units, o) {
			b.clear(sum, o)
		}
	}
	b.clear(sum, at)
	if form.norm {
		*b.weight(sum, at, units[0]) = 1
		p := &b.m.Params[sum+1]
		p.W[at], p.B[at] = g.w[0], g.bias
	} else {
		for k, unit := range units {
			if !form.add || k != g.skip {
				*b.weight(sum, at, unit) = g.w[k]
			}
		}
		b.m.Params[sum].B[at] = g.bias
	}

	// The way to the last layer.
	unread := []int{at}
	if form.add {
		unread = units
	}
	out := len(l) - 1
	if pass > 0 {
		to := b.IntN(host + 1)
		for o := range host + 1 {
			for _, unit := range unread {
				b.cut(pass, o, unit)
			}
		}
		b.clear(pass, to)
		*b.weight(pass, to, at) = g.pass
		at, unread = to, []int{to}
	}
	pixels := 1
	if form.conv {
		pixels = in.H * in.W
	}
	p := &b.m.Params[out]
	each := len(p.W) / len(p.B)
	for o := range p.B {
		for _, unit := range unread {
			clear(p.W[o*each+unit*pixels : o*each+(unit+1)*pixels])
		}
	}
	return &hidden{out, at*pixels + b.IntN(pixels)}
}

// clear sets the weights and the bias of an output unit to 0.
func (b *builder) clear(layer, unit int) {
	p := &b.m.Params[layer]
	n := len(p.W) / len(p.B)
	clear(p.W[unit*n : (unit+1)*n])
	p.B[unit] = 0
}

// cut sets all weights from a unit to another to 0.
func (b *builder) cut(layer, to, from int) {
	clear(b.taps(layer, to, from))
}

// weight is that from a unit to another, of a convolution the middle tap.
func (b *builder) weight(layer, to, from int) *float32 {
	w := b.taps(layer, to, from)
	return &w[len(w)/2]
}

// taps are the weights from a unit to another: of an fc one.
func (b *builder) taps(layer, to, from int) []float32 {
	p, l := &b.m.Params[layer], &b.m.Arch.Layers[layer]
	taps := 1
	if l.Kind == model.Conv {
		taps = l.Kernel[0] * l.Kernel[1]
	}
	row := len(p.W) / len(p.B)
	return p.W[to*row+from*taps:][:taps]
}
