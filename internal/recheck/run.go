// Package recheck proves the certificates of a file anew, on several workers, and
// sums up what they prove.
package recheck

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/epsball/epsball/dataset"
	"github.com/epsball/epsball/internal/show"
	certcheck "github.com/epsball/epsball/verify/check"
)

// Run checks the lines of a file on several workers.
type Run struct {
	Checker *certcheck.Checker
	Need    Requirements
	Model   string // its hash

	// Find returns the image with an index, or says why there is none.
	Find func(index int) (Image, error)

	// Implied, in place of Find, says why a certificate, which is of a region, would not be
	// what is asked for, valid or not.
	Implied func(*certcheck.Certificate) error

	Lines *certcheck.Lines

	// Progress, if not nil, is called with the bytes read so far.
	Progress func(offset int64)

	threads int
	mu      sync.Mutex
	failed  error        // of the file
	results []lineResult // by line; those that were not decided have state stopped
	back    *readLine    // that was read, and is next again
}

// Image is an image, channels first, and its label.
type Image struct {
	X     []float32
	Label int
}

// In returns a Run's Find in a data set.
func In(set *dataset.Set) func(index int) (Image, error) {
	return func(index int) (Image, error) {
		if index >= set.Len() {
			return Image{}, fmt.Errorf("but the data have %s", show.Count(set.Len(), "image"))
		}
		return Image{set.Image(index), set.Y[index]}, nil
	}
}

type readLine struct {
	line   []byte
	number int
	err    error
}

type lineState int

const (
	lineStopped lineState = iota // ^C came first
	lineValid
	lineInvalid
	lineUndecided // claims nothing
	lineStep      // of the certificate before it
)

type lineResult struct {
	state  lineState
	ours   bool   // begins like a certificate
	model  string // hash; empty where the line could not be read
	index  *int
	reason string
	claim  claim // of a valid certificate
}

// All checks every line, unless ctx ends. An error is the file's.
func (r *Run) All(ctx context.Context, threads int) error {
	r.threads = threads
	var wg sync.WaitGroup
	for range threads {
		wg.Go(func() {
			for ctx.Err() == nil && r.next(ctx) {
			}
		})
	}
	wg.Wait()
	return r.failed
}

// next checks the next line, with its steps if it has any; false: there is none.
func (r *Run) next(ctx context.Context) bool {
	r.mu.Lock()
	line, number, err := r.read()
	if number < 0 {
		r.mu.Unlock()
		return false
	}
	var c *certcheck.Certificate
	if err == nil {
		if c, err = certcheck.Parse(line); err != nil && certcheck.IsStep(line) {
			err = errors.New("a step, but the certificate that it belongs to is not before it")
		}
	}
	var result lineResult
	switch {
	case err != nil:
		result = lineResult{state: lineInvalid, reason: err.Error()}
	case c.HasSteps(): // nobody else can read until these have been
		result = r.withSteps(ctx, c)
	default:
		r.mu.Unlock()
		result = r.one(ctx, c)
		r.mu.Lock()
	}
	result.ours = certcheck.Begins(line)
	r.results[number] = result
	r.mu.Unlock()
	return true
}

// read returns the next line and makes room for its result, at number; −1: there is none.
// The error is of the line.
func (r *Run) read() (line []byte, number int, err error) {
	if l := r.back; l != nil {
		r.back = nil
		return l.line, l.number, l.err
	}
	line, err = r.Lines.Next()
	if r.Progress != nil {
		r.Progress(r.Lines.Offset)
	}
	if err != nil && !errors.Is(err, certcheck.ErrTorn) && !errors.Is(err, certcheck.ErrLong) {
		if !errors.Is(err, io.EOF) {
			r.failed = err
		}
		return nil, -1, err
	}
	r.results = append(r.results, lineResult{})
	return line, len(r.results) - 1, err
}

