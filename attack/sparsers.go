package attack

import (
	"math"
	"strconv"

	"github.com/epsball/epsball/kernels"
	"github.com/epsball/epsball/net"
)

// SparseRS is Sparse-RS for pixels (Croce et al. 2022, Algorithm 1 with section 4.1): a
// random search over which k pixels have which of the colours whose channels are 0 or 1,
// without gradients. A run begins at k random pixels of random colours. Each query gives
// some of them their old colour back, colours as many others, and keeps that if the
// loss grows. How many shrinks from a share α of k by the schedule of the paper, rescaled to
// the number of queries. The loss is the margin; towards a target, the cross-entropy.
//
// An L0 ball counts values: one of radius ε allows k = ⌊ε/C⌋ pixels in an image of C
// channels.
//
// It differs from the authors' code in this: each image draws its own pixels. A colour is
// drawn from those that are not the pixel's in the image; they do so only where one pixel
// is exchanged.
type SparseRS struct {
	Queries   int     // proposals of a run; 0: 10,000
	Restarts  int     // 0: 1
	AlphaInit float64 // share of the pixels that the first proposals exchange; 0: 0.3
	Targeted  bool
	Seed      uint64
}

const (
	sparseQueries = 10000
	sparseAlpha   = 0.3
)

func (SparseRS) Name() string { return "sparse-rs" }

// Fields ties the settings to their textual form.
func (q *SparseRS) Fields() []Field {
	return []Field{
		Count("queries", "proposals of a run", &q.Queries, sparseQueries).Shown(strconv.Itoa(sparseQueries)),
		Count("restarts", "runs an image gets", &q.Restarts, 1),
		Share("alpha-init", "share of the pixels that the first proposals exchange", &q.AlphaInit, sparseAlpha),
		Flag("targeted", "search for a wrong class", &q.Targeted, false),
		Seed(&q.Seed),
	}
}

func (q SparseRS) String() string { return Text(q.Name(), q.Fields()) }

// Method returns what q is set to.
func (q *SparseRS) Method() Method { return *q }

func (q SparseRS) Plan() Plan {
	return Plan{Restarts: max(1, q.Restarts), RandomStart: true, Targeted: q.Targeted, Seed: q.Seed, NoGradient: true}
}

func (q SparseRS) Validate(b net.Ball, classes int) error {
	if err := checkNorm(b, net.L0); err != nil {
		return err
	}
	return checkSearch(q.Fields(), classes)
}

func (q SparseRS) NewRule(s *Space) Rule {
	r := &sparseRS{space: s, queries: q.Queries, alpha: q.AlphaInit, loss: searchLoss(q.Targeted), state: make([]sparseState, s.Slots)}
	if r.queries == 0 {
		r.queries = sparseQueries
	}
	if r.alpha == 0 {
		r.alpha = sparseAlpha
	}
	r.c, r.n = s.Input.C, s.Input.H*s.Input.W
	for i := range r.state {
		r.state[i].order = make([]int32, r.n)
	}
	r.start = make([]int32, r.n)
	r.best = s.Tensor()
	return r
}

// sparseLevels are the queries of 10,000 from which on α is divided by sparseShares.
var (
	sparseLevels = [9]int64{0, 50, 200, 500, 1000, 2000, 4000, 6000, 8000}
	sparseShares = [10]float64{1, 2, 4, 5, 6, 8, 10, 12, 15, 20}
)

// exchanged returns how many of k pixels query number i of n exchanges, from 1.
func exchanged(alpha float64, k, i, n int) int {
	at, level := int64(i)*10000/int64(n), 0
	for _, l := range sparseLevels {
		if at > l {
			level++
		}
	}
	return max(1, int(float64(alpha/sparseShares[level]*float64(k))))
}

// sparseRS is the rule. The tensor best holds the best point of the run, from which the
// point at hand differs in the pixels of the proposal alone.
type sparseRS struct {
	space   *Space
	queries int
	alpha   float64
	loss    net.Loss
	c, n    int           // channels, pixels
	state   []sparseState // by Seat
	start   []int32
	best    []float32
}

// sparseState is what the rule knows of one run. The first k pixels of order are those
// that are changed in the best point. A proposal takes back the last m of them, and
// changes the m after them.
type sparseState struct {
	f     float32 // loss of the best point
	taken bool    // the point at hand is the best
	first bool    // no proposal has been made
	m     int
	order []int32
}

