package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/epsball/epsball/internal/countdown"
	"github.com/epsball/epsball/model"
	"github.com/epsball/epsball/report"
	"github.com/epsball/epsball/train"
)

func TestTrain(t *testing.T) {
	f := newFiles(t)
	arch, out := archFile(t, f.dir), filepath.Join(f.dir, "t.safetensors")
	for _, method := range train.Methods() {
		r := run(args("train --force --arch %s --method %s --data %s --eps 0.02 --epochs 3 --batch 10 --out %s --test-data %s --test-n 50 --json", arch, method, f.data, out, f.data)...)
		require.Zero(t, r.code, r.stderr)
		assert.Equal(t, 3, strings.Count(r.stderr, "epoch "), "a line an epoch: %s", r.stderr)
		doc := r.document(t)
		assert.Equal(t, []string{
			"arch", "certified", "clean", "command", "data", "epochs", "eps", "eps_exact", "epsball", "hash", "isa", "method", "n", "norm", "out", "pgd",
			"seconds", "seed", "test_data", "test_n", "test_steps", "threads", "written",
		}, keys(doc))
		epochs := doc["epochs"].([]any)
		require.Len(t, epochs, 3)
		perEpoch := []string{"clean", "epoch", "eps", "kappa", "loss", "lr", "overfitting", "robust", "seconds"}
		if !slices.Contains([]train.Method{train.FGSM, train.NFGSM, train.Free}, method) {
			perEpoch = slices.Delete(perEpoch, 6, 7)
		}
		assert.Equal(t, perEpoch, keys(epochs[0]))
		assert.NoFileExists(t, out+".checkpoint")

		m, err := model.Load(out)
		require.NoError(t, err)
		assert.Equal(t, doc["hash"], m.Hash())
		assert.Equal(t, string(method), m.Card[report.CardMethod])
		assert.Equal(t, "0.02", m.Card[report.CardEps])
		assert.NotEmpty(t, m.Card[report.CardClean])
		assert.Equal(t, "50", m.Card[report.CardTestN])

		// The card's command line makes the same model.
		line := strings.Fields(m.Card[report.CardCommand])
		require.Equal(t, "epsball", line[0])
		require.NoError(t, os.Remove(out))
		again := run(append(line[1:], "--test-data", "none")...)
		require.Zero(t, again.code, again.stderr)
		twin, err := model.Load(out)
		require.NoError(t, err)
		assert.Equal(t, m.Hash(), twin.Hash())
		assert.Contains(t, again.stdout, "written")
	}
}

