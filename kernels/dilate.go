package kernels

// A convolution with dilation is one of a larger kernel with zeros between its taps. What
// that computes is the chain over the taps alone: a product with zero adds ±0 to a sum,
// which changes it only from −0 to +0. But an infinite or NaN input between the taps of a
// window makes its sum NaN. Depthwise has dilation of its own and reads the taps alone.

// Dilate returns s with its taps dilH rows and dilW columns apart.
func (s Shape) Dilate(dilH, dilW int) Shape {
	s.KH, s.KW = (s.KH-1)*dilH+1, (s.KW-1)*dilW+1
	return s
}

// DilateWeights writes the weights w of s, [OutC][InC][KH][KW], with zeros between them to
// dst, those of s.Dilate(dilH, dilW).
func DilateWeights(dst, w []float32, s Shape, dilH, dilW int) {
	d := s.Dilate(dilH, dilW)
	mustLen("weights", len(w), s.Weights())
	mustLen("dilated weights", len(dst), d.Weights())
	clear(dst)
	for c := range s.OutC * s.InC {
		for ky := range s.KH {
			for kx := range s.KW {
				dst[(c*d.KH+ky*dilH)*d.KW+kx*dilW] = w[(c*s.KH+ky)*s.KW+kx]
			}
		}
	}
}

// UndilateGrad takes the gradient of the weights of s, [OutC][KH][KW][InC] for some output
// channels, from that of s.Dilate(dilH, dilW).
func UndilateGrad(dw, dilated []float32, s Shape, dilH, dilW int) {
	d := s.Dilate(dilH, dilW)
	channels := len(dw) / s.FanIn()
	mustLen("weight gradient", len(dw), channels*s.FanIn())
	mustLen("dilated gradient", len(dilated), channels*d.FanIn())
	for c := range channels {
		for ky := range s.KH {
			for kx := range s.KW {
				copy(dw[((c*s.KH+ky)*s.KW+kx)*s.InC:][:s.InC], dilated[((c*d.KH+ky*dilH)*d.KW+kx*dilW)*s.InC:])
			}
		}
	}
}
