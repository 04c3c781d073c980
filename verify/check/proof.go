package check

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
)

// Proof checks a certificate of method BaB, step by step. Each step is proved from those
// before it, so steps that are missing or in another order can lose a proof, but not make
// one. It must be used by one goroutine at a time.
type Proof struct {
	Workers int // goroutines that bound leaves; 0: one

	checker *Checker
	cert    *Certificate
	rows    [][]float64
	clauses [][2]int  // first row, and row after the last
	low     []float64 // of clauses; −Inf: not proved yet
	frame   *state    // bounds of nodes as far as they are known
	stated  []*statement
	steps   int // so far
	ended   bool
	err     error
}

// statement is what steps have stated of a node, proved; channels last.
type statement struct {
	lo, hi []float64
	set    []bool
}

// Begin starts to check a certificate of method BaB, whose steps follow. x and y are as in
// Check; they mean nothing to a certificate of a region. The error says what is wrong with the
// certificate's own line.
func (c *Checker) Begin(cert *Certificate, x []float32, y int) (*Proof, error) {
	if cert.Method != BaB {
		return nil, fmt.Errorf("method: got %.40q, which has no steps", cert.Method)
	}
	if cert.Region != nil {
		return c.beginRegion(cert)
	}
	rows, err := c.claim(cert, x, y)
	if err != nil {
		return nil, err
	}
	eps, err := ParseEps(cert.Eps)
	if err != nil {
		return nil, err
	}
	return c.begin(cert, rows, nil, newBall(cert.Norm, eps, x, c.in, c.g)), nil
}

// begin returns a proof with nothing proved; no clauses: each row is one.
func (c *Checker) begin(cert *Certificate, rows [][]float64, clauses []int, b *ball) *Proof {
	p := &Proof{checker: c, cert: cert, rows: rows, frame: c.newState(cert, b), stated: make([]*statement, len(c.net.nodes))}
	if clauses == nil {
		clauses = slices.Repeat([]int{1}, len(rows))
	}
	from := 0
	for _, n := range clauses {
		p.clauses, p.low = append(p.clauses, [2]int{from, from + n}), append(p.low, math.Inf(-1))
		from += n
	}
	return p
}

// version is that of the certificate's steps.
func (p *Proof) version() int {
	if p.cert.Region != nil {
		return Regions
	}
	return Trees
}

// Step proves a step. After an error, which is returned again by the next calls, the
// certificate is not valid; if ctx ends the error is the context's.
func (p *Proof) Step(ctx context.Context, s *Step) error {
	if p.err != nil {
		return p.err
	}
	p.steps++
	if err := p.step(ctx, s); err != nil && ctx.Err() != nil {
		p.err = ctx.Err()
	} else if err != nil {
		p.err = fmt.Errorf("step %d: %w", p.steps, err)
	}
	return p.err
}

// Refuse makes the certificate not valid, for what is wrong with a line that should have
// been its next step.
func (p *Proof) Refuse(err error) {
	if p.err == nil {
		p.err = fmt.Errorf("step %d: %w", p.steps+1, err)
	}
}

// Ended reports whether the last step has been proved: no other belongs to the certificate.
func (p *Proof) Ended() bool { return p.ended }

// Verdict says whether the certificate is valid: all steps, up to the last one, are proved.
func (p *Proof) Verdict() Verdict {
	switch {
	case p.err != nil:
		return Verdict{false, p.err.Error(), math.Inf(-1)}
	case !p.ended:
		return Verdict{false, fmt.Sprintf("step %d: missing", p.steps+1), math.Inf(-1)}
	}
	return Verdict{true, "", slices.Min(p.low)}
}

func (p *Proof) step(ctx context.Context, s *Step) error {
	switch {
	case p.ended:
		return errors.New("got a step after the end")
	case s.Version != p.version():
		return fmt.Errorf("version: got a step of version %d, expected %d, which the certificate is of", s.Version, p.version())
	case s.Of != p.cert.Sum:
		return fmt.Errorf("of: got %.12s…, but the certificate's sum is %.12s…", s.Of, p.cert.Sum)
	case s.Number != p.steps || s.Number > maxSteps:
		return fmt.Errorf("step: got %d, expected %d, and at most %d", s.Number, p.steps, maxSteps)
	case s.End:
		for r, low := range p.low {
			if !(low > 0) {
				return fmt.Errorf("end: %s %d of the specification is not proved", p.what(), r)
			}
		}
		p.ended = true
		return nil
	case s.Row >= 0:
		return p.clause(ctx, s, s.Row)
	case s.Clause >= 0:
		return p.clause(ctx, s, s.Clause)
	case s.Parts != nil:
		return p.parts(ctx, s)
	}
	return p.bounds(ctx, s)
}

// what names the parts of the specification that steps are about.
func (p *Proof) what() string {
	if p.version() == Trees {
		return "row"
	}
	return "clause"
}

