package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/epsball/epsball/internal/countdown"
	"github.com/epsball/epsball/internal/runlog"
)

// ^C keeps what is done.
func TestCancelled(t *testing.T) {
	f := newFiles(t)
	gone, cancel := context.WithCancel(context.Background())
	cancel()
	out := filepath.Join(f.dir, "adv.npz")
	for _, line := range []string{
		"eval --model " + f.model + " --data " + f.data,
		"attack --model " + f.model + " --data " + f.data + " --out " + out,
		"certify --eps 0.1 --model " + f.model + " --data " + f.data + " --out " + filepath.Join(f.dir, "c.jsonl"),
		"bench --time 1ms --model " + f.model,
	} {
		r := runWith(gone, append(strings.Fields(line), "--json")...)
		assert.Equal(t, 1, r.code, line)
		assert.Contains(t, r.stderr, "interrupted: 0 of ", line)
		r.document(t)
		assert.Equal(t, 1, runWith(gone, strings.Fields(line)...).code, "as a table")
	}
	left, err := os.ReadDir(f.dir)
	require.NoError(t, err)
	assert.Len(t, left, 3, "nothing was done, so nothing is written: %v", left)
}

// TestCancelCertify: of an interrupted run, the fractions are those of the first
// images, and the range holds that of all.
func TestCancelCertify(t *testing.T) {
	f := newFiles(t)
	for _, mode := range []string{"--eps 0.01", "--eps 0.01 --method crown", "--radius --attack-steps 0", "--radius --attack-steps 3 --resolution 0.01"} {
		line := args("certify --model %s --data %s --threads 1 --json %s", f.model, f.data, mode)
		whole := document(t, 0, line...)
		some, first := 0, 0
		for n := int64(1); n < 200_000; n += 1 + n/8 {
			r := runWith(countdown.New(n), line...)
			doc := r.document(t)
			n := int(doc["n"].(float64))
			if r.code == 0 {
				assert.NotContains(t, keys(doc), "interrupted")
				assert.Equal(t, f.n, n)
				break
			}
			require.Equal(t, 1, r.code)
			p := doc["interrupted"].(map[string]any)
			done := int(p["done"].(float64))
			assert.EqualValues(t, f.n, p["n"])
			assert.LessOrEqual(t, n, done)
			assert.Contains(t, r.stderr, fmt.Sprintf("interrupted: %d of 100 images done; certified accuracy is between ", done))
			in := p["certified_range"].([]any)
			assert.LessOrEqual(t, in[0], whole["certified"])
			assert.GreaterOrEqual(t, in[1], whole["certified"])
			if done > 0 {
				some++
			}
			if n == 0 {
				assert.Nil(t, doc["certified"])
				continue
			}
			first++
			part := document(t, 0, append(line, "--n", fmt.Sprint(n))...)
			for _, key := range []string{"clean", "certified", "mean_radius", "quantiles", "brackets", "decided_by"} {
				assert.Equal(t, part[key], doc[key], "%s of the first %d", key, n)
			}
		}
		assert.Positive(t, some, mode)
		if strings.Contains(mode, "crown") || strings.Contains(mode, "--attack-steps 3") { // small blocks
			assert.Positive(t, first, mode)
		}
	}
}

// TestCancelResumed: ^C before a resumed run has done anything.
func TestCancelResumed(t *testing.T) {
	f := newFiles(t)
	out := filepath.Join(f.dir, "c.jsonl")
	line := args("certify --model %s --data %s --radius --resolution 0.01 --attack-steps 3 --json --out %s", f.model, f.data, out)
	require.Zero(t, run(append(line, "--n", "20")...).code)
	gone, cancel := context.WithCancel(context.Background())
	cancel()
	r := runWith(gone, append(line, "--resume")...)
	assert.Equal(t, 1, r.code)
	doc := r.document(t)
	assert.Zero(t, doc["n"])
	assert.Nil(t, doc["clean"])
	assert.EqualValues(t, 20, doc["interrupted"].(map[string]any)["done"])
}

