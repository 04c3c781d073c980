package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/epsball/epsball/dataset"
	"github.com/epsball/epsball/report"
	certcheck "github.com/epsball/epsball/verify/check"
)

type checkFlags struct {
	model string
	data  data
	need  requirements
}

func (a *app) checkCommand() *cobra.Command {
	f := &checkFlags{need: newRequirements()}
	c := &cobra.Command{
		Use:   "check CERTIFICATES",
		Short: "Prove certificates anew, independently of certify",
		Long: `Proves each certificate of a file anew with a checker that shares no code with
certify: a scalar one in float64 with outward rounding (docs/certificate.md).

The model must be the certificates' own, by its hash; images are found by their
index in the data and compared by their hash. Lines that claim nothing, of images
that were not certified, are counted as undecided. The result lists what was proved:
how many certificates for which norm, ε, level and specification.

With --require-… flags a certificate that proves less is a failure. A ball in linf
contains that of the same ε in l2, and this the one in l1, so linf satisfies
--require-norm l2; level executed satisfies real. With any of them a certificate
must be about the image's label, unless --require-spec any admits rows, which may
be chosen so that they say nothing.

Exit status: 0 if there are certificates and all are valid and as required, 1 if not;
2 if the file is not one of certificates, or all are of another model.`,
		Example: `  epsball check certs.jsonl --model builtin:mnist-small-ibp-0.1 --data builtin:mnist
  epsball check certs.jsonl --model m.onnx --data d.npz --require-eps 8/255 --require-count 900`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 1 {
				return fmt.Errorf("check: got %d arguments, want one file of certificates", len(args))
			}
			return nil
		},
		RunE: func(c *cobra.Command, args []string) error { return a.check(c.Context(), args[0], f) },
	}
	c.Flags().StringVar(&f.model, "model", "", "`model` that was certified (required)")
	c.Flags().StringVar(&f.data.spec, "data", "builtin:mnist", "`data` set that was certified, whole")
	f.data.addChannels(c)
	f.need.addFlags(c)
	return c
}

func (a *app) check(ctx context.Context, path string, f *checkFlags) error {
	if f.model == "" {
		return a.modelRequired()
	}
	if f.need.count < 0 {
		return fmt.Errorf("--require-count: got %d, want at least 0", f.need.count)
	}
	m, err := a.loadModel(f.model)
	if err != nil {
		return err
	}
	checker, err := certcheck.New(m)
	if err != nil {
		return fmt.Errorf("model %s: %w", f.model, err)
	}
	if err := a.load(&f.data, m, f.model); err != nil {
		return err
	}
	set, err := f.data.fit(m, f.model)
	if err != nil {
		return err
	}
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return err
	}
	start := time.Now()
	bar := a.newBar()
	run := checkRun{
		checker: checker, need: &f.need, hash: m.Hash(), set: set,
		lines: certcheck.NewLines(file), size: info.Size(), bar: bar,
	}
	err = run.all(ctx, a.threads)
	bar.clear()
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	if ctx.Err() == nil {
		if err := run.misplaced(path, f.model); err != nil {
			return err
		}
	}
	r := &report.Check{
		Envelope: a.envelope("check"), File: path, Model: modelName(f.model),
		Groups: []report.CheckGroup{}, Failures: []report.CheckFailure{},
	}
	r.Epsball.Models = []report.Model{{Name: r.Model, Hash: run.hash}}
	r.Data, r.Threads = f.data.spec, a.threads
	tally(r, run.results)
	r.Seconds = time.Since(start).Seconds()
	var failure error
	switch {
	case ctx.Err() != nil:
		failure = interrupted("%s checked", count(r.Checked, "certificate"))
	case r.Invalid > 0:
		failure = undecided("%s: %d of %s not valid%s", path, r.Invalid, count(r.Checked, "certificate"), f.need.orTooWeak())
	case r.Checked == 0:
		failure = undecided("%s: no certificates to check", path)
	case r.Images < f.need.count:
		failure = undecided("%s: certificates of %s, but --require-count wants %d", path, count(r.Images, "image"), f.need.count)
	}
	return errors.Join(a.report(r), failure)
}

// checkRun checks the lines of a file on several workers.
type checkRun struct {
	checker *certcheck.Checker
	need    *requirements
	hash    string // of the model
	set     *dataset.Set
	lines   *certcheck.Lines
	size    int64 // of the file
	bar     *bar

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

// all checks every line, unless ctx ends. An error is the file's.
func (r *checkRun) all(ctx context.Context, threads int) error {
	var wg sync.WaitGroup
	var failed error
	for range threads {
		wg.Go(func() {
			for ctx.Err() == nil {
				r.mu.Lock()
				line, err := r.lines.Next()
				number := len(r.results)
				mine := err == nil || errors.Is(err, certcheck.ErrTorn) || errors.Is(err, certcheck.ErrLong)
				if mine {
					r.results = append(r.results, lineResult{})
				} else if !errors.Is(err, io.EOF) {
					failed = err
				}
				r.bar.show("check KiB", int(r.lines.Offset>>10), int(r.size>>10))
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
func (r *checkRun) one(ctx context.Context, line []byte) lineResult {
	c, err := certcheck.Parse(line)
	if err != nil {
		return lineResult{state: lineInvalid, reason: err.Error()}
	}
	res := lineResult{state: lineInvalid, model: c.Model, index: &c.Index}
	if !c.Certified {
		res.state = lineUndecided
		return res
	}
	if c.Index >= r.set.Len() {
		res.reason = fmt.Sprintf("index: got %d, but the data have %s", c.Index, count(r.set.Len(), "image"))
		return res
	}
	if c.Model == r.hash { // or that is the reason
		if res.reason = r.need.unmet(c); res.reason != "" {
			return res
		}
	}
	v, err := r.checker.Check(ctx, c, r.set.Image(c.Index), r.set.Y[c.Index])
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

// misplaced returns an error for a file that cannot have been meant: one without
// certificates, or with those of another model alone.
func (r *checkRun) misplaced(path, model string) error {
	const want = "certificates, one JSON object a line, as certify --out writes them"
	if len(r.results) == 0 {
		return fmt.Errorf("%s: the file is empty, want %s", path, want)
	}
	ours, other := false, ""
	for _, l := range r.results {
		if l.model == r.hash {
			return nil
		}
		ours = ours || l.ours || l.model != ""
		if other == "" {
			other = l.model
		}
	}
	switch {
	case other != "":
		return fmt.Errorf("%s was made for model %.12s…, but --model %s has hash %.12s…", path, other, model, r.hash)
	case !ours:
		return fmt.Errorf("%s: got no certificate, want %s", path, want)
	}
	return nil
}
