package attack

import (
	"errors"
	"fmt"
	"math"

	"github.com/epsball/epsball/net"
)

// inside reports whether the point of t in the slot lies in ball and pixel box, as
// real numbers.
func (w *worker) inside(sl *Slot, t []float32) bool {
	s := w.space
	at := func(t []float32) []float32 { return s.Layout.Slot(t, s.Size, sl.Place) }
	x, lo, hi := at(t), at(s.Lo), at(s.Hi)
	if w.a.plan.Anywhere {
		for k := 0; k < s.Size*int(s.Layout); k += int(s.Layout) {
			if !(x[k] >= 0 && x[k] <= 1) {
				return false
			}
		}
		return true
	}
	for k := 0; k < s.Size*int(s.Layout); k += int(s.Layout) {
		if !(x[k] >= lo[k] && x[k] <= hi[k]) { // for Linf, this box is the ball
			return false
		}
	}
	if s.Ball.Norm == net.Linf {
		return true
	}
	s.Layout.Unpack(w.img, t, w.a.target.Input(), sl.Place)
	return s.Ball.Contains(w.a.b.X[sl.image*s.Size:(sl.image+1)*s.Size], w.img)
}

// distance is that of the slot's point from its image, in the norm of the ball.
func (w *worker) distance(sl *Slot) float64 {
	s := w.space
	x, c := s.Layout.Slot(w.points, s.Size, sl.Place), s.Layout.Slot(s.Centre, s.Size, sl.Place)
	var largest, sum, sum2 float64
	differ := 0
	for k := 0; k < s.Size*int(s.Layout); k += int(s.Layout) {
		d := math.Abs(float64(x[k]) - float64(c[k]))
		largest = max(largest, d)
		sum += d
		sum2 += float64(d * d)
		if d > 0 {
			differ++
		}
	}
	switch s.Ball.Norm {
	case net.L2:
		return math.Sqrt(sum2)
	case net.L1:
		return sum
	case net.L0:
		return float64(differ)
	}
	return largest
}

// check looks at the points found, before they are handed out.
func (a *Attacker) check(few bool) error {
	if i := a.astray.Load(); i > 0 {
		return fmt.Errorf("%v: its point for image %d lies outside the ball %v: a bug of the method", a.cfg.Method, i-1, a.cfg.Ball)
	}
	if !a.cfg.Recheck {
		return nil
	}
	a.next.Store(0)
	if few {
		return a.few.recheck()
	}
	errs := make([]error, len(a.workers))
	a.pool.Run(len(a.workers), func(w, task int) { errs[task] = a.workers[w].recheck() })
	return errors.Join(errs...)
}

// recheck runs points found through passes of their own.
func (w *worker) recheck() error {
	if w.random != nil {
		return errors.New("recheck: the target draws random numbers, so a point has no logits of its own")
	}
	r, size := w.a.res, w.space.Size
	images := make([]int, 0, w.a.capacity)
	for {
		images = images[:0]
		for len(images) < w.a.capacity {
			i := w.a.take()
			if i < 0 {
				break
			}
			if !r.Begun[i] {
				continue
			}
			x, adv := w.a.b.X[i*size:(i+1)*size], r.Adv[i*size:(i+1)*size]
			if !w.a.plan.Anywhere && !w.space.Ball.Contains(x, adv) {
				return fmt.Errorf("recheck: the point found for image %d lies outside the ball %v", i, w.space.Ball)
			}
			w.put(w.space.X, len(images), adv)
			images = append(images, i)
		}
		if len(images) == 0 {
			return nil
		}
		w.ws.Forward(w.space.X, w.layout.Blocks(len(images)))
		for s, i := range images {
			w.layout.Gather(w.z, w.ws.Logits(), s)
			label, margin := net.Argmax(w.z), net.MarginOf(w.z, w.a.b.Y[i])
			if label != r.Label[i] || math.Float32bits(margin) != math.Float32bits(r.Margin[i]) {
				return fmt.Errorf("recheck: the point found for image %d has label %d and margin %v, the attack saw %d and %v", i, label, margin, r.Label[i], r.Margin[i])
			}
		}
	}
}
