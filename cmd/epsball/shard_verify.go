package main

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"

	"github.com/spf13/cobra"

	"github.com/epsball/epsball/audit"
	"github.com/epsball/epsball/internal/checkpoint"
	"github.com/epsball/epsball/internal/input"
	"github.com/epsball/epsball/internal/query"
	"github.com/epsball/epsball/internal/show"
	"github.com/epsball/epsball/internal/vnnlib"
	"github.com/epsball/epsball/jobs"
	"github.com/epsball/epsball/kernels"
	"github.com/epsball/epsball/net"
	"github.com/epsball/epsball/report"
)

// planVerifyFlags are those of shard plan verify.
type planVerifyFlags struct {
	job, checkpoint, memory string
	size, shards            int
	timeout                 float64
	seed                    uint64
}

func (a *app) planVerifyCommand() *cobra.Command {
	f := &planVerifyFlags{}
	c := &cobra.Command{
		Use:   "verify NET PROPERTY.vnnlib",
		Short: "Plan to go on with verify, from its checkpoint",
		Long: `Deals out what verify has left open in its --checkpoint: the open parts of branch and bound,
those with the lowest bounds first, one to each shard in turn, and whole regions whose search
has not begun. A shard divides its own parts alone, until they are proved, a witness is found,
or --timeout. It keeps the bounds of neurons that it began with.

Merge prints sat, after judging the witness anew; unsat, if every shard has proved its share;
or unknown. Then --out has what is left, for verify --checkpoint FILE --resume, or for
another plan.

For an image, epsball export property writes the property file.`,
		Example: `  epsball verify net.onnx prop.vnnlib --timeout 60 --checkpoint prop.checkpoint
  epsball shard plan verify net.onnx prop.vnnlib --checkpoint prop.checkpoint --job job --shards 100 --timeout 600
  epsball shard run --job job --index 0
  epsball shard merge --job job --out left.checkpoint`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 2 {
				return fmt.Errorf("shard plan verify: got %d arguments, want a network and a property file", len(args))
			}
			return nil
		},
		RunE: func(c *cobra.Command, args []string) error { return a.planVerify(c.Context(), f, args[0], args[1]) },
	}
	addJob(c, &f.job)
	fl := c.Flags()
	fl.StringVar(&f.checkpoint, "checkpoint", "", "`file` that verify has left (required)")
	fl.IntVar(&f.size, "size", 0, "open parts of a shard")
	fl.IntVar(&f.shards, "shards", 0, "number of shards, instead of --size")
	fl.Float64Var(&f.timeout, "timeout", 0, "`seconds` of a shard, after which its parts stay open; 0: never")
	fl.StringVar(&f.memory, "memory", "0", "`bytes` that the open parts of a shard may hold, as 512M or 4G; 0: any number")
	fl.Uint64Var(&f.seed, "seed", 1, "seed of the random starts of attacks, of regions that verify has not attacked")
	return c
}

// check checks the flags.
func (f *planVerifyFlags) check() (memory int, err error) {
	switch {
	case f.checkpoint == "":
		return 0, errors.New("--checkpoint: required: the file that verify --checkpoint has left")
	case (f.size == 0) == (f.shards == 0):
		return 0, errors.New("--shards: required, such as --shards 100; or --size")
	case f.size < 0:
		return 0, fmt.Errorf("--size: got %d, want at least 1 part", f.size)
	case f.shards < 0 || f.shards > jobs.MaxShards:
		return 0, fmt.Errorf("--shards: got %d, want 1 … %d", f.shards, jobs.MaxShards)
	case !(f.timeout >= 0 && f.timeout <= mostSeconds):
		return 0, fmt.Errorf("--timeout: got %v, want seconds from 0 (none) to %g", f.timeout, float64(mostSeconds))
	}
	return parseMemory(f.memory)
}

