package report_test

import (
	"bytes"
	"context"
	"encoding/json"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/epsball/epsball/attack"
	"github.com/epsball/epsball/audit"
	"github.com/epsball/epsball/dataset/mnist"
	"github.com/epsball/epsball/kernels"
	"github.com/epsball/epsball/model"
	"github.com/epsball/epsball/net"
	"github.com/epsball/epsball/report"
	"github.com/epsball/epsball/train"
	"github.com/epsball/epsball/verify"
	"github.com/epsball/epsball/zoo"
)

// again writes a result, reads it back and returns it, having checked that it is the
// same value, with the same text.
func again(t *testing.T, r report.Result) report.Result {
	t.Helper()
	var b bytes.Buffer
	require.NoError(t, report.Write(&b, r))
	back, err := report.Read(&b)
	require.NoError(t, err)
	require.Equal(t, r, back)
	require.Equal(t, r.Text(), back.Text())
	require.NotEmpty(t, r.Text())
	return back
}

type subject struct {
	m    *model.Model
	net  *net.Network
	pool *kernels.Pool
	x    []float32
	y    []int
}

// newSubject is a built-in model with images, the fourth of which has a wrong label.
func newSubject(t *testing.T, n int) *subject {
	if len(kernels.Available()) == 1 {
		t.Skip("takes minutes without vector kernels")
	}
	m, err := zoo.Load("mnist-small-ibp-0.1")
	require.NoError(t, err)
	c, err := net.Compile(m, net.Options{Backward: true})
	require.NoError(t, err)
	set, err := mnist.Test()
	require.NoError(t, err)
	images := set.Slice(0, n)
	y := append([]int{}, images.Y...)
	y[3] = (y[3] + 1) % 10
	pool := kernels.NewPool(2)
	t.Cleanup(pool.Close)
	return &subject{m, c, pool, images.X, y}
}

func (s *subject) envelope(command string) report.Envelope {
	seed := uint64(1<<63 + 1) // more than a float64 holds
	return report.Envelope{
		Epsball: report.Header{Command: command, Version: "v1", Models: []report.Model{{Name: "m", Hash: s.m.Hash()}}},
		ISA:     s.net.ISA().Name(), Threads: 2, Seed: &seed, Data: "d",
	}
}

func TestEval(t *testing.T) {
	s := newSubject(t, 30)
	r := &report.Eval{Envelope: s.envelope("eval"), Steps: 5, Seconds: 1.25, Hints: []string{}}
	for _, eps := range []string{"8/255", "0.2"} {
		e, err := audit.Evaluate(context.Background(), s.net, s.pool, s.x, s.y, audit.Options{Ball: net.Ball{Norm: net.Linf, Eps: net.MustEpsilon(eps)}, Attacks: []attack.Method{attack.FGSM{}, attack.PGD{Steps: 5, Seed: 1}}})
		require.NoError(t, err)
		r.Results = append(r.Results, report.NewEvaluation("m", eps, e))
	}
	gone, cancel := context.WithCancel(context.Background())
	cancel()
	e, err := audit.Evaluate(gone, s.net, s.pool, s.x, s.y, audit.Options{Ball: net.Ball{Norm: net.Linf, Eps: net.MustEpsilon("0.3")}, Attacks: []attack.Method{attack.FGSM{}, attack.PGD{Steps: 5}}})
	require.ErrorIs(t, err, context.Canceled)
	r.Results = append(r.Results, report.NewEvaluation("m", "0.3", e))
	back := again(t, r).(*report.Eval)
	assert.Nil(t, back.Results[2].PGD)
	assert.InDelta(t, 29.0/30, *back.Results[0].Clean, 0.04)
	assert.Contains(t, r.Text(), "linf ε = 8/255, 0.2, 0.3, n = 30 of d")
	assert.Contains(t, r.Text(), "–: not run")
	r.Results = r.Results[:1]
	assert.NotContains(t, strings.Split(r.Text(), "\n")[0], "ε")
}

