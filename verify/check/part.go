package check

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"sync"
	"sync/atomic"
)

// Part is a node of a region's division into boxes, in preorder. A cut [k, a] makes of a box
// the part with x_k ≤ a, which comes first, and the one with x_k ≥ a: each input of the box is
// in one of the two, by its own x_k, exact or float32. So what is proved of all leaves is
// proved of the region.
type Part struct {
	Input  int     // that the cut is at, channels first; −1: a leaf
	At     float32 // strictly within the box
	Method string  // of a leaf: IBP, CROWNIBP or CROWN
}

func (s *Step) addPart(val []byte) error {
	p := Part{Input: -1}
	if !bytes.HasPrefix(val, []byte("[")) {
		s.Parts = append(s.Parts, p)
		return oneOf(val, &s.Parts[len(s.Parts)-1].Method, IBP, CROWNIBP, CROWN)
	}
	n := 0
	err := elements(val, 2, func(v []byte) error {
		if n++; n == 1 {
			return integer(v, &p.Input)
		}
		var err error
		p.At, err = float32Of(v)
		return err
	})
	if err == nil && n != 2 {
		err = fmt.Errorf("got %d numbers, expected an input and where to cut", n)
	}
	s.Parts = append(s.Parts, p)
	return err
}

// cut is one above the part that is being walked.
type cut struct {
	k      int
	at     float32
	other  float32 // the end that the cut has replaced
	second bool    // the part with x_k ≥ a
}

// Divide checks the shape of a division and calls f with the ends of its leaves, channels
// first, and their methods, in order, until f returns false. The ends are good until f returns.
func (r *Region) Divide(parts []Part, f func(lo, hi []float32, method string) bool) error {
	lo, hi := slices.Clone(r.Low), slices.Clone(r.High)
	var path []cut
	for i, p := range parts {
		if p.Input >= 0 {
			switch {
			case p.Input >= len(lo):
				return fmt.Errorf("parts[%d]: got a cut at input %d, but there are %d", i, p.Input, len(lo))
			case !(lo[p.Input] < p.At && p.At < hi[p.Input]):
				return fmt.Errorf("parts[%d]: got a cut at %v, expected one within %v and %v", i, p.At, lo[p.Input], hi[p.Input])
			}
			if path = append(path, cut{k: p.Input, at: p.At, other: hi[p.Input]}); len(path) > maxDepth {
				return fmt.Errorf("parts[%d]: got more than %d cuts above each other", i, maxDepth)
			}
			hi[p.Input] = p.At
			continue
		}
		if !f(lo, hi, p.Method) {
			return nil
		}
		for len(path) > 0 && path[len(path)-1].second { // both parts are there
			c := &path[len(path)-1]
			lo[c.k] = c.other
			path = path[:len(path)-1]
		}
		if len(path) == 0 {
			if i+1 < len(parts) {
				return fmt.Errorf("parts[%d]: got more after the whole region", i+1)
			}
			return nil
		}
		c := &path[len(path)-1]
		hi[c.k], c.other, lo[c.k], c.second = c.other, lo[c.k], c.at, true
	}
	return errors.New("parts: a part of a cut is missing")
}

// parts proves the specification on each part of the region.
func (p *Proof) parts(ctx context.Context, s *Step) error {
	// The shape first, so that a division that is not whole costs nothing.
	if err := p.cert.Region.Divide(s.Parts, func(_, _ []float32, _ string) bool { return true }); err != nil {
		return err
	}
	var mu sync.Mutex
	var failed atomic.Bool
	low := make([]float64, len(p.low))
	for i := range low {
		low[i] = math.Inf(1)
	}
	var first error // of the leaf with the lowest number: those before it have been sent before it
	number := math.MaxInt
	type box struct {
		number int
		lo, hi []float32
		method string
	}
	leaves := make(chan box)
	var wg sync.WaitGroup
	for range max(1, p.Workers) {
		wg.Go(func() {
			for b := range leaves {
				lows, err := p.part(ctx, b.lo, b.hi, b.method)
				if at := slices.IndexFunc(lows, func(v float64) bool { return !(v > 0) }); err == nil && at >= 0 {
					err = fmt.Errorf("the lower bound of clause %d is %.9g", at, lows[at])
				}
				mu.Lock()
				if err != nil {
					failed.Store(true)
					if b.number < number {
						number, first = b.number, fmt.Errorf("parts: leaf %d is not proved: %w", b.number, err)
					}
				}
				for i, v := range lows {
					low[i] = min(low[i], v)
				}
				mu.Unlock()
			}
		})
	}
	sent := 0
	_ = p.cert.Region.Divide(s.Parts, func(lo, hi []float32, method string) bool { // it has been checked above
		leaves <- box{sent, slices.Clone(lo), slices.Clone(hi), method}
		sent++
		return !failed.Load()
	})
	close(leaves)
	wg.Wait()
	if first != nil {
		return first
	}
	for i := range p.low {
		p.low[i] = max(p.low[i], low[i])
	}
	return nil
}

// part returns lower bounds of the clauses on a part of the region, by a method of those of
// certificates of version 1.
func (p *Proof) part(ctx context.Context, lo, hi []float32, method string) ([]float64, error) {
	one := *p.cert
	one.Method = method
	b := newBox(lo, hi, p.checker.in, p.checker.g)
	var clauses []float64
	for _, thorough := range []bool{false, true} {
		if thorough && (!deep(&one) || slices.Min(clauses) > 0) {
			break
		}
		rows, err := p.checker.newState(&one, b).prove(ctx, &one, p.rows, nil, thorough)
		if err != nil {
			return nil, err
		}
		for i, c := range p.clauses {
			v := slices.Max(rows[c[0]:c[1]])
			if thorough {
				clauses[i] = max(clauses[i], v)
			} else {
				clauses = append(clauses, v)
			}
		}
	}
	return clauses, nil
}

// Part returns a lower bound of the clause with the lowest one on a part of the certificate's
// region, by one of the methods of leaves: what a writer states of a leaf is valid if it is
// above 0. Ends are channels first. Several goroutines may call it at once.
func (p *Proof) Part(ctx context.Context, lo, hi []float32, method string) (float64, error) {
	if p.cert.Region == nil {
		return 0, errors.New("part: the certificate is not of a region")
	}
	r := Region{Low: lo, High: hi}
	if err := r.validate(0); err != nil {
		return 0, err
	}
	if len(lo) != len(p.cert.Region.Low) || !slices.Contains([]string{IBP, CROWNIBP, CROWN}, method) {
		return 0, fmt.Errorf("part: got %d inputs and method %.40q, expected %d and ibp, crown-ibp or crown", len(lo), method, len(p.cert.Region.Low))
	}
	lows, err := p.part(ctx, lo, hi, method)
	if err != nil {
		return 0, err
	}
	return slices.Min(lows), nil
}
