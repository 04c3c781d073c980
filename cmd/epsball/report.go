package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/epsball/epsball/audit"
	"github.com/epsball/epsball/internal/outfile"
	"github.com/epsball/epsball/net"
	"github.com/epsball/epsball/report"
	"github.com/epsball/epsball/report/page"
	"github.com/epsball/epsball/verify"
)

type reportFlags struct {
	models     []string
	data       data
	eps        *value[net.Epsilon]
	radii      *value[[]net.Epsilon]
	norm       *value[net.Norm]
	attacks    []string
	seed       uint64
	bounds     *value[verify.Method]
	resolution *value[net.Epsilon]
	checks     *value[audit.Level]
	gallery    int
	logs       []string
	results    string
	out        outfile.Output
	parts      outfile.Folder
	force      bool
	given      func(flag string) bool
}

func (a *app) reportCommand() *cobra.Command {
	f := &reportFlags{
		eps: epsilonFlag("0.1"), radii: radiiFlag(""), norm: normFlag(),
		bounds: namedFlag("method", "crown", verify.Methods(), verify.ParseMethod), resolution: positiveFlag(""),
		checks: namedFlag("level", "quick", audit.Levels(), audit.ParseLevel),
		out:    outfile.Output{Flag: "out", Kind: outfile.Page},
		parts:  outfile.Folder{Flag: "parts", Parts: page.Folders()},
	}
	c := &cobra.Command{
		Use:   "report",
		Short: "Draw a page of figures: what models withstand, what is proved, what attacks do",
		Long: `Looks at models from all sides, on the same images, and writes one HTML page that
opens offline: clean accuracy against what attacks leave and what is certified; both
over the radius; certified radii; training; pictures of adversarial images, of first
layers and of gradients; what images are taken for under attack; checks of the attacks;
throughput. It needs no script, and is readable on a phone, on paper and by a screen
reader: each figure has its numbers in a table beneath.

All figures are of the same --n images. At --eps all are attacked; at each other one of
--radii, an attack gets those that it has not fooled at a smaller radius. The last
--attack is taken for the strongest. Certified are images proved by --bounds, of which
the largest multiple of --resolution is found that can be proved. What is both fooled
and certified is an error (exit status 1). So is a check of the strongest attack that
fails; of other attacks, one that finds a result to be wrong.

How a model was trained is in its card, or in a --log of train, named together with the
model where there are several: --log MODEL=FILE.

The page differs between two runs in its section of timings alone. --parts also writes
its charts (.svg), its pictures (.png) and the figures (results.json), from which
--results draws the page again without computing anything.

After ^C the page is written with what is done, and says what is missing (exit status 1).`,
		Example: `  epsball report
  epsball report --model m.safetensors --model builtin:mnist-small-standard --eps 0.1 --n 1000
  epsball report --attack pgd --attack fast --radii 1/255,2/255,4/255 --eps 2/255 --data cifar --model c.onnx
  epsball report --results parts/data/results.json --out again.html`,
		Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			f.given = c.Flags().Changed
			return a.drawReport(c.Context(), f)
		},
	}
	fl := c.Flags()
	fl.StringArrayVar(&f.models, "model", nil, "`model` to look at; may be repeated (default a standard, a PGD and an IBP model)")
	f.data.addFlags(c, "builtin:mnist")
	n := c.Flag("n")
	n.Usage, f.data.N = fmt.Sprintf("number of images; 0: all (default %d, or all if there are fewer)", reportImages), reportImages
	fl.Var(f.eps, "eps", "radius of the ball of figures that show one, such as 0.1 or 8/255")
	fl.Var(f.radii, "radii", "radii of the curves, such as 0.02,0.05,0.1; --eps is one more (default 1/5, 1/2, 1, 3/2, 2 and 3 times --eps)")
	fl.Var(f.norm, "norm", strings.Join(boundNorms(), ", "))
	fl.StringArrayVar(&f.attacks, "attack", nil, "`attack` to run, such as apgd:steps=100; may be repeated, the strongest last (default fgsm, pgd and auto)")
	fl.Uint64Var(&f.seed, "seed", 1, "seed of random starts where --attack gives none")
	fl.Var(f.bounds, "bounds", "how to prove: "+strings.Join(verify.Methods(), ", "))
	fl.Var(f.resolution, "resolution", "step between the certified radii tried (default 1/20 of --eps)")
	fl.Var(f.checks, "checks", "how far to look for signs of a weak attack: quick, full or off")
	fl.IntVar(&f.gallery, "gallery", 6, "number of images shown with what attacks make of them")
	fl.StringArrayVar(&f.logs, "log", nil, "`file` of train --log, the history of a model whose card has none; with several models: MODEL=FILE")
	fl.StringVar(&f.results, "results", "", "`file` of results to draw again: results.json of --parts, or what --json printed")
	fl.StringVar(&f.out.Path, "out", "report.html", "`file` for the page (.html); -: standard output, and the report to stderr")
	fl.StringVar(&f.parts.Path, "parts", "", "`folder` for charts, pictures and figures, each a file")
	refuseDefence(c)
	addForce(c, &f.force)
	return c
}

