package plot

// box is a rectangle that labels keep clear of.
type box struct{ x0, y0, x1, y1 float64 }

func (b box) overlaps(o box) bool { return b.x0 < o.x1 && o.x0 < b.x1 && b.y0 < o.y1 && o.y0 < b.y1 }

func (b box) inside(o box) bool { return b.x0 >= o.x0 && b.x1 <= o.x1 && b.y0 >= o.y0 && b.y1 <= o.y1 }

func around(x, y, r float64) box { return box{x - r, y - r, x + r, y + r} }

// labels places labels next to points so that they hide nothing.
type labels struct {
	within box
	taken  []box
}

func (l *labels) free(b box) bool {
	for _, t := range l.taken {
		if b.overlaps(t) {
			return false
		}
	}
	return b.inside(l.within)
}

// place writes t near one of the points, no further off than far, if there is room.
func (l *labels) place(s *svg, near []point, far, size float64, t string, text, leader color) bool {
	const step = 9.0
	w := textWidth(t, size)
	for d := step; d <= far; d += step {
		aside, off := d+w/2, d+size/2
		for _, to := range []point{
			{aside, 0},
			{-aside, 0},
			{0, off},
			{0, -off},
			{step + w/2, off},
			{step + w/2, -off},
			{-step - w/2, off},
			{-step - w/2, -off},
			{aside, off},
			{aside, -off},
			{-aside, off},
			{-aside, -off},
		} {
			for _, p := range near {
				x, y := p.x+to.x, p.y+to.y
				b := box{x - w/2, y - size/2 - 1, x + w/2, y + size/2 + 1}
				if !l.free(b) {
					continue
				}
				l.taken = append(l.taken, b)
				if d > step {
					s.line(p.x, p.y, min(max(p.x, b.x0), b.x1), min(max(p.y, b.y0), b.y1), look("leader", none, leader, `stroke-width="0.7" opacity="0.6"`))
				}
				s.text(x, y+0.36*size, size, t, haloed("label", text, "middle"))
				return true
			}
		}
	}
	return false
}
