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
	certcheck "github.com/epsball/epsball/verify/check"
)

type checkReport struct {
	File      string         `json:"file"`
	Model     string         `json:"model"`
	Data      string         `json:"data"`
	Checked   int            `json:"checked"` // lines that are, or should be, certificates
	Valid     int            `json:"valid"`
	Invalid   int            `json:"invalid"`
	Undecided int            `json:"undecided"` // lines that claim nothing
	Failures  []checkFailure `json:"failures"`
	Seconds   float64        `json:"seconds"`
	Threads   int            `json:"threads"`
}

type checkFailure struct {
	Line   int    `json:"line"`
	Index  *int   `json:"index"` // null where the line could not be read
	Reason string `json:"reason"`
}

func (a *app) checkCommand() *cobra.Command {
	var modelSpec string
	var d data
	c := &cobra.Command{
		Use:   "check CERTIFICATES",
		Short: "Prove certificates anew, independently of certify",
		Long: `Proves each certificate of a file anew with a checker that shares no code with
certify: a scalar one in float64 with outward rounding (docs/certificate.md).

The model must be the certificates' own, by its hash; images are found by their
index in the data and compared by their hash. Lines that claim nothing, of images
that were not certified, are counted as undecided.

Exit status: 0 if there are certificates and all are valid, 1 if not.`,
		Example: `  epsball check certs.jsonl --model builtin:mnist-small-ibp-0.1 --data builtin:mnist`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 1 {
				return fmt.Errorf("check: got %d arguments, want one file of certificates", len(args))
			}
			return nil
		},
		RunE: func(c *cobra.Command, args []string) error { return a.check(c.Context(), args[0], modelSpec, &d) },
	}
	c.Flags().StringVar(&modelSpec, "model", "", "`model` that was certified (required)")
	c.Flags().StringVar(&d.spec, "data", "builtin:mnist", "`data` set that was certified, whole")
	d.addChannels(c)
	return c
}

func (a *app) check(ctx context.Context, path, modelSpec string, d *data) error {
	if modelSpec == "" {
		return errors.New("--model: required")
	}
	m, err := a.loadModel(modelSpec)
	if err != nil {
		return err
	}
	checker, err := certcheck.New(m)
	if err != nil {
		return fmt.Errorf("model %s: %w", modelSpec, err)
	}
	if err := a.load(d, m, modelSpec); err != nil {
		return err
	}
	set, err := d.fit(m, modelSpec)
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
	run := checkRun{checker: checker, set: set, lines: certcheck.NewLines(file), size: info.Size(), bar: bar}
	err = run.all(ctx, a.threads)
	bar.clear()
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	r := &checkReport{
		File: path, Model: modelName(modelSpec), Data: d.spec, Threads: a.threads, Failures: []checkFailure{},
	}
	r.fill(run.results)
	r.Seconds = time.Since(start).Seconds()
	var failure error
	switch {
	case ctx.Err() != nil:
		failure = interrupted("%s checked", count(r.Checked, "certificate"))
	case r.Invalid > 0:
		failure = undecided("%s: %d of %s not valid", path, r.Invalid, count(r.Checked, "certificate"))
	case r.Checked == 0:
		failure = undecided("%s: no certificates to check", path)
	}
	return errors.Join(a.print(r, func() string { return checkTable(r) }), failure)
}

// checkRun checks the lines of a file on several workers.
type checkRun struct {
	checker *certcheck.Checker
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
	index  *int
	reason string
	claim  string // of a valid certificate
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
	res := lineResult{state: lineInvalid, index: &c.Index}
	switch {
	case !c.Certified:
		res.state = lineUndecided
		return res
	case c.Index >= r.set.Len():
		res.reason = fmt.Sprintf("index: got %d, but the data have %s", c.Index, count(r.set.Len(), "image"))
		return res
	}
	v, err := r.checker.Check(ctx, c, r.set.Image(c.Index), r.set.Y[c.Index])
	switch {
	case err != nil:
		return lineResult{}
	case v.Valid:
		eps, _ := certcheck.ParseEps(c.Eps) // as valid as the rest
		res.state = lineValid
		res.claim = fmt.Sprint(c.Index, c.Level, c.Norm, eps.RatString(), c.Label, c.Rows, c.Offsets)
	default:
		res.reason = v.Reason
	}
	return res
}

// fill counts the results. A claim counts once.
func (r *checkReport) fill(results []lineResult) {
	first := map[string]int{}
	for i, l := range results {
		switch {
		case l.state == lineStopped:
			continue
		case l.state == lineUndecided:
			r.Undecided++
			continue
		case l.state == lineValid && first[l.claim] > 0:
			l.state, l.reason = lineInvalid, fmt.Sprintf("says the same as line %d", first[l.claim])
		case l.state == lineValid:
			first[l.claim] = i + 1
		}
		r.Checked++
		if l.state == lineValid {
			r.Valid++
			continue
		}
		r.Invalid++
		r.Failures = append(r.Failures, checkFailure{i + 1, l.index, l.reason})
	}
}

func checkTable(r *checkReport) string {
	out := facts(
		"certificates", r.File,
		"model", r.Model,
		"data", r.Data,
		"checked", fmt.Sprintf("%d in %s (%s/s)", r.Checked, seconds(r.Seconds), rate(perSecond(int64(r.Checked), r.Seconds))),
		"valid", fmt.Sprint(r.Valid),
		"invalid", fmt.Sprint(r.Invalid),
		"undecided", fmt.Sprintf("%d, which claim nothing", r.Undecided),
	)
	const most = 20
	if len(r.Failures) == 0 {
		return out
	}
	t := newTable("not valid because of", "image", "line")
	for i, f := range r.Failures {
		if i == most {
			t.AppendRow([]any{fmt.Sprintf("… and %d more", len(r.Failures)-most), "", ""})
			break
		}
		index := "–"
		if f.Index != nil {
			index = fmt.Sprint(*f.Index)
		}
		t.AppendRow([]any{f.Reason, index, f.Line})
	}
	return out + "\n" + render(t)
}
