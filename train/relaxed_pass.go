package train

import (
	"github.com/epsball/epsball/kernels"
	"github.com/epsball/epsball/model"
	"github.com/epsball/epsball/net"
	"github.com/epsball/epsball/verify"
)

// rowWorker carries the rows of one lane group of images, for one goroutine.
type rowWorker struct {
	*linearBounds
	sc   kernels.Scratch
	e    example
	rows int // lane groups of rows

	lambda, act          [][]float32 // of each activation, [row][size][lane]; act shares memory
	reached              []bool      // lambda has coefficients
	bent, more           []float32   // coefficients behind a ReLU; some that are to be added
	bends                []*bend     // of each node; nil: it has none
	pre                  []int       // of each node: its place among PreActivations
	biases               []float32   // of each neuron of a node
	ofUpper, ofIntercept []float32
	dw                   []float32
	features             []float32

	sum   [][kernels.Lanes]float64 // of each row: its bound
	scale [][kernels.Lanes]float32 // and the gradient to it

	// The group being carried.
	at     *linearPart
	labels []int
}

func newRowWorker(b *linearBounds) *rowWorker {
	w := &rowWorker{linearBounds: b, rows: b.classes - 1}
	nodes, buffers := b.net.Nodes(), b.net.Buffers()
	room := make([][]float32, len(nodes)+1)
	most, weights := 0, b.iv.last.classes*b.iv.last.k
	for k := range nodes {
		size := b.size(k)
		most = max(most, size)
		w.lambda = append(w.lambda, kernels.Alloc(w.rows*size*kernels.Lanes))
		if at := buffers[k]; len(room[at]) < len(w.lambda[k]) {
			room[at] = kernels.Alloc(len(w.lambda[k]))
		}
	}
	for k := range nodes {
		w.act = append(w.act, room[buffers[k]][:len(w.lambda[k])])
	}
	place := 0
	for i, m := range b.maps {
		if m != nil {
			n, _ := m.weights()
			weights = max(weights, n)
		}
		var slope []float32
		e, own := nodes[i].Op.(*net.Elementwise)
		if own && e.Kind == model.LeakyReLU {
			slope = e.Slope
		}
		w.bends, w.pre = append(w.bends, nil), append(w.pre, -1)
		if own || nodes[i].ReLU {
			w.bends[i], w.pre[i] = newBend(slope, b.size(i+1)), place
			place++
		}
	}
	w.reached = make([]bool, len(nodes))
	w.bent, w.more = kernels.Alloc(w.rows*most*kernels.Lanes), kernels.Alloc(w.rows*most*kernels.Lanes)
	w.biases = kernels.Alloc(whole(most))
	w.ofUpper, w.ofIntercept = kernels.Alloc(most*kernels.Lanes), kernels.Alloc(most*kernels.Lanes)
	w.dw = kernels.Alloc(whole(weights))
	w.features = make([]float32, b.iv.last.k)
	w.sum, w.scale = make([][kernels.Lanes]float64, w.rows), make([][kernels.Lanes]float32, w.rows)
	return w
}

// size returns the elements of activation k of one image.
func (b *linearBounds) size(k int) int {
	if k == 0 {
		return b.net.Input().Size()
	}
	return b.net.Nodes()[k-1].Shape.Size()
}

// preActivation returns the box of a node's bend.
func (w *rowWorker) preActivation(node int) verify.PreActivation {
	return groupOf(&w.at.part.boxed.PreActivations()[w.pre[node]], w.size(node+1), w.at.group)
}

// begin takes up the boxes of a lane group, and starts its rows.
func (w *rowWorker) begin(at *linearPart, labels []int) {
	w.at, w.labels = at, labels
	for i, b := range w.bends {
		if b != nil {
			p := w.preActivation(i)
			b.set(p.C, p.R)
		}
	}
	clear(w.reached)
	w.reached[w.out] = true
	last, start := &w.iv.last, w.lambda[w.out]
	clear(start)
	for k := range w.rows {
		w.sum[k] = [kernels.Lanes]float64{}
		for i, y := range labels {
			j := against(k, y)
			wy, wj := last.w[y*last.k:][:last.k], last.w[j*last.k:][:last.k]
			d := group(start, last.k, k)[i:]
			for f, v := range wy {
				d[f*kernels.Lanes] = v - wj[f]
			}
			w.sum[k][i] = float64(last.b[y]) - float64(last.b[j])
		}
	}
}

// back carries the rows back to the input and leaves their bounds in sum.
func (w *rowWorker) back() {
	nodes, isa := w.net.Nodes(), w.net.ISA()
	for i := len(w.maps) - 1; i >= 0; i-- {
		n, size := &nodes[i], w.size(i+1)
		src := w.lambda[i+1]
		var bias []float32
		if m := w.maps[i]; m != nil {
			bias = m.bias()
		}
		if b := w.bends[i]; b != nil {
			w.spread(bias, size)
			for r := range w.rows {
				b.lines.Back(isa, &w.sc, group(w.bent, size, r), group(src, size, r), w.biases[:size], &w.sum[r])
			}
			src = w.bent[:len(src)]
		} else if bias != nil {
			w.addBias(src, bias, size)
		}
		for at, k := range n.In {
			dst := w.lambda[k]
			fresh := !w.reached[k]
			if !fresh {
				dst = w.more[:len(dst)]
			}
			switch m := w.maps[i]; {
			case m != nil && at == 0:
				m.adjoint(&w.sc, dst, src, w.rows)
			case fresh:
				copy(dst, src)
			default:
				dst = src
			}
			if !fresh {
				isa.Add(w.lambda[k], dst, kernels.None, nil)
			}
			w.reached[k] = true
		}
	}
	w.land()
}

