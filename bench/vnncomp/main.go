// Command vnncomp judges epsball on folders of VNN-COMP, or on those of `epsball export
// --property`: the instances of instances.csv, each by `epsball verify` in a process of its
// own, so that times are from start to verdict.
//
//	go build -o epsball ./cmd/epsball
//	go run ./bench/vnncomp [-timeout 60] [-threads 2] [-only TEXT] [-out results.csv [-resume]]
//	    [-replay python3] [-proofs] [-plot cactus.svg] FOLDER …
//
// Verdicts are compared with truth.csv and with those of other tools in published.csv, and
// every witness is replayed on ONNX Runtime. With -proofs, unsat counts as proved where `epsball check`
// proves its certificates anew. docs/verification.md has the formats and rules.
// The exit status is 1 if a verdict is wrong or contradicts truth.csv, 2 for bad input.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"

	"github.com/epsball/epsball/internal/atomicfile"
	"github.com/epsball/epsball/internal/charts"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	wrong, err := run(ctx, os.Args[1:], os.Stdout)
	switch {
	case errors.Is(err, flag.ErrHelp):
	case err != nil:
		fmt.Fprintln(os.Stderr, "vnncomp:", err)
		os.Exit(2)
	case wrong > 0:
		fmt.Fprintf(os.Stderr, "vnncomp: %d verdicts are wrong or contradict truth.csv\n", wrong)
		os.Exit(1)
	}
}

// judge is how instances are run.
type judge struct {
	timeout float64 // seconds, at most those of instances.csv; 0: those
	threads int
	only    string
	epsball string
	python  string // "": witnesses are not replayed
	proofs  bool   // unsat wants certificates
	out     io.Writer
	results *results
}

// run judges the folders of a command line, and returns how many verdicts are wrong or
// disputed.
func run(ctx context.Context, args []string, out io.Writer) (bad int, err error) {
	j := judge{out: out}
	var file, plot string
	var resume bool
	f := flag.NewFlagSet("vnncomp", flag.ContinueOnError)
	f.Float64Var(&j.timeout, "timeout", 0, "most `seconds` for an instance, if those of instances.csv are more (default those)")
	f.IntVar(&j.threads, "threads", 2, "threads of an instance")
	f.StringVar(&j.only, "only", "", "run only instances whose files' names contain this `text`")
	f.StringVar(&j.epsball, "epsball", "./epsball", "the `program`")
	f.StringVar(&j.python, "replay", "", "`python` with onnxruntime and numpy, to replay witnesses")
	f.BoolVar(&j.proofs, "proofs", false, "have certificates written, and proved anew by epsball check")
	f.StringVar(&file, "out", "", "`file` for the results, a line for each instance (.csv)")
	f.BoolVar(&resume, "resume", false, "go on with what -out has")
	f.StringVar(&plot, "plot", "", "`file` for a cactus plot (.svg)")
	if err := f.Parse(args); err != nil {
		return 0, err
	}
	switch {
	case f.NArg() == 0:
		return 0, errors.New("want folders with an instances.csv")
	case !(j.timeout >= 0 && j.timeout < 1e9):
		return 0, fmt.Errorf("-timeout: got %v, want seconds from 0", j.timeout)
	case j.threads < 1:
		return 0, fmt.Errorf("-threads: got %d, want at least 1", j.threads)
	case resume && file == "":
		return 0, errors.New("-resume: has no meaning without -out")
	}
	if err := j.ready(ctx); err != nil {
		return 0, err
	}
	var folders []*folder
	for _, path := range f.Args() {
		d, err := readFolder(path)
		if err != nil {
			return 0, err
		}
		for _, other := range folders {
			if other.name == d.name && file != "" {
				return 0, fmt.Errorf("-out: got two folders of the name %s, which its lines would not tell apart", d.name)
			}
		}
		folders = append(folders, d)
	}
	if j.results, err = openResults(file, resume); err != nil {
		return 0, err
	}
	var all tally
	for _, d := range folders {
		one := tally{}
		if err = j.folder(ctx, d, &one); err != nil {
			break
		}
		one.print(out, d.name)
		all.add(&one)
	}
	if err == nil && len(folders) > 1 {
		all.print(out, "all")
	}
	err = errors.Join(err, j.results.close())
	if err == nil && plot != "" {
		err = draw(plot, folders, &all)
	}
	return all.wrong + all.disputed, err
}

// folder judges the instances of a folder.
func (j *judge) folder(ctx context.Context, d *folder, t *tally) error {
	for _, in := range d.instances {
		if !strings.Contains(in.network+","+in.property, j.only) {
			continue
		}
		r, err := j.instance(ctx, d, in)
		if err != nil {
			return err
		}
		said := judged(r, d.truth[in.key()])
		t.count(r, said, d.truth[in.key()], d.published[in.key()], d.tools)
		fmt.Fprintln(j.out, line(r, said, d.truth[in.key()], d.published[in.key()]))
	}
	return nil
}

// draw writes the cactus plot.
func draw(path string, folders []*folder, all *tally) error {
	names := make([]string, len(folders))
	for i, d := range folders {
		names[i] = d.name
	}
	subtitle := fmt.Sprintf("%d instances of %s; times of other tools as published, on other machines", all.instances, strings.Join(names, ", "))
	if len(all.published) == 0 {
		subtitle = fmt.Sprintf("%d instances of %s", all.instances, strings.Join(names, ", "))
	}
	return atomicfile.Write(path, func(w io.Writer) error {
		return charts.Cactus(w, "Instances decided correctly", subtitle, all.solved())
	})
}
