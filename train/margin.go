package train

import (
	"github.com/epsball/epsball/model"
	"github.com/epsball/epsball/net"
)

// marginLayer is the last fully connected layer merged with the margins: for an
// image with label y and each class j, a lower bound of z_y − z_j over the box
// of centre c and radius r at the layer's input,
//
//	m_j = (W_y − W_j)·c + b_y − b_j − |W_y − W_j|·r,
//
// which is tighter than the difference of two bounds. The worst-case logits
// relative to z_y are v_j = −m_j, and v_y = 0 (Gowal et al. 2018, section 3,
// "elision of the last layer").
type marginLayer struct {
	k, classes int
	w, b       []float32   // of the network as compiled: [classes][k], [classes]
	cols       model.Shape // for the order of the model's columns
	dw         []float32   // [classes][k], in the order of w
	param      int         // in the model's list
}

// forward writes v, one value a class.
func (l *marginLayer) forward(v, c, r []float32, y int) {
	wy := l.w[y*l.k:][:l.k]
	c, r = c[:l.k], r[:l.k]
	for j := range v {
		if j == y {
			v[j] = 0
			continue
		}
		wj := l.w[j*l.k:][:l.k]
		var mid, rad float32
		for i, a := range wy {
			d := a - wj[i]
			mid += float32(d * c[i])
			rad += float32(abs32(d) * r[i])
		}
		v[j] = rad - (mid + (l.b[y] - l.b[j]))
	}
}

// backward takes the gradient g to v back to c and r.
func (l *marginLayer) backward(dc, dr, g []float32, y int) {
	clear(dc)
	clear(dr)
	wy := l.w[y*l.k:][:l.k]
	dc, dr = dc[:l.k], dr[:l.k]
	for j, gj := range g {
		if j == y || gj == 0 {
			continue
		}
		wj := l.w[j*l.k:][:l.k]
		for i, a := range wy {
			d := a - wj[i]
			dc[i] -= float32(gj * d)
			dr[i] += float32(gj * abs32(d))
		}
	}
}

// addTo adds the gradient of row k, summed over images in their order, to that
// of the model's weights. c and r hold the layer's input, [image][k]; g the
// gradient to v, [image][classes].
func (l *marginLayer) addTo(p model.Param, c, r, g []float32, labels []int, row int) {
	dw := l.dw[row*l.k:][:l.k]
	clear(dw)
	var db float32
	wRow := l.w[row*l.k:][:l.k]
	// ∂v/∂W_row of the pair (row, other) is ±c + sign(W_row − W_other)·r.
	add := func(gc, gr float32, other int, ci, ri []float32) {
		if gr == 0 {
			return
		}
		wo := l.w[other*l.k:][:l.k]
		for i, w := range wRow {
			dw[i] += float32(gc*ci[i]) + float32(gr*timesSign(ri[i], w-wo[i]))
		}
		db += gc
	}
	for n, y := range labels {
		gi := g[n*l.classes:][:l.classes]
		ci, ri := c[n*l.k:][:l.k], r[n*l.k:][:l.k]
		if y != row {
			add(gi[row], gi[row], y, ci, ri)
			continue
		}
		for j, gj := range gi {
			if j != y {
				add(-gj, gj, j, ci, ri)
			}
		}
	}
	net.AddUnmapped(p.W[row*l.k:][:l.k], dw, l.cols)
	p.B[row] += db
}
