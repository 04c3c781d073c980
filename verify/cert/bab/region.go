package bab

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/epsball/epsball/verify/branch"
	"github.com/epsball/epsball/verify/cert"
	"github.com/epsball/epsball/verify/check"
)

// ErrBounds is the error of RegionLines for a box that the checker's bounds do not prove.
var ErrBounds = errors.New("the checker's bounds do not prove it")

// RegionLines returns the lines of a certificate of a region, as Lines does: from the record of
// a proof by branch and bound, in which rows are those of c, or, with nil, from bounds of the
// whole box. A part of a record's cuts that the checker's own bounds do not prove is cut further.
func RegionLines(ctx context.Context, k *check.Checker, c *check.Certificate, r *branch.Record, workers int) ([]byte, error) {
	if c.Region == nil {
		return nil, fmt.Errorf("%s: want one of a region", cert.Name(c))
	}
	w, err := begin(ctx, k, c, nil, workers)
	if err != nil {
		return nil, err
	}
	if r != nil && r.Cuts == nil {
		return w.record(r)
	}
	d := &division{writer: w, low: w.claim.Region.Low, high: w.claim.Region.High}
	cuts := []branch.Cut{{Input: -1}}
	if r != nil {
		cuts = r.Cuts
		d.further = furtherCuts
	}
	if err = d.write(cuts); err != nil {
		return nil, fmt.Errorf("%s: %w", cert.Name(c), err)
	}
	return w.out, nil
}

// furtherCuts is how many cuts may be added above each other.
const furtherCuts = 12

// division proves the parts of a region.
type division struct {
	*writer
	low, high []float32 // of the region
	vary      []int     // inputs that are no single number
	further   int
}

// box is a part: its ends at the inputs that vary.
type box struct{ lo, hi []float32 }

func (b box) cut(i int, at float32) (parts [2]box) {
	parts[0] = box{slices.Clone(b.lo), slices.Clone(b.hi)}
	parts[1] = box{slices.Clone(b.lo), slices.Clone(b.hi)}
	parts[0].hi[i], parts[1].lo[i] = at, at
	return parts
}

// write writes the step of the division, each leaf of which it proves, and the end.
func (d *division) write(cuts []branch.Cut) error {
	whole := box{}
	for k, lo := range d.low {
		if d.high[k] > lo {
			d.vary = append(d.vary, k)
			whole.lo, whole.hi = append(whole.lo, lo), append(whole.hi, d.high[k])
		}
	}
	leaves, err := d.leaves(cuts, whole)
	if err != nil {
		return err
	}
	proved, err := d.prove(leaves)
	if err != nil {
		return err
	}
	var parts []check.Part
	var boxes []box
	for _, c := range cuts {
		if c.Input >= 0 {
			parts = append(parts, check.Part{Input: c.Input, At: c.At})
			continue
		}
		parts, boxes = append(parts, proved[0].parts...), append(boxes, proved[0].boxes...)
		proved = proved[1:]
	}
	s := step{}
	for _, p := range parts {
		if p.Input < 0 {
			s.Parts = append(s.Parts, p.Method)
		} else {
			s.Parts = append(s.Parts, [2]any{p.Input, float64(p.At)})
		}
	}
	line, parsed, err := d.line(s)
	if err != nil {
		return err
	}
	if err := d.compare(parsed.Parts, boxes); err != nil {
		return err
	}
	d.out = append(d.out, line...)
	if line, _, err = d.line(step{End: true}); err != nil {
		return err
	}
	d.out = append(d.out, line...)
	return nil
}

// leaves are those of the cuts of a box.
func (d *division) leaves(cuts []branch.Cut, whole box) (list []box, err error) {
	todo := []box{whole}
	for _, c := range cuts {
		if len(todo) == 0 {
			return nil, errors.New("the record has cuts beyond the region")
		}
		b := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		if c.Input < 0 {
			list = append(list, b)
			continue
		}
		i := slices.Index(d.vary, c.Input)
		if i < 0 {
			return nil, fmt.Errorf("the record has a cut at input %d, which does not vary", c.Input)
		}
		p := b.cut(i, c.At)
		todo = append(todo, p[1], p[0])
	}
	if len(todo) > 0 {
		return nil, errors.New("the record has a cut without both of its parts")
	}
	return list, nil
}

// proof is a leaf, or the cuts and leaves in its place.
type proof struct {
	parts []check.Part
	boxes []box // of the leaves
	err   error
}

// prove finds for each leaf how the checker proves it.
func (d *division) prove(leaves []box) ([]proof, error) {
	out := make([]proof, len(leaves))
	var next atomic.Int64
	var failed atomic.Bool
	var wg sync.WaitGroup
	for range max(1, min(d.workers, len(leaves))) {
		wg.Go(func() {
			lo, hi := slices.Clone(d.low), slices.Clone(d.high)
			for n := int(next.Add(1) - 1); n < len(leaves) && !failed.Load(); n = int(next.Add(1) - 1) {
				if err := d.one(&out[n], lo, hi, leaves[n], d.further); err != nil {
					out[n].err = err
					failed.Store(true)
				}
			}
		})
	}
	wg.Wait()
	for _, p := range out {
		if p.err != nil {
			return nil, p.err
		}
	}
	return out, nil
}

// one proves a part, with so many further cuts above each other. lo and hi are room for its
// ends at all inputs.
func (d *division) one(p *proof, lo, hi []float32, b box, further int) error {
	for i, k := range d.vary {
		lo[k], hi[k] = b.lo[i], b.hi[i]
	}
	for _, method := range []string{check.CROWNIBP, check.CROWN} {
		low, err := d.proof.Part(d.ctx, lo, hi, method)
		if d.ctx.Err() != nil {
			return d.ctx.Err()
		}
		if err == nil && low > 0 {
			p.parts, p.boxes = append(p.parts, check.Part{Input: -1, Method: method}), append(p.boxes, b)
			return nil
		}
	}
	at, most := -1, float64(0)
	for i, k := range d.vary {
		width := (float64(b.hi[i]) - float64(b.lo[i])) / (float64(d.high[k]) - float64(d.low[k]))
		m := middle(b.lo[i], b.hi[i])
		if width > most && m > b.lo[i] && m < b.hi[i] {
			at, most = i, width
		}
	}
	if further == 0 || at < 0 {
		return ErrBounds
	}
	m := middle(b.lo[at], b.hi[at])
	p.parts = append(p.parts, check.Part{Input: d.vary[at], At: m})
	for _, half := range b.cut(at, m) {
		if err := d.one(p, lo, hi, half, further-1); err != nil {
			return err
		}
	}
	return nil
}

func middle(lo, hi float32) float32 { return float32((float64(lo) + float64(hi)) / 2) }

// compare sees to it that the leaves of a division, as it is read, are those that are proved.
func (d *division) compare(parts []check.Part, boxes []box) error {
	n := 0
	same := true
	err := d.claim.Region.Divide(parts, func(lo, hi []float32, _ string) bool {
		if same = n < len(boxes); !same {
			return false
		}
		for i, k := range d.vary {
			same = same && lo[k] == boxes[n].lo[i] && hi[k] == boxes[n].hi[i]
		}
		n++
		return same
	})
	if err == nil && (!same || n != len(boxes)) {
		err = fmt.Errorf("leaf %d of the division is not the part that was proved", n)
	}
	return err
}
