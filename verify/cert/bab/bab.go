// Package bab writes certificates of proofs by branch and bound (docs/certificate.md, versions
// 2 and 3) from what package branch has taken down of them.
package bab

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"slices"

	"github.com/epsball/epsball/internal/journal"
	"github.com/epsball/epsball/verify/branch"
	"github.com/epsball/epsball/verify/cert"
	"github.com/epsball/epsball/verify/check"
)

// step is the line of a step in the order of its keys.
type step struct {
	Format   string     `json:"format"`
	Version  int        `json:"version"`
	Of       string     `json:"of"`
	Step     int        `json:"step"`
	End      bool       `json:"end,omitempty"`
	Layer    *int       `json:"layer,omitempty"`
	Elements []int      `json:"elements,omitempty"`
	Low      string     `json:"low,omitempty"`
	High     string     `json:"high,omitempty"`
	Row      *int       `json:"row,omitempty"`
	Clause   *int       `json:"clause,omitempty"`
	Parts    []any      `json:"parts,omitempty"` // [2]any: a cut; string: the method of a leaf
	Slopes   [][]window `json:"slopes,omitempty"`
	Trees    []tree     `json:"trees,omitempty"`
}

type window struct {
	ReLU   int    `json:"relu"`
	Window [4]int `json:"window"`
	Alpha  string `json:"alpha,omitempty"`
	Point  string `json:"point,omitempty"`
}

type tree struct {
	Element *int   `json:"element,omitempty"`
	End     string `json:"end,omitempty"`
	Nodes   []any  `json:"nodes"` // of two, three or four numbers: a split; int: a leaf
	Rows    []int  `json:"rows,omitempty"`
	Beta    string `json:"beta"`
}

// Lines returns the lines of a certificate by branch and bound, newlines included, from the
// record of a proof: c's own, with Method and Certified set, and its steps. Each is checked
// as it is made, on so many workers, with x the image; so an error is that of a proof that
// the checker does not follow, of ctx, or of a certificate that could not be read back.
// The record is one of branch.Prove that has proved the specification of c, a row a clause
// (verify.LabelProperty makes those of a label), over its ball.
func Lines(ctx context.Context, k *check.Checker, c *check.Certificate, x []float32, r *branch.Record, workers int) ([]byte, error) {
	w, err := begin(ctx, k, c, x, workers)
	if err != nil {
		return nil, err
	}
	return w.record(r)
}

// begin writes the line of a claim.
func begin(ctx context.Context, k *check.Checker, c *check.Certificate, x []float32, workers int) (*writer, error) {
	claim := *c
	claim.Method, claim.Certified, claim.Margin, claim.Slopes = check.BaB, true, 0, nil
	out, err := cert.Append(nil, &claim)
	if err != nil {
		return nil, err
	}
	parsed, err := check.Parse(bytes.TrimSuffix(out, []byte("\n")))
	if err != nil {
		return nil, err
	}
	p, err := k.Begin(parsed, x, check.Unknown)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", cert.Name(c), err)
	}
	p.Workers = workers
	w := &writer{ctx: ctx, proof: p, claim: parsed, version: check.Trees, workers: workers, out: out}
	if c.Region != nil {
		w.version = check.Regions
	}
	return w, nil
}

// record writes the steps of a record, and the end.
func (w *writer) record(r *branch.Record) (lines []byte, err error) {
	for i := range r.Steps {
		if err = w.step(&r.Steps[i]); err != nil {
			break
		}
	}
	if err == nil {
		err = w.add(step{End: true})
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", cert.Name(w.claim), err)
	}
	return w.out, nil
}

// writer appends steps that its proof follows.
type writer struct {
	ctx     context.Context
	proof   *check.Proof
	claim   *check.Certificate
	version int // of the lines
	workers int
	n       int
	out     []byte
}

// line makes the line of a step, and reads it back.
func (w *writer) line(s step) (line []byte, parsed *check.Step, err error) {
	w.n++
	s.Format, s.Version, s.Of, s.Step = check.Format, w.version, w.claim.Sum, w.n
	if line, err = journal.Seal(nil, s); err != nil {
		return nil, nil, err
	}
	parsed, err = check.ParseStep(bytes.TrimSuffix(line, []byte("\n")))
	return line, parsed, err
}

func (w *writer) add(s step) error {
	line, parsed, err := w.line(s)
	if err != nil {
		return err
	}
	if err := w.proof.Step(w.ctx, parsed); err != nil {
		return err
	}
	w.out = append(w.out, line...)
	return nil
}

