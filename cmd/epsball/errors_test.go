package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/epsball/epsball/audit"
)

// Bad usage and bad input: exit code 2, nothing on stdout, one line on stderr
// that names the culprit.
func TestBadInput(t *testing.T) {
	f := newFiles(t)
	path := func(name string) string { return filepath.Join(f.dir, name) }
	model := readFile(t, f.model)
	require.NoError(t, os.WriteFile(path("cut.safetensors"), model[:len(model)-7], 0o666))
	require.NoError(t, os.WriteFile(path("empty.safetensors"), nil, 0o666))
	require.NoError(t, os.WriteFile(path("bad.json"), []byte(`{"name":"x"}`), 0o666))
	require.NoError(t, os.WriteFile(path("data.txt"), []byte("x"), 0o666))
	x := make([]float32, 2*36)
	writeNPZ(t, path("label.npz"), x, []int64{0, 12}, []int{2, 1, 6, 6})
	writeNPZ(t, path("shape.npz"), x, []int64{0, 1, 2, 3, 4, 5}, []int{6, 3, 2, 2})
	x[40] = float32(math.NaN())
	writeNPZ(t, path("nan.npz"), x, []int64{0, 1}, []int{2, 1, 6, 6})

	attack := "attack --data " + f.data + " --model " + f.model
	certify := "certify --data " + f.data + " --model " + f.model
	eval := "eval --data " + f.data + " --model " + f.model
	train := "train --arch " + archFile(t, f.dir) + " --data " + f.data + " --out " + path("o.safetensors")
	for _, c := range []struct {
		line string
		want []string // in the message
	}{
		// Commands and flags.
		{"frobnicate", []string{"unknown command", "frobnicate", "attack, bench, certify"}},
		{"--frobnicate", []string{"unknown flag", "--frobnicate"}},
		{"eval extra", []string{"unexpected argument", "extra"}},
		{eval + " --nn 5", []string{"unknown flag", "--nn"}},
		{certify + " --eps 0.1 --proofs c.jsonl", []string{"unknown flag", "--proofs"}},
		{attack + " --n x", []string{"--n", "x"}},
		{attack + " --n", []string{"--n", "whole number"}},
		{"info --threads 0", []string{"--threads", "0"}},
		{"info --threads -3", []string{"--threads", "-3"}},
		{"info --threads many", []string{"--threads", "many"}},
		{"info --isa sse9", []string{"isa", "sse9", "generic"}},
		{attack + " --seed -1", []string{"--seed", "-1"}},
		{"data mnits", []string{"mnits", "did you mean mnist?"}},
		{"data mnist cifar10", []string{"2 arguments", "name of a set"}},
		{"data --verify=", []string{"--verify", "want a folder"}},
		{"data --verify " + path("none"), []string{"none", "no such file"}},
		{"data --verify " + f.dir, []string{f.dir, "mnist, fashion-mnist, cifar10"}},
		// Models.
		{"attack --data " + f.data, []string{"--model", "required"}},
		{"attack --model builtin:nonesuch", []string{"builtin:nonesuch", "builtin:small"}},
		{"attack --model " + path("none.safetensors"), []string{"none.safetensors", "no such file"}},
		{"attack --model " + path("cut.safetensors"), []string{"cut.safetensors", "data"}},
		{"attack --model " + path("empty.safetensors"), []string{"empty.safetensors"}},
		{"attack --model " + f.dir, []string{f.dir, "folder"}},
		{"bench --model " + path("cut.safetensors"), []string{"cut.safetensors"}},
		{"eval --model " + f.model + " --model " + path("cut.safetensors"), []string{"cut.safetensors"}},
		// Data.
		{attack + " --data " + path("none.npz"), []string{"none.npz", "no such file"}},
		{attack + " --data builtin:nonesuch", []string{"nonesuch", "mnist"}},
		{attack + " --data builtin:mnist", []string{"builtin:mnist", "1x28x28", f.model, "1x6x6"}},
		{attack + " --data " + path("shape.npz"), []string{"shape.npz", "3x2x2", f.model, "1x6x6"}},
		{attack + " --data " + path("label.npz"), []string{"label.npz", "label of image 1", "12"}},
		{attack + " --data " + path("nan.npz"), []string{"nan.npz", "image 1", "NaN"}},
		{attack + " --data " + path("data.txt"), []string{"data.txt"}},
		{attack + " --data=", []string{"--data", "required"}},
		{attack + " --n -1", []string{"--n", "-1"}},
		{attack + " --n 101", []string{"--n", "101", "100 images"}},
		{attack + " --offset 100", []string{"--offset", "100"}},
		{attack + " --offset -1", []string{"--offset", "-1"}},
		{attack + " --offset 90 --n 11", []string{"--n", "11", "10 images"}},
		// Balls.
		{attack + " --eps -0.1", []string{"--eps", "-0.1"}},
		{attack + " --eps NaN", []string{"--eps", "NaN"}},
		{attack + " --eps Inf", []string{"--eps", "Inf"}},
		{attack + " --eps abc", []string{"--eps", "abc"}},
		{attack + " --eps 8/0", []string{"--eps", "8/0"}},
		{attack + " --eps 1.5", []string{"--eps", "1.5", "at most 1"}},
		{eval + " --eps 8", []string{"--eps", "8", "at most 1"}},
		{certify + " --eps 2", []string{"--eps", "2", "at most 1"}},
		{train + " --eps 2", []string{"--eps", "2", "at most 1"}},
		{attack + " --norm l0 --eps 3", []string{"--norm", "l0", "linf"}},
		{certify + " --eps 0.1 --norm l7", []string{"--norm", "l7", "linf"}},
		// Attacks.
		{attack + " --attack bin", []string{"--attack", "bim", "fgsm, rfgsm, bim, pgd"}},
		{attack + " --attack pgd:step=3", []string{"--attack", "step: unknown option", "step-size"}},
		{attack + " --attack pgd:steps=0", []string{"--attack", "steps: got 0", "want 1"}},
		{attack + " --attack pgd:steps=", []string{"--attack", "steps=40"}},
		{attack + " --attack pgd:steps=3 --steps 3", []string{"--steps", "got 3", "pgd:steps=3 also gives steps"}},
		{attack + " --attack apgd:seed=3 --seed 4", []string{"--seed", "got 4", "apgd:seed=3"}},
		{attack + " --attack apgd --step-size 0.1", []string{"--step-size", "0.1", "apgd has no such option", "rho"}},
		{attack + " --attack apgd:loss=dlr,targeted --loss ce", []string{"--loss", "ce"}},
		{eval + " --attack bin", []string{"--attack", "bin", "fgsm, rfgsm, bim, pgd"}},
		{eval + " --attack pgd:rho=1", []string{"--attack", "rho", "steps"}},
		{eval + " --attack fgsm --steps 3", []string{"--steps", "pgd:steps=3"}},
		{attack + " --loss hinge", []string{"--loss", "hinge", "margin"}},
		{attack + " --steps 0", []string{"--steps", "0"}},
		{attack + " --steps 99999999", []string{"steps", "99999999"}},
		{attack + " --attack fgsm --steps 7", []string{"--steps", "7", "fgsm"}},
		{attack + " --step-size 0", []string{"--step-size", "above 0"}},
		{attack + " --step-size nan", []string{"--step-size", "nan"}},
		{attack + " --restarts 0", []string{"--restarts", "0"}},
		{attack + " --restarts 3 --random-start=false", []string{"restarts", "random start"}},
		{attack + " --out " + f.dir, []string{"--out", f.dir, "folder"}},
		{attack + " --out " + path("no/such/adv.npz"), []string{"--out", "no/such"}},
		{eval + " --steps 0", []string{"--steps", "0"}},
		// Certificates.
		{certify, []string{"--eps", "--radius"}},
		{certify + " --eps 0.1 --radius", []string{"--eps", "--radius"}},
		{certify + " --eps 0.1 --resolution 0.1", []string{"--resolution"}},
		{certify + " --eps 0.1 --resume", []string{"--resume", "--out"}},
		{certify + " --eps 0.1 --out " + f.dir, []string{"--out", f.dir, "folder"}},
		{certify + " --eps 0.1 --out " + path("no/such/c.jsonl"), []string{"--out", "no/such"}},
		{"check", []string{"check", "0 arguments", "one file"}},
		{"check a b --model " + f.model, []string{"2 arguments"}},
		{"check c.jsonl", []string{"--model", "required"}},
		{"check " + path("none.jsonl") + " --data " + f.data + " --model " + f.model, []string{"none.jsonl", "no such file"}},
		{"check " + f.dir + " --data " + f.data + " --model " + f.model, []string{f.dir, "folder"}},
		{"check c.jsonl --data " + path("shape.npz") + " --model " + f.model, []string{"shape.npz", "3x2x2"}},
		{"check c.jsonl --data= --model " + f.model, []string{"--data", "required"}},
		{"check c.jsonl --model " + path("cut.safetensors"), []string{"cut.safetensors"}},
		{certify + " --eps 0.1 --method kroun", []string{"--method", "kroun", "ibp, crown-ibp, crown, alpha-crown, bab"}},
		{certify + " --eps 0.1 --method crown --timeout 3", []string{"--timeout", "crown"}},
		{certify + " --eps 0.1 --method bab --timeout -3", []string{"--timeout", "-3"}},
		{certify + " --eps 0.1 --method bab --ladder=false", []string{"--ladder", "bab"}},
		{certify + " --eps 0.1 --method bab --iterations 3", []string{"--iterations", "bab"}},
		{certify + " --eps 0.1 --method crown --iterations 3", []string{"--iterations", "crown"}},
		{certify + " --eps 0.1 --method alpha-crown --iterations -3", []string{"--iterations", "-3"}},
		{certify + " --eps 0.1 --plot p.svg", []string{"--plot", "--radius"}},
		{certify + " --eps 0.1 --attack-steps 3", []string{"--attack-steps", "--radius"}},
		{certify + " --radius --attack-steps -1", []string{"--attack-steps", "-1"}},
		{certify + " --radius --norm l1 --attack-steps 5", []string{"--attack-steps", "l1"}},
		{certify + " --radius --plot no/such/p.svg", []string{"--plot", "no/such"}},
		{certify + " --radius --resolution 0", []string{"--resolution", "above 0"}},
		{certify + " --radius --resolution 2", []string{"--resolution", "2"}},
		{certify + " --radius --resolution 1/999999999", []string{"resolution", "1/999999999"}},
		{certify + " --radius --max-radius 3", []string{"--max-radius", "3"}},
		// Training.
		{"train --data " + f.data + " --out x", []string{"--arch", "required"}},
		{"train --arch mnist-small --out x", []string{"--data", "required"}},
		{"train --arch mnist-small --data " + f.data, []string{"--out", "required"}},
		{train + " --arch huge", []string{"--arch", "huge", "mnist-small"}},
		{train + " --arch " + path("none.json"), []string{"none.json", "no such file"}},
		{train + " --arch " + path("bad.json"), []string{"bad.json", "input"}},
		{train + " --arch mnist-small", []string{f.data, "1x6x6", "1x28x28"}},
		{train + " --method sgd", []string{"--method", "sgd", "standard, gaussian, smoothadv, fgsm"}},
		{train + " --method pgd --kappa 0.5", []string{"--kappa", "pgd"}},
		{train + " --method standard --ramp 1", []string{"--ramp", "standard"}},
		{train + " --epochs 0", []string{"epochs", "0"}},
		{train + " --batch 0", []string{"batch", "0"}},
		{train + " --batch 101", []string{"batch", "101"}},
		{train + " --lr 0", []string{"lr", "0"}},
		{train + " --lr NaN", []string{"lr", "NaN"}},
		{train + " --resume", []string{"o.safetensors.checkpoint", "not found"}},
		{train + " --resume --checkpoint " + path("data.txt"), []string{"data.txt"}},
		{train + " --test-data " + path("none.npz"), []string{"--test-data", "none.npz"}},
		{train + " --test-data " + path("shape.npz"), []string{"--test-data", "3x2x2"}},
		{train + " --out " + path("no/such/m.safetensors"), []string{"--out", "no/such"}},
		// Benchmarks.
		{"bench --filter (", []string{"--filter"}},
		{"bench --filter nothing", []string{"--filter", "nothing", "forward/mnist-small/b1/t1"}},
		{"bench --batch 0", []string{"--batch", "0"}},
		{"bench --batch x", []string{"--batch", "x"}},
		{"bench --time 0s", []string{"--time", "0s"}},
		{"bench --time fast", []string{"--time", "fast"}},
		{"bench --json --benchstat", []string{"--json", "--benchstat"}},
		{"bench --plot " + path("none/r.svg"), []string{"--plot", "none"}},
		{"bench --plot " + f.dir, []string{"--plot", "folder"}},
		{"bench --isa most", []string{"isa", "most", "generic"}},
		{"bench --layers --filter layer/forward/mnist-small/pool", []string{"--filter", "pool"}},
		{fmt.Sprintf("bench --model %s --model %[1]s", f.model), []string{"--model", "two", "m"}},
		{"info --isa all", []string{"isa", "all"}},
	} {
		r := run(append(override(c.line), "--json")...)
		assert.Equal(t, 2, r.code, c.line)
		assert.Empty(t, r.stdout, c.line)
		assert.Equal(t, 1, strings.Count(r.stderr, "\n"), "%s: one line, got %q", c.line, r.stderr)
		assert.True(t, strings.HasPrefix(r.stderr, "epsball: "), r.stderr)
		for _, w := range c.want {
			assert.Contains(t, r.stderr, w, c.line)
		}
		if testing.Verbose() {
			t.Logf("%s\n    %s", c.line, r.stderr)
		}
	}
	assert.NoFileExists(t, path("o.safetensors"))
}