// A flag of another method is refused; one of this method counts, and is written
// into the card.
func TestTrainMethodFlags(t *testing.T) {
	f := newFiles(t)
	arch, out := archFile(t, f.dir), filepath.Join(f.dir, "t.safetensors")
	line := func(more string) []string {
		return args("train --arch %s --data %s --epochs 1 --batch 10 --out %s --test-data none "+more, arch, f.data, out)
	}
	for more, want := range map[string]string{
		"--method pgd --beta 6":             "--beta: has no meaning with --method pgd",
		"--method ibp --pgd-steps 3":        "--pgd-steps: has no meaning with --method ibp",
		"--method trades --kappa 0.5":       "--kappa: has no meaning with --method trades",
		"--method standard --warmup 1":      "--warmup: has no meaning with --method standard",
		"--method standard --train-eps 1":   "--train-eps: has no meaning with --method standard",
		"--method ibp --alpha 0.5":          "--alpha: has no meaning with --method ibp",
		"--method mtl-ibp --subbox 0.5":     "--subbox: has no meaning with --method mtl-ibp",
		"--method mtl-ibp --kappa 0.5":      "--kappa: has no meaning with --method mtl-ibp",
		"--method sabr --attack-scale 2":    "--attack-scale: has no meaning with --method sabr",
		"--method sabr --subbox 0":          "subbox: got 0, want above 0, at most 1",
		"--method mtl-ibp --alpha 2":        "alpha: got 2, want 0 … 1",
		"--method sabr --winograd":          "--winograd: has no meaning with --method sabr",
		"--method ibp --winograd":           "--winograd: has no meaning with --method ibp",
		"--method pgd --tightness 1":        "--tightness: has no meaning with --method pgd",
		"--method ibp --beta-final 1":       "--beta-final: has no meaning with --method ibp",
		"--method crown-ibp --beta-final 2": "beta-final: got 2, want 0 … 1",
		"--method crown-ibp --tightness -1": "tightness: got -1, want 0 … 1000",
		"--method ibp --init xavier":        "--init: got",
		"--method trades --beta -1":         "beta: got -1, want 0 … 1000",
		"--method pgd --sigma 0.5":          "--sigma: has no meaning with --method pgd",
		"--method gaussian --sigma 0":       "--sigma: got 0, want above 0, at most 4",
		"--method gaussian --train-eps 0.1": "--train-eps: has no meaning with --method gaussian",
		"--method smoothadv --draws 0":      "--draws: got 0, want 1 … 64",
		"--method smoothadv --awp 0.1":      "--awp: has no meaning with --method smoothadv",
		"--method gaussian --draws 2":       "--draws: has no meaning with --method gaussian",
		"--method madry":                    "want one of standard, ",

		"--method input-gradient --train-eps 0.1": "--train-eps: has no meaning with --method input-gradient",
		"--method jacobian --pgd-steps 3":         "--pgd-steps: has no meaning with --method jacobian",
		"--method jacobian --probe 0":             "--probe: got 0, want 0.001 … 10",
		"--method logit-pairing --probe 0.1":      "--probe: has no meaning with --method logit-pairing",
		"--method ibp --awp 0.01":                 "--awp: has no meaning with --method ibp",
		"--method standard --awp-warmup 1":        "--awp-warmup: has no meaning with --method standard",
		"--method mart --awp 2":                   "--awp: got 2, want 0 … 1",
		"--method mart --beta -1":                 "beta: got -1, want 0 … 1000",
		"--method ibp --label-smoothing 0.1":      "--label-smoothing: has no meaning with --method ibp",
		"--method standard --label-smoothing 2":   "--label-smoothing: got 2, want 0 … 1",
	} {
		r := run(line(more)...)
		assert.Equal(t, 2, r.code, more)
		assert.Contains(t, r.stderr, want)
	}
	r := run(args("train --arch builtin:small --init he --data %s --out %s --test-data none", f.data, out)...)
	assert.Equal(t, 2, r.code)
	assert.Contains(t, r.stderr, "--init: has no meaning with --arch builtin:small, which has weights")
	r = run(line("--method trades --beta 2.5 --pgd-steps 2")...)
	require.Zero(t, r.code, r.stderr)
	m, err := model.Load(out)
	require.NoError(t, err)
	assert.Contains(t, m.Card[report.CardCommand], " --method trades --eps 0.1 --train-eps 0.12 --warmup 0 --ramp 0 --pgd-steps 2 --pgd-step-size 0.25 --beta 2.5 --epochs 1 ")
	assert.Contains(t, run("train", "--help").stdout, "--beta float")
	for method, settings := range map[string]string{
		"mart --beta 3 --awp 0.01 --awp-warmup 0.5": " --beta 3 --awp 0.01 --awp-warmup 0.5 --epochs 1 ",
		"smoothadv --eps 1.5 --draws 1":             " --eps 1.5 --train-eps 1.5 --warmup 0 --ramp 3 --sigma 0.25 --draws 1 --pgd-steps 4 --pgd-step-size 0.5 --epochs 1 ",
		"input-gradient --beta 2 --probe 0.2":       " --method input-gradient --eps 0.1 --beta 2 --probe 0.2 --epochs 1 ",
		"standard --label-smoothing 0.2":            " --method standard --eps 0.1 --label-smoothing 0.2 --epochs 1 ",
	} {
		r := run(line("--force --method " + method)...)
		require.Zero(t, r.code, r.stderr)
		m, err := model.Load(out)
		require.NoError(t, err)
		assert.Contains(t, m.Card[report.CardCommand], settings)
		if strings.HasPrefix(method, "smoothadv") {
			assert.Equal(t, "l2", m.Card[report.CardNorm], "its default")
		}
	}
}

// A run that was interrupted goes on to the same weights.
func TestTrainResume(t *testing.T) {
	f := newFiles(t)
	arch := archFile(t, f.dir)
	out, whole := filepath.Join(f.dir, "t.safetensors"), filepath.Join(f.dir, "whole.safetensors")
	line := args("train --arch %s --data %s --epochs 4 --batch 10 --test-data none --json --threads 2", arch, f.data)
	require.Zero(t, run(append(line, "--out", whole)...).code)

	first := append(line, "--out", out)
	r := runWith(countdown.New(60), first...)
	assert.Equal(t, 1, r.code)
	assert.Contains(t, r.stderr, "interrupted: ")
	doc := r.document(t)
	assert.Less(t, len(doc["epochs"].([]any)), 4)
	assert.Nil(t, doc["clean"])
	assert.NoFileExists(t, out)
	require.FileExists(t, out+".checkpoint")

	r = run(first...)
	assert.Equal(t, 2, r.code)
	assert.Contains(t, r.stderr, "--resume")

	r = run(append(first, "--resume", "--lr", "0.5")...)
	assert.Equal(t, 2, r.code)
	assert.Contains(t, r.stderr, "made by other settings")

	r = run(append(first, "--resume")...)
	require.Zero(t, r.code, r.stderr)
	assert.Len(t, r.document(t)["epochs"], 4)
	assert.NoFileExists(t, out+".checkpoint")
	a, err := model.Load(whole)
	require.NoError(t, err)
	b, err := model.Load(out)
	require.NoError(t, err)
	assert.Equal(t, a.Hash(), b.Hash())

	r = run(append(first, "--resume")...)
	assert.Equal(t, 2, r.code)
	assert.Contains(t, r.stderr, "nothing to --resume")
}

