package verify

import "github.com/epsball/epsball/kernels"

// weakScore is what neurons that only their lower lines bound are worth against others.
const weakScore = 0.05

// judge ranks the neurons that rows pass, by the lines that they passed last, where a bound
// is not above 0.
func (t *leafRun) judge(from, groups int) {
	r, a := t.w.rows, t.w.ascent
	open := false
	for j := range t.lanes {
		t.top[j] = t.top[j][:0]
		open = open || !(a.best[j/kernels.Lanes][j%kernels.Lanes] > 0)
	}
	if t.o.Candidates == 0 || !open {
		return
	}
	r.corners(a, groups)
	for i := range from + 1 {
		if a.used[i+1] {
			r.g.nodes[i].op.values(r, a, i, groups)
			t.score(i, groups)
			t.climb(i, 0, 0)
			r.update(a, i, groups, 0, 0)
			t.pass(i)
		}
	}
}

// score ranks the open neurons of node i. With a negative coefficient λ a neuron's upper
// line gives away up to |λ|t (the intercept score of BaBSR, Bunel et al. 2020; Wang et al.
// 2021). With a positive one what counts is what the lower line gives away at the
// minimising input, and little: any slope may be optimised away.
func (t *leafRun) score(i, groups int) {
	w := t.w
	if !w.g.nodes[i].sloped() || !hasPhases(&w.g.net.Nodes()[i]) {
		return
	}
	lo, hi := w.actLo[w.g.nodes[i].in[0]], w.actHi[w.g.nodes[i].in[0]]
	if w.g.nodes[i].relu {
		lo, hi = w.lo[i], w.hi[i]
	}
	for g := range groups {
		v, z, alpha := w.group(w.v[i+1], i+1, g), w.group(w.ascent.z[i+1], i+1, g), w.group(w.ascent.alpha[i+1], i+1, g)
		w.each(g, i+1, func(at, k int) {
			b := w.params[i][k*kernels.RelaxParams+kernels.RelaxIntercept]
			if b == 0 {
				return
			}
			for l := range kernels.Lanes {
				n := at*kernels.Lanes + l
				x, row := z[n], v[n]
				var s float32
				if row < 0 {
					s = -row * b
				} else {
					s = weakScore * row * (max(x, 0) - float32(alpha[n]*x) + 1e-4*min(hi[k], -lo[k]))
				}
				if s > 0 && t.own[g*kernels.Lanes+l] {
					t.rank(g*kernels.Lanes+l, Candidate{i, k, s})
				}
			}
		})
	}
}

// rank puts a candidate among those of a lane.
func (t *leafRun) rank(lane int, c Candidate) {
	list := t.top[lane]
	n := len(list)
	for n > 0 && list[n-1].Score < c.Score {
		n--
	}
	if n >= t.o.Candidates {
		return
	}
	if len(list) < t.o.Candidates {
		list = append(list, c)
	}
	copy(list[n+1:], list[n:])
	list[n] = c
	t.top[lane] = list
}
