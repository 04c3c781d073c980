package check

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/epsball/epsball/model"
)

// Verdict on a certificate.
type Verdict struct {
	Valid  bool
	Reason string // why not; empty if valid

	// Margin is this package's own lower bound of the smallest row of the
	// specification, if it came that far; −Inf if not.
	Margin float64
}

// Unknown is the label of an image whose label is not known.
const Unknown = -1

// Checker checks certificates of one model. It is immutable and safe for
// concurrent use; a check allocates room for the activations of one image a few
// times over.
type Checker struct {
	net  *network
	hash string
	g    float64
	in   model.Shape
}

// New returns a checker for a model, which must not change from then on. The
// error is Model.Validate's, or says what about it cannot be checked.
func New(m *model.Model) (*Checker, error) {
	if err := m.Validate(); err != nil {
		return nil, err
	}
	n, err := newNetwork(m)
	if err != nil {
		return nil, err
	}
	c := &Checker{net: n, hash: m.Hash(), in: m.Arch.Input}
	c.g, err = n.constants()
	return c, err
}

// Check proves the claim of a certificate anew: x is the image, channels first,
// of the index it names, y its label in the data set, or Unknown. A certificate
// that is not Certified has no claim and is not valid. When ctx ends, so does
// the check, with the context's error; there is no other error.
func (c *Checker) Check(ctx context.Context, cert *Certificate, x []float32, y int) (Verdict, error) {
	margin, err := c.check(ctx, cert, x, y)
	switch {
	case err == nil:
		return Verdict{true, "", margin}, nil
	case ctx.Err() != nil:
		return Verdict{false, "not decided", math.Inf(-1)}, ctx.Err()
	}
	return Verdict{false, err.Error(), margin}, nil
}

func (c *Checker) check(ctx context.Context, cert *Certificate, x []float32, y int) (float64, error) {
	none := math.Inf(-1)
	if cert.Method == BaB {
		return none, errors.New("method: got bab, whose proof is on the lines after the certificate's")
	}
	rows, err := c.claim(cert, x, y)
	if err != nil {
		return none, err
	}
	eps, err := ParseEps(cert.Eps)
	if err != nil {
		return none, err
	}
	slopes, err := c.net.readSlopes(cert, len(rows))
	if err != nil {
		return none, err
	}
	b := newBall(cert.Norm, eps, x, c.in, c.g)
	margin := none
	enough := func(low float64) bool { return low > 0 && low >= cert.Margin }
	// Lines of earlier writers are about ball and box apart, and lines of activations by bounds that are
	// not as good may happen to suit them better.
	for _, b.apart = range []bool{false, true} {
		for _, thorough := range []bool{false, true} {
			if enough(margin) || b.apart && cert.Norm == "linf" || thorough && !deep(cert) {
				continue
			}
			lows, err := c.newState(cert, b).prove(ctx, cert, rows, slopes, thorough)
			if err != nil {
				return margin, err
			}
			if low := slices.Min(lows); !b.apart || enough(low) { // what is said of others is by the first way
				margin = max(margin, low)
			}
		}
	}
	switch {
	case enough(margin):
		return margin, nil
	case margin > 0:
		return margin, fmt.Errorf("margin: got %g, but only %.6g is proved", cert.Margin, margin)
	}
	return margin, fmt.Errorf("not proved: the lower bound is %.6g", margin)
}

func (c *Checker) newState(cert *Certificate, b *ball) *state {
	nodes := len(c.net.nodes)
	return &state{
		network: c.net, ball: b, g: c.g, executed: cert.Level == Executed,
		alpha: make([][]float64, nodes), scratch: make([][]float64, nodes), forms: make([]form, nodes),
	}
}

// deep reports whether layers inside of the network have linear bounds.
func deep(cert *Certificate) bool { return cert.Method == CROWN || cert.Method == AlphaCROWN }

// claim checks everything but the bounds and returns the rows of the
// specification, a constant after the coefficients of each.
func (c *Checker) claim(cert *Certificate, x []float32, y int) ([][]float64, error) {
	outputs := c.net.nodes[len(c.net.nodes)-1].shape.Size()
	switch {
	case !cert.Certified:
		return nil, errors.New("certified: got false, so there is nothing to check")
	case !slices.Contains(levels, cert.Level):
		return nil, fmt.Errorf("level: got %.40q, expected one of %q", cert.Level, levels)
	case !slices.Contains(norms, cert.Norm):
		return nil, fmt.Errorf("norm: got %.40q, expected one of %q", cert.Norm, norms)
	case !slices.Contains(methods, cert.Method):
		return nil, fmt.Errorf("method: got %.40q, expected one of %q", cert.Method, methods)
	case len(cert.Offsets) != len(cert.Rows):
		return nil, fmt.Errorf("offsets: got %d, expected one for each of %d rows", len(cert.Offsets), len(cert.Rows))
	case !(cert.Margin >= 0):
		return nil, fmt.Errorf("margin: got %g, expected a number above 0, or 0 for none", cert.Margin)
	case cert.Model != c.hash:
		return nil, fmt.Errorf("model: got %.12s…, but the model's hash is %.12s…", cert.Model, c.hash)
	case len(x) != c.in.Size():
		return nil, fmt.Errorf("input: the image has %d values, expected %d", len(x), c.in.Size())
	case cert.Input != InputHash(x):
		return nil, fmt.Errorf("input: got %.12s…, but the image's hash is %.12s…", cert.Input, InputHash(x))
	case len(cert.Rows) == 0 && y != Unknown && y != cert.Label:
		return nil, fmt.Errorf("label: got %d, but the data say %d", cert.Label, y)
	case len(cert.Rows) == 0 && (outputs < 2 || cert.Label < 0 || cert.Label >= outputs):
		return nil, fmt.Errorf("label: got %d, expected one of %d outputs", cert.Label, outputs)
	}
	if c.net.maxTerms() > maxTerms && cert.Level == Executed {
		return nil, fmt.Errorf("level: got executed, but sums of more than %d terms cannot be checked", maxTerms)
	}
	for _, v := range x {
		if !(v >= 0 && v <= 1) {
			return nil, fmt.Errorf("input: got a pixel of %v, expected [0, 1]", v)
		}
	}
	if len(cert.Rows) == 0 {
		return marginRows(cert.Label, outputs), nil
	}
	return specification(cert, outputs)
}

