package main

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/epsball/epsball/dataset"
	"github.com/epsball/epsball/kernels"
	"github.com/epsball/epsball/model"
	"github.com/epsball/epsball/net"
	"github.com/epsball/epsball/verify"
	"github.com/epsball/epsball/verify/branch"
	"github.com/epsball/epsball/verify/cert/bab"
	certcheck "github.com/epsball/epsball/verify/check"
)

// byBranches returns the lines of certificates by branch and bound of some of the first
// images of the test files.
func byBranches(t *testing.T, f files, eps string, images int) (blocks [][]byte) {
	m, err := model.Load(f.model)
	require.NoError(t, err)
	set, err := dataset.Load(f.data)
	require.NoError(t, err)
	n, err := net.Compile(m, net.Options{Backward: true})
	require.NoError(t, err)
	pool := kernels.NewPool(1)
	defer pool.Close()
	v, err := verify.New(n, pool)
	require.NoError(t, err)
	k, err := certcheck.New(m)
	require.NoError(t, err)
	for i := range images {
		x, y := set.Image(i), set.Y[i]
		rec := &branch.Record{}
		ball := net.Ball{Eps: net.MustEpsilon(eps)}
		res, err := branch.Prove(t.Context(), v, verify.Around(ball, x), verify.LabelProperty(classes, y), branch.Options{Record: rec, Parts: 300})
		require.NoError(t, err)
		if !res.Proved {
			continue
		}
		lines, err := bab.Lines(t.Context(), k, &certcheck.Certificate{
			Model: m.Hash(), Level: certcheck.Executed, Data: "test", Index: i, Input: certcheck.InputHash(x), Label: y,
			Norm: "linf", Eps: eps, Run: "test",
		}, x, rec, 1)
		require.NoError(t, err)
		blocks = append(blocks, lines)
	}
	return blocks
}

// Files that have certificates by branch and bound among others are checked, with any
// number of threads; what is wrong with one is said at its line.
func TestCheckTrees(t *testing.T) {
	f := newFiles(t)
	blocks := byBranches(t, f, "0.02", 40)
	require.Greater(t, len(blocks), 3)
	lines := bytes.SplitAfter(readFile(t, certified(t, f, "--eps 0.01")), []byte("\n"))
	join := func(parts ...[]byte) []byte { return bytes.Join(parts, nil) }
	steps := func(b []byte) [][]byte { return bytes.SplitAfter(bytes.TrimSuffix(b, []byte("\n")), []byte("\n")) }
	first := steps(blocks[0])
	first[len(first)-1] = append(first[len(first)-1], '\n')
	last := len(first) - 1
	bad := bytes.Replace(first[1], []byte(`"step":1`), []byte(`"step":3`), 1)
	path := filepath.Join(f.dir, "trees.jsonl")
	for _, c := range []struct {
		name             string
		file             []byte
		checked, invalid int
		reason           string
		line             int
	}{
		{"blocks", join(blocks...), len(blocks), 0, "", 0},
		{"among others", join(lines[0], blocks[0], lines[1], blocks[1], blocks[2], lines[2]), -1, 0, "", 0},
		{"twice", join(blocks[0], blocks[0]), 2, 1, "says the same as line 1", len(first) + 1},
		{"no end", join(join(first[:last]...), blocks[1]), 2, 1, "missing", 1},
		{"a step less", join(join(first[:1]...), join(first[2:]...), blocks[1]), 2, 1, "step 1: step: got 2, expected 1", 1},
		{"claim alone", first[0], 1, 1, "step 1: missing", 1},
		{"no claim", join(first[1], blocks[1]), 2, 1, "the certificate that it belongs to is not before it", 1},
		{"steps of another", join(first[0], join(steps(blocks[1])[1:]...), []byte("\n"), blocks[2]), -1, -1, "step 1: missing", 1},
		{"a step changed", join(first[0], bad, join(first[2:]...), blocks[1]), 2, 1, "not what was written", 1},
		{"torn", join(blocks[1], join(first[:last]...), first[last][:20]), 3, 2, "missing", len(steps(blocks[1])) + 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			require.NoError(t, os.WriteFile(path, c.file, 0o666))
			code := 0
			if c.invalid != 0 {
				code = 1
			}
			for _, threads := range []string{"1", "3"} {
				doc := document(t, code, args("check %s --model %s --data %s --threads %s", path, f.model, f.data, threads)...)
				if c.checked >= 0 {
					assert.EqualValues(t, c.checked, doc["checked"])
				}
				if c.invalid >= 0 {
					assert.EqualValues(t, c.invalid, doc["invalid"])
				}
				assert.EqualValues(t, doc["checked"].(float64)-doc["invalid"].(float64), doc["valid"])
				if c.reason != "" {
					failure := doc["failures"].([]any)[0].(map[string]any)
					assert.Contains(t, failure["reason"], c.reason)
					assert.EqualValues(t, c.line, failure["line"])
				}
			}
		})
	}
	require.NoError(t, os.WriteFile(path, join(blocks...), 0o666))
	r := run(args("check %s --model %s --data %s --require-eps 0.07", path, f.model, f.data)...)
	assert.Equal(t, 1, r.code)
	assert.Contains(t, r.stdout, "--require-eps wants 0.07")
	assert.Zero(t, run(args("check %s --model %s --data %s --require-eps 0.02 --require-level executed --require-count %d", path, f.model, f.data, len(blocks))...).code)
}
