package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/epsball/epsball/internal/countdown"
	"github.com/epsball/epsball/model"
	"github.com/epsball/epsball/report"
)

// hashOf is that of a model file.
func hashOf(t *testing.T, path string) string {
	m, err := model.Load(path)
	require.NoError(t, err)
	return m.Hash()
}

// epochLines reads a log, without times.
func epochLines(t *testing.T, path string) (lines []report.Epoch) {
	for line := range bytes.Lines(readFile(t, path)) {
		var e report.Epoch
		require.NoError(t, json.Unmarshal(line, &e))
		e.Seconds = 0
		lines = append(lines, e)
	}
	return lines
}

// TestTrainOptions: settings change the weights, are in the card, and the card's command
// line makes the same model.
func TestTrainOptions(t *testing.T) {
	f := newFiles(t)
	out := filepath.Join(f.dir, "t.safetensors")
	line := fmt.Sprintf("train --force --arch %s --data %s --epochs 3 --batch 10 --test-data none --out %s --method pgd --pgd-steps 2", archFile(t, f.dir), f.data, out)
	require.Zero(t, run(strings.Fields(line)...).code)
	seen := map[string]string{hashOf(t, out): "without"}
	for _, more := range []string{
		"--optimizer sgd --lr 0.1", "--optimizer sgd --lr 0.1 --momentum 0.9", "--optimizer sgd --lr 0.1 --momentum 0.9 --nesterov",
		"--weight-decay 0.1", "--optimizer adamw --weight-decay 0.1", "--l1 0.001", "--clip 0.1",
		"--average ema", "--average ema --average-decay 0.5", "--average swa --average-start 0.4",
		"--schedule constant", "--schedule step --milestones 0.3,0.6", "--schedule step --lr-decay 0.5 --milestones 0.3,0.6", "--schedule cosine", "--schedule one-cycle", "--schedule one-cycle --cycle-peak 0.2",
		"--shift 1", "--flip", "--ramp 2", "--ramp 2 --ramp-shape smooth", "--method ibp --eps 0.01 --kappa-start 0.9", "--method ibp --eps 0.01",
		"--validation 0.2", "--validation 0.2 --seed 2",
	} {
		words := strings.Fields(line + " " + more)
		if strings.Contains(more, "ibp") {
			words = strings.Fields(strings.Replace(line, " --method pgd --pgd-steps 2", "", 1) + " " + more)
		}
		r := run(words...)
		require.Zero(t, r.code, "%s: %s", more, r.stderr)
		m, err := model.Load(out)
		require.NoError(t, err)
		assert.Empty(t, seen[m.Hash()], more)
		seen[m.Hash()] = more
		for _, flag := range strings.Fields(more) {
			if flag != "--flip" && flag != "--nesterov" {
				assert.Contains(t, m.Card[report.CardCommand], flag)
			}
		}
		h, err := report.ParseHistory(m.Card[report.CardHistory])
		require.NoError(t, err)
		assert.Equal(t, []int{1, 2, 3}, h.Epoch)
		assert.Len(t, h.Loss, 3)
		assert.Equal(t, strings.Contains(more, "--validation"), h.Validated != nil)

		again := strings.Fields(m.Card[report.CardCommand])
		r = run(append(again[1:], "--test-data", "none", "--force")...)
		require.Zero(t, r.code, r.stderr)
		assert.Equal(t, m.Hash(), hashOf(t, out), more)
	}
	assert.Contains(t, run("info", out).stdout, "3 epochs (--json has them)")
}

func TestTrainOptionErrors(t *testing.T) {
	f := newFiles(t)
	line := fmt.Sprintf("train --arch %s --data %s --batch 10 --test-data none --out %s/t.safetensors ", archFile(t, f.dir), f.data, f.dir)
	for more, want := range map[string]string{
		"--optimizer lion":                      `--optimizer: got "lion", want one of adam, adamw, sgd`,
		"--momentum 0.9":                        "--momentum: got 0.9, want it unset: it goes with optimizer sgd, not adam",
		"--milestones 0.5,x":                    "--milestones: got \"0.5,x\", want numbers such as 0.7,0.85",
		"--schedule step --milestones 0.9,.1":   "--milestones: got 0.9,0.1, want them in ascending order",
		"--schedule step --lr-final 0.1":        "--lr-final: has no meaning with --schedule step",
		"--keep best":                           "--keep: got best, want validation with it",
		"--patience 2":                          "--patience: got 2, want validation with it",
		"--validation 0.95":                     "--validation: got 0.95, want 0 … 0.9",
		"--shift 6":                             "--shift: got 6, want less than the sides of images of 6x6",
		"--method pgd --kappa-start 1":          "--kappa-start: has no meaning with --method pgd",
		"--method standard --ramp-shape smooth": "--ramp-shape: has no meaning with --method standard",
		"--seeds 0":                             "--seeds: got 0, want 1 … 31",
		"--seeds 32":                            "--seeds: got 32, want 1 … 31",
		"--seeds 2 --seed 18446744073709551615": "--seed: got 18446744073709551615, want less with --seeds 2",
		"--log -":                               "--log: - is not a regular file",
		"--log " + f.data:                       "is what --data reads",
	} {
		refused(t, line+more, want)
	}
	refused(t, strings.Replace(line, f.dir+"/t.safetensors", "- --checkpoint "+f.dir+"/c", 1)+"--seeds 2", "--out: got -, want a file with --seeds")
	help := run("train", "--help").stdout
	for _, group := range []string{"Files:", "Method:", "Optimizer:", "Learning rate:", "Augmentation:", "Validation:", "Global flags:"} {
		assert.Contains(t, help, "\n"+group+"\n")
	}
	assert.Equal(t, 1, strings.Count(help, " --lr float"))
}