func TestAttack(t *testing.T) {
	s := newSubject(t, 30)
	ball := net.Ball{Norm: net.Linf, Eps: net.MustEpsilon("0.2")}
	cfg := attack.Config{Ball: ball, Method: attack.PGD{Steps: 10, Seed: 1}}
	a, err := attack.New(s.net, cfg, s.pool)
	require.NoError(t, err)
	res := new(attack.Result)
	require.NoError(t, a.Run(context.Background(), attack.Batch{X: s.x, Y: s.y}, res))
	run := report.NewAttackRun("m", 0, &cfg)
	require.Equal(t, 0.05, run.StepSize)
	run.Checks = audit.Diagnose(context.Background(), audit.Case{
		Target: s.net, Pool: s.pool, Config: cfg, Batch: attack.Batch{X: s.x, Y: s.y}, Result: res, Level: audit.LevelOff,
	})
	run.Checks = append(run.Checks, audit.Finding{Name: "n", Verdict: audit.Warn, Count: 1, Images: []int{3}, Detail: "d"}, audit.Finding{Name: "m", Verdict: audit.Fail, Images: []int{}, Detail: "e"})
	run.Out, run.Seconds = "adv.npz", 0.5
	begun := run
	run.Fill(res, 30)
	require.Positive(t, run.Success)
	require.Nil(t, run.Interrupted)
	r := &report.Attack{Envelope: s.envelope("attack"), AttackRun: run, Hints: []string{"h"}}
	again(t, r)
	assert.Regexp(t, `checks +1 FAILED, 1 warning, 3 ok, 1 left out\ncheck n +warning: d\ncheck m +FAILED: e\n`, r.Text())
	table := &report.AttackTable{Envelope: s.envelope("attack"), Results: []report.AttackRun{run, run}, Hints: []string{}}
	table.Results[1].Eps, table.Results[1].EpsExact = 0.3, "0.3"
	again(t, table)

	// ^C leaves a range.
	for i := range 10 {
		res.Done[i] = false
	}
	begun.Fill(res, 30)
	require.Equal(t, 20, begun.Interrupted.Done)
	assert.Nil(t, begun.Clean)
	again(t, &report.Attack{Envelope: s.envelope("attack"), AttackRun: begun, Hints: []string{}})
	table.Results[1] = begun
	assert.Contains(t, again(t, table).Text(), "interrupted")
}

func TestCertify(t *testing.T) {
	s := newSubject(t, 20)
	ctx := context.Background()
	ibp, err := verify.New(s.net, s.pool)
	require.NoError(t, err)
	pred, err := audit.Predict(ctx, s.net, s.pool, s.x, 20)
	require.NoError(t, err)
	search, err := attack.NewRadiusSearch(s.net, attack.Config{Ball: net.Ball{Norm: net.Linf}, Method: attack.PGD{Steps: 10, Seed: 1}}, net.MustEpsilon("1/100"), net.MustEpsilon("1"), s.pool)
	require.NoError(t, err)
	var runs []report.CertifyRun
	for _, o := range []audit.ProveOptions{
		{Norm: net.Linf, Eps: net.MustEpsilon("8/255"), First: 5, Block: 7},
		{Norm: net.Linf, Resolution: net.MustEpsilon("1/100"), Max: net.MustEpsilon("1"), Search: search, AttackSteps: 10, First: 5, Block: 7},
	} {
		p, err := audit.NewProving(ibp, s.x, s.y, o)
		require.NoError(t, err)
		require.NoError(t, p.Run(ctx))
		require.NoError(t, p.Check(pred))
		c := report.NewCertifyRun("m", "ibp", false, &o)
		c.Fill(p, pred, s.y)
		c.Timings = report.CertifyTimings{Forward: 0.1, Proof: 2, Proved: 20}
		require.Nil(t, c.Interrupted)
		assert.InDelta(t, 0.95, *c.Certified, 0.06)
		runs = append(runs, c)
		again(t, &report.Certify{Envelope: s.envelope("certify"), CertifyRun: c, Hints: []string{}})
		again(t, &report.CertifyTable{Envelope: s.envelope("certify"), Results: []report.CertifyRun{c, c}, Hints: []string{}})

		p.Whole, p.Done[8], p.Done[9] = 8, false, false
		part := report.NewCertifyRun("m", "ibp", false, &o)
		part.Fill(p, pred, s.y)
		assert.Equal(t, 18, part.Interrupted.Done)
		assert.Equal(t, 8, part.N)
		again(t, &report.Certify{Envelope: s.envelope("certify"), CertifyRun: part, Hints: []string{}})
	}
	assert.Nil(t, runs[0].MeanRadius)
	assert.Nil(t, runs[1].Eps)
	assert.Len(t, runs[1].Brackets, 20)

	// The attack is told in sentences.
	half, one := 0.5, 1.0
	c := report.CertifyRun{N: 2, AttackSteps: 40, MaxRadiusExact: "1", Brackets: []report.Bracket{{Certified: &half, Attacked: &one}, {Certified: &half}}}
	assert.Equal(t, "PGD-40 fools 1 of the 2 images, at a mean radius of 1, which is 0.5 above the mean of the radii proved", c.AttackText())
	c.Brackets[1].Attacked = &one
	assert.Equal(t, "PGD-40 fools all 2 images, at a mean radius of 1, which is 0.5 above the mean of the radii proved", c.AttackText())
	c.Brackets = []report.Bracket{{Certified: &half}}
	assert.Equal(t, "PGD-40 fools no image up to ε = 1", c.AttackText())
}