// check looks at flags that do not go together.
func (f *reportFlags) check(specs []string) error {
	if f.results != "" {
		for _, name := range []string{"model", "data", "channels", "n", "offset", "eps", "radii", "norm", "attack", "seed", "bounds", "resolution", "checks", "gallery", "log"} {
			if f.given(name) {
				return fmt.Errorf("--%s: has no meaning with --results, whose figures are there already", name)
			}
		}
		return nil
	}
	for i, s := range specs {
		if slices.Contains(specs[:i], s) {
			return fmt.Errorf("--model: %s is given twice", s)
		}
	}
	if f.gallery < 0 || f.gallery > maxGallery {
		return fmt.Errorf("--gallery: got %d, want 0 … %d", f.gallery, maxGallery)
	}
	return nil
}

const maxGallery = 60

// drawReport makes a page, or draws it again.
func (a *app) drawReport(ctx context.Context, f *reportFlags) error {
	specs := f.models
	if len(specs) == 0 {
		specs = a.models.OverviewSpecs()
	}
	if err := f.check(specs); err != nil {
		return err
	}
	in := []outfile.Input{{Flag: "results", Spec: f.results}}
	if f.results == "" {
		in = inputs(f.data.Spec, specs)
		for _, log := range f.logs {
			_, path := splitLog(log, specs)
			in = append(in, outfile.Input{Flag: "log", Spec: path})
		}
	}
	release, err := a.claimReport(f, in)
	if err != nil {
		return err
	}
	defer release()
	var r *report.Page
	var failure error
	if f.results != "" {
		r, err = readPage(f.results)
	} else {
		r, failure, err = a.survey(ctx, f, specs)
	}
	if err != nil {
		return err
	}
	err = f.write(r)
	return errors.Join(err, a.report(r), failure)
}

// claimReport claims the outputs.
func (a *app) claimReport(f *reportFlags, in []outfile.Input) (release func(), err error) {
	folder, err := f.parts.Claim(f.force, in)
	if err != nil {
		return nil, err
	}
	file, err := a.claim(f.force, in, &f.out)
	if err != nil {
		folder()
		return nil, err
	}
	return func() { file(); folder() }, nil
}

// write writes the page and its parts, and notes what is written.
func (f *reportFlags) write(r *report.Page) error {
	r.Out, r.Parts = "", ""
	err := f.out.Write(func(w io.Writer) error { return page.Write(w, r) })
	err = errors.Join(err, f.parts.Write(func(dir string) error { return page.WriteParts(dir, r) }))
	if f.out.Written {
		r.Out = f.out.Path
	}
	if f.parts.Written {
		r.Parts = f.parts.Path
	}
	return err
}

// readPage reads results to be drawn again.
func readPage(path string) (*report.Page, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("--results: %w", err)
	}
	defer file.Close()
	r, err := report.Read(file)
	if err != nil {
		return nil, fmt.Errorf("--results: %s: %w", path, err)
	}
	p, ok := r.(*report.Page)
	if !ok {
		return nil, fmt.Errorf("--results: %s: got a result of %s, want one of report", path, r.Common().Epsball.Command)
	}
	if err := p.Check(); err != nil {
		return nil, fmt.Errorf("--results: %s: %w", path, err)
	}
	return p, nil
}