// lineNodes is how many elements and nodes of trees a line should have.
const lineNodes = 4096

// step writes a step of a record, in several lines if it is large: bounds of elements of
// one layer do not depend on each other.
func (w *writer) step(s *branch.Step) error {
	if s.Layer < 0 && w.version == check.Regions {
		line := newLine(s)
		line.step.Clause = &s.Clause
		line.tree(&s.Trees[0])
		return w.add(line.step)
	}
	if s.Layer < 0 {
		for _, l := range s.Trees[0].Leaves {
			if l.Row != s.Clause {
				return fmt.Errorf("clause %d: got row %d in a leaf, want each row to be a clause of its own", s.Clause, l.Row)
			}
		}
		line := newLine(s)
		line.step.Row = &s.Clause
		line.tree(&s.Trees[0])
		line.step.Trees[0].Rows = nil
		return w.add(line.step)
	}
	elements, trees := slices.Clone(s.Elements), slices.Clone(s.Trees)
	slices.SortFunc(elements, func(a, b branch.Interval) int { return cmp.Compare(a.Element, b.Element) })
	slices.SortStableFunc(trees, func(a, b branch.Tree) int { return cmp.Compare(a.Element, b.Element) })
	for len(elements) > 0 {
		line, size := newLine(s), 0
		line.step.Layer = &s.Layer
		var low, high []float32
		for len(elements) > 0 && size < lineNodes {
			e := elements[0]
			line.step.Elements, elements = append(line.step.Elements, e.Element), elements[1:]
			low, high = append(low, e.Low), append(high, e.High)
			for size++; len(trees) > 0 && trees[0].Element == e.Element; trees = trees[1:] {
				line.tree(&trees[0])
				size += 2 * len(trees[0].Leaves)
			}
		}
		line.step.Low, line.step.High = cert.Floats(low), cert.Floats(high)
		if err := w.add(line.step); err != nil {
			return err
		}
	}
	return nil
}

// stepLine is a line in the making.
type stepLine struct {
	step step
	from *branch.Step
	have map[int]int // numbers, from 1, of vectors of slopes of the record
}

func newLine(s *branch.Step) *stepLine { return &stepLine{from: s, have: map[int]int{}} }

func (l *stepLine) tree(t *branch.Tree) {
	out := tree{}
	if l.from.Layer >= 0 {
		out.Element, out.End = &t.Element, "low"
		if t.High {
			out.End = "high"
		}
	}
	leaves := make([]*branch.Leaf, len(t.Leaves))
	for i := range leaves {
		leaves[i] = &t.Leaves[i]
	}
	var beta []float32
	l.nodes(&out, &beta, leaves, 0)
	out.Beta = cert.Floats(beta)
	l.step.Trees = append(l.step.Trees, out)
}

// nodes adds the part of a tree that has the given leaves, which have the first depth
// splits in common.
func (l *stepLine) nodes(out *tree, beta *[]float32, leaves []*branch.Leaf, depth int) {
	if len(leaves) == 1 && len(leaves[0].Splits) == depth {
		out.Nodes = append(out.Nodes, l.slopes(leaves[0].Slopes))
		if l.from.Layer < 0 {
			out.Rows = append(out.Rows, leaves[0].Row)
		}
		*beta = append(*beta, leaves[0].Beta...)
		return
	}
	var parts [2][]*branch.Leaf
	for _, f := range leaves {
		part := 1
		if f.Splits[depth].Active {
			part = 0
		}
		parts[part] = append(parts[part], f)
	}
	s := leaves[0].Splits[depth]
	out.Nodes = append(out.Nodes, s.Numbers())
	for _, p := range parts {
		l.nodes(out, beta, p, depth+1)
	}
}

// slopes returns the line's number of a vector of slopes of the record.
func (l *stepLine) slopes(of int) int {
	if of < 0 {
		return 0
	}
	n, ok := l.have[of]
	if !ok {
		vector := []window{}
		for _, s := range l.from.Slopes[of] {
			w := window{ReLU: s.ReLU, Window: s.Window}
			if s.Point != nil {
				w.Point = cert.Alpha(s.Point)
			} else {
				w.Alpha = cert.Alpha(s.Alpha)
			}
			vector = append(vector, w)
		}
		l.step.Slopes = append(l.step.Slopes, vector)
		n = len(l.step.Slopes)
		l.have[of] = n
	}
	return n
}