// clause proves a clause of the specification, or a row, which is one of its own: some row of
// it at each leaf.
func (p *Proof) clause(ctx context.Context, s *Step, number int) error {
	if number >= len(p.clauses) {
		return fmt.Errorf("%s: got %d, but the specification has %d", p.what(), number, len(p.clauses))
	}
	c := p.clauses[number]
	for i, r := range s.Trees[0].Rows {
		if r < c[0] || r >= c[1] {
			return fmt.Errorf("rows[%d]: got %d, but clause %d has rows %d to %d", i, r, number, c[0], c[1]-1)
		}
	}
	last := len(p.frame.nodes) - 1
	if err := p.frameTo(ctx, last); err != nil {
		return err
	}
	row := func(l *leaf) []float64 {
		if p.version() == Trees {
			return p.rows[c[0]]
		}
		return p.rows[s.Trees[0].Rows[l.number]]
	}
	lows, err := p.prove(ctx, s, last, func(l *leaf, w *state) { w.seedRow(last, row(l)) }, func(l *leaf, low float64) (float64, float64) {
		r := row(l)
		return down(low + r[len(r)-1]), math.SmallestNonzeroFloat64
	})
	if err != nil {
		return err
	}
	p.low[number] = max(p.low[number], lows[0])
	return nil
}

// frameTo makes the bounds of all nodes up to i known.
func (p *Proof) frameTo(ctx context.Context, i int) error {
	for n := len(p.frame.bounds); n <= i; n++ {
		if err := p.own(ctx, n); err != nil {
			return err
		}
		if err := p.apply(n); err != nil {
			return err
		}
	}
	return nil
}

// own bounds node n, the next one, by itself: by its interval, and in the norms l2 and l1
// by the ball, where all before it is linear.
func (p *Proof) own(ctx context.Context, n int) error {
	s := p.frame
	if err := s.interval(n); err != nil || p.cert.Norm == "linf" || !s.first(n) && (!s.bounded(n) || s.nodes[n].behind) {
		return err
	}
	return s.tighten(n, true, func(sign float64, k int) (float64, error) {
		s.seed(n, k, sign)
		return s.lower(ctx, n, through)
	})
}

// apply puts what is stated of node n in the place of its own bounds.
func (p *Proof) apply(n int) error {
	t := p.stated[n]
	if t == nil {
		return nil
	}
	b := &p.frame.bounds[n]
	for k, set := range t.set {
		if set {
			b.lo[k], b.hi[k] = t.lo[k], t.hi[k]
		}
	}
	return b.close()
}

// bounds proves bounds of elements of a layer, which hold from then on.
func (p *Proof) bounds(ctx context.Context, s *Step) error {
	n := s.Layer + 1
	if n >= len(p.frame.nodes) || len(p.frame.nodes[n].bends) == 0 {
		return fmt.Errorf("layer: got %d, expected one that a layer reads which is not linear", s.Layer)
	}
	shape := p.frame.nodes[n].shape
	if k := s.Elements[len(s.Elements)-1]; k >= shape.Size() {
		return fmt.Errorf("elements: got %d, but layer %d has %d", k, s.Layer, shape.Size())
	}
	if err := p.frameTo(ctx, n-1); err != nil {
		return err
	}
	p.frame.bounds = p.frame.bounds[:n]
	if err := p.own(ctx, n); err != nil {
		return err
	}
	if p.stated[n] == nil {
		p.stated[n] = &statement{make([]float64, shape.Size()), make([]float64, shape.Size()), make([]bool, shape.Size())}
	}
	t, b := p.stated[n], &p.frame.bounds[n]
	_, err := p.prove(ctx, s, n, func(l *leaf, w *state) {
		sign := 1.0
		if s.Trees[l.tree].High {
			sign = -1
		}
		w.seed(n, channelsLast(s.Trees[l.tree].Element, shape), sign)
	}, func(l *leaf, low float64) (float64, float64) {
		at, _ := slices.BinarySearch(s.Elements, s.Trees[l.tree].Element)
		if s.Trees[l.tree].High {
			return low, -float64(s.High[at])
		}
		return low, float64(s.Low[at])
	})
	if err != nil {
		return err
	}
	shown := [2]map[int]bool{{}, {}} // ends that have trees
	for _, t := range s.Trees {
		end := 0
		if t.High {
			end = 1
		}
		shown[end][t.Element] = true
	}
	for i, e := range s.Elements {
		k, lo, hi := channelsLast(e, shape), float64(s.Low[i]), float64(s.High[i])
		least, most := b.lo[k], b.hi[k]
		if t.set[k] {
			least, most = max(least, t.lo[k]), min(most, t.hi[k])
		}
		if !(lo <= least || shown[0][e]) || !(hi >= most || shown[1][e]) {
			return fmt.Errorf("elements[%d]: got [%v, %v] for element %d, but without a tree [%.9g, %.9g] is known", i, lo, hi, e, least, most)
		}
	}
	for i, e := range s.Elements {
		k := channelsLast(e, shape)
		t.lo[k], t.hi[k], t.set[k] = float64(s.Low[i]), float64(s.High[i]), true
	}
	return p.apply(n)
}