// TestTrainValidation: figures of images held back are in the lines, the document, the log
// and the card; the best epoch is kept; patience ends the training.
func TestTrainValidation(t *testing.T) {
	f := newFiles(t)
	out, log := filepath.Join(f.dir, "t.safetensors"), filepath.Join(f.dir, "t.jsonl")
	line := fmt.Sprintf("train --arch %s --data %s --epochs 40 --batch 10 --method pgd --eps 0.02 --lr 0.05 --schedule constant --validation 0.3 --keep best --patience 3 --log %s --test-data %s --test-n 50 --out %s",
		archFile(t, f.dir), f.data, log, f.data, out)
	r := run(append(strings.Fields(line), "--json")...)
	require.Zero(t, r.code, r.stderr)
	doc := r.document(t)
	epochs := doc["epochs"].([]any)
	require.Less(t, len(epochs), 40)
	assert.Equal(t, true, doc["stopped_early"])
	best := int(doc["best_epoch"].(float64))
	assert.Equal(t, len(epochs)-3, best)
	v := epochs[best-1].(map[string]any)["validation"].(map[string]any)
	assert.Equal(t, []string{"certified", "clean", "images", "pgd"}, keys(v))
	assert.Equal(t, 30., v["images"])
	assert.Equal(t, len(epochs), strings.Count(r.stderr, "  validation clean "))
	lines := epochLines(t, log)
	require.Len(t, lines, len(epochs))
	assert.Equal(t, v["pgd"], lines[best-1].Validation.PGD)
	refused(t, line+" --force --out "+filepath.Join(f.dir, "u.safetensors"), "--out: got it twice")
	refused(t, strings.Replace(line, out, f.dir+"/u.safetensors", 1), log+" exists", "--force")
	text := run(append(strings.Fields(line), "--force")...)
	require.Zero(t, text.code)
	assert.Contains(t, text.stdout, fmt.Sprintf("epoch %d: clean ", best))
	assert.Contains(t, text.stdout, "epochs got no better")
	assert.Equal(t, lines, epochLines(t, log))
}

// TestTrainKilled kills the process while it trains, again and again; what goes on from
// the checkpoint ends with the same model and the same log as one that was left alone.
func TestTrainKilled(t *testing.T) {
	for _, method := range []string{"pgd --pgd-steps 2", "free --replays 4 --overfitting stop"} {
		t.Run(method, func(t *testing.T) { trainKilled(t, method) })
	}
}

func trainKilled(t *testing.T, method string) {
	dir := t.TempDir()
	line := func(name string) []string {
		return args("train --arch mnist-small --method "+method+" --data builtin:mnist --n 240 --batch 24 --epochs 8 --threads 1 --test-data none "+
			"--optimizer sgd --momentum 0.9 --lr 0.02 --schedule cosine --average ema --shift 1 --clip 5 --validation 0.1 --keep best --log %s.jsonl --out %[1]s.safetensors", filepath.Join(dir, name))
	}
	require.Zero(t, run(line("whole")...).code)
	want := epochLines(t, filepath.Join(dir, "whole.jsonl"))
	require.Len(t, want, 8)

	out, log := filepath.Join(dir, "t.safetensors"), filepath.Join(dir, "t.jsonl")
	killed := 0
	for epochs := 1; epochs < 5; epochs += 2 {
		more := line("t")
		if epochs > 1 {
			more = append(more, "--resume")
		}
		p := start(t, more...)
		p.waitFor(t, func() bool {
			b, _ := os.ReadFile(log)
			return bytes.Count(b, []byte("\n")) >= epochs
		})
		time.Sleep(5 * time.Millisecond) // in the middle of the next one
		require.NoError(t, p.cmd.Process.Kill())
		_ = p.cmd.Wait()
		require.FileExists(t, out+".checkpoint")
		if _, err := os.Stat(out); err != nil {
			killed++
		}
	}
	require.Equal(t, 2, killed)
	// What a run has written after its last checkpoint is not written twice.
	torn, err := os.OpenFile(log, os.O_WRONLY|os.O_APPEND, 0)
	require.NoError(t, err)
	_, err = torn.WriteString(`{"epoch":9,"loss":1}` + "\n" + `{"epo`)
	require.NoError(t, err)
	require.NoError(t, torn.Close())
	r := run(append(line("t"), "--resume")...)
	require.Zero(t, r.code, r.stderr)
	assert.Equal(t, hashOf(t, filepath.Join(dir, "whole.safetensors")), hashOf(t, out))
	assert.Equal(t, want, epochLines(t, log))
}