func TestTrainFromWeights(t *testing.T) {
	f := newFiles(t)
	out, checkpoint := filepath.Join(f.dir, "t.safetensors"), filepath.Join(f.dir, "c")
	r := run(args("train --arch %s --method standard --data %s --epochs 1 --batch 10 --out %s --checkpoint %s --test-data none", f.model, f.data, out, checkpoint)...)
	require.Zero(t, r.code, r.stderr)
	assert.FileExists(t, checkpoint, "one that is named stays")
	m, err := model.Load(out)
	require.NoError(t, err)
	assert.Equal(t, smallModel(t, 1).Hash(), m.Card[report.CardInit])
}

func TestTrainDiverges(t *testing.T) {
	f := newFiles(t)
	arch := &model.Architecture{Input: model.Shape{C: 1, H: 6, W: 6}, Layers: []model.Layer{
		{Kind: model.FC, Out: 10}, {Kind: model.ReLU}, {Kind: model.FC, Out: 10}, {Kind: model.ReLU}, {Kind: model.FC, Out: classes},
	}}
	m, err := model.Random(arch, 1)
	require.NoError(t, err)
	for i := range m.Params {
		for k := range m.Params[i].W {
			m.Params[i].W[k] = 1e20
		}
	}
	path := filepath.Join(f.dir, "huge.safetensors")
	require.NoError(t, m.Save(path))
	r := run(args("train --arch %s --method standard --data %s --epochs 1 --batch 10 --out %s --test-data none --json", path, f.data, filepath.Join(f.dir, "t.safetensors"))...)
	assert.Equal(t, 1, r.code)
	assert.Contains(t, r.stderr, "diverged")
	assert.Empty(t, r.document(t)["epochs"])
}

// TestTrainBatchNorm: batch norms stay in the model, or are folded, and the model written
// is the one that was evaluated.
func TestTrainBatchNorm(t *testing.T) {
	dir := t.TempDir()
	train := func(out, more string) (map[string]any, *model.Model) {
		out = filepath.Join(dir, out)
		doc := document(t, 0, args("train --arch ../../testdata/architectures/mobilenet.json --method pgd --pgd-steps 2 --eps 0.02 --epochs 1 "+
			"--batch 20 --data builtin:mnist --n 400 --test-data builtin:mnist --test-n 100 --out %s %s", out, more)...)
		m, err := model.Load(out)
		require.NoError(t, err)
		assert.Equal(t, doc["hash"], m.Hash())
		eval := document(t, 0, args("eval --model %s --data builtin:mnist --n 100 --eps 0.02 --attack pgd:steps=40", out)...)
		evaluated := eval["results"].([]any)[0].(map[string]any)
		for _, figure := range []string{"clean", "pgd", "certified"} {
			assert.Equal(t, doc[figure], evaluated[figure])
			assert.Equal(t, m.Card[figure], fmt.Sprint(evaluated[figure]))
		}
		return doc, m
	}
	doc, kept := train("kept.safetensors", "")
	assert.NotContains(t, doc, "folded")
	assert.NotEqual(t, make([]float32, 8), kept.Params[2].Mean)
	doc, folded := train("folded.safetensors", "--fold")
	assert.Equal(t, []any{2., 5., 8., 11., 14., 17., 20.}, doc["folded"])
	assert.Contains(t, folded.Card["command"], " --fold")
	want, _, err := kept.Fold()
	require.NoError(t, err)
	assert.Equal(t, want.Hash(), folded.Hash(), "the same training")

	out := filepath.Join(dir, "text.safetensors")
	r := run(args("train --arch ../../testdata/architectures/lenet.json --method standard --epochs 1 --data builtin:mnist --n 200 --test-data none --fold --out %s", out)...)
	require.Zero(t, r.code, r.stderr)
	assert.Contains(t, r.stdout, "batch norms of layers 2 6 10")
	r = run(args("train --arch ../../testdata/architectures/lenet.json --method standard --epochs 1 --batch 1 --data builtin:mnist --n 200 --test-data none --out %s --force", out)...)
	assert.Equal(t, 2, r.code)
	assert.Contains(t, r.stderr, "--batch: got 1, want at least 2")
}