func TestBadEnvironment(t *testing.T) {
	t.Setenv("EPSBALL_ISA", "sse9")
	r := run("info")
	assert.Equal(t, 2, r.code)
	assert.Contains(t, r.stderr, "EPSBALL_ISA")
	assert.Zero(t, run("info", "--isa", "generic").code, "the flag wins")
}

func TestHelp(t *testing.T) {
	for _, line := range []string{"", "--help", "help eval", "eval --help", "--version"} {
		r := run(strings.Fields(line)...)
		assert.Zero(t, r.code, line)
		assert.NotEmpty(t, r.stdout, line)
		assert.Empty(t, r.stderr, line)
	}
}

func TestExitCodes(t *testing.T) {
	assert.Equal(t, 0, exitCode(nil))
	assert.Equal(t, 1, exitCode(fmt.Errorf("model x: %w", &audit.Contradiction{})))
	assert.Equal(t, 1, exitCode(interrupted("early")))
	assert.Equal(t, 1, exitCode(errors.Join(errors.New("x"), undecided("y"))))
	assert.Equal(t, 2, exitCode(errors.New("bad")))
	assert.EqualError(t, interrupted("%d of %d", 1, 2), "interrupted: 1 of 2")
}

type fullDisk struct{}

func (fullDisk) Write([]byte) (int, error) { return 0, errors.New("no space left") }