func TestOthers(t *testing.T) {
	m, err := model.Random(&model.Architecture{Name: "a", Input: model.Shape{C: 1, H: 3, W: 3}, Layers: []model.Layer{
		{Kind: model.FC, Out: 8}, {Kind: model.ReLU}, {Kind: model.FC, Out: 4},
	}}, 1)
	require.NoError(t, err)
	e := report.Envelope{Epsball: report.Header{Command: "x", Version: "v1"}}
	stored, err := report.StoredLayers(m)
	require.NoError(t, err)
	require.Len(t, stored, 2)
	index, accuracy := 4, 0.5
	for _, r := range []report.Result{
		&report.Check{
			Envelope: e, File: "c.jsonl", Checked: 3, Valid: 1, Invalid: 2, Groups: []report.CheckGroup{{Norm: "l2", Eps: "1/300", Level: "real", Specification: "rows", Valid: 1}},
			Failures: []report.CheckFailure{{Line: 2, Index: &index, Reason: "a"}, {Line: 3, Reason: "b"}},
		},
		&report.Train{
			Envelope: e, Epochs: report.Epochs([]train.Epoch{{Epoch: 1, Loss: 0.1, Eps: 0.3}}), Out: "-", Written: true, Clean: &accuracy, PGD: &accuracy,
			Certified: &accuracy, TestSteps: 40,
		},
		&report.Info{
			Envelope: e, Features: []string{"AVX2"}, Caches: []report.Cache{{Level: "L1", Bytes: 32768}}, ISAs: []string{"generic"},
			Models: []report.Network{{Name: "m", Card: map[string]string{report.CardClean: "0.985", report.CardEps: "0.1"}}}, Presets: []report.Network{report.Describe("a", &m.Arch)},
		},
		&report.ModelInfo{Envelope: e, Network: report.Describe("a", &m.Arch), Bytes: m.Bytes(), Weights: stored},
		&report.Conversion{Envelope: e, Model: "n.onnx", Source: "s", Notes: "n"},
		&report.Storage{Envelope: e, Weights: stored, Same: true},
		&report.Supports{Envelope: e, Capabilities: []report.Capability{{Name: "a", Values: []string{"b", "c"}}}},
		&report.Properties{Envelope: e, Out: "f", Network: "onnx/a.onnx", Version: "1.0", Norm: "linf", Eps: []string{"8/255"}, N: 3, Misclassified: 1, Written: 2, Timeout: 300},
	} {
		again(t, r)
	}
	r := &report.Info{Models: []report.Network{{Name: "m", Card: map[string]string{report.CardClean: "0.985", report.CardEps: "0.1"}}}}
	assert.Regexp(t, `builtin:m +0 +0 +– +0\.1 +98\.50% +– +–`, r.Text())
}

// TestRead: what is not a result of this format is refused by name.
func TestRead(t *testing.T) {
	for doc, want := range map[string]string{
		`{"epsball":{"format":2,"kind":"eval"}}`:                "result: epsball.format: got 2, which this version does not know, want 1",
		`{"epsball":{"format":1,"kind":"poem"}}`:                `result: epsball.kind: got "poem", want a kind of format 1`,
		`{"results":[]}`:                                        "result: no key epsball",
		`{"epsball":{"format":1,"kind":"eval"},"offset":"x"}`:   "result: eval: ",
		`{"epsball":{"format":1,"kind":"eval"}} {"epsball":{}}`: "result: more than one JSON document",
		`[1]`: "result: ",
		``:    "result: EOF",
		`{`:   "result: unexpected EOF",
	} {
		_, err := report.Read(strings.NewReader(doc))
		require.ErrorContains(t, err, want, doc)
	}
	// A key that a later version added is no reason to refuse.
	r, err := report.Read(strings.NewReader(`{"epsball":{"format":1,"kind":"eval","later":1},"steps":3,"more":{}}`))
	require.NoError(t, err)
	require.Equal(t, 3, r.(*report.Eval).Steps)
	// A row that lacks what its kind has is shown without it.
	r, err = report.Read(strings.NewReader(`{"epsball":{"format":1,"kind":"bench"},"threads":2,"rows":[{"name":"edge/m/b1/t1","kind":"edge"}]}`))
	require.NoError(t, err)
	require.Contains(t, r.Text(), "edge/m/b1/t1")
	// The keys of the common part stay where scripts find them.
	b, err := json.Marshal(&report.Attack{Envelope: report.Envelope{ISA: "avx2", Threads: 3, Data: "d"}})
	require.NoError(t, err)
	for _, key := range []string{`"isa":"avx2"`, `"threads":3`, `"data":"d"`, `"robust":null`} {
		require.Contains(t, string(b), key)
	}
}