// TestCancelAttack: images that are fooled are done first. What is said of all of
// them is true all the same.
func TestCancelAttack(t *testing.T) {
	f := newFiles(t)
	out := filepath.Join(f.dir, "adv.npz")
	// Images with wrong labels are done at once, some are fooled, the others go on
	// and take the places of those that have not begun.
	line := args("attack --model %s --data %s --eps 0.02 --steps 10 --threads 1 --restarts 1000000", f.model, f.data)
	r := runWith(countdown.New(300), append(line, "--json", "--out", out)...)
	assert.Equal(t, 1, r.code)
	doc := r.document(t)
	assert.Nil(t, doc["clean"])
	assert.Nil(t, doc["robust"])
	assert.EqualValues(t, f.n, doc["n"])
	p := doc["interrupted"].(map[string]any)
	assert.Equal(t, []string{
		"clean_range", "done", "fooled", "misclassified", "not_begun", "not_fooled", "resisting", "robust_range",
	}, keys(p))
	number := func(key string) int { return int(p[key].(float64)) }
	for _, key := range []string{"misclassified", "fooled", "resisting", "not_begun"} {
		assert.Positive(t, number(key), key)
	}
	assert.Zero(t, number("not_fooled"), "nobody is through")
	assert.Equal(t, number("done"), number("misclassified")+number("fooled")+number("not_fooled"))
	assert.Equal(t, f.n, number("done")+number("resisting")+number("not_begun"))
	assert.InDelta(t, doc["success"], number("fooled"), 0)
	robust := p["robust_range"].([]any)
	assert.InDelta(t, float64(number("resisting")+number("not_begun"))/float64(f.n), robust[1], 1e-9)
	assert.Zero(t, robust[0])
	assert.Contains(t, r.stderr, fmt.Sprintf("interrupted: %d of 100 images done; robust accuracy is between 0.00%% and %s\n", number("done"), percent(robust[1].(float64))))
	for _, c := range doc["checks"].([]any) {
		assert.NotContains(t, []string{"fail", "stopped"}, c.(map[string]any)["verdict"], c)
	}

	// So does the file, of all images.
	a := readArrays(t, out)
	assert.Len(t, a.by["x"], f.n*36)
	var states [3]int
	for i, s := range a.by["state"].([]int64) {
		states[s]++
		assert.EqualValues(t, i, a.by["index"].([]int64)[i])
		assert.Equal(t, s == runlog.NotBegun, a.by["pred"].([]int64)[i] < 0)
	}
	assert.Equal(t, [3]int{number("not_begun"), number("resisting"), number("done")}, states)
	assert.Equal(t, number("fooled"), countTrue(a.by["success"].([]bool)))
	again := document(t, 0, args("attack --model %s --data %s --attack fgsm --eps 0", f.model, out)...)
	assert.LessOrEqual(t, again["clean"], robust[1], "the file holds the points that fool")

	table := runWith(countdown.New(300), line...)
	for _, want := range []string{"interrupted", "0.00% … ", "so far", "resisting", "not begun"} {
		assert.Contains(t, table.stdout, want)
	}
}

// TestAttackResume: an attack that was stopped goes on to the same file, byte for
// byte, and to the same result.
func TestAttackResume(t *testing.T) {
	f := newFiles(t)
	out := filepath.Join(f.dir, "adv.npz")
	log := out + ".journal"
	line := args("attack --model %s --data %s --eps 0.02 --steps 10 --threads 1 --restarts 20 --json --out %s", f.model, f.data, out)
	resume := append(slices.Clone(line), "--resume")
	want := stable(document(t, 0, line...))
	whole := readFile(t, out)
	assert.NoFileExists(t, log)
	parts := 0
	for looks := int64(1); looks < 2000; looks += 1 + looks/4 {
		require.NoError(t, os.Remove(out))
		r := runWith(countdown.New(looks), line...)
		if r.code == 0 {
			break
		}
		if _, err := os.Stat(out); err != nil {
			assert.NoFileExists(t, log, "nothing was begun")
			continue // a run with --resume would start
		}
		require.FileExists(t, log)
		refused := run(line...)
		assert.Equal(t, 2, refused.code)
		assert.Contains(t, refused.stderr, "go on with it by --resume, replace it by --force")
		again := runWith(countdown.New(looks/2), resume...) // stopped once more
		if again.code != 0 {
			require.Equal(t, 1, again.code, again.stderr)
			require.FileExists(t, log)
			again = run(resume...)
		}
		require.Zero(t, again.code, again.stderr)
		assert.Equal(t, want, stable(again.document(t)), "after %d looks", looks)
		assert.Equal(t, whole, readFile(t, out), "after %d looks", looks)
		assert.NoFileExists(t, log)
		if !strings.Contains(again.stderr, " 0 of 100 images are there") {
			parts++
		}
	}
	assert.Greater(t, parts, 3)

	// What is complete is not done again, and nothing to go on from is a start.
	r := run(resume...)
	assert.Equal(t, 2, r.code)
	assert.Contains(t, r.stderr, "no "+log+" to go on from")
	require.NoError(t, os.Remove(out))
	require.Zero(t, run(resume...).code)
	assert.Equal(t, whole, readFile(t, out))
	assert.Equal(t, 2, run(args("attack --model %s --data %s --resume", f.model, f.data)...).code)

	// The journal of another attack is refused and left as it is.
	require.NoError(t, os.Remove(out))
	require.Equal(t, 1, runWith(countdown.New(300), line...).code)
	before := readFile(t, log)
	for _, other := range []string{"--seed 7", "--eps 0.021", "--steps 11", "--loss dlr", "--restarts 21", "--model " + f.other} {
		r := run(override(strings.Join(resume, " ") + " " + other)...)
		assert.Equal(t, 2, r.code, other)
		assert.Contains(t, r.stderr, "but this run has", other)
		assert.Equal(t, before, readFile(t, log))
	}
	require.Zero(t, run(append(slices.Clone(line), "--force")...).code)
	assert.Equal(t, whole, readFile(t, out))
	assert.NoFileExists(t, log)
}

