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
	Data    *dataset.Set
	Lines   *certcheck.Lines

	// Progress, if not nil, is called with the bytes read so far.
	Progress func(offset int64)

	mu      sync.Mutex
	results []lineResult // by line; those that were not decided have state stopped
}

type lineState int

const (
	lineStopped lineState = iota // ^C came first
	lineValid
	lineInvalid
	lineUndecided // claims nothing
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
	var wg sync.WaitGroup
	var failed error
	for range threads {
		wg.Go(func() {
			for ctx.Err() == nil {
				r.mu.Lock()
				line, err := r.Lines.Next()
				number := len(r.results)
				mine := err == nil || errors.Is(err, certcheck.ErrTorn) || errors.Is(err, certcheck.ErrLong)
				if mine {
					r.results = append(r.results, lineResult{})
				} else if !errors.Is(err, io.EOF) {
					failed = err
				}
				if r.Progress != nil {
					r.Progress(r.Lines.Offset)
				}
				r.mu.Unlock()
				if !mine {
					return
				}
				result := lineResult{state: lineInvalid}
				if err != nil {
					result.reason = err.Error()
				} else {
					result = r.one(ctx, line)
				}
				result.ours = certcheck.Begins(line)
				r.mu.Lock()
				r.results[number] = result
				r.mu.Unlock()
			}
		})
	}
	wg.Wait()
	return failed
}

// one checks one line.
func (r *Run) one(ctx context.Context, line []byte) lineResult {
	c, err := certcheck.Parse(line)
	if err != nil {
		return lineResult{state: lineInvalid, reason: err.Error()}
	}
	res := lineResult{state: lineInvalid, model: c.Model, index: &c.Index}
	if !c.Certified {
		res.state = lineUndecided
		return res
	}
	if c.Index >= r.Data.Len() {
		res.reason = fmt.Sprintf("index: got %d, but the data have %s", c.Index, show.Count(r.Data.Len(), "image"))
		return res
	}
	if c.Model == r.Model { // or that is the reason
		if res.reason = r.Need.unmet(c); res.reason != "" {
			return res
		}
	}
	v, err := r.Checker.Check(ctx, c, r.Data.Image(c.Index), r.Data.Y[c.Index])
	switch {
	case err != nil:
		return lineResult{}
	case v.Valid:
		res.state, res.claim = lineValid, claimOf(c)
	default:
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
