package check

// add is the sum of two nodes.
type add struct{}

func (add) interval(s *state, i int, b *bounds) error {
	n := &s.nodes[i]
	p, q := &s.bounds[n.in[0]], &s.bounds[n.in[1]]
	if n.part {
		b.terms = make([]float64, len(b.lo))
	}
	for k := range b.lo {
		b.lo[k], b.hi[k] = p.lo[k]+q.lo[k], p.hi[k]+q.hi[k]
		terms, whole := 0.0, 0.0
		for _, p := range []*bounds{p, q} {
			if p.terms != nil {
				terms += p.terms[k]
			} else {
				terms += p.m[k]
				whole += p.m[k]
			}
		}
		if n.part {
			b.terms[k] = terms
		}
		gamma := n.gamma()
		e := rounded{keep(addError, float64(gamma*whole*room)), (float64(gamma*terms) + float64(float64(n.terms)*eta)) * room}
		if err := s.widen(b, k, p.m[k]+q.m[k], e, terms); err != nil {
			return err
		}
	}
	return nil
}

func (add) backward(s *state, i int) float64 {
	a := s.forms[i].a
	for _, p := range s.nodes[i].in {
		in := s.grow(p, s.forms[i].region)
		s.each(i, func(from, to int) {
			for k := from; k < to; k++ {
				in[k] += a[k]
			}
		})
	}
	return 0
}

// concat is the channels of its inputs, one input after another.
type concat struct{}

// each calls f with the bounds of each input, its channels and the first of them here.
func (concat) each(s *state, i int, f func(p, channels, at int)) {
	at := 0
	for _, p := range s.nodes[i].in {
		c := s.nodes[p].shape.C
		f(p, c, at)
		at += c
	}
}

func (o concat) interval(s *state, i int, b *bounds) error {
	all := s.nodes[i].shape.C
	o.each(s, i, func(p, channels, at int) {
		from := &s.bounds[p]
		for k := range from.lo {
			to := k/channels*all + at + k%channels
			b.lo[to], b.hi[to], b.d[to] = from.lo[k], from.hi[k], s.g*from.m[k]
		}
	})
	return nil
}

func (o concat) backward(s *state, i int) float64 {
	f, all := &s.forms[i], s.nodes[i].shape.C
	o.each(s, i, func(p, channels, at int) {
		in := s.grow(p, f.region)
		s.each(i, func(from, to int) {
			for pixel := from / all; pixel < to/all; pixel++ {
				for c := range channels {
					in[pixel*channels+c] += f.a[pixel*all+at+c]
				}
			}
		})
	})
	return 0
}