func (a *app) planVerify(ctx context.Context, f *planVerifyFlags, network, property string) error {
	memory, err := f.check()
	if err != nil {
		return err
	}
	s, err := openStore(f.job)
	if err != nil {
		return err
	}
	if err := unplanned(ctx, s, f.job); err != nil {
		return err
	}
	in, err := a.loadProperty(network, property)
	if err != nil {
		return err
	}
	file, err := os.ReadFile(f.checkpoint)
	if err != nil {
		return fmt.Errorf("--checkpoint: %w", err)
	}
	if err := in.open(file); err != nil {
		return fmt.Errorf("checkpoint %s: %w", f.checkpoint, err)
	}
	most, err := in.whole.Shares()
	switch {
	case err != nil:
		return fmt.Errorf("checkpoint %s: %w", f.checkpoint, err)
	case f.shards > most:
		return fmt.Errorf("--shards: got %d, want at most one for each of %s", f.shards, count(most, "open part"))
	case f.shards == 0:
		f.shards = (most-1)/f.size + 1
	}
	if f.shards > jobs.MaxShards {
		return fmt.Errorf("--size: got %d, which makes %d shards, want at most %d", f.size, f.shards, jobs.MaxShards)
	}
	if in.shares, err = in.whole.Divide(f.shards); err != nil {
		return err
	}
	task := &jobs.Verify{Questions: checkpoint.Hash(in.questions.List), Timeout: f.timeout, Memory: memory, Seed: f.seed}
	if err := task.PutCheckpoint(ctx, s, file); err != nil {
		return fmt.Errorf("--job: %w", err)
	}
	m, err := jobs.NewVerifyManifest(program(), task, jobs.Model{Spec: network, Hash: in.sub.Model.Hash()}, jobs.Data{Spec: property}, in.shares)
	if err != nil {
		return err
	}
	if _, err := task.Work(in.work(m, 0, 1)); err != nil {
		return err
	}
	if err := jobs.Plan(ctx, s, m); err != nil {
		return fmt.Errorf("--job: %w", err)
	}
	r := &report.ShardPlan{
		Envelope: a.envelope("shard plan", in.sub), Job: f.job, Manifest: m.Sum, Kind: task.Kind(), N: most, Shards: m.Shards(), Size: (most-1)/f.shards + 1,
	}
	r.Data = property
	return a.report(r)
}

// propertyInput is what a Verify job works on.
type propertyInput struct {
	sub       *input.Subject // without images
	level     func(*audit.Witness) bool
	questions *query.Questions
	whole     *audit.DecideState
	shares    []*audit.DecideState
}

// loadProperty loads a network and a property of it.
func (a *app) loadProperty(network, property string) (*propertyInput, error) {
	q, err := vnnlib.Load(property)
	if err != nil {
		return nil, err
	}
	m, err := a.loadModel(network)
	if err != nil {
		return nil, err
	}
	in := &propertyInput{sub: &input.Subject{Name: input.Name(network), Model: m}, level: query.Level(q)}
	if in.questions, err = query.New(q, m); err != nil {
		return nil, fmt.Errorf("%s: %w", property, err)
	}
	if in.sub.Net, err = net.Compile(m, net.Options{ISA: a.isa.Name(), Backward: true}); err != nil {
		return nil, fmt.Errorf("model %s: %w", network, err)
	}
	in.sub.Pool = kernels.NewPool(a.threads)
	return in, nil
}

// open reads a checkpoint of the property.
func (in *propertyInput) open(file []byte) (err error) {
	in.whole, err = checkpoint.Decode(file, checkpoint.Of{Version: version(), Model: in.sub.Model.Hash(), Questions: checkpoint.Hash(in.questions.List)})
	return err
}

// loadShares loads what a job was planned with, and deals it out as it was.
func (f *jobInput) loadShares(ctx context.Context, a *app, s jobs.Store, m *jobs.Manifest) (*propertyInput, error) {
	task, spec := m.Task.(*jobs.Verify), cmp.Or(f.model, m.Model.Spec)
	in, err := a.loadProperty(spec, cmp.Or(f.data, m.Data.Spec))
	if err != nil {
		return nil, err
	}
	if err := m.FitsModel(spec, in.sub.Model.Hash()); err != nil {
		return nil, err
	}
	if checkpoint.Hash(in.questions.List) != task.Questions {
		return nil, fmt.Errorf("property %s: asks something else than the %s that the job was planned with", cmp.Or(f.data, m.Data.Spec), m.Data.Spec)
	}
	file, err := task.GetCheckpoint(ctx, s)
	if err != nil {
		return nil, err
	}
	if err := in.open(file); err != nil {
		return nil, err
	}
	if in.shares, err = in.whole.Divide(m.Shards()); err != nil {
		return nil, err
	}
	return in, m.FitsShares(in.shares)
}

// work is what a job works on: n shares.
func (in *propertyInput) work(m *jobs.Manifest, first, n int) *jobs.Subject {
	return &jobs.Subject{
		Model: in.sub.Model.Hash(), Data: m.Data.Spec, First: first, Net: in.sub.Net, Pool: in.sub.Pool,
		Shares: &jobs.Shares{Version: version(), Questions: in.questions.List, Level: in.level, List: in.shares, N: n, SaveEvery: saveEvery},
	}
}

