package plot

import "strings"

// shapes are the outlines of markers of radius 1.
var shapes = map[string][]point{
	"backward-input":   {{-0.88, -0.88}, {0.88, -0.88}, {0.88, 0.88}, {-0.88, 0.88}},
	"pgd-step":         {{0, -1.15}, {1.05, 0.8}, {-1.05, 0.8}},
	"train-step":       {{0, 1.15}, {1.05, -0.8}, {-1.05, -0.8}},
	"ibp":              {{0, -1.25}, {1.25, 0}, {0, 1.25}, {-1.25, 0}},
	"backward-weights": {{0, 1.15}, {1.05, -0.8}, {-1.05, -0.8}},
}

// marker draws the shape of an operation: passes filled, those of layers ("layer
// forward") hollow, unknown ones a cross.
func (s *svg) marker(x, y, r float64, operation string, c color) {
	op, hollow := strings.CutPrefix(operation, "layer ")
	style := look("marker", c, paper, `fill-opacity="0.85" stroke-width="0.8"`)
	if hollow {
		style = look("marker", paper, c, `fill-opacity="0.6" stroke-width="1.5"`)
	}
	outline, ok := shapes[op]
	switch {
	case ok:
		corners := make([]point, len(outline))
		for i, o := range outline {
			corners[i] = point{x + r*o.x, y + r*o.y}
		}
		s.elem(`<polygon points="%s" %s/>`, raw(points(corners)), raw(style))
	case op == "forward":
		s.elem(`<circle cx="%.1f" cy="%.1f" r="%.1f" %s/>`, x, y, r, raw(style))
	default:
		s.elem(`<path d="M %.1f %.1f L %.1f %.1f M %.1f %.1f L %.1f %.1f" %s/>`,
			x-r, y-r, x+r, y+r, x-r, y+r, x+r, y-r, raw(look("marker", none, c, `stroke-width="1.8"`)))
	}
}