// spread writes a bias, one a channel, to each neuron.
func (w *rowWorker) spread(bias []float32, size int) {
	if bias == nil {
		clear(w.biases[:size])
		return
	}
	for at := 0; at < size; at += len(bias) {
		copy(w.biases[at:], bias)
	}
}

// addBias adds what rows get of the biases of a node without a bend.
func (w *rowWorker) addBias(src, bias []float32, size int) {
	for r := range w.rows {
		v, sum := group(src, size, r), &w.sum[r]
		for k := range size {
			b := float64(bias[k%len(bias)])
			for i, x := range v[k*kernels.Lanes:][:kernels.Lanes] {
				sum[i] += float64(float64(x) * b)
			}
		}
	}
}

// land ends the rows at the corners of the input's box, from where ahead starts.
func (w *rowWorker) land() {
	size := w.size(0)
	c, r := w.at.part.boxed.Box() // by now centre and radius
	c, r = group(c, size, w.at.group), group(r, size, w.at.group)
	for k := range w.rows {
		corners(group(w.act[0], size, k), group(w.lambda[0], size, k), c, r, &w.sum[k])
	}
}

// corners writes the corners of the boxes [c − r, c + r] where λ·x is least to x, and adds the
// products to the sums of the lanes.
func corners(x, lambda, c, r []float32, sum *[kernels.Lanes]float64) {
	s := *sum
	for len(lambda) >= kernels.Lanes {
		x8, l8 := (*[kernels.Lanes]float32)(x), (*[kernels.Lanes]float32)(lambda)
		c8, r8 := (*[kernels.Lanes]float32)(c), (*[kernels.Lanes]float32)(r)
		for i, l := range l8 {
			a := c8[i] - timesSign(r8[i], l)
			x8[i] = a
			s[i] += float64(float64(l) * float64(a))
		}
		x, lambda, c, r = x[kernels.Lanes:], lambda[kernels.Lanes:], c[kernels.Lanes:], r[kernels.Lanes:]
	}
	*sum = s
}

// ahead carries values forward from the corners, and adds scale times the gradients of the
// bounds to those of the boxes and to dw and db of each node, which it writes if they are
// new.
func (w *rowWorker) ahead(dw, db [][]float32, fresh bool) {
	nodes, isa := w.net.Nodes(), w.net.ISA()
	for i, m := range w.maps {
		n, size := &nodes[i], w.size(i+1)
		z, x := w.act[i+1], w.act[n.In[0]]
		if m != nil {
			m.apply(&w.sc, z, x, w.rows)
		} else {
			copy(z, x)
		}
		if len(n.In) > 1 {
			isa.Add(z, w.act[n.In[1]], kernels.None, nil)
		}
		if b := w.bends[i]; b != nil {
			clear(w.ofUpper[:size*kernels.Lanes])
			clear(w.ofIntercept[:size*kernels.Lanes])
			for r := range w.rows {
				b.lines.Ahead(isa, &w.sc, group(z, size, r), group(w.lambda[i+1], size, r), &w.scale[r],
					w.ofUpper[:size*kernels.Lanes], w.ofIntercept[:size*kernels.Lanes])
			}
			p := w.preActivation(i)
			b.gradient(p.C, p.R, p.DC, p.DR, w.ofUpper, w.ofIntercept)
		} else if m != nil {
			for r := range w.rows {
				scaleLanes(group(w.lambda[i+1], size, r), &w.scale[r])
			}
		}
		if m == nil {
			continue
		}
		if weights, bs := m.weights(); weights > 0 {
			to, sums := dw[i], db[i]
			if !fresh {
				to, sums = w.dw[:len(to)], w.biases[:len(sums)]
			}
			m.gradient(&w.sc, to[:weights], sums[:bs], w.lambda[i+1], x, w.rows)
			if !fresh {
				isa.Add(dw[i], to, kernels.None, nil)
				isa.Add(db[i], sums, kernels.None, nil)
			}
		}
	}
	w.aheadLast(dw[len(w.maps)], db[len(w.maps)], fresh)
}

// aheadLast is ahead of the last layer: a row's gradient is the values that it reads, to
// the weights of the label, and their opposite to those of the other class.
func (w *rowWorker) aheadLast(dw, db []float32, fresh bool) {
	if fresh {
		clear(dw)
		clear(db)
	}
	last := &w.iv.last
	for k := range w.rows {
		for i, y := range w.labels {
			net.LaneGroups.Gather(w.features, group(w.act[w.out], last.k, k), i)
			g, j := w.scale[k][i], against(k, y)
			dy, dj := dw[y*last.k:][:last.k], dw[j*last.k:][:last.k]
			for f, a := range w.features {
				d := float32(g * a)
				dy[f] += d
				dj[f] -= d
			}
			db[y] += g
			db[j] -= g
		}
	}
}

// scaleLanes multiplies each lane by its scale.
func scaleLanes(v []float32, scale *[kernels.Lanes]float32) {
	for at := 0; at < len(v); at += kernels.Lanes {
		for i, s := range scale {
			v[at+i] *= s
		}
	}
}
