package main

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/epsball/epsball/defend"
	"github.com/epsball/epsball/internal/countdown"
)

// real runs a command line with the built-in models.
func real(t *testing.T, code int, line string) map[string]any {
	var out, errs bytes.Buffer
	require.Equal(t, code, newApp(&out, &errs).run(context.Background(), append(strings.Fields(line), "--json")), "%s: %s", line, errs.String())
	return result{code, out.String(), errs.String()}.document(t)
}

const undefended = "attack --model builtin:mnist-small-standard --n 80 --steps 10 --eps 0.1 --checks off"

// TestDefenceFalls: a defence looks robust to an attack that does not know it, or has no
// gradient, and falls to one that has.
func TestDefenceFalls(t *testing.T) {
	for _, d := range []string{"bits:depth=4", "jpeg", "gaussian", "median+bits", "noise"} {
		robust := map[string]float64{}
		for _, g := range []string{"naive", "exact", "bpda"} {
			doc := real(t, 0, undefended+" --defence "+d+" --defence-gradient "+g)
			c, err := defend.Parse(d)
			require.NoError(t, err)
			assert.Equal(t, c.String(), doc["defence"])
			assert.Equal(t, g, doc["defence_gradient"])
			if c.Random() && g != "naive" {
				assert.EqualValues(t, 1, doc["eot"])
			} else {
				assert.NotContains(t, doc, "eot")
			}
			for _, check := range doc["checks"].([]any) {
				assert.NotContains(t, []string{"fail", "stopped"}, check.(map[string]any)["verdict"], "%s, %s: %v", d, g, check)
			}
			robust[g] = doc["robust"].(float64)
		}
		assert.Greater(t, robust["naive"], robust["bpda"]+0.05, d)
		if c, _ := defend.Parse(d); slices.ContainsFunc(c, func(d defend.Defence) bool { return d.Name() == "bits" || d.Name() == "jpeg" }) {
			assert.Greater(t, robust["exact"], 0.9, d)
		} else {
			assert.Equal(t, robust["bpda"], robust["exact"], d)
		}
	}
	// The checks see through a gradient that is masked, and through a naive attack.
	for g, name := range map[string]string{"exact": "zero-gradients", "naive": "one-step"} {
		doc := real(t, map[string]int{"exact": 1, "naive": 0}[g], strings.ReplaceAll(undefended, "--checks off", "")+" --defence jpeg --defence-gradient "+g)
		at := slices.IndexFunc(doc["checks"].([]any), func(c any) bool { return c.(map[string]any)["name"] == name })
		assert.Equal(t, map[string]string{"exact": "fail", "naive": "warn"}[g], doc["checks"].([]any)[at].(map[string]any)["verdict"], name)
	}
	plain := real(t, 0, undefended)
	assert.NotContains(t, plain, "defence")
	assert.NotContains(t, plain, "defence_gradient")
}

// TestDefenceEOT: averaging draws makes a stronger attack.
func TestDefenceEOT(t *testing.T) {
	const line = undefended + " --n=60 --defence resize-pad:least=0.6"
	fields := override(line)
	robust := func(eot string) float64 {
		return real(t, 0, strings.Join(fields, " ")+eot)["robust"].(float64)
	}
	one := robust("")
	assert.Equal(t, one, robust(" --threads 1"), "the same numbers on any number of threads")
	assert.Less(t, robust(" --eot 8"), one)
}

