package net

import (
	"github.com/epsball/epsball/kernels"
	"github.com/epsball/epsball/model"
)

// PackLanes copies n images of the given shape, channels first, into the
// batch-lane layout [group][H][W][C][8]. The lanes after the last image get
// zeros.
func PackLanes(dst, x []float32, s model.Shape, n int) {
	size := s.Size()
	for g := range kernels.Groups(n) {
		d := dst[g*size*kernels.Lanes : (g+1)*size*kernels.Lanes]
		if (g+1)*kernels.Lanes <= n {
			packGroup(d, x[g*kernels.Lanes*size:(g+1)*kernels.Lanes*size], s)
			continue
		}
		for l := range kernels.Lanes {
			i := g*kernels.Lanes + l
			if i >= n {
				for k := l; k < len(d); k += kernels.Lanes {
					d[k] = 0
				}
				continue
			}
			LaneGroups.Pack(d, x[i*size:(i+1)*size], s, l)
		}
	}
}

// packGroup is Layout.Pack for the eight images of a full group, one lane vector
// after the other.
func packGroup(d, x []float32, s model.Shape) {
	size, hw := s.Size(), s.H*s.W
	for c := range s.C {
		plane := func(l int) []float32 { return x[l*size+c*hw:][:hw] }
		s0, s1, s2, s3 := plane(0), plane(1), plane(2), plane(3)
		s4, s5, s6, s7 := plane(4), plane(5), plane(6), plane(7)
		for p := range hw {
			v := d[(p*s.C+c)*kernels.Lanes:][:kernels.Lanes]
			v[0], v[1], v[2], v[3] = s0[p], s1[p], s2[p], s3[p]
			v[4], v[5], v[6], v[7] = s4[p], s5[p], s6[p], s7[p]
		}
	}
}

// Group returns group g of a batch-lane tensor with size elements an image.
func Group(t []float32, size, g int) []float32 {
	return t[g*size*kernels.Lanes : (g+1)*size*kernels.Lanes]
}