// specification returns the rows that a certificate states, an offset after the
// coefficients of each. Those of a region may be of zeros alone: a property has them.
func specification(cert *Certificate, outputs int) (rows [][]float64, err error) {
	for i, r := range cert.Rows {
		row := append(append([]float64{}, r...), cert.Offsets[i])
		switch at := slices.IndexFunc(row, func(v float64) bool { return !(math.Abs(v) <= maxCoefficient) }); {
		case len(r) != outputs:
			return nil, fmt.Errorf("rows[%d]: got %d coefficients, expected %d", i, len(r), outputs)
		case at >= 0:
			return nil, fmt.Errorf("rows[%d]: got %g, expected magnitudes of at most 2^50, offsets included", i, row[at])
		case cert.Region == nil && !slices.ContainsFunc(r, func(v float64) bool { return v != 0 }):
			return nil, fmt.Errorf("rows[%d]: got zeros alone, which say nothing of the model", i)
		}
		rows = append(rows, row)
	}
	return rows, nil
}

// marginRows are output y minus every other, in their order.
func marginRows(y, outputs int) [][]float64 {
	var rows [][]float64
	for j := range outputs {
		if j != y {
			r := make([]float64, outputs+1)
			r[y], r[j] = 1, -1
			rows = append(rows, r)
		}
	}
	return rows
}

func (n *network) maxTerms() (terms int) {
	for i := range n.nodes {
		terms = max(terms, n.nodes[i].terms)
	}
	return terms
}

// prove returns a lower bound of each row. If it is thorough, all elements of
// the layers that the method bounds backward are, not those of open sign alone:
// it matters little, and seldom, as boxes of the rows are better for it.
func (s *state) prove(ctx context.Context, cert *Certificate, rows [][]float64, slopes slopesFor, thorough bool) ([]float64, error) {
	for i := range s.nodes {
		if err := s.interval(i); err != nil {
			return nil, err
		}
		// In a box the intervals of the first layer are as good as rows; in other
		// norms they miss the ball.
		first := s.first(i)
		dual := first && cert.Norm != "linf"
		if !dual && (first || !deep(cert) || !s.bounded(i)) {
			continue
		}
		s.use(slopes, i, 0)
		err := s.tighten(i, dual || thorough, func(sign float64, k int) (float64, error) {
			s.seed(i, k, sign)
			return s.lower(ctx, i, through)
		})
		if err != nil {
			return nil, err
		}
	}
	lows := make([]float64, len(rows))
	for r, row := range rows {
		s.use(slopes, ForRows, r)
		var err error
		if lows[r], err = s.row(ctx, row, cert.Method == IBP); err != nil {
			return nil, err
		}
	}
	return lows, nil
}

// row returns a lower bound of a row of the specification, the best of those from
// the bends before the outputs, and, unless intervals are all, from the input.
func (s *state) row(ctx context.Context, row []float64, intervals bool) (float64, error) {
	last := len(s.nodes) - 1
	stops := []int{last}
	if s.bent(last) {
		stops = append(stops, last-1)
	}
	if !intervals {
		stops = append(stops, through)
	}
	best := math.Inf(-1)
	for _, stop := range stops {
		s.seedRow(last, row)
		low, err := s.lower(ctx, last, stop)
		if err != nil {
			return 0, err
		}
		best = max(best, low)
	}
	if best = down(best + row[len(row)-1]); !(math.Abs(best) <= largest) {
		return 0, errUnbounded
	}
	return best, nil
}

// seedRow starts a form with a row over the outputs, channels first.
func (s *state) seedRow(last int, row []float64) {
	shape := s.nodes[last].shape
	for k := range shape.Size() {
		if v := row[channelsFirst(k, shape)]; v != 0 {
			s.seed(last, k, v)
		}
	}
}

// use selects the slopes for a bounded node, or ForRows and a row.
func (s *state) use(slopes slopesFor, bounded, row int) {
	for i := range s.nodes {
		s.alpha[i] = nil
		if _, ok := s.nodes[i].op.(stated); !ok || bounded >= 0 && i > bounded {
			continue
		}
		a := slopes.of(bounded, i)
		if a == nil {
			continue
		}
		if s.scratch[i] == nil {
			s.scratch[i] = make([]float64, a.size)
		}
		s.alpha[i] = s.scratch[i]
		a.fill(s.alpha[i], row, s.nodes[i].shape)
	}
}
