package query

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/big"
	"slices"

	"github.com/epsball/epsball/audit"
	"github.com/epsball/epsball/kernels"
	"github.com/epsball/epsball/net"
	"github.com/epsball/epsball/verify"
	"github.com/epsball/epsball/verify/branch"
	"github.com/epsball/epsball/verify/cert/bab"
	"github.com/epsball/epsball/verify/check"
)

// Writer writes certificates of questions whose properties hold, each proved anew as it is
// written.
type Writer struct {
	Checker *check.Checker
	Network *net.Network
	Pool    *kernels.Pool
	Workers int // that check
	Common  check.Certificate
	Name    string // of the property, informative
}

// Lines returns the lines of certificates of all questions, a region each, from a decision that
// has recorded its proofs.
func (w *Writer) Lines(ctx context.Context, s *Questions, d *audit.Decision) (lines []byte, err error) {
	if d.Answer != audit.Holds || len(d.Proofs) != len(s.List) {
		return nil, errors.New("there are no proofs of the questions")
	}
	for i := range s.List {
		one, err := w.region(ctx, &s.List[i], i, d.Proofs[i])
		if err != nil {
			return nil, err
		}
		lines = append(lines, one...)
	}
	return lines, nil
}

func (w *Writer) region(ctx context.Context, q *audit.Question, index int, r *branch.Record) ([]byte, error) {
	c, region := w.Common, q.Region()
	c.Level, c.Index, c.Label = check.Executed, index, -1
	c.Region = &check.Region{Property: w.Name, Low: region.Lo, High: region.Hi, Clauses: q.Proves.Clauses}
	outputs := w.Network.Classes()
	for i, n := 0, len(q.Proves.C)/outputs; i < n; i++ {
		c.Rows, c.Offsets = append(c.Rows, wide(q.Proves.C[i*outputs:(i+1)*outputs])), append(c.Offsets, offset(q.Proves, i))
	}
	lines, err := bab.RegionLines(ctx, w.Checker, &c, r, w.Workers)
	if r != nil || !errors.Is(err, bab.ErrBounds) {
		return lines, err
	}
	// The prover's bounds are a little better here than the checker's: divide.
	v, err := verify.New(w.Network, w.Pool)
	if err != nil {
		return nil, err
	}
	v.JoinBalls()
	r = &branch.Record{ByInputs: true}
	res, err := branch.Prove(ctx, v, region, q.Proves, branch.Options{Record: r})
	switch {
	case err != nil:
		return nil, err
	case !res.Proved:
		return nil, cmp.Or(ctx.Err(), fmt.Errorf("region %d: bounds prove it, but there is no proof that the checker follows", index))
	}
	return bab.RegionLines(ctx, w.Checker, &c, r, w.Workers)
}

func wide(v []float32) (out []float64) {
	for _, x := range v {
		out = append(out, float64(x))
	}
	return out
}

func offset(p *net.Property, row int) float64 {
	if p.D == nil {
		return 0
	}
	return float64(p.D[row])
}

// Implied says, by its error, why a certificate of a region, if it is valid, would not answer
// the question of its index: its box must contain the question's, exactly, and its
// specification be the question's, with constants that are no larger.
func (s *Questions) Implied(c *check.Certificate) error {
	if c.Region == nil {
		return errors.New("property: the certificate is of an image, not of a region of a property")
	}
	if c.Index >= len(s.List) {
		return fmt.Errorf("index: got region %d, but the property has %d", c.Index, len(s.List))
	}
	q := &s.List[c.Index]
	if n := len(q.Box.Lo); len(c.Region.Low) != n {
		return fmt.Errorf("low: got %d numbers, but the property has %d inputs", len(c.Region.Low), n)
	}
	for k, lo := range q.Box.Lo {
		a, b := new(big.Rat).SetFloat64(float64(c.Region.Low[k])), new(big.Rat).SetFloat64(float64(c.Region.High[k]))
		if a == nil || b == nil || a.Cmp(lo) > 0 || b.Cmp(q.Box.Hi[k]) < 0 {
			return fmt.Errorf("low, high: got [%v, %v] of input %d, which does not contain the property's", c.Region.Low[k], c.Region.High[k], k)
		}
	}
	outputs, rows := 0, len(c.Rows)
	if rows > 0 {
		outputs = len(c.Rows[0])
	}
	if outputs*rows != len(q.Proves.C) {
		return fmt.Errorf("rows: got %d of %d outputs, but the property has %d coefficients", rows, outputs, len(q.Proves.C))
	}
	if !slices.Equal(clauses(c.Region.Clauses, rows), q.Proves.ClauseRows(outputs)) {
		return fmt.Errorf("clauses: got %v, but the property has %v", clauses(c.Region.Clauses, rows), q.Proves.ClauseRows(outputs))
	}
	for i, r := range c.Rows {
		if !slices.Equal(r, wide(q.Proves.C[i*outputs:(i+1)*outputs])) {
			return fmt.Errorf("rows[%d]: not the property's", i)
		}
		if d := offset(q.Proves, i); !(c.Offsets[i] <= d) {
			return fmt.Errorf("offsets[%d]: got %v, which is above the property's %v", i, c.Offsets[i], d)
		}
	}
	return nil
}

func clauses(list []int, rows int) []int {
	if list == nil {
		return slices.Repeat([]int{1}, rows)
	}
	return list
}
