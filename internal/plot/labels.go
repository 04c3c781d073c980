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
func (l *labels) place(s *svg, near []point, far, size float64, t string, leader color) bool {
	w := textWidth(t, size)
	for d := 9.0; d <= far; d += 9 {
		for _, dir := range [][2]float64{{1, 0}, {-1, 0}, {0, 1}, {0, -1}, {1, 1}, {1, -1}, {-1, 1}, {-1, -1}} {
			for _, p := range near {
				cx, cy := p.x+dir[0]*(d+w/2), p.y+dir[1]*(d+size/2)
				b := box{cx - w/2, cy - size/2 - 1, cx + w/2, cy + size/2 + 1}
				if !l.free(b) {
					continue
				}
				l.taken = append(l.taken, b)
				if d > 9 {
					s.line(p.x, p.y, min(max(p.x, b.x0), b.x1), min(max(p.y, b.y0), b.y1), look("leader", none, leader, `stroke-width="0.7" opacity="0.6"`))
				}
				s.text(cx, cy+0.36*size, size, t, haloed("label", ink, "middle"))
				return true
			}
		}
	}
	return false
}
