package train

import "github.com/epsball/epsball/kernels"

// change is how an image is changed before a step sees it.
type change struct {
	down, right int // shift in pixels; what comes in from outside is 0
	flip        bool
}

// changeOf draws the change of the image at a place in training, from that and the seed
// alone.
func (c *Config) changeOf(place uint64) (a change) {
	if c.Shift == 0 && !c.Flip {
		return a
	}
	s := kernels.NewStream(c.Seed, place, streamAugment)
	if c.Shift > 0 {
		a.down, a.right = s.Intn(2*c.Shift+1)-c.Shift, s.Intn(2*c.Shift+1)-c.Shift
	}
	if c.Flip {
		a.flip = s.Intn(2) == 1
	}
	return a
}

// packChanged copies an image of C×H×W, changed, into a lane of d.
func packChanged(d, img []float32, channels, h, w int, a change) {
	for c := range channels {
		for y := range h {
			for x := range w {
				from := x - a.right
				if a.flip {
					from = w - 1 - from
				}
				v := float32(0)
				if row := y - a.down; row >= 0 && row < h && from >= 0 && from < w {
					v = img[(c*h+row)*w+from]
				}
				d[((y*w+x)*channels+c)*kernels.Lanes] = v
			}
		}
	}
}
