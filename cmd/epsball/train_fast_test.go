package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/epsball/epsball/model"
	"github.com/epsball/epsball/report"
	"github.com/epsball/epsball/train"
)

// TestTrainOverfitting: an attack of one step that is provoked to fail is told of, to
// people, in JSON, in the log and in the card, and acted on.
func TestTrainOverfitting(t *testing.T) {
	dir := t.TempDir()
	arch, out, log := filepath.Join(dir, "digits.json"), filepath.Join(dir, "m.safetensors"), filepath.Join(dir, "m.jsonl")
	require.NoError(t, os.WriteFile(arch, []byte(`{"name": "digits", "input": [1, 28, 28], "layers": [
		{"type": "conv", "out": 6, "kernel": 5, "stride": 3}, {"type": "relu"}, {"type": "fc", "out": 24}, {"type": "relu"}, {"type": "fc", "out": 10}]}`), 0o600))
	line := "train --arch %s --method fgsm --noise 0 --pgd-step-size 2 --eps 0.2 --warmup 1 --ramp 2 --schedule smooth --lr 0.005 --batch 10 " +
		"--epochs 4 --data builtin:mnist --n 800 --test-data none --force --out %s --log %s --overfitting %s"
	for policy, want := range map[string]struct {
		epochs int
		card   string
		told   string
	}{
		"off":      {4, "", ""},
		"warn":     {4, "catastrophic after 3 epochs: 2, 3, 4", "--overfitting stop or fallback would go back"},
		"stop":     {1, "catastrophic in epoch 2: stopped with the weights from before it", "training ends with the weights"},
		"fallback": {4, "catastrophic in epoch 2: from there on PGD of 7 steps", "on with PGD of 7 steps"},
	} {
		r := run(append(args(line, arch, out, log, policy), "--json")...)
		require.Zero(t, r.code, r.stderr)
		assert.Equal(t, want.told != "", strings.Contains(r.stderr, "warning: epoch 2: catastrophic overfitting: of 32 images, one step leaves "), r.stderr)
		assert.Contains(t, r.stderr, want.told)
		m, err := model.Load(out)
		require.NoError(t, err)
		assert.Equal(t, want.card, m.Card[report.CardOverfitting])
		assert.Equal(t, policy != "warn", strings.Contains(m.Card[report.CardCommand], " --overfitting "+policy+" "))

		doc := r.document(t)
		epochs := doc["epochs"].([]any)
		require.Len(t, epochs, want.epochs)
		if alarm := doc["overfitting"]; policy == "stop" || policy == "fallback" {
			a := alarm.(map[string]any)
			assert.Equal(t, 2., a["epoch"])
			assert.Equal(t, policy, a["action"])
		} else {
			assert.Nil(t, alarm)
		}
		if policy == "warn" {
			o := epochs[3].(map[string]any)["overfitting"].(map[string]any)
			assert.Equal(t, "warn", o["action"])
			assert.Equal(t, []string{"abnormal", "action", "images", "multi_step", "one_step"}, keys(o))
		}
		lines := strings.Split(strings.TrimSpace(string(readFile(t, log))), "\n")
		require.Len(t, lines, want.epochs)
		for i, l := range lines {
			var e report.Epoch
			require.NoError(t, json.Unmarshal([]byte(l), &e))
			assert.Equal(t, i+1, e.Epoch)
		}
	}
	r := run(args(line, arch, out, log, "warn")...)
	assert.Contains(t, r.stdout, "catastrophic after 3 epochs: 2, 3, 4")
}

// TestTrainNorm: a model is trained and tested in the balls asked for, and its card says so.
func TestTrainNorm(t *testing.T) {
	f := newFiles(t)
	arch, out := archFile(t, f.dir), filepath.Join(f.dir, "t.safetensors")
	line := func(more string) []string {
		return args("train --arch %s --data %s --epochs 2 --batch 10 --force --out %s --test-data %s --test-n 50 "+more, arch, f.data, out, f.data)
	}
	hashes := map[any]bool{}
	for _, method := range []train.Method{train.FGSM, train.NFGSM, train.Free, train.PGD, train.TRADES, train.MART, train.LogitPairing} {
		for _, norm := range []string{"linf", "l2"} {
			r := run(append(line("--method "+string(method)+" --validation 0.2 --eps 0.3 --norm "+norm), "--json")...)
			require.Zero(t, r.code, r.stderr)
			doc := r.document(t)
			assert.Equal(t, norm, doc["norm"])
			hashes[doc["hash"]] = true
			m, err := model.Load(out)
			require.NoError(t, err)
			assert.Equal(t, norm == "l2", m.Card[report.CardNorm] == "l2")
			eval := document(t, 0, args("eval --model %s --data %s --n 50 --eps 0.3 --norm %s --attack pgd:steps=40", out, f.data, norm)...)
			evaluated := eval["results"].([]any)[0].(map[string]any)
			for _, figure := range []string{"clean", "pgd", "certified"} {
				assert.Equal(t, doc[figure], evaluated[figure], "%s %s", method, figure)
			}
		}
	}
	assert.Len(t, hashes, 14)
	r := run(line("--method pgd --norm l2 --eps 0.3")...)
	assert.Contains(t, r.stdout, "l2 ε = 0.3")

	for more, want := range map[string]string{
		"--method ibp --norm l2":              "--norm: has no meaning with --method ibp",
		"--method pgd --norm l1":              `--norm: got "l1", want one of linf, l2`,
		"--method pgd --norm l2 --eps 100":    "--train-eps: got 100, want at most",
		"--method pgd --norm l2 --eps 1e7":    "--eps: got 1e7, want at most 1e6",
		"--method pgd --eps 1.5":              "--eps: got 1.5, want at most 1",
		"--method free --noise 1":             "--noise: has no meaning with --method free",
		"--method fgsm --noise -1":            "--noise: got -1, want 0 … 10",
		"--method fgsm --pgd-steps 3":         "--pgd-steps: has no meaning with --method fgsm",
		"--method free --replays 0":           "--replays: got 0, want 1 … 1000",
		"--method n-fgsm --replays 2":         "--replays: has no meaning with --method n-fgsm",
		"--method fgsm --overfitting panic":   `--overfitting: got "panic", want one of warn, stop, fallback, off`,
		"--method standard --overfitting off": "--overfitting: has no meaning with --method standard",
	} {
		r := run(line(more)...)
		assert.Equal(t, 2, r.code, more)
		assert.Contains(t, r.stderr, want)
	}
}
