package verify

// Bytes returns the memory held by the weights that the verifier has packed
// besides the network's own.
func (v *IBP) Bytes() int {
	n := v.spec.logits.bytes() + v.spec.pairs.linear.bytes() + v.spec.pairs.magnitudes()
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

// Bytes returns the memory held by the weights that the verifier has packed
// besides the network's own.
func (v *CROWN) Bytes() int {
	n := 0
	if v.ibp != nil {
		n += v.ibp.Bytes()
	}
	for i := range v.g.nodes {
		n += v.g.nodes[i].bytes()
	}
	return n
}

func (d *node) bytes() int {
	n := d.abs.Bytes() + d.adjoint.Bytes() + 4*(cap(d.columns)+cap(d.both))
	if own, _ := d.affine.Small(1, 1); d.small != own {
		n += d.small.Bytes()
	}
	if d.forward != nil && d.forward != d.affine.Lanes() {
		n += d.forward.Bytes()
	}
	return n
}
