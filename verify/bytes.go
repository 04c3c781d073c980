package verify

// Bytes returns the memory held by the weights that the verifier has packed so far
// besides the network's own.
func (v *Verifier) Bytes() int {
	n := 0
	if v.intervals != nil {
		n += v.intervals.bytes()
	}
	if v.graph != nil {
		n += v.graph.bytes()
	}
	return n
}

func (v *intervalRung) bytes() int {
	n := v.margins.logits.bytes() + v.margins.pairs.linear.bytes() + v.margins.pairs.magnitudes()
	for i := range v.steps {
		n += v.steps[i].bytes()
	}
	return n
}

func (l *linear) bytes() int {
	n := 0
	if l.lanes != nil {
		n += l.lanes.Bytes()
	}
	if l.small != nil {
		n += l.small.Bytes()
	}
	return n
}

// magnitudes returns the memory of |w| and e.
func (m *intervalMap) magnitudes() int {
	n := 4 * cap(m.e)
	if m.abs != nil {
		n += m.abs.Bytes()
	}
	return n
}

func (g *graph) bytes() int {
	n := 0
	if g.laneMaps != nil {
		n += g.laneMaps.bytes()
	}
	for i := range g.nodes {
		if o, ok := g.nodes[i].op.(sized); ok {
			n += o.bytes()
		}
	}
	return n
}

func (o *relaxAffine) bytes() int {
	n := o.abs.Bytes() + o.adjoint.Bytes() + 4*(cap(o.rows)+cap(o.both))
	if own, _ := o.affine.Small(1, 1); o.small != own {
		n += o.small.Bytes()
	}
	if o.ahead != nil && o.ahead != o.affine.Lanes() {
		n += o.ahead.Bytes()
	}
	return n
}

func (o *relaxDepthwise) bytes() int {
	return o.centre.Bytes() + o.radius.Bytes() + o.v.Bytes() + o.adjoint.Bytes()
}

func (o *relaxGrouped) bytes() int {
	n := 0
	for k := range o.groups {
		g := &o.groups[k]
		n += g.small.Bytes() + g.abs.Bytes() + g.adjoint.Bytes() + 4*cap(g.both)
		if g.ahead != nil {
			n += g.ahead.Bytes()
		}
	}
	return n
}