// TestCascadeResume: so does a cascade, from any of its stages.
func TestCascadeResume(t *testing.T) {
	f := newFiles(t)
	out := filepath.Join(f.dir, "adv.npz")
	for _, how := range []string{"auto", "fast"} {
		line := args("attack --model %s --data %s --n 30 --eps 0.01 --attack %s --threads 1 --checks off --json --out %s --force", f.model, f.data, how, out)
		resume := append(slices.Clone(line[:len(line)-1]), "--resume")
		require.Zero(t, run(line...).code)
		whole := readFile(t, out)
		parts := 0
		for looks := int64(2); looks < 3000; looks *= 5 {
			r := runWith(countdown.New(looks), line...)
			if r.code == 0 {
				break
			}
			if _, err := os.Stat(out + ".journal"); err != nil {
				continue // nothing was begun
			}
			again := run(resume...)
			require.Zero(t, again.code, again.stderr)
			require.Equal(t, whole, readFile(t, out), "%s after %d looks", how, looks)
			parts++
		}
		assert.Positive(t, parts, how)
	}
}

// TestCancelEval: finished models and passes are kept, the rest is marked.
func TestCancelEval(t *testing.T) {
	f := newFiles(t)
	// The first model is wrong about every image and done at once, the second never.
	line := args("eval --model %s --model %s --model builtin:small --data %s --eps 1e-9 --steps 1000000 --threads 1", f.other, f.model, f.data)
	r := runWith(countdown.New(2000), append(line, "--json")...)
	assert.Equal(t, 1, r.code)
	assert.Contains(t, r.stderr, "interrupted: 1 of 3 models evaluated")
	results := r.document(t)["results"].([]any)
	require.Len(t, results, 3)
	model := func(i int) map[string]any { return results[i].(map[string]any) }
	assert.Equal(t, "nine", model(0)["model"])
	assert.Equal(t, 0.0, model(0)["certified"])
	assert.NotContains(t, model(0), "not_run")
	clean := float64(f.n-f.wrong) / float64(f.n)
	assert.InDelta(t, clean, model(1)["clean"], 1e-9)
	pgd := "pgd:steps=1000000,seed=1"
	attacks := model(1)["attacks"].([]any)
	assert.InDelta(t, clean, attacks[0].(map[string]any)["robust"], 1e-9)
	assert.Equal(t, map[string]any{"attack": pgd, "robust": nil, "checks": nil}, attacks[1])
	assert.Equal(t, []any{pgd, "certify"}, model(1)["not_run"])
	assert.Nil(t, model(2)["clean"])
	assert.Len(t, model(2)["not_run"], 4)

	table := runWith(countdown.New(2000), line...)
	assert.Contains(t, table.stdout, "–: not run")
	assert.Contains(t, table.stdout, "70.00%")
}

func TestCancelBench(t *testing.T) {
	f := newFiles(t)
	interrupt, stop := context.WithCancel(context.Background())
	time.AfterFunc(time.Second, stop)
	r := runWith(interrupt, args("bench --model %s --time 200ms --json", f.model)...)
	assert.Equal(t, 1, r.code)
	assert.Contains(t, r.stderr, "interrupted: ")
	assert.Less(t, len(r.document(t)["rows"].([]any)), 30)
}

// TestSignal sends ^C to the program itself.
func TestSignal(t *testing.T) {
	f := newFiles(t)
	out := filepath.Join(f.dir, "adv.npz")
	p := start(t, args("attack --model %s --data %s --eps 0.02 --steps 10 --restarts 1000000 --json --out %s", f.model, f.data, out)...)
	p.waitFor(t, func() bool { _, err := os.Stat(out + ".lock"); return err == nil })
	time.Sleep(time.Second) // for the first images
	if err := p.cmd.Process.Signal(os.Interrupt); err != nil {
		t.Skipf("no signals: %v", err)
	}
	assert.Equal(t, 1, p.wait())
	var doc map[string]any
	require.NoError(t, json.Unmarshal(p.stdout.Bytes(), &doc))
	assert.Contains(t, doc, "interrupted")
	assert.FileExists(t, out)
	assert.NoFileExists(t, out+".lock")
}
