package attack

import (
	"fmt"
	"math"

	"github.com/epsball/epsball/net"
)

// Spatial turns and shifts the image and keeps the worst of what it tries (Engstrom et al.
// 2019, section 3): all combinations of evenly spaced angles and shifts, or a number of
// random ones. The image turns about its middle, then moves; what comes in is black,
// between pixels it is interpolated bilinearly. It needs no gradients. The ball has no
// meaning for it: all points of the pixel box count.
type Spatial struct {
	Rotation     float64 // largest angle in degrees, either way; 0: 30
	Translation  float64 // largest shift in pixels, along rows and columns; 0: 3
	Rotations    int     // angles of the grid; 0: 31; 1: it does not turn
	Translations int     // shifts of the grid along each axis; 0: 5; 1: it does not move
	Random       int     // tries, instead of a grid; 0: a grid
	Seed         uint64
}

const (
	spatialRotation     = 30
	spatialTranslation  = 3
	spatialRotations    = 31
	spatialTranslations = 5
)

func (Spatial) Name() string { return "spatial" }

// Fields ties the settings to their textual form.
func (p *Spatial) Fields() []Field {
	random := Count("random", "random tries, instead of a grid", &p.Random, 0)
	random.About = "random tries, instead of a grid (default: a grid)"
	return []Field{
		Positive("rotation", "largest angle in degrees", &p.Rotation, spatialRotation),
		Positive("translation", "largest shift in pixels", &p.Translation, spatialTranslation),
		Count("rotations", "angles of the grid; 1: none but 0", &p.Rotations, spatialRotations),
		Count("translations", "shifts of the grid along each axis; 1: none but 0", &p.Translations, spatialTranslations),
		random,
		Seed(&p.Seed),
	}
}

func (p Spatial) String() string { return Text(p.Name(), p.Fields()) }

// Method returns what p is set to.
func (p *Spatial) Method() Method { return *p }

func (p Spatial) Plan() Plan {
	return Plan{Restarts: 1, Seed: p.Seed, NoGradient: true, Anywhere: true}
}

func (p Spatial) Validate(_ net.Ball, classes int) error {
	if err := checkSearch(p.Fields(), classes); err != nil {
		return err
	}
	if p.Rotation > 180 {
		return fmt.Errorf("rotation: got %v, want at most 180 degrees", p.Rotation)
	}
	q := p.whole()
	if n := int64(q.Rotations) * int64(q.Translations) * int64(q.Translations); p.Random == 0 && n > maxCount {
		return fmt.Errorf("rotations: the grid has %d transformations, want at most %d", n, maxCount)
	}
	return nil
}

// whole is p with its defaults filled in.
func (p Spatial) whole() Spatial {
	if p.Rotation == 0 {
		p.Rotation = spatialRotation
	}
	if p.Translation == 0 {
		p.Translation = spatialTranslation
	}
	if p.Rotations == 0 {
		p.Rotations = spatialRotations
	}
	if p.Translations == 0 {
		p.Translations = spatialTranslations
	}
	return p
}

func (p Spatial) NewRule(s *Space) Rule {
	q := p.whole()
	r := &spatial{space: s, p: q, tries: q.Random}
	if r.tries == 0 {
		r.tries = q.Rotations * q.Translations * q.Translations
	}
	return r
}

// spatial is the rule.
type spatial struct {
	space *Space
	p     Spatial
	tries int
}

func (*spatial) Start(*Slot, []float32) {}

func (r *spatial) Judge(s *Slot, _, _ []float32) Verdict {
	if s.Step >= r.tries {
		return RunOver
	}
	return Move
}

func (r *spatial) Move(slots []Slot, _ []float32) {
	for i := range slots {
		if s := &slots[i]; s.Moves {
			r.warp(s, r.try(s))
		}
	}
}

// warping turns by an angle, then shifts by pixels.
type warping struct{ degrees, right, down float64 }

// try returns the transformation of the slot's step, which is 1 for the first.
func (r *spatial) try(s *Slot) warping {
	p := r.p
	if p.Random > 0 {
		draw := func(most float64) float64 { return most * (2*float64(s.Stream.Float32()) - 1) }
		v := warping{degrees: draw(p.Rotation)}
		v.right, v.down = draw(p.Translation), draw(p.Translation)
		if p.Rotations == 1 {
			v.degrees = 0
		}
		if p.Translations == 1 {
			v.right, v.down = 0, 0
		}
		return v
	}
	k, n := s.Step-1, p.Translations
	return warping{
		spread(k/(n*n), p.Rotations, p.Rotation), spread(k/n%n, n, p.Translation), spread(k%n, n, p.Translation),
	}
}

// spread is number i of n evenly spaced values of [−most, most].
func spread(i, n int, most float64) float64 {
	if n == 1 {
		return 0
	}
	return float64(most*float64(2*i-(n-1))) / float64(n-1)
}

// warp writes the transformed image to the slot: the pixel at p, measured from the middle,
// has the colour of the image at R⁻¹(p − t).
func (r *spatial) warp(sl *Slot, v warping) {
	s, w := r.space, int(r.space.Layout)
	in := s.Input
	x, from := s.Layout.Slot(s.X, s.Size, sl.Place), s.Layout.Slot(s.Centre, s.Size, sl.Place)
	sin, cos := sinCos(v.degrees)
	midRow, midCol := float64(in.H-1)/2, float64(in.W-1)/2
	for row := range in.H {
		for col := range in.W {
			down, right := float64(row)-midRow-v.down, float64(col)-midCol-v.right
			y := float64(cos*down) - float64(sin*right) + midRow
			z := float64(sin*down) + float64(cos*right) + midCol
			k := (row*in.W + col) * in.C * w
			if !(y > -1 && y < float64(in.H) && z > -1 && z < float64(in.W)) {
				for c := range in.C {
					x[k+c*w] = 0
				}
				continue
			}
			top, left := int(math.Floor(y)), int(math.Floor(z))
			below, beside := y-float64(top), z-float64(left)
			at := func(row, col, c int) float64 {
				if row < 0 || row >= in.H || col < 0 || col >= in.W {
					return 0
				}
				return float64(from[((row*in.W+col)*in.C+c)*w])
			}
			for c := range in.C {
				upper := float64(at(top, left, c)*(1-beside)) + float64(at(top, left+1, c)*beside)
				lower := float64(at(top+1, left, c)*(1-beside)) + float64(at(top+1, left+1, c)*beside)
				x[k+c*w] = min(max(float32(float64(upper*(1-below))+float64(lower*below)), 0), 1)
			}
		}
	}
}

// sinCos returns the sine and cosine of an angle of at most 180 degrees, to within 1e-14,
// with the same bits everywhere.
func sinCos(degrees float64) (sin, cos float64) {
	a := float64(degrees*math.Pi) / 180
	term := 1.0
	for k := 1; k <= 32; k++ { // Taylor's series: π³²/32! < 1e-19
		switch k % 4 {
		case 1:
			cos += term
		case 2:
			sin += term
		case 3:
			cos -= term
		case 0:
			sin -= term
		}
		term = float64(term*a) / float64(k)
	}
	return sin, cos
}