// TestTrainSeeds trains models that differ by the seed, stops on the way, and goes on.
func TestTrainSeeds(t *testing.T) {
	f := newFiles(t)
	line := func(name string) []string {
		return args("train --arch %s --data %s --method pgd --pgd-steps 2 --eps 0.02 --epochs 3 --batch 10 --seed 4 --seeds 3 --threads 2 --test-data %s --test-n 40 --log %s.jsonl --out %[4]s.safetensors",
			archFile(t, f.dir), f.data, f.data, filepath.Join(f.dir, name))
	}
	doc := document(t, 0, line("a")...)
	assert.Equal(t, "train-seeds", doc["epsball"].(map[string]any)["kind"])
	models := doc["models"].([]any)
	require.Len(t, models, 3)
	assert.Equal(t, []string{"certified", "clean", "hash", "out", "pgd", "seed"}, keys(models[0]))
	hashes, sum := map[string]bool{}, 0.
	for i, v := range models {
		m := v.(map[string]any)
		path := fmt.Sprintf("%s/a-seed%d.safetensors", f.dir, 4+i)
		assert.Equal(t, path, m["out"])
		assert.Equal(t, float64(4+i), m["seed"])
		assert.Equal(t, hashOf(t, path), m["hash"])
		hashes[m["hash"].(string)] = true
		sum += m["pgd"].(float64)
		assert.Len(t, epochLines(t, fmt.Sprintf("%s/a-seed%d.jsonl", f.dir, 4+i)), 3)
		assert.NotContains(t, m, "found")

		// It is the model of that seed alone.
		card := document(t, 0, "info", path)["card"].(map[string]any)
		again := strings.Fields(card["command"].(string))
		require.Zero(t, run(append(again[1:], "--force", "--test-data", "none")...).code)
		assert.Equal(t, m["hash"], hashOf(t, path))
	}
	assert.Len(t, hashes, 3)
	pgd := doc["pgd"].(map[string]any)
	assert.InDelta(t, sum/3, pgd["mean"], 1e-12)
	assert.Positive(t, pgd["half_width"])

	// Stopped in the second model; then the first one is taken as it is.
	path := func(seed int) string { return fmt.Sprintf("%s/b-seed%d.safetensors", f.dir, seed) }
	stopped := false
	for n := int64(40); !stopped && n < 4000; n += 20 {
		for seed := 4; seed < 7; seed++ {
			for _, name := range []string{path(seed), path(seed) + ".checkpoint", fmt.Sprintf("%s/b-seed%d.jsonl", f.dir, seed)} {
				_ = os.Remove(name)
			}
		}
		r := runWith(countdown.New(n), append(line("b"), "--json")...)
		require.Equal(t, 1, r.code, r.stderr)
		_, first := os.Stat(path(4))
		_, second := os.Stat(path(5) + ".checkpoint")
		stopped = first == nil && second == nil
		if stopped {
			assert.Contains(t, r.stderr, "seed 5: interrupted: ")
			assert.LessOrEqual(t, len(r.document(t)["models"].([]any)), 1)
		}
	}
	require.True(t, stopped)
	refused(t, strings.Join(line("b"), " "), "exists", "--resume", "--force")
	refused(t, strings.Join(append(line("b"), "--resume", "--l1", "0.1"), " "), "made by other settings")
	resumed := document(t, 0, append(line("b"), "--resume")...)
	for i, v := range resumed["models"].([]any) {
		m, want := v.(map[string]any), models[i].(map[string]any)
		assert.Equal(t, i == 0, m["found"] == true)
		for _, key := range []string{"seed", "hash", "clean", "pgd", "certified"} {
			assert.Equal(t, want[key], m[key], key)
		}
	}
	assert.Equal(t, doc["pgd"], resumed["pgd"])
	text := run(append(line("b"), "--resume")...) // all are there
	require.Zero(t, text.code, text.stderr)
	assert.Contains(t, text.stdout, "mean ± 95 %")
	assert.Contains(t, text.stdout, path(6))
	left, err := filepath.Glob(f.dir + "/*.lock")
	require.NoError(t, err)
	assert.Empty(t, left)
}
