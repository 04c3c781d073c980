package main

import (
	"context"
	"fmt"
	"path/filepath"

	"github.com/epsball/epsball/audit"
	"github.com/epsball/epsball/internal/query"
	"github.com/epsball/epsball/internal/show"
	"github.com/epsball/epsball/kernels"
	"github.com/epsball/epsball/model"
	"github.com/epsball/epsball/net"
	certcheck "github.com/epsball/epsball/verify/check"
)

// proofOf is what a decision was about.
type proofOf struct {
	m         *model.Model
	n         *net.Network
	questions *query.Questions
	property  string
	pool      *kernels.Pool
}

// writeProof writes the certificates of --out, if there is something proved to be written.
func (a *app) writeProof(ctx context.Context, f *verifyFlags, p *proofOf, d *audit.Decision) error {
	switch {
	case f.out.Path == "":
		return nil
	case d.Answer != audit.Holds:
		fmt.Fprintf(a.stderr, "--out: %s is not written, for nothing is proved\n", f.out.Path)
		return nil
	case len(p.questions.List) == 0:
		fmt.Fprintf(a.stderr, "--out: %s is not written, for the property asks about no input\n", f.out.Path)
		return nil
	}
	checker, err := certcheck.New(p.m)
	if err != nil {
		return fmt.Errorf("--out: %w", err)
	}
	bar := show.NewBar(a.stderr)
	bar.Note("proving the certificates")
	w := query.Writer{
		Checker: checker, Network: p.n, Pool: p.pool, Workers: a.threads, Name: filepath.Base(p.property),
		Common: certcheck.Certificate{Model: p.m.Hash(), Run: fmt.Sprintf("verify, %s", d.By)},
	}
	lines, err := w.Lines(ctx, p.questions, d)
	bar.Clear()
	switch {
	case err != nil && ctx.Err() != nil:
		return interrupted("%s is proved, but --out %s not written", p.property, f.out.Path)
	case err != nil:
		return fmt.Errorf("--out: %s: %w", p.property, err)
	}
	return f.out.WriteBytes(lines)
}
