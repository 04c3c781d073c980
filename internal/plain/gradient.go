package plain

import "github.com/epsball/epsball/model"

// Gradient returns the gradient to the pixels, in float64, of the network's outputs
// weighed by d, one factor for each. Ties and kinks go as in package net: to the first
// maximum of a window, and to the side where the slope of a relu or a clip is 0.
func Gradient(m *model.Model, x, d []float64) []float64 {
	acts := Values(m, x, nil)
	shapes, err := m.Arch.Shapes()
	if err != nil {
		panic(err)
	}
	grads := make([][]float64, len(acts))
	for i := range grads {
		grads[i] = make([]float64, len(acts[i]))
	}
	copy(grads[len(grads)-1], d)
	for i := len(m.Arch.Layers) - 1; i >= 0; i-- {
		l, inputs := m.Arch.Layers[i], m.Arch.InputsOf(i)
		in, out := m.Arch.InputShape(i, shapes), shapes[i+1]
		dy, act, dx := grads[i+1], acts[inputs[0]+1], grads[inputs[0]+1]
		switch l.Kind {
		case model.Normalize:
			for k, g := range dy {
				dx[k] += g / float64(l.Std[k/(in.H*in.W)])
			}
		case model.Add:
			for _, from := range inputs {
				for k, g := range dy {
					grads[from+1][k] += g
				}
			}
		case model.Concat:
			for _, from := range inputs {
				part := grads[from+1]
				for k := range part {
					part[k] += dy[k]
				}
				dy = dy[len(part):]
			}
		case model.Conv, model.FC:
			rows := m.Params[i].Rows()
			for o, g := range dy {
				Each(l, in, out, o, func(w, k int) { dx[k] += g * float64(rows[w]) })
			}
		case model.BatchNorm:
			scale, _ := m.Params[i].Affine(l.Eps)
			for k, g := range dy {
				dx[k] += g * float64(scale[k/(in.H*in.W)])
			}
		case model.MaxPool:
			for o, g := range dy {
				dx[largest(l, in, out, o, act)] += g
			}
		case model.AvgPool:
			for o, g := range dy {
				n := 0
				EachPixel(l, in, out, o, func(int) { n++ })
				EachPixel(l, in, out, o, func(k int) { dx[k] += g / float64(divisor(l, n)) })
			}
		default:
			for k, g := range dy {
				_, slope := element(l, act[k], k/(in.H*in.W))
				dx[k] += g * slope
			}
		}
	}
	return grads[0]
}
