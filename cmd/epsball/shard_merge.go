package main

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"

	"github.com/spf13/cobra"

	"github.com/epsball/epsball/internal/input"
	"github.com/epsball/epsball/internal/outfile"
	"github.com/epsball/epsball/internal/recheck"
	"github.com/epsball/epsball/internal/show"
	"github.com/epsball/epsball/jobs"
	"github.com/epsball/epsball/report"
	certcheck "github.com/epsball/epsball/verify/check"
)

type mergeFlags struct {
	job     string
	in      jobInput
	out     outfile.Output
	force   bool
	recheck int
	seed    uint64
	given   func(flag string) bool
}

func (a *app) shardMergeCommand() *cobra.Command {
	f := &mergeFlags{out: outfile.Output{Flag: "out"}}
	c := &cobra.Command{
		Use:   "merge",
		Short: "Check and merge the results of a job",
		Long: `Checks that every shard is published, once, belongs to the manifest and is what was
written, with each of its images once, and that images, labels and model are those at
hand. Then prints what certify, attack or smooth would have printed. --out writes all
certificates (certs.jsonl), all adversarial images (.npz) or all lines of smooth, the
same bytes as certify --out, attack --out or smooth --out on one machine.

Of --recheck images, drawn at random, the certificates are proved anew by the independent
checker, as by check; where there are none, the work is done again and must give the same
bytes, unless a time limit makes it depend on the machine. All adversarial images are
checked: they lie in the ball and fool.

Of verify, it prints the verdict of all shares: sat, with the witness judged anew, unsat or
unknown. --out is then a checkpoint of what is left. One share that is proved, or --recheck
of them, is decided again.

Exit status: 0 if all is there and as it should be; 1 if shards are missing, something
does not hold, or a property is undecided; 2 if a result does not belong to the job or is damaged.`,
		Example: `  epsball shard merge --job job --out certs.jsonl
  epsball shard merge --job job --recheck 200 --seed 7 --json`,
		Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			f.given = c.Flags().Changed
			return a.shardMerge(c.Context(), f)
		},
	}
	addJob(c, &f.job)
	f.in.addFlags(c)
	c.Flags().StringVar(&f.out.Path, "out", "", "`file` for all certificates, adversarial images or lines of smooth; -: standard output, and the report to stderr")
	c.Flags().IntVar(&f.recheck, "recheck", 20, "number of images that are checked again; 0: none")
	c.Flags().Uint64Var(&f.seed, "seed", 1, "seed that draws them")
	addForce(c, &f.force)
	return c
}

func (a *app) shardMerge(ctx context.Context, f *mergeFlags) error {
	if f.recheck < 0 {
		return fmt.Errorf("--recheck: got %d, want at least 0", f.recheck)
	}
	s, m, err := openJob(ctx, f.job)
	if err != nil {
		return err
	}
	certificates, lines := false, false
	if m.Task.Kind() == jobs.KindVerify {
		if !f.given("recheck") {
			f.recheck = 1 // to do much of the work again is not what a job is for
		}
		return a.mergeVerify(ctx, f, s, m)
	}
	switch t := m.Task.(type) {
	case *jobs.Attack:
		f.out.Kind = outfile.Array
	case *jobs.Smooth:
		lines = true
	case *jobs.Certify:
		if certificates = t.Certificates; f.out.Path != "" && !certificates {
			return errors.New("--out: the job makes no certificates; plan it without --certificates=false")
		}
	}
	release, err := a.claim(f.force, inputs(m.Data.Spec, []string{m.Model.Spec}), &f.out)
	if err != nil {
		return err
	}
	defer release()
	images, err := f.in.open(ctx, a, m, jobs.Range{First: m.Data.Offset, N: m.Data.N})
	if err != nil {
		return err
	}
	defer images.close()
	g := &merging{a: a, f: f, s: s, m: m, images: images, certificates: certificates, lines: lines, bar: show.NewBar(a.stderr)}
	return g.run(ctx)
}

// merging is a merge under way.
type merging struct {
	a *app
	f *mergeFlags
	s jobs.Store
	m *jobs.Manifest
	// What --out has of the records, if it is made of them.
	certificates, lines bool
	bar                 *show.Bar

	// The block of images under way, from … to−1 of the job, and what is known of all before.
	images   *jobImages
	sub      *input.Subject
	from, to int
	work     jobs.Work
	total    mergedImages

	drawn  map[int]*drawnImage // that are checked again, by index in the data set
	result report.ShardMerge
}

// drawnImage is an image that is checked again, and its record.
type drawnImage struct {
	recheck.Image
	record []byte
}

func (g *merging) run(ctx context.Context) error {
	defer g.bar.Clear()
	r := &g.result
	*r = report.ShardMerge{Job: g.f.job, Shards: g.m.Shards(), Hints: []string{}}
	g.draw()
	var err error
	if (g.certificates || g.lines) && g.f.out.Path != "" {
		err = g.f.out.Write(func(w io.Writer) error { return g.read(ctx, w) }) // not before all is checked
	} else {
		err = g.read(ctx, io.Discard)
	}
	var missing *jobs.MissingError
	switch {
	case errors.As(err, &missing):
		return undecided("%w", missing)
	case errors.Is(err, context.Canceled):
		return interrupted("nothing is merged")
	case err != nil:
		return err
	}
	r.Envelope = g.a.envelope("shard merge", g.sub)
	r.Data, r.Seed = g.m.Data.Spec, &g.f.seed
	failure := g.sum(ctx)
	if g.f.out.Written {
		r.Out = g.f.out.Path
		switch {
		case r.Certify != nil:
			r.Certify.Out = r.Out
		case r.Smooth != nil:
			r.Smooth.Out = r.Out
		default:
			r.Attack.Out = r.Out
		}
	}
	g.bar.Clear()
	return errors.Join(g.a.report(r), failure)
}

