package attack

import (
	"math"

	"github.com/epsball/epsball/net"
)

// Batch is what to attack.
type Batch struct {
	X       []float32 // n images, channels first, pixels in [0, 1]
	Y       []int     // their labels
	Targets []int     // nil, or the class each is to be taken for (Plan.Targeted)
	First   int       // index of the first image: picks the random numbers

	// Index picks the random numbers of each image instead; nil: First, First+1, …
	Index []int

	// Start holds the points where the first restarts begin, one an image, brought
	// into the ball; nil: the method decides.
	Start []float32

	// Robust, if not nil, says which images are known to withstand any attack in the
	// ball, by a proof. They are classified, and not attacked.
	Robust []bool

	// Finished, if not nil, is called when image i is done, its entries in the result
	// are final, with the gradient steps it took; from any goroutine.
	Finished func(i, steps int)
}

// Result is what an attack found, one entry an image.
type Result struct {
	Adv     []float32 // the best point found (see Goal), in ball and box; the image itself if it was wrong from the start
	Label   []int     // the class predicted there; −1 if the logits hold NaN
	Margin  []float32 // logit of the label minus the largest other there
	Clean   []bool    // the image itself is classified correctly
	Proved  []bool    // not attacked, because a proof says that it is in vain
	Success []bool    // Clean, and Adv is misclassified (or, with targets given, taken for its target)
	Linf    []float64 // distance of Adv from the image
	L2      []float64
	L1      []float64
	L0      []int  // values that differ
	Done    []bool // false where a cancelled run did not get to the end

	// Begun is true where the entries above hold what was found, if only so far:
	// where Done is, and where a cancelled run had attacked the image (without success,
	// if the goal is LowestMargin).
	Begun []bool

	// ImageSteps is the number of steps taken by all images, of the gradient or without.
	ImageSteps int64

	// Universal is the one perturbation for all images that Universal found, channels
	// first; empty for other methods. Adv are the images with that added, clipped to [0, 1].
	Universal []float32

	// Stages says what each stage of a cascade did; nil for other methods.
	Stages []Stage
}

// Stage is one stage of a cascade.
type Stage struct {
	Method  string // its textual form
	Images  int    // that it attacked
	Fooled  int    // of them
	Proved  int    // by a stage that proves
	Steps   int64
	Seconds float64
}

// Distance returns how far image i of the result is from its original.
func (r *Result) Distance(n net.Norm, i int) float64 {
	switch n {
	case net.L2:
		return r.L2[i]
	case net.L1:
		return r.L1[i]
	case net.L0:
		return float64(r.L0[i])
	}
	return r.Linf[i]
}

// Count returns the numbers of images that are done, correct from the start,
// and still correct after the attack.
func (r *Result) Count() (done, clean, robust int) {
	for i, d := range r.Done {
		if d {
			done++
			if r.Clean[i] {
				clean++
				if !r.Success[i] {
					robust++
				}
			}
		}
	}
	return done, clean, robust
}

// Tally counts the images of a run by what is known of them. For a cancelled run it
// claims no more than is true: fooled images finish first, so a fraction of the
// finished ones says little.
type Tally struct {
	Wrong     int // misclassified as they are
	Fooled    int
	Robust    int // not fooled, and the attack is through
	Resisting int // correct, and not fooled so far
	NotBegun  int
}

// Tally counts the images by what is known of them.
func (r *Result) Tally() Tally {
	var t Tally
	for i := range r.Done {
		switch {
		case !r.Begun[i]:
			t.NotBegun++
		case !r.Clean[i]:
			t.Wrong++
		case r.Success[i]:
			t.Fooled++
		case r.Done[i]:
			t.Robust++
		default:
			t.Resisting++
		}
	}
	return t
}

// CleanRange returns the least and the most images that are classified correctly.
func (t Tally) CleanRange() (least, most int) {
	least = t.Fooled + t.Robust + t.Resisting
	return least, least + t.NotBegun
}

// RobustRange returns the least and the most images that the whole attack leaves
// correct.
func (t Tally) RobustRange() (least, most int) {
	return t.Robust, t.Robust + t.Resisting + t.NotBegun
}

// NewResult is that of an attack on n images x which has not begun.
func NewResult(x []float32, n int) *Result {
	r := new(Result)
	if n > 0 {
		r.resize(n, len(x)/n)
	}
	copy(r.Adv, x)
	return r
}

// Measure sets the distances of image i, whose original is x.
func (r *Result) Measure(i int, x []float32) {
	var linf, l2, l1 float64
	l0 := 0
	for k, v := range r.Adv[i*len(x) : (i+1)*len(x)] {
		d := math.Abs(float64(v) - float64(x[k]))
		linf = max(linf, d)
		l2 += float64(d * d)
		l1 += d
		if d > 0 {
			l0++
		}
	}
	r.Linf[i], r.L2[i], r.L1[i], r.L0[i] = linf, math.Sqrt(l2), l1, l0
}

func (r *Result) resize(n, size int) {
	if cap(r.Done) < n || cap(r.Adv) < n*size {
		*r = Result{
			Adv: make([]float32, n*size), Label: make([]int, n), Margin: make([]float32, n),
			Linf: make([]float64, n), L2: make([]float64, n), L1: make([]float64, n), L0: make([]int, n),
			Stages: r.Stages,
		}
		for _, flags := range r.flags() {
			*flags = make([]bool, n)
		}
	}
	r.Adv, r.Label, r.Margin, r.L0 = r.Adv[:n*size], r.Label[:n], r.Margin[:n], r.L0[:n]
	for _, flags := range r.flags() {
		*flags = (*flags)[:n]
		clear(*flags)
	}
	for _, d := range []*[]float64{&r.Linf, &r.L2, &r.L1} {
		*d = (*d)[:n]
		clear(*d)
	}
	clear(r.L0)
	for i := range r.Label {
		r.Label[i], r.Margin[i] = -1, float32(math.NaN())
	}
	r.ImageSteps, r.Stages, r.Universal = 0, r.Stages[:0], r.Universal[:0]
}

func (r *Result) flags() [5]*[]bool {
	return [5]*[]bool{&r.Clean, &r.Proved, &r.Success, &r.Done, &r.Begun}
}