// pixels is the number of pixels that the ball lets change.
func (r *sparseRS) pixels() int { return int(min(r.space.eps, float64(r.space.Size))) / r.c }

func (r *sparseRS) Start(s *Slot, x []float32) {
	for i := range r.start {
		r.start[i] = int32(i)
	}
	for i := range min(r.pixels(), r.n) {
		j := i + s.Stream.Intn(r.n-i)
		r.start[i], r.start[j] = r.start[j], r.start[i]
		r.colour(&s.Stream, x[r.start[i]:], x[r.start[i]:], r.n)
	}
}

// colour gives a pixel, whose channels are step apart, one of the colours that the
// image does not have there.
func (r *sparseRS) colour(s *kernels.Stream, x, centre []float32, step int) {
	same := true
	for same {
		same = true
		bits := uint32(0)
		for c := range r.c {
			if c%32 == 0 {
				bits = s.Uint32()
			}
			v := float32(bits >> (c % 32) & 1)
			same = same && v == centre[c*step]
			x[c*step] = v
		}
	}
}

func (r *sparseRS) Judge(s *Slot, z, dz []float32) Verdict {
	t := &r.state[s.Seat]
	f := r.loss.Gradient(dz, z, s.Y, s.Target)
	if s.Step == 0 {
		t.f, t.first = float32(math.Inf(-1)), true
	}
	if t.taken = f > t.f || t.first; f > t.f {
		t.f = f
	}
	if s.Step >= r.queries || r.pixels() == 0 {
		return RunOver
	}
	return Move
}

func (r *sparseRS) Move(slots []Slot, _ []float32) {
	for i := range slots {
		if sl := &slots[i]; sl.Moves {
			r.move(sl, &r.state[sl.Seat])
		}
	}
}

// move settles the last proposal and makes the next.
func (r *sparseRS) move(sl *Slot, t *sparseState) {
	s, w := r.space, int(r.space.Layout)
	at := func(t []float32) []float32 { return s.Layout.Slot(t, s.Size, sl.Place) }
	x, best, centre := at(s.X), at(r.best), at(s.Centre)
	k := min(r.pixels(), r.n)
	pixel := func(p int32) int { return int(p) * r.c * w }
	put := func(to, from []float32, p int32) {
		for c := pixel(p); c < pixel(p)+r.c*w; c += w {
			to[c] = from[c]
		}
	}
	switch {
	case t.first:
		if r.begin(t.order, x, centre, k) {
			t.f = float32(math.Inf(-1)) // what is left of the point has another loss
		}
		for i := 0; i < s.Size*w; i += w {
			best[i] = x[i]
		}
		t.first = false
	case t.taken:
		for i := k - t.m; i < min(k+t.m, r.n); i++ {
			put(best, x, t.order[i])
		}
		for i := range t.m { // none, if all pixels are changed anyway
			if k+i < r.n {
				t.order[k-1-i], t.order[k+i] = t.order[k+i], t.order[k-1-i]
			}
		}
	default:
		for i := k - t.m; i < min(k+t.m, r.n); i++ {
			put(x, best, t.order[i])
		}
	}
	m := exchanged(r.alpha, k, sl.Step, r.queries)
	if k < r.n {
		m = min(m, r.n-k)
	}
	t.m = m
	for i := range m {
		j := sl.Stream.Intn(k - i)
		t.order[k-1-i], t.order[j] = t.order[j], t.order[k-1-i]
		old := t.order[k-1-i]
		if k == r.n {
			r.colour(&sl.Stream, x[pixel(old):], centre[pixel(old):], w)
			continue
		}
		put(x, centre, old)
		j = k + i + sl.Stream.Intn(r.n-k-i)
		t.order[k+i], t.order[j] = t.order[j], t.order[k+i]
		p := pixel(t.order[k+i])
		r.colour(&sl.Stream, x[p:], centre[p:], w)
	}
}

// begin sorts the pixels of a start point: those that it changes come first. A given point
// may change parts of more than k; it loses the last of these, and begin reports so.
func (r *sparseRS) begin(order []int32, x, centre []float32, k int) (lost bool) {
	w, changed := int(r.space.Layout), 0
	for p := range r.n {
		order[p] = int32(p)
		differs := false
		for c := p * r.c * w; c < (p+1)*r.c*w; c += w {
			if x[c] == centre[c] {
				continue
			}
			if differs = changed < k; !differs {
				x[c], lost = centre[c], true
			}
		}
		if differs {
			order[changed], order[p] = order[p], order[changed]
			changed++
		}
	}
	return lost
}