// draw picks the images that are checked again.
func (g *merging) draw() {
	n := g.m.Data.N
	g.drawn = map[int]*drawnImage{}
	random := rand.New(rand.NewPCG(g.f.seed, 0))
	for len(g.drawn) < min(g.f.recheck, n) {
		g.drawn[g.m.Data.Offset+random.IntN(n)] = &drawnImage{}
	}
	g.result.Recheck = report.ShardRecheck{By: report.RecheckNone, Seed: g.f.seed}
}

// enter loads the block of images that begins with shard i, if that is not in one yet.
func (g *merging) enter(ctx context.Context, i int) error {
	if i*g.m.Size < g.to {
		return nil
	}
	g.leave()
	g.from = i * g.m.Size
	g.to = g.blockEnd()
	var err error
	if g.sub == nil {
		g.sub, err = g.images.subject(g.from, g.to, false)
	} else {
		err = g.images.into(g.sub, g.from, g.to, false)
	}
	if err != nil {
		return err
	}
	per := g.sub.Net.Input().Size()
	for from := g.from; from < g.to; from += g.m.Size {
		at, end := from-g.from, min(from+g.m.Size, g.to)-g.from
		if err := g.m.FitsData(from/g.m.Size, g.sub.X[at*per:end*per], g.sub.Y[at:end]); err != nil {
			return err
		}
	}
	first := g.m.Data.Offset + g.from
	if err := g.sub.FillLabels(ctx, first); err != nil {
		return err
	}
	for index, d := range g.drawn {
		if at := index - first; at >= 0 && at < g.to-g.from {
			d.X, d.Label = slices.Clone(g.sub.X[at*per:(at+1)*per]), g.sub.Y[at]
		}
	}
	g.work, err = g.m.Task.Work(jobSubject(g.sub, g.m.Data.Spec, first))
	return err
}

// blockEnd is to of the block that begins at from. Attacks are checked all at once.
func (g *merging) blockEnd() int {
	if _, attacks := g.m.Task.(*jobs.Attack); attacks {
		return g.m.Data.N
	}
	return min(g.m.Data.N, g.from+g.images.blocks(min(g.m.Size, g.m.Data.N)))
}

// leave keeps what is known of the block.
func (g *merging) leave() {
	if g.work != nil {
		g.total.add(g.work, g.sub.Y)
		g.work = nil
	}
}

// read reads all results, writes to w what --out has of them, and checks the sample.
func (g *merging) read(ctx context.Context, w io.Writer) (err error) {
	var ofImages error // which is not one of a result
	g.result.Seconds, err = g.m.Merge(ctx, g.s, func(done, total int) { g.bar.Show("merge", done, total) }, func(s *jobs.Merged) error {
		if ofImages = g.enter(ctx, s.Shard); ofImages != nil {
			return ofImages
		}
		for _, image := range s.Images {
			if d := g.drawn[image.Index]; d != nil {
				d.record = bytes.Clone(append(image.Line[:len(image.Line):len(image.Line)], image.Certificate...))
			}
			part := image.Certificate
			if g.lines {
				part = image.Line
			}
			if _, err := w.Write(part); err != nil {
				return err
			}
		}
		return g.work.Read(bytes.NewReader(s.Records))
	})
	if err = cmp.Or(ofImages, err); err != nil {
		return err
	}
	if g.leave(); len(g.drawn) == 0 {
		return nil
	}
	if g.certificates {
		return g.check(ctx)
	}
	return g.redo(ctx)
}

// check proves the certificates of the sample anew.
func (g *merging) check(ctx context.Context) error {
	checker, err := certcheck.New(g.sub.Model)
	if err != nil {
		return err
	}
	var lines []byte
	for _, d := range g.drawn {
		lines = append(lines, d.record[bytes.IndexByte(d.record, '\n')+1:]...)
	}
	find := func(index int) (recheck.Image, error) {
		if d := g.drawn[index]; d != nil {
			return d.Image, nil
		}
		return recheck.Image{}, errors.New("want one of the images that are checked")
	}
	run := recheck.Run{Checker: checker, Model: g.sub.Model.Hash(), Find: find, Lines: certcheck.NewLines(bytes.NewReader(lines))}
	if err := run.All(ctx, g.a.threads); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	var c report.Check
	run.Tally(&c)
	if c.Invalid > 0 {
		bad := c.Failures[0]
		return undecided("re-check: %d of %s not valid: image %d: %s", c.Invalid, count(c.Checked, "certificate"), *bad.Index, bad.Reason)
	}
	g.result.Recheck.By, g.result.Recheck.Images, g.result.Recheck.Proved = report.RecheckChecker, len(g.drawn), c.Valid
	return nil
}

// redo does the sample again.
func (g *merging) redo(ctx context.Context) error {
	if !g.m.Task.Repeatable() {
		return nil
	}
	for index, d := range g.drawn {
		one := *g.sub
		one.X, one.Y = d.X, []int{d.Label}
		again, err := jobs.Redo(ctx, g.m.Task, jobSubject(&one, g.m.Data.Spec, index))
		if err != nil {
			return err
		}
		if !bytes.Equal(again, d.record) {
			return undecided("re-check: image %d, done again, has another result: shard %d is not to be trusted", index, (index-g.m.Data.Offset)/g.m.Size)
		}
	}
	g.result.Recheck.By, g.result.Recheck.Images = report.RecheckAgain, len(g.drawn)
	return nil
}