// mergeVerify merges a Verify job.
func (a *app) mergeVerify(ctx context.Context, f *mergeFlags, s jobs.Store, m *jobs.Manifest) error {
	release, err := a.claim(f.force, inputs(m.Data.Spec, []string{m.Model.Spec}), &f.out)
	if err != nil {
		return err
	}
	defer release()
	in, err := f.in.loadShares(ctx, a, s, m)
	if err != nil {
		return err
	}
	w, err := m.Task.(*jobs.Verify).NewWork(in.work(m, 0, m.Shards()))
	if err != nil {
		return err
	}
	g := &merging{a: a, f: f, s: s, m: m, sub: in.sub, bar: show.NewBar(a.stderr)}
	r := &g.result
	*r = report.ShardMerge{Envelope: a.envelope("shard merge", in.sub), Job: f.job, Shards: m.Shards(), Hints: []string{}}
	r.Data, r.Seed = m.Data.Spec, &f.seed
	var missing *jobs.MissingError
	r.Seconds, missing, err = m.MergeSome(ctx, s, func(done, total int) { g.bar.Show("merge", done, total) },
		func(s *jobs.Merged) error { return w.Read(bytes.NewReader(s.Records)) })
	if err == nil && missing != nil { // a witness decides, whatever the others would say
		if w.Witnessed() {
			r.Hints = append(r.Hints, fmt.Sprintf("%s; a witness is enough", missing))
		} else {
			err = missing
		}
	}
	var v *jobs.Verdict
	if err == nil {
		v, err = w.Verdict(ctx, in.whole)
	}
	if err == nil {
		err = g.again(ctx, w)
	}
	g.bar.Clear()
	switch {
	case errors.As(err, &missing), errors.Is(err, jobs.ErrWitness):
		return undecided("%w", err)
	case errors.Is(err, context.Canceled):
		return interrupted("nothing is merged")
	case err != nil:
		return err
	}
	c := &report.Verify{Envelope: r.Envelope, Property: m.Data.Spec, By: "branch and bound", Parts: v.Parts, Seconds: r.Seconds}
	if v.Witness != nil {
		c.Witness = witness(in.questions, v.Witness)
	}
	var failure error
	switch v.Answer {
	case audit.Holds:
		c.Verdict = "unsat"
	case audit.Violated:
		c.Verdict = "sat"
	default:
		c.Verdict, c.By = "unknown", ""
		failure, err = g.left(v, c)
	}
	r.Verify = c
	return errors.Join(err, a.report(r), failure)
}

// left writes what is open to --out, and says so by its failure.
func (g *merging) left(v *jobs.Verdict, c *report.Verify) (failure, err error) {
	if c.Open, err = v.Left.Shares(); err != nil {
		return nil, err
	}
	goOn := "--out writes what is left, to go on from"
	if g.f.out.Path != "" {
		of := checkpoint.Of{Version: version(), Model: g.sub.Model.Hash(), Questions: g.m.Task.(*jobs.Verify).Questions}
		file, err := checkpoint.Encode(of, v.Left)
		if err == nil {
			err = g.f.out.WriteBytes(file)
		}
		if err != nil {
			return nil, err
		}
		g.result.Out = g.f.out.Path
		goOn = fmt.Sprintf("verify --resume --checkpoint %s goes on from there, or another plan", g.f.out.Path)
	}
	return undecided("%s: %d of %s hold, %s left; %s", g.m.Data.Spec, v.Held, count(g.m.Shards(), "share"), count(c.Open, "open part"), goOn), nil
}

// again decides some of the shares that hold once more.
func (g *merging) again(ctx context.Context, w *jobs.VerifyWork) error {
	var held []int
	for i, r := range w.Results {
		if r != nil && r.Answer == audit.Holds {
			held = append(held, i)
		}
	}
	g.result.Recheck = report.ShardRecheck{By: report.RecheckNone, Seed: g.f.seed}
	random := rand.New(rand.NewPCG(g.f.seed, 0))
	random.Shuffle(len(held), func(i, j int) { held[i], held[j] = held[j], held[i] })
	held = held[:min(len(held), g.f.recheck)]
	slices.Sort(held)
	for k, i := range held {
		g.bar.Show("again", k, len(held))
		answer, err := w.Again(ctx, i)
		if err != nil {
			return err
		}
		if answer != audit.Holds {
			return undecided("re-check: share %d, decided again, is %v: shard %d is not to be trusted", i, answer, i)
		}
		g.result.Recheck.By, g.result.Recheck.Images, g.result.Recheck.Proved = report.RecheckAgain, k+1, k+1
	}
	return nil
}