// TestEvalDefence: attacks and clean accuracy are of the defended model, and nothing is
// certified.
func TestEvalDefence(t *testing.T) {
	const line = "eval --model builtin:mnist-small-standard --model builtin:mnist-small-ibp-0.1 --n 20 --steps 5 --eps 0.05,0.1 --defence "
	for i, d := range []string{"tv:steps=5", "noise --eot 2", "noise --defence-gradient naive"} {
		doc := real(t, 0, line+d)
		results := doc["results"].([]any)
		require.Len(t, results, 4)
		for _, r := range results {
			r := r.(map[string]any)
			assert.Nil(t, r["certified"])
			assert.Equal(t, []any{"certify"}, r["not_run"])
			for _, name := range []string{"fgsm", "pgd"} {
				assert.LessOrEqual(t, r[name].(float64), r["clean"].(float64))
			}
		}
		assert.Less(t, results[1].(map[string]any)["pgd"].(float64), results[3].(map[string]any)["pgd"].(float64))
		assert.NotEmpty(t, doc["defence"])
		if i > 0 {
			continue
		}
		var out, errs bytes.Buffer
		require.Zero(t, newApp(&out, &errs).run(context.Background(), strings.Fields(line+d)), errs.String())
		assert.Contains(t, out.String(), "behind a defence, nothing can be certified\ndefence: "+doc["defence"].(string))
	}
}

// TestDefenceResumed: a run behind a defence goes on where it stopped, to the same file,
// and not with another defence.
func TestDefenceResumed(t *testing.T) {
	f := newFiles(t)
	out := filepath.Join(f.dir, "adv.npz")
	for _, d := range []string{"--defence bits", "--defence noise --eot 2", "--defence bits --defence-gradient naive"} {
		line := args("attack --model %s --data %s --eps 0.1 --steps 8 --threads 1 --checks off --out %s %s", f.model, f.data, out, d)
		require.Zero(t, run(append(line, "--force")...).code)
		want := readFile(t, out)
		stopped := false
		for looks := int64(4); !stopped; looks += 3 {
			r := runWith(countdown.New(looks), append(line, "--force")...)
			stopped = r.code == 1 && strings.Contains(r.stderr, "interrupted") && statError(out+".journal") == nil
			require.Less(t, looks, int64(2000), "never stopped in the middle: %s", r.stderr)
		}
		other := run(append(append([]string{}, line...), "--resume", "--seed", "77")...)
		assert.Equal(t, 2, other.code)
		for i, v := range line {
			if v == "bits" || v == "noise" {
				changed := slices.Clone(line)
				changed[i] = v + "+bits:depth=7"
				r := run(append(changed, "--resume")...)
				assert.Equal(t, 2, r.code, r.stderr)
			}
		}
		r := run(append(line, "--resume")...)
		require.Zero(t, r.code, r.stderr)
		assert.Equal(t, want, readFile(t, out), d)
	}
}

func statError(path string) error {
	_, err := os.Stat(path)
	return err
}

func TestDefenceErrors(t *testing.T) {
	f := newFiles(t)
	on := " --model " + f.model + " --data " + f.data
	for line, want := range map[string]string{
		"attack" + on + " --defence jpeg:quality=0":                                         "--defence: got \"jpeg:quality=0\", defence jpeg: quality: got 0, want 1 … 100",
		"eval" + on + " --defence jpg":                                                      `--defence: got "jpg", defence "jpg": want one of bits, median`,
		"attack" + on + " --defence jpeg --defence-gradient true":                           "--defence-gradient: got \"true\", want one of bpda, exact, naive",
		"attack" + on + " --defence-gradient bpda":                                          "--defence-gradient: has no meaning without --defence",
		"eval" + on + " --eot 4":                                                            "--eot: has no meaning without a --defence that draws random numbers",
		"attack" + on + " --eot 4 --defence bits":                                           "--eot: has no meaning without a --defence that draws random numbers",
		"attack" + on + " --eot 4 --defence noise --defence-gradient naive":                 "--eot: has no meaning with --defence-gradient naive",
		"attack" + on + " --eot 0 --defence noise":                                          "--eot: got 0, want 1 … 10000",
		"attack" + on + " --defence noise:sigma=99":                                         "--defence: model m: defence noise: sigma: got 99, want at most 10",
		"certify" + on + " --eps 0.1 --defence jpeg:quality=75":                             "--defence: got jpeg:quality=75, but certify has no proofs for a network behind a defence",
		"certify" + on + " --radius --out " + f.dir + "/c.jsonl --defence noise:sigma=0.25": "--defence: got noise:sigma=0.25, but certify has no proofs",
	} {
		refused(t, line, want)
	}
}