func TestStdoutFails(t *testing.T) {
	var errs strings.Builder
	for _, line := range [][]string{{"info"}, {"info", "--json"}} {
		assert.Equal(t, 2, newTestApp(fullDisk{}, &errs).run(context.Background(), line))
	}
	assert.Contains(t, errs.String(), "no space left")

	f := newFiles(t)
	r := run(args("attack --model %s --data %s --json --out /dev/full", f.model, f.data)...)
	if _, err := os.Stat("/dev/full"); err == nil {
		assert.Equal(t, 2, r.code)
		assert.Contains(t, r.stderr, "--out")
		assert.EqualValues(t, f.n, r.document(t)["n"], "the result is printed all the same")
		table := run(args("attack --model %s --data %s --out /dev/full", f.model, f.data)...)
		assert.Contains(t, table.stdout, "robust")
		assert.NotContains(t, table.stdout, "written")
	}
}

// TestChecksFail: a model whose logits are so large that they leave no gradient looks
// robust. A check says that it is not, in the exit status and for people.
func TestChecksFail(t *testing.T) {
	f := newFiles(t)
	saturated := filepath.Join(f.dir, "saturated.safetensors")
	m := smallModel(t, 1)
	for _, v := range [][]float32{m.Params[2].W, m.Params[2].B} {
		for k := range v {
			v[k] *= 1e5
		}
	}
	require.NoError(t, m.Save(saturated))
	line := args("attack --model %s --data %s --eps 0.05 --steps 10", saturated, f.data)
	r := run(line...)
	assert.Equal(t, 1, r.code)
	assert.Contains(t, r.stderr, "epsball: check zero-gradients: 100.0% of ")
	assert.Regexp(t, `checks .* [0-9]+ FAILED, `, r.stdout)
	assert.Regexp(t, `check zero-gradients +FAILED: 100.0% of `, r.stdout)
	verdicts := func(doc map[string]any) map[string]string {
		by := map[string]string{}
		for _, c := range doc["checks"].([]any) {
			c := c.(map[string]any)
			assert.Equal(t, []string{"count", "detail", "images", "name", "verdict"}, keys(c))
			by[c["name"].(string)] = c["verdict"].(string)
		}
		return by
	}
	by := verdicts(document(t, 1, line...))
	assert.Equal(t, "fail", by["zero-gradients"])
	assert.Equal(t, "fail", by["transfer"], "by the gradient of the built-in model")
	assert.Equal(t, "ok", by["predictions"])
	table := run(args("attack --model %s --data %s --eps 0.05,0.06 --steps 10", saturated, f.data)...)
	assert.Equal(t, 1, table.code)
	assert.Contains(t, table.stdout, "FAILED")

	// Off are those that need more than the result. Short steps are no more than a warning.
	by = verdicts(document(t, 0, append(line, "--checks", "off")...))
	assert.Equal(t, map[string]string{"finite": "ok", "inside": "ok", "predictions": "ok", "lattice": "skipped"}, by)
	r = run(args("attack --model %s --data %s --eps 0.05 --steps 10 --step-size 0.01 --checks full", f.model, f.data)...)
	assert.Zero(t, r.code, r.stderr)
	assert.Contains(t, r.stderr, "warning: check ")
	assert.Regexp(t, `check \S+ +warning: `, r.stdout)
	r = run(append(line, "--checks", "some")...)
	assert.Equal(t, 2, r.code)
	assert.Contains(t, r.stderr, `--checks: got "some", want one of quick, full, off`)
}
