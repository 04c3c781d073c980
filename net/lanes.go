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
		for l := range kernels.Lanes {
			i := g*kernels.Lanes + l
			if i >= n {
				for k := l; k < len(d); k += kernels.Lanes {
					d[k] = 0
				}
				continue
			}
			PackLane(d, x[i*size:(i+1)*size], s, l)
		}
	}
}

// PackLane copies one channels-first image into lane l of a group.
func PackLane(group, img []float32, s model.Shape, l int) {
	hw := s.H * s.W
	for c := range s.C {
		for p, v := range img[c*hw : (c+1)*hw] {
			group[(p*s.C+c)*kernels.Lanes+l] = v
		}
	}
}

// UnpackLane copies lane l of one group out of the batch-lane layout into one
// channels-first image.
func UnpackLane(img, group []float32, s model.Shape, l int) {
	hw := s.H * s.W
	for c := range s.C {
		for p := range hw {
			img[c*hw+p] = group[(p*s.C+c)*kernels.Lanes+l]
		}
	}
}

// Group returns group g of a batch-lane tensor with size elements an image.
func Group(t []float32, size, g int) []float32 {
	return t[g*size*kernels.Lanes : (g+1)*size*kernels.Lanes]
}
