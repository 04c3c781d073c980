package verify

import (
	"slices"

	"github.com/epsball/epsball/kernels"
)

// sparseOf returns the adjoint of o, node i, on whole maps without the neurons that
// are inactive for the loaded image, whose coefficients are zero; nil where that does
// not pay.
func (r *rows) sparseOf(i int, o *relaxAffine) *kernels.Sparse {
	s := &r.sparse[i]
	if s.known {
		if s.pays {
			return s.adjoint
		}
		return nil
	}
	p, use := r.params[i], s.room(r.g.maps[i+1].size())
	for k := range use {
		q := p[k*kernels.RelaxParams:][:kernels.RelaxParams]
		use[k] = q[kernels.RelaxLower] != 0 || q[kernels.RelaxUpper] != 0
	}
	if r.choose(i, o); s.pays {
		return s.adjoint
	}
	return nil
}

// room returns use for n neurons.
func (s *sparse) room(n int) []bool {
	s.use = slices.Grow(s.use[:0], n)[:n]
	return s.use
}

// choose prepares the sparse adjoint of o, node i, for the neurons in use, if that pays.
func (r *rows) choose(i int, o *relaxAffine) {
	s := &r.sparse[i]
	s.known, s.pays = true, false
	if !r.g.nodes[i].relu {
		return
	}
	if s.adjoint == nil {
		if s.adjoint = o.adjoint.NewSparse(); s.adjoint == nil {
			return
		}
	}
	count := 0
	for _, u := range s.use {
		if u {
			count++
		}
	}
	if s.pays = count*4 < len(s.use)*3; s.pays {
		s.adjoint.Choose(s.use)
	}
}

// sparse is what sparseOf knows of a node.
type sparse struct {
	adjoint     *kernels.Sparse
	use         []bool
	known, pays bool
}
