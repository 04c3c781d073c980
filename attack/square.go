package attack

import (
	"fmt"
	"math"
	"strconv"

	"github.com/epsball/epsball/kernels"
	"github.com/epsball/epsball/net"
)

// Square is the Square Attack, a random search that asks for logits and never for a
// gradient (Andriushchenko et al. 2020, Algorithms 1 to 3; for L1 as in AutoAttack, Croce &
// Hein 2021). A run begins at vertical stripes (Linf) or at a grid of small bumps (L2,
// L1). Each query changes one square of the best point so far, at a random place, and
// keeps the change if the loss grows. The squares shrink by the schedule of the paper,
// rescaled to the number of queries. The loss is the margin; towards a target, the cross-
// entropy.
//
// It differs from AutoAttack in this: each image draws its own squares. A square may
// touch the last row and column, as in the paper. In Linf, a square that would change no
// pixel is drawn again, and costs no query. In L2 and L1, values that the pixel box leaves no
// room for take no share of a new square's length. In L2 no image is rescaled as a whole,
// for the new square has the length that fills the ball already.
type Square struct {
	Queries  int     // proposals of a run; 0: 5,000
	Restarts int     // 0: 1
	PInit    float64 // share of the pixels that the first squares cover; 0: 0.8
	Targeted bool
	Seed     uint64
}

const (
	squareQueries = 5000
	squareP       = 0.8
	squareDraws   = 10 // of a square that changes nothing
)

func (Square) Name() string { return "square" }

// Fields ties the settings to their textual form.
func (q *Square) Fields() []Field {
	return []Field{
		Count("queries", "proposals of a run", &q.Queries, squareQueries).Shown(strconv.Itoa(squareQueries)),
		Count("restarts", "runs an image gets", &q.Restarts, 1),
		Share("p-init", "share of the pixels that the first squares cover", &q.PInit, squareP),
		Flag("targeted", "search for a wrong class", &q.Targeted, false),
		Seed(&q.Seed),
	}
}

func (q Square) String() string { return Text(q.Name(), q.Fields()) }

// Method returns what q is set to.
func (q *Square) Method() Method { return *q }

func (q Square) Plan() Plan {
	return Plan{Restarts: max(1, q.Restarts), RandomStart: true, Targeted: q.Targeted, Seed: q.Seed, NoGradient: true}
}

func (q Square) Validate(b net.Ball, classes int) error {
	if err := checkNorm(b, net.Linf, net.L2, net.L1); err != nil {
		return err
	}
	return checkSearch(q.Fields(), classes)
}

// checkSearch is what all methods check that search by a loss without its gradient.
func checkSearch(fields []Field, classes int) error {
	if err := CheckFields(fields); err != nil {
		return err
	}
	if classes < 2 {
		return fmt.Errorf("network: %d output, want at least 2 classes", classes)
	}
	return nil
}

func (q Square) NewRule(s *Space) Rule {
	r := &square{space: s, queries: q.Queries, loss: searchLoss(q.Targeted), state: make([]squareState, s.Slots)}
	if r.queries == 0 {
		r.queries = squareQueries
	}
	p := q.PInit
	if p == 0 {
		p = squareP
	}
	r.h, r.w, r.c = s.Input.H, s.Input.W, s.Input.C
	r.step = int(s.Layout)
	for level := range r.sides {
		r.sides[level] = squareSide(p, level, s.Input.H, s.Input.W, s.Ball.Norm)
	}
	if s.Ball.Norm != net.Linf {
		for level, side := range r.sides {
			if level > 0 && side == r.sides[level-1] {
				r.bumps[level] = r.bumps[level-1]
			} else {
				r.bumps[level] = bump(side, s.Ball.Norm)
			}
		}
		r.tile = max(1, min(r.h, r.w)/5)
		r.tileBump = bump(r.tile, s.Ball.Norm)
		r.fresh = make([]float64, r.sides[0]*r.sides[0])
	}
	r.best = s.Tensor()
	return r
}

// searchLoss is the loss of searches without gradients.
func searchLoss(targeted bool) net.Loss {
	if targeted {
		return net.CrossEntropy
	}
	return net.Margin
}

// squareLevels are the queries of 10,000 up to which p is halved so many times.
var squareLevels = [9]int64{10, 50, 200, 500, 1000, 2000, 4000, 6000, 8000}

// squareLevel returns how many times p is halved for query number i of n, from 0.
func squareLevel(i, n int) int {
	at, level := int64(i)*10000/int64(n), 0
	for _, l := range squareLevels {
		if at > l {
			level++
		}
	}
	return level
}

// squareSide is the side of the squares when p is halved so many times: they cover a share
// p of the image. Those of L2 and L1 are odd, and at least 3, where the image allows.
func squareSide(p float64, level, h, w int, norm net.Norm) int {
	side := int(math.RoundToEven(math.Sqrt(p / float64(int(1)<<level) * float64(h*w))))
	if norm == net.Linf {
		return min(max(side, 1), h, w)
	}
	return min(max(side, 3)|1, h, w)
}

