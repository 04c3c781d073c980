package verify

import "math"

// Batch is images and their labels.
type Batch struct {
	X []float32 // n images, channels first, pixels in [0, 1]
	Y []int     // the label each is to be proved to keep
}

// With returns the images of b with the labels y.
func (b Batch) With(y []int) Batch { return Batch{b.X, y} }

// Result holds one entry an image or region.
type Result struct {
	Certified []bool
	// Margin is a proved lower bound of the label's logit minus every other, or that
	// of the property (Property.Margin), over the region, as executed in float32; −Inf
	// where no bound was found.
	Margin []float32
	Done   []bool // false where a cancelled run did not get to
	// Method is the one that Margin is of: the first to certify where several were
	// tried, or the last.
	Method []Method
}

// Count returns the numbers of images done and certified.
func (r *Result) Count() (done, certified int) {
	for i, d := range r.Done {
		if d {
			done++
			if r.Certified[i] {
				certified++
			}
		}
	}
	return done, certified
}

func (r *Result) resize(n int) {
	if cap(r.Done) < n || cap(r.Method) < n {
		*r = Result{Certified: make([]bool, n), Margin: make([]float32, n), Done: make([]bool, n), Method: make([]Method, n)}
	}
	r.Certified, r.Margin, r.Done, r.Method = r.Certified[:n], r.Margin[:n], r.Done[:n], r.Method[:n]
	clear(r.Method)
	clear(r.Certified)
	clear(r.Done)
	for i := range r.Margin {
		r.Margin[i] = float32(math.Inf(-1))
	}
}

// set finishes entry i.
func (r *Result) set(i int, margin float32, m Method) {
	r.Margin[i], r.Certified[i], r.Method[i], r.Done[i] = margin, margin > 0, m, true
}

// Interval bounds the outputs of a node, with what it adds, before the ReLU that it ends
// in, exact and as executed, channels first.
type Interval struct{ Lower, Upper []float32 }
