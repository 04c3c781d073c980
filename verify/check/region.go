package check

import (
	"errors"
	"fmt"
	"slices"
)

// Region is what a certificate of a property is about: for every input of a box, each clause
// of the specification has a row above 0.
type Region struct {
	Property  string    // name of the property; informative
	Low, High []float32 // ends of the box, channels first

	// Clauses holds the number of rows of each clause, in their order; nil: each row is a
	// clause of its own.
	Clauses []int
}

// set reads one of the members that only lines of version 3 have.
func (r *Region) set(key string, val []byte) (err error) {
	switch key {
	case "property":
		err = text(val, &r.Property)
	case "low":
		r.Low, err = floats(val)
	case "high":
		r.High, err = floats(val)
	case "clauses":
		r.Clauses = []int{}
		err = elements(val, MaxRows, func(v []byte) error {
			r.Clauses = append(r.Clauses, 0)
			return integer(v, &r.Clauses[len(r.Clauses)-1])
		})
	default:
		err = errors.New("unknown key")
	}
	return err
}

// completeRegion is complete for a line of version 3.
func (c *Certificate) completeRegion(seen []string, version int) error {
	err := need(seen, "format", "version", "model", "level", "property", "index", "low", "high", "rows", "offsets", "run", "method", "certified")
	for _, key := range []string{"data", "input", "label", "norm", "eps", "margin", "slopes"} {
		if err == nil && slices.Contains(seen, key) {
			err = fmt.Errorf("%s: got it in version %d, which is about a region", key, version)
		}
	}
	switch {
	case err != nil:
		return err
	case version != Regions:
		return fmt.Errorf("version: got %d for a region, expected %d", version, Regions)
	case c.Method != BaB:
		return fmt.Errorf("method: got %s in version %d, expected bab", c.Method, version)
	case len(c.Rows) == 0 || len(c.Rows) != len(c.Offsets):
		return fmt.Errorf("offsets: got %d for %d rows, expected as many, at least one", len(c.Offsets), len(c.Rows))
	}
	return c.Region.validate(len(c.Rows))
}

// validate checks all but what depends on the model.
func (r *Region) validate(rows int) error {
	if len(r.Low) == 0 || len(r.Low) != len(r.High) {
		return fmt.Errorf("high: got %d numbers for %d of low, expected as many, at least one", len(r.High), len(r.Low))
	}
	for k, lo := range r.Low {
		if hi := r.High[k]; !(lo <= hi) || lo-lo != 0 || hi-hi != 0 {
			return fmt.Errorf("low[%d]: got %v to %v, expected finite numbers in order", k, lo, hi)
		}
	}
	left := rows
	for i, n := range r.Clauses {
		if n < 1 || n > left {
			return fmt.Errorf("clauses[%d]: got %d rows, expected 1 to %d, which are left of %d", i, n, left, rows)
		}
		left -= n
	}
	if r.Clauses != nil && left != 0 {
		return fmt.Errorf("clauses: got clauses of %d rows, expected all %d", rows-left, rows)
	}
	return nil
}

// beginRegion is Begin for a certificate of a region.
func (c *Checker) beginRegion(cert *Certificate) (*Proof, error) {
	r := cert.Region
	switch {
	case !cert.Certified:
		return nil, errors.New("certified: got false, so there is nothing to check")
	case !slices.Contains(levels, cert.Level):
		return nil, fmt.Errorf("level: got %.40q, expected one of %q", cert.Level, levels)
	case len(cert.Rows) == 0 || len(cert.Offsets) != len(cert.Rows):
		return nil, fmt.Errorf("offsets: got %d for %d rows, expected as many, at least one", len(cert.Offsets), len(cert.Rows))
	case cert.Model != c.hash:
		return nil, fmt.Errorf("model: got %.12s…, but the model's hash is %.12s…", cert.Model, c.hash)
	case len(r.Low) != c.in.Size():
		return nil, fmt.Errorf("low: got %d numbers, but the model has %d inputs", len(r.Low), c.in.Size())
	case c.net.maxTerms() > maxTerms && cert.Level == Executed:
		return nil, fmt.Errorf("level: got executed, but sums of more than %d terms cannot be checked", maxTerms)
	}
	if err := r.validate(len(cert.Rows)); err != nil {
		return nil, err
	}
	rows, err := specification(cert, c.net.nodes[len(c.net.nodes)-1].shape.Size())
	if err != nil {
		return nil, err
	}
	box := *cert
	box.Norm = "linf" // a box has the bounds of that
	return c.begin(&box, rows, r.Clauses, newBox(r.Low, r.High, c.in, c.g)), nil
}