// one checks a certificate whose proof is on its own line.
func (r *Run) one(ctx context.Context, c *certcheck.Certificate) lineResult {
	res, ready := r.prepare(c)
	if !ready {
		return res
	}
	x, y := r.image(c)
	v, err := r.Checker.Check(ctx, c, x, y)
	if err != nil {
		return lineResult{}
	}
	return res.with(c, v)
}

// withSteps checks a certificate by the steps that follow it, which it reads.
func (r *Run) withSteps(ctx context.Context, c *certcheck.Certificate) lineResult {
	res, ready := r.prepare(c)
	var p *certcheck.Proof
	if ready {
		var err error
		x, y := r.image(c)
		if p, err = r.Checker.Begin(c, x, y); err != nil {
			res.reason, ready = err.Error(), false
		} else {
			p.Workers = r.threads
		}
	}
	for ctx.Err() == nil {
		line, number, failed := r.read()
		if number < 0 {
			break
		}
		var s *certcheck.Step
		err := failed
		if err == nil {
			s, err = certcheck.ParseStep(line)
		}
		if err != nil && !certcheck.IsStep(line) || err == nil && s.Of != c.Sum {
			r.back = &readLine{line, number, failed} // of another certificate
			break
		}
		r.results[number] = lineResult{state: lineStep, ours: true}
		switch {
		case err != nil && ready:
			p.Refuse(err)
		case ready:
			_ = p.Step(ctx, s) // the verdict has it
		}
		if s != nil && s.End {
			break
		}
	}
	switch {
	case ctx.Err() != nil:
		return lineResult{}
	case !ready:
		return res
	}
	return res.with(c, p.Verdict())
}

// prepare compares a certificate with the data and with what is required. It returns a
// result to be completed if the claim is to be proved.
func (r *Run) prepare(c *certcheck.Certificate) (res lineResult, ready bool) {
	res = lineResult{state: lineInvalid, model: c.Model, index: &c.Index}
	if !c.Certified {
		res.state = lineUndecided
		return res, false
	}
	if r.Implied != nil {
		if c.Model == r.Model { // else the checker says so
			if err := r.Implied(c); err != nil {
				res.reason = err.Error()
				return res, false
			}
		}
		return res, true
	}
	if c.Region != nil {
		res.reason = "property: the certificate is of a region, which --property is to name"
		return res, false
	}
	if _, err := r.Find(c.Index); err != nil {
		res.reason = fmt.Sprintf("index: got %d, %v", c.Index, err)
		return res, false
	}
	if c.Model == r.Model { // or that is the reason
		if res.reason = r.Need.unmet(c); res.reason != "" {
			return res, false
		}
	}
	return res, true
}

// image returns that of a certificate, and its label.
func (r *Run) image(c *certcheck.Certificate) ([]float32, int) {
	if r.Implied != nil {
		return nil, certcheck.Unknown
	}
	i, _ := r.Find(c.Index) // there is one: see prepare
	return i.X, i.Label
}

func (res lineResult) with(c *certcheck.Certificate, v certcheck.Verdict) lineResult {
	if v.Valid {
		res.state, res.claim = lineValid, claimOf(c)
	} else {
		res.reason = v.Reason
	}
	return res
}

// Misplaced returns an error for a file that cannot have been meant: one without
// certificates, or with those of another model alone. Both are named as the user
// did.
func (r *Run) Misplaced(path, model string) error {
	const want = "certificates, one JSON object a line, as certify --out writes them"
	if len(r.results) == 0 {
		return fmt.Errorf("%s: the file is empty, want %s", path, want)
	}
	ours, other := false, ""
	for _, l := range r.results {
		if l.model == r.Model {
			return nil
		}
		ours = ours || l.ours || l.model != ""
		if other == "" {
			other = l.model
		}
	}
	switch {
	case other != "":
		return fmt.Errorf("%s was made for model %.12s…, but --model %s has hash %.12s…", path, other, model, r.Model)
	case !ours:
		return fmt.Errorf("%s: got no certificate, want %s", path, want)
	}
	return nil
}
