package check

import "math"

// Planes. Let z = Σw_t·v_t + b be what a relu reads, of values |v_t − c_t| ≤ r_t, z̄ = b + Σ(w_t·c_t +
// |w_t|r_t) its largest value and μ_t in [0, 1], any. With S = Σμ_t|w_t|r_t
//
//	max(z, 0) ≤ Σμ_t·w_t(v_t − c_t) + max(S, z̄ − S):
//
// the sum is at least −S, and z̄ − z = Σ(|w_t|r_t − w_t(v_t − c_t)), whose terms are at least 0
// and become no larger with the factor μ_t. In a trace the relu reads at most z + E, so it is at most that and E.
// So in (*) an element with â < 0 may pass on â·μ_t·w_t to what its conv or fc reads, and
// a constant, in place of its line; err pays â·E, which is in D of the conv.
//
// What is computed of c and r holds the values: r is rounded up, and any c will do. S, z̄ and what is
// passed on err by γ_N of |â|·(Σ|w_t|M_t + |b|) each, for all but the sums below have fewer terms than that;
// those, at v_t, have the conv's own beside them: network.chain counts their terms twice. err pays
// four times g of it.
//
// μ_t is θ − sign(w_t)·y_t, cut to [0, 1], where y_t in [−1, 1] says where in its range v_t is taken
// to be, and θ makes S half of z̄: there the planes are lowest where the values are as y says.

// reluPlane takes elements of one relu through planes.
type reluPlane struct {
	conv *conv
	at   []int     // of an output: what it reads
	c    []float64 // the middles of that
	w, q []float64 // weights, and |those| times r
	y    []float64 // sign(w)·y
}

// takePlanes takes those elements of node i, a relu, that have a negative coefficient to what the
// conv or fc before it reads, if the leaf states where that is, and returns what it adds to ĉ.
func (s *state) takePlanes(i int) (constant float64) {
	if s.points == nil || s.points[i] == nil {
		return 0
	}
	p := s.nodes[i].in[0]
	c := s.nodes[p].op.(*conv)
	q := s.nodes[p].in[0]
	a, free, r := s.forms[i].a, s.bounds[i].lines.free, s.forms[i].region
	d, in := s.bounds[p].d, &s.bounds[q]
	to := s.grow(q, c.seen(r))
	t := &reluPlane{conv: c}
	outs := s.nodes[i].shape.C
	for y := r.y0; y < r.y1; y++ {
		for x := r.x0; x < r.x1; x++ {
			first := (y*s.nodes[i].shape.W + x) * outs
			for o := range outs {
				k := first + o
				v := a[k]
				if !(v < 0) || free[k] != lower {
					continue
				}
				a[k] = 0
				size := t.read(region{y, y + 1, x, x + 1}, o, in, s.points[i])
				constant += float64(v * t.pass(o, v, to))
				s.err += float64(-v*d[k]) + float64(4*s.g*float64(-v*size))
			}
		}
	}
	return constant
}

// read finds what output channel o at a position reads, and returns Σ|w|M + |b|.
func (t *reluPlane) read(at region, o int, in *bounds, point []float64) (size float64) {
	c := t.conv
	t.at, t.w, t.q, t.c, t.y = t.at[:0], t.w[:0], t.q[:0], t.c[:0], t.y[:0]
	size = math.Abs(c.b[o])
	c.runs(at, func(_, from, n, e, w, length int) {
		if o < from || o >= from+n {
			return
		}
		for k, v := range c.w[o*c.fanIn+w:][:length] {
			mid := (in.lo[e+k] + in.hi[e+k]) / 2
			r := up(max(in.hi[e+k]-mid, mid-in.lo[e+k]))
			y := float64(2*point[e+k]) - 1
			if v < 0 {
				y = -y
			}
			t.at, t.c, t.y = append(t.at, e+k), append(t.c, mid), append(t.y, y)
			t.w, t.q = append(t.w, v), append(t.q, float64(math.Abs(v)*r))
			size += float64(math.Abs(v) * in.m[e+k])
		}
	})
	return size
}

// pass adds v times the plane of output channel o to what it reads, and returns the plane's constant.
func (t *reluPlane) pass(o int, v float64, to []float64) (constant float64) {
	highest, middles := t.conv.b[o], 0.0
	for n, w := range t.w {
		highest += float64(w*t.c[n]) + t.q[n]
	}
	theta := t.theta(highest / 2)
	sum := 0.0
	for n, k := range t.at {
		mu := min(max(theta-t.y[n], 0), 1)
		w := float64(mu * t.w[n])
		to[k] += float64(v * w)
		middles += float64(w * t.c[n])
		sum += float64(mu * t.q[n])
	}
	return max(sum, highest-sum) - middles
}

// theta returns where S is what is wanted, nearly: Newton's steps between ends that come closer.
func (t *reluPlane) theta(want float64) float64 {
	from, to := -1.0, 2.0
	total := 0.0
	for _, q := range t.q {
		total += q
	}
	if total == 0 {
		return 0
	}
	theta := min(max(want/total, from), to)
	for range 64 {
		sum, slope := 0.0, 0.0
		for n, q := range t.q {
			mu := theta - t.y[n]
			if mu > 0 && mu < 1 {
				slope += q
			}
			sum += float64(q * min(max(mu, 0), 1))
		}
		short := want - sum
		if !(math.Abs(short) > float64(total*0x1p-50)) {
			break
		}
		if short > 0 {
			from = theta
		} else {
			to = theta
		}
		if theta += short / slope; !(theta > from && theta < to) {
			theta = (from + to) / 2
		}
	}
	return theta
}