// square is the rule. The tensor best holds the best point of the run, from which the
// point at hand differs in the window of the proposal alone.
type square struct {
	space    *Space
	queries  int
	loss     net.Loss
	h, w, c  int
	step     int     // from an element to the next of the image
	sides    [10]int // by level
	bumps    [10][]float64
	tile     int // side of the bumps at the start
	tileBump []float64
	state    []squareState // by Seat
	best     []float32
	fresh    []float64 // a window of a channel
}

// squareState is what the rule knows of one run.
type squareState struct {
	f     float32 // loss of the best point
	size  float64 // distance of the best point: L2 squared, or L1
	taken bool    // the point at hand is the best
	whole bool    // it may differ everywhere
	first window  // where the proposal puts a square
	other window  // where it takes away what there is; side 0: nowhere
}

// window is a square of the image.
type window struct{ top, left, side int }

func (v window) holds(row, col int) bool {
	return row >= v.top && row < v.top+v.side && col >= v.left && col < v.left+v.side
}

// draw returns a window of the given side, anywhere in the image.
func (r *square) draw(s *kernels.Stream, side int) window {
	return window{s.Intn(r.h - side + 1), s.Intn(r.w - side + 1), side}
}

// flip returns +1 or −1.
func flip(s *kernels.Stream) float64 { return 1 - 2*float64(s.Uint32()>>31) }

func (r *square) Judge(s *Slot, z, dz []float32) Verdict {
	t := &r.state[s.Seat]
	f := r.loss.Gradient(dz, z, s.Y, s.Target)
	if s.Step == 0 {
		*t = squareState{f: float32(math.Inf(-1)), whole: true}
	}
	if t.taken = f > t.f || s.Step == 0; f > t.f {
		t.f = f
	}
	if s.Step >= r.queries {
		return RunOver
	}
	return Move
}

func (r *square) Move(slots []Slot, _ []float32) {
	s := r.space
	project := s.Ball.Norm == net.L1 && r.c > 1 // else proposals are in the ball
	for b := range len(slots) / r.step {
		moved := false
		for i := b * r.step; i < (b+1)*r.step; i++ {
			if sl := &slots[i]; sl.Moves {
				r.move(sl, &r.state[sl.Seat])
				moved = true
			}
		}
		if moved && project {
			s.Project(s.Block(s.X, b), s.Block(s.Lo, b), s.Block(s.Hi, b), s.Block(s.Centre, b))
		}
	}
}

// move settles the last proposal and makes the next.
func (r *square) move(sl *Slot, t *squareState) {
	s := r.space
	at := func(t []float32) []float32 { return s.Layout.Slot(t, s.Size, sl.Place) }
	x, best, centre := at(s.X), at(r.best), at(s.Centre)
	from, to := x, best
	if !t.taken {
		from, to = best, x
	}
	if t.whole {
		for k := 0; k < s.Size*r.step; k += r.step {
			to[k] = from[k]
		}
	} else {
		r.copy(to, from, t.first)
		r.copy(to, from, t.other)
	}
	level := squareLevel(sl.Step-1, r.queries)
	if s.Ball.Norm == net.Linf {
		t.whole, t.other = false, window{}
		r.proposeSigns(sl, t, x, at(s.Lo), at(s.Hi), r.sides[level])
		return
	}
	if t.taken {
		t.size = r.size(best, centre)
	}
	t.whole = s.Ball.Norm == net.L1 && r.c > 1 // a projection follows
	r.proposeBump(sl, t, x, best, centre, at(s.Lo), at(s.Hi), level)
}

// copy copies a window.
func (r *square) copy(to, from []float32, v window) {
	n := v.side * r.c * r.step
	for row := v.top; row < v.top+v.side; row++ {
		at := (row*r.w + v.left) * r.c * r.step
		for k := at; k < at+n; k += r.step {
			to[k] = from[k]
		}
	}
}

// proposeSigns moves a window by 2ε up or down, each channel as a whole. As the best
// point is at most ε from the image, that is to the end of the ball.
func (r *square) proposeSigns(sl *Slot, t *squareState, x, lo, hi []float32, side int) {
	for range squareDraws {
		v := r.draw(&sl.Stream, side)
		changed := false
		for c := range r.c {
			end := hi
			if flip(&sl.Stream) < 0 {
				end = lo
			}
			for row := v.top; row < v.top+side; row++ {
				k := ((row*r.w+v.left)*r.c + c) * r.step
				for range side {
					changed = changed || x[k] != end[k]
					x[k] = end[k]
					k += r.c * r.step
				}
			}
		}
		if t.first = v; changed {
			return
		}
	}
}
