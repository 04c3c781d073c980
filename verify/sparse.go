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
	s.known, s.pays = true, false
	if s.adjoint == nil {
		if s.adjoint = o.adjoint.NewSparse(); s.adjoint == nil || !r.g.nodes[i].relu {
			return nil
		}
	}
	p, n := r.params[i], r.g.maps[i+1].size()
	s.use = slices.Grow(s.use[:0], n)[:n]
	count := 0
	for k := range s.use {
		q := p[k*kernels.RelaxParams:][:kernels.RelaxParams]
		s.use[k] = q[kernels.RelaxLower] != 0 || q[kernels.RelaxUpper] != 0
		if s.use[k] {
			count++
		}
	}
	if s.pays = count*4 < n*3; s.pays {
		s.adjoint.Choose(s.use)
		return s.adjoint
	}
	return nil
}

// sparse is what sparseOf knows of a node.
type sparse struct {
	adjoint     *kernels.Sparse
	use         []bool
	known, pays bool
}
